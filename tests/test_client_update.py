"""A client in a game loop: whatever its frame time, handlers run in the game's thread and in no other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from threading import get_ident
from typing import Any, cast

import pytest
from helpers import WAIT, failure, until
from together import Crew, channel_of, link_of, serving, session_of

from securelink import (
    Client,
    Code,
    ConfigError,
    ConnectionClosed,
    Identity,
    Received,
    Server,
    Session,
)
from securelink.protocol.bounds import Bounds

pytestmark = pytest.mark.usefixtures("tidy")

FRAMES = {"60 fps": 1 / 60, "15 fps": 1 / 15, "5 fps": 1 / 5}  # seconds


def game(server: Server, identity: Identity, **options: Any) -> Client:
    """A client that is driven by update(), not connected yet."""
    return Client(*server.address, pin=identity.fingerprint, handlers="update", **options)


def watched(client: Client) -> tuple[set[int], list[str]]:
    """(Threads that ran anything of the client's, what was run), growing."""
    threads: set[int] = set()
    seen: list[str] = []

    def note(what: str) -> None:
        threads.add(get_ident())
        seen.append(what)

    client.on("move", lambda packet: note("move"))
    client.on("ask", lambda packet: note("ask"))
    client.on_message(lambda packet: note("message"))
    client.on_state(lambda value: note("state"))
    client.on_connect(lambda: note("connect"))
    client.on_disconnect(lambda: note("disconnect"))

    def rewrite(packet: Received) -> Any:
        note("rewrite")
        return packet.data

    client.after_receive = rewrite
    return threads, seen


def play(client: Client, frame: float, enough: Callable[[], object]) -> None:
    """A game: one update() a frame, and a pause in between in which nothing of ours may run."""
    end = time.monotonic() + WAIT
    while not enough():
        assert time.monotonic() < end
        client.update()
        time.sleep(frame)


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_all_handlers_run_in_the_thread_of_the_game(frame: float, identity: Identity) -> None:
    """Packets, requests, state, connecting and the end, while the server sends without pause: one thread."""
    with serving(identity) as server:
        client = game(server, identity)
        threads, seen = watched(client)
        client.connect()
        session = session_of(server, client)
        over = threading.Event()

        def send() -> None:
            while not over.wait(0.002):
                session.send("move", bytes(100))
                session.set_state(time.monotonic())

        answers: list[Any] = []
        with Crew() as crew:
            crew.start(send)
            crew.start(lambda: answers.append(session.request("ask", timeout=WAIT)))
            play(client, frame, lambda: seen.count("move") > 100 and answers)
            over.set()
        session.kick()
        until(lambda: not client.connected)
        assert "disconnect" not in seen
        play(client, frame, lambda: "disconnect" in seen)
        assert not client.update()
        assert threads == {get_ident()}
        assert set(seen) == {"connect", "move", "ask", "message", "state", "rewrite", "disconnect"}
        assert (seen[0], seen[-1]) == ("connect", "disconnect")
        assert client.code == Code.KICKED


def test_an_update_keeps_to_its_budget(identity: Identity) -> None:
    """By default all that had come is handled; with a budget the rest waits for the next call, in order."""
    with serving(identity) as server:
        client = game(server, identity)
        handled: list[int] = []

        def work(packet: Received) -> None:
            handled.append(packet.data)
            time.sleep(0.005)

        client.on("move", work)
        client.connect()
        session = session_of(server, client)
        for number in range(60):
            session.send("move", number)
        sent, came = channel_of(session).core.numbering.outgoing, channel_of(client).core
        until(
            lambda: not channel_of(session).unsent and came.numbering.incoming.accepted == sent.sent
        )
        assert client.update(budget=0.0)
        assert 1 <= len(handled) <= 10  # a turn ends after 10 ms
        client.update(budget=0.03)
        assert 2 <= len(handled) < 40
        client.update()
        assert handled == list(range(60))
        failure(
            ConfigError, lambda: client.update(budget=cast(Any, "5")), "budget='5' is not possible"
        )


def test_a_long_frame_costs_no_session(identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    """While no frame comes, reading and heartbeats go on, and nothing is handled: so nothing is acknowledged."""
    monkeypatch.setattr("securelink.threads.sweeper.SWEEP_SECONDS", 0.05)
    with serving(identity, heartbeat=1) as server:
        client = game(server, identity)
        threads, seen = watched(client)
        client.connect()
        client.update()
        session = session_of(server, client)
        session.send("move", 1)
        until(lambda: channel_of(client).core.numbering.incoming.accepted == 1)
        outgoing = channel_of(session).core.numbering.outgoing
        reads = link_of(session).connection.reads if channel_of(session).link is not None else 0
        time.sleep(3.0)  # longer than a silent client is believed to live
        assert session.connected
        assert session.ping(WAIT) < WAIT
        assert link_of(session).connection.reads > reads + 1
        assert seen == ["connect"]
        assert outgoing.acknowledged == 0
        play(client, 0, lambda: "move" in seen)
        until(lambda: outgoing.acknowledged == 1)
        assert threads == {get_ident()}
        client.close()
        assert seen[-1] == "disconnect"
        assert threads == {get_ident()}


def flood(session: Session, count: int) -> None:
    """Send numbered packets as fast as they are taken."""
    for number in range(count):
        session.send("n", [number, bytes(20_000)], timeout=None)


def test_the_inbox_is_bounded_between_frames(identity: Identity) -> None:
    """A server that is faster than the game is not read any more, nothing is lost, and all comes in order."""
    with serving(identity) as server:
        client = game(server, identity)
        numbers: list[int] = []
        client.on("n", lambda packet: numbers.append(packet.data[0]))
        client.connect()
        channel = channel_of(client)
        channel.bounds = Bounds(inbox_bytes=200_000)
        session = session_of(server, client)
        count = 400
        with Crew() as crew:
            crew.start(flood, session, count)
            until(lambda: channel.core.receiving.full)
            time.sleep(0.2)
            held = channel.core.receiving.in_bytes - channel.core.receiving.out_bytes
            assert held < 200_000 + 300_000  # the bound, and what one read may bring more
            assert numbers == []
            play(client, 0, lambda: len(numbers) == count)
        assert numbers == list(range(count))
        client.close()


def test_a_frame_handles_what_had_come_before_it(identity: Identity) -> None:
    """A handler that brings about more packets cannot hold a frame: these are for the next one."""
    with serving(identity) as server:
        client = game(server, identity)
        rounds = [0]

        @client.on("echo")
        def again(packet: Received) -> None:
            rounds[0] += 1
            before = channel_of(client).core.receiving.in_bytes
            client.send("echo")
            until(
                lambda: (
                    link_of(client).drive(0.01)
                    and channel_of(client).core.receiving.in_bytes > before
                )
            )

        client.connect()
        client.send("echo")
        until(lambda: client.update() and rounds[0])
        assert rounds[0] == 1
        client.update()
        assert rounds[0] == 2
        client.close()


def test_other_threads_run_no_handler(identity: Identity) -> None:
    """A helper thread may send, ask and receive: handlers still run in the game's thread only."""
    with serving(identity) as server:
        server.on("ask", lambda session, packet: packet.data)
        client = game(server, identity)
        threads, seen = watched(client)
        client.connect()
        session = session_of(server, client)
        session.send("move")
        until(lambda: channel_of(client).core.receiving.items)
        results: list[Any] = []

        def help_out() -> None:
            results.append(client.request("ask", 1, timeout=WAIT))
            results.append(client.poll())
            results.append(client.receive(timeout=0.1))

        with Crew() as crew:
            crew.start(help_out)
        assert results == [1, [], None]
        assert seen == ["connect"]
        play(client, 0, lambda: "move" in seen)
        assert threads == {get_ident()}
        closing = threading.Thread(target=client.close)
        closing.start()
        closing.join(WAIT)
        assert "disconnect" not in seen
        assert not client.update()
        assert seen[-1] == "disconnect"
        assert threads == {get_ident()}


def test_the_thread_may_change(identity: Identity) -> None:
    """Who calls update() is the game's thread from then on."""
    with serving(identity) as server:
        client = game(server, identity)
        threads, seen = watched(client)
        client.connect()
        threads.clear()
        session_of(server, client).send("move")
        with Crew() as crew:
            crew.start(lambda: play(client, 0.01, lambda: "move" in seen))
        assert threads
        assert get_ident() not in threads
        client.update()
        client.close()


def test_a_request_in_the_game_thread_handles_too(identity: Identity) -> None:
    """While the game itself waits for an answer, the server may ask back."""
    with serving(identity) as server:

        @server.on("outer")
        def outer(session: Session, packet: Received) -> Any:
            return session.request("inner", packet.data, timeout=WAIT)

        client = game(server, identity)
        threads: list[int] = []

        @client.on("inner")
        def inner(packet: Received) -> Any:
            threads.append(get_ident())
            return packet.data + 1

        client.connect()
        assert client.request("outer", 1, timeout=WAIT) == 2
        assert threads == [get_ident()]
        client.close()


def test_packets_without_a_handler_wait(identity: Identity) -> None:
    """update() leaves them to receive() and poll(), also after the end."""
    with serving(identity) as server:
        client = game(server, identity).connect()
        session = session_of(server, client)
        for number in range(3):
            session.send("x", number)
        session.kick()
        until(lambda: not client.update())
        assert [packet.data for packet in client.poll()] == [0, 1, 2]
        with pytest.raises(ConnectionClosed):
            client.poll()


def test_mistakes(identity: Identity) -> None:
    """update() says what it needs: the option, a session, and no handler around it."""
    failure(
        ConfigError, lambda: Client("127.0.0.1", 1, handlers="frame"), "handlers='frame'", "update"
    )
    with serving(identity) as server:
        with Client(*server.address, pin=identity.fingerprint) as other:
            failure(ConfigError, other.update, "other threads", 'handlers="update"')
        client = game(server, identity)
        failure(ConfigError, client.update, "not connected", "connect")
        errors: list[ConfigError] = []

        @client.on("echo")
        def nested(packet: Received) -> None:
            errors.append(failure(ConfigError, client.update, "in a handler", "once a frame"))

        client.connect()
        client.send("echo")
        play(client, 0, lambda: errors)
        client.close()


def test_a_game_that_forgets_its_client(identity: Identity) -> None:
    """Nobody can call update() any more, so handlers are no reason to stay."""
    with serving(identity) as server:
        client = game(server, identity)
        client.on("x", lambda packet: None)
        client.connect()
        with pytest.warns(ResourceWarning, match="was forgotten"):
            del client
        until(lambda: not server.sessions)
