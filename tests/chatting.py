"""What the tests of the chat share."""

from __future__ import annotations

from helpers import until

from securelink import Client
from securelink.tools.chat import ChatClient


class Person:
    """A chatter, and the lines on their screen."""

    def __init__(self, client: Client, name: str | None) -> None:
        self.screen: list[str] = []
        self.client = client
        self.over: list[str] = []
        self.chat = ChatClient(client, self.screen.append, name, self.over.append)

    def sees(self, text: str) -> None:
        """Wait for a line with this text."""
        until(lambda: any(text in line for line in self.screen))

    def says(self, line: str) -> bool:
        return self.chat.line(line)
