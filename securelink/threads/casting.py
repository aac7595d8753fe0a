"""One packet for many sessions: what `Outbox.post` does for each of them, in one loop."""

from __future__ import annotations

from collections.abc import Iterable
from threading import get_ident

from ..errors import ConnectionClosed
from .loop import Loop
from .outbox import Outbox
from .tasks import Flushable


def post_all(outboxes: Iterable[Outbox], encoded: bytes, latest: str | None) -> int:
    """
    Queue one encoded packet in each of these outboxes, without waiting for room.

    Hot: for a session of the usual kind `post` is written out, for who leads or holds back what it sends.

    Returns:
        How many have taken it; those whose session has ended meanwhile have not.

    Raises:
        LimitExceeded: It is larger than a session allows.
    """
    size, me, count, grown = len(encoded), get_ident(), 0, 0
    loop: Loop | None = None
    batch: list[Flushable] | None = None
    for outbox in outboxes:
        if outbox.loop is not loop:
            _note_growth(loop, grown)
            loop, grown = outbox.loop, 0
            batch = loop.batches.get(me)
        lead, writer = loop.lead, outbox.writer
        if (
            writer is None
            or outbox.apart
            or latest is not None
            or outbox.receiving.dropping
            or size > outbox.max_packets
            or (batch is None and lead.thread != me)
            or type(outbox) is not Outbox
        ):
            try:
                outbox.post(encoded, None, latest, False)
            except ConnectionClosed:
                continue  # it left meanwhile
            count += 1
            continue
        queue = outbox.queue
        with queue.guard:  # as `SendQueue.put`
            queue.size = waiting = queue.size + size
            queue.packets.append(encoded)
        if batch is not None:
            batch.append(writer)
        else:
            if not writer.listed:
                writer.listed = True
                loop.flush_list.append(writer)
            if lead.thread != me:
                writer.listed = False
                writer.flush()
        if outbox.writer is not writer:
            outbox.look_again()
        bounds = outbox.bounds
        if waiting > bounds.unsent or outbox.outgoing.unacked > bounds.hard_unacked:
            outbox.pressure.choke(writer)
        count += 1
        grown += size
    _note_growth(loop, grown)
    return count


def _note_growth(loop: Loop | None, grown: int) -> None:
    if loop is not None:
        loop.grown += grown
        if loop.grown > loop.look_after:
            loop.grew()
