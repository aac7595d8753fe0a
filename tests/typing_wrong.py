# mypy: disable-error-code="unused-ignore"
"""
Mistakes that a type checker must see: each line marked with "wrong" has an error, and no other line has.

`test_handlers.py` runs mypy on this file; nothing imports it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from securelink import Client, Received, Server, Session, Typed

server = Server()
client = Client("host", 5050)


@dataclass
class Jump:
    """Data of a declared type."""

    height: int


class Later:
    """An object whose `run` is a coroutine function."""

    async def run(self, session: Session, packet: Received) -> int:
        """Never runs."""
        return 1


async def coroutine(session: Session, packet: Received) -> int:
    """Never runs."""
    return 1


def generator(session: Session, packet: Received) -> Iterator[int]:
    """Never runs."""
    yield 1


async def asynchronous_generator(session: Session, packet: Received) -> AsyncIterator[int]:
    """Never runs."""
    yield 1


def one_too_few(session: Session) -> None:
    """Takes no packet."""


def one_too_many(session: Session, packet: Received, more: int) -> None:
    """Takes more than it gets."""


def other_order(packet: Received, session: Session) -> None:
    """Takes the client's packet first."""


def typed(session: Session, packet: Typed[int]) -> None:
    """Wants an int."""


async def listener(session: Session) -> None:
    """Never runs."""


async def said(packet: Received) -> None:
    """Never runs."""


async def convert(packet: Received) -> object:
    """Never runs."""


server.on("x", coroutine)  # wrong
server.on("x")(coroutine)  # wrong
server.on("x", generator)  # wrong
server.on("x", asynchronous_generator)  # wrong
server.on("x", one_too_few)  # wrong
server.on("x", one_too_many)  # wrong
server.on("x", other_order)  # wrong
server.on("x", Later())  # wrong
server.on("x", 5)  # wrong
server.on("x", None)  # wrong
server.on("x", Jump, typed)  # wrong
server.on("x", Jump)(typed)  # wrong
server.on("x", Jump, coroutine)  # wrong
server.on(one_too_many)  # wrong
server.on()  # wrong
server.on_connect()  # wrong
server.on_connect(listener)  # wrong
server.on_connect.add_listener(listener)  # wrong
server.on_connect(one_too_many)  # wrong
server.on_message(one_too_few)  # wrong
server.on_tick(one_too_few)  # wrong
server.before_send = one_too_many  # wrong
client.on("x", said)  # wrong
client.on("x", one_too_many)  # wrong
client.on_connect(one_too_few)  # wrong
client.on_message(said)  # wrong
