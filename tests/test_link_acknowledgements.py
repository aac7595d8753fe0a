"""When one connection acknowledges what has come, and what becomes of records that are acknowledged."""

from __future__ import annotations

import pytest
from helpers import WAIT, until
from linked import SMALL, bench, choked
from together import Crew

from securelink.limits import ACK_BYTES, ACK_FEW_RECORDS, ACK_FEW_SECONDS, ACK_RECORDS
from securelink.protocol import Sender
from securelink.threads import loop as loop_module


class Clock:
    """The time as the loop sees it. It goes on only when the test says so."""

    now = 1000.0

    def monotonic(self) -> float:
        """As `time.monotonic`."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Timers follow this clock, however long a busy machine takes from one line to the next."""
    clock = Clock()
    monkeypatch.setattr(loop_module, "time", clock)
    return clock


@pytest.fixture
def acks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the count of each ACK record that is sent."""
    seen: list[int] = []
    ack = Sender.ack

    def counted(sender: Sender) -> bytes:
        record = ack(sender)
        if record:
            seen.append(sender._incoming.confirmed)  # noqa: SLF001  # as it says in the record
        return record

    monkeypatch.setattr(Sender, "ack", counted)
    return seen


def test_an_answer_carries_the_acknowledgement(acks: list[int], clock: Clock) -> None:
    """Ping-pong: the acknowledgement travels in front of the answer, never alone."""
    with bench() as stage:
        stage.channel.handle = lambda data: stage.post(data)  # type: ignore[method-assign]
        for number in range(3 * ACK_RECORDS):
            stage.send(number)
            assert stage.read(1) == [number]
        assert acks == []
        assert stage.peer.numbering.outgoing.acknowledged == 3 * ACK_RECORDS


@pytest.mark.pure  # it replaces a method of the sender
def test_acknowledgements_after_so_many_records(acks: list[int], clock: Clock) -> None:
    """A peer that only sends hears of every 64th record, not of each."""
    with bench() as stage:
        for number in range(2 * ACK_RECORDS + 10):
            stage.send(number)
            stage.loop.turn()
        until(
            lambda: len(stage.channel.data) == 2 * ACK_RECORDS + 10, meanwhile=lambda: stage.turn(1)
        )
        assert len(acks) == 2
        stage.sock.settimeout(WAIT)
        stage.items()
        assert stage.peer.numbering.outgoing.acknowledged >= ACK_RECORDS


@pytest.mark.pure  # it replaces a method of the sender
def test_acknowledgements_after_so_many_bytes(acks: list[int], clock: Clock) -> None:
    """Large records are acknowledged sooner: each 512 KiB."""
    with bench() as stage:
        for _ in range(22):
            stage.send(bytes(ACK_BYTES // 10))
            stage.turn(2)
        assert len(acks) == 2


@pytest.mark.pure  # it replaces a method of the sender
def test_a_record_of_many_reads_counts_whole(acks: list[int], clock: Clock) -> None:
    """A record that takes many reads is as large as it is, not as its last read."""
    with bench() as stage:
        with Crew() as crew:
            crew.start(stage.send, bytes(ACK_BYTES))
            until(lambda: stage.channel.data, meanwhile=stage.loop.turn)
        assert acks == [1]


@pytest.mark.pure  # it replaces a method of the sender
def test_a_late_acknowledgement(acks: list[int], clock: Clock) -> None:
    """Records that nothing follows are acknowledged alone after 200 ms, with all that came since."""
    with bench() as stage:
        for number in range(ACK_FEW_RECORDS):
            stage.send(number)
            stage.turn()
        clock.now += 0.19
        stage.turn()
        assert acks == []
        clock.now += 0.02
        stage.turn()
        assert acks == [ACK_FEW_RECORDS]
        stage.items()
        assert stage.peer.numbering.outgoing.acknowledged == ACK_FEW_RECORDS
        clock.now += 10
        stage.turn()
        assert acks == [ACK_FEW_RECORDS]


@pytest.mark.pure  # it replaces a method of the sender
def test_a_quiet_session_is_acknowledged_seldom(acks: list[int], clock: Clock) -> None:
    """One record every now and then does not cost one acknowledgement each: every eighth, or after two seconds."""
    with bench() as stage:
        stage.send(0)
        stage.turn()
        clock.now += 0.25
        stage.turn()
        assert acks == []
        for number in range(1, ACK_FEW_RECORDS):
            stage.send(number)
            stage.turn()
        assert acks == [ACK_FEW_RECORDS]
        stage.send(8)
        stage.turn()
        assert acks == [ACK_FEW_RECORDS]
        clock.now += ACK_FEW_SECONDS - 0.3
        stage.turn()
        assert acks == [ACK_FEW_RECORDS]
        clock.now += 0.4
        stage.turn()
        assert acks == [ACK_FEW_RECORDS, ACK_FEW_RECORDS + 1]


def test_acknowledged_records_are_released() -> None:
    """What the peer has accepted is kept no longer than until the next record."""
    with bench() as stage:
        outgoing = stage.channel.core.numbering.outgoing
        for number in range(10):
            stage.post([number, bytes(1000)])
        assert len(outgoing.unconfirmed) == 10
        stage.read(10)
        assert stage.peer.sender is not None
        stage.sock.sendall(stage.peer.sender.ack())
        stage.turn()
        assert outgoing.acknowledged == 10
        stage.post("next")
        assert outgoing.kept == 1
        assert outgoing.unacked < 100


def test_acknowledgements_make_room_although_the_kernel_does_not() -> None:
    """Records are released also while a tail waits: what is acknowledged is not counted as if it were not."""
    with bench(buffer=SMALL) as stage:
        choked(stage)
        outgoing = stage.channel.core.numbering.outgoing
        assert outgoing.unacked > 0
        outgoing.acknowledged = outgoing.sent  # as the reading half does
        stage.link.writer.flush()
        assert stage.link.writer.buffer.tail
        assert outgoing.unacked == 0
