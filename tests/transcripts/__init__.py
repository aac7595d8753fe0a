"""
Recorded sessions: every byte of both sides, and what is needed to play either side again.

A recording is a list of steps. Each has the role that acts, what it does, and the bytes that this gives. To play one
role again, its steps are done once more and must give the recorded bytes; the steps of the other role are fed to it.
README.md says what the files hold and how to make them anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from unittest import mock

from securelink import crypto
from securelink.keys import Identity, PublicKey
from securelink.protocol import (
    ClientConnection,
    Connection,
    Item,
    PlaintextChosen,
    PlaintextServer,
    ServerConnection,
    ServerVerified,
    VerifiedServer,
)
from securelink.wire.fields import Content, Mode

Role = Literal["client", "server"]
FOLDER = Path(__file__).parent
NAMES = ("encrypted_client_key", "encrypted_anonymous", "encrypted_refused", "plaintext")


def load(name: str) -> dict[str, Any]:
    """A recording, as decoded JSON."""
    recording: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return recording


def stream(recording: dict[str, Any], role: Role) -> bytes:
    """All bytes that a role sent."""
    return b"".join(bytes.fromhex(s["bytes"]) for s in recording["steps"] if s["role"] == role)


class Drawn:
    """A random source that gives recorded values, each once and of the recorded size."""

    def __init__(self, values: list[str]) -> None:
        self._values = [bytes.fromhex(value) for value in values]

    def __call__(self, size: int) -> bytes:
        value = self._values.pop(0)
        assert len(value) == size
        return value


class RecordedIdentity(Identity):
    """An identity without its private key."""

    def __init__(self, public: PublicKey) -> None:
        self.public = public
        self.path = None
        self._key = None  # type: ignore[assignment]  # `replaced` takes the place of what would use it


def recorded_identity(spki: str | None) -> Identity | None:
    """An identity of which only the public key was recorded; it signs only while `replaced` is in force."""
    if spki is None:
        return None
    return RecordedIdentity(PublicKey.from_spki(bytes.fromhex(spki)))


@contextmanager
def replaced(recording: dict[str, Any], role: Role) -> Iterator[None]:
    """Let the two functions that draw their own randomness give what was recorded, for the recorded input only."""
    key = recording[role]["key"]

    def sign(_key: object, message: bytes) -> bytes:
        signature = bytes.fromhex(recording[role]["signature"])
        PublicKey.from_spki(bytes.fromhex(key)).verify(signature, message)
        return signature

    def encapsulate(encapsulation_key: bytes) -> tuple[bytes, bytes]:
        assert encapsulation_key in stream(recording, "client")
        kem = recording["kem"]
        return bytes.fromhex(kem["secret"]), bytes.fromhex(kem["ciphertext"])

    with (
        mock.patch.object(crypto, "pss_sign", sign),
        mock.patch.object(crypto, "mlkem_encapsulate", encapsulate),
    ):
        yield


class Actor:
    """One side of a recording, with its engine."""

    engine: Connection

    def __init__(
        self,
        role: Role,
        recording: dict[str, Any],
        identity: Identity | None,
        random: crypto.Random,
    ) -> None:
        self.role = role
        self.settings = recording[role]
        self.identity = identity
        self._server: VerifiedServer | PlaintextServer | None = None
        mode = Mode[self.settings["mode"].upper()]
        if role == "client":
            self.engine = ClientConnection(mode, max_packet=2**24 - 1, random=random)
        else:
            wanted = self.settings["wanted"]
            self.engine = ServerConnection(mode, wanted, random=random)

    def act(self, do: list[Any]) -> bytes:
        """Do one step; returns the bytes that it sends."""
        name, *arguments = do
        action = getattr(self, f"_{name}")
        sent: bytes = action(*arguments)
        return sent

    def take(self, data: bytes) -> list[Item]:
        """Feed bytes; returns what the engine reports."""
        items = self.engine.receive_data(data, 0.0)
        for item in items:
            if isinstance(item, ServerVerified | PlaintextChosen):
                self._server = item.server
        return items

    # The steps.

    def _hello(self) -> bytes:
        return self.engine.data_to_send()

    def _answer(self) -> bytes:
        assert isinstance(self.engine, ServerConnection)
        self.engine.begin_answer()
        self.engine.finish_answer(self.identity)
        return self.engine.data_to_send()

    def _authenticate(self) -> bytes:
        assert isinstance(self.engine, ClientConnection)
        s = self.settings
        assert self._server is not None
        self.engine.authenticate(
            self._server,
            identity=self.identity,
            dialled=s["dialled"],
            application=s["application"],
            version=s["version"],
            credentials=bytes.fromhex(s["credentials"]),
        )
        return self.engine.data_to_send()

    def _welcome(self) -> bytes:
        assert isinstance(self.engine, ServerConnection)
        s = self.settings
        client = self.engine.verify_client()
        self.engine.welcome(client, bytes.fromhex(s["token"]), s["max_packet"], s["heartbeat"])
        return self.engine.data_to_send()

    def _refuse(self, code: int, text: str) -> bytes:
        assert isinstance(self.engine, ServerConnection)
        self.engine.verify_client()
        self.engine.refuse(code, text)
        return self.engine.data_to_send()

    def _packets(self, *encoded: str) -> bytes:
        assert self.engine.sender is not None
        return self.engine.sender.packets([bytes.fromhex(packet) for packet in encoded])

    def _control(self, content: str, payload: str) -> bytes:
        assert self.engine.sender is not None
        return self.engine.sender.control(Content[content], bytes.fromhex(payload))

    def _ack(self) -> bytes:
        assert self.engine.sender is not None
        return self.engine.sender.ack()

    def _update(self) -> bytes:
        assert self.engine.sender is not None
        return self.engine.sender.records.update()

    def _close(self, code: int, text: str) -> bytes:
        assert self.engine.sender is not None
        return self.engine.sender.close(code, text)


def replaying(recording: dict[str, Any], role: Role) -> Actor:
    """The actor of one role, with all that was recorded of it."""
    settings = recording[role]
    return Actor(role, recording, recorded_identity(settings["key"]), Drawn(settings["random"]))
