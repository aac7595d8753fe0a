"""What somebody on the path can do to real connections: listen, change, repeat, cut, answer instead."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
from helpers import WAIT, failure, until

from securelink import (
    Client,
    ConnectionClosed,
    Identity,
    JoinTokens,
    NotTrusted,
    RecordError,
    SecureLinkError,
    Server,
    Session,
    crypto,
)
from securelink.testing.relay import Hook, Relay, by_frame
from securelink.wire.fields import Kind

pytestmark = pytest.mark.usefixtures("tidy", "not_kept")

FRAGMENT = 5  # bytes; in a stream of 10 KB one of 300 appears by chance once in a million runs


class Conversation:
    """A server, a client that enters with a key and a join token, and a relay between them."""

    def __init__(self, server_key: Identity, client_key: Identity, encryption: str) -> None:
        tokens = JoinTokens()
        self.join_token = tokens.create("a user called Margarethe")
        self.heard: list[Any] = []
        self.server = Server(
            "127.0.0.1", 0, keys=server_key, encryption=encryption, authenticate=tokens,
            application="a game of chess", version="version 3.1",
        )  # fmt: skip
        self.server.on("opening move", lambda session, packet: self.heard.append(packet.data))
        self.left: list[Session] = []
        self.server.on_disconnect(self.left.append)
        self._client_key = client_key
        self._encryption = encryption

    def client(self, relay: Relay) -> Client:
        """The client, not connected."""
        return Client(
            "127.0.0.1", relay.port, keys=self._client_key, encryption=self._encryption, token=self.join_token,
            pin=self.server.fingerprint, application="a game of chess", version="version 3.1",
        )  # fmt: skip


def fragments(secret: bytes) -> set[bytes]:
    """All pieces of a secret of FRAGMENT bytes."""
    assert len(secret) >= FRAGMENT
    return {secret[at : at + FRAGMENT] for at in range(len(secret) - FRAGMENT + 1)}


@pytest.mark.parametrize("encryption", ["required", "off"])
def test_a_listener_learns_no_fragment(
    encryption: str, identity: Identity, other_identity: Identity
) -> None:
    """Encrypted: no piece of packet, token, credential, name or key is in either stream. In plaintext all are."""
    talk = Conversation(identity, other_identity, encryption)
    with talk.server, Relay("127.0.0.1", talk.server.address[1]) as relay:
        with talk.client(relay) as client:
            client.send("opening move", "pawn to e4", headers={"clock": "three minutes"})
            until(lambda: talk.heard == ["pawn to e4"])
            (session,) = talk.server.sessions.values()
            session.send("their answer", b"knight to f6")
            packet = client.receive(WAIT)
            assert packet is not None
            assert packet.data == b"knight to f6"
            token = client.token
        up, down = relay.to_server.captured, relay.to_client.captured
    secrets = [
        b"opening move", b"pawn to e4", b"clock", b"three minutes", b"their answer", b"knight to f6",
        bytes.fromhex(token.replace("-", "")), talk.join_token.encode(), b"127.0.0.1", b"a game of chess",
        b"version 3.1",
    ]  # fmt: skip
    if encryption == "off":
        for secret in secrets:
            assert secret in up + down
        return
    keys = [
        token.encode(),
        identity.public.spki,
        other_identity.public.spki,
        b"a user called Margarethe",
    ]
    for secret in secrets + keys:
        for fragment in fragments(secret):
            assert fragment not in up
            assert fragment not in down


def test_rsa_only_signs(
    identity: Identity, other_identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No session uses RSA to encrypt: with both private keys a recording can be opened no better than without."""

    def never(*_: object) -> NoReturn:
        raise AssertionError("a session encrypts with RSA")

    for name in ("oaep_encrypt", "oaep_decrypt"):
        monkeypatch.setattr(crypto, name, never)
    talk = Conversation(identity, other_identity, "required")
    with (
        talk.server,
        Relay("127.0.0.1", talk.server.address[1]) as relay,
        talk.client(relay) as client,
    ):
        client.send("opening move", 1)
        until(lambda: talk.heard == [1])
        (session,) = talk.server.sessions.values()
        assert session.fingerprint == other_identity.fingerprint


# --- changing what passes ------------------------------------------------------------------------------


def flipped(frame: bytes) -> bytes:
    """One bit of the ciphertext changed."""
    return frame[:8] + bytes((frame[8] ^ 1,)) + frame[9:]


def twice(frame: bytes) -> bytes:
    """The same frame again."""
    return frame + frame


def dropped(frame: bytes) -> bytes:
    """Nothing instead of the frame."""
    return b""


def reflected_onto(relay: Relay) -> Hook:
    """The frame goes back to who sent it as well."""

    def hook(frame: bytes) -> bytes:
        relay.to_client.inject(frame)
        return frame

    return hook


def once(change: Callable[[bytes], bytes]) -> Hook:
    """A hook that changes the first sealed frame and passes the others."""
    left = [change]
    return by_frame(lambda frame: left.pop()(frame) if left and frame[0] == Kind.SEALED else frame)


@pytest.mark.parametrize(
    ("change", "arrive"), [(flipped, [[]]), (twice, [[1], [1, 2]]), (dropped, [[]])]
)
def test_what_was_changed_reaches_no_handler(
    change: Callable[[bytes], bytes],
    arrive: list[list[int]],
    identity: Identity,
    other_identity: Identity,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After a record that was changed, repeated or lost no handler is called, and both ends learn that it is over."""
    talk = Conversation(identity, other_identity, "required")
    with talk.server, Relay("127.0.0.1", talk.server.address[1]) as relay:
        client = talk.client(relay).connect()
        relay.to_server.hook = once(change)
        for number in (1, 2):
            client.send("opening move", number)
        failure(ConnectionClosed, lambda: client.receive(WAIT), "broke the protocol")
        until(lambda: talk.left)  # comes after the last packet
        assert talk.heard in arrive
        client.close()
    assert "a record failed authentication" in caplog.text


def test_a_changed_answer_reaches_nobody(identity: Identity, other_identity: Identity) -> None:
    """In the other direction too: the client raises instead of returning what somebody made of the answer."""
    talk = Conversation(identity, other_identity, "required")
    with talk.server, Relay("127.0.0.1", talk.server.address[1]) as relay:
        client = talk.client(relay).connect()
        relay.to_client.hook = once(flipped)
        until(lambda: talk.server.broadcast("their answer"))  # once the session is public
        failure(RecordError, lambda: client.receive(WAIT), "failed authentication", "connect again")
        client.close()


def test_a_reflected_record_is_refused(identity: Identity, other_identity: Identity) -> None:
    """A client takes no record of its own for the server's."""
    talk = Conversation(identity, other_identity, "required")
    with talk.server, Relay("127.0.0.1", talk.server.address[1]) as relay:
        client = talk.client(relay).connect()
        relay.to_server.hook = once(reflected_onto(relay))
        client.send("opening move", 1)
        failure(RecordError, lambda: client.receive(WAIT), "failed authentication", "connect again")
        client.close()


def test_a_cut_is_no_clean_end(identity: Identity, other_identity: Identity) -> None:
    """Who cuts the connection cannot make it look as if the peer had finished."""
    talk = Conversation(identity, other_identity, "required")
    with talk.server, Relay("127.0.0.1", talk.server.address[1]) as relay:
        client = talk.client(relay).connect()
        relay.cut()
        error = failure(
            ConnectionClosed, lambda: list(client), "the connection broke", "new session"
        )
        assert not error.clean
        client.close()


def test_an_impostor_gets_no_credentials(
    identity: Identity, other_identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever answers with another key than the one expected learns nothing of who wanted to enter."""
    asked: list[object] = []
    impostor = Server(
        "127.0.0.1", 0, keys=other_identity, authenticate=lambda hello: asked.append(hello)
    )
    caplog.set_level(logging.INFO)
    with impostor:
        client = Client(
            "127.0.0.1", impostor.address[1], keys=identity, pin=identity.fingerprint,
            credentials={"user": "ada", "password": "correct horse"},
        )  # fmt: skip
        error = failure(NotTrusted, client.connect, "not the pinned", "somebody may be in between")
        assert error.fingerprint == other_identity.fingerprint
        assert error.expected == identity.fingerprint
    assert not asked
    assert not impostor.sessions


def test_joined_sessions_do_not_fool_bound_credentials(
    identity: Identity, other_identity: Identity
) -> None:
    """Credentials made from the channel binding are worth nothing to somebody between two sessions."""
    bindings: dict[str, list[bytes]] = {"seen": [], "sent": []}

    def credentials(binding: bytes | None, fingerprint: str | None) -> bytes:
        assert binding is not None
        bindings["sent"].append(binding)
        return crypto.hmac_sha256(b"a shared password", binding)

    def authenticate(hello: Any) -> bool:
        bindings["seen"].append(hello.binding)
        proof = crypto.hmac_sha256(b"a shared password", hello.binding)
        return crypto.equal(hello.credentials, proof)

    real = Server("127.0.0.1", 0, keys=identity, authenticate=authenticate)
    with real:
        with Client("127.0.0.1", real.address[1], credentials=credentials, pin=real.fingerprint):
            assert bindings["seen"] == bindings["sent"]

        def pass_on(hello: Any) -> bool:
            """The impostor hands the victim's credentials to the real server."""
            with pytest.raises(SecureLinkError, match="did not accept"):
                Client(
                    "127.0.0.1",
                    real.address[1],
                    credentials=hello.credentials,
                    pin=real.fingerprint,
                ).connect()
            return False

        with Server("127.0.0.1", 0, keys=other_identity, authenticate=pass_on) as impostor:
            victim = Client("127.0.0.1", impostor.address[1], credentials=credentials)
            with pytest.raises(SecureLinkError, match="did not accept"):
                victim.connect()
        assert bindings["seen"][-1] != bindings["sent"][-1]
        assert not real.sessions
