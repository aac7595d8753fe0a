"""Clients that do not reach a server, and servers that cannot listen: what they are told."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable
from typing import NoReturn

import pytest
from helpers import SOON, WAIT, answering, echo, end_of_stream, failure, frame, read_frame, scene
from ports import free_port

from securelink import (
    Client,
    ConfigError,
    ConnectFailed,
    HandshakeError,
    Identity,
    LinkTimeout,
    ProtocolError,
    Refused,
    Server,
)
from securelink.codes import Code
from securelink.wire.fields import Kind

pytestmark = pytest.mark.usefixtures("tidy")


def connecting(port: int, host: str = "127.0.0.1", timeout: float = WAIT) -> Callable[[], object]:
    """To be called where it must fail."""
    client = Client(host, port)
    return lambda: client.connect(timeout)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 100])
def test_an_unknown_name_is_named(host: str) -> None:
    """A name that nobody knows is said to be the cause."""
    error = failure(
        ConnectFailed, connecting(5050, host), "is not known here", "spelling.*IP address"
    )
    assert repr(host) in error.message


@pytest.mark.parametrize("host", ["two words", "a#b", "a\nb"])
def test_what_cannot_be_a_host_is_refused(host: str) -> None:
    """A host that is no host is a mistake of the caller."""
    error = failure(ConfigError, connecting(5050, host), "is not the name or address of a host")
    assert repr(host) in error.message


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_what_cannot_be_a_port_is_refused(port: int) -> None:
    """A port that is no port is a mistake of the caller."""
    failure(ConfigError, lambda: connecting(port), f"{port} is not a TCP port", "1 to 65535")


def test_a_closed_port_is_named() -> None:
    """Where nothing listens, the error says so and asks the right questions, at once."""
    port, began = free_port(), time.monotonic()
    error = failure(
        ConnectFailed, connecting(port), f"127.0.0.1:{port}: connection refused", "server started"
    )
    assert isinstance(error, OSError)
    assert time.monotonic() - began < SOON


def test_a_closed_port_is_tried_again_when_asked() -> None:
    """connect(retry=True) gives up only at its deadline, with the last error."""
    client, began = Client("127.0.0.1", free_port()), time.monotonic()
    failure(ConnectFailed, lambda: client.connect(0.4, retry=True), "refused", "server started")
    assert 0.1 < time.monotonic() - began < SOON


def test_no_route_is_named(
    monkeypatch: pytest.MonkeyPatch, failing: Callable[[int], Callable[..., NoReturn]]
) -> None:
    """A network that cannot be reached is told from a server that is not started."""
    monkeypatch.setattr(socket.socket, "connect", failing(errno.ENETUNREACH))
    failure(ConnectFailed, connecting(5050), "network is unreachable", "no route to that network")


def test_an_address_that_never_answers_times_out() -> None:
    """A firewall that swallows everything ends in a timeout that names both ends of the problem."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for sock in (first, second):  # the backlog is full now: the system answers nobody
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        connect = connecting(full.getsockname()[1], timeout=0.3)
        error = failure(
            LinkTimeout, connect, r"did not answer within 0\.(3|[12]\d*) s", "port.*firewall"
        )
        assert isinstance(error, TimeoutError)


def test_a_silent_server_times_out() -> None:
    """One that accepts and says nothing is told from one that is not there."""
    with answering(end_of_stream) as port:
        failure(
            LinkTimeout, connecting(port, timeout=0.3), "did not finish the handshake within 0.3 s",
            "securelink server.*overloaded",
        )  # fmt: skip


def test_a_server_that_hangs_up_is_named() -> None:
    """The end of the stream in the handshake is no silent retry and no bare OSError."""
    with answering(lambda sock: None) as port:
        error = failure(
            HandshakeError, connecting(port), f"127.0.0.1:{port} closed the connection during",
            "securelink server.*allowed there",
        )  # fmt: skip
    assert error.code == Code.SHUTDOWN


@pytest.mark.parametrize(
    "greeting",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"220 mail.example ESMTP\r\n",
        bytes((21, 3, 3, 0, 2, 2, 40)),
        b"\x00" * 64,
        b"\xff",
    ],
    ids=["web", "ssh", "mail", "tls", "zeros", "one byte"],
)
def test_another_protocol_is_recognised(greeting: bytes) -> None:
    """A server of another protocol is named for what it is, not for the first byte that did not fit."""

    def greet(sock: socket.socket) -> None:
        read_frame(sock)
        sock.sendall(greeting)
        end_of_stream(sock)

    with answering(greet) as port:
        failure(ProtocolError, connecting(port), "not a securelink server", "host and port")


def test_a_greeting_before_our_hello_is_recognised() -> None:
    """Servers that speak first are recognised although we had no time to say anything."""

    def greet(sock: socket.socket) -> None:
        sock.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")
        end_of_stream(sock)

    with answering(greet) as port:
        failure(ProtocolError, connecting(port), "not a securelink server", "host and port")


def test_a_server_that_sends_a_byte_now_and_then_does_not_hold_the_client() -> None:
    """The deadline is for the whole handshake, not for each byte."""

    def drip(sock: socket.socket) -> None:
        for byte in bytes((Kind.SERVER_HELLO, 0, 4, 0, *[0] * 1000)):
            sock.sendall(bytes((byte,)))
            time.sleep(0.05)

    began = time.monotonic()
    with answering(drip) as port:
        failure(LinkTimeout, connecting(port, timeout=0.4), "within 0.4 s", "overloaded")
    assert time.monotonic() - began < SOON  # all that it has to say takes 50 s


def test_an_answer_announced_too_long_is_refused() -> None:
    """A server cannot make the client collect more than a handshake may be long."""

    def announce(sock: socket.socket) -> None:
        read_frame(sock)
        sock.sendall(bytes((Kind.SERVER_HELLO,)) + (8193).to_bytes(3) + bytes(8193))
        end_of_stream(sock)

    with answering(announce) as port:
        failure(ProtocolError, connecting(port), "8,193 bytes.*8,192 .MAX_HANDSHAKE_BODY")


@pytest.mark.parametrize(
    ("code", "says", "hint"),
    [
        (Code.BUSY, "no room for another connection", "try again later"),
        (Code.TIMEOUT, "the handshake took too long", "try again"),
        (Code.INTERNAL, "the peer had an internal error", "log"),
        (Code.PROTOCOL, "says that we broke the protocol", "version"),
        (200, "code 200", "update securelink"),
    ],
)
def test_each_reason_of_a_server_is_shown(code: int, says: str, hint: str) -> None:
    """An ALERT becomes an error with its reason in words, also one from a newer server."""

    def alert(sock: socket.socket) -> None:
        read_frame(sock)
        sock.sendall(frame(Kind.ALERT, bytes((code,))))
        end_of_stream(sock)

    kind = Refused if code == 200 else HandshakeError
    with answering(alert) as port:
        error = failure(kind, connecting(port), says, hint)
    assert error.code == code


def test_a_failed_attempt_can_be_repeated(identity: Identity) -> None:
    """What failed leaves nothing behind: the same client connects when the server is there."""
    port = free_port()
    client = Client("127.0.0.1", port)
    failure(ConnectFailed, client.connect, "refused", "server started")
    failure(ConfigError, lambda: client.send("echo"), "not connected", "connect")
    with Server("127.0.0.1", port, keys=identity) as server:
        server.on("echo", lambda session, packet: session.send("echo", packet.data))
        with client:
            assert echo(client, [1, 2, 3])


# --- servers ------------------------------------------------------------------------------------------


def test_a_port_in_use_is_named(identity: Identity) -> None:
    """A second server on the same port says whose fault it is; the first goes on, and both can be started again."""
    with scene(identity) as stage:
        second = Server("127.0.0.1", stage.port, keys=identity)
        error = failure(
            ConnectFailed, second.start, "cannot listen on .*address already in use", "another port"
        )
        assert f"127.0.0.1:{stage.port}" in error.message
        assert not second.running
        assert second.stop()
        port = stage.port
    with Server("127.0.0.1", port, keys=identity):
        pass


def test_an_address_of_another_machine_is_named(identity: Identity) -> None:
    """A server can listen only on an address that this machine has."""
    server = Server("192.0.2.1", 0, keys=identity)
    failure(ConnectFailed, server.start, "cannot listen on 192.0.2.1:0", "no address of this")


def test_an_unknown_name_to_listen_on_is_named(identity: Identity) -> None:
    """So is a name that nobody knows."""
    server = Server("no-such-host.invalid", 0, keys=identity)
    failure(
        ConnectFailed,
        server.start,
        "cannot listen on no-such-host.invalid:0: the name",
        "address of this",
    )


def test_a_privileged_port_is_named(
    identity: Identity,
    monkeypatch: pytest.MonkeyPatch,
    failing: Callable[[int], Callable[..., NoReturn]],
) -> None:
    """A port below 1024 needs rights; the error says so."""
    monkeypatch.setattr(socket, "create_server", failing(errno.EACCES))
    server = Server("127.0.0.1", 80, keys=identity)
    failure(ConnectFailed, server.start, "127.0.0.1:80: permission denied", "below 1024")


@pytest.mark.parametrize("port", [-1, 65536])
def test_an_impossible_port_to_listen_on_is_refused(identity: Identity, port: int) -> None:
    """A number that is no port is named as such."""
    failure(
        ConfigError,
        lambda: Server("127.0.0.1", port, keys=identity),
        f"{port} is not a TCP port",
        "0 to 65535",
    )


@pytest.mark.parametrize(
    ("options", "says", "hint"),
    [
        ({"encryption": "none"}, "encryption='none' is not possible", "'required'"),
        ({"client_keys": "yes"}, "client_keys='yes' is not possible", "'known'"),
        ({"client_keys": "known", "encryption": "off"}, "needs encryption", "encryption='off'"),
        ({"max_packet": 100}, "max_packet=.* is not possible", "2,048 to"),
        ({"max_packet": 2**24}, "max_packet=.* is not possible", "2,048 to"),
        ({"max_connections": 0}, "max_connections=0 is not", "at least 1"),
        ({"authenticate": "password"}, "authenticate='password' is not", "'tokens'"),
        ({"application": "x" * 256}, "application= is longer than 255 bytes", ""),
    ],
)
def test_options_that_cannot_work_are_refused(
    identity: Identity, options: dict[str, object], says: str, hint: str
) -> None:
    """A mistake in the arguments is found before anything listens."""
    failure(ConfigError, lambda: Server("127.0.0.1", 0, keys=identity, **options), says, hint)  # type: ignore[arg-type]
