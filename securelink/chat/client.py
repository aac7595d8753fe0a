"""The chat's client: what a typed line means, what an arriving packet looks like. Printing is the caller's."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ..client import Client
from ..errors import RequestFailed
from ..received import Received
from ..text import escaped

LEAVE = ("exit", "/exit", "/quit")
HELP = """\
/name NAME   call yourself something else
/join ROOM   go to another room; it is made when it is new
/rooms       the rooms
/who         who is in this room
/history     what was said here
/help        this list
exit         leave"""


class ChatClient:
    """
    One person in the chat.

    Args:
        client: Connected.
        show: Called with each line to show, from any thread. Peer text in it is escaped.
        name: The wished name, or None.

    Attributes:
        name, room: Of this person, now.
    """

    def __init__(
        self, client: Client, show: Callable[[str], None], name: str | None = None
    ) -> None:
        self._client = client
        self._show = show
        self.name = ""
        self.room = ""
        client.on("chat.said", self._said)
        client.on("chat.note", lambda packet: show(f"* {escaped(str(packet.data))}"))
        answer = self._ask("chat.enter", name)
        self.name = str(answer["name"])
        self._arrived(answer)

    def line(self, text: str) -> bool:
        """Do what a typed line says; False when it says to leave."""
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
        return True

    def _ask(self, action: str, data: Any = None) -> Any:
        return self._client.request(action, data)

    def _command(self, text: str) -> None:
        command, _, argument = text.partition(" ")
        argument = argument.strip()
        match command.lower():
            case "/help":
                self._show(HELP)
            case "/name":
                self.name = str(self._ask("chat.name", argument))
                self._show(f"* you are now called {escaped(self.name)}")
            case "/join":
                self._arrived(self._ask("chat.join", argument))
            case "/rooms":
                for room, count in self._ask("chat.rooms"):
                    self._show(f"  {escaped(str(room))} ({count})")
            case "/who":
                self._show("  " + ", ".join(escaped(str(n)) for n in self._ask("chat.who")))
            case "/history":
                self._show_history(self._ask("chat.history"))
            case _:
                self._show(f"! there is no {escaped(command)}; try /help")

    def _arrived(self, answer: dict[str, Any]) -> None:
        self.room = str(answer["room"])
        self._show(
            f"* you are {escaped(self.name)}, in the room {escaped(self.room)}; /help lists what you can do"
        )
        self._show_history(answer["history"])

    def _show_history(self, history: list[dict[str, Any]]) -> None:
        for said in history:
            self._show(_formatted(said))

    def _said(self, packet: Received) -> None:
        self._show(_formatted(packet.data))


def _formatted(said: dict[str, Any]) -> str:
    clock = time.strftime("%H:%M", time.localtime(float(said["time"])))
    return f"{clock} {escaped(str(said['from']))}: {escaped(str(said['text']))}"
