"""Other event loops, other threads: where the asyncio shell runs, and what it leaves there."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from helpers import WAIT
from looping import client_of, run, serving

from securelink import Identity, aio
from securelink.threads import loop as loop_module
from securelink.threads.poller import SelectorPoller

pytestmark = pytest.mark.usefixtures("tidy")


@pytest.fixture(scope="module")
def uvloop() -> Any:
    """The module, after its first loop, which leaves a pipe for signals in the process."""
    module = pytest.importorskip("uvloop", reason="uvloop is not installed")
    with asyncio.Runner(loop_factory=module.new_event_loop) as runner:
        runner.run(asyncio.sleep(0))
    return module


def test_uvloop(uvloop: Any, identity: Identity) -> None:
    """It runs on uvloop as on the loop of the standard library."""

    async def main() -> None:
        async with serving(identity) as server, client_of(server) as client:
            answers = await asyncio.gather(*(client.request("echo", n) for n in range(50)))
            assert answers == list(range(50))
            assert await client.ping() > 0

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_the_selectors_of_the_platform(identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where epoll is not used directly its selector can be watched as well."""
    monkeypatch.setattr(loop_module, "make_poller", SelectorPoller)

    async def main() -> None:
        async with serving(identity) as server, client_of(server) as client:
            assert await client.request("echo", 1) == 1

    run(main)


def test_an_event_loop_in_a_thread(identity: Identity) -> None:
    """Each thread may have its event loop; no signals are taken there."""
    results: list[Any] = []

    async def main() -> None:
        server = aio.Server("127.0.0.1", 0, keys=identity)
        server.on("echo", lambda session, packet: packet.data)
        serving = asyncio.create_task(server.serve_forever())
        while not server.places:
            await asyncio.sleep(0.002)
        async with client_of(server) as client:
            results.append(await client.request("echo", 5, timeout=WAIT))
        await server.stop()
        await serving

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    thread.join(WAIT)
    assert results == [5]


def test_an_idle_client_costs_no_turns(identity: Identity) -> None:
    """What nobody talks to is looked after once a second, not all the time."""

    async def main() -> None:
        async with serving(identity) as server, client_of(server) as client:
            assert await client.request("echo", 1) == 1
            await asyncio.sleep(0.3)  # acknowledgements
            driver = server._driver  # noqa: SLF001  # it counts, and nobody else needs to know
            assert driver is not None
            before = driver.turns
            await asyncio.sleep(1.0)
            assert driver.turns - before < 40

    run(main)


def test_a_coroutine_handler_costs_one_turn(identity: Identity) -> None:
    """The one that begins it: when it is done, and nothing else waits, what it has handled is counted at once."""

    async def main() -> None:
        async with serving(identity) as server, client_of(server) as client:

            @server.on("later")
            async def later(session: aio.Session, packet: Any) -> Any:
                return packet.data

            await client.request("later", 0)
            driver = server._driver  # noqa: SLF001  # as above
            assert driver is not None
            before = driver.turns
            for number in range(100):
                assert await client.request("later", number) == number
            assert driver.turns - before < 150

    run(main)
