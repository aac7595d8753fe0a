"""Replies that have arrived and are still unread."""

from __future__ import annotations

from weakref import ref

from ..limits import OBJECT_BYTES
from ..wire.packets import Packet, decode_again, record_of

_FEW = 16  # number of references at which dead ones are removed


class Reply:
    """
    A reply as bytes, until its packet is wanted: as objects it could be seventy times larger.

    Args:
        record: A record that contains only the reply, and can be decoded.
    """

    __slots__ = ("__weakref__", "_record")

    def __init__(self, record: bytes) -> None:
        self._record: bytes | None = record

    @property
    def held(self) -> int:
        """Bytes that are kept."""
        record = self._record
        return len(record) + OBJECT_BYTES if record is not None else 0

    def packet(self) -> Packet | None:
        """The packet; None if the bytes are no longer kept."""
        record = self._record
        return decode_again(record)[0] if record is not None else None

    def drop(self) -> None:
        """The bytes are no longer needed."""
        self._record = None


class Replies:
    """
    The unread replies of one session.

    They belong to the threads that asked, and are known here by weak references: a forgotten reply no longer counts.
    The references have no callbacks, because Ctrl-C in a Python callback would be lost.
    """

    __slots__ = ("_kept", "_many")

    def __init__(self) -> None:
        self._kept: list[ref[Reply]] = []
        self._many = _FEW

    def keep(self, record: bytes | memoryview, packet: Packet, *, alone: bool) -> Reply:
        """
        Add a reply that has arrived. By the receiving half.

        Args:
            record: The record that contains it.
            packet: The reply, decoded.
            alone: Whether the record contains nothing else.
        """
        reply = Reply(bytes(record) if alone else record_of(packet))
        if len(self._kept) >= self._many:
            self._kept = [known for known in self._kept if known() is not None]
            self._many = max(_FEW, 2 * len(self._kept))
        self._kept.append(ref(reply))
        return reply

    @property
    def held(self) -> int:
        """Bytes that are kept."""
        return sum(reply.held for reply in self._all())

    def drop(self) -> None:
        """Drop all unread replies."""
        for reply in self._all():
            reply.drop()

    def _all(self) -> list[Reply]:
        found = [known() for known in tuple(self._kept)]
        return [reply for reply in found if reply is not None]
