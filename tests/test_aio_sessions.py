"""Sessions of the asyncio shell: packets, requests and events, both ways, from the beginning to the end."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
import together
from helpers import WAIT
from looping import client_of, run, serving, until

from securelink import (
    Client,
    Code,
    ConfigError,
    ConnectionClosed,
    Identity,
    LinkTimeout,
    Refused,
    RequestFailed,
    aio,
)

pytestmark = pytest.mark.usefixtures("tidy")


def test_packets_go_both_ways(identity: Identity) -> None:
    """What a client sends reaches a handler, and what that sends is received, in order."""

    async def main() -> None:
        async with serving(identity) as server, client_of(server) as client:
            assert client.connected
            assert client.token in server.sessions
            for number in range(200):
                assert await client.send("echo", number)
            got = [(await client.receive(WAIT)) for _ in range(200)]
            assert [packet.data for packet in got if packet is not None] == list(range(200))
        assert client.code == Code.NORMAL

    run(main)


def test_requests_are_answered(identity: Identity) -> None:
    """Many at a time, of both sides, by handlers that are coroutines or plain functions."""

    async def main() -> None:
        async with serving(identity) as server:
            server.on("double", lambda session, packet: packet.data * 2)

            @server.on("who")
            async def who(session: aio.Session, packet: Any) -> Any:
                return await session.request("name", timeout=WAIT)

            @server.on("broken")
            async def broken(session: aio.Session, packet: Any) -> None:
                raise ValueError("inside")

            client = client_of(server)

            @client.on("name")
            async def name(packet: Any) -> str:
                await asyncio.sleep(0)
                return "bob"

            async with client:
                asked = [client.request("double", number) for number in range(50)]
                assert await asyncio.gather(*asked) == [2 * number for number in range(50)]
                assert await client.request("who") == "bob"
                with pytest.raises(RequestFailed, match="its log says why"):
                    await client.request("broken")
                with pytest.raises(RequestFailed, match="nothing"):
                    await client.request("nothing")
                assert await client.ping() > 0
            assert [caught.what for caught in server.caught.take()] == ["broken"]

    run(main)


def test_handlers_of_a_session_never_overlap(identity: Identity) -> None:
    """A coroutine handles its packet to the end before the next one; other sessions do not wait for it."""

    async def main() -> None:
        open_door, entered = asyncio.Event(), list[Any]()
        async with serving(identity) as server:

            @server.on("wait")
            async def wait(session: aio.Session, packet: Any) -> None:
                entered.append((session.token, packet.data))
                await open_door.wait()
                entered.append((session.token, packet.data))

            async with client_of(server) as slow, client_of(server) as quick:
                for number in range(3):
                    await slow.send("wait", number)
                await until(lambda: entered)
                assert await quick.request("echo", 7, timeout=WAIT) == 7
                assert entered == [(slow.token, 0)]
                open_door.set()
                await until(lambda: len(entered) == 6)
                assert entered == [(slow.token, number // 2) for number in range(6)]

    run(main)


def test_events_come_in_order_with_packets(identity: Identity) -> None:
    """Connect is first and disconnect last, also where listeners are coroutines that take their time."""

    async def main() -> None:
        seen: list[str] = []
        async with serving(identity) as server:

            @server.on_connect
            async def came(session: aio.Session) -> None:
                await asyncio.sleep(0.01)
                seen.append("connect")

            @server.on("say")
            def say(session: aio.Session, packet: Any) -> None:
                seen.append(packet.data)

            @server.on_disconnect
            async def left(session: aio.Session) -> None:
                await asyncio.sleep(0.01)
                seen.append(session.reason)

            async with client_of(server) as client:
                await client.send("say", "one")
                await client.send("say", "two")
            await until(lambda: len(seen) == 4)
            assert seen[:3] == ["connect", "one", "two"]
            await until(lambda: not server.sessions)

    run(main)


def test_nothing_goes_out_before_on_connect_has_let_in(identity: Identity) -> None:
    """What others send to a session waits for its `on_connect`; what that sends itself does not."""

    async def main() -> None:
        door = asyncio.Event()
        async with serving(identity) as server:

            @server.on_connect
            async def came(session: aio.Session) -> None:
                await session.send("first")
                await door.wait()
                await session.send("second")

            async with client_of(server) as client:
                assert (await client.receive()).action == "first"
                server.broadcast("news")
                assert await client.receive(0.05) is None
                door.set()
                assert (await client.receive()).action == "second"
                assert (await client.receive()).action == "news"

    run(main)


def test_on_connect_refuses_as_a_coroutine(identity: Identity) -> None:
    """`Refused` in it ends the session."""

    async def main() -> None:
        async with serving(identity) as server:

            @server.on_connect
            async def came(session: aio.Session) -> None:
                await asyncio.sleep(0.01)
                raise Refused("full")

            client = client_of(server)
            await client.connect()
            with pytest.raises(ConnectionClosed, match="full"):
                await client.receive(WAIT)
            await client.close()

    run(main)


def test_authenticate_is_a_coroutine_or_a_function(identity: Identity) -> None:
    """Both give the user, or refuse."""

    async def asking(hello: Any) -> Any:
        await asyncio.sleep(0.01)
        if hello.credentials != "secret":
            raise Refused("who are you?")
        return "ann"

    async def main() -> None:
        for hook in (asking, lambda hello: "ann" if hello.credentials == "secret" else None):
            async with serving(identity, authenticate=hook) as server:
                async with client_of(server, credentials="secret"):
                    assert [session.user for session in server.sessions.values()] == ["ann"]
                with pytest.raises(Refused):
                    await client_of(server, credentials="guess").connect()

    run(main)


def test_iteration_ends_with_the_session(identity: Identity) -> None:
    """`async for` gives packets until the server ends the session; a kick is an error."""

    async def main() -> None:
        async with serving(identity) as server:

            @server.on("leave")
            async def leave(session: aio.Session, packet: Any) -> None:
                await session.send("bye")
                session.kick("enough")

            async with client_of(server) as client:
                await client.send("leave")
                assert (await anext(aiter(client))).action == "bye"
                with pytest.raises(ConnectionClosed, match="enough"):
                    await anext(aiter(client))

    run(main)


def test_a_packet_is_waited_for_by_its_name(identity: Identity) -> None:
    """`wait_for` takes one of that name, and leaves the others to `receive`."""

    async def main() -> None:
        async with serving(identity) as server, client_of(server) as client:
            (session,) = server.sessions.values()
            await session.send("other", 1)
            await session.send("mine", 2)
            assert (await client.wait_for("mine", WAIT)).data == 2
            assert (await client.receive()).data == 1
            with pytest.raises(LinkTimeout):
                await client.wait_for("mine", 0.01)
            with pytest.raises(ConfigError, match="cannot be the name of an action"):
                await client.wait_for("~mine", 0.01)

    run(main)


def test_a_forgotten_client_leaves_and_says_so(identity: Identity) -> None:
    """A ResourceWarning names it and the block that it needs, and its session ends cleanly."""

    async def main() -> None:
        gone: list[aio.Session] = []
        async with serving(identity) as server:
            server.on_disconnect(gone.append)
            clients = [await aio.Client(*server.address, pin=identity.fingerprint).connect()]
            with pytest.warns(ResourceWarning, match="forgotten .* use it with 'async with'"):
                clients.clear()
            await until(lambda: gone)
            assert (gone[0].code, gone[0].clean) == (Code.NORMAL, True)

    run(main)


def test_rooms_ticks_and_states(identity: Identity) -> None:
    """What never waits is as it is with threads."""

    async def main() -> None:
        ticks: list[int] = []
        async with serving(identity, tick_rate=100) as server:

            @server.on_tick
            async def tick() -> None:
                ticks.append(1)

            @server.on_connect
            def came(session: aio.Session) -> None:
                session.join("lobby")

            server.set_state({"round": 1})
            async with client_of(server) as one, client_of(server) as two:
                await until(lambda: len(server.room("lobby")) == 2)
                assert server.room("lobby").broadcast("hi", 5) == 2
                assert (await one.receive()).data == (await two.receive()).data == 5
                assert one.server_state == {"round": 1}
                one.set_state("ready")
                await until(lambda: server.sessions[one.token].state == "ready")
            await until(lambda: len(ticks) > 3)

    run(main)


def test_both_shells_talk_to_each_other(identity: Identity) -> None:
    """A client with threads and an asyncio server, and the other way round."""

    async def main() -> None:
        async with serving(identity) as server:

            def talk() -> Any:
                with Client("127.0.0.1", server.address[1], pin=server.fingerprint) as client:
                    return client.request("echo", 1)

            assert await asyncio.to_thread(talk) == 1
        with together.serving(identity) as threaded:
            async with client_of(threaded) as client:
                await client.send("echo", 2)
                assert (await client.receive()).data == 2

    run(main)


def test_a_thread_that_drives_a_server_does_not_wait_for_it(identity: Identity) -> None:
    """A blocking `connect()` in the event loop of its own server would never end: it is an error that says so."""

    async def main() -> None:
        async with serving(identity) as server:
            with pytest.raises(ConfigError, match="this thread drives the server"):
                Client("127.0.0.1", server.address[1], pin=server.fingerprint).connect()

    run(main)


def test_options_that_say_nothing_here_are_refused(identity: Identity) -> None:
    """Threads for handlers, and frames that call them, are of the other shell."""
    with pytest.raises(ConfigError, match="workers"):
        aio.Server(workers=8)
    with pytest.raises(ConfigError, match="overlap"):
        aio.Server(overlap=False)
    with pytest.raises(ConfigError, match="update"):
        aio.Client("127.0.0.1", 5050, handlers="update")


def test_asyncio_runs_twice(identity: Identity) -> None:
    """Each event loop has its own clients and servers, and leaves nothing behind."""

    async def main() -> None:
        async with serving(identity) as server, client_of(server) as client:
            assert await client.request("echo", 3) == 3

    run(main)
    run(main)


def test_a_client_connects_again(identity: Identity) -> None:
    """When its session has ended, `connect()` begins another one."""

    async def main() -> None:
        async with serving(identity) as server:
            client = client_of(server)
            for _ in range(2):
                await client.connect()
                assert await client.request("echo", 1) == 1
                (session,) = server.sessions.values()
                session.kick()
                with contextlib.suppress(ConnectionClosed):
                    while True:
                        await client.receive(WAIT)
                await until(lambda: not server.sessions)
            await client.close()

    run(main)


@pytest.mark.parametrize("kicked", [False, True])
def test_at_the_bound_of_memory_what_waits_behind_a_coroutine_goes(
    identity: Identity, kicked: bool
) -> None:
    """Any number of handlers may wait for long: a session that was ended keeps nothing behind one of them."""

    async def main() -> None:
        door, most = asyncio.Event(), 4 * 2**20
        async with serving(identity, max_memory=most, max_unsent=2**20) as server:
            running = list[Any]()

            @server.on("slow")
            async def slow(session: aio.Session, packet: Any) -> None:
                running.append(packet)
                try:
                    await door.wait()
                finally:
                    running.remove(packet)

            channels = []
            async with contextlib.AsyncExitStack() as clients:
                for _ in range(8):
                    client = await clients.enter_async_context(client_of(server))
                    session: Any = server.sessions[client.token or ""]
                    channels.append(together.channel_of(session))
                    with contextlib.suppress(ConnectionClosed):
                        for _ in range(10):
                            await client.send("slow", bytes(100_000))
                        await client.ping(WAIT)
                        if kicked:
                            session.kick()
                await until(lambda: sum(channel.held for channel in channels) <= most)
                await until(lambda: len(running) < 8)  # nor its packet
                door.set()
            async with client_of(server) as client:
                assert await client.request("echo", 1, timeout=WAIT) == 1

    run(main)
