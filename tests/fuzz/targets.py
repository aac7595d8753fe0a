"""The harnesses: what gets the bytes, which errors are its documented ones, and how long it may take."""

from __future__ import annotations

import contextlib
import functools
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hostile_keys
import msgspec
from forgery import forge
from protocol_places import KEYED, PLACES, Place, at

from securelink import Identity, JoinTokens, KnownServers, Passwords, PublicKey, crypto
from securelink.errors import (
    CodecError,
    ConfigError,
    KeyFileError,
    PeerIncompatible,
    ProtocolError,
    Refused,
    StateError,
    UnsealError,
)
from securelink.invite import Invite
from securelink.keys import fingerprint_digest
from securelink.keys.succession import Statement, decode_succession, encode_succession, follows
from securelink.protocol import Failed, Resumption, State
from securelink.sealed import ANYONE, unseal
from securelink.state import SessionFile, StateKeys
from securelink.trust import AuthorizedClients
from securelink.trust.rotation import load_statements
from securelink.wire.frames import FrameBuffer
from securelink.wire.messages import (
    ClientAuth,
    ClientHello,
    Close,
    ServerAuth,
    ServerHello,
    Welcome,
)
from securelink.wire.packets import (
    decode_packets,
    decode_value,
    encode_packet,
    join_packets,
)

from .resumed import (
    NO_MEMORY,
    RESUMED,
    RESUMED_KEYED,
    hello_seeds,
    name_of,
    resumed_gets,
    welcome_seeds,
)
from .seeds import (
    INVITE,
    LINE,
    auth_seeds,
    frames_of,
    key,
    packet_seeds,
    plain_records,
    private_seeds,
    public_seeds,
    recorded_streams,
    value_seeds,
)
from .tokens import proof_seeds, token_seeds, web_proof, web_token

CORPUS = Path(__file__).parent / "corpus"
MOST = 70_000  # bytes of an input: more than is decoded without being walked
FOREVER = float("inf")
SLOWER = 8.0  # counting lines makes Python so many times slower, at most


class SlowInputError(Exception):
    """An input took longer than any of its size may."""


@dataclass(frozen=True)
class Target:
    """
    A harness.

    Attributes:
        name: What it is called, here, in the corpus and on the command line.
        prepare: Makes the call that is measured; what it does itself is not.
        errors: The documented ones.
        limit_ms: Processor time for any input. A few milliseconds is the rule of docs/PARSING.md for what a stranger
            sends; here ten times that, because a machine may be slow and atheris counts every line.
        seeds: Inputs to begin with.
    """

    name: str
    prepare: Callable[[], Callable[[bytes], object]]
    errors: tuple[type[Exception], ...]
    seeds: Callable[[], list[bytes]]
    limit_ms: float = 50.0

    def corpus(self) -> list[bytes]:
        """The seeds and what is in the corpus."""
        found = sorted((CORPUS / self.name).glob("*"))
        return [*self.seeds(), *(path.read_bytes() for path in found)]

    def run(self, data: bytes, slower: float = 1.0) -> None:
        """
        Give the harness an input.

        Raises:
            SlowInputError: It took too long, three times in a row.
            Exception: What the harness found.
        """
        data = data[:MOST]
        least = FOREVER
        for _ in range(3):
            call = self.prepare()
            began = time.thread_time()
            try:
                call(data)
            except self.errors:
                pass
            least = min(least, 1000 * (time.thread_time() - began))
            if least < self.limit_ms * slower:
                return
        raise SlowInputError(
            f"{self.name}: {least:.0f} ms for {len(data)} bytes: {data[:2000].hex()}"
        )


def simple(call: Callable[[bytes], object]) -> Callable[[], Callable[[bytes], object]]:
    """A harness without a state."""
    return lambda: call


# --- the calls --------------------------------------------------------------------------------------------


def packets(data: bytes) -> None:
    """What is accepted can be sent again, and comes back equal."""
    found = decode_packets(data)
    again = decode_packets(join_packets([encode_packet(packet) for packet in found]))
    # Compared as text: NaN is not equal to itself.
    assert repr(again) == repr(found)


def frames(data: bytes) -> None:
    """Any split gives the same frames."""
    whole, pieces = FrameBuffer(), FrameBuffer()
    whole.feed(data)
    taken, size = [], max(1, len(data) // 7)
    first: list[Any] = []
    for start in range(0, len(data), size):
        pieces.feed(data[start : start + size])
        while (frame := pieces.next_frame()) is not None:
            taken.append(frame)
    while (frame := whole.next_frame()) is not None:
        first.append(frame)
    assert first == taken


def spki(data: bytes) -> None:
    """A key that is accepted has exactly these bytes, and can be used."""
    public = PublicKey.from_spki(data)
    assert public.spki == data
    public.verify(bytes(public.bits // 8), b"")


def public_file(data: bytes) -> None:
    """A public key file."""
    PublicKey.from_spki(PublicKey.from_pem(data).spki)


def private_file(data: bytes) -> None:
    """A private key file, with a passphrase in case it asks for one."""
    Identity.from_pem(data, "word").public.verify(b"", b"")


def succession(data: bytes) -> None:
    """Statements about keys: read, and the signatures of the first ones checked."""
    follows(decode_succession(data), key().public, LINE, 0.0)


def succession_seeds() -> list[bytes]:
    """A good statement, several, and one with a hostile key."""
    good = Statement.sign(key(), key().public, 1000)
    bad = Statement(hostile_keys.public_keys()["Diffie-Hellman, generator 5"], 1000, bytes(256))
    return [good.encode(), encode_succession([good] * 3), bad.encode()]


def text(call: Callable[[str], object]) -> Callable[[], Callable[[bytes], object]]:
    """A harness of something that takes text."""
    return simple(lambda data: call(data.decode(errors="surrogateescape")))


def sealed_inside(data: bytes) -> None:
    """The inside of a sealed packet whose outside is right: what only its sender can choose."""
    inside = data[:4096]
    secret = bytes(32)
    encrypted = _encrypted_secret()
    outside = _outside(encrypted)
    output = crypto.hkdf_expand(secret, b"securelink 1, sealed packet key" + outside, 64)
    ciphertext = crypto.new_aead(output[:32]).encrypt(bytes(12), inside, None)
    unseal(outside + output[32:] + ciphertext, key(), sender=ANYONE)


@functools.cache
def _encrypted_secret() -> bytes:
    return key().public.encrypt(bytes(32), b"securelink 1, sealed packet secret")


def _outside(encrypted: bytes) -> bytes:
    digest = fingerprint_digest(key().fingerprint)
    return b"SLSEAL\x1a\x01" + digest + len(encrypted).to_bytes(2) + encrypted


def inside_seeds() -> list[bytes]:
    """An inside as it should be, signature aside, and one with a hostile key."""
    tail = bytes(8) + bytes(6) + b"\x40\x00\x80" + bytes(7) + (4).to_bytes(4) + b"\x92\xa1a\xc0"
    keys = [key().public.spki, hostile_keys.public_keys()["Diffie-Hellman, generator 5"]]
    return [len(der).to_bytes(2) + der + tail + bytes(256) for der in keys]


def file_of(read: Callable[[Path], object]) -> Callable[[], Callable[[bytes], object]]:
    """A harness of something that reads a file of ours."""

    def prepare() -> Callable[[bytes], object]:
        def call(data: bytes) -> None:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "file"
                path.touch(0o600)
                path.write_bytes(data)
                read(path)

        return call

    return prepare


def session_file(path: Path) -> None:
    """The input as it is; and as the content of a file that is whole, for its digest stops all others."""
    data = path.read_bytes()
    line = data.replace(b"\n", b" ")
    for whole in (data, b"\n".join((b"#", line, crypto.sha256(line).hex().encode(), b""))):
        path.write_bytes(whole)
        with contextlib.suppress(KeyFileError):
            SessionFile(path).read()


def session_seeds() -> list[bytes]:
    """The content of a file that a client has written."""
    with tempfile.TemporaryDirectory() as folder:
        file = SessionFile(Path(folder) / "session")
        file.take()
        server = key().public
        file.keep(
            "example.org",
            5050,
            Resumption(
                token=bytes(16), ticket=bytes(32), psk=bytes(32), lifetime=120, max_packet=1 << 20,
                server=server, offered=server, application="game", version="1",
            ),
        )  # fmt: skip
        content = file.path.read_bytes()
        file.over()
    return [content.split(b"\n")[1], content]


def named(name: str, read: Callable[[Path], object]) -> Callable[[], Callable[[bytes], object]]:
    """A harness of something that reads the file of this name in a folder."""
    return file_of(lambda path: read(path.rename(path.with_name(name)).parent))


def engine_gets(place: Place, keyed: bool) -> Callable[[], Callable[[bytes], object]]:
    """
    An engine in one state: bytes of somebody in the path, or records of a peer that has the right keys.

    Keyed, the input is records: size u16, content and body; without a size, the rest is one.
    """

    def prepare() -> Callable[[bytes], object]:
        pair = at(place, key())
        role = place[0]

        def call(data: bytes) -> None:
            if not keyed:
                pair.feed(role, data)
            while keyed and data:
                size = int.from_bytes(data[:2])
                record, data = data[2 : 2 + size] or b"\x04", data[2 + size :]
                if pair.engine(role).state in (State.FAILED, State.CLOSED):
                    break
                try:
                    frame = pair.forge(role, record[: 2**14])
                except (AssertionError, AttributeError):
                    break  # the state went on, and there are no keys of the old one
                pair.feed(role, frame)
            failed = [item for item in pair.items[role] if isinstance(item, Failed)]
            assert len(failed) <= 1
            assert all(isinstance(f.error, ProtocolError | PeerIncompatible) for f in failed)
            assert bool(failed) <= (pair.engine(role).state is State.FAILED)

        return call

    return prepare


def record_seeds() -> list[bytes]:
    """Records of an open session, framed for the keyed harness."""
    return [len(body[16:]).to_bytes(2) + body[16:] for body in frames_of(4)]


def no_memory_seeds(place: Place) -> list[bytes]:
    """The same, behind WELCOME for a client that has to learn the counts."""
    records = record_seeds()
    if place[0] == "server":
        return records
    return [
        welcome + more for welcome in welcome_seeds(place) for more in (b"", b"".join(records[:4]))
    ] + records


PARSER_ERRORS = (ProtocolError, PeerIncompatible)

TARGETS: list[Target] = [
    # Up to 64 KiB a record is decoded up to three times, and walked.
    Target("packets", simple(packets), (CodecError,), packet_seeds, limit_ms=500.0),
    Target("value", simple(decode_value), (CodecError,), value_seeds),
    Target("frames", simple(frames), (ProtocolError,), recorded_streams),
    Target("client-hello", simple(ClientHello.decode), PARSER_ERRORS, lambda: frames_of(1)),
    Target("server-hello", simple(ServerHello.decode), PARSER_ERRORS, lambda: frames_of(2)),
    Target("server-auth", simple(ServerAuth.decode), PARSER_ERRORS, auth_seeds),
    Target(
        "client-auth",
        simple(lambda data: ClientAuth.decode(data, encrypted=True)),
        PARSER_ERRORS,
        auth_seeds,
    ),
    Target(
        "client-auth-plain",
        simple(lambda data: ClientAuth.decode(data, encrypted=False)),
        PARSER_ERRORS,
        lambda: [b"\2" + body for body in plain_records(2)],
    ),
    Target("welcome", simple(Welcome.decode), PARSER_ERRORS, lambda: [b"\3" + b for b in plain_records(3)]),
    Target("close", simple(Close.decode), PARSER_ERRORS, lambda: [b"\x0a" + b for b in plain_records(10)]),
    Target("spki", simple(spki), PARSER_ERRORS, lambda: list(hostile_keys.public_keys().values())),
    Target("public-file", simple(public_file), (KeyFileError,), public_seeds),
    Target(
        "private-file", simple(private_file), (KeyFileError, ProtocolError), private_seeds, limit_ms=15_000.0
    ),
    Target("succession", simple(succession), (ProtocolError,), succession_seeds),
    Target("invite", text(Invite.parse), (ConfigError,), lambda: [INVITE.encode()]),
    Target("fingerprint", text(fingerprint_digest), (ConfigError,), lambda: [LINE.encode()]),
    Target(
        "sealed",
        simple(lambda data: unseal(data, key(), sender=ANYONE)),
        (UnsealError,),
        lambda: [forge(key(), key().public)],
    ),
    Target("sealed-inside", simple(sealed_inside), (UnsealError,), inside_seeds),
    Target(
        "known-servers",
        file_of(lambda path: KnownServers(path).entries()),
        (KeyFileError,),
        lambda: [f"example.org:5050 {LINE} # friend\n".encode(), b"# only a comment\r\n\r\n"],
    ),
    Target(
        "authorized-clients",
        file_of(lambda path: AuthorizedClients(path).entries()),
        (KeyFileError,),
        lambda: [f"{LINE} ada # friend\n".encode()],
    ),
    Target(
        "join-tokens",
        file_of(lambda path: JoinTokens(path).entries()),
        (KeyFileError,),
        lambda: [b'[\n{"id":"a","hash":"b","uses":1}\n]\n', b"[]"],
    ),
    Target(
        "passwords",
        file_of(lambda path: Passwords(path).users()),
        (KeyFileError,),
        lambda: [b'[\n{"name":"ada","salt":"00","hash":"00","n":32768,"r":8,"p":1}\n]\n'],
    ),
    Target("web-token", simple(web_token), (Refused,), token_seeds),
    Target("web-proof", simple(web_proof), (Refused,), proof_seeds),
    Target("session-file", file_of(session_file), (KeyFileError,), session_seeds),
    Target(
        "state-key",
        named("state.key", StateKeys.load_or_make),
        (KeyFileError, StateError),
        lambda: [b"# keys\ncurrent 01020304 " + b"A" * 43 + b"=\nold 05060708 " + b"B" * 43 + b"=\n"],
    ),
    Target(
        "rotation-file",
        named("server_rotation.json", lambda folder: load_statements(folder, "server", key().public)),
        (KeyFileError,),
        lambda: [msgspec.json.encode([Statement.sign(key(), key().public, 2**40)])],
    ),
    *(
        Target(f"engine-{'-'.join((p[0], p[1].name, p[2].name)).lower()}", engine_gets(p, False), (), recorded_streams)
        for p in PLACES
    ),
    *(
        Target(f"peer-{'-'.join((p[0], p[1].name, p[2].name)).lower()}", engine_gets(p, True), (), record_seeds)
        for p in KEYED
    ),
    *(
        Target(f"resumed-{name_of(p)}", resumed_gets(p, keyed=False), (), lambda: hello_seeds() + recorded_streams())
        for p in RESUMED
    ),
    *(
        Target(f"resumed-peer-{name_of(p)}", resumed_gets(p, keyed=True), (CodecError,), record_seeds)
        for p in RESUMED_KEYED
    ),
    *(
        Target(
            f"no-memory-peer-{name_of(p)}",
            resumed_gets(p, keyed=True, remembers=False),
            (CodecError,),
            functools.partial(no_memory_seeds, p),
        )
        for p in NO_MEMORY
    ),
]  # fmt: skip

BY_NAME = {target.name: target for target in TARGETS}
