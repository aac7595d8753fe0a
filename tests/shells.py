"""
The two shells behind one face, so that a test is written once: whatever gives a coroutine is run to its end.

    with door(identity, "asyncio") as server, caller("threads", server) as client:
        client.send("hello")

Each is a thread's object, or lives in an event loop of a thread of its own. Handlers are plain functions: what they
return may be a coroutine, which the asyncio shell runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from helpers import WAIT

from securelink import Client, Identity, Server, aio

SHELLS = ("threads", "asyncio")

#: Each test runs with each shell on each side.
of_both_sides = pytest.mark.parametrize("theirs", SHELLS, ids=lambda shell: f"{shell} client")
of_servers = pytest.mark.parametrize("ours", SHELLS, ids=lambda shell: f"{shell} server")


class Events:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.closing(self.loop):
            self.loop.run_forever()
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())

    def call(self, function: Any, *arguments: Any, **options: Any) -> Any:
        """Call something in the event loop, and wait for what it gives."""

        async def called() -> Any:
            result = function(*arguments, **options)
            return await result if inspect.isawaitable(result) else result

        return asyncio.run_coroutine_threadsafe(called(), self.loop).result(WAIT)

    def end(self) -> None:
        """No more of it."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(WAIT)
        assert not self._thread.is_alive()


class Face:
    """A client, server or session of either shell, with methods that return when they are done."""

    def __init__(self, inner: Any, events: Events | None) -> None:
        self.inner = inner
        self.events = events

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if self.events is None or not inspect.ismethod(found):
            return found
        events = self.events
        return lambda *arguments, **options: events.call(found, *arguments, **options)

    def session(self, client: Face) -> Face:
        """The server's end of a client's session."""
        return Face(self.inner.sessions[client.token], self.events)


def say(session: Any, action: str, data: Any = None) -> bool:
    """Send in a handler that is a plain function."""
    send = getattr(session, "send_nowait", None) or session.send
    return bool(send(action, data))


@contextlib.contextmanager
def in_shell(shell: str) -> Iterator[Events | None]:
    """What its objects live in."""
    events = Events() if shell == "asyncio" else None
    try:
        yield events
    finally:
        if events is not None:
            events.end()


@contextlib.contextmanager
def door(identity: Identity, shell: str, **options: Any) -> Iterator[Face]:
    """A server that runs; `port`: there."""
    with in_shell(shell) as events:
        kind: Any = Server if events is None else aio.Server
        port = options.pop("port", 0)
        server = Face(kind("127.0.0.1", port, keys=identity, **options), events)
        server.start()
        try:
            yield server
        finally:
            assert server.stop()


@contextlib.contextmanager
def visitor(shell: str, server: Face, **options: Any) -> Iterator[Face]:
    """A client that is not connected yet, of this server, `port=` or `invite=`; it is closed with the block."""
    place: tuple[Any, ...] = (options.pop("invite", None),)
    if place[0] is None:
        options.setdefault("pin", server.fingerprint)
        place = "127.0.0.1", options.pop("port", None) or server.address[1]
    with in_shell(shell) as events:
        kind: Any = Client if events is None else aio.Client
        client = Face(kind(*place, **options), events)
        try:
            yield client
        finally:
            client.close()


@contextlib.contextmanager
def caller(shell: str, server: Face, **options: Any) -> Iterator[Face]:
    """A client that is connected, and whose session the server knows."""
    with visitor(shell, server, **options) as client:
        client.connect()
        yield client
