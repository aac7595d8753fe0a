"""
The public API as its users write it: checked by mypy with all other files, and never run.

What is here must stay without a type error, and `assert_type` says what users can rely on. A name that disappears, an
argument that is renamed, a result that becomes wider are found here before they are found by a user.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_type
from uuid import UUID

import securelink
from securelink import (
    ANYONE,
    AuthorizedClients,
    Client,
    Code,
    Collector,
    ConnectionClosed,
    Hello,
    Identity,
    Invite,
    JoinTokens,
    KnownServers,
    NotTrusted,
    Packet,
    Passwords,
    PublicKey,
    Received,
    Refused,
    RequestFailed,
    Room,
    SecureLinkError,
    Server,
    Session,
    Typed,
    Unsealed,
    createEncryptKeys,
    first_of,
    seal,
    show_status,
    unseal,
)
from securelink.testing import Network, Recorded, Relay, by_frame, connected


@dataclass
class Jump:
    """Data of a declared type."""

    height: int


class Runner:
    """An object whose `run` is a handler."""

    def run(self, session: Session, packet: Received) -> int:
        """Answer."""
        return len(packet.action)


def servers(identity: Identity, authenticate: Callable[[Hello], Any]) -> None:
    """Making a server, and driving it in each of the three ways."""
    Server()
    Server("", 5050)
    Server(port=0, keys="keys", encryption="optional", authenticate="tokens", client_keys="known")
    Server(keys=Path("keys"), authenticate=authenticate, max_connections=10, max_packet=65_536)
    Server(keys=identity, heartbeat=5.0, application="chess", version="3", workers=4, overlap=False)
    server = Server(tick_rate=20, room_capacity=8, backlog=16, passphrase="a passphrase")
    server.serve_forever()
    server.update()
    server.update(budget=0.02)
    assert_type(server.start(), Server)
    assert_type(server.stop(timeout=1.0), bool)
    with server as entered:
        assert_type(entered, Server)
    server.pause()
    server.resume()
    assert_type(server.tick_rate, float | None)
    server.tick_rate = 30.0
    assert_type(server.address, tuple[str, int])
    assert_type(server.fingerprint, str | None)
    assert_type(server.sessions, Mapping[str, Session])
    assert_type(server.find(user="ada"), list[Session])
    assert_type(server.find("token"), list[Session])
    assert_type(server.create_token("ada", uses=None, lifetime=60.0), str)
    assert_type(server.invite("game.example", user="ada", uses=1, lifetime=60), str)


def handlers(server: Server, session: Session, packet: Received) -> None:
    """Handlers keep their type; each event can be used as a decorator and by a call."""

    @server.on("move")
    def move(session: Session, packet: Received) -> int:
        return len(packet.headers)

    assert_type(server.on("move", move)(session, packet), int)
    assert_type(server.off("move"), bool)

    @server.on_connect
    def enter(session: Session) -> None:
        session.data["score"] = 0

    @server.on("jump", Jump)
    def jump(session: Session, packet: Typed[Jump]) -> int:
        assert_type(packet.data, Jump)
        return packet.data.height

    def plain(session: Session, packet: Received) -> None:
        session.data["jumps"] = packet.data

    server.on("jump", Jump, jump)
    server.on("jump", Jump, plain)
    server.on("jump", Jump)(plain)
    server.on("numbers", list[int], lambda session, packet: sum(packet.data))
    server.on("runs", Runner())
    server.on("plain", handler=plain)
    server.on("given", lambda session, packet: packet.data)
    server.before_send = lambda session, action, data: data
    server.after_receive = lambda packet: packet.data
    server.on_disconnect.add_listener(enter)
    server.on_message(lambda session, packet: None)
    server.on_tick(lambda: None)
    assert_type(server.on_connect.remove_listener(enter), bool)
    assert_type(server.on_connect.wait(1.0), tuple[Any, ...])
    assert_type(Collector(server.on_message).take(timeout=1.0), list[tuple[Any, ...]])


def sessions(server: Server, session: Session) -> None:
    """What can be done with one client, and with many."""
    session.send("said", {"text": "hello"}, headers={"lang": "en"}, latest="said", timeout=None)
    session.request("ask", timeout=1.0)
    assert_type(session.request_later("ask", [1], headers={"lang": "en"}, timeout=1.0), Future[Any])
    session.kick("no cheating")
    session.mute()
    assert_type(session.token, str)
    assert_type(session.restarted, bool)
    assert_type(session.address, tuple[str, int])
    assert_type(session.fingerprint, str | None)
    assert_type(session.connected_at, float)
    assert_type(session.data, dict[str, Any])
    assert_type(session.ping(timeout=1.0), float)
    assert_type(session.join("lobby"), Room)
    assert_type(session.leave("lobby"), bool)
    assert_type(server.broadcast("said", to=[session, session.token], exclude=session.token), int)
    assert_type(server.room("lobby").broadcast("said", exclude=[session]), int)
    assert_type([member.token for member in server.room("lobby")], list[str])
    with server.batch():
        server.set_state({"round": 1})


def clients(identity: Identity) -> None:
    """Making a client, and receiving in each of the four ways."""
    Client("securelink://game.example:5050/?key=SHA256:...")
    Client("host", 5050, keys="keys", credentials={"user": "ada"}, trust="known")
    Client("host", 5050, encryption="off", token="a uuid4", plaintext_credentials=True)
    Client("host", 5050, session="file"), Client("host", 5050, session=Path("file"))
    Client(
        "host", 5050, keys=identity, token="a uuid4", pin="SHA256:...", known_servers=Path("known")
    )
    Client("host", 5050, credentials=lambda binding, fingerprint: b"proof", application="chess")
    assert_type(Client("host", 5050, handlers="update").update(), bool)
    assert_type(Client("host", 5050, handlers="update").update(budget=0.02), bool)
    client = Client("host", 5050).connect(timeout=5.0, retry=True)
    assert_type(client.request_later("ask", timeout=1.0), Future[Any])
    assert_type(client.reason, str)
    assert_type(client.code, int | None)
    assert_type(client.clean, bool)
    assert_type(client, Client)
    client.send("say", [1, 2.5, "three", b"four", None, {"five": True}], timeout=1.0)
    client.request("ask")
    assert_type(client.receive(timeout=1.0), Received | None)
    assert_type(client.receive(), Received)
    assert_type(client.poll(), list[Received])
    assert_type(client.wait_for("said", timeout=1.0), Received)
    for packet in client:
        received(packet)

    @client.on("said")
    def said(packet: Received) -> None:
        packet.reply("thanks")

    @client.on("jump", Jump)
    def jumped(packet: Typed[Jump]) -> None:
        assert_type(packet.data.height, int)

    client.on("jump", Jump, jumped)
    client.on_message(lambda packet: None)
    client.on_connect(lambda: None)
    client.before_send = lambda action, data: data
    assert_type(client.on("said", said)(packet), None)
    assert_type(client.token, str)
    assert_type(client.resumed, bool)
    assert_type(client.connected, bool)
    assert_type(client.encrypted, bool)
    assert_type(client.server_fingerprint, str | None)
    assert_type(client.close(timeout=1.0), list[Packet])


def received(packet: Received) -> None:
    """What a packet says."""
    assert_type(packet.action, str)
    assert_type(packet.headers, dict[str, Any])
    assert_type(packet.created, float)
    assert_type(packet.token, str)
    packet.fail("not now")
    packet.defer().reply([1, 2])


def entering(hello: Hello, authorized: AuthorizedClients) -> str:
    """A function as `authenticate`, and the ready-made ones."""
    tokens, passwords = JoinTokens("tokens.json"), Passwords()
    assert_type(tokens.create("ada", uses=3, lifetime=60, note="for the party"), str)
    assert_type(tokens.revoke("id"), bool)
    passwords.add("ada", "correct horse", replace=True)
    assert_type(passwords.users(), list[str])
    servers(Identity.generate(), first_of(tokens, passwords))
    if hello.fingerprint is None or not hello.encrypted:
        raise Refused("show a key")
    assert_type(hello.address, tuple[str, int])
    assert_type(hello.binding, bytes | None)
    return authorized.allows(hello.fingerprint) or "guest"


def keys(recipient: PublicKey) -> None:
    """Keys, trust and sealed packets."""
    identity = createEncryptKeys("keys", "client", bits=3072, passphrase="a passphrase")
    assert_type(identity, Identity)
    assert_type(Identity.load("keys/client_private.pem").public, PublicKey)
    assert_type(identity.fingerprint, str)
    assert_type(identity.save("keys", "copy"), tuple[Path, Path])
    assert_type(KnownServers("keys/known_servers").get("host", 5050), str | None)
    assert_type(Invite.parse("securelink://...").token, str | None)
    note = seal(("note", "hello"), recipient, sender=identity)
    assert_type(note, bytes)
    unsealed = unseal(note, identity, sender=ANYONE, max_age=60.0)
    unseal(note, identity, sender={recipient, "SHA256:..."})
    assert_type(unsealed, Unsealed)
    assert_type(unsealed.packet, Packet)
    assert_type(unsealed.id, UUID)


def errors(client: Client) -> None:
    """What an error tells, and that one root catches all."""
    try:
        client.connect()
    except NotTrusted as error:
        assert_type(error.fingerprint, str)
        assert_type(error.expected, str | None)
    except Refused as error:
        assert_type(error.text, str)
        assert_type(error.code == Code.CLIENT_KEY_UNKNOWN, bool)
    except RequestFailed as error:
        assert_type(error.reason, str)
    except ConnectionClosed as error:
        assert_type(error.clean, bool)
    except SecureLinkError as error:
        assert_type(error.hint, str)
    show_status(info=False, warnings=True)
    assert_type(securelink.__version__, str)


def policies(server: Server, client: Client, session: Session) -> None:
    """What becomes of packets without room."""
    for side in (server, client):
        side.policy("at", "latest", key=lambda data: str(data["player"]))
        side.policy("order", "wait", timeout=None)
        side.policy("order", None)
    assert_type(session.send("spark", full="oldest"), bool)
    assert_type(session.pressure.unsent + client.pressure.blocked, int)
    assert_type(server.limits()["max_memory"].used, int)


def a_test_without_ports(server: Server) -> None:
    """The ways of `securelink.testing`."""
    with connected(server, credentials="ada", timeout=10.0) as client:
        assert_type(client, Client)
    with Network(capacity=4096) as network:
        assert_type(network.serve(server), Server)
        relay = network.relay(server)
        assert_type(relay, Relay)
        assert_type(network.client(relay, connect=False), Client)
        relay.to_server.cut_after = 100
        relay.to_client.hook = by_frame(lambda frame: frame)
        assert_type(relay.frames, list[Recorded])
        relay.cut(reset=True)
