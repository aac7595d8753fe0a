"""A balancer says whose connections it passes on: the PROXY protocol, version 2."""

from __future__ import annotations

import dataclasses
import socket
import struct
from typing import Any

import pytest
from helpers import WAIT, Hostile, end_of_stream, until
from inside import listener_of
from proxied import behind, header, through

from securelink import ConfigError, Hello, Identity, Server
from securelink.codes import Code
from securelink.streams.proxy import SIGNATURE, HeaderReader, proxy_networks

pytestmark = pytest.mark.usefixtures("tidy")


@pytest.mark.parametrize("source", ["203.0.113.9", "2001:db8::7", "::ffff:203.0.113.9"])
@pytest.mark.parametrize("more", [b"", b"\x04\x00\x03abc" + b"\xea\x00\x10" + bytes(16)])
def test_the_address_is_the_clients(source: str, more: bytes, identity: Identity) -> None:
    """Sessions, hooks and counts see the address in the header; further fields are skipped."""
    seen: list[Hello] = []

    def authenticate(hello: Hello) -> str:
        seen.append(hello)
        return "ada"

    with (
        behind(identity, authenticate=authenticate) as (server, came),
        through(server, header(source, more=more)) as client,
    ):
        client.open()
        until(lambda: came)
        expected = (source.removeprefix("::ffff:"), 4711)
        assert came[0].address == seen[0].address == expected


def test_a_header_may_come_in_pieces(identity: Identity) -> None:
    """However header and hello are divided, or joined, each byte goes where it belongs."""
    with behind(identity) as (server, came):
        data = header(more=bytes(40))
        with Hostile(server.address[1]) as client:
            hello = client.engine.data_to_send()
            for byte in data[:-1]:
                client.sock.sendall(bytes((byte,)))
            client.sock.sendall(data[-1:] + hello)
            client.open()
            until(lambda: came)
            assert came[0].address == ("203.0.113.9", 4711)


@pytest.mark.parametrize(
    "local",
    [
        header(command=0x20),
        SIGNATURE + b"\x20\x00\x00\x00",
        SIGNATURE + b"\x21\x00\x00\x00",
        SIGNATURE + b"\x20\x00\x00\x05\x04\x00\x02xy",
    ],
)
def test_a_proxy_may_speak_for_itself(local: bytes, identity: Identity) -> None:
    """LOCAL, as health checks say it, and an unknown family keep the proxy's own address."""
    with behind(identity) as (server, came), through(server, local) as client:
        client.open()
        until(lambda: came)
        assert came[0].address[0] == "127.0.0.1"


WRONG = {
    "no header": b"\x01\x00\x05\x00SECLINK\x1a" + bytes(100),
    "version 1": b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 5050\r\n",
    "another version": SIGNATURE + b"\x31\x11\x00\x0c" + bytes(12),
    "another command": SIGNATURE + b"\x22\x11\x00\x0c" + bytes(12),
    "UDP": SIGNATURE + b"\x21\x12\x00\x0c" + bytes(12),
    "a socket of Unix": SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216),
    "too short": SIGNATURE + b"\x21\x21\x00\x0c" + bytes(12),
    "too long": SIGNATURE + b"\x21\x11\xff\xff",
    "a wrong byte": SIGNATURE[:11] + b"\x0b",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_header_is_closed(
    wrong: str, identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """From a trusted proxy a header must come, and be in order: otherwise its connection is closed, with a line."""
    with behind(identity) as (server, came):
        with through(server, WRONG[wrong]) as client:
            client.sock.settimeout(WAIT)
            assert end_of_stream(client.sock) == b""
        with through(server, header()) as client:
            client.open()
            until(lambda: came)
    assert "PROXY header" in caplog.text


def test_a_header_of_a_stranger_is_not_believed(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """Who is not in trusted_proxies cannot choose its address; without the option nobody can."""
    for trusted in (["192.0.2.1", "2001:db8::/32"], []):
        with behind(identity, trusted_proxies=trusted) as (server, came):
            with through(server, header()) as client:
                assert end_of_stream(client.sock) == b""
            with through(server) as client:
                client.open()
                until(lambda: came)
                assert came[0].address[0] == "127.0.0.1"
    assert "not in trusted_proxies" in caplog.text


def test_a_check_that_is_reset_costs_nothing(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """A balancer checks by a connection that it resets at once: also that one came from a trusted proxy."""
    with behind(identity) as (server, came):
        server.pause()  # it is reset before it is accepted
        check = socket.create_connection(server.address, WAIT)
        check.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        check.sendall(header(command=0x20))
        check.close()
        server.resume()
        with through(server, header()) as client:
            client.open()
            until(lambda: came)
        assert server.stats()["handshakes_failed_total"] == 0
    assert "handshake with" not in caplog.text


def test_a_proxy_that_is_silent_has_a_deadline(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """A header that does not come in the time of a handshake ends its connection; of many the oldest goes first."""
    with behind(identity) as (server, _):
        listener = listener_of(server)

        listener.settings = dataclasses.replace(
            listener.settings, handshake_seconds=0.2, max_half_open=3
        )
        socks = [socket.create_connection(server.address, WAIT) for _ in range(4)]
        for sock in socks:
            with sock:
                assert end_of_stream(sock) == b""
    assert "sent no PROXY header in time" in caplog.text


def test_failures_are_those_of_the_client(identity: Identity) -> None:
    """Behind a proxy one client that fails too often is turned away, not the proxy and everybody behind it."""
    with behind(identity, max_failures=2) as (server, came):
        for _ in range(2):
            with through(server, header(), b"x" * 20) as client:
                end_of_stream(client.sock)
        with through(server, header()) as client:
            assert client.ending()[0] == Code.BLOCKED
        with through(server, header("203.0.113.10")) as client:
            client.open()
            until(lambda: came)


def test_a_stop_closes_what_waits_for_its_header(identity: Identity) -> None:
    """A server that stops forgets no connection whose header is still to come."""
    with behind(identity) as (server, _):
        sock = socket.create_connection(server.address, WAIT)
        listener = listener_of(server)
        waiting = listener._preambles  # noqa: SLF001  # nobody counts them
        until(lambda: waiting)
        server.stop()
        with sock:
            assert end_of_stream(sock) == b""


@pytest.mark.parametrize(
    "wrong", ["127.0.0.1", 7, [7], ["nonsense"], ["10.0.0.1/8"], ["10.0.0.0/40"], [b"10.0.0.1"]]
)
def test_what_is_no_list_of_proxies(wrong: Any, identity: Identity) -> None:
    """A text alone, a name, or bits behind the prefix are refused when the server is made."""
    with pytest.raises(ConfigError) as caught:
        Server("127.0.0.1", 0, keys=identity, trusted_proxies=wrong)
    assert caught.value.hint
    assert len(proxy_networks(("10.0.0.0/8", "::1"))) == 2


def test_every_truncation_of_a_header_waits() -> None:
    """No part of a header is taken for the whole, and never more is read than belongs to it."""
    data = header("2001:db8::7", more=b"\x04\x00\x01x")
    for size in range(len(data)):
        reader = HeaderReader()
        rest = data[:size]
        while rest and reader.wanted:
            rest, piece = rest[reader.wanted :], rest[: reader.wanted]
            reader.feed(piece)
        assert reader.wanted > 0
