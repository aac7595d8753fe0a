"""Checks of sessions in the asyncio shell: one that has not run, or not to its end, lets nobody in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from helpers import WAIT
from looping import client_of, run, serving

from securelink import ConnectionClosed, Identity, Refused, aio

pytestmark = pytest.mark.usefixtures("tidy")


async def banned(session: aio.Session) -> None:
    """A check."""
    raise Refused("banned")


async def greets(session: aio.Session) -> None:
    """No check."""


async def forgets_to_await(session: aio.Session) -> Any:
    """Returns what has not run."""
    return banned(session)


def generates(session: aio.Session) -> Any:
    """Likewise, a plain function."""
    return (1 / 0 for _ in "x")


async def streams(session: aio.Session) -> Any:
    """Likewise, a coroutine."""

    async def stream() -> Any:
        await banned(session)
        yield

    return stream()


async def checks_in_groups(session: aio.Session) -> None:
    """As tasks of groups, one of which refuses."""
    async with asyncio.TaskGroup() as outer:
        outer.create_task(greets(session))
        async with asyncio.TaskGroup() as inner:
            inner.create_task(banned(session))


async def is_refused(server: aio.Server) -> str:
    """With which words a client is, whose packet is never handled."""
    handled = list[Any]()
    server.on("say", lambda session, packet: handled.append(packet.data))
    client = client_of(server)
    await client.connect()
    with pytest.raises(ConnectionClosed) as caught:
        await client.request("say", 1, timeout=WAIT)
    await client.close()
    assert not handled
    return str(caught.value)


@pytest.mark.parametrize(
    ("listeners", "words"),
    [
        ((forgets_to_await,), "could not check this session"),
        ((greets, generates), "could not check this session"),
        ((streams,), "could not check this session"),
        ((checks_in_groups,), "banned"),
    ],
)
def test_a_check_that_has_not_run_refuses(
    identity: Identity, listeners: tuple[Callable[[Any], Any], ...], words: str
) -> None:
    """What a listener gives in the end is looked at, as a plain one's result is; and a refusal in a group is one."""

    async def main() -> None:
        async with serving(identity) as server:
            for listener in listeners:
                server.on_connect.add_listener(listener)
            assert words in await is_refused(server)

    run(main)


def test_a_check_that_is_cancelled_before_it_begins_refuses(identity: Identity) -> None:
    """And what others have sent to the session meanwhile never goes out."""

    async def main() -> None:
        async with serving(identity) as server:
            server.on_connect.add_listener(banned)
            events = asyncio.get_running_loop()

            def cancelled(events: asyncio.AbstractEventLoop, coroutine: Any, **more: Any) -> Any:
                task = asyncio.Task(coroutine, loop=events, **more)
                if server.sessions:
                    events.set_task_factory(None)
                    task.cancel()
                    events.call_soon(server.broadcast, "secret")  # before it is known to be over
                return task

            events.set_task_factory(cancelled)
            client = client_of(server)
            got = list[Any]()
            client.on_message.add_listener(got.append)
            await client.connect()
            with pytest.raises(ConnectionClosed, match="could not check this session"):
                await client.request("echo", 1, timeout=WAIT)
            await client.close()
            assert not got

    run(main)
