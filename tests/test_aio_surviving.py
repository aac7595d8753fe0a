"""Sessions of the asyncio shell outlive their connections, and their processes' restarts, as those with threads do."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import WAIT
from kept import Place
from looping import client_of, listening, run, serving, until

from securelink import Code, ConnectionClosed, Identity, aio
from securelink.state import SqliteStore
from securelink.testing import Relay

pytestmark = pytest.mark.usefixtures("tidy")


def test_a_session_goes_on_over_another_connection(identity: Identity) -> None:
    """What is sent and asked while connections are cut arrives once and in order, both ways."""

    async def main() -> None:
        got: list[int] = []
        events: list[str] = []
        async with serving(identity) as server:

            @server.on("n")
            async def number(session: aio.Session, packet: Any) -> None:
                got.append(packet.data)
                await session.send("n", packet.data)
                if packet.data % 7 == 0:
                    await asyncio.sleep(0.001)

            with Relay("127.0.0.1", server.address[1]) as relay:
                client = aio.Client("127.0.0.1", relay.port, pin=server.fingerprint)
                client.on_suspend(lambda: events.append("suspend"))

                @client.on_resume
                async def resumed(replayed: int) -> None:
                    events.append("resume")

                async with client:
                    for number_ in range(300):
                        if number_ % 100 == 50:
                            relay.cut()
                        await client.send("n", number_)
                        if number_ % 10 == 0:
                            assert await client.request("echo", number_, timeout=WAIT) == number_
                    back: list[int] = []
                    while len(back) < 300:
                        packet = await client.receive(WAIT)
                        assert packet is not None
                        if packet.action == "n":
                            back.append(packet.data)
                assert got == back == list(range(300))
                assert events == ["suspend", "resume"] * 3

    run(main)


def test_the_event_loop_goes_on_while_the_disk_is_slow(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for it is done by another thread; nobody is told anything before it is done, and nothing is lost."""
    slow, go_on = threading.Event(), threading.Event()
    where: list[int] = []
    write = SqliteStore.write

    def written(self: SqliteStore, *arguments: Any) -> Callable[[], None]:
        finish = write(self, *arguments)

        def finished() -> None:
            where.append(threading.get_ident())
            assert not slow.is_set() or go_on.wait(WAIT)
            finish()

        return finished

    monkeypatch.setattr(SqliteStore, "write", written)

    async def main() -> None:
        handled: list[int] = []
        options = {"keys": place.keys, "state": place.path, "tick_rate": 100}
        async with serving(place.identity, **options) as server:
            server.on("n", lambda session, packet: handled.append(packet.data))
            async with client_of(server) as client:
                await client.request("echo", 0, timeout=WAIT)
                session = server.sessions[client.token]
                slow.set()
                where.clear()
                task = asyncio.create_task(client.request("echo", 1, timeout=WAIT))
                await until(lambda: where)
                for number in range(5):  # the loop goes on, and so do those who use it
                    await asyncio.sleep(0)
                    await client.send("n", number)
                    session.send_nowait("told", number)
                await asyncio.sleep(
                    0.05
                )  # ticks are due, and wait as everything of this server does
                assert not task.done()
                assert not handled
                go_on.set()
                assert await task == 1
                await until(lambda: len(handled) == 5)
                told = [await client.wait_for("told", WAIT) for _ in range(5)]
                assert [packet.data for packet in told] == handled == list(range(5))
                assert threading.get_ident() not in where

    run(main)


def test_a_session_that_cannot_go_on_ends(identity: Identity) -> None:
    """When the server is gone its client hears so, and is told what was not confirmed."""

    async def main() -> None:
        ended = asyncio.Event()
        async with serving(identity) as server:
            client = client_of(server)
            client.on_disconnect(ended.set)
            await client.connect()
            await server.stop()
            with pytest.raises(ConnectionClosed):
                await client.receive(WAIT)
            await asyncio.wait_for(ended.wait(), WAIT)
            assert client.code == Code.SHUTDOWN
            await client.close()

    run(main)


def test_a_session_outlives_its_server(identity: Identity, tmp_path: Path) -> None:
    """With `state=` the next process goes on with it: what handlers sent is kept with their turns."""
    state = tmp_path / "state.db"

    def new(port: int) -> aio.Server:
        server = aio.Server("127.0.0.1", port, keys=tmp_path / "keys", state=state)

        @server.on("count")
        async def count(session: aio.Session, packet: Any) -> None:
            session.data["count"] = session.data.get("count", 0) + 1
            await asyncio.sleep(0)
            await session.send("counted", session.data["count"])

        return server

    async def main() -> None:
        server = new(0)
        await server.start()
        port = server.address[1]
        async with client_of(server) as client:
            for number in range(1, 4):
                await client.send("count")
                packet = await client.receive(WAIT)
                assert packet is not None
                assert packet.data == number
            token = client.token
            await server.drain()
            async with new(port) as following:
                await client.send("count")
                packet = await client.receive(WAIT)
                assert packet is not None
                assert packet.data == 4
                assert list(following.sessions) == [token]
                assert client.token == token

    run(main)


def test_nothing_is_told_before_the_turn_of_a_coroutine_is_over(
    identity: Identity, tmp_path: Path
) -> None:
    """With `state=` what a handler has sent goes out when it is through, and not while it waits."""

    async def main() -> None:
        door = asyncio.Event()
        async with (
            aio.Server(
                "127.0.0.1", 0, keys=tmp_path / "keys", state=tmp_path / "state.db"
            ) as server,
            client_of(server) as client,
        ):

            @server.on("slow")
            async def slow(session: aio.Session, packet: Any) -> None:
                await session.send("first")
                await door.wait()
                await session.send("second")

            await client.send("slow")
            (session,) = server.sessions.values()
            await session.send("other")
            assert (await client.receive()).action == "other"
            assert await client.receive(0.1) is None
            door.set()
            assert (await client.receive()).action == "first"
            assert (await client.receive()).action == "second"

    run(main)


def test_draining(identity: Identity) -> None:
    """Sessions that leave by themselves in time are waited for; the others hear when to come back."""

    async def main() -> None:
        async with serving(identity) as server:
            client, other = client_of(server), client_of(server)
            await client.connect()
            await other.connect()
            draining = asyncio.create_task(server.drain(0.3, back_in=1.0))
            await asyncio.sleep(0)
            await other.close()
            assert not await draining
            with pytest.raises(ConnectionClosed) as caught:
                await client.receive(WAIT)
            assert caught.value.code == Code.RESTART
            await client.close()

    run(main)


def test_signals_end_it(identity: Identity) -> None:
    """SIGTERM and Ctrl-C end `serve_forever()`, which returns; clients hear the difference."""

    async def main() -> None:
        for number, code in ((signal.SIGTERM, Code.RESTART), (signal.SIGINT, Code.SHUTDOWN)):
            before = signal.getsignal(number)
            server = aio.Server("127.0.0.1", 0, keys=identity)
            task = asyncio.create_task(server.serve_forever())
            await listening(server)
            client = client_of(server)
            await client.connect()
            os.kill(os.getpid(), number)
            await asyncio.wait_for(task, WAIT)
            assert signal.getsignal(number) == before
            with pytest.raises(ConnectionClosed) as caught:
                await client.receive(WAIT)
            assert caught.value.code == code
            await client.close()

    run(main)


def test_an_event_loop_that_ends(identity: Identity) -> None:
    """Clients and servers that nobody has closed end with their event loop, and say goodbye."""
    seen: list[str] = []
    kept: list[Any] = []

    async def main() -> None:
        server = aio.Server("127.0.0.1", 0, keys=identity)
        server.on_disconnect(lambda session: seen.append(session.reason))
        await server.start()
        client = client_of(server)
        await client.connect()
        kept.extend((server, client))

    asyncio.run(main())
    assert len(seen) == 1
    assert not kept[0].running
    assert kept[1].ended
