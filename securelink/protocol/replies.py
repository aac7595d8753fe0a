"""Replies that have come, and that nobody has looked at yet."""

from __future__ import annotations

from weakref import ref

from ..limits import OBJECT_BYTES
from ..wire.packets import Packet, decode_again, record_of

_FEW = 16  # references before it is looked which of them are dead


class Reply:
    """
    A reply as bytes, until somebody wants the packet: as objects it could be seventy times larger.

    Args:
        record: A record that holds the reply and nothing else, and can be decoded.
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
        """The packet; None when the bytes are not kept any more."""
        record = self._record
        return decode_again(record)[0] if record is not None else None

    def drop(self) -> None:
        """The bytes are not needed any more."""
        self._record = None


class Replies:
    """
    What one session keeps of its replies.

    They belong to those who asked, and are known here by weak references: what is forgotten there counts no more. No
    callback tells of that: in one that is Python code Ctrl-C would be lost.
    """

    __slots__ = ("_kept", "_many")

    def __init__(self) -> None:
        self._kept: list[ref[Reply]] = []
        self._many = _FEW

    def keep(self, record: bytes | memoryview, packet: Packet, *, alone: bool) -> Reply:
        """
        A reply that has come. By the receiving half.

        Args:
            record: That it came in.
            packet: The reply, decoded.
            alone: Whether the record holds nothing else.
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
        """Keep nothing more: who has not looked gets nothing."""
        for reply in self._all():
            reply.drop()

    def _all(self) -> list[Reply]:
        found = [known() for known in tuple(self._kept)]
        return [reply for reply in found if reply is not None]
