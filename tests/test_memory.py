"""What peers can make a server keep: counted, bounded, and gone when it is not needed any more."""

from __future__ import annotations

import gc
import itertools
import json
import logging
import socket
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from helpers import WAIT, Hostile, scene, until
from inside import listener_of
from linked import bench
from together import channel_of, joined, link_of, serving, session_of

from securelink import Code, ConfigError, Identity, Server, Session
from securelink.app.collect import CaughtErrors, Collector
from securelink.app.hooks import EventHook
from securelink.app.received import Received
from securelink.keys import PublicKey
from securelink.limits import MAX_CAUGHT_TEXT, MAX_UNUSED_STATE, OBJECT_BYTES
from securelink.protocol import SessionCore
from securelink.protocol.bounds import Bounds
from securelink.session import context_of
from securelink.streams.tcp import TcpStream
from securelink.threads.mailbox import Folded
from securelink.wire.fields import Content, Kind
from securelink.wire.packets import Packet, decode_packets, encode_packet, join_packets
from securelink.wire.weight import opened_size

pytestmark = pytest.mark.usefixtures("tidy")


# --- states ----------------------------------------------------------------------------------------------------


def test_a_state_that_nobody_looks_at_is_small(identity: Identity) -> None:
    """Without a listener and before the first look a large state is not kept, nor the one that it replaces."""
    with serving(identity) as server, joined(server) as [client]:
        session = session_of(server, client)
        client.set_state(b"small")
        client.ping(WAIT)
        until(lambda: context_of(session).held)
        client.set_state(bytes(MAX_UNUSED_STATE))
        until(lambda: not context_of(session).held)
        assert session.state is None  # the first look
        client.set_state(bytes(MAX_UNUSED_STATE))
        until(lambda: session.state == bytes(MAX_UNUSED_STATE))


def test_a_state_with_a_listener_is_kept(identity: Identity) -> None:
    """Whoever listens gets and keeps every state that fits into a packet."""
    seen: list[int] = []
    with serving(identity) as server, joined(server) as [client]:
        server.on_state(lambda session, value: seen.append(len(value)))
        client.set_state(bytes(1_000_000))
        until(lambda: seen)
        assert context_of(session_of(server, client)).held > 1_000_000


def test_states_count(identity: Identity) -> None:
    """What a state takes belongs to what all sessions keep together."""
    with serving(identity) as server, joined(server) as [client]:
        server.on_state(lambda session, value: None)
        session = session_of(server, client)
        before = channel_of(session).held
        client.set_state(bytes(1_000_000))
        until(lambda: channel_of(session).held - before > 990_000)  # less what was under way before


@pytest.mark.pure  # it lowers a bound of a module
def test_states_of_all_sessions_are_bounded_together(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many states of legal size: those that hold most are ended, the others stay."""
    monkeypatch.setattr("securelink.threads.sweeper.SWEEP_SECONDS", 0.05)
    with serving(identity, max_memory=3_500_000) as server, joined(server, 6) as clients:
        server.on_state(lambda session, value: None)
        clients[0].set_state(bytes(1000))
        for client in clients[1:]:
            client.set_state(bytes(1_000_000))
        until(lambda: len(server.sessions) <= 4)
        assert clients[0].token in server.sessions
        assert clients[0].ping(WAIT) > 0


# --- what waits ------------------------------------------------------------------------------------------------


def test_small_pieces_count_for_what_they_take() -> None:
    """A record of a few bytes is counted with the object around it, in both directions."""
    with bench() as stage:
        empty = stage.channel.held
        for _ in range(100):
            stage.channel.core.receiving.deliver(join_packets([]))
        assert stage.channel.held - empty == 100 * (1 + OBJECT_BYTES)
        while stage.channel.inbox.run():
            pass
        assert stage.channel.held == empty
        stage.post("small")
        assert stage.channel.held - empty > OBJECT_BYTES


def test_packets_that_are_decoded_count_until_they_are_handled() -> None:
    """The objects of a record whose packets are being handled are counted; afterwards nothing of them is kept."""
    many = join_packets([encode_packet(Packet("x"))] * 1000)
    with bench() as stage:
        empty = stage.channel.held
        stage.channel.core.receiving.deliver(many)
        stage.channel.inbox.run()
        assert stage.channel.held - empty > 900 * 200
        while stage.channel.inbox.run():
            pass
        assert stage.channel.held == empty
        assert stage.channel.core.receiving.opened is None


def test_a_large_packet_counts_whole_beside_small_ones() -> None:
    """What is decoded counts by its record until the last packet is handled: one may be nearly all of it."""
    large, small = encode_packet(Packet("x", [{}] * 50_000)), encode_packet(Packet("x"))
    with bench() as stage:
        counted: list[int] = []
        stage.channel.handle = lambda data: counted.append(stage.channel.held)  # type: ignore[method-assign]
        stage.channel.core.receiving.deliver(join_packets([*[small] * 40, large]))
        while stage.channel.inbox.run():  # it is decoded in steps
            pass
        assert min(counted) > 50_000 * 72
        stage.channel.core.receiving.deliver(
            join_packets([encode_packet(Packet("x", bytes(2**20)))])
        )
        stage.channel.inbox.run()
        assert 2**20 < counted[-1] < 2**23  # nor more than the objects of one record can take


HEAVY = {
    "empty maps": [{}] * 60_000,
    "small maps": [{"": None}] * 19_000,
    "maps of maps": [{"a": {}}] * 14_000,
    "number keys": [{1: None}] * 19_000,
    "empty lists": [[]] * 60_000,
    "small lists": [[1]] * 30_000,
    "two letters": [chr(97 + n % 26) + chr(97 + n // 26 % 26) for n in range(20_000)],
    "other letters": ["\u0101"] * 20_000,
    "negative numbers": [-20] * 60_000,
    "a wide letter among others": "a" * 60_000 + "\U0001f600",
    "bytes": bytes(60_000),
    "pairs": [bytes((n % 256, n // 256)) for n in range(15_000)],
}


@pytest.mark.parametrize("kind", HEAVY)
def test_decoded_records_count_for_what_they_take(kind: str) -> None:
    """Whatever a record holds: it is counted with no less than its objects take, nor with very much more."""
    record = join_packets([encode_packet(Packet("x", HEAVY[kind]))])
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        packets = decode_packets(record)
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.95 * taken <= opened_size(record, packets) <= 6 * taken + 10_000


@pytest.mark.pure  # it lowers a bound of a module
def test_what_all_keep_is_bounded_between_two_looks_too(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many who ask for much at once and read nothing: the sum never passes the bound by far, though no round ends."""
    most = 16_000_000
    monkeypatch.setattr("securelink.threads.sweeper.SWEEP_SECONDS", 2 * WAIT)
    seen: list[int] = []
    with scene(identity, max_memory=most) as stage, ExitStack() as stack:

        def answer(session: Session, packet: Received) -> None:
            seen.append(sum(link.held for link in tuple(stage.listener.links)))
            packet.reply(bytes(250_000))

        stage.server.on("history", answer)
        clients = [stack.enter_context(Hostile(stage.port)).open() for _ in range(20)]
        asked = [encode_packet(Packet("history", id=number + 1)) for number in range(40)]
        for client in clients:
            client.send(Content.DATA, join_packets(asked))
        until(lambda: stage.server.stats()["limits_reached_total"]["total_unsent"] >= 10)
        stage.check_neighbour()
    # Of 200 MB that were asked for. Usually 35; on a busy machine handlers run on before the leader comes to look.
    assert max(seen) < 7 * most


@pytest.mark.pure  # it lowers a bound of a module
def test_who_is_ended_at_the_bound_keeps_nothing(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for a peer that is ended as too slow is dropped at that moment: only its farewell still goes out."""
    with scene(identity) as stage, Hostile(stage.port).open() as client:
        until(lambda: len(stage.server.sessions) == 2)
        session = list(stage.server.sessions.values())[-1]
        for _ in range(3):
            session.send("x", bytes(1_000_000))
        channel = channel_of(session)
        until(lambda: channel.held > 2_000_000)
        link_of(session).loop.call(lambda: channel.end(Code.TOO_SLOW))
        until(lambda: channel.held < 2_000_000)
        assert client.ending()[0] == Code.TOO_SLOW


def test_small_packets_do_not_hide_large_ones_that_wait(identity: Identity) -> None:
    """A server that joins each large packet with replies that nobody waits for makes a client keep no objects."""
    large = encode_packet(Packet("news", [{}] * 40_000))
    late = encode_packet(Packet("late", reply_to=2**40))
    with serving(identity) as server, joined(server) as [client]:
        session = session_of(server, client)
        for _ in range(10):
            for encoded in [large, *[late] * 500]:
                channel_of(session).core.sending.put(encoded)
            link_of(session).writer.flush()
            client.ping(WAIT)
        channel = channel_of(client)
        until(lambda: not channel.run() and len(channel.mailbox.packets) == 10)
        assert sum(isinstance(packet, Folded) for _, packet in channel.mailbox.packets) >= 8
        kept = channel.mailbox._waiting_bytes  # noqa: SLF001  # as it counts itself
        assert kept > 10 * 40_000


def test_a_collector_is_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand entries of what a peer likes to send would be gigabytes: the oldest go earlier."""
    monkeypatch.setattr("securelink.app.collect.MAX_COLLECTED_BYTES", 20 * 2**20)
    hook: EventHook[Any, Any] = EventHook(
        "on_message", lambda name, error: None, ("session", "packet")
    )
    collector = Collector(hook)
    for number in range(10):
        hook.fire(object(), Received(Packet("x", [number, bytes(2**20)]), None))
        hook.fire(object(), [number, bytes(2**20)])  # as the values of on_state
    entries = collector.take()
    assert collector.dropped == 20 - len(entries)
    assert 2 <= len(entries) <= 4
    assert entries[-1][1][0] == 9
    hook.fire(object(), bytes(2**26))
    assert len(collector) == 1  # the newest is kept
    for _ in range(1000):
        hook.fire(object(), Received(Packet("x", "a few words"), None))
    assert len(collector.take()) == 1000
    collector.close()


def test_a_session_that_has_ended_keeps_nothing(identity: Identity) -> None:
    """A client that acknowledges nothing and goes leaves no megabytes in a session that the application remembers."""
    with scene(identity) as stage, Hostile(stage.port).open() as client:
        until(lambda: len(stage.server.sessions) == 2)
        session = list(stage.server.sessions.values())[-1]
        for _ in range(20):
            session.send("x", bytes(10_000), latest="key")
            session.send("x", bytes(10_000))
        until(lambda: channel_of(session).core.numbering.outgoing.unacked > 100_000)
        client.sock.close()
        until(lambda: not session.connected)
        until(lambda: channel_of(session).held == 0)
        assert not channel_of(session).core.sending.replaces("key")


@pytest.mark.pure  # it lowers a bound of a module
def test_who_was_ended_and_takes_nothing_is_closed(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until its connection is closed it counts: who comes again and again keeps no more than who stays."""
    monkeypatch.setattr("securelink.threads.sweeper.SWEEP_SECONDS", 0.05)
    monkeypatch.setattr("securelink.protocol.connection.CLOSE_SECONDS", 3 * WAIT)
    with scene(identity) as stage, Hostile(stage.port).open():
        until(lambda: len(stage.server.sessions) == 2)
        session = list(stage.server.sessions.values())[-1]
        channel, link = channel_of(session), link_of(session)
        # However much a system takes for a peer that does not read: here it is little, and the rest of a packet waits.
        assert isinstance(link.stream, TcpStream)
        link.stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        large = encode_packet(Packet("x", bytes(1_000_000)))
        while len(link.writer.buffer.tail) < 100_000:
            channel.post(large, timeout=None, wait=False)
        stage.listener.holdings.most = 20_000
        until(lambda: not session.connected)
        until(lambda: channel_of(session).held == 0)
        assert session.code == Code.TOO_SLOW


@pytest.mark.pure  # it lowers a bound of a module
def test_nobody_ends_for_what_one_holds_that_was_ended(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The begin of a frame stays with a connection until it is closed: that is closed, and the larger one goes on."""
    monkeypatch.setattr("securelink.threads.sweeper.SWEEP_SECONDS", 0.05)
    begun = bytes((Kind.SEALED,)) + (2**21).to_bytes(3)
    with scene(identity) as stage, Hostile(stage.port).open() as one:
        until(lambda: len(stage.server.sessions) == 2)
        first = link_of(list(stage.server.sessions.values())[-1])
        with Hostile(stage.port).open() as other:
            until(lambda: len(stage.server.sessions) == 3)
            second = link_of(list(stage.server.sessions.values())[-1])
            one.sock.sendall(begun + bytes(1_500_000))
            other.sock.sendall(begun + bytes(2_000_000))
            until(lambda: first.held >= 1_500_000 and second.held >= 2_000_000)
            assert first.channel is not None
            first.channel.end(Code.TOO_SLOW)
            stage.listener.holdings.most = 3_000_000
            until(lambda: first not in stage.listener.links or second.closing is not None)
            assert second.closing is None


@pytest.mark.pure  # it lowers a bound of a module
def test_what_clients_leave_behind_is_bounded(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packets of sessions that have ended, and wait for a slow handler, count; beyond the bound they are dropped."""
    monkeypatch.setattr("securelink.threads.sweeper.SWEEP_SECONDS", 0.05)
    gate = threading.Event()
    handled: list[int] = []
    ended: list[Any] = []

    def work(session: Any, packet: Any) -> None:
        assert gate.wait(WAIT)
        handled.append(len(packet.data))

    server = Server("127.0.0.1", 0, keys=identity, overlap=False, max_memory=3_000_000)
    server.on("work", work)
    server.on_disconnect(ended.append)
    with server:
        for _ in range(8):
            with joined(server) as [client]:
                for _ in range(2):
                    client.send("work", bytes(500_000))
        listener = listener_of(server)
        until(
            lambda: (
                sum(
                    c.held
                    for c in tuple(listener.holdings.leaving)
                    if not c.core.receiving.dropping
                )
                < 3_000_000
            )
        )
        gate.set()
        until(lambda: len(ended) == 8)
        until(lambda: not listener.holdings.leaving)
    assert len(handled) < 16


@pytest.fixture
def silent() -> Iterator[None]:
    """No log lines: a test run keeps them."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.cost
def test_sessions_leave_nothing(identity: Identity, silent: None) -> None:
    """Hundreds of sessions that were there take no memory when they are gone."""
    with serving(identity, encryption="off") as server:
        listener = listener_of(server)

        def visits(count: int) -> int:
            for _ in range(count):
                with joined(server, encryption="off") as [client]:
                    client.ping(WAIT)
            until(lambda: not server.sessions and not listener.holdings.leaving)
            gc.collect()
            return sys.getallocatedblocks()

        # What the interpreter keeps for later grows once; what a session left would grow in every round.
        rounds = [visits(200) for _ in range(6)]
        assert min(after - before for before, after in itertools.pairwise(rounds)) < 200


# --- errors ---------------------------------------------------------------------------------------------------


def test_errors_count_for_what_they_hold() -> None:
    """A document that could not be read, or bytes that are no text, count whole, and so do members of a group."""
    caught, frames = CaughtErrors(), list[Any]()
    for number in range(40):
        try:
            if number % 2:
                json.loads("x" * 300_000)
            bytes([255] * 300_000).decode()
        except ValueError as error:
            group = ExceptionGroup("several", [error])
            caught.add("handler", group if number % 3 else error)
            frames.append(error.__traceback__)
    assert 1 <= len(caught) <= 4
    assert frames == [None] * 40


def test_errors_that_quote_peers_are_bounded() -> None:
    """A hundred errors with a megabyte of a peer's words each: the newest stay, up to the bound."""
    caught = CaughtErrors()
    for number in range(100):
        try:
            raise KeyError(str(number) + "x" * 300_000)
        except KeyError as error:
            caught.add("handler", error)
    kept = caught.take()
    assert 1 <= len(kept) <= 4
    assert sum(len(str(entry.error)) for entry in kept) <= MAX_CAUGHT_TEXT
    assert str(kept[-1].error).startswith("'99x")
    caught.add("handler", KeyError("x" * 2 * MAX_CAUGHT_TEXT))
    assert len(caught) == 1


def test_the_key_of_latest_is_counted_and_bounded(identity: Identity) -> None:
    """What waits under `latest=` is counted with its key, until it is sent; a longer key is refused."""
    with serving(identity) as server, joined(server):
        (session,) = server.sessions.values()
        until(lambda: channel_of(session).unsent == 0)
        with server.batch():
            session.send("a", None, latest="k" * 255)
            first = channel_of(session).unsent
            assert first > 255
            for _ in range(10):
                session.send("a", None, latest="k" * 255)  # replaces: nothing more is kept
            assert channel_of(session).unsent == first
        until(lambda: channel_of(session).unsent == 0)
        wrong: Any
        for wrong in ("k" * 256, 5, []):
            with pytest.raises(ConfigError, match="latest="):
                session.send("a", None, latest=wrong)


def test_a_session_that_has_said_nothing_is_small() -> None:
    """A server has thousands that wait for their player: 1.8 KiB each, a good part of it the deque of what arrives."""
    bounds = Bounds()
    SessionCore(bounds)
    tracemalloc.start()
    try:
        cores = [SessionCore(bounds) for _ in range(200)]
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held / len(cores) < 2200


def test_the_key_of_a_session_is_bytes_and_text(identity: Identity) -> None:
    """An object of the crypto library has 2 KiB, which a session would hold for as long as it lasts."""
    key = PublicKey.from_spki(identity.public.spki)
    key.verify(identity.sign(b"message"), b"message")
    parts = [part for part in gc.get_referents(key) if part is not PublicKey]
    assert {type(part) for part in parts} == {bytes, str}
