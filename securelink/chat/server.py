"""The chat's server: who is called what, who is in which room, what was said there."""

from __future__ import annotations

import threading
import time
import unicodedata
from collections import deque
from typing import Any

from ..errors import RequestFailed, SecureLinkError
from ..received import Received
from ..server import Server, Session

LOBBY = "lobby"
MAX_NAME_LENGTH = 24
MAX_TEXT = 2000  # characters of one message
HISTORY = 100  # messages kept for each room
MAX_HISTORIES = 1000  # rooms whose history is kept


class ChatServer:
    """
    Adds a chat to a server. All requests fail with a text that the person can read.

    | request | data | answer |
    | --- | --- | --- |
    | chat.enter | wished name or None | {"name": ..., "room": ..., "history": [...]} |
    | chat.say | text | None |
    | chat.name | new name | the name |
    | chat.join | room | {"room": ..., "history": [...]} |
    | chat.who, chat.rooms, chat.history | None | list |

    Packets to clients: `chat.said` {"from", "room", "text", "time"}, `chat.note` text.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._lock = threading.Lock()  # guards the two below
        self._names: dict[str, Session] = {}  # folded name -> who has it
        self._history: dict[str, deque[dict[str, Any]]] = {}
        for action, handler in {
            "chat.enter": self._enter,
            "chat.say": self._say,
            "chat.name": self._rename,
            "chat.join": self._join,
            "chat.who": self._who,
            "chat.rooms": self._rooms,
            "chat.history": self._past,
        }.items():
            server.on(action, handler)
        server.on_disconnect.add_listener(self._left)

    def announce(self, text: str, to: list[Session] | None) -> int:
        """A text of the operator; see `Console`."""
        return self._server.broadcast("chat.note", f"operator: {text}", to=to)

    # --- requests ---------------------------------------------------------------------------------------------

    def _enter(self, session: Session, packet: Received) -> dict[str, Any]:
        if "name" in session.data:
            raise RequestFailed("you are in already")
        if isinstance(packet.data, str) and packet.data:
            name = self._take_name(session, packet.data)
        else:
            name = self._given_name(session)
        return {"name": name, **self._move(session, LOBBY)}

    def _say(self, session: Session, packet: Received) -> None:
        name, room = self._place(session)
        text = packet.data
        if not isinstance(text, str) or not text.strip():
            raise RequestFailed("say something")
        if len(text) > MAX_TEXT:
            raise RequestFailed(f"that is longer than {MAX_TEXT} characters")
        said = {"from": name, "room": room, "text": text, "time": time.time()}
        with self._lock:
            if room not in self._history and len(self._history) >= MAX_HISTORIES:
                del self._history[next(iter(self._history))]
            self._history.setdefault(room, deque(maxlen=HISTORY)).append(said)
        self._server.room(room).broadcast("chat.said", said, exclude=[session])

    def _rename(self, session: Session, packet: Received) -> str:
        old, room = self._place(session)
        name = self._take_name(session, packet.data)
        self._note(room, f"{old} is now called {name}")
        return name

    def _join(self, session: Session, packet: Received) -> dict[str, Any]:
        name, old = self._place(session)
        room = packet.data
        if not isinstance(room, str) or not room.strip() or len(room) > MAX_NAME_LENGTH:
            raise RequestFailed(f"a room's name has 1 to {MAX_NAME_LENGTH} characters")
        room = room.strip()
        if room == old:
            raise RequestFailed("you are in that room")
        answer = self._move(session, room)
        session.leave(old)
        self._note(old, f"{name} went to another room")
        return answer

    def _who(self, session: Session, packet: Received) -> list[str]:
        _, room = self._place(session)
        return sorted(
            member.data["name"] for member in self._server.room(room) if "name" in member.data
        )

    def _rooms(self, session: Session, packet: Received) -> list[list[Any]]:
        self._place(session)
        return [[name, len(self._server.room(name))] for name in self._server.rooms]

    def _past(self, session: Session, packet: Received) -> list[dict[str, Any]]:
        _, room = self._place(session)
        return self._said_in(room)

    # --- names and rooms ----------------------------------------------------------------------------------------

    def _place(self, session: Session) -> tuple[str, str]:
        """Name and room of a session that has entered."""
        try:
            return session.data["name"], session.data["room"]
        except KeyError:
            raise RequestFailed("enter first") from None

    def _given_name(self, session: Session) -> str:
        """For who wishes no name: the user's, or one of a guest when somebody has it (an invite may serve many)."""
        if session.user is not None:
            try:
                return self._take_name(session, str(session.user))
            except RequestFailed:
                pass
        return self._take_name(session, f"guest-{session.token[:8]}")

    def _take_name(self, session: Session, wished: Any) -> str:
        if not isinstance(wished, str):
            raise RequestFailed("a name is a text")
        name = unicodedata.normalize("NFKC", wished).strip()
        if not 0 < len(name) <= MAX_NAME_LENGTH or not name.isprintable():
            raise RequestFailed(f"a name has 1 to {MAX_NAME_LENGTH} printable characters")
        key = name.casefold()
        with self._lock:
            owner = self._names.get(key)
            if owner is not None and owner is not session:
                raise RequestFailed(f"the name {name} is taken")
            self._names.pop(session.data.get("name", "").casefold(), None)
            self._names[key] = session
            session.data["name"] = name
        return name

    def _move(self, session: Session, room: str) -> dict[str, Any]:
        try:
            session.join(room)
        except SecureLinkError as error:
            raise RequestFailed(error.message) from error
        session.data["room"] = room
        self._note(room, f"{session.data['name']} came in", exclude=session)
        return {"room": room, "history": self._said_in(room)}

    def _said_in(self, room: str) -> list[dict[str, Any]]:
        with self._lock:
            return list(self._history.get(room, ()))

    def _note(self, room: str, text: str, exclude: Session | None = None) -> None:
        left_out = [exclude] if exclude is not None else []
        self._server.room(room).broadcast("chat.note", text, exclude=left_out)

    def _left(self, session: Session) -> None:
        with self._lock:
            name = session.data.get("name")
            if name is None:
                return
            if self._names.get(name.casefold()) is session:
                del self._names[name.casefold()]
        self._note(session.data.get("room", LOBBY), f"{name} left")
