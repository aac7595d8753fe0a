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
    size, me = len(encoded), get_ident()
    usual = others = noted = 0
    loop: Loop | None = None
    batch: list[Flushable] | None = None
    straight = False
    for outbox in outboxes:
        if outbox.loop is not loop:  # of another server, all of whose sessions are of one kind
            _note_growth(loop, usual * size - noted)
            loop, noted = outbox.loop, usual * size
            batch, lead = loop.batches.get(me), loop.lead
            straight = (
                latest is None
                and type(outbox) is Outbox
                and (batch is not None or lead.thread == me)
            )
        writer = outbox.writer
        if (
            not straight
            or writer is None
            or outbox.apart
            or outbox.receiving.dropping
            or size > outbox.max_packets
        ):
            try:
                outbox.post(encoded, None, latest, False)
            except ConnectionClosed:
                continue  # it left meanwhile
            others += 1
            continue
        usual += 1
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
            if lead.thread != me:  # no more: the list is the new leader's
                straight = writer.listed = False
                writer.flush()
        if outbox.writer is not writer:
            outbox.look_again()
        bounds = outbox.bounds
        if waiting > bounds.unsent or outbox.outgoing.unacked > bounds.hard_unacked:
            outbox.pressure.choke(writer)
    _note_growth(loop, usual * size - noted)
    return usual + others


def _note_growth(loop: Loop | None, grown: int) -> None:
    if loop is not None:
        loop.grown += grown
        if loop.grown > loop.look_after:
            loop.grew()
