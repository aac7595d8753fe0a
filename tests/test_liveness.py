"""Who is silent: a peer is judged only by time in which it was read, and only by its own silence."""

from __future__ import annotations

import select
import threading
import time
from typing import Any

import pytest
from helpers import WAIT, until
from inside import is_choked, small
from linked import bench
from together import arrived, channel_of, joined, link_of, serving, session_of, take

from securelink import Client, ConnectionClosed, Identity, Server
from securelink.codes import Code
from securelink.limits import MAX_SWEEP_STEP, READ_FRAMES, STALLED_SECONDS
from securelink.protocol import Pinged
from securelink.protocol.bounds import Bounds
from securelink.protocol.liveness import Liveness
from securelink.streams.base import BREAK
from securelink.testing import Relay
from securelink.threads.client_link import ClientLink
from securelink.threads.link import Link
from securelink.threads.server_link import ServerLink
from securelink.wire.fields import Content

HEARTBEAT = 20.0
SILENCE = 2.5 * HEARTBEAT


def after(link: ServerLink | ClientLink, seconds: float) -> None:
    """Let the leader sweep a link once a second for so many seconds that do not pass."""
    done = threading.Event()

    def sweeps() -> None:
        start = (
            link.loop.now + 1000
        )  # the sweeps that the loop makes by itself are before that, and count nothing
        for second in range(int(seconds) + 1):
            link.sweep(start + second)
        done.set()

    link.loop.call(sweeps)
    assert done.wait(WAIT)


def quiet(link: Link, now: float) -> float:
    """How long the peer has been silent, looked at as a sweep does at this time."""
    link.connection.reading(link.reader.listens())  # as the sweep says it
    link.connection.on_deadline(now)
    assert link.connection.liveness is not None
    return link.connection.liveness.quiet


# --- time in which we did not read -----------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["full", "throttled", "choked", "engine away"])
def test_time_in_which_we_did_not_read_is_not_silence(reason: str) -> None:
    """Whatever keeps us from reading: it counts nothing, and when reading goes on the peer has its whole time."""
    with bench() as stage:
        link, now = stage.link, stage.loop.now
        quiet(link, now)  # the handshake is not the peer's silence

        def set_deaf(deaf: bool) -> None:
            if reason == "full":
                stage.channel.core.receiving.full = deaf
            elif reason == "throttled":
                stage.channel.inbox.throttled = deaf
            elif reason == "choked":
                link.writer.choked = deaf  # so that it holds for a while
            else:
                link.reader.open = not deaf
            link.update_interest()

        assert quiet(link, now + 1) == 1.0
        set_deaf(True)
        for second in range(2, 1000):
            assert quiet(link, now + second) == 0.0
        set_deaf(False)
        assert quiet(link, now + 1000) == 0.0
        assert quiet(link, now + 1001) == 1.0
        # A moment of it between two looks is enough: what the peer said then may still be on its way.
        set_deaf(True)
        set_deaf(False)
        assert quiet(link, now + 1002) == 0.0


def test_what_waits_in_our_engine_is_not_silence() -> None:
    """More than a turn takes waits here, so nothing new is read: that is our time, and the peer's begins after it."""
    with bench() as stage:
        link, now = stage.link, stage.loop.now
        quiet(link, now)
        assert quiet(link, now + 1) == 1.0
        for _ in range(3 * READ_FRAMES):
            stage.send("x")
        stage.turn(1)
        assert link.connection.more
        for second in range(2, 100):
            assert quiet(link, now + second) == 0.0
        stage.turn(10)
        assert not link.connection.more
        assert quiet(link, now + 100) == 0.0  # what the peer said meanwhile may be unread still
        assert quiet(link, now + 101) == 1.0


def test_a_client_hears_of_a_server_that_is_busy(identity: Identity) -> None:
    """While a client's pings wait behind what it sent before, the server says by one of its own that it is there."""
    with serving(identity) as server, joined(server) as [client]:
        link, reads = link_of(session_of(server, client)), link_of(client).connection.reads
        assert isinstance(link, ServerLink)

        def fall_behind() -> None:
            link.reader.unfinished = link.connection.more = (
                True  # one read had more than a turn takes
            )

        link.loop.call(fall_behind)
        after(link, 600)
        until(lambda: link_of(client).connection.reads > reads)
        link.loop.call(link.go_on)
        assert client.ping(WAIT) > 0


def test_time_in_which_we_stood_still_is_not_silence() -> None:
    """A process that was suspended, or whose leader could not look, counts a moment of it."""
    with bench() as stage:
        now = stage.loop.now
        quiet(stage.link, now)
        assert quiet(stage.link, now + 3600) == MAX_SWEEP_STEP
        assert quiet(stage.link, now + 3601) == MAX_SWEEP_STEP + 1
        stage.control(Content.PONG, bytes(8))
        stage.turn()
        assert quiet(stage.link, now + 3602) == 0.0


def test_nobody_is_judged_at_the_end_of_a_stall() -> None:
    """What the peer said meanwhile may be unread: the next check decides; one that is late again is no excuse."""
    liveness = Liveness(1.0, 0.0, pings=True)
    liveness.look(1.0, 1, behind=False)  # the time of the handshake
    liveness.look(2.0, 1, behind=False)
    liveness.look(4.5, 1, behind=False)
    assert liveness.quiet > 2.5
    assert not liveness.silent
    liveness.look(5.5, 2, behind=False)
    assert not liveness.silent
    for second in (6.5, 7.5, 8.5):
        liveness.look(second, 2, behind=False)
    assert liveness.silent
    liveness.look(9.5, 3, behind=False)
    assert not liveness.silent
    for late in (12.0, 14.5, 17.0):
        liveness.look(late, 3, behind=False)
    assert liveness.silent


@pytest.mark.parametrize("way", ["to the server", "to the client"])
def test_each_side_finds_a_half_open_connection(identity: Identity, way: str) -> None:
    """In two and a half heartbeats and two checks, however much the other side hears."""
    with (
        Server("127.0.0.1", 0, keys=identity, heartbeat=1, resume=60) as server,
        Relay("127.0.0.1", server.address[1]) as relay,
        Client("127.0.0.1", relay.port, pin=server.fingerprint) as client,
    ):
        session = session_of(server, client)
        client.ping(WAIT)
        silent = relay.to_server if way == "to the server" else relay.to_client
        side = session if way == "to the server" else client
        silent.hold()
        began = time.monotonic()
        until(lambda: not side.connected)
        assert time.monotonic() - began < 15
        silent.release()
        until(lambda: session.connected and client.connected)
        assert client.ping(WAIT) >= 0


def test_a_slow_handler_does_not_make_its_client_silent(identity: Identity) -> None:
    """While the inbox is full for minutes the session stays, on both sides, and every packet is handled after it."""
    seen: list[Any] = []
    begun, go_on = threading.Event(), threading.Event()

    def work(session: Any, packet: Any) -> None:
        begun.set()
        assert go_on.wait(WAIT)
        seen.append(packet.data)

    server = Server("127.0.0.1", 0, keys=identity)
    small(server, inbox_bytes=100)
    server.on("work", work)
    with server, joined(server) as [client]:
        session = session_of(server, client)
        client.send("work", 0)
        assert begun.wait(WAIT)  # what comes now is not in its record, which has left the inbox
        for number in range(1, 20):
            client.send("work", number)
        until(lambda: channel_of(session).core.receiving.full)
        assert isinstance(link_of(session), ServerLink)
        reads = link_of(client).connection.reads
        after(link_of(session), 600)
        # The client's pings wait unread: the server tells it by one of its own that somebody is there.
        until(lambda: link_of(client).connection.reads > reads)
        assert session.connected
        go_on.set()
        until(lambda: len(seen) == 20)
        assert client.connected
        assert seen == list(range(20))


def test_a_program_that_does_not_receive_keeps_its_server(identity: Identity) -> None:
    """A client whose own inbox is full hears nothing for minutes, and does not blame the server."""
    with serving(identity) as server, joined(server) as [client]:
        session = session_of(server, client)
        channel, link = channel_of(client), link_of(client)
        channel.bounds = Bounds(inbox_bytes=100)
        for number in range(20):
            session.send("n", number)
        until(lambda: channel.core.receiving.full)
        after(link, 600)
        assert client.connected
        assert take(client, 20) == list(range(20))
        after(link, HEARTBEAT)
        assert client.connected


@pytest.mark.usefixtures("not_kept")
def test_a_silent_server_is_noticed_by_its_client(identity: Identity) -> None:
    """While the client reads, silence is silence."""
    with serving(identity) as server:
        client = Client("127.0.0.1", server.address[1], pin=server.fingerprint).connect()
        after(link_of(client), SILENCE + 5)
        with pytest.raises(ConnectionClosed) as caught:
            client.receive(WAIT)
        assert caught.value.code == Code.SILENT
        client.close()


# --- who takes nothing -----------------------------------------------------------------------------------------


def test_who_takes_nothing_is_too_slow_not_silent() -> None:
    """A peer that is not read because it takes nothing ends by TOO_SLOW, and only when nothing moves for long."""
    with bench(Bounds(unsent=100_000), buffer=4096) as stage:
        link, now = stage.link, stage.loop.now
        for _ in range(100):
            stage.post(bytes(20_000), wait=False)
        stage.turn()
        assert is_choked(link)
        assert link.connection.liveness is not None

        def look(seconds: int) -> None:
            link.connection.on_deadline(now + seconds)
            link.watch_tail()

        second = 0
        while not link.is_stalled:
            second += 1
            look(second)
            assert link.connection.liveness.quiet == 0.0
        assert STALLED_SECONDS <= second <= STALLED_SECONDS + 2
        stage.read(3)  # it takes something: it is slow, and there
        look(second + 1)
        assert not link.is_stalled


@pytest.mark.pure  # it makes a time of the module shorter
def test_a_server_ends_who_takes_nothing(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end is said and logged, and its reason is TOO_SLOW."""
    monkeypatch.setattr("securelink.threads.write_buffer.STALLED_SECONDS", 5.0)
    with serving(identity) as server, joined(server) as [client]:
        session = session_of(server, client)
        link = link_of(session)
        assert isinstance(link, ServerLink)
        ends: list[int | None] = []
        server.on_disconnect(lambda session: ends.append(session.code))
        channel_of(client).core.receiving.full = True  # its program is busy, and reads no more
        server.on(
            "much", lambda session, packet: [session.send("x", bytes(1_000_000)) for _ in range(30)]
        )
        client.send("much")
        until(lambda: is_choked(link))
        after(link, 7)
        until(lambda: ends)
        assert ends == [Code.TOO_SLOW]


def test_sign_of_life_of_who_does_not_read(identity: Identity) -> None:
    """A server that does not read a client pings it twice a heartbeat, and not more often."""
    with bench() as stage:
        stage.channel.core.receiving.full = True
        stage.link.update_interest()
        stage.link.control(Content.PING, bytes(8))
        stage.sock.settimeout(WAIT)
        assert [type(item) for item in stage.items()] == [Pinged]


# --- who has hung up -------------------------------------------------------------------------------------------


@pytest.mark.skipif(
    not hasattr(select, "epoll"), reason="only epoll tells it of a socket that is not read"
)
@pytest.mark.usefixtures("not_kept")
@pytest.mark.parametrize("clean", [True, False])
def test_the_end_of_a_peer_is_known_before_its_backlog_is_handled(
    identity: Identity, clean: bool
) -> None:
    """A client that is gone is not connected at once, though its inbox is full; what it sent is handled, in order."""
    seen: list[Any] = []
    begun, go_on = threading.Event(), threading.Event()

    def work(session: Any, packet: Any) -> None:
        begun.set()
        assert go_on.wait(WAIT)
        seen.append(packet.data)

    server = Server("127.0.0.1", 0, keys=identity)
    small(server, inbox_bytes=2000)  # less than comes; eight times as much is more
    server.on("work", work)
    server.on_disconnect(lambda session: seen.append("over"))
    server.on_hangup(lambda session: hung_up.append((session.connected, len(seen))))
    hung_up: list[Any] = []
    with server:
        client = Client("127.0.0.1", server.address[1], pin=server.fingerprint).connect()
        session = session_of(server, client)
        client.send("work", 0)
        assert begun.wait(WAIT)  # what comes now is not in its record, which has left the inbox
        for number in range(1, 300):
            client.send("work", number)
        until(lambda: channel_of(session).core.receiving.full)
        arrived(channel_of(client))
        if clean:
            client.close(0.2)
        else:
            link_of(client).stream.shutdown(BREAK)
        until(lambda: not session.connected)
        until(lambda: hung_up)
        assert hung_up == [(False, 0)]
        assert not server.sessions
        assert seen == []
        go_on.set()
        until(lambda: "over" in seen)
        assert seen == [*range(300), "over"]
        client.close()


# --- the round trip -------------------------------------------------------------------------------------------


def test_the_round_trip_is_smoothed() -> None:
    """Each answer counts an eighth; one that waited here unread, or is followed by another, counts nothing."""
    liveness = Liveness(HEARTBEAT, 0.0, pings=True)
    liveness.ponged(5.0)  # nobody has asked
    assert liveness.rtt is None
    liveness.look(HEARTBEAT, 1, behind=False)
    assert liveness.ping_is_due(HEARTBEAT)
    liveness.ponged(HEARTBEAT + 0.8)
    assert liveness.rtt == pytest.approx(0.8)
    liveness.pinged(100.0)
    liveness.ponged(100.0)
    assert liveness.rtt == pytest.approx(0.7)
    liveness.pinged(200.0)
    liveness.reading(False)
    liveness.reading(True)
    liveness.ponged(290.0)
    liveness.pinged(300.0)
    liveness.pinged(399.0)
    liveness.ponged(399.5)  # of the first
    assert liveness.rtt == pytest.approx(0.7)
    liveness.ponged(399.7)
    assert liveness.rtt == pytest.approx(0.7)


def test_both_sides_know_the_round_trip(identity: Identity) -> None:
    """After a ping, by whoever made it; of a connection, so there is none without one."""
    with serving(identity) as server, joined(server) as [client]:
        session = session_of(server, client)
        assert session.rtt is None
        # Not each ping is a measurement: on a busy machine the answer may have waited here, behind other data.
        until(lambda: 0.0 <= session.ping(WAIT) < WAIT and session.rtt is not None)
        until(lambda: client.ping(WAIT) >= 0.0 and client.rtt is not None)
        assert session.info()["rtt"] == session.rtt
        assert 0.0 < (client.rtt or 0.0) < WAIT
    assert client.rtt is None


def test_a_heartbeat_measures_the_round_trip(identity: Identity) -> None:
    """A client knows it without asking."""
    with serving(identity) as server, joined(server) as [client]:
        assert client.rtt is None
        after(link_of(client), HEARTBEAT + 1)
        until(lambda: client.rtt is not None)


def test_a_client_that_hears_nothing_says_so(identity: Identity) -> None:
    """Nothing reaches it, though it is heard: the server gives the connection up by CLOSE SILENT, and both go on."""
    with (
        Server("127.0.0.1", 0, keys=identity, heartbeat=1, resume=60) as server,
        Relay("127.0.0.1", server.address[1]) as relay,
        Client("127.0.0.1", relay.port, pin=server.fingerprint) as client,
    ):
        session = session_of(server, client)
        client.ping(WAIT)
        relay.to_client.hold()
        until(
            lambda: not session.connected
        )  # the server alone would wait for ever: it hears the heartbeats
        relay.to_client.release()
        until(lambda: session.connected)
        assert session_of(server, client) is session
        assert client.ping(WAIT) > 0
