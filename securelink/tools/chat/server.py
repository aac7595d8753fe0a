"""The chat's server: names, rooms and messages."""

from __future__ import annotations

import heapq
import hmac
import logging
import secrets
import threading
import time
from typing import Any

from ...app.received import Received
from ...errors import RequestFailed, SecureLinkError
from ...server import Server
from ...session import Session, context_of
from ...text import escaped, folded, normalized
from ..console.marks import Marks
from .history import HISTORY, MAX_LISTED, History
from .names import MAX_NAME_LENGTH, checked_name, suggestion

__all__ = ["HISTORY", "LOBBY", "MAX_NAME_LENGTH", "MAX_TEXT", "ChatServer"]

LOBBY = "lobby"
AWAY = " by somebody who is away"  # and keeps it until the session ends
MAX_TEXT = 2000  # characters of one message
_MAX_LOGGED_NAMES = 10  # changes of one person's name that the log has: they could fill it

log = logging.getLogger("securelink.server")


class ChatServer:
    """
    Adds a chat to a server. All requests fail with a text that the person can read.

    | request | data | answer |
    | --- | --- | --- |
    | chat.enter | wished name or None, or {"name", "room", "again"} | {"name", "room", "history", "again"} |
    | chat.say | text | None |
    | chat.whisper | {"to": name, "text": text} | the name |
    | chat.name | new name | the name |
    | chat.join | room | {"room": ..., "history": [...]} |
    | chat.who | None, or how a name begins | list of names |
    | chat.rooms, chat.history | None | list |

    Packets to clients: `chat.said` {"from", "room", "text", "time"}, `chat.whispered` {"from", "text", "time"},
    `chat.note` text.

    A client that asks to enter once more is told where it is.

    "again" is a secret of one person's connection: a client that shows it when entering gets the name back from a
    broken connection that the server still considers alive.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._lock = threading.Lock()  # guards the names
        self._names: dict[str, Session] = {}  # folded name -> its session
        self._history = History(lambda room: room == LOBBY or bool(len(server.room(room))))
        self.silenced = Marks(addresses=False)
        self.banned: Marks | None = None
        for action, handler in {
            "chat.enter": self._enter,
            "chat.say": self._say,
            "chat.whisper": self._whisper,
            "chat.name": self._rename,
            "chat.join": self._join,
            "chat.who": self._who,
            "chat.rooms": self._rooms,
            "chat.history": self._past,
        }.items():
            server.on(action, handler)
        server.on_restore.add_listener(self._restored)
        server.on_disconnect.add_listener(self._left)

    def announce(self, text: str, to: list[Session] | None) -> int:
        """A text of the operator; see `Console`."""
        whom = "operator" if to is None else "operator, to you alone"
        return self._server.broadcast("chat.note", f"{whom}: {text}", to=to)

    def silence(self, session: Session, silent: bool) -> list[str]:
        """
        Hide the messages of this person from all others from now on, also when they come back; or show them again.

        Returns:
            The marks by which they will be known; see `Marks`.
        """
        known: list[str] = []
        name = str(session.data.get("name", session.token))
        if silent:
            known = self.silenced.add(name, session)
            session.data["silent"] = True
        else:
            self.silenced.forgive(session)
            session.data.pop("silent", None)
        text = "you are muted: nobody hears what you say" if silent else "you can be heard again"
        self._server.broadcast("chat.note", text, to=[session])
        return known

    # --- requests ---------------------------------------------------------------------------------------------

    def _enter(self, session: Session, packet: Received) -> dict[str, Any]:
        if "room" in session.data:  # its client has had no answer in time, and asks again
            known = {key: session.data[key] for key in ("name", "room", "again")}
            return known | {"history": self._history.of(known["room"])}
        wish = packet.data if isinstance(packet.data, dict) else {"name": packet.data}
        wished, room = wish.get("name"), wish.get("room")
        back = False
        if isinstance(wished, str) and wished:
            back = self._take_back(session, wished, wish.get("again"))
            name = self._take_name(session, wished)
        else:
            name = self._given_name(session)
        session.data["again"] = secrets.token_hex(16)
        place = _checked_room(room) if isinstance(room, str) and room else LOBBY
        came = "is back" if back else "came in"
        log.info("%s is %s in the chat", context_of(session).name, escaped(name))
        answer = {"name": name, **self._move(session, place, came)}
        return answer | {"again": session.data["again"]}

    def _say(self, session: Session, packet: Received) -> None:
        name, room = self._place(session)
        text = self._heard(session, packet.data)
        said = {"from": name, "room": room, "text": text, "time": time.time()}
        self._history.add(room, said)
        self._server.room(room).broadcast("chat.said", said, exclude=[session])

    def _whisper(self, session: Session, packet: Received) -> str:
        name, _ = self._place(session)
        data = packet.data if isinstance(packet.data, dict) else {}
        text, to = self._heard(session, data.get("text")), data.get("to")
        with self._lock:
            other = self._names.get(folded(to)) if isinstance(to, str) else None
        if other is None:
            raise RequestFailed(
                'nobody is called that: see /who; names with spaces stand in "quotes"'
            )
        said = {"from": name, "text": text, "time": time.time()}
        self._server.broadcast("chat.whispered", said, to=[other])
        return str(other.data["name"])

    def _heard(self, session: Session, text: object) -> str:
        """A person's message, if others may hear it."""
        if not isinstance(text, str) or not text.strip():
            raise RequestFailed("say something")
        if len(text) > MAX_TEXT:
            raise RequestFailed(f"that is longer than {MAX_TEXT} characters")
        if self._is_silenced(session):
            raise RequestFailed("you are muted: nobody hears what you say")
        return text

    def _is_silenced(self, session: Session) -> bool:
        return "silent" in session.data or session in self.silenced

    def _rename(self, session: Session, packet: Received) -> str:
        old, room = self._place(session)
        if self._is_silenced(session):
            raise RequestFailed("you are muted, and keep your name meanwhile")
        name = self._take_name(session, packet.data)
        count = session.data["renamed"] = session.data.get("renamed", 0) + 1
        if count <= _MAX_LOGGED_NAMES:
            log.info("%s is now called %s in the chat", escaped(old), escaped(name))
        self._note(room, f"{old} is now called {name}", exclude=session)
        return name

    def _join(self, session: Session, packet: Received) -> dict[str, Any]:
        name, old = self._place(session)
        room = _checked_room(packet.data)
        if room == old:
            raise RequestFailed("you are in that room")
        answer = self._move(session, room, "came in")
        session.leave(old)
        self._note(old, f"{name} went to another room")
        return answer

    def _who(self, session: Session, packet: Received) -> list[str]:
        _, room = self._place(session)
        start = folded(packet.data) if isinstance(packet.data, str) else ""
        names = [member.data.get("name", "") for member in self._server.room(room)]
        found = [name for name in names if name and folded(name).startswith(start)]
        shown = heapq.nsmallest(MAX_LISTED - 1, found)
        more = len(found) - len(shown)
        return (
            [*shown, f"... and {more} more: /who AN shows those that begin so"] if more else shown
        )

    def _rooms(self, session: Session, packet: Received) -> list[list[Any]]:
        self._place(session)
        rooms = [(len(self._server.room(name)), name) for name in self._server.rooms]
        shown = rooms if len(rooms) < MAX_LISTED else heapq.nlargest(MAX_LISTED - 1, rooms)
        more = [["... and other rooms", len(rooms) - len(shown)]] if shown is not rooms else []
        return [[name, count] for count, name in shown] + more

    def _past(self, session: Session, packet: Received) -> list[dict[str, Any]]:
        _, room = self._place(session)
        return self._history.of(room)

    def _restored(self, session: Session) -> None:
        """A session of the process before has its name and room still."""
        name = session.data.get("name")
        if isinstance(name, str) and "gone" not in session.data:
            with self._lock:
                self._names[folded(name)] = session

    # --- names and rooms ----------------------------------------------------------------------------------------

    def _place(self, session: Session) -> tuple[str, str]:
        """Name and room of a session that has entered."""
        try:
            return session.data["name"], session.data["room"]
        except KeyError:
            raise RequestFailed("enter first") from None

    def _given_name(self, session: Session) -> str:
        """The default name: the user's, or a guest's if it is taken (many people may share an invite)."""
        if session.user is not None:
            try:
                return self._take_name(session, str(session.user))
            except RequestFailed:
                pass
        return self._take_name(session, f"guest-{session.token[:8]}")

    def _take_back(self, session: Session, wished: str, again: object) -> bool:
        """End a broken connection of the same person, who has come back before the server noticed."""
        with self._lock:
            owner = self._names.get(folded(wished))
            if owner is None or not isinstance(again, str):
                return False
            ours = str(owner.data.get("again", ""))
            if not ours or not hmac.compare_digest(ours.encode(), again.encode()):
                return False
            del self._names[folded(wished)]
            owner.data["gone"] = True
            if "silent" in owner.data:
                session.data["silent"] = True
        owner.kick("you came in again from another connection")
        return True

    def _take_name(self, session: Session, wished: Any) -> str:
        name = checked_name(wished)
        if self.banned is not None and self.banned.has_name(name):
            raise RequestFailed(f"the name {name} is banned here")
        key = folded(name)
        with self._lock:
            owner = self._names.get(key)
            if owner is not None and owner is not session:
                free = suggestion(name, lambda other: folded(other) in self._names)
                away = "" if owner.connected else AWAY
                raise RequestFailed(f"the name {name} is taken{away}; {free} is free")
            self._names.pop(folded(session.data.get("name", "")), None)
            self._names[key] = session
            session.data["name"] = name
        return name

    def _move(self, session: Session, room: str, came: str) -> dict[str, Any]:
        try:
            session.join(room)
        except SecureLinkError as error:
            raise RequestFailed(error.message) from error
        session.data["room"] = room
        self._note(room, f"{session.data['name']} {came}", exclude=session)
        return {"room": room, "history": self._history.of(room)}

    def _note(self, room: str, text: str, exclude: Session | None = None) -> None:
        left_out = [exclude] if exclude is not None else []
        self._server.room(room).broadcast("chat.note", text, exclude=left_out)

    def _left(self, session: Session) -> None:
        with self._lock:
            name = session.data.get("name")
            if name is None or "gone" in session.data:
                return
            if self._names.get(folded(name)) is session:
                del self._names[folded(name)]
        log.info("%s has left the chat", escaped(name))
        went = "was banned" if self.banned is not None and session in self.banned else "left"
        self._note(session.data.get("room", LOBBY), f"{name} {went}")


def _checked_room(wished: object) -> str:
    """The name of a room. Raises `RequestFailed`."""
    if isinstance(wished, str) and len(wished) <= 10 * MAX_NAME_LENGTH:
        room = normalized("NFKC", wished).strip()
        if 0 < len(room) <= MAX_NAME_LENGTH and room.isprintable():
            return room
    raise RequestFailed(f"a room's name has 1 to {MAX_NAME_LENGTH} printable characters")
