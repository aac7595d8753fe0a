"""What a peer can make a server hold or do, before it has entered and afterwards."""

from __future__ import annotations

import dataclasses
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from helpers import (
    WAIT,
    Hostile,
    Scene,
    admitting,
    echo,
    end_of_stream,
    failure,
    scene,
    sock_of,
    until,
)
from inside import controls_of, jobs_of, limit_jobs, listener_of, loop_of, small
from together import channel_of, link_of

from securelink import Client, ConnectionClosed, HandshakeError, Identity, Server, Session
from securelink.codes import Code
from securelink.limits import MAX_CONTROLS, MAX_HANDSHAKE_BODY
from securelink.protocol import ServerVerified
from securelink.protocol.bounds import Bounds
from securelink.threads.settings import HandshakeSettings
from securelink.wire.fields import Content

pytestmark = pytest.mark.usefixtures("tidy")


def knock(port: int) -> socket.socket:
    """A connection that says nothing yet."""
    return socket.create_connection(("127.0.0.1", port), timeout=WAIT)


def is_open(sock: socket.socket) -> bool:
    """Whether the peer has not closed this connection."""
    sock.settimeout(0.05)
    try:
        return sock.recv(1) != b""
    except TimeoutError:
        return True
    except ConnectionError:
        return False


# --- before there is a session -------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [b"", b"\x01", b"\x01\x00\x05\x00SECLINK\x1a"])
def test_the_handshake_has_one_deadline(
    first: bytes, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who says nothing, or not all, is closed after the deadline, however it divides what it says."""
    monkeypatch.setattr("securelink.threads.sweeper.SWEEP_SECONDS", 0.05)
    with scene(identity) as stage:
        stage.hurry(0.2)
        with knock(stage.port) as sock:
            sock.sendall(first)
            end_of_stream(sock)
            until(stage.alone)


def test_at_the_cap_the_busiest_address_loses_its_oldest(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More half-open connections than allowed cost the oldest of them, not who comes next, and no session."""
    admitting(monkeypatch, max_half_open=3)
    with scene(identity) as stage, ExitStack() as stack:
        until(stage.alone)  # the neighbour is counted out
        socks = [stack.enter_context(knock(stage.port)) for _ in range(4)]
        assert end_of_stream(socks[0]) == b""
        assert all(is_open(sock) for sock in socks[1:])
        with stage.client():  # costs the next oldest its place
            pass
        socks[1].settimeout(WAIT)
        assert end_of_stream(socks[1]) == b""
        assert is_open(socks[3])


@pytest.mark.parametrize("loopback", [False, True])
def test_failed_handshakes_have_a_budget(
    loopback: bool, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address that failed too often is turned away for a while; successes cost nothing, and loopback is exempt."""
    for module in ("gate", "suspensions"):
        monkeypatch.setattr(f"securelink.threads.{module}.is_loopback_host", lambda host: loopback)
    with scene(identity, max_failures=3) as stage:
        stage.hold_window()
        for _ in range(5):
            with stage.client():
                pass
        for _ in range(3):
            with knock(stage.port) as sock:
                sock.sendall(b"\x00" * 12)
                end_of_stream(sock)
        until(stage.alone)
        client = stage.client()
        if loopback:
            client.connect()
            client.close()
        else:
            error = failure(HandshakeError, client.connect, "blocked this address", "wait")
            assert error.code == Code.BLOCKED


def test_more_connections_than_allowed_are_turned_away(identity: Identity) -> None:
    """One too many learns that there is no room; those that are in stay, and the place is free again afterwards."""
    with scene(identity, max_connections=2) as stage:
        with stage.client():
            error = failure(HandshakeError, stage.client().connect, "no room", "try again later")
            assert error.code == Code.BUSY
        until(stage.alone)
        with stage.client() as client:
            assert client.connected


def test_expensive_work_waits_in_a_bounded_queue(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When too many hellos wait for the pool the next one is turned away; the leader never does the work itself."""
    go_on, led = threading.Event(), []
    sign = Identity.sign

    def slow(key: Identity, message: bytes) -> bytes:
        led.append(threading.get_ident() == loop.lead.thread)
        go_on.wait(WAIT)
        return sign(key, message)

    with scene(identity) as stage, ExitStack() as stack:
        loop = loop_of(stage.server)
        jobs = jobs_of(stage.server)
        monkeypatch.setattr(Identity, "sign", slow)
        hellos = [stack.enter_context(Hostile(stage.port)) for _ in range(jobs.places + 2)]
        for hello in hellos[:-2]:
            hello.flush()
        until(lambda: len(led) == jobs.places)
        limit_jobs(stage.server, 2)
        for hello in hellos[-2:]:
            hello.flush()
        until(lambda: len(jobs) == 2)
        with Hostile(stage.port) as late:
            late.flush()
            assert late.ending()[0] == Code.BUSY
        go_on.set()
        for hello in hellos:
            hello.read_until(ServerVerified)
        assert led == [False] * len(hellos)


@contextmanager
def collecting(identity: Identity) -> Iterator[tuple[Any, socket.socket]]:
    """A connection that announces a long ClientHello, and its link on the server."""
    with scene(identity) as stage, knock(stage.port) as sock:
        until(lambda: len(listener_of(stage.server).links) == 2)
        (link,) = (link for link in listener_of(stage.server).links if link.channel is None)
        yield link, sock


def test_a_long_hello_is_refused_by_its_header(identity: Identity) -> None:
    """A hello over 8 KiB is refused when its header is there: what it announces is never stored."""
    with collecting(identity) as (link, sock):
        size = MAX_HANDSHAKE_BODY + 1
        sock.sendall(b"\x01" + size.to_bytes(3) + b"SECLINK\x1a")
        assert end_of_stream(sock) == bytes((5, 0, 0, 1, Code.PROTOCOL))
        assert link.connection._frames.pending < 64  # noqa: SLF001  # what it holds of a frame


# --- afterwards --------------------------------------------------------------------------------------------------


def newcomer(stage: Scene) -> Session:
    """The session that is not the neighbour's."""
    until(lambda: len(stage.server.sessions) == 2)
    (session,) = (s for s in stage.server.sessions.values() if s.token != stage.neighbour.token)
    return session


def test_who_takes_nothing_is_ended(
    identity: Identity, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that does not read costs a bounded amount of memory, then its session; broadcasts never wait for it."""
    monkeypatch.setattr("securelink.threads.sweeper.SWEEP_SECONDS", 0.05)
    monkeypatch.setattr("securelink.protocol.connection.CLOSE_SECONDS", 0.2)
    with scene(identity) as stage:
        small(stage.server, unsent=256 * 1024, hard_unsent=1024 * 1024)
        with Hostile(stage.port) as deaf:
            deaf.open()
            session, chunk, most = newcomer(stage), bytes(64 * 1024), 0
            for _ in range(1000):  # 64 MB are more than any kernel keeps
                if channel_of(session).core.receiving.dropping:
                    break
                stage.server.broadcast("noise", chunk, to=[session])
                most = max(most, channel_of(session).unsent)
            assert 512 * 1024 < most < 2 * 1024 * 1024
            until(stage.alone)
    assert "is too slow" in caplog.text


def test_an_inbox_is_bounded(identity: Identity) -> None:
    """While a handler takes its time, a server holds a bounded part of what a client sends, and loses nothing."""
    wait, seen, most = threading.Event(), [], 0
    with scene(identity) as stage:
        small(stage.server, inbox_bytes=256 * 1024)

        def slow(session: Session, packet: Any) -> None:
            wait.wait(WAIT)
            seen.append(packet.data[0])

        stage.server.on("slow", slow)
        with stage.client() as client:
            until(lambda: client.token in stage.server.sessions)
            session = stage.server.sessions[client.token]
            total = 200

            def send() -> None:
                for number in range(total):
                    client.send("slow", [number, bytes(64 * 1024)], timeout=WAIT)

            sender = threading.Thread(target=send)
            sender.start()
            until(lambda: channel_of(session).core.receiving.full)
            for _ in range(20):
                most = max(
                    most,
                    channel_of(session).core.receiving.in_bytes
                    - channel_of(session).core.receiving.out_bytes,
                )
                sender.join(0.01)
            assert most < 2 * 256 * 1024
            assert sender.is_alive()  # 12 MB are more than what fits in between
            wait.set()
            sender.join(WAIT)
            until(lambda: len(seen) == total)
            assert seen == list(range(total))


def test_pings_that_nobody_reads_pile_up_nowhere(identity: Identity) -> None:
    """A client that pings without reading gets no more than so many answers queued."""
    with scene(identity) as stage, Hostile(stage.port) as pinger:
        pinger.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        pinger.open()
        link = link_of(newcomer(stage))
        sock_of(link).setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        most, queued = 0, link.connection
        while most < MAX_CONTROLS:  # until the kernel takes no more answers
            pinger.sock.sendall(b"".join(pinger.seal(Content.PING, bytes(8)) for _ in range(2000)))
            most = max(most, controls_of(queued))
        for _ in range(3):
            pinger.sock.sendall(b"".join(pinger.seal(Content.PING, bytes(8)) for _ in range(2000)))
            assert echo(stage.neighbour, "by now some are read")
            assert controls_of(queued) <= MAX_CONTROLS
        assert most == MAX_CONTROLS


def test_a_bad_packet_ends_its_own_session(identity: Identity) -> None:
    """Bytes that are no packet end the session that sent them, with a code; others never notice."""
    with scene(identity) as stage, Hostile(stage.port) as hostile:
        hostile.open()
        assert hostile.engine.sender is not None
        hostile.sock.sendall(hostile.engine.sender.packets([b"\xc1"]))
        assert hostile.ending()[0] == Code.UNREADABLE
        hostile.sock.close()
        until(stage.alone)


def test_a_server_cannot_flood_a_client(identity: Identity) -> None:
    """What a client does not receive stays in the kernel and on the server, beyond a bound."""
    with (
        Server("127.0.0.1", 0, keys=identity) as server,
        Client("127.0.0.1", server.address[1], pin=server.fingerprint) as client,
    ):
        until(lambda: server.sessions)
        channel = channel_of(client)
        for _ in range(300):
            server.broadcast("noise", bytes(64 * 1024))
        until(lambda: channel.core.receiving.full)
        held = channel.core.receiving.in_bytes - channel.core.receiving.out_bytes
        assert held <= Bounds().inbox_bytes + 128 * 1024
        count = 0
        while count < 300 and client.receive(WAIT) is not None:
            count += 1
        assert count == 300
        server.sessions[client.token].kick()
        failure(ConnectionClosed, lambda: client.receive(WAIT), "kicked")


def test_default_limits_are_those_of_the_document() -> None:
    """The limits that SECURITY.md names are the ones that servers run with."""
    fields = {field.name: field.default for field in dataclasses.fields(HandshakeSettings)}
    assert (fields["handshake_seconds"], fields["max_half_open"]) == (10.0, 256)
    bounds = Bounds()
    assert (bounds.inbox_bytes, bounds.hard_unsent) == (8 * 2**20, 64 * 2**20)
