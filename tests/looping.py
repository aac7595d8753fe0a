"""What the tests of the asyncio shell share: an event loop that must be left as it was, servers and clients in it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

from helpers import WAIT

from securelink import Identity, aio

Result = TypeVar("Result")


def run(main: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Run this in a new event loop; no task may be left behind, and nothing may have gone wrong unseen."""
    unseen: list[dict[str, Any]] = []

    async def whole() -> Result:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
        async with asyncio.timeout(WAIT):
            result = await main()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return result

    result = asyncio.run(whole())
    assert not unseen, unseen
    return result


@contextlib.asynccontextmanager
async def serving(identity: Identity, **options: Any) -> AsyncIterator[aio.Server]:
    """A server that echoes, on a port of its own; it must stop without having to wait for anybody."""
    server = aio.Server("127.0.0.1", 0, **{"keys": identity, **options})

    @server.on("echo")
    async def echo(session: aio.Session, packet: Any) -> Any:
        await session.send("echo", packet.data)
        return packet.data

    await server.start()
    try:
        yield server
    finally:
        assert await server.stop()


def client_of(server: Any, **options: Any) -> aio.Client:
    """A client of this server, which may be one with threads."""
    if server.fingerprint is not None:
        options.setdefault("pin", server.fingerprint)
    return aio.Client("127.0.0.1", server.address[1], **options)


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds; fail when it does not in time."""
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, "this did not happen in time"
        await asyncio.sleep(0.002)


async def listening(server: aio.Server) -> None:
    """Wait until a server that another task runs can be reached."""
    await until(lambda: server.places)
