"""Sessions over breaks of every kind, and what ends one while its client is away; see docs/SURVIVING.md."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from caller import Caller
from cut_lines import Line, line
from helpers import WAIT, failure, until
from programs import process, read_line
from resuming import REQUIRED, World
from together import channel_of, serving

from securelink import AuthorizedClients, Client, ConnectionClosed, Identity
from securelink.auth import JoinTokens, Passwords
from securelink.codes import Code

HEARTBEAT = 1.0  # seconds
STOPPED = 4.0  # longer than two and a half heartbeats
#: A client that counts aloud, and a server that does.
CLIENT = """
import sys, time
from securelink import Client
client = Client("127.0.0.1", int(sys.argv[1]), pin=sys.argv[2]).connect()
for number in range(10**6):
    client.send("count", [client.token, number])
    time.sleep(0.05)
"""
SERVER = """
import sys, time
from securelink import Identity, Server
server = Server("127.0.0.1", 0, keys=Identity.generate(2048), heartbeat=1.0)
server.on("count", lambda session, packet: packet.data)
with server:
    print(server.invite(), flush=True)
    sys.stdin.read()
"""


def test_a_million_packets(identity: Identity) -> None:
    """A session that is old, with drops now and then, has lost none of them."""
    rounds, each = 1000, 1000
    world = World(identity, REQUIRED)
    world.connect()
    names = [f"{number}" for number in range(each)]
    handled = world.held.handled
    for number in range(rounds):
        world.client.say(*names)
        if number % 50 == 49:
            world.cut()
            world.connect()
            assert world.client.opened[-1]
        world.settle()
        assert handled == names
        handled.clear()
    world.pass_time(5.0)
    assert world.client.core.numbering.outgoing.kept == 0


def test_another_address(identity: Identity) -> None:
    """A client that comes from elsewhere, as a telephone does, has its session, which knows the new address."""
    with serving(identity) as server:
        caller = Caller(server.address[1])
        try:
            caller.come()
            until(lambda: server.sessions)
            (session,) = server.sessions.values()
            assert session.address[0] == "127.0.0.1"
            caller.cut()
            connect = socket.create_connection
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(
                    socket,
                    "create_connection",
                    lambda where, timeout: connect(where, timeout, ("127.0.0.2", 0)),
                )
                assert caller.come()
            until(lambda: session.address == caller.sock.getsockname())
            assert session.address[0] == "127.0.0.2"
            assert server.find(address=session.address) == [session]
        finally:
            caller.leave()


@contextmanager
def away(identity: Identity, **options: Any) -> Iterator[Line]:
    """A client that has lost its connection, and gets none until it is let through."""
    with line(identity, **options) as stage:
        session = stage.session
        stage.refuse()
        until(lambda: not stage.client.connected and not session.connected)
        yield stage


def test_a_password_that_was_changed_meanwhile(identity: Identity) -> None:
    """Who is away proves the right anew, and the old password is none."""
    passwords = Passwords(cost=2)
    passwords.add("ann", "old password")
    given = {"user": "ann", "password": "old password"}
    with away(identity, credentials=given, server={"authenticate": passwords}) as stage:
        passwords.add("ann", "new password", replace=True)
        stage.admit()
        failure(ConnectionClosed, lambda: stage.client.receive(WAIT), "password")
        assert stage.client.code == Code.REFUSED
        assert "resume" not in stage.seen


def test_a_key_that_was_taken_out_meanwhile(
    identity: Identity, other_identity: Identity, tidy: None
) -> None:
    """The session of a revoked key ends though nobody is there to be told; its owner does not come in again."""
    clients = AuthorizedClients("keys/authorized_clients")
    clients.authorize(other_identity.fingerprint, "ada")
    with away(identity, keys=other_identity, server={"client_keys": "known"}) as stage:
        (session,) = stage.server.sessions.values()
        clients.revoke("ada")
        until(lambda: session.ended)
        assert session.code == Code.KICKED
        stage.admit()
        failure(ConnectionClosed, lambda: stage.client.receive(WAIT), "")
        assert stage.client.code in (Code.LOST, Code.CLIENT_KEY_UNKNOWN)


def test_beyond_the_window_both_lists_are_exact(identity: Identity) -> None:
    """When the time is over each side is told once, and has the packets that the other one has not handled."""
    lost: list[Any] = []
    with line(identity, server={"resume": 2}) as stage:
        client, session = stage.client, stage.session
        stage.server.on_disconnect(lambda session: lost.append(session.unconfirmed))
        client.send("say", "handled")
        session.send("told", "handled")
        packet = client.receive(WAIT)
        assert packet is not None
        until(lambda: stage.heard == ["handled"])
        client.ping(WAIT)
        session.ping(WAIT)
        for end in (client, session):
            outgoing = channel_of(end).core.numbering.outgoing
            until(lambda outgoing=outgoing: not outgoing.unacked)  # type: ignore[misc]
        stage.refuse()
        until(lambda: not client.connected and not session.connected)
        for number in range(3):
            client.send("say", number)
            session.send("told", [number])
        failure(ConnectionClosed, lambda: client.receive(WAIT), "no other one in time")
        until(lambda: lost)
        assert [packet.data for packet in client.unconfirmed] == [0, 1, 2]
        assert [[packet.data for packet in packets] for packets in lost] == [[[0], [1], [2]]]
        assert stage.seen == ["connect", "suspend", "disconnect"]


def test_a_client_process_that_stood_still(identity: Identity) -> None:
    """As after the sleep of a laptop: the server has given the connection up, and the session goes on."""
    heard: list[list[Any]] = []
    seen: list[str] = []
    with serving(identity, heartbeat=HEARTBEAT) as server:
        server.on("count", lambda session, packet: heard.append(packet.data))
        server.on_suspend(lambda session: seen.append("suspend"))
        server.on_disconnect(lambda session: seen.append("disconnect"))
        with process(CLIENT, str(server.address[1]), identity.fingerprint) as client:
            until(lambda: len(heard) > 3)
            client.send_signal(signal.SIGSTOP)
            until(lambda: seen)
            before = len(heard)
            client.send_signal(signal.SIGCONT)
            until(lambda: len(heard) > before + 3)
            assert seen == ["suspend"]
            assert [number for _, number in heard] == list(range(len(heard)))
            assert len({token for token, _ in heard}) == 1


def test_a_server_process_that_stood_still() -> None:
    """Its clients give the connection up, and have their sessions when it goes on."""
    with process(SERVER) as stopped, Client(read_line(stopped)).connect(WAIT) as client:
        seen: list[str] = []
        client.on_suspend(lambda: seen.append("suspend"))
        token = client.token
        assert client.request("count", 1, timeout=WAIT) == 1
        stopped.send_signal(signal.SIGSTOP)
        until(lambda: seen)
        stopped.send_signal(signal.SIGCONT)
        assert client.request("count", 2, timeout=WAIT) == 2
        assert client.token == token


def test_a_server_that_computes(identity: Identity) -> None:
    """A handler that takes longer than clients are silent costs no connection."""
    with line(identity, server={"heartbeat": HEARTBEAT}) as stage:
        stage.server.on("compute", lambda session, packet: time.sleep(STOPPED))
        stage.client.request("compute", timeout=WAIT)
        assert stage.seen == ["connect"]


def test_a_backup_that_was_restored(tmp_path: Path) -> None:
    """A file of join tokens that went back in time admits again who was let in since then: so says the document."""
    path = tmp_path / "join_tokens.json"
    tokens = JoinTokens(path)
    token = tokens.create("ann", uses=1)
    backup = path.read_bytes()
    tokens.revoke(token)
    (entry,) = tokens.entries()
    assert entry.revoked
    path.write_bytes(backup)
    (entry,) = tokens.entries()
    assert not entry.revoked
