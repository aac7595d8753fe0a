"""The chat's client: turns typed lines into requests, and packets into lines. The caller prints them."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from typing import Any

from ...app.received import Received
from ...client import Client
from ...codes import Code
from ...errors import ConnectionClosed, LinkTimeout, RequestFailed, SecureLinkError
from ...interrupts import Sign
from ...text import escaped
from ..console.marks import BANNED
from .history import MAX_LISTED

LEAVE = ("exit", "/exit", "/quit")
HELP = """\
/name NAME         call yourself something else
/whisper NAME TEXT say something to one person (names with spaces in "quotes")
/join ROOM         go to another room; it is made when it is new
/rooms             the rooms; those with most people when there are many
/who               who is in this room; /who AN only names that begin so
/history           what was said here
/help              this list
exit               leave"""
# No name begins with one; telephones type the curved ones.
_QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "\u201e": "\u201c", "\u2018": "\u2019"}
RETURN_SECONDS = 120.0  # how long it tries to come back after the session ended
MAX_SHOWN = 4000  # characters of one line; the server may be anybody
_TAKEN = re.compile(r"(?s).+ is taken(?: by somebody who is away)?; (.+) is free")
# Errors of an answer with a wrong shape.
_NONSENSE = (TypeError, ValueError, KeyError, AttributeError, OverflowError, OSError)
# With these the server says that it refuses us, or that it stops.
_FINAL = (Code.NORMAL, Code.KICKED, Code.SHUTDOWN, Code.REFUSED)


class ChatClient:
    """
    One person in the chat.

    When the connection breaks the session goes on over another one. Where it cannot, because the server was restarted,
    say, the client begins a new one by itself, under the same name and in the same room, for up to `RETURN_SECONDS`.

    Args:
        client: Connected.
        show: Called with each line to show, from any thread. Peer text in it is escaped.
        name: The wished name, or None.
        ended: Called once when the chat is over for good, with the reason; from any thread.

    Attributes:
        name, room: Of this person, now.
    """

    def __init__(
        self,
        client: Client,
        show: Callable[[str], None],
        name: str | None = None,
        ended: Callable[[str], None] | None = None,
    ) -> None:
        self._client = client
        self._show = show
        self._over = ended or (lambda reason: None)
        self._leaving = Sign()
        self._again = ""
        self.name = ""
        self.room = ""
        client.on("chat.said", self._said)
        client.on("chat.whispered", self._whispered)
        client.on("chat.note", lambda packet: show(f"* {_text(packet.data)}"))
        self._enter(name)
        client.on_suspend.add_listener(lambda: show("* connection lost, trying again"))
        client.on_resume.add_listener(lambda replayed: show("* back"))
        client.on_disconnect.add_listener(self._lost)

    def line(self, text: str) -> bool:
        """Execute a typed line; False if it says to leave."""
        text = text.strip()
        if not text:
            return True
        if text.lower() in LEAVE:
            return False
        try:
            if text.startswith("/"):
                self._command(text)
            else:
                self._ask("chat.say", text)
        except RequestFailed as error:
            self._show(f"! {error.message}")
        except LinkTimeout:
            self._show("! the server does not answer just now; what you typed may still arrive")
        except ConnectionClosed:
            self._show("! the session is lost; this was not said. Trying to come back")
        except SecureLinkError as error:
            self._show(f"! {error.message}")
        except _NONSENSE:
            self._show("! the server answered what no chat answers")
        return True

    def leave(self) -> None:
        """Go, and do not come back."""
        self._leaving.set()
        self._client.close()

    def _ask(self, action: str, data: Any = None) -> Any:
        return self._client.request(action, data)

    # --- entering, and coming back ------------------------------------------------------------------------------

    def _enter(self, name: str | None) -> None:
        wish: Any = name
        if self._again:
            wish = {"name": name, "room": self.room, "again": self._again}
        answer = self._ask("chat.enter", wish)
        try:
            self.name = str(answer["name"])
            self._again = str(answer.get("again", ""))
            self._arrived(answer, history=not self.room)
        except _NONSENSE:
            raise RequestFailed("the server answered what no chat answers") from None

    def _lost(self) -> None:
        client = self._client
        if self._leaving.is_set():
            return
        if client.clean and client.code in _FINAL:
            kicked = client.code == Code.KICKED and client.text
            banned = kicked and client.text.startswith(BANNED)
            self._over(
                f"you were kicked: {client.reason}" if kicked and not banned else client.reason
            )
            return
        self._show("* the session is lost; trying to come back")
        threading.Thread(target=self._come_back, name="chat return", daemon=True).start()

    def _come_back(self) -> None:
        deadline = time.monotonic() + RETURN_SECONDS
        reason = "the server cannot be reached any more"
        while not self._leaving.wait(0.2) and (left := deadline - time.monotonic()) > 0:
            try:
                if not self._client.connected:
                    self._client.connect(left, retry=True)
                self._enter_somehow()
            except RequestFailed as error:
                reason = error.message
                break
            except LinkTimeout:
                continue
            except ConnectionClosed:
                return  # that session has called `_lost`, which starts again
            except SecureLinkError as error:
                reason = error.message
                break
            else:
                return
        if not self._leaving.is_set():
            self._over(reason)

    def _enter_somehow(self) -> None:
        """Enter under the same name, unless another person has it by now."""
        try:
            self._enter(self.name)
        except RequestFailed as error:
            if free_name(error.text) is None:
                raise
            self._enter(free_name(error.text))

    # --- commands -------------------------------------------------------------------------------------------------

    def _command(self, text: str) -> None:
        command, _, argument = text.partition(" ")
        argument = argument.strip()
        match command.lower():
            case "/help":
                self._show(HELP)
            case "/name":
                self.name = str(self._ask("chat.name", argument))
                self._show(f"* you are now called {_text(self.name)}")
            case "/whisper" | "/w" | "/msg":
                to, said = _addressed(argument)
                name = self._ask("chat.whisper", {"to": to, "text": said})
                self._show(f"* you whisper to {_text(name)}: {escaped(said)}")
            case "/join":
                self._arrived(self._ask("chat.join", argument))
            case "/rooms":
                for room, count in self._ask("chat.rooms")[:MAX_LISTED]:
                    self._show(f"  {_text(room)} ({int(count)})")
            case "/who":
                names = self._ask("chat.who", argument or None)
                listed = ", ".join(str(name) for name in names[:MAX_LISTED])
                self._show(f"  {_text(listed)}" if listed else "* nobody here has such a name")
            case "/history":
                history = self._ask("chat.history")
                self._show_history(history)
                if not history:
                    self._show("* nothing was said here yet")
            case _:
                self._show(f"! there is no {escaped(command)}; try /help")

    def _arrived(self, answer: dict[str, Any], *, history: bool = True) -> None:
        self.room = str(answer["room"])
        self._show(
            f"* you are {_text(self.name)}, in the room {_text(self.room)}; /help lists what you can do"
        )
        if history:
            self._show_history(answer["history"])

    def _show_history(self, history: list[dict[str, Any]]) -> None:
        for said in history:
            self._show(_formatted(said))

    def _said(self, packet: Received) -> None:
        self._show_said(packet, ":")

    def _whispered(self, packet: Received) -> None:
        self._show_said(packet, " whispers:")

    def _show_said(self, packet: Received, how: str) -> None:
        try:
            line = _formatted(packet.data, how)
        except _NONSENSE:
            return  # as good as not said
        self._show(line)


def free_name(refusal: str) -> str | None:
    """The name that a refusal suggests, or None."""
    found = _TAKEN.fullmatch(refusal)
    return found[1] if found else None


def _addressed(text: str) -> tuple[str, str]:
    """A name, in quotes of any kind if it has spaces, and the rest."""
    closing = _QUOTES.get(text[:1], "")
    if closing and closing in text[1:]:
        name, _, rest = text[1:].partition(closing)
    else:
        name, _, rest = text.partition(" ")
    return name, rest.strip()


def _text(value: object) -> str:
    """A text of others, escaped for a terminal and cut."""
    text = str(value)
    return escaped(text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}...")


def _clock(said: dict[str, Any]) -> str:
    return time.strftime("%H:%M", time.localtime(float(said["time"])))


def _formatted(said: dict[str, Any], how: str = ":") -> str:
    return f"{_clock(said)} {_text(said['from'])}{how} {_text(said['text'])}"
