"""What is kept of a session, as values. A store seals them and knows nothing of what is in them."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from ..errors import StateError

Numbered = list[tuple[int, bytes]]


class SavedTicket(msgspec.Struct, array_like=True):
    """
    One ticket of a session: its hash, and what it grants. Keys are SPKI DER.

    Its PSK is secret. It is no traffic key: each resume derives fresh ones.
    """

    digest: bytes
    max_packet: int
    psk: bytes | None
    server: bytes | None
    client: bytes | None
    application: str
    version: str

    def __repr__(self) -> str:
        return f"<SavedTicket of {self.application!r}>"  # with neither hash nor PSK


class Saved(msgspec.Struct, array_like=True):
    """
    What a session is, apart from its packets and counts.

    Attributes:
        token: Names it.
        user: What `authenticate` returned, encoded.
        address: (host, port) of its last connection.
        tickets: The last one used, if it is still good, and the current one.
        lost_at: When it lost its connection, in seconds since 1970; None: it had one.
        greeted: Whether `on_connect` has been called.
        data: `session.data`, encoded.
        state: The last state that the client gave, encoded.
        grace: For how many seconds it waits for its client.
        until: When its login is over, in seconds since 1970; None: not before the session.
    """

    token: bytes
    user: bytes
    operator: bool
    address: tuple[str, int]
    fingerprint: str | None
    connected_at: float
    encrypted: bool
    dialled: str
    tickets: list[SavedTicket]
    lost_at: float | None
    greeted: bool
    muted: bool
    rooms: list[str]
    data: bytes
    state: bytes | None
    grace: int
    until: float | None = None  # files of older versions do not have it

    def __repr__(self) -> str:
        return f"<Saved session {self.token.hex()}>"


class Counts(msgspec.Struct, array_like=True):
    """
    The numbering of a session.

    Attributes:
        handled: Records of the client that its handlers are through with.
        accepted: These, and those behind them that are kept because they are not handled.
        sent: Records that have a number.
        acknowledged: How many of them the client has handled, as far as it has told.
        queued: Packets of the send queue that are in records.
        asked: Requests so far: the number of a reply is never given twice.
    """

    handled: int
    accepted: int
    sent: int
    acknowledged: int
    queued: int
    asked: int


@dataclass(slots=True)
class Change:
    """
    What a turn has changed in one session.

    Attributes:
        token: Names it.
        gone: It is over, and nothing of it is kept.
        saved: Encoded, if it changed.
        counts: Encoded, if they changed.
        received: New records that wait for their handler.
        received_below: Older ones are handled.
        sent: New records that wait to be acknowledged.
        sent_below: Older ones are acknowledged.
        queued: Packets without a record, new ones and those that replace one.
        queued_below: Older ones are in records.
    """

    token: bytes
    gone: bool = False
    saved: bytes | None = None
    counts: bytes | None = None
    received: Numbered = field(default_factory=list)
    received_below: int = 0
    sent: Numbered = field(default_factory=list)
    sent_below: int = 0
    queued: Numbered = field(default_factory=list)
    queued_below: int = 0


@dataclass(slots=True)
class Loaded:
    """
    A session, as it was when the last turn was committed.

    Attributes:
        saved, counts: What it is.
        received, sent, queued: Its packets, in order.
    """

    saved: Saved
    counts: Counts
    received: Numbered = field(default_factory=list)
    sent: Numbered = field(default_factory=list)
    queued: Numbered = field(default_factory=list)


encode = msgspec.msgpack.Encoder().encode
_saved = msgspec.msgpack.Decoder(Saved).decode
_counts = msgspec.msgpack.Decoder(Counts).decode


def renewed(saved: bytes, tickets: list[SavedTicket], lost_at: float | None) -> bytes:
    """A session as it was kept, but for its tickets and its connection."""
    known = _saved(saved)
    known.tickets, known.lost_at = tickets, lost_at
    return encode(known)


def decode(saved: bytes, counts: bytes) -> Loaded:
    """
    What was kept of a session, without its packets.

    Raises:
        StateError: A version that is not known has written it.
    """
    try:
        return Loaded(_saved(saved), _counts(counts))
    except msgspec.MsgspecError as error:
        raise StateError(
            "a session in the state file cannot be read",
            hint="another version of securelink has written it: use that one, or begin a new file",
        ) from error
