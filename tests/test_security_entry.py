"""Who enters, what a peer can claim, and what its words can do here."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from helpers import WAIT, Hostile, end_of_stream, failure, scene, until
from inside import sealer_of
from programs import finished

from securelink import (
    Client,
    ConnectionClosed,
    Hello,
    Identity,
    PeerIncompatible,
    Received,
    Refused,
    RequestFailed,
    Server,
    Session,
)
from securelink.app import declared
from securelink.wire.fields import Content
from securelink.wire.messages import Wanted
from securelink.wire.packets import Packet, encode_packet, join_packets

pytestmark = pytest.mark.usefixtures("tidy")

NASTY = "\033[2J\r\n\u202egnp.exe\x07"  # clears the screen, begins a line, turns text around, beeps
SAFE = r"\x1b[2J\r\n\u202egnp.exe\x07"


# --- safe without a setting ------------------------------------------------------------------------------


def test_encryption_is_on_unless_switched_off(identity: Identity) -> None:
    """Without a word about it both ends require encryption; neither talks plaintext to one that has it off."""
    with Server("127.0.0.1", 0, keys=identity) as server:
        port = server.address[1]
        with Client("127.0.0.1", port) as client:
            assert client.encrypted
        off = Client("127.0.0.1", port, encryption="off")
        failure(PeerIncompatible, off.connect, "requires encryption", "required")
    with Server("127.0.0.1", 0, keys=identity, encryption="off") as server:
        client = Client("127.0.0.1", server.address[1])
        failure(PeerIncompatible, client.connect, "switched off", "anyone on the path")


# --- authenticate ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer", [None, False, ZeroDivisionError("the secret is 42"), Refused("go away")]
)
def test_who_is_not_let_in_is_out(
    answer: Any, identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """None, False, a refusal and any exception refuse; of an exception the client learns nothing, the log all."""

    def authenticate(hello: Hello) -> Any:
        if hello.credentials == "let me in":
            return "the neighbour"
        if isinstance(answer, Exception):
            raise answer
        return answer

    neighbour = {"credentials": "let me in"}
    with scene(identity, neighbour=neighbour, authenticate=authenticate) as stage:
        client = stage.client(credentials="please")
        error = failure(
            Refused, client.connect, "go away" if isinstance(answer, Refused) else "the server"
        )
        assert "42" not in str(error)
        until(stage.alone)
    assert ("the secret is 42" in caplog.text) == isinstance(answer, ZeroDivisionError)


def test_what_a_stranger_reads(identity: Identity) -> None:
    """Before login a client reads code and text of a refusal; the server's name only where it is compared."""

    def texts(client: dict[str, Any], **options: Any) -> str:
        with Server("127.0.0.1", 0, keys=identity, **options) as server:
            port, pin = server.address[1], server.fingerprint
            with pytest.raises((PeerIncompatible, Refused)) as caught:
                Client("127.0.0.1", port, pin=pin, **client).connect()
            return caught.value.message

    named = {"application": "chess", "version": "2", "authenticate": "tokens"}
    assert "chess 2" in texts({"application": "go"}, **named)
    assert texts({}, authenticate="tokens") == "this server asks for a join token"
    assert "chess" not in texts({}, authenticate="tokens", version="")
    unknown = {"client_keys": "known", "application": "chess"}
    assert "chess" not in texts({"application": "chess", "keys": "keys"}, **unknown)


def test_nothing_is_handled_before_welcome(identity: Identity) -> None:
    """Packets of a client that has not been let in reach no handler: they end its connection."""
    heard: list[object] = []
    with scene(identity) as stage:
        stage.server.on("early", lambda session, packet: heard.append(packet.data))
        with Hostile(stage.port) as early:
            early.hello()
            packet = join_packets([encode_packet(Packet("early", 1))])
            # Under the right key, but instead of the proof.
            sealer = sealer_of(early.engine)
            assert sealer is not None
            early.sock.sendall(sealer.seal(bytes((Content.DATA,)) + packet))
            end_of_stream(early.sock)
        until(stage.alone)
    assert not heard


def test_a_packet_cannot_claim_a_session(identity: Identity) -> None:
    """Session, token and user of a packet are those of the connection that carried it, whatever is in it."""
    seen: list[tuple[str, str, Any]] = []

    def claim(session: Session, packet: Received) -> None:
        seen.append((session.token, packet.token, packet.session))

    with scene(identity) as stage:
        stage.server.on("claim", claim)
        other = stage.neighbour.token
        with stage.client() as client:
            data = {"token": other, "session": other, "user": "admin"}
            client.request("claim", data, headers=data)
            session = stage.server.sessions[client.token]
            assert seen == [(client.token, client.token, session)]
            assert session.user is None


def test_tokens_name_and_do_not_repeat(identity: Identity) -> None:
    """Each session has a uuid4 of its own, the same on both ends."""
    with Server("127.0.0.1", 0, keys=identity) as server:
        tokens = set()
        for _ in range(20):
            with Client("127.0.0.1", server.address[1]) as client:
                until(lambda: server.sessions)
                assert list(server.sessions) == [client.token]
                assert uuid.UUID(client.token).version == 4
                tokens.add(client.token)
            until(lambda: not server.sessions)
        assert len(tokens) == 20


# --- words of a peer -----------------------------------------------------------------------------------------


def test_words_of_a_server_are_escaped(identity: Identity) -> None:
    """What a server says when it refuses, kicks or fails a request cannot move a client's cursor."""

    def authenticate(hello: Hello) -> str:
        if hello.credentials == "bad":
            raise Refused(NASTY)
        return "ada"

    def fail(session: Session, packet: Received) -> None:
        raise RequestFailed(NASTY)

    with Server("127.0.0.1", 0, keys=identity, authenticate=authenticate) as server:
        server.on("fail", fail)
        port = server.address[1]
        refused = failure(
            Refused, Client("127.0.0.1", port, credentials="bad").connect, r"gnp\.exe"
        )
        assert refused.text == refused.message == SAFE
        with Client("127.0.0.1", port) as client:
            failed = failure(RequestFailed, lambda: client.request("fail"), r"gnp\.exe")
            assert failed.text == failed.message == SAFE
            server.sessions[client.token].kick(NASTY)
            kicked = failure(ConnectionClosed, lambda: client.receive(WAIT), r"gnp\.exe")
            assert kicked.text == SAFE
            assert NASTY not in str(kicked)


def test_words_of_a_client_are_escaped(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """Names that a client makes up cannot write lines of their own into a server's log."""

    def authenticate(hello: Hello) -> str:
        if hello.credentials == "bad":
            raise Refused(f"no place for {hello.credentials} {NASTY}")
        return NASTY

    def fail(session: Session, packet: Received) -> None:
        raise ValueError("a bug")

    with Server(
        "127.0.0.1", 0, keys=identity, authenticate=authenticate, application="chess"
    ) as server:
        server.on(NASTY, fail)
        port = server.address[1]
        with pytest.raises(PeerIncompatible):
            Client("127.0.0.1", port, application=NASTY, version=NASTY).connect()
        with pytest.raises(Refused):
            Client("127.0.0.1", port, application="chess", credentials="bad").connect()
        with Client("127.0.0.1", port, application="chess") as client:
            client.send("nobody handles" + NASTY)
            with pytest.raises(RequestFailed):
                client.request(NASTY)
    assert r"nobody handles\x1b" in caplog.text
    assert "a bug" in caplog.text
    for record in caplog.records:
        assert record.getMessage().isprintable(), record.getMessage()


# --- a fork --------------------------------------------------------------------------------------------------

FORK = """
import os, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # later Pythons warn that threads and fork() do not mix
from securelink import *
heard = []
server = Server("127.0.0.1", 0, keys=Identity.generate(2048))
server.on("say", lambda session, packet: heard.append(packet.data))
with server, Client(server.invite()) as client:
    client.request("say", "parent")
    ready, tell = os.pipe()
    child = os.fork()
    if not child:
        got = None
        try:
            client.send("say", "child", timeout=0.5)
            os.write(tell, b"1")
            got = client.receive(0.3)
        except ConnectionClosed:
            os.write(tell, b"1")
        os._exit(0 if got is None else 1)
    os.read(ready, 1)
    server.broadcast("note", "for the parent")
    _, status = os.waitpid(child, 0)
    client.request("say", "parent again")
    print("child", os.waitstatus_to_exitcode(status), heard, client.receive(5).data)
"""


def test_after_fork_the_child_has_no_session(tmp_path: Path) -> None:
    """A forked child would use keys and counters again: it can neither send nor read, and its parent goes on."""
    output = finished("-c", FORK, folder=tmp_path)
    assert "child 0 ['parent', 'parent again'] for the parent\n" in output


@pytest.mark.parametrize("encryption", ["required", "off"])
def test_a_hook_is_told_whether_it_is_encrypted(encryption: str, identity: Identity) -> None:
    """What a hook may believe depends on the mode: `hello.encrypted` says which one it is, and so does the binding."""
    seen: list[tuple[bool, bool]] = []

    def authenticate(hello: Hello) -> str:
        seen.append((hello.encrypted, hello.binding is not None))
        return "somebody"

    server = Server("127.0.0.1", 0, keys=identity, encryption=encryption, authenticate=authenticate)
    with server, Client("127.0.0.1", server.address[1], encryption=encryption) as client:
        assert client.encrypted is (encryption == "required")
    assert seen == [(encryption == "required", encryption == "required")]


def test_a_client_key_is_shown_only_when_asked_for(
    identity: Identity, other_identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that has a key keeps it to itself towards a server that does not ask for one."""
    monkeypatch.setitem(declared.CLIENT_KEYS, "welcome", Wanted.NO)
    seen: list[str | None] = []

    def authenticate(hello: Hello) -> str:
        seen.append(hello.fingerprint)
        return "somebody"

    with (
        Server("127.0.0.1", 0, keys=identity, authenticate=authenticate) as server,
        Client("127.0.0.1", server.address[1], keys=other_identity) as client,
    ):
        assert client.connected
    assert seen == [None]
