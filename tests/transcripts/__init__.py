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
from securelink.limits import WRITE_BUDGET
from securelink.protocol import (
    ClientConnection,
    Connection,
    Grant,
    Item,
    Opened,
    PlaintextChosen,
    PlaintextServer,
    Resuming,
    Resumption,
    Returning,
    ServerConnection,
    ServerVerified,
    TicketTable,
    VerifiedServer,
)
from securelink.protocol.acknowledgements import Numbering
from securelink.protocol.tickets import ticket_digest
from securelink.wire.fields import Content, Mode

Role = Literal["client", "server"]
FOLDER = Path(__file__).parent
NAMES = (
    "encrypted_client_key", "encrypted_anonymous", "encrypted_refused", "plaintext",
    "encrypted_ticket", "encrypted_resumed", "plaintext_ticket", "plaintext_resumed",
    "encrypted_restart", "encrypted_forgotten",
)  # fmt: skip


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


_SESSION = "the recorded one"  # what the server's ticket stands for


def _key(recording: dict[str, Any]) -> PublicKey | None:
    spki = recording["server"]["key"]
    return PublicKey.from_spki(bytes.fromhex(spki)) if spki is not None else None


def resumption_from(recording: dict[str, Any]) -> Resumption:
    """What the client of a recorded resume has of the connection before."""
    before, client = recording["before"], recording["client"]
    return Resumption(
        token=bytes.fromhex(recording["server"]["token"]),
        ticket=bytes.fromhex(before["ticket"]),
        psk=bytes.fromhex(before["psk"]) if before["psk"] is not None else None,
        lifetime=120,
        max_packet=recording["server"]["max_packet"],
        server=_key(recording),
        offered=None,
        application=client["application"],
        version=client["version"],
    )


def resuming_from(recording: dict[str, Any]) -> Resuming | None:
    """What the server has: no tickets in the older recordings, otherwise a table, with the ticket that is shown."""
    if not recording.get("tickets"):
        return None
    table, before = TicketTable(), recording.get("before")
    if before:
        known = resumption_from(recording)
        grant = Grant(
            session=_SESSION,
            token=known.token,
            max_packet=known.max_packet,
            psk=known.psk,
            server=known.server,
            client=None,
            application=known.application,
            version=known.version,
        )
        table.begin(ticket_digest(known.ticket), grant, 0)
    return Resuming(table, _key(recording))


def numbering_before(recording: dict[str, Any], role: Role) -> Numbering:
    """What a side has sent and accepted before the connection of the recording."""
    numbering, before = Numbering(), recording.get("before")
    if before:
        counts = before[role]
        for _ in range(counts["acknowledged"]):
            numbering.outgoing.keep(b"")
        numbering.outgoing.acknowledge(counts["acknowledged"])
        for record in counts["kept"]:
            numbering.outgoing.keep(bytes.fromhex(record))
        numbering.outgoing.release()
        numbering.incoming.accepted = counts["accepted"]
    return numbering


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
        self.resumption: Resumption | None = None  # what WELCOME has brought
        self._server: VerifiedServer | PlaintextServer | None = None
        self._numbering = numbering_before(recording, role)
        mode = Mode[self.settings["mode"].upper()]
        before = recording.get("before")
        if role == "client":
            resumption = resumption_from(recording) if before else None
            remembers = not (before and before["client"].get("forgotten"))
            self.engine = ClientConnection(
                mode,
                max_packet=2**24 - 1,
                random=random,
                resumption=resumption,
                returning=Returning.TO_GO_ON if remembers else Returning.WITHOUT_MEMORY,
            )
            if before and remembers:
                self.engine.carry(self._numbering)
        else:
            self.engine = ServerConnection(
                mode, self.settings["wanted"], random=random, resuming=resuming_from(recording)
            )

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
            elif isinstance(item, Opened):
                self.resumption = item.resumption
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
        token = bytes.fromhex(s["token"])
        self.engine.welcome(client, token, s["max_packet"], s["heartbeat"], session=_SESSION)
        return self.engine.data_to_send()

    def _resume(self) -> bytes:
        assert isinstance(self.engine, ServerConnection)
        client = self.engine.verify_client()
        assert self.engine.may_resume(client, self._numbering)
        self.engine.carry(self._numbering)
        self.engine.resume(client, self.settings["heartbeat"])
        return self.engine.data_to_send()

    def _flush(self) -> bytes:
        return self.engine.data_to_send()

    def _again(self) -> bytes:
        assert self.engine.sender is not None
        return self.engine.sender.again(WRITE_BUDGET)

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

    def _close(self, code: int, text: str, delay: int = 0) -> bytes:
        assert self.engine.sender is not None
        return self.engine.sender.close(code, text, delay)


def replaying(recording: dict[str, Any], role: Role) -> Actor:
    """The actor of one role, with all that was recorded of it."""
    settings = recording[role]
    return Actor(role, recording, recorded_identity(settings["key"]), Drawn(settings["random"]))
