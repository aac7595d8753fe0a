"""
A peer written from docs/PROTOCOL.md alone speaks to servers and clients of the library: what the page says happens.

The peer speaks plaintext: what is tested here is the same in both modes, and `test_protocol_document.py` has the other.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from engines import Pair
from helpers import WAIT, until
from inside import handshake_of, sealer_of
from page_client import frame, listed
from page_peer import (
    ALERT,
    APPLICATION,
    CLIENT_AUTH,
    CLIENT_HELLO,
    CLOSE,
    DATA,
    INTERNAL,
    MAGIC,
    NIL,
    PROTOCOL,
    REFUSED,
    SERVER_HELLO,
    TOKEN,
    TOO_SLOW,
    UNREADABLE,
    VERSION,
    WELCOME,
    Peer,
    Wire,
)

from securelink import Client, Identity, Passwords, RequestFailed, SecureLinkError, Server, Session
from securelink.app.received import Received
from securelink.auth import JoinTokens
from securelink.protocol import Alerted, State
from securelink.protocol.handshake_server import ServerHandshake
from securelink.protocol.records import Sealer

pytestmark = pytest.mark.usefixtures("tidy")


@contextmanager
def serving(**options: Any) -> Iterator[tuple[Server, int]]:
    """A plaintext server and its port."""
    with Server("127.0.0.1", 0, encryption="off", **options) as server:
        yield server, server.address[1]


# --- section 11: requests and replies ------------------------------------------------------------------


def test_requests_to_the_library() -> None:
    """The reply has the id in `reply_to` and the result in `data`; a failure is the key `error` of the headers."""
    with serving() as (server, port), Peer(port).welcomed() as peer:
        server.on("double", lambda session, packet: packet.data * 2)

        @server.on("no")
        def no(session: Session, packet: Received) -> None:
            raise RequestFailed("not today")

        for number, (action, data) in enumerate(
            [("double", 21), ("double", None), ("nobody's", 1), ("no", 1), ("~unknown", 1)], 1
        ):
            peer.packets([action, data, None, 0, number])
            answer = peer.packet()
            assert answer[5] == number
            assert answer[4] is None
            assert answer[0] == action
            expected = {
                1: (42, None),
                2: (None, {"error": "error"}),
                3: (None, {"error": "no handler"}),
                4: ("not today", {"error": "refused"}),
                5: (None, {"error": "no handler"}),
            }
            assert (answer[1], answer[2]) == expected[number]


def asked(server: Server, ask: Callable[[Session], Any]) -> tuple[threading.Thread, list[Any]]:
    """Let the server ask its one client; the thread that waits, and later the answer or the error."""
    until(lambda: server.sessions)
    (session,) = server.sessions.values()
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(ask(session))
        except SecureLinkError as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, found


@pytest.mark.parametrize(
    ("headers", "data", "fails"),
    [
        (None, 7, None),
        ({"else": 1}, 7, None),
        ({"error": "error"}, None, "error"),
        ({"error": "refused"}, "not today", "refused"),
        ({"error": None}, "words", "None"),
    ],
)
def test_requests_of_the_library(headers: Any, data: Any, fails: str | None) -> None:
    """Any packet with the right `reply_to` is the reply, whatever its action; `error` with any value is a failure."""
    with serving() as (server, port), Peer(port).welcomed() as peer:
        thread, found = asked(server, lambda session: session.request("where", [1], timeout=WAIT))
        question = peer.packet()
        assert question[:2] == ["where", [1]]
        assert question[4] == 1  # the library counts from 1
        peer.packets(["another name", data, headers, 0, None, question[4]])
        thread.join(WAIT)
        (answer,) = found
        if fails is None:
            assert getattr(answer, "data", answer) == data
        else:
            assert isinstance(answer, RequestFailed)
            assert answer.reason == fails
            assert answer.text == (data or answer.text)


def test_a_reply_never_reaches_a_handler() -> None:
    """Also when nobody waits for it, and when it has an id; the session goes on."""
    with serving() as (server, port), Peer(port).welcomed() as peer:
        heard: list[str] = []
        server.on_message(lambda session, packet: heard.append(packet.action))
        server.on("ask", lambda session, packet: "answer")
        peer.packets(["stray", 1, None, 0, None, 99], ["ask", 1, None, 0, 5, 99])
        peer.packets(["ask", 1, None, 0, 6])
        assert peer.packet()[4:] == [None, 6]
        assert heard == ["ask"]


# --- section 11: actions of the library ------------------------------------------------------------------


def test_states() -> None:
    """`~state` carries a side's state, both ways and without a reply; a server sends its own to who comes."""
    with serving() as (server, port):
        server.set_state({"round": 1})
        with Peer(port).welcomed() as peer:
            assert peer.packet()[:2] == ["~state", {"round": 1}]
            server.set_state({"round": 2})
            assert peer.packet()[:2] == ["~state", {"round": 2}]
            told: list[Any] = []
            server.on_state(lambda session, value: told.append(value))
            peer.packets(["~state", [1, 2]])
            until(lambda: told == [[1, 2]])


def test_unknown_actions_of_the_library_reach_nobody() -> None:
    """An action that begins with `~` and has no meaning here goes to no handler of the application."""
    with serving() as (server, port), Peer(port).welcomed() as peer:
        heard: list[str] = []
        server.on_message(lambda session, packet: heard.append(packet.action))
        peer.packets(["~later", 1], ["~console-line", "x"])
        peer.packets(["known", 1])
        until(lambda: heard == ["known"])


# --- section 11: what is data ------------------------------------------------------------------------------


def packed(data: bytes, created: bytes = b"\x00") -> bytes:
    """A record of one packet "p" with this data, as it stands."""
    return b"\x91\x94\xa1p" + data + NIL + created


@pytest.mark.parametrize(
    ("record", "data"),
    [
        (packed(b"\x01", b"\x01"), 1),  # created as an int
        (packed(b"\x01", b"\xcf" + b"\xff" * 8), 1),
        (packed(b"\x01", b"\xcb" + bytes(8)), 1),
        (packed(b"\x82\xa1k\x01\xa1k\x02"), {"k": 2}),  # a key twice
        (packed(b"\x81\x01\xc2"), {1: False}),
        (packed(b"\xd6\xff\x00\x00\x00\x00"), "1970-01-01T00:00:00+00:00"),
        (b"\x91\x91\xa1p", None),  # all but the action may be missing
    ],
)
def test_data_that_is_taken(record: bytes, data: Any) -> None:
    """What the page allows arrives as it says."""
    with serving() as (server, port), Peer(port).welcomed() as peer:
        heard: list[Any] = []
        server.on("p", lambda session, packet: heard.append(packet.data))
        peer.say(DATA, record)
        until(lambda: heard)
        assert [getattr(it, "isoformat", lambda it=it: it)() for it in heard] == [data]


@pytest.mark.parametrize(
    "record",
    [
        packed(b"\x81\x80\x01"),  # a map as a key
        packed(b"\xc7\x0c\xff" + bytes(4) + b"\x7f" + b"\xff" * 7),  # a moment beyond any date
        packed(b"\xd4\x05\x00"),  # another extension
        b"\x91\x90",  # no action
        b"\x91\x92\xa0\x01",  # an empty one
        b"\x91\x97\xa1p" + NIL * 6,  # a seventh field
        b"\x91\x93\xa1p\x01\x02",  # headers that are no map
        b"\x91\x94\xa1p\x01" + NIL + b"\xa1x",  # created as a text
        b"\x91\x95\xa1p\x01" + NIL + b"\x00\xff",  # a negative id
        b"\x80",
        b"",
    ],
)
def test_data_that_ends_the_session(record: bytes) -> None:
    """What cannot be decoded ends the session with CLOSE UNREADABLE."""
    with serving() as (_, port), Peer(port).welcomed() as peer:
        peer.say(DATA, record)
        assert peer.close()[0] == UNREADABLE


def test_an_empty_record_counts() -> None:
    """An array of no packets is a record: CLOSE counts it, and a wrong count would be an error."""
    with serving() as (_, port):
        for count, code in ((1, 0), (0, PROTOCOL)):
            with Peer(port).welcomed() as peer:
                peer.say(DATA, b"\x90")
                peer.say(CLOSE, b"\x00" + count.to_bytes(8))
                assert peer.close()[0] == code


def test_who_never_acknowledges_is_too_slow() -> None:
    """A peer that reads everything and acknowledges nothing is ended after 64 MiB, and not before 16."""
    with serving() as (server, port), Peer(port).welcomed() as peer:
        until(lambda: server.sessions)
        read = 0
        record = bytes(2_000_000)
        while read < 100 << 20:
            server.broadcast("bulk", record)
            content, body = peer.record()
            if content == CLOSE:
                break
            read += len(body)
        assert body[0] == TOO_SLOW
        assert read > 16 << 20
        assert read <= (64 << 20) + 2 * len(record)


# --- sections 5, 9, 13: entering -----------------------------------------------------------------------


@pytest.mark.parametrize("missing", [3, 4, 5, 7])
def test_required_fields(missing: int) -> None:
    """Without one of these fields CLIENT_AUTH is an error; all of them may be empty but the credentials."""
    with serving() as (_, port):
        with Peer(port, {missing: None}) as peer:
            assert peer.close()[0] == PROTOCOL
        with Peer(port, {3: b"", 4: b"", 5: b""}) as peer:
            peer.welcomed()


@pytest.mark.parametrize("extra", [1, 2, 6, 8, 9, 10])
def test_fields_that_are_errors_in_plaintext(extra: int) -> None:
    """Keys, proofs, padding, reserved and unknown fields."""
    with serving() as (_, port), Peer(port, {extra: bytes(32)}) as peer:
        assert peer.close()[0] == PROTOCOL


@pytest.mark.parametrize(
    ("ours", "theirs", "enters"),
    [
        (("arena", "2"), (b"arena", b"2"), True),
        (("arena", "2"), (b"Arena", b"2"), False),
        (("arena", "2"), (b"arena", b"2.0"), False),
        (("arena", "2"), (b"", b""), False),
        (("arena", ""), (b"arena", b"7"), True),
        (("", "2"), (b"anything", b"2"), True),
        (("", ""), (b"anything", b"7"), True),
    ],
)
def test_how_names_are_compared(
    ours: tuple[str, str], theirs: tuple[bytes, bytes], enters: bool
) -> None:
    """Byte for byte, by the server alone, and only what it has itself; `dialled` by nobody."""
    names: dict[int, bytes | None] = {3: b"any.example", 4: theirs[0], 5: theirs[1]}
    with (
        serving(application=ours[0], version=ours[1]) as (_, port),
        Peer(port, names) as peer,
    ):
        if enters:
            peer.welcomed()
        else:
            assert peer.close()[0] == APPLICATION


@pytest.mark.parametrize(
    ("value", "enters"),
    [
        ({"token": TOKEN}, True),
        ({"token": TOKEN.upper()}, False),
        ({"token": TOKEN.replace("-", "")}, False),
        ({"token": TOKEN, "more": 1}, False),
        ({"token": TOKEN.encode()}, False),
        (TOKEN, False),
        (None, False),
    ],
)
def test_a_join_token(value: Any, enters: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map with one key and the uuid4 in small letters with dashes; all else is REFUSED."""
    tokens = JoinTokens()
    monkeypatch.setattr("uuid.uuid4", lambda: TOKEN)
    assert tokens.create() == TOKEN
    monkeypatch.undo()
    with (
        serving(authenticate=tokens) as (_, port),
        Peer(port, {7: msgspec.msgpack.encode(value)}) as peer,
    ):
        if enters:
            peer.welcomed()
        else:
            assert peer.close()[0] == REFUSED


@pytest.mark.parametrize(
    ("value", "enters"),
    [
        ({"user": "ada", "password": "correct horse"}, True),
        ({"password": "correct horse", "user": "ada"}, True),
        ({"user": "ada", "password": "correct horse", "more": 1}, False),
        ({"user": "ada"}, False),
        (["ada", "correct horse"], False),
    ],
)
def test_a_password(value: Any, enters: bool) -> None:
    """A map with these two keys, in any order."""
    passwords = Passwords()
    passwords.add("ada", "correct horse")
    with (
        serving(authenticate=passwords) as (_, port),
        Peer(port, {7: msgspec.msgpack.encode(value)}) as peer,
    ):
        if enters:
            peer.welcomed()
        else:
            assert peer.close()[0] == REFUSED


def test_a_server_that_asks_for_nothing_ignores_credentials() -> None:
    """Whatever they are."""
    with serving() as (_, port), Peer(port, {7: msgspec.msgpack.encode([1])}) as peer:
        peer.welcomed()


def test_another_version_is_told_after_the_whole_frame() -> None:
    """The rest of the frame is not looked at, but waited for; then comes ALERT VERSION, and the end."""
    with serving() as (_, port), socket.create_connection(("127.0.0.1", port)) as sock:
        wire = Wire(sock)
        hello = frame(CLIENT_HELLO, MAGIC + b"\x02" + b"whatever is here")
        sock.sendall(hello[:-1])
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        sock.settimeout(WAIT)
        sock.sendall(hello[-1:])
        assert wire.frame() == (ALERT, bytes([VERSION]))
        assert wire.frame() == (0, b"")


def test_what_comes_before_welcome_is_read_after_it(identity: Identity) -> None:
    """DATA in one write with CLIENT_AUTH is served; the server does not notice that nobody waited for WELCOME."""
    pair = Pair(identity).until("client", State.AUTH_SENT)
    sealer = sealer_of(pair.client)
    assert sealer is not None
    packets = b"\x91\x91\xa5early"
    pair.post("client", sealer.seal(bytes([DATA]) + packets))
    assert pair.server.state is State.OPEN
    assert packets in pair.items["server"]


# --- sections 11 and 14: the end ------------------------------------------------------------------------


@contextmanager
def hosting(answer: Callable[[Wire], None]) -> Iterator[int]:
    """A server of one connection, made of the page; what it does after the hello of the client is given."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(WAIT)

        def host() -> None:
            sock, _ = listening.accept()
            with Wire(sock) as wire:
                kind, body = wire.frame()
                assert (kind, body[:9]) == (CLIENT_HELLO, MAGIC + b"\x01")
                answer(wire)

        thread = threading.Thread(target=host)
        thread.start()
        yield int(listening.getsockname()[1])
        thread.join(WAIT)
        assert not thread.is_alive()


def welcome(wire: Wire) -> None:
    """Let a client in."""
    wire.sock.sendall(frame(SERVER_HELLO, b"\x01" + listed({1: b"\x00", 2: os.urandom(32)})))
    content, _ = wire.record()
    assert content == CLIENT_AUTH
    token = os.urandom(6) + b"\x4f" + os.urandom(1) + b"\x8f" + os.urandom(7)
    found = {1: token, 4: b"\x00", 6: (65_536).to_bytes(4), 7: (20_000).to_bytes(4)}
    wire.say(WELCOME, listed(found))
    wire.token = token


@pytest.mark.parametrize("code", [0, 1, 9, 19, 20, 200])
def test_a_text_may_come_with_any_code(code: int) -> None:
    """A CLOSE with words is no error, whatever its code; the words are shown, escaped."""

    def answer(wire: Wire) -> None:
        welcome(wire)
        wire.say(CLOSE, bytes([code]) + bytes(8) + b"so \x1b long")
        assert wire.close()[:2] == (0, 0)

    with hosting(answer) as port, Client("127.0.0.1", port, encryption="off") as client:
        with pytest.raises(SecureLinkError) as caught:
            client.receive(timeout=WAIT)
        assert r"so \x1b long" in str(caught.value)


@pytest.mark.parametrize("code", [1, 2, 4, 6, 7, 8, 0, 16, 19, 21, 200])
def test_any_code_may_come_as_alert(code: int) -> None:
    """Each ends the attempt, and none does more."""
    with hosting(lambda wire: wire.sock.sendall(frame(ALERT, bytes([code])))) as port:
        client = Client("127.0.0.1", port, encryption="off")
        began = time.monotonic()
        with pytest.raises(SecureLinkError) as caught:
            client.connect(timeout=WAIT)
        assert getattr(caught.value, "code", None) == code
        assert time.monotonic() - began < WAIT / 2  # nothing was tried again
        client.close()


def test_the_key_of_a_servers_early_close(identity: Identity) -> None:
    """A CLOSE in place of SERVER_AUTH is sealed under the server's handshake secret, and ends the attempt."""
    pair = Pair(identity)
    pair.until("server", State.HELLO_RECEIVED)
    handshake = handshake_of(pair.server)
    assert isinstance(handshake, ServerHandshake)
    hello = handshake.answer()
    secrets = handshake.handshake_secrets
    assert secrets is not None
    assert [type(item) for item in pair.client.receive_data(hello, 0.0)] == []
    assert pair.client.state is State.WAIT_AUTH
    early = Sealer(secrets.server).seal(bytes([CLOSE, INTERNAL]) + bytes(8))
    (ended,) = pair.client.receive_data(early, 0.0)
    assert isinstance(ended, Alerted)
    assert ended.code == INTERNAL
