"""What is not a securelink client, or a very slow one, at a server's door."""

from __future__ import annotations

import http.client
import logging
import os
import random
import resource
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from helpers import WAIT, Hostile, Scene, admitting, echo, end_of_stream, failure, scene, until
from inside import listener_of

from securelink import HandshakeError, Identity
from securelink.codes import Code
from securelink.limits import MAGIC
from securelink.wire.fields import Kind, Mode

pytestmark = pytest.mark.usefixtures("tidy")

HELLO = bytes((1, 0, 4, 233)) + MAGIC  # the first 12 bytes of a CLIENT_HELLO of version 1


@pytest.fixture
def stage(identity: Identity) -> Iterator[Scene]:
    """A server and a neighbour."""
    with scene(identity) as stage:
        yield stage


def knock(port: int, data: bytes, source: str = "127.0.0.1") -> socket.socket:
    """A connection that has sent this."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=WAIT, source_address=(source, 0))
    sock.sendall(data)
    return sock


@pytest.fixture
def sweeping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers look for connections that are overdue more often."""
    monkeypatch.setattr("securelink.threads.sweeper.SWEEP_SECONDS", 0.1)


# --- other protocols ----------------------------------------------------------------------------------


def test_a_web_client_is_told_what_this_is(stage: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """A browser shows a sentence instead of a broken connection, and the log says what knocked."""
    connection = http.client.HTTPConnection("127.0.0.1", stage.port, timeout=WAIT)
    connection.request("POST", "/index.html", body=b"name=value", headers={"X-Long": "x" * 5000})
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("Content-Type")) == (400, "text/plain")
    assert answer.read() == b"This port speaks securelink, not HTTP.\n"
    connection.close()
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"http://127.0.0.1:{stage.port}/", timeout=WAIT)
    assert caught.value.code == 400
    caught.value.close()
    until(stage.alone)
    assert caplog.text.count("does not speak securelink: an HTTP client or web browser") == 2


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS", "CONNECT", "DELETE", "PATCH"])
def test_every_method_of_http_is_recognised(stage: Scene, method: str) -> None:
    """So is a request that arrives byte by byte."""
    with knock(stage.port, b"") as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in f"{method} / HTTP/1.1\r\n".encode()[:12]:
            sock.sendall(bytes((byte,)))
        assert end_of_stream(sock).startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_a_tls_client_is_told_in_its_own_language(
    stage: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """A TLS client gets a proper alert, and the log says what knocked."""
    context = ssl.create_default_context()
    with knock(stage.port, b"") as sock, pytest.raises(ssl.SSLError) as caught:
        context.wrap_socket(sock, server_hostname="localhost")
    assert "HANDSHAKE_FAILURE" in (caught.value.reason or "")
    until(stage.alone)
    assert "does not speak securelink: a TLS client knocked" in caplog.text


def test_noise_gets_no_answer(stage: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """Bytes of no protocol that we know end in silence, whatever they are."""
    source = random.Random(4)
    noises = [source.randbytes(source.randrange(12, 3000)) for _ in range(20)]
    noises += [bytes(100), b"\xff" * 100, b"\r\n" * 50, b"SSH-2.0-OpenSSH_9.9\r\n", MAGIC * 3]
    noises += [HELLO[:-1] + b"?", bytes((2,)) + HELLO[1:], bytes((3, 0, 0, 40)) + bytes(40)]
    for noise in noises:
        with knock(stage.port, noise) as sock:
            assert end_of_stream(sock) == b""
        stage.check_neighbour()
    until(stage.alone)
    assert caplog.text.count("its first 12 bytes are no hello") == len(noises)
    assert not [record for record in caplog.records if record.levelno > logging.WARNING]


@pytest.mark.parametrize(
    "rest",
    [bytes(1257), b"\x01" + bytes(1256), b"\x01" + b"\xff" * 1256, b"\x01" + b"\x01\x00\x01" * 418],
    ids=["version 0", "zeros", "ones", "one field again and again"],
)
def test_a_broken_hello_gets_an_alert(
    stage: Scene, rest: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Who begins like a client of ours learns the reason by its code, and nothing else."""
    size = len(MAGIC) + len(rest)
    with knock(stage.port, b"\x01" + size.to_bytes(3) + MAGIC + rest) as sock:
        answer = end_of_stream(sock)
    version = rest[0] != 1
    assert answer == bytes((5, 0, 0, 1, Code.VERSION if version else Code.PROTOCOL))
    until(stage.alone)
    assert ("version 0 of the protocol" if version else "ClientHello") in caplog.text


def test_a_hello_announced_too_long_is_not_waited_for(
    stage: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """A length beyond the bound is refused at once, before anything is stored."""
    with knock(stage.port, bytes((1, 0xFF, 0xFF, 0xFF)) + MAGIC) as sock:
        assert end_of_stream(sock) == bytes((5, 0, 0, 1, Code.PROTOCOL))
    until(stage.alone)
    assert "announced a frame of 16,777,215 bytes" in caplog.text
    assert "8,192 (MAX_HANDSHAKE_BODY)" in caplog.text


def test_a_key_share_that_is_none_is_refused(stage: Scene) -> None:
    """A hello whose key share is well formed and invalid fails alone."""
    body = MAGIC + b"\x01" + b"\x01\x00\x01\x02" + b"\x02\x00\x20" + bytes(32)
    body += b"\x03" + (1216).to_bytes(2) + b"\xff" * 1216
    with knock(stage.port, b"\x01" + len(body).to_bytes(3) + body) as sock:
        assert end_of_stream(sock) == bytes((5, 0, 0, 1, Code.PROTOCOL))
    until(stage.alone)


# --- slow and silent ones ------------------------------------------------------------------------------


def test_the_handshake_has_one_deadline(
    identity: Identity, sweeping: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Who says nothing, stops halfway or sends a byte now and then is let go; who can understand it learns why."""
    with scene(identity, encryption="optional") as stage, ExitStack() as stack:
        silent = stack.enter_context(knock(stage.port, b""))
        halfway = stack.enter_context(knock(stage.port, b"SECLINK"))
        dripping = stack.enter_context(knock(stage.port, HELLO))
        waiting = stack.enter_context(Hostile(stage.port))
        waiting.hello()
        plain = stack.enter_context(Hostile(stage.port, Mode.OFF))
        plain.hello()
        until(lambda: len(stage.half_open()) == 5)
        deadlines = {link: link.connection.deadline for link in stage.half_open()}
        for _ in range(5):
            dripping.sendall(b"\x00")
            stage.check_neighbour()
        assert {link: link.connection.deadline for link in stage.half_open()} == deadlines
        stage.overdue()
        until(stage.alone)
        assert (end_of_stream(silent), end_of_stream(halfway)) == (b"", b"")
        assert end_of_stream(dripping) == bytes((5, 0, 0, 1, Code.TIMEOUT))
        assert end_of_stream(waiting.sock)[0] == Kind.SEALED
        assert end_of_stream(plain.sock)[0] == Kind.PLAIN
    assert caplog.text.count("did not finish its handshake in time") == 5
    assert caplog.text.count("while server: waiting for a hello") == 3
    assert caplog.text.count("while server: waiting for the client's proof") == 2


def test_a_slow_client_learns_of_the_deadline(identity: Identity, sweeping: None) -> None:
    """A client that takes too long over its credentials is told that, not that it broke something."""
    with scene(identity) as stage:

        def slow(binding: bytes, fingerprint: str) -> None:
            stage.overdue()
            until(stage.alone)

        client = stage.client(credentials=slow)
        error = failure(HandshakeError, client.connect, "the handshake took too long", "again")
        assert error.code == Code.TIMEOUT


# --- floods ----------------------------------------------------------------------------------------------


def test_a_flood_costs_the_busiest_address_its_oldest(
    identity: Identity, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At the cap of half-open connections others keep theirs, and new ones still come in."""
    monkeypatch.setattr("securelink.threads.gate.PLACE_SECONDS", 0.0)
    admitting(monkeypatch, max_half_open=4)
    with scene(identity) as stage, ExitStack() as stack:
        other = stack.enter_context(knock(stage.port, b"", "127.0.0.2"))
        flood = [stack.enter_context(knock(stage.port, b"")) for _ in range(8)]
        for sock in flood[:5]:
            assert end_of_stream(sock) == b""
        for sock in (other, *flood[5:]):
            sock.settimeout(0.05)
            with pytest.raises(TimeoutError):
                sock.recv(1)
            sock.settimeout(WAIT)
        with stage.client() as client:
            assert echo(client, "came in during the flood")
        assert end_of_stream(flood[5]) == b""
    message = "too many half-open connections: the oldest of 127.0.0.1 is dropped"
    assert caplog.text.count(message) == 6


def test_an_address_has_a_budget_of_failures(
    identity: Identity, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Too many failed handshakes of one address: it waits, others and its sessions do not; successes are free."""
    for module in ("gate", "suspensions"):
        monkeypatch.setattr(f"securelink.threads.{module}.is_loopback_host", lambda host: False)
    monkeypatch.setattr("securelink.threads.sweeper.SWEEP_SECONDS", 0.1)
    with scene(identity, max_failures=3) as stage:
        stage.hold_window()
        for _ in range(6):
            with stage.client() as client:
                assert echo(client, "welcome")
        for _ in range(3):
            with knock(stage.port, b"x" * 20) as sock:
                assert end_of_stream(sock) == b""
        until(stage.alone)
        client = stage.client()
        error = failure(HandshakeError, client.connect, r"blocked this address for \d+ s", "wait")
        assert error.code == Code.BLOCKED
        with Hostile(stage.port) as elsewhere:
            elsewhere.sock.close()
            elsewhere.sock = knock(stage.port, b"", "127.0.0.2")
            elsewhere.hello()
        stage.check_neighbour()
        stage.hold_window(False)
        with client.connect(WAIT, retry=True):
            assert echo(client, "again")
    assert caplog.text.count("127.0.0.1 failed 3 handshakes") == 1


def test_this_machine_has_no_budget(identity: Identity) -> None:
    """On the loopback everybody is one address: failures are not counted there."""
    with scene(identity, max_failures=3) as stage:
        for _ in range(6):
            with knock(stage.port, b"x" * 20) as sock:
                assert end_of_stream(sock) == b""
        with stage.client() as client:
            assert echo(client, "welcome")


def test_too_many_connections_are_turned_away(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """Above max_connections a client learns that there is no room, and enters when there is."""
    with scene(identity, max_connections=2) as stage:
        with stage.client() as second:
            third = stage.client()
            error = failure(HandshakeError, third.connect, "no room", "try again later")
            assert error.code == Code.BUSY
            assert echo(second, "not disturbed")
        until(stage.alone)
        with third.connect():
            assert echo(third, "room again")
    assert "too many connections (max_connections): 127.0.0.1 is turned away" in caplog.text


def test_those_turned_away_take_no_room(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was turned away and does not leave keeps nobody out; of many such the oldest is closed."""
    monkeypatch.setattr("securelink.threads.gate.MAX_TURNED_AWAY", 10)
    with scene(identity, max_connections=2) as stage, ExitStack() as stack:
        second = stage.client().connect()
        waiting = [stack.enter_context(knock(stage.port, b"")) for _ in range(20)]
        listener = listener_of(stage.server)
        until(lambda: len(listener.links) == 2 + 10)
        assert end_of_stream(waiting[0]) == bytes((5, 0, 0, 1, Code.BUSY))
        second.close()
        with stage.client().connect(WAIT, retry=True) as client:
            assert echo(client, "room")


def test_without_descriptors_the_server_waits_for_some(
    stage: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """When the system has no more descriptors, sessions go on and newcomers wait."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    client = socket.socket()
    client.settimeout(WAIT)
    free = os.dup(client.fileno())
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    began = time.monotonic()
    try:
        client.connect(("127.0.0.1", stage.port))
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        until(lambda: "cannot accept connections" in caplog.text)
        stage.check_neighbour()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        seconds = time.monotonic() - began
    with client:
        assert end_of_stream(client).startswith(b"HTTP/1.1 400")
    assert "trying again in a second" in caplog.text
    assert 1 <= caplog.text.count("cannot accept connections") <= 1 + seconds
