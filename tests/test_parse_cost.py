"""
What bytes of a stranger cost, by a clock: docs/PARSING.md has the table, here is what keeps it true.

The interpreter's lock is held in almost every one of these calls, so their time is that of every other session.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import hostile_keys
import msgspec
import pytest
from clock import FEW_MS, cost_ms
from engines import NOTHING
from forgery import NOW, forge

from securelink import Identity, Passwords, PublicKey, crypto, limits
from securelink.auth.hello import Hello
from securelink.errors import KeyFileError, RequestFailed, SecureLinkError
from securelink.invite import Invite
from securelink.keys import fingerprint_digest
from securelink.keys.public import MAX_SPKI_SIZE
from securelink.limits import MAX_CREDENTIALS, MAX_HANDSHAKE_BODY, MAX_KEY_FILE
from securelink.protocol.handshake_client import ClientHandshake
from securelink.protocol.handshake_server import ServerHandshake
from securelink.sealed import ANYONE, unseal
from securelink.text import folded
from securelink.threads.asking import failure_of
from securelink.tools.chat.names import checked_name
from securelink.wire.fields import Mode
from securelink.wire.frames import FrameBuffer, frame_header
from securelink.wire.messages import (
    ClientAuth,
    ClientHello,
    Close,
    ServerAuth,
    ServerHello,
    Wanted,
    Welcome,
)
from securelink.wire.packets import Packet, decode_packets, decode_value

pytestmark = pytest.mark.cost

PUBLIC = hostile_keys.public_keys()
PUBLIC_FILES = hostile_keys.public_files()
PRIVATE_FILES = hostile_keys.private_files()


class Stranger:
    """An identity that shows any bytes as its key."""

    path = None

    def __init__(self, spki: bytes) -> None:
        self.public = self
        self.spki = spki
        self.fingerprint = "SHA256:" + "A" * 43

    def sign(self, _message: bytes) -> bytes:
        """No signature."""
        return bytes(256)


def shown(spki: bytes) -> Any:
    """A stranger where an identity is asked for."""
    return cast(Any, Stranger(spki))


def refused_quickly(call: Callable[[], object]) -> None:
    """The call ends with a documented error, within a few milliseconds."""
    with pytest.raises(SecureLinkError):
        call()
    assert cost_ms(call) < FEW_MS


# --- keys -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLIC)
def test_a_strangers_key_costs_little(name: str) -> None:
    """Whatever key a peer shows, reading it takes a few milliseconds at most, and using it as well."""

    def use() -> None:
        PublicKey.from_spki(PUBLIC[name]).verify(bytes(1024), b"message")

    refused_quickly(use)


@pytest.mark.parametrize("name", [name for name in PUBLIC if len(PUBLIC[name]) < 3000])
def test_a_strangers_key_costs_little_in_a_handshake(name: str, identity: Identity) -> None:
    """The same in both roles, where the stranger's Finished is right."""
    client, server = ClientHandshake(Mode.REQUIRED), ServerHandshake(Mode.REQUIRED)
    hello = client.hello()
    server.client_hello(hello[:4], hello[4:])
    answer = server.answer()
    client.server_hello(answer[:4], answer[4:])
    auth = server.server_auth(shown(PUBLIC[name]), Wanted.WELCOME)
    refused_quickly(lambda: client.server_auth(auth))

    client, server = ClientHandshake(Mode.REQUIRED), ServerHandshake(Mode.REQUIRED)
    hello = client.hello()
    server.client_hello(hello[:4], hello[4:])
    answer = server.answer()
    client.server_hello(answer[:4], answer[4:])
    client.server_auth(server.server_auth(identity, Wanted.WELCOME))
    record = client.client_auth(
        identity=shown(PUBLIC[name]), dialled="", application="", version="", credentials=NOTHING
    )
    refused_quickly(lambda: server.client_auth(record))


@pytest.mark.parametrize("name", [name for name in PUBLIC if len(PUBLIC[name]) < 3000])
def test_a_strangers_key_costs_little_in_a_sealed_packet(name: str, identity: Identity) -> None:
    """The same in a sealed packet; what remains is one operation of our own key."""
    blob = forge(shown(PUBLIC[name]), identity.public)

    def decrypt() -> None:
        identity.decrypt(bytes(256), b"")

    ours = cost_ms(decrypt, enough=0.0)
    with pytest.raises(SecureLinkError):
        unseal(blob, identity, sender=ANYONE, now=lambda: NOW)
    whole = cost_ms(lambda: unseal(blob, identity, sender=ANYONE, now=lambda: NOW), ours + FEW_MS)
    assert whole < ours + FEW_MS


@pytest.mark.parametrize("name", PUBLIC_FILES)
def test_a_strangers_key_file_costs_little(name: str) -> None:
    """A public key file that somebody sent, under any label, is read or refused at once."""
    data = PUBLIC_FILES[name]
    assert len(data) <= MAX_KEY_FILE + 40_000

    def use() -> None:
        PublicKey.from_pem(data).verify(bytes(1024), b"message")

    refused_quickly(use)


@pytest.mark.parametrize("name", PRIVATE_FILES)
def test_a_strange_private_key_file_costs_little(name: str) -> None:
    """A private key file that was not made by a tool that means well is refused before anybody computes with it."""
    with pytest.raises(KeyFileError):
        Identity.from_pem(PRIVATE_FILES[name], "word")
    assert cost_ms(lambda: Identity.from_pem(PRIVATE_FILES[name], "word"), 20.0) < 20.0


def test_loading_our_own_key_costs_little_more_than_a_signature(identity: Identity) -> None:
    """The start of a server does not test primes again: that takes seconds for a large key."""
    pem = identity.to_pkcs1_pem()
    sign = cost_ms(lambda: identity.sign(b"message"), enough=0.0)
    assert cost_ms(lambda: Identity.from_pem(pem), 5 * sign + 2) < 5 * sign + 2


# --- everything else that a stranger can send ---------------------------------------------------------

NOISE = os.urandom(MAX_HANDSHAKE_BODY)
FIELDS = b"".join(bytes([n, 0, 20]) + bytes(20) for n in range(1, 256))
FULL = b"\xdd\x00\x00\x0f\xfb" + b"\x00" * (MAX_CREDENTIALS - 5)
KEYS = b"\xde\x03\xfc" + b"".join(b"\xcd" + n.to_bytes(2) + b"\x00" for n in range(256, 256 + 1020))


def framed(data: bytes) -> None:
    """Cut a frame out of a stream that trickles."""
    buffer = FrameBuffer()
    for byte in frame_header(3, len(data)) + data:
        buffer.feed(bytes([byte]))
    buffer.next_frame()


@pytest.mark.parametrize("body", [NOISE, FIELDS, bytes(MAX_HANDSHAKE_BODY), b"\x01" * 8000])
@pytest.mark.parametrize(
    "parse",
    [
        lambda body: ClientHello.decode(b"SECLINK\x1a\x01" + body),
        lambda body: ServerHello.decode(b"\x01" + body),
        lambda body: ServerAuth.decode(b"\x01" + body),
        lambda body: ClientAuth.decode(b"\x02" + body, encrypted=True),
        lambda body: ClientAuth.decode(b"\x02" + body, encrypted=False),
        lambda body: Welcome.decode(b"\x03" + body),
        lambda body: Close.decode(b"\x0a" + body),
        lambda body: crypto.answer_key_share(body[: crypto.CLIENT_SHARE_SIZE]),
        lambda body: crypto.ClientShare().finish(body[: crypto.SERVER_SHARE_SIZE]),
        decode_value,
    ],
    ids=["hello", "answer", "server auth", "client auth", "plain auth", "welcome", "close", "share", "share back",
         "value"],
)  # fmt: skip
def test_every_handshake_message_costs_little(
    parse: Callable[[bytes], object], body: bytes
) -> None:
    """No message before the end of the handshake takes more than a few milliseconds to read."""
    assert cost_ms(lambda: parse(body)) < FEW_MS


@pytest.mark.parametrize(
    "value",
    [
        FULL, KEYS,
        b"\xdc\x0f\xf0" + b"\x80" * 4080,
        b"\xdc\x0f\xf0" + b"\xc0" * 4080,
        msgspec.msgpack.encode({str(n): n for n in range(500)}),
        msgspec.msgpack.encode({n * (2**61 - 1): 0 for n in range(8)} | {float(n): 0 for n in range(370)}),
        b"\x91" * 4096,
    ],
    ids=["zeros", "ints as keys", "maps", "nils", "names", "equal hashes", "deep"],
)  # fmt: skip
def test_credentials_cost_little(value: bytes) -> None:
    """Credentials, the one value that is decoded for a stranger, take a few milliseconds at most."""
    assert len(value) <= MAX_CREDENTIALS
    busy = 2 * FEW_MS  # the worst takes 4.2 ms on an idle machine
    assert cost_ms(lambda: decode_value(value), busy) < busy


def test_frames_that_trickle_cost_little() -> None:
    """A frame that arrives in single bytes costs little more than one that does not, for each byte."""
    assert cost_ms(lambda: framed(NOISE), 100.0) < 100.0  # 8,192 reads


@pytest.mark.parametrize(
    "text",
    [
        "x" * 10**6,
        "securelink://" + "a" * 900,
        "securelink://" + "&" * 1000,
        "[" * 1000,
        "9" * 1000,
    ],
)
def test_texts_of_others_cost_little(text: str) -> None:
    """Links, fingerprints and join tokens that somebody sends are refused at once, however long they are."""
    refused_quickly(lambda: Invite.parse(text))
    refused_quickly(lambda: fingerprint_digest(text))


def test_join_tokens_of_strangers_cost_little(tmp_path: Any) -> None:
    """A join token that is none, or none of ours, costs the server a few milliseconds; no hash is slow."""
    from securelink import JoinTokens

    tokens = JoinTokens(tmp_path / "tokens.json")
    tokens.create()

    def ask(credentials: object) -> Callable[[], object]:
        hello = Hello(credentials, None, ("192.0.2.1", 1), "", "", "", None, None, True)
        return lambda: tokens(hello)

    for credentials in (
        {"token": str(uuid.uuid4())},
        {"token": "x" * 4000},
        {"token": 5},
        str(uuid.uuid4()),
        None,
    ):
        assert cost_ms(ask(credentials)) < FEW_MS


def marks(size: int) -> str:
    """Letters and combining marks in the order that is most work to sort."""
    return "a" + "\u0301" * (size // 4) + "\u0334" * (size // 4)


def test_names_and_passwords_of_strangers_cost_little() -> None:
    """Whatever combining marks a name or password is made of, normalizing it takes no time; nor does the chat's."""
    passwords = Passwords(cost=2)
    passwords.add("ann", "correct horse")
    long = marks(MAX_CREDENTIALS)

    def login(user: str, password: str) -> Callable[[], object]:
        credentials = {"user": user, "password": password}
        hello = Hello(credentials, None, ("192.0.2.1", 1), "", "", "", None, None, True)
        return lambda: passwords(hello)

    assert cost_ms(login(long, "x")) < FEW_MS
    assert cost_ms(login("ann", long)) < FEW_MS
    assert cost_ms(login("ann", marks(2 * limits.MAX_PASSWORD - 4))) < FEW_MS
    for size in (240, 2 * limits.MAX_NORMALIZED, 1_000_000):
        assert cost_ms(lambda size=size: folded(marks(size)), 50.0) < 50.0  # type: ignore[misc]
        with pytest.raises(RequestFailed):
            checked_name(marks(size))


@pytest.mark.parametrize("data", ["\x01" * 2_000_000, "\u200d" * 2_000_000, [{}] * 65_000])
def test_an_answer_that_is_an_error_costs_little(data: object) -> None:
    """The thread that reads makes the error of a failed request, whatever the peer says in it."""
    for reply in (
        Packet("a", data, {"error": "refused"}, 0.0, None, 1),
        Packet("a", "no", {"error": data}, 0.0, None, 1),
    ):
        error = cast(Any, failure_of(reply))
        assert cost_ms(lambda reply=reply: failure_of(reply)) < FEW_MS  # type: ignore[misc]
        assert len(str(error)) < 12_000


def test_noise_is_no_sealed_packet(identity: Identity) -> None:
    """What is not addressed to us costs no operation of our key."""
    for blob in (NOISE, b"SLSEAL\x1a\x01" + NOISE, bytes(16)):
        refused_quickly(lambda blob=blob: unseal(blob, identity, sender=ANYONE))  # type: ignore[misc]


def test_records_of_a_member_cost_little() -> None:
    """Noise in the place of packets is refused at once."""
    for data in (NOISE, b"\x91" + NOISE, b"\x91\x92\xa1a" + NOISE):
        assert cost_ms(lambda data=data: decode_packets(data)) < FEW_MS  # type: ignore[misc]


def test_numbers_in_the_document() -> None:
    """The sizes in docs/PARSING.md are those of the code."""
    text = " ".join((Path(__file__).parents[1] / "docs" / "PARSING.md").read_text().split())
    for words in (
        f"| CLIENT_HELLO | {MAX_HANDSHAKE_BODY // 1024} KiB |",
        f"| its key share | {crypto.CLIENT_SHARE_SIZE:,} |",
        f"| its key share | {crypto.SERVER_SHARE_SIZE:,} |",
        f"| key of a peer | {MAX_SPKI_SIZE:,} |",
        f"| its signature | {limits.MAX_RSA_BITS // 8:,} |",
        f"| credentials | {MAX_CREDENTIALS // 1024} KiB, {limits.MAX_CREDENTIALS_DEPTH} levels |",
        f"| succession of keys | {limits.MAX_SUCCESSION // 1024} KiB, {limits.MAX_ROTATIONS} statements |",
        f"| names | {limits.MAX_NAME} each |",
        f"of at most {limits.MAX_NORMALIZED} and {limits.MAX_PASSWORD:,} characters;",
        f"| password | 4 KiB | scrypt, at most {limits.MAX_PASSWORD_CHECKS} at once |",
        f"| public key file: PEM or an OpenSSH line | {MAX_KEY_FILE // 1024} KiB |",
        f"| sealed packet for us, key inside | {limits.MAX_SEALED // 2**20} MiB |",
        f"| invite | {limits.MAX_INVITE:,} characters |",
        f"at most {limits.MAX_KDF_ROUNDS:,} rounds of PBKDF2, {limits.MAX_SCRYPT_MEMORY // 2**20} MiB and 2^24 steps",
        f"up to `max_packet` bytes ({limits.MAX_PACKET // 2**20} MiB)",
    ):
        assert words in text, words
    assert limits.MAX_SCRYPT_WORK == 2**24
