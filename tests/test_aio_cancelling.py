"""A task may be cancelled at every await of every public call: nothing is lost, left behind, or given to the next."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from cancelling import cancelled
from helpers import WAIT
from looping import client_of, listening, run, serving, until

from securelink import ConnectionClosed, Identity, LinkTimeout, aio
from securelink.streams.tcp import TCP

pytestmark = pytest.mark.usefixtures("tidy")

LARGE = b"x" * 100_000


def test_connect(identity: Identity) -> None:
    """There is a session or there is none, and the next `connect()` works."""

    async def main() -> None:
        async with serving(identity) as server:
            client = client_of(server)
            async for connected in cancelled(client.connect):
                if connected is None:
                    assert not client.connected
                else:
                    assert await client.request("echo", 1, timeout=WAIT) == 1
                    await client.close()
                await until(lambda: not server.sessions)
            async with client:
                assert await client.request("echo", 2) == 2

    run(main)


def test_an_attempt_that_comes_late(identity: Identity) -> None:
    """One that was cancelled, and reaches the server when all clients have gone, is given up; the next one works."""
    door, through = threading.Event(), threading.Event()

    class Slow:
        """A carrier that takes its time once."""

        def connect(self, host: str, port: int, timeout: float) -> Any:
            assert door.wait(WAIT)
            try:
                return TCP.connect(host, port, timeout)
            finally:
                through.set()

    async def main() -> None:
        async with serving(identity) as server:
            client = client_of(server)
            client.carrier = Slow()  # type: ignore[assignment]  # a server would need more
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.connect(), 0.1)
            await until(lambda: not [t for t in threading.enumerate() if "clients" in t.name])
            await asyncio.sleep(0.05)  # the loop of clients has ended
            door.set()
            await asyncio.to_thread(through.wait, WAIT)
            await until(
                lambda: not [t for t in threading.enumerate() if t.name == "securelink-reconnect"]
            )
            await client.connect()
            assert await client.request("echo", 1, timeout=WAIT) == 1
            await client.close()

    run(main)


def test_connect_with_credentials(identity: Identity) -> None:
    """Likewise, where it waits for the server to know that the client is in."""

    async def main() -> None:
        async with serving(identity, authenticate=lambda hello: hello.credentials) as server:
            client = client_of(server, credentials="ann")
            async for _ in cancelled(client.connect):
                await client.close()
                await until(lambda: not server.sessions)

    run(main)


@pytest.mark.parametrize(
    ("take", "in_order"),
    [
        (lambda client: client.receive(WAIT), True),
        (lambda client: client.wait_for("n", WAIT), False),
        (lambda client: anext(aiter(client)), True),
    ],
    ids=["receive", "wait_for", "iteration"],
)
def test_packets(
    identity: Identity, take: Callable[[aio.Client], Awaitable[Any]], in_order: bool
) -> None:
    """Each way to wait for a packet: no packet is lost, and none comes twice, or out of order but by its name."""

    async def main() -> None:
        async with serving(identity) as server, client_of(server) as client:
            (session,) = server.sessions.values()
            sent, got = 0, list[Any]()

            async def taking() -> Any:
                asyncio.get_running_loop().call_soon(session.send_nowait, "n", sent)
                return await take(client)

            async for packet in cancelled(taking):
                sent += 1
                if packet is not None:
                    got.append(packet.data)
            while len(got) < sent:
                got.append((await take(client)).data)
            assert (got if in_order else sorted(got)) == list(range(sent))

    run(main)


def test_requests(identity: Identity) -> None:
    """No answer goes to the next who asks, and nobody waits for one that nobody wants; likewise PINGs."""

    async def main() -> None:
        async with serving(identity) as server, client_of(server) as client:
            asked = 0

            async def ask() -> Any:
                return await client.request("echo", asked, timeout=WAIT)

            async for answer in cancelled(ask):
                assert answer in (None, asked)
                asked += 1
                assert await client.request("echo", -asked, timeout=WAIT) == -asked
            async for _ in cancelled(client.ping):
                assert await client.ping() >= 0
            (session,) = server.sessions.values()
            assert await session.ping() >= 0
            channel = client._channel  # noqa: SLF001  # its table of those who wait is nobody else's
            assert channel is not None
            assert not channel.core.requests.expected

    run(main)


def test_send_that_waits_for_room(identity: Identity) -> None:
    """What `send` returned for arrives, once and in order; what was cancelled does not."""

    async def main() -> None:
        got: list[int] = []
        async with serving(identity) as server:
            door = asyncio.Event()

            @server.on("large")
            async def large(session: aio.Session, packet: Any) -> None:
                await door.wait()
                got.append(packet.headers["number"])

            async with client_of(server, max_unsent=200_000, max_unacked=1_048_576) as client:
                number, sent = 0, list[int]()
                while True:  # until there is no room
                    try:
                        await client.send("large", LARGE, headers={"number": number}, timeout=0.05)
                    except LinkTimeout:
                        break
                    sent.append(number)
                    number += 1

                async def send() -> Any:
                    asyncio.get_running_loop().call_soon(door.set)
                    done = await client.send(
                        "large", LARGE, headers={"number": number}, timeout=WAIT
                    )
                    sent.append(number)
                    return done

                async for _ in cancelled(send):
                    number += 1
                    door.clear()
                door.set()
                await until(lambda: len(got) == len(sent))
                assert got == sent
                assert len(sent) < number

    run(main)


def test_close_and_stop(identity: Identity) -> None:
    """The session ends, and the server stops, all the same."""

    async def main() -> None:
        async with serving(identity) as server:
            client = client_of(server)

            async def once() -> None:
                await client.connect()
                await client.close()

            async for _ in cancelled(once):
                await client.close()
                await until(lambda: not server.sessions)

    run(main)


def test_starting_and_stopping_a_server(identity: Identity) -> None:
    """It runs or it does not, and the next `start()` works."""

    async def main() -> None:
        server = aio.Server("127.0.0.1", 0, keys=identity)

        async def once() -> None:
            await server.start()
            async with client_of(server) as client:
                assert await client.ping() >= 0
            await server.stop()

        async for _ in cancelled(once, most=200):
            await server.stop()
            await until(lambda: not server.running)

    run(main)


def test_serving_for_ever(identity: Identity) -> None:
    """A cancelled `serve_forever()` has stopped its server before the task ends."""

    async def main() -> None:
        for _ in range(3):
            server = aio.Server("127.0.0.1", 0, keys=identity)
            task = asyncio.create_task(server.serve_forever())
            await listening(server)
            client = client_of(server)
            await client.connect()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not server.running
            with pytest.raises(ConnectionClosed):
                await client.receive(WAIT)
            await client.close()

    run(main)


def test_a_handler_that_is_cancelled(identity: Identity) -> None:
    """Its request is answered with an error, and the session goes on."""

    async def main() -> None:
        async with serving(identity) as server, client_of(server) as client:
            tasks: list[asyncio.Task[Any]] = []

            @server.on("forever")
            async def forever(session: aio.Session, packet: Any) -> None:
                task = asyncio.current_task()
                assert task is not None
                tasks.append(task)
                await asyncio.Event().wait()

            asked = asyncio.create_task(client.request("forever", timeout=WAIT))
            await until(lambda: tasks)
            tasks[0].cancel()
            with pytest.raises(Exception, match="handler failed"):
                await asked
            assert await client.request("echo", 1) == 1
            assert len(server.caught.take()) == 1

    run(main)


def test_timeouts_and_groups(identity: Identity) -> None:
    """`asyncio.timeout` and a TaskGroup that fails end what waits, and nothing else."""

    async def main() -> None:
        async with serving(identity) as server, client_of(server) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await client.receive()

            async def together() -> None:
                async with asyncio.TaskGroup() as group:
                    group.create_task(client.receive())
                    group.create_task(client.wait_for("nothing", WAIT))
                    group.create_task(client.request("nothing"))

            with pytest.raises(ExceptionGroup):
                await together()
            assert await client.request("echo", 1) == 1

    run(main)
