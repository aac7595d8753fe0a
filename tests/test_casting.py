"""One packet for many sessions goes the way of `Outbox.post` for each of them, whoever sends it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from threading import get_ident
from typing import Any

import pytest
from linked import Bench, bench

from securelink.codes import Code
from securelink.errors import LimitExceeded
from securelink.protocol.bounds import Bounds
from securelink.threads.batch import held_back
from securelink.threads.casting import post_all
from securelink.wire.packets import Packet, encode_packet

PIECE = bytes(1000)


def cast(*stages: Bench, data: Any, latest: str | None = None) -> int:
    """Send one packet to the peers of all these."""
    encoded = encode_packet(Packet("x", data))
    return post_all((stage.channel.outbox for stage in stages), encoded, latest)


def leading(stage: Bench, act: Callable[[], object]) -> None:
    """Do something as a handler in the leader's thread does."""
    done: list[object] = []
    stage.loop.call(lambda: done.append(act()))
    stage.turn()
    assert done


def in_batch(stage: Bench, act: Callable[[], object]) -> None:
    with held_back(stage.loop):
        act()


def anywhere(stage: Bench, act: Callable[[], object]) -> None:
    act()


@pytest.mark.parametrize("where", [leading, in_batch, anywhere])
def test_order_is_kept_in_every_mix(
    where: Callable[[Bench, Callable[[], object]], None],
) -> None:
    """What is sent to one and what is sent to many come in the order in which they were sent."""

    def mix() -> None:
        stage.post(1)
        assert cast(stage, data=2) == 1
        assert cast(stage, data=3, latest="key") == 1
        stage.post(4)
        assert cast(stage, data=5) == 1
        assert cast(stage, data=6) == 1
        stage.post(7)

    with bench() as stage:
        where(stage, mix)
        assert stage.read(7) == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("where", [leading, in_batch])
def test_what_is_sent_together_goes_together(
    where: Callable[[Bench, Callable[[], object]], None],
) -> None:
    """One record for each receiver, at the end of the turn or of the block, and not before."""

    def several() -> None:
        for number in range(5):
            cast(stage, data=number)
        assert stage.quiet()

    with bench() as stage:
        before = stage.channel.numbers()["records_sent"]
        where(stage, several)
        assert stage.read(5) == [0, 1, 2, 3, 4]
        assert stage.channel.numbers()["records_sent"] == before + 1


class Losing:
    """Guards a queue; its thread loses the lead meanwhile, as to the watchdog."""

    def __init__(self, stage: Bench) -> None:
        self._stage = stage

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        self._stage.loop.lead.thread = 0


def test_who_loses_the_lead_lets_all_go() -> None:
    """Nobody may look at the flush list of a thread that no longer leads: what it has queued goes out at once."""

    def act() -> None:
        cast(stage, data=1)
        assert stage.quiet()
        queue = stage.channel.core.sending
        guard, queue.guard = queue.guard, Losing(stage)
        cast(stage, data=2)
        queue.guard = guard
        assert not stage.quiet()
        cast(stage, data=3)
        stage.loop.lead.thread = get_ident()

    with bench() as stage:
        leading(stage, act)
        assert stage.read(3) == [1, 2, 3]


def test_a_peer_that_reads_nothing_is_not_read_and_then_ended() -> None:
    """Many broadcasts have the bounds of many sends."""
    with bench(Bounds(unsent=20_000, hard_unsent=60_000), buffer=4_000) as stage:

        def until_choked() -> None:
            for _ in range(40):
                if not stage.link.writer.choked:
                    assert cast(stage, data=PIECE) == 1
            assert stage.link.writer.choked

        leading(stage, until_choked)
        assert not stage.channel.core.receiving.dropping

        def until_over() -> None:
            assert sum(cast(stage, data=PIECE) for _ in range(100)) < 60
            assert cast(stage, data=PIECE) == 0

        leading(stage, until_over)
        closing = stage.link.closing
        assert closing is not None
        assert closing[0] == Code.TOO_SLOW


def test_what_is_queued_is_counted_for_the_memory_of_all_sessions() -> None:
    """As much as many sends count, for each receiver, and the leader is asked to look."""
    encoded = encode_packet(Packet("x", PIECE))
    with bench() as stage:
        asked: list[int] = []
        loop = stage.loop
        loop.on_growth, loop.look_after = lambda: asked.append(loop.grown), 2 * len(encoded)
        before = loop.grown

        def twice() -> None:
            cast(stage, stage, stage, data=PIECE)
            assert loop.grown == before + 3 * len(encoded)

        leading(stage, twice)
        assert asked


def test_not_every_session_takes_the_short_way() -> None:
    """Nothing goes to one that is muted; a packet that is too large is refused; sessions may have different loops."""
    with ExitStack() as stack:
        one, other = (stack.enter_context(bench()) for _ in range(2))
        one.channel.muted = True
        assert cast(one, other, data=1) == 2
        one.channel.muted = False
        assert cast(one, other, data=2) == 2
        assert one.read(1) == [2]
        assert other.read(2) == [1, 2]
        one.channel.outbox.max_packets = 100
        with pytest.raises(LimitExceeded, match="larger than"):
            cast(one, data=PIECE)


@pytest.mark.parametrize(("size", "several"), [(10, 1), (20_000, 1), (10, 3)])
def test_sessions_keep_a_broadcast_together(size: int, several: int) -> None:
    """Until it is acknowledged there is one record of it, not one for each of a thousand receivers."""
    with ExitStack() as stack:
        stages = [stack.enter_context(bench()) for _ in range(3)]
        for stage in stages:
            stage.post("before")
            stage.read(1)
        with ExitStack() as turn:
            for stage in stages:
                turn.enter_context(held_back(stage.loop))
            for number in range(several):
                cast(*stages, data=bytes([number]) * size)
        for stage in stages:
            assert stage.read(several) == [bytes([number]) * size for number in range(several)]
        kept = [stage.channel.core.numbering.outgoing.unconfirmed[-1] for stage in stages]
        assert kept[0] is kept[1] is kept[2]


def test_what_is_kept_of_others_is_never_sent_for_ours() -> None:
    """The same list with other packets, or equal packets in another list, gives the record of what is in it now."""
    with bench() as stage:
        packets = [encode_packet(Packet("x", number)) for number in (1, 2)]
        sender = stage.link.connection.sender
        assert sender is not None
        for number in (3, 4, 5):
            stage.link.writer.queue_raw(sender.packets(packets))
            packets[1] = encode_packet(Packet("x", number))
        stage.link.writer.flush()
        assert stage.read(6) == [1, 2, 1, 3, 1, 4]
