"""
Make the recordings anew:  python tests/transcripts/record.py [name ...]

Needed only when the wire changes, and then the version byte or the changelog has to change as well. The RSA keys are
made for the recording and thrown away: a recording holds their public halves and the signatures they made.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1]))

from inside import handshake_of

from securelink import crypto
from securelink.codes import Code
from securelink.keys import Identity
from securelink.protocol import ClientConnection, Resumption
from securelink.wire.packets import Packet, encode_packet, encode_value, join_packets
from transcripts import FOLDER, NAMES, Actor, Role

TOKEN = "5d2b1a36f3b8441c9c4fd09a3cbe0f11"
PING = "0001020304050607"


def packet(action: str, data: Any, **fields: Any) -> str:
    """One encoded packet, in hex."""
    return encode_packet(Packet(action, data, **fields)).hex()


HANDSHAKE: list[tuple[Role, list[Any]]] = [
    ("client", ["hello"]),
    ("server", ["answer"]),
    ("client", ["authenticate"]),
]
SESSION: list[tuple[Role, list[Any]]] = [
    ("server", ["welcome"]),
    ("client", ["packets", packet("say", "hello"), packet("move", {"x": 1, "y": -2.5})]),
    ("server", ["packets", packet("said", "hello", headers={"by": "ann"}, created=1.5)]),
    ("client", ["ack"]),
    ("client", ["control", "PING", PING]),
    ("server", ["control", "PONG", PING]),
    ("client", ["packets", packet("where", None, id=1)]),
    ("server", ["packets", packet("here", [1, 2, b"\x00\xff"], reply_to=1)]),
]
UPDATES: list[tuple[Role, list[Any]]] = [
    ("client", ["update"]),
    ("client", ["packets", packet("after", "our update")]),
    ("server", ["update"]),
    ("server", ["packets", packet("after", "both updates")]),
]
END: list[tuple[Role, list[Any]]] = [
    ("client", ["close", Code.NORMAL, ""]),
    ("server", ["close", Code.NORMAL, "see you"]),
]
TICKET: list[tuple[Role, list[Any]]] = [
    ("server", ["welcome"]),
    ("client", ["flush"]),  # a PING, at once: the ticket has come
    ("client", ["packets", packet("say", "one")]),
    ("server", ["packets", packet("said", "one")]),
    ("client", ["ack"]),
]
RESUMED: list[tuple[Role, list[Any]]] = [
    ("server", ["resume"]),
    ("client", ["flush"]),
    ("client", ["again"]),
    ("server", ["again"]),
    ("client", ["packets", packet("say", "four")]),
    ("server", ["packets", packet("said", "four")]),
    ("client", ["ack"]),
]
FORGOTTEN: list[tuple[Role, list[Any]]] = [
    ("server", ["resume"]),
    ("client", ["flush"]),
    ("server", ["again"]),
    ("client", ["packets", packet("say", "four")]),
    ("server", ["packets", packet("said", "four")]),
    ("client", ["ack"]),
]
RESTART: list[tuple[Role, list[Any]]] = [
    ("server", ["close", Code.RESTART, "back soon", 2500]),
    ("client", ["close", Code.NORMAL, ""]),
]
REFUSAL: list[tuple[Role, list[Any]]] = [("server", ["refuse", Code.REFUSED, "not today"])]


def array(*packets: str) -> str:
    """A record of these packets, in hex."""
    return join_packets([bytes.fromhex(one) for one in packets]).hex()


#: What happened between the two connections: "two" had come and was not acknowledged when the connection broke.
LEFT = {
    "client": {
        "acknowledged": 1,
        "kept": [array(packet("say", "two")), array(packet("say", "three"))],
        "accepted": 1,
    },
    "server": {"acknowledged": 1, "kept": [array(packet("said", "two"))], "accepted": 2},
}


#: The same, and the client's process died: "three" is lost with it.
LEFT_BY_THE_DEAD = LEFT | {
    "client": {"acknowledged": 0, "kept": [], "accepted": 0, "forgotten": True}
}


def settings(name: str) -> dict[str, Any]:
    """What both sides of a recording want."""
    encrypted = not name.startswith("plaintext")
    return {
        "about": f"A session, {name.replace('_', ', ', 1).replace('_', ' ')}. Made by record.py.",
        "client": {
            "mode": "required" if encrypted else "optional",
            "dialled": "play.example",
            "application": "chat",
            "version": "1.2",
            "credentials": encode_value({"user": "ann", "password": "correct horse"}).hex(),
        },
        "server": {
            "mode": "optional" if encrypted else "off",
            "wanted": 1 if encrypted else 0,
            "token": TOKEN,
            "max_packet": 2 * 1024 * 1024,
            "heartbeat": 20.0,
        },
    }


def steps_of(name: str) -> list[tuple[Role, list[Any]]]:
    """What happens in a recording."""
    if name.endswith("_ticket"):
        return HANDSHAKE + TICKET
    if name.endswith("_resumed"):
        return HANDSHAKE + RESUMED + END
    if name.endswith("_forgotten"):
        return HANDSHAKE + FORGOTTEN + END
    if name == "encrypted_refused":
        return HANDSHAKE + REFUSAL
    if name == "encrypted_restart":
        return HANDSHAKE + SESSION + RESTART
    return HANDSHAKE + SESSION + UPDATES * (name != "plaintext") + END


def record(name: str) -> dict[str, Any]:
    """Run a session and write down all that went over the link, and what was drawn at random."""
    key = Identity.generate(2048)
    before = None
    if name.endswith(("_resumed", "_forgotten")):
        before = record_with(f"{name.partition('_')[0]}_ticket", key)[1]
    return record_with(name, key, before)[0]


def record_with(
    name: str, key: Identity, before: Resumption | None = None
) -> tuple[dict[str, Any], Resumption | None]:
    """
    The same, and what resumes the session.

    Args:
        name: Of the recording.
        key: Of the server.
        before: What resumes the session of the connection before.
    """
    recording = settings(name)
    encrypted = not name.startswith("plaintext")
    recording["tickets"] = name.endswith(("_ticket", "_resumed", "_forgotten"))
    if before is not None:
        psk = before.psk.hex() if before.psk is not None else None
        left = LEFT_BY_THE_DEAD if name.endswith("_forgotten") else LEFT
        recording["before"] = {"ticket": before.ticket.hex(), "psk": psk, **left}
    identities: dict[Role, Identity | None] = {"client": None, "server": None}
    if encrypted:
        identities["server"] = key
    if name == "encrypted_client_key":
        identities["client"] = Identity.generate(2048)
    actors: dict[Role, Actor] = {}
    for role, identity in identities.items():
        own = recording[role]
        own["key"] = identity.public.spki.hex() if identity else None
        own["signature"] = None
        own["random"] = []
    for role, identity in identities.items():
        actors[role] = Actor(role, recording, identity, drawing(recording[role]["random"]))
    recording["kem"], recording["secrets"], recording["steps"] = None, None, []
    for role, do in steps_of(name):
        with recording_crypto(recording, role):
            sent = actors[role].act(do)
        if do[0] == "authenticate" and encrypted:
            recording["secrets"] = secrets_of(actors["client"])
        recording["steps"].append({"role": role, "do": do, "bytes": sent.hex()})
        actors["server" if role == "client" else "client"].take(sent)
    return recording, actors["client"].resumption


def drawing(values: list[str]) -> crypto.Random:
    """The system's random source; what it gives is noted."""

    def draw(size: int) -> bytes:
        value = os.urandom(size)
        values.append(value.hex())
        return value

    return draw


def recording_crypto(recording: dict[str, Any], role: Role) -> Any:
    """Note what the crypto library draws by itself."""
    sign, encapsulate = crypto.pss_sign, crypto.mlkem_encapsulate

    def noted_sign(key: crypto.RSAPrivateKey, message: bytes) -> bytes:
        signature = sign(key, message)
        recording[role]["signature"] = signature.hex()
        return signature

    def noted_encapsulate(key: bytes) -> tuple[bytes, bytes]:
        secret, ciphertext = encapsulate(key)
        recording["kem"] = {"secret": secret.hex(), "ciphertext": ciphertext.hex()}
        return secret, ciphertext

    return mock.patch.multiple(crypto, pss_sign=noted_sign, mlkem_encapsulate=noted_encapsulate)


def secrets_of(client: Actor) -> dict[str, str]:
    """The secrets of one thrown-away session, for a reader that computes them again."""
    assert isinstance(client.engine, ClientConnection)
    handshake = handshake_of(client.engine)
    early, late = handshake.handshake_secrets, handshake.application_secrets
    assert early is not None
    assert late is not None
    return {
        "client_handshake": early.client.hex(),
        "server_handshake": early.server.hex(),
        "client_application": late.client.hex(),
        "server_application": late.server.hex(),
        "binding": late.binding.hex(),
    }


def main(names: list[str]) -> None:
    """Write these recordings, or all."""
    # A session that is resumed has the ticket of the recording before, and its key.
    key, resumption = Identity.generate(2048), None
    for name in NAMES:
        if not name.endswith("_resumed"):
            key = Identity.generate(2048)
        before = resumption if name.endswith("_resumed") else None
        if name.endswith("_forgotten"):
            recording = record(name)
        else:
            recording, resumption = record_with(name, key, before)
        if names and name not in names:
            continue
        path = FOLDER / f"{name}.json"
        path.write_text(json.dumps(recording, indent=1) + "\n")
        print(path)


if __name__ == "__main__":
    main(sys.argv[1:])
