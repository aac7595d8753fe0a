"""A peer that stops to read, or is away: what each policy makes of packets, on both sides, in every mode."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import WAIT, until
from together import Crew, channel_of, deafen, link_of, session_of, unread

from securelink import (
    Client,
    Code,
    ConnectionClosed,
    Identity,
    LinkTimeout,
    RequestFailed,
    Server,
    Session,
)
from securelink.limits import WRITE_BUDGET

UNSENT = 256 * 1024  # of these sessions
PIECE = bytes(32 * 1024)
STILL_LOOKS = 10  # so often the same is found, one after the other, before it is believed
MANY = 1000  # pieces: more than a system keeps for a peer that does not read
MODES = ("pool", "one at a time", "update")
Send = Callable[..., bool]


@contextlib.contextmanager
def serving(identity: Identity, mode: str, **options: Any) -> Iterator[Server]:
    """A server that echoes, in one of its modes."""
    given: dict[str, Any] = {"keys": identity, "max_unsent": UNSENT, "resume": 60, **options}
    server = Server("127.0.0.1", 0, overlap=mode != "one at a time", **given)
    server.on("echo", lambda session, packet: packet.data)
    if mode != "update":
        with server:
            yield server
        return
    over = threading.Event()

    def drive() -> None:
        while not over.is_set():
            server.update()
            time.sleep(0.001)
        server.stop()

    server.update()
    with Crew() as crew:
        crew.start(drive)
        try:
            yield server
        finally:
            over.set()


def client_of(server: Server, **options: Any) -> Client:
    """A client of it, not connected."""
    return Client(*server.address, pin=server.fingerprint, max_unsent=UNSENT, **options)


class Scene:
    """
    A side that sends, and a peer that takes nothing until `release` is called.

    Attributes:
        side: Has the policies.
        send: Sends to that peer.
        channel: Of that session.
        client: The client.
        other: Another client, of which all goes well.
        received: The numbers that have come at the peer, in order.
    """

    def __init__(self, server: Server, client: Client, other: Client, *, ours: bool) -> None:
        self.session = session_of(server, client)
        self.side: Server | Client = server if ours else client
        self.peer: Session | Client = self.session if ours else client
        self.send: Send = self.peer.send
        self.channel = channel_of(self.session) if ours else channel_of(client)
        self.client, self.other = client, other
        self.received: list[Any] = []
        self.release: Callable[[], object] = lambda: None
        self._sent = 0

    def arrived(self, data: Any) -> None:
        """At the peer."""
        self.received.append(data if isinstance(data, int) else data[0])

    def fill(self, action: str, **how: Any) -> list[bool]:
        """Send pieces, each with the next number, until something happens to one, or there were many."""
        before, told = self.peer.pressure, list[bool]()
        while len(told) < MANY and self.peer.pressure[2:] == before[2:]:
            told.append(self.say(action, **how))
            if self.peer.pressure.unsent > UNSENT // 2:
                self._settle()
        return told

    def _settle(self) -> None:
        """Wait until the system takes nothing more: on a busy machine it takes one more piece after a while."""
        same, unsent = 0, self.peer.pressure.unsent
        while same < STILL_LOOKS:
            time.sleep(0.01)
            now = self.peer.pressure.unsent
            same, unsent = (same + 1 if now == unsent else 0), now

    def say(self, action: str, **how: Any) -> bool:
        """Send a piece with the next number."""
        self._sent += 1
        return self.send(action, [self._sent, PIECE], **how)

    def say_many(self, action: str) -> None:
        """So many that something must happen."""
        for _ in range(MANY):
            self.say(action)

    @property
    def sent(self) -> int:
        """The last number."""
        return self._sent


@contextlib.contextmanager
def scene(
    identity: Identity, mode: str, ours: bool, trouble: str, **options: Any
) -> Iterator[Scene]:
    """A peer that is away, or stops to read; beside it another client, to which that must not matter."""
    with (
        serving(identity, mode, **options) as server,
        client_of(server, handlers="update" if mode == "client update" else "background") as client,
        client_of(server) as other,
        contextlib.ExitStack() as later,
    ):
        made = Scene(server, client, other, ours=ours)
        for action in ("n", "at", "keep"):
            if ours:
                client.on(action, lambda packet: made.arrived(packet.data))
            else:
                server.on(action, lambda session, packet: made.arrived(packet.data))
        other.request("echo", "before", timeout=WAIT)
        if trouble == "away":
            away(server, made.session)
            made.release = server.resume
            later.callback(server.resume)
        elif ours:
            stopped = later.enter_context(contextlib.ExitStack())
            stopped.enter_context(unread(channel_of(client)))
            made.release = stopped.close
        else:
            made.release = deafen(server, made.session)
            later.callback(made.release)
        yield made
        assert other.request("echo", "still there", timeout=WAIT) == "still there"


def away(server: Server, session: Session) -> None:
    """Its connection is lost, and its client cannot come back while the server is paused."""
    server.pause()
    link = link_of(session)
    link.loop.call(link.lost)
    until(lambda: not session.connected)


pytestmark = pytest.mark.usefixtures("tidy")
everywhere = pytest.mark.parametrize(
    ("mode", "ours", "trouble"),
    [
        *((mode, True, trouble) for mode in MODES for trouble in ("away", "stopped")),
        ("pool", False, "away"),
        ("pool", False, "stopped"),
        ("client update", False, "away"),
        ("client update", False, "stopped"),
    ],
)


@everywhere
def test_drop(identity: Identity, mode: str, ours: bool, trouble: str) -> None:
    """What finds no room is dropped and said; all else comes, in order, and the queue keeps to its bound."""
    with scene(identity, mode, ours, trouble) as it:
        it.side.policy("n", "drop")
        told = it.fill("n")
        assert told[-1] is False
        assert it.say("n") is False
        assert it.peer.pressure.dropped == 2
        assert it.peer.pressure.unsent <= UNSENT + WRITE_BUDGET
        it.release()
        until(lambda: len(it.received) == len(told) - 1)
        assert it.received == list(range(1, len(told)))


@everywhere
def test_the_oldest(identity: Identity, mode: str, ours: bool, trouble: str) -> None:
    """The newest are taken; what was dropped is missing in one place, and what has no such policy is all there."""
    with scene(identity, mode, ours, trouble) as it:
        it.side.policy("n", "oldest")
        it.fill("n")
        kept = []
        for _ in range(20):
            assert it.say("n") is True
            assert it.send("keep", it.sent, full="latest", latest=str(it.sent)) is True
            kept.append(it.sent)
        assert it.peer.pressure.unsent <= UNSENT + WRITE_BUDGET
        dropped = it.peer.pressure.dropped
        assert dropped >= 20
        it.release()
        until(lambda: len(it.received) == it.sent - dropped + len(kept))
        found = sorted(it.received)
        assert it.received == found
        assert [n for n in it.received if n in kept][-2:] == [it.sent, it.sent]
        assert {n for n in kept if it.received.count(n)} == set(kept)
        missing = set(range(1, it.sent + 1)) - set(found)
        assert len(missing) <= dropped


@everywhere
def test_the_latest(identity: Identity, mode: str, ours: bool, trouble: str) -> None:
    """One waits for each key, and it is the newest; none is refused, and nothing waits."""
    with scene(identity, mode, ours, trouble) as it:
        it.side.policy("at", "latest", key=lambda data: str(data[0] % 3))
        assert all(it.fill("at"))
        for _ in range(30):
            assert it.say("at") is True
        assert it.peer.pressure.unsent <= UNSENT + WRITE_BUDGET
        assert it.peer.pressure.blocked == 0
        replaced = it.peer.pressure.replaced
        assert replaced >= 15  # nearly all: the system may take some more pieces meanwhile
        it.release()
        until(lambda: len(it.received) == it.sent - replaced)
        assert set(range(it.sent - 2, it.sent + 1)) <= set(it.received)


@everywhere
def test_the_end(identity: Identity, mode: str, ours: bool, trouble: str) -> None:
    """The session is over, for good, and nobody else's is."""
    with scene(identity, mode, ours, trouble) as it:
        it.side.policy("n", "end")
        assert it.fill("n")[-1] is False
        until(lambda: it.channel.core.receiving.dropping)
        with pytest.raises(ConnectionClosed):
            it.say("n")
        it.release()
        until(lambda: it.peer.ended)
        assert it.peer.code == Code.TOO_SLOW


@everywhere
def test_waiting(identity: Identity, mode: str, ours: bool, trouble: str) -> None:
    """Outside of handlers and `update()` a send waits, not longer than it may, and goes on when there is room."""
    with scene(identity, mode, ours, trouble) as it:
        it.side.policy("n", "wait", timeout=0.05)
        failed = 0
        if mode == "update":  # nobody reads while a thread of the program waits: it never does
            assert [it.say("n") for _ in range(20)] == [True] * 20
            assert it.peer.pressure.blocked == 0
            it.release()
        else:
            with pytest.raises(LinkTimeout):
                it.say_many("n")
            failed = it.sent
            blocked = it.peer.pressure.blocked
            assert blocked >= 1
            assert it.peer.pressure.unsent <= UNSENT + WRITE_BUDGET

            def say_until_one_waits() -> None:
                # A thread of ours that was late may make room in the meantime, and then some more go at once.
                while it.peer.pressure.blocked == blocked:
                    it.say("n", timeout=WAIT)

            with Crew() as crew:
                crew.start(say_until_one_waits)
                until(lambda: it.peer.pressure.blocked > blocked)
                it.release()
        expected = [number for number in range(1, it.sent + 1) if number != failed]
        until(lambda: len(it.received) == len(expected))
        assert it.received == expected


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("trouble", ["away", "stopped"])
def test_in_a_handler_nothing_waits(identity: Identity, mode: str, trouble: str) -> None:
    """Whatever the policy: a handler of another client goes on at once, and so does a broadcast anywhere."""
    with scene(identity, mode, True, trouble) as it:
        server = it.side
        assert isinstance(server, Server)
        server.policy("wait", "wait", timeout=None)
        server.policy("old", "oldest")
        server.policy("drop", "drop")

        def spread(session: Session, packet: Any) -> list[int]:
            it.session.send("wait", [0, PIECE])
            return [server.broadcast(action, [0, PIECE]) for action in ("old", "drop", "wait")]

        server.on("spread", spread)
        it.fill("old")
        old, drop, wait = it.other.request("spread", timeout=WAIT)
        assert (drop, wait) == (1, 2)
        # A system that takes some more after all lets the rest into a record, of which nothing is dropped any more.
        assert old == 2 or (trouble == "stopped" and old == 1)
        packets = [it.other.receive(WAIT) for _ in range(3)]
        assert [packet and packet.action for packet in packets] == ["old", "drop", "wait"]
        assert server.broadcast("wait", [0, PIECE]) == 2
        assert it.peer.pressure.blocked == 0
        it.release()


@pytest.mark.parametrize("trouble", ["away", "stopped"])
def test_requests_and_replies_are_never_dropped(identity: Identity, trouble: str) -> None:
    """Whatever the policy of packets of their name, and however full it is."""
    with scene(identity, "pool", True, trouble) as it:
        for action in ("ask", "echo", "n"):
            it.side.policy(action, "oldest")
        asked = it.session.request_later("ask", 1, timeout=WAIT)
        it.fill("n")
        for _ in range(50):
            it.say("n")
        answered = it.client.request_later("echo", 7, timeout=WAIT)
        it.release()
        with pytest.raises(RequestFailed, match="no handler"):
            asked.result(WAIT)
        assert answered.result(WAIT) == 7


def test_a_writer_is_not_stalled_for_ever(identity: Identity) -> None:
    """A send without a time-out to a server that is gone ends with the session, when its time is over."""
    with serving(identity, "pool", resume=1) as server, client_of(server) as client:
        it = Scene(server, client, client, ours=False)
        client.policy("n", "wait", timeout=None)
        away(server, it.session)
        with pytest.raises(ConnectionClosed):
            it.say_many("n")
        assert client.code == Code.EXPIRED
        server.resume()


def test_a_store_learns_what_was_dropped(identity: Identity, tmp_path: Path) -> None:
    """Sessions that a store keeps drop and replace as others do, and the next process sends the rest in order."""
    keys = tmp_path / "keys"
    seen: list[int] = []

    def server_at(port: int) -> Server:
        return Server(
            "127.0.0.1", port, keys=keys, state=tmp_path / "state.db", max_unsent=UNSENT, resume=60
        )

    with server_at(0) as server:
        port = server.address[1]
        client = client_of(server)
        client.on_message(lambda packet: seen.append(packet.data[0]))
        client.connect(WAIT)
        it = Scene(server, client, client, ours=True)
        server.policy("n", "oldest")
        server.policy("at", "latest")
        away(server, it.session)
        it.fill("n")
        for _ in range(200):
            assert it.say("n")
            assert it.say("at")
        assert it.peer.pressure.unsent <= UNSENT + WRITE_BUDGET
        assert it.peer.pressure.dropped >= 190
        assert it.peer.pressure.replaced == 199
        server.drain()
    with server_at(port):
        until(lambda: it.sent - 1 in seen)
        until(lambda: client.ping(WAIT) > 0)
        assert seen.count(it.sent) == 1
        rest = [number for number in seen if number != it.sent]
        assert rest == sorted(set(rest))
        client.close()


@pytest.mark.parametrize("full", ["drop", "oldest"])
def test_what_one_turn_sends_keeps_to_the_bound(tmp_path: Path, full: str) -> None:
    """Where a store keeps sessions a handler's packets wait for its end, and count from the first on."""
    server = Server(
        "127.0.0.1",
        0,
        keys=tmp_path / "keys",
        state=tmp_path / "state.db",
        max_unsent=UNSENT,
        resume=60,
    )
    with server, client_of(server) as client, client_of(server) as other:
        it = Scene(server, client, other, ours=True)
        client.on("n", lambda packet: it.arrived(packet.data))
        server.on("flood", lambda session, packet: [it.say("n", full=full) for _ in range(50)])
        away(server, it.session)
        told = other.request("flood", timeout=WAIT)
        until(lambda: it.peer.pressure.unsent)
        assert UNSENT - 2 * len(PIECE) < it.peer.pressure.unsent <= UNSENT
        dropped = it.peer.pressure.dropped
        assert told == [True] * 50 if full == "oldest" else told.count(False) == dropped
        server.resume()
        until(lambda: len(it.received) == 50 - dropped)
        kept = range(1, 51 - dropped) if full == "drop" else range(dropped + 1, 51)
        assert it.received == list(kept)
