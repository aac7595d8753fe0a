"""
When a key is replaced (RFC 9846 5.5, 7.2): how much one key may protect, how old it becomes, and what is a flood.

A key is due for its update after UPDATE_RECORDS or UPDATE_BYTES, which `records.Sealer` compares itself for each
record, or when it is old. `Sender` then puts KEY_UPDATE before the next record; `records.Opener` takes the peer's.
"""

from __future__ import annotations

from typing import Final

from ..limits import (
    HARD_LIMIT_FACTOR,
    UPDATE_BYTES,
    UPDATE_FLOOD_RECORDS,
    UPDATE_FLOOD_SECONDS,
    UPDATE_RECORDS,
    UPDATE_SECONDS,
)

#: A sender looks at its key's age so often: a key that was there at the last look, and has been used, is replaced.
LOOK_SECONDS: Final = UPDATE_SECONDS / 2


def is_overdue(records: int, size: int) -> bool:
    """Whether a key has protected twice what makes its update due: a sender that updates never comes so far."""
    # Divided, not multiplied: see docs/COMPILED.md. Exactly as `> UPDATE_BYTES * HARD_LIMIT_FACTOR`.
    return (
        records // HARD_LIMIT_FACTOR >= UPDATE_RECORDS
        or (size - 1) // HARD_LIMIT_FACTOR >= UPDATE_BYTES
    )


def is_flood(records: int, size: int, seconds: float) -> bool:
    """
    Whether a peer's update comes too soon: so many records, bytes and seconds after the last one. A fast peer with
    large records may update after few of them.
    """
    return records < UPDATE_FLOOD_RECORDS and size < UPDATE_BYTES and seconds < UPDATE_FLOOD_SECONDS
