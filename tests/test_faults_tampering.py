"""Somebody on the path changes, repeats, drops, swaps or cuts what passes, in every phase of a real connection."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers import WAIT, Scene, end_of_stream, failure, scene, secrets, until
from inside import listener_of

from securelink import (
    Client,
    ConnectionClosed,
    HandshakeError,
    Identity,
    JoinTokens,
    KnownServers,
    LinkTimeout,
    NotTrusted,
    ProtocolError,
    RecordError,
    Refused,
    SecureLinkError,
    Server,
)
from securelink.testing.relay import Relay, by_frame, split_frames
from securelink.wire.fields import Kind

pytestmark = pytest.mark.usefixtures("tidy", "not_kept")

SENT = ["first", "second", "third"]


class Talk:
    """A server that wants a token, a neighbour, and clients that come through a relay."""

    def __init__(self, stage: Scene, relay: Relay, tokens: JoinTokens) -> None:
        self.stage = stage
        self.relay = relay
        self.heard: list[Any] = []
        self.answers: list[Any] = []
        self.entered: list[Any] = []
        self._left: list[Any] = []
        self._tokens = tokens
        stage.check_neighbour()  # its own events are over
        stage.server.on("say", self._say)
        stage.server.on_connect(self.entered.append)
        stage.server.on_disconnect(self._left.append)

    def _say(self, session: Any, packet: Any) -> None:
        self.heard.append(packet.data)
        session.send("answer", packet.data)

    def client(self, **options: Any) -> Client:
        """A client with a token of its own; it is not connected."""
        token = self._tokens.create("ada")
        secrets.add(token)
        known = {"pin": self.stage.server.fingerprint} if self.stage.server.fingerprint else {}
        return Client("127.0.0.1", self.relay.port, token=token, **{**known, **options})

    def run(self, timeout: float = WAIT) -> SecureLinkError | None:
        """A client says three things and hears the answers; what stopped it, if something did."""
        client = self.client(encryption=self.stage.encryption)
        try:
            client.connect(timeout)
            for word in SENT:
                client.send("say", word)
            for _ in SENT:
                packet = client.receive(timeout)
                if packet is None:
                    return LinkTimeout(
                        "no answer came", hint="such as a record that was made longer"
                    )
                self.answers.append(packet.data)
        except SecureLinkError as error:
            return error
        finally:
            client.close(0.2)
            self.relay.cut()
            until(lambda: not self.relay.open)  # the next hook gets nothing of this connection
            until(self.stage.alone)
            until(self._is_through)
        return None

    def _is_through(self) -> bool:
        """Whether all sessions but the neighbour's have had their last packet, which may be after their end."""
        return bool(len(self._left) == self.stage.server.stats()["sessions_total"] - 1)

    def check_prefixes(self) -> None:
        """Handlers and callers saw a beginning of what was said, or all of it; never something else."""
        assert self.heard == SENT[: len(self.heard)]
        assert self.answers == SENT[: len(self.answers)]
        assert len(self.answers) <= len(self.heard)


@contextmanager
def talking(identity: Identity, encryption: str = "required") -> Iterator[Talk]:
    """A scene with a relay in front of it."""
    tokens = JoinTokens()
    mine = {"token": tokens.create("neighbour")}
    with (
        scene(identity, encryption=encryption, authenticate=tokens, neighbour=mine) as stage,
        Relay("127.0.0.1", stage.port) as relay,
    ):
        yield Talk(stage, relay, tokens)


def nth(number: int, change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """A hook that changes the frame of one number and passes the others."""
    count = iter(range(10**6))
    return by_frame(lambda frame: change(frame) if next(count) == number else frame)


def test_untouched_everything_arrives(identity: Identity) -> None:
    """The relay itself breaks nothing: what the other tests see is the tampering."""
    with talking(identity) as talk:
        assert talk.run() is None
        assert talk.heard == talk.answers == SENT


# --- changed bits ---------------------------------------------------------------------------------------

FRAMES = {
    "ClientHello": ("to_server", 0), "ClientAuth": ("to_server", 1), "the first packet": ("to_server", 2),
    "ServerHello": ("to_client", 0), "ServerAuth": ("to_client", 1), "Welcome": ("to_client", 2),
    "the first answer": ("to_client", 3),
}  # fmt: skip


@pytest.mark.parametrize("name", FRAMES)
def test_a_changed_bit_is_noticed_in_every_message(name: str, identity: Identity) -> None:
    """One bit anywhere in any message: an error, never a session that goes on with something else."""
    direction, number = FRAMES[name]
    source = random.Random(name)
    with talking(identity) as talk:
        for place in ("header", "start", "middle", "end"):
            talk.heard.clear()
            talk.answers.clear()

            def flip(frame: bytes, place: str = place) -> bytes:
                at = {"header": 3, "start": 4, "end": len(frame) - 1}.get(place)
                at = source.randrange(4, len(frame)) if at is None else at
                bit = 4 if place == "header" else 1 << source.randrange(8)
                return frame[:at] + bytes((frame[at] ^ bit,)) + frame[at + 1 :]

            getattr(talk.relay, direction).hook = nth(number, flip)
            # A longer length makes the receiver wait for bytes that never come: then the deadline ends it.
            error = talk.run(0.5 if place == "header" else 20.0)
            getattr(talk.relay, direction).hook = None
            assert isinstance(
                error, ProtocolError | HandshakeError | ConnectionClosed | LinkTimeout
            ), place
            assert error.hint
            talk.check_prefixes()
            if number < 3:  # before the first answer nothing may have come back
                assert talk.answers == []
            talk.stage.check_neighbour()


def test_plaintext_can_be_changed(identity: Identity) -> None:
    """Without encryption somebody on the path does what he likes; what is said about it in the log is true."""
    with talking(identity, "off") as talk:
        talk.relay.to_server.hook = lambda chunk: chunk.replace(b"first", b"worst")
        assert talk.run() is None
        assert talk.heard == ["worst", "second", "third"]


# --- whole frames ------------------------------------------------------------------------------------------


class Swap:
    """Lets two frames change places."""

    def __init__(self, number: int) -> None:
        self._left = number
        self._held = b""

    def __call__(self, frame: bytes) -> bytes:
        self._left -= 1
        if self._left == -1:
            self._held = frame
            return b""
        held, self._held = self._held, b""
        return frame + held


@pytest.mark.parametrize("number", [2, 3])
@pytest.mark.parametrize("attack", ["repeat", "drop", "swap", "insert"])
def test_frames_cannot_be_moved(attack: str, number: int, identity: Identity) -> None:
    """A record repeated, dropped, swapped with the next or slipped in ends the session; nothing is handled twice."""
    with talking(identity) as talk:
        hook: Callable[[bytes], bytes] = {
            "repeat": nth(number, lambda frame: frame + frame),
            "drop": nth(number, lambda frame: b""),
            "swap": by_frame(Swap(number)),
            "insert": nth(number, lambda frame: bytes((Kind.SEALED, 0, 0, 40)) + bytes(40) + frame),
        }[attack]
        talk.relay.to_server.hook = hook
        error = talk.run()
        assert type(error) is ConnectionClosed
        if number == 2 and attack in ("drop", "swap"):
            # Frame 2 is the sign that WELCOME has arrived; the client sends nothing more until it is answered.
            assert "the handshake took too long" in error.message
        else:
            assert "the peer says that we broke the protocol" in error.message
        talk.check_prefixes()
        assert len(talk.heard) <= number - 1


#: What is noticed only after the server has let the client in: its session then ends at once.
LATE = {
    ("repeat", "ServerAuth"),
    ("repeat", "ClientAuth"),
    ("repeat", "Welcome"),
    ("drop", "Welcome"),
}


@pytest.mark.parametrize("attack", ["repeat", "drop"])
@pytest.mark.parametrize(
    "name", ["ClientHello", "ClientAuth", "ServerHello", "ServerAuth", "Welcome"]
)
def test_the_handshake_is_no_different(attack: str, name: str, identity: Identity) -> None:
    """So it is with the messages of the handshake; and no session comes of it."""
    direction, number = FRAMES[name]
    with talking(identity) as talk:
        change = (lambda frame: frame + frame) if attack == "repeat" else (lambda frame: b"")
        getattr(talk.relay, direction).hook = nth(number, change)
        error = talk.run(0.4)
        assert isinstance(error, ProtocolError | HandshakeError | LinkTimeout | ConnectionClosed)
        assert talk.heard == talk.answers == []
        if (attack, name) not in LATE:
            assert talk.entered == []


def test_a_recording_opens_no_session(identity: Identity) -> None:
    """All that a client ever sent, sent again: the server answers as to anybody and lets nobody in."""
    with talking(identity) as talk:
        assert talk.run() is None
        assert len(talk.entered) == 1
        recording = talk.relay.to_server.captured
        with socket.create_connection(("127.0.0.1", talk.stage.port), WAIT) as sock:
            sock.sendall(recording)
            answer = end_of_stream(sock)
        assert [frame[0] for frame in split_frames(answer)] == [2, 3, 3]  # the last is its CLOSE
        until(talk.stage.alone)
        assert len(talk.entered) == 1
        assert talk.heard == SENT


def test_records_of_another_session_do_not_fit(identity: Identity) -> None:
    """A record of one session, slipped into another of the same client and server, ends the other."""
    with talking(identity) as talk:
        first = talk.client().connect()
        first.send("say", "transfer 100")
        until(lambda: talk.heard)
        record = split_frames(talk.relay.to_server.captured)[2]
        second = talk.client().connect()
        talk.relay.to_server.inject(record)
        failure(ConnectionClosed, lambda: second.receive(WAIT), "broke the protocol")
        packet = first.receive(WAIT)
        assert packet is not None
        first.close()
        second.close()
        assert talk.heard == ["transfer 100"]


# --- cuts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encryption", ["required", "off"])
@pytest.mark.parametrize("direction", ["to_server", "to_client"])
def test_a_cut_at_any_byte(encryption: str, direction: str, identity: Identity) -> None:
    """Wherever the stream is cut, both ends know that it broke; no half of anything is handled."""
    with talking(identity, encryption) as talk:
        assert talk.run() is None
        flow = getattr(talk.relay, direction)
        whole = flow.captured
        frames = split_frames(whole)
        edges = {0, 1, 3, 4, 5, 11, 12, 13}
        for index in range(1, len(frames)):
            edge = sum(map(len, frames[:index]))
            edges |= {edge - 1, edge, edge + 1, edge + 4}
        broken = 0
        for cut in sorted(edge for edge in edges if edge < len(whole) - len(frames[-1])):
            talk.heard.clear()
            talk.answers.clear()
            left = [cut]

            def pass_some(chunk: bytes, left: list[int] = left) -> bytes:
                passed = chunk[: left[0]]
                left[0] -= len(passed)
                if not left[0]:
                    talk.relay.cut()
                return passed

            flow.hook = pass_some
            error = talk.run()
            flow.hook = None
            talk.check_prefixes()
            if error is None:  # acknowledgements made the stream a little shorter than before
                assert talk.answers == SENT
                continue
            broken += 1
            assert type(error) in (HandshakeError, ConnectionClosed), cut
            assert error.hint
        assert broken > 15


# --- somebody else answers ----------------------------------------------------------------------------------


def test_another_server_with_its_own_key(
    identity: Identity, other_identity: Identity, tmp_path: Path
) -> None:
    """Whoever answers in the server's place is not believed, and is given nothing: no token, no name, no key."""
    met: list[Any] = []
    with talking(identity) as talk:
        with Server("127.0.0.1", 0, keys=other_identity, authenticate=met.append) as impostor:
            talk.relay.target = ("127.0.0.1", impostor.address[1])
            pinned = talk.client()
            error = failure(NotTrusted, pinned.connect, "not the pinned", "somebody may be in")
            assert error.fingerprint == other_identity.fingerprint
            known_servers = KnownServers(tmp_path / "known_servers")
            known_servers.remember("127.0.0.1", talk.relay.port, identity.fingerprint)
            known = talk.client(pin=None, known_servers=known_servers.path)
            failure(NotTrusted, known.connect, "HAS CHANGED", "securelink keys forget")
            until(lambda: not listener_of(impostor).links)
        assert met == []
        talk.relay.target = ("127.0.0.1", talk.stage.port)
        with pinned:
            assert pinned.connected


class Liar(Identity):
    """Shows one key and signs with another."""

    def __init__(self, shown: Identity, held: Identity) -> None:
        self._held = held
        self.public = shown.public
        self.path = None

    def sign(self, message: bytes) -> bytes:
        """As the owner of another key."""
        return self._held.sign(message)


def test_a_server_that_shows_a_key_it_does_not_have(
    identity: Identity, other_identity: Identity
) -> None:
    """The right key with a signature by another one is no proof, and nothing is said to its owner."""
    met: list[Any] = []
    with talking(identity) as talk:
        liar = Liar(identity, other_identity)
        with Server("127.0.0.1", 0, keys=liar, authenticate=met.append) as impostor:
            talk.relay.target = ("127.0.0.1", impostor.address[1])
            client = talk.client()
            failure(
                ProtocolError,
                client.connect,
                "the signature is not valid",
                "somebody may be intercepting the connection",
            )
        assert met == []


def test_a_refusal_cannot_be_forged_into_entry(identity: Identity) -> None:
    """A client whose token is bad stays out, whatever happens to the refusal on its way."""
    with talking(identity) as talk:
        client = Client(
            "127.0.0.1", talk.relay.port, pin=identity.fingerprint,
            token="c56a4180-65aa-42ec-a945-5fd21dec0538",
        )  # fmt: skip
        failure(Refused, client.connect, "not valid here")
        talk.relay.to_client.hook = nth(2, lambda frame: b"")
        failure(HandshakeError, client.connect, "closed the connection", "allowed there")
        talk.relay.to_client.hook = nth(2, lambda frame: frame[:-1] + bytes((frame[-1] ^ 1,)))
        failure(RecordError, client.connect, "failed authentication", "connect again")
        assert talk.entered == []
