"""Bounds that hold for whole sessions and for all of them together."""

from __future__ import annotations

import contextlib
import time
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from helpers import WAIT, failure, until
from together import channel_of, serving, unread

from securelink import Client, CodecError, ConfigError, ConnectionClosed, Identity, Packet, Server
from securelink.codes import Code
from securelink.limits import MAX_DEPTH
from securelink.wire.packets import decode_packets, encode_packet, join_packets


def test_a_session_over_its_rate_is_slowed_not_ended(identity: Identity, tmp_path: Path) -> None:
    """Above `max_rate` packets a second a session is not read until the next second; nothing is lost."""
    server = Server("127.0.0.1", 0, keys=identity, max_rate=100)
    arrived: list[int] = []
    server.on("n", lambda session, packet: arrived.append(packet.data))
    with server, Client("127.0.0.1", server.address[1], known_servers=tmp_path / "known") as client:
        started = time.monotonic()
        for burst in range(3):
            for number in range(150):
                client.send("n", burst * 150 + number)
            until(lambda: len(arrived) >= (burst + 1) * 150)  # noqa: B023
        assert arrived == list(range(450))
        assert time.monotonic() - started > 1.0
        assert client.connected


def test_other_sessions_are_read_meanwhile(identity: Identity, tmp_path: Path) -> None:
    """The rate limit of one session is nobody else's business."""
    server = Server("127.0.0.1", 0, keys=identity, max_rate=50)
    server.on("echo", lambda session, packet: packet.data)
    with (
        server,
        Client("127.0.0.1", server.address[1], known_servers=tmp_path / "known") as loud,
        Client("127.0.0.1", server.address[1], known_servers=tmp_path / "known") as quiet,
    ):
        for number in range(500):
            loud.send("noise", number)
        assert quiet.request("echo", 1, timeout=WAIT) == 1


def test_an_impossible_rate_is_refused(identity: Identity) -> None:
    """A rate of nothing is a mistake, said at once."""
    failure(
        ConfigError,
        lambda: Server(keys=identity, max_rate=0),
        "max_rate=0 is not possible",
        "from 1 to",
    )


def test_the_greediest_session_is_ended(identity: Identity, tmp_path: Path) -> None:
    """When all sessions together hold too much, the one that holds most is ended; the others go on."""
    server = Server("127.0.0.1", 0, keys=identity, max_memory=1024 * 1024)
    server.on("echo", lambda session, packet: packet.data)
    with server:
        slow = Client("127.0.0.1", server.address[1], known_servers=tmp_path / "known").connect()
        channel = channel_of(slow)
        with (
            Client("127.0.0.1", server.address[1], known_servers=tmp_path / "known") as other,
            unread(channel),
        ):
            session = server.sessions[slow.token]
            with contextlib.suppress(ConnectionClosed):
                for _ in range(16):
                    session.send("blob", bytes(512 * 1024), timeout=WAIT)
            until(lambda: channel_of(session).core.receiving.dropping)
            assert other.request("echo", 2, timeout=WAIT) == 2
        error = failure(ConnectionClosed, lambda: [slow.receive(WAIT) for _ in range(99)], "slow")
        assert error.code == Code.TOO_SLOW
        slow.close()


# --- what a packet may hold ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["~", "~state", "~console", "~mine"])
def test_names_of_ours_are_not_sent(name: str, identity: Identity, tmp_path: Path) -> None:
    """What `on()` refuses no way of sending takes: one and many, rooms and requests; nor is one waited for."""
    with (
        serving(identity) as server,
        Client("127.0.0.1", server.address[1], pin=identity.fingerprint) as client,
    ):
        until(lambda: len(server.sessions) == 1)
        (session,) = server.sessions.values()
        room = session.join("lobby")
        for call in (
            lambda: session.send(name),
            lambda: session.send(name, latest="x"),
            lambda: session.request(name),
            lambda: server.broadcast(name),
            lambda: room.broadcast(name),
            lambda: client.send(name),
            lambda: client.request(name),
            lambda: client.request_later(name),
            lambda: client.wait_for(name, 0),
        ):
            failure(ConfigError, call, "cannot be the name of an action", "does not begin with")
        client.set_state(1)
        server.set_state(2)
        until(lambda: session.state == 1)


def nested(levels: int, kind: type) -> Any:
    """Data of so many levels: a list or dict in a list or dict."""
    data: Any = 1
    for _ in range(levels):
        data = [data] if kind is list else {"a": data}
    return data


@pytest.mark.parametrize("kind", [list, dict])
@pytest.mark.parametrize("size", [0, 5_000, 70_000])
def test_levels_are_counted_the_same_on_both_sides(kind: type, size: int) -> None:
    """64 levels of lists and dicts go through in packets of any size; 65 are refused by who sends and who receives."""
    for levels, fits in ((MAX_DEPTH, True), (MAX_DEPTH + 1, False), (MAX_DEPTH + 40, False)):
        data = nested(levels - bool(size), kind)
        data = [data, "x" * size] if size else data
        packet = Packet("deep", data)
        raw = msgspec.msgpack.encode([packet])
        if fits:
            assert decode_packets(join_packets([encode_packet(packet)]))[0].data == data
            assert decode_packets(raw)[0].data == data
        else:
            failure(CodecError, partial(encode_packet, packet), "nested deeper")
            failure(CodecError, partial(decode_packets, raw), "nested deeper")


def test_how_many_elements_is_an_option_of_both_sides(identity: Identity, tmp_path: Path) -> None:
    """`max_elements` lets longer lists through; who has less refuses to send more, and says which option it is."""
    many = list(range(200_000))
    pin = identity.fingerprint
    with serving(identity, max_elements=300_000) as server:
        server.on("echo", lambda session, packet: packet.data)
        with Client("127.0.0.1", server.address[1], pin=pin, max_elements=300_000) as client:
            assert client.request("echo", many, timeout=WAIT) == many
            assert client.request_later("echo", many, timeout=WAIT).result(WAIT) == many
            client.set_state(many)
            until(lambda: len(server.sessions) == 1)
            (session,) = server.sessions.values()
            until(lambda: session.state == many)
            server.set_state(many)
            server.broadcast("many", many)
            packet = client.receive(WAIT)
            assert packet is not None
            assert packet.data == many
            failure(CodecError, lambda: client.send("x", many * 2), "more than", "max_elements")
        with Client("127.0.0.1", server.address[1], pin=pin) as client:
            failure(CodecError, lambda: client.send("x", many), "more than 65,53", "max_elements")
    for wrong in (0, 1023, 2**24, True, 5000.0, "9999", None):
        options: dict[str, Any] = {"max_elements": wrong}
        failure(ConfigError, partial(Server, keys=identity, **options), "max_elements")
        failure(ConfigError, partial(Client, "h", 1, **options), "max_elements")
