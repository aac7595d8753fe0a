"""What the bytes of real connections give away: nothing but lengths when encrypted, everything in plaintext."""

from __future__ import annotations

import math
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from helpers import WAIT, failure, secrets, until
from together import channel_of

from securelink import Client, ConnectionClosed, Identity, Passwords, Server, Session
from securelink.keys import fingerprint_digest
from securelink.limits import AUTH_PADDING, HEADER_SIZE, TAG_SIZE
from securelink.testing.relay import Relay, split_frames
from securelink.wire.fields import Kind
from securelink.wire.packets import Packet, encode_packet

pytestmark = pytest.mark.usefixtures("tidy")

SHORTEST = 6  # bytes of a fragment that is looked for: none appears by chance in some kilobytes
LOGIN = {"user": "Margarethe", "password": "seventeen blue herons"}
ACTION, ANSWER = "opening move of white", "reply of black"
TEXT = "the knight goes from g1 to f3 " * 40
PICTURE = bytes(range(256)) * 4
HEADERS = {"clock of white": "two minutes left"}


class Wire:
    """
    A session that has said much, and what went over its wire.

    Attributes:
        up, down: All bytes to the server and to the client.
        token: The uuid4 of the session.
        packets: Everything that was sent, as it was encoded.
    """

    def __init__(self, server_key: Identity, client_key: Identity | None, encryption: str) -> None:
        self.packets: list[bytes] = []
        passwords = Passwords(cost=2**5)
        passwords.add(LOGIN["user"], LOGIN["password"])
        secrets.add(LOGIN["password"])
        server = Server(
            "127.0.0.1", 0, keys=server_key, encryption=encryption, authenticate=passwords,
            application="grandmaster chess", version="release seven",
        )  # fmt: skip
        heard: list[Any] = []
        server.on(ACTION, lambda session, packet: heard.append(packet.data))
        with server, Relay("127.0.0.1", server.address[1]) as relay:
            client = Client(
                "localhost", relay.port, keys=client_key, encryption=encryption, credentials=LOGIN,
                pin=server.fingerprint, application="grandmaster chess", version="release seven",
            )  # fmt: skip
            with client:
                self.token = client.token
                until(lambda: server.sessions)
                (session,) = server.sessions.values()
                for data in (TEXT, PICTURE, {"from": TEXT[:300], "to": [PICTURE]}, TEXT):
                    client.send(ACTION, data, headers=HEADERS)
                    self._answer(session, client, data)
                until(lambda: len(heard) == 4)
                session.kick("you have won the game")
                failure(ConnectionClosed, lambda: client.receive(WAIT), "you have won the game")
        self.up, self.down = relay.to_server.captured, relay.to_client.captured

    @staticmethod
    def _answer(session: Session, client: Client, data: Any) -> None:
        session.send(ANSWER, data, headers=HEADERS)
        packet = client.receive(WAIT)
        assert packet is not None
        assert packet.data == data

    @property
    def streams(self) -> tuple[bytes, bytes]:
        """Both directions."""
        return self.up, self.down


def spoken(wire: Wire) -> list[bytes]:
    """What a listener in the path of a plaintext session can read."""
    return [
        ACTION.encode(), ANSWER.encode(), TEXT.encode(), PICTURE, *[text.encode() for text in LOGIN.values()],
        b"clock of white", b"two minutes left", uuid.UUID(wire.token).bytes, b"localhost",
        b"grandmaster chess", b"release seven", b"you have won the game",
    ]  # fmt: skip


def hidden(wire: Wire, *keys: Identity) -> list[bytes]:
    """What must not be in an encrypted session, in any spelling that one could think of."""
    found = [*spoken(wire), wire.token.encode(), wire.token.replace("-", "").encode()]
    found += [encode_packet(Packet(ACTION, PICTURE, HEADERS, 0.0))[:40]]
    for key in keys:
        digest = fingerprint_digest(key.fingerprint)
        found += [key.public.spki, key.fingerprint.encode(), digest, digest.hex().encode()]
        found += [key.public.to_pem(), key.public.to_pkcs1_pem()]
    return found


def windows(data: bytes) -> set[bytes]:
    """All pieces of SHORTEST bytes."""
    return {data[at : at + SHORTEST] for at in range(len(data) - SHORTEST + 1)}


@pytest.fixture(scope="module")
def encrypted(key_pool: list[Identity]) -> Callable[[], Wire]:
    """An encrypted session with a client key; made once, by the first test that asks for it."""
    made: list[Wire] = []

    def build() -> Wire:
        if not made:
            made.append(Wire(key_pool[0], key_pool[1], "required"))
        return made[0]

    return build


def test_no_fragment_of_anything_is_in_an_encrypted_stream(
    encrypted: Callable[[], Wire], key_pool: list[Identity]
) -> None:
    """No six bytes of a packet, name, credential, token, key or fingerprint pass in either direction."""
    wire = encrypted()
    for stream in wire.streams:
        seen = windows(stream)
        for secret in hidden(wire, *key_pool[:2]):
            assert len(secret) >= SHORTEST
            # PEM and SPKI begin with what is the same in all keys, and still must not be seen.
            assert not windows(secret) & seen


def test_everything_is_in_a_plaintext_stream(key_pool: list[Identity]) -> None:
    """The same session in plaintext shows all of it: the test above looks for the right things."""
    wire = Wire(key_pool[0], None, "off")
    for secret in spoken(wire):
        assert secret in wire.up + wire.down
    assert uuid.UUID(wire.token).bytes in wire.up
    assert uuid.UUID(wire.token).bytes in wire.down
    for key in hidden(wire, key_pool[0])[-6:]:
        assert key not in wire.up + wire.down  # there is none in plaintext mode


def test_only_the_hellos_are_in_clear(encrypted: Callable[[], Wire]) -> None:
    """Each direction is one hello and then sealed records, to the last byte."""
    for stream, hello in zip(
        encrypted().streams, (Kind.CLIENT_HELLO, Kind.SERVER_HELLO), strict=True
    ):
        frames = split_frames(stream)
        assert [frame[0] for frame in frames] == [hello] + [Kind.SEALED] * (len(frames) - 1)
        assert sum(map(len, frames)) == len(stream)


def test_sealed_bytes_look_like_noise(encrypted: Callable[[], Wire]) -> None:
    """The bodies of sealed records are spread evenly over all byte values, whatever was in them."""
    bodies = b"".join(
        frame[HEADER_SIZE:] for stream in encrypted().streams for frame in split_frames(stream)[1:]
    )
    assert len(bodies) > 8000
    counts = Counter(bodies)
    expected = len(bodies) / 256
    chi_square = sum((counts[value] - expected) ** 2 / expected for value in range(256))
    # 255 degrees of freedom; six standard deviations: once in a thousand million runs.
    assert chi_square < 255 + 6 * math.sqrt(2 * 255)


def test_what_is_said_twice_is_never_the_same_twice(encrypted: Callable[[], Wire]) -> None:
    """No 16 bytes of ciphertext come twice, in one session or two, though the packets are the same."""
    seen: set[bytes] = set()
    total = 0
    for stream in encrypted().streams:
        for frame in split_frames(stream):
            body = frame[HEADER_SIZE:]
            pieces = [body[at : at + 16] for at in range(0, len(body) - 15, 16)]
            if frame[0] != Kind.SEALED:
                continue
            seen.update(pieces)
            total += len(pieces)
    assert len(seen) == total


# --- lengths ------------------------------------------------------------------------------------------------


@contextmanager
def connection(server_key: Identity, client_key: Identity | None) -> Iterator[tuple[Client, Relay]]:
    """An encrypted connection through a relay."""
    server = Server("127.0.0.1", 0, keys=server_key)
    with server, Relay("127.0.0.1", server.address[1]) as relay:
        client = Client("127.0.0.1", relay.port, keys=client_key, pin=server.fingerprint)
        server.on("echo", lambda session, packet: session.send("echo", packet.data))
        with client:
            yield client, relay


def handshake_sizes(server_key: Identity, client_key: Identity | None) -> list[int]:
    """The sizes of ClientHello, ClientAuth, ServerHello, ServerAuth and Welcome."""
    with connection(server_key, client_key) as (_, relay):
        up, down = split_frames(relay.to_server.captured), split_frames(relay.to_client.captured)
        return [len(frame) for frame in up[:2] + down[:3]]


def test_the_sizes_of_a_handshake_say_nothing_of_the_keys(key_pool: list[Identity]) -> None:
    """Keys of 2048 and 3072 bits make messages of one size; larger ones, and none, differ by whole steps."""
    keys = {2048: key_pool[0], 3072: Identity.generate(3072), 4096: Identity.generate(4096)}
    usual = handshake_sizes(keys[2048], keys[2048])
    assert usual == handshake_sizes(keys[3072], keys[3072])
    largest = handshake_sizes(keys[4096], keys[4096])
    anonymous = handshake_sizes(keys[2048], None)
    for sizes in (usual, largest, anonymous):
        _, client_auth, _, server_auth, _ = sizes
        for size in (client_auth, server_auth):
            assert (size - HEADER_SIZE - TAG_SIZE - 1) % AUTH_PADDING == 0
        assert [sizes[index] for index in (0, 2, 4)] == [usual[index] for index in (0, 2, 4)]


def test_credentials_and_names_are_hidden_in_the_padding(identity: Identity) -> None:
    """A long password, a short one and none look alike, and so do names."""
    sizes = set()
    for options in (
        {},
        {"credentials": "short"},
        {"credentials": {"user": "ada", "password": "x" * 200}},
        {"application": "chess", "version": "1.0"},
    ):
        with (
            Server("127.0.0.1", 0, keys=identity) as server,
            Relay("127.0.0.1", server.address[1]) as relay,
        ):
            Client("127.0.0.1", relay.port, pin=server.fingerprint, **options).connect().close()
            sizes.add(len(split_frames(relay.to_server.captured)[1]))
    assert sizes == {HEADER_SIZE + 1 + AUTH_PADDING + TAG_SIZE}


def test_the_size_of_a_record_is_that_of_its_packets(identity: Identity) -> None:
    """A record is its packets and a constant: neither content nor direction nor history changes its length."""
    overheads = set()
    with connection(identity, None) as (client, relay):
        client.receive(0.01)
        for data in ("a", "b", "x" * 100, bytes(1000), [1] * 50):
            until_quiet(client, relay)
            relay.to_server.forget()
            client.send("echo", data)
            packet = client.receive(WAIT)
            assert packet is not None
            record = max(split_frames(relay.to_server.captured), key=len)  # not an acknowledgement
            encoded = encode_packet(Packet("echo", data, None, 1.0))
            overheads.add(len(record) - len(encoded))
    # header, tag, content, the array around the packets; with an acknowledgement 8 more
    assert overheads <= {HEADER_SIZE + TAG_SIZE + 2, HEADER_SIZE + TAG_SIZE + 2 + 8}


def until_quiet(client: Client, relay: Relay) -> None:
    """Wait until every acknowledgement is out."""
    numbers = channel_of(client).core.numbering
    until(lambda: numbers.incoming.accepted == numbers.incoming.confirmed)
    size = -1
    while size != (size := len(relay.to_server.captured)):
        client.receive(0.01)


def test_equal_packets_to_many_differ_on_each_wire(identity: Identity) -> None:
    """A broadcast is encoded once and sealed for each: no two receivers get the same bytes."""
    with (
        Server("127.0.0.1", 0, keys=identity) as server,
        Relay("127.0.0.1", server.address[1]) as one,
        Relay("127.0.0.1", server.address[1]) as two,
        Client("127.0.0.1", one.port, pin=server.fingerprint) as first,
        Client("127.0.0.1", two.port, pin=server.fingerprint) as second,
    ):
        until(lambda: len(server.sessions) == 2)
        assert server.broadcast("say", TEXT) == 2
        for client in (first, second):
            packet = client.receive(WAIT)
            assert packet is not None
            assert packet.data == TEXT
        # After WELCOME a PONG may come first, and is short.
        records = [max(split_frames(relay.to_client.captured)[3:], key=len) for relay in (one, two)]
    assert len(records[0]) == len(records[1])
    assert records[0][HEADER_SIZE:] != records[1][HEADER_SIZE:]
    assert not windows(records[0][HEADER_SIZE:]) & windows(records[1][HEADER_SIZE:])
