"""Attacks that worked once. Each test is the attack."""

from __future__ import annotations

import contextlib
import itertools
import logging
import socket
import threading
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from helpers import WAIT, Hostile, answering, end_of_stream, failure, scene, until
from inside import listener_of
from together import channel_of, link_of

from securelink import (
    Client,
    ConnectionClosed,
    Identity,
    LinkTimeout,
    PeerIncompatible,
    ProtocolError,
    Received,
    Server,
    Session,
)
from securelink.codes import Code
from securelink.limits import MAX_FAILED_PER_ADDRESS
from securelink.protocol import State
from securelink.session import context_of
from securelink.streams import tcp
from securelink.streams.addresses import network
from securelink.threads.mailbox import Folded
from securelink.threads.server_link import ServerLink
from securelink.tools.console.commands import Console
from securelink.tools.console.operators import Attachment, Operators
from securelink.trust import AuthorizedClients
from securelink.wire.fields import Content, Kind
from securelink.wire.packets import Packet, encode_packet, join_packets

pytestmark = pytest.mark.usefixtures("tidy")

NASTY = "bye\n[Server INFO] the operator connected\033[2J"
SAFE = r"bye\n[Server INFO] the operator connected\x1b[2J"


# --- words of a peer ---------------------------------------------------------------------------------------


def test_a_farewell_writes_no_lines_into_the_log(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """The text of a client's CLOSE was logged as it came, and so a client could make up lines of a server's log."""
    with scene(identity) as stage, Hostile(stage.port).open() as client:
        until(lambda: len(stage.server.sessions) == 2)
        session = list(stage.server.sessions.values())[-1]
        assert client.engine.sender is not None
        client.sock.sendall(client.engine.sender.close(Code.KICKED, NASTY))
        until(lambda: not session.connected)
        error = failure(ConnectionClosed, lambda: session.send("x"), r"the operator connected")
        assert error.text == SAFE
        until(lambda: SAFE in caplog.text)
    for record in caplog.records:
        assert record.getMessage().isprintable(), record.getMessage()


def test_a_kick_is_escaped_wherever_it_is_seen(identity: Identity) -> None:
    """Only `receive` escaped the server's words; `send`, `request` and `ping` gave them as they came."""
    with scene(identity) as stage, stage.client() as client:
        stage.session(client).kick(NASTY)
        until(lambda: not client.connected)
        for call in (lambda: client.send("x"), lambda: client.request("x"), client.ping):
            assert failure(ConnectionClosed, call, "the operator").text == SAFE


# --- trust -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"trust": "known"}, {"credentials": "secret"}])
def test_a_plaintext_answer_is_no_way_around_trust(
    options: dict[str, Any], identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With "optional" whoever answered in plaintext got what a server with an unknown key would not have got."""
    monkeypatch.setattr("securelink.threads.connecting.is_loopback_host", lambda _: False)
    seen: list[Any] = []

    def authenticate(hello: Any) -> str:
        seen.append(hello.credentials)
        return "ada"

    with Server("127.0.0.1", 0, encryption="off", authenticate=authenticate) as server:
        client = Client("127.0.0.1", server.address[1], encryption="optional", **options)
        failure(PeerIncompatible, client.connect, "switched off", "anyone on the path")
        assert not seen
        Client("127.0.0.1", server.address[1], encryption="optional").connect().close()


# --- memory ------------------------------------------------------------------------------------------------------


def test_what_handlers_failed_at_is_not_kept(identity: Identity) -> None:
    """The errors kept for `caught` held their frames, and these the packets: 4 MB for each 60 KB that came."""

    def fail(session: Session, packet: Received) -> None:
        try:
            raise ValueError("first")
        except ValueError as error:
            raise KeyError("second") from error

    with scene(identity) as stage, stage.client() as client:
        stage.server.on("fail", fail)
        client.send("fail")
        until(lambda: len(stage.server.caught) == 1)
        (caught,) = stage.server.caught.take()
        assert caught.error.__traceback__ is None
        assert caught.error.__cause__ is not None
        assert caught.error.__cause__.__traceback__ is None
        assert "first" in caught.traceback
        assert "in fail" in caught.traceback


def test_partial_frames_of_all_sessions_are_bounded_together(identity: Identity) -> None:
    """Many sessions that each began a frame and never ended it held 2 MiB each, without any bound for all."""
    with scene(identity, max_memory=3 * 2**20) as stage, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Hostile(stage.port).open()) for _ in range(3)]
        sessions = list(stage.server.sessions.values())[-3:]  # ended ones leave the list at once
        for client in clients:
            client.sock.sendall(bytes((Kind.SEALED,)) + (2**21).to_bytes(3) + bytes(2**21 - 1))
        until(lambda: sum(channel_of(s).core.receiving.dropping for s in sessions) >= 2)
        (left,) = (s for s in sessions if not channel_of(s).core.receiving.dropping)
        until(lambda: not left.connected or link_of(left).held >= 2**21)
        stage.check_neighbour()
        assert left.connected


def test_what_nobody_receives_is_bounded_by_bytes(identity: Identity) -> None:
    """A server could send a client with handlers 1,024 packets of 16 MiB that nobody took."""
    with scene(identity) as stage:
        client = stage.client()
        client.on("other", lambda packet: None)
        with client:
            assert client.poll() == []  # it receives, sometimes
            session = stage.session(client)
            channel = channel_of(client)
            sent = 0
            with contextlib.suppress(LinkTimeout):
                while sent < 64:
                    session.send("blob", bytes(2**20), timeout=3.0)
                    sent += 1
            until(lambda: len(channel.mailbox.packets) >= 8)
            kept = sum(
                len(p.encoded if isinstance(p, Folded) else p.data)
                for _, p in channel.mailbox.packets
            )
            held = channel.core.receiving.in_bytes - channel.core.receiving.out_bytes + kept
            assert held < 20 * 2**20
            assert 15 <= sent < 64  # what is not handled is not acknowledged
            for _ in range(sent):
                assert client.receive(WAIT) is not None


def test_what_waits_for_receive_is_bytes(identity: Identity) -> None:
    """While a client waited for a reply, a server made it hold 8 MiB of lists of empty maps as 590 MiB of objects."""
    # A byte each on the wire, 64 in memory. The rest stays bytes, for tracing makes each map slow.
    maps: dict[str, Any] = {"maps": [{}] * 15_000, "bytes": bytes(45_000)}
    with scene(identity) as stage:

        @stage.server.on("ask")
        def ask(session: Session, packet: Received) -> int:
            for n in range(20):
                session.send("flood", {**maps, "n": n})
            return 7

        with stage.client() as client:
            tracemalloc.start()
            try:
                before = tracemalloc.get_traced_memory()[0]
                assert client.request("ask", timeout=3 * WAIT) == 7
                client.ping(WAIT)
                channel = channel_of(client)
                while channel.core.receiving.items:
                    channel.run()
                assert len(channel.mailbox.packets) == 20
                held = tracemalloc.get_traced_memory()[0] - before
            finally:
                tracemalloc.stop()
            assert held < 6 * 2**20  # 20 MiB when all are objects
            polled = client.poll()
            assert 1 < len(polled) < 20  # of so much, the rest comes later
            polled.append(client.wait_for("flood", WAIT))
            while len(polled) < 20:
                polled += [packet for packet in [client.receive(WAIT)] if packet is not None]
            assert [packet.data for packet in polled] == [{**maps, "n": n} for n in range(20)]
            assert all(packet.session is client for packet in polled)


# --- fairness ------------------------------------------------------------------------------------------------------


def test_empty_records_count_for_the_rate(identity: Identity) -> None:
    """A record without packets cost the server as much as one with a packet, and counted nothing."""
    with scene(identity) as stage, Hostile(stage.port).open() as client:
        until(lambda: len(stage.server.sessions) == 2)
        session = list(stage.server.sessions.values())[-1]
        for _ in range(300):
            client.send(Content.DATA, b"\x90")
        until(lambda: channel_of(session).core.receiving.handled == 300)
        client.send(Content.DATA, join_packets([encode_packet(Packet("nothing"))] * 1000))
        until(
            lambda: (
                channel_of(session).core.numbering.incoming.accepted == 301
                and not channel_of(session).core.receiving.items
            )
        )
        until(
            lambda: channel_of(session).core.receiving.handled == 1300
        )  # once each, though handled in several turns


def test_who_has_a_network_of_ipv6_is_one_address(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the 2^64 addresses that every customer has was a stranger with a budget and a turn of its own."""
    hosts = (f"2001:db8:1:2::{number:x}" for number in itertools.count(1))
    with scene(identity) as stage:
        stage.hold_window()
        monkeypatch.setattr(tcp, "plain_address", lambda name: (next(hosts), 1))
        for _ in range(MAX_FAILED_PER_ADDRESS):
            with socket.create_connection(("127.0.0.1", stage.port)) as sock:
                sock.sendall(b"x")
        at = stage.listener
        until(lambda: at.gate.failed == MAX_FAILED_PER_ADDRESS)
        with Hostile(stage.port) as turned_away:
            assert turned_away.ending() == (Code.BLOCKED, "")
    assert network("192.0.2.1") == "192.0.2.1"
    assert network("2001:db8::1%eth0") == network("2001:db8::ffff") != network("2001:db8:0:1::1")


# --- entering --------------------------------------------------------------------------------------------------------


def test_who_is_gone_uses_no_token(identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    """A login that waited until after its deadline still spent a use of its join token, which nobody then had."""
    asked: list[str] = []
    go = threading.Event()
    original = ServerLink._authorize  # noqa: SLF001  # the moment before

    def late(self: ServerLink) -> None:
        go.wait(WAIT)
        original(self)
        asked.append("done")

    def authenticate(hello: Any) -> str:
        if hello.credentials is not None:
            asked.append("asked")
        return "ada"

    with scene(identity, authenticate=authenticate) as stage:
        monkeypatch.setattr(ServerLink, "_authorize", late)
        with Hostile(stage.port, credentials=b"\x01") as client:
            client.hello()
            client.authenticate()
            client.flush()
            at = listener_of(stage.server)
            until(lambda: at.gate.half_open == 1)
            (waiting,) = [one for one in at.links if one.channel is None]
            until(lambda: waiting.connection.state is State.AUTH_RECEIVED)
            at.loop.call(waiting.lost)
            until(lambda: at.gate.half_open == 0)
            go.set()
            until(lambda: asked)
            assert asked == ["done"]


# --- operators ------------------------------------------------------------------------------------------------


def test_a_name_is_no_token(identity: Identity) -> None:
    """Who called himself like the token of another was kicked, or spared, in his stead."""
    with scene(identity) as stage, stage.client() as one, stage.client() as two:
        stage.session(two).data["name"] = one.token
        stage.session(one)
        assert Console(stage.server).execute(f"kick {one.token}") == f"kicked {one.token}"
        until(lambda: not one.connected)
        assert two.connected


def test_a_revoked_operator_sees_no_more_lines(
    identity: Identity, other_identity: Identity, tmp_path: Path
) -> None:
    """Commands of a revoked key were refused, but the log lines of the server still went to it."""
    allowed = AuthorizedClients(tmp_path / "authorized_operators")
    allowed.authorize(other_identity.fingerprint, "ada")
    with scene(identity) as stage:
        Operators(allowed).serve(stage.server, Console(stage.server))
        seen: list[str] = []
        with stage.client(keys=other_identity) as client:
            operator = Attachment(client)
            operator.on_line(seen.append)
            operator.execute("help")
            log = logging.getLogger("securelink.server")
            log.warning("one")
            until(lambda: "[WARNING] one" in seen)
            allowed.revoke("ada")
            log.warning("two")
            allowed.authorize(other_identity.fingerprint, "ada")
            operator.execute("help")
            log.warning("three")
            until(lambda: "[WARNING] three" in seen)
            assert "[WARNING] two" not in seen


def test_a_state_is_kept_as_bytes(identity: Identity, tmp_path: Path) -> None:
    """What a client sets as its state is held encoded: 60 KB of empty maps do not become 4 MB of objects."""
    with (
        Server("127.0.0.1", 0, keys=identity) as server,
        Client("127.0.0.1", server.address[1], known_servers=tmp_path / "known") as client,
    ):
        client.set_state([{}] * 50_000)
        session = next(iter(server.sessions.values()))
        until(lambda: session.state is not None)
        assert 0 < context_of(session).held < 60_000
        assert session.state == [{}] * 50_000


def test_failing_handlers_do_not_fill_the_log(
    identity: Identity, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that makes a handler fail again and again costs ten tracebacks a second, not one each."""
    with (
        Server("127.0.0.1", 0, keys=identity) as server,
        Client("127.0.0.1", server.address[1], known_servers=tmp_path / "known") as client,
    ):
        server.on("bad", lambda session, packet: 1 / 0)
        server.on("done", lambda session, packet: True)
        began = time.monotonic()
        for _ in range(500):
            client.send("bad")
        assert client.request("done", timeout=WAIT)
        seconds = time.monotonic() - began
    assert 10 <= caplog.text.count("raised an error") <= 10 * (2 + seconds)


def test_a_forged_alert_ends_no_retrying(tmp_path: Path) -> None:
    """An ALERT comes from anybody on the path: a client that was told to retry goes on trying."""
    answers = [*[bytes((5, 0, 0, 1, 16))] * 3, b"SSH-2.0-OpenSSH_9.9\r\n"]

    def forge(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answers.pop(0))
        end_of_stream(connection)

    with answering(forge, times=4) as port:
        client = Client("127.0.0.1", port, known_servers=tmp_path / "known")
        failure(
            ProtocolError,
            lambda: client.connect(WAIT, retry=True),
            "not a securelink server",
            "port",
        )
    assert answers == []
