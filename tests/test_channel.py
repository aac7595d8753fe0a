"""The durable side of a session: inbox, outbox, their bounds, and who is woken."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any

import pytest
from helpers import WAIT, until
from linked import Bench, bench
from together import REPEATS, Crew

from securelink.codes import Code
from securelink.errors import ConnectionClosed, LimitExceeded, LinkTimeout
from securelink.interrupts import Sign
from securelink.limits import RUN_PACKETS
from securelink.protocol import Closed
from securelink.protocol.bounds import Bounds
from securelink.threads.asking import Waiting
from securelink.threads.requesting import expect, opened
from securelink.wire.packets import Packet, decode_packets, encode_packet, join_packets

again = pytest.mark.parametrize("attempt", range(REPEATS))
SMALL = 4096  # bytes of socket buffers that are soon full


def fill(stage: Bench, *, reading: bool = False, **options: Any) -> None:
    """Send 2 MB, in packets of 20 kB."""
    for _ in range(100):
        stage.post(bytes(20_000), **options)
        if reading:
            stage.items()


# --- inbox ---------------------------------------------------------------------------------------------------


def test_packets_and_events_come_in_order() -> None:
    """An event that happens between two packets is told between them."""
    with bench() as stage:
        stage.channel.note(lambda: stage.channel.data.append("first"))
        stage.send(1, 2)
        stage.turn()
        stage.channel.note(lambda: stage.channel.data.append("last"))
        stage.turn()
        assert stage.channel.data == ["first", 1, 2, "last"]


def test_a_full_inbox_stops_reading_and_goes_on() -> None:
    """More records than the inbox holds: the rest waits in the network until there is room, nothing is lost."""
    with bench(Bounds(inbox_records=8)) as stage:
        del stage.channel.inbox.right.free  # somebody is in a handler
        for number in range(200):
            stage.send([number, bytes(1000)])
        stage.turn(20)
        held = len(stage.channel.core.receiving.items)
        assert stage.channel.core.receiving.full
        # One read gives at most what fits into the read buffer, and no second one follows it.
        assert 8 < held < 200
        stage.turn(20)
        assert len(stage.channel.core.receiving.items) == held
        stage.channel.inbox.right.free = True
        stage.channel.loop.schedule(stage.channel.inbox)
        until(lambda: len(stage.channel.data) == 200, meanwhile=lambda: stage.turn(1))
        assert [number for number, _ in stage.channel.data] == list(range(200))
        assert not stage.channel.core.receiving.full


def test_a_full_inbox_is_counted_in_bytes_too() -> None:
    """A few large records fill it as well."""
    with bench(Bounds(inbox_bytes=100_000)) as stage:
        del stage.channel.inbox.right.free

        def send() -> None:
            for _ in range(20):
                stage.send(bytes(50_000))

        sender = threading.Thread(target=send)
        sender.start()
        until(lambda: stage.channel.core.receiving.full, meanwhile=lambda: stage.turn(1))
        assert (
            stage.channel.core.receiving.in_bytes - stage.channel.core.receiving.out_bytes < 300_000
        )
        stage.channel.inbox.right.free = True
        stage.channel.loop.schedule(stage.channel.inbox)
        until(lambda: len(stage.channel.data) == 20, meanwhile=lambda: stage.turn(1))
        sender.join(WAIT)
        assert stage.channel.core.receiving.in_bytes == stage.channel.core.receiving.out_bytes


def test_what_is_decoded_is_more_than_what_came() -> None:
    """A lone record too lets the leader look at what is kept, once that is a multiple of it."""
    with bench() as stage:
        loop, asked = stage.loop, list[int]()
        record = join_packets([encode_packet(Packet("x", bytes(1000)))])
        loop.on_growth, loop.look_after = lambda: asked.append(loop.grown), loop.grown + 2000
        stage.channel.core.receiving.deliver(record)
        stage.channel.inbox.run()
        stage.loop.turn()
        assert len(asked) == 1
        assert stage.channel.data == [bytes(1000)]


def test_filling_an_inbox_that_is_being_emptied() -> None:
    """The last record is taken out just before the flag goes up: it comes down again, for nobody else would see it."""
    with bench(Bounds(inbox_records=0)) as stage:
        append = stage.channel.core.receiving.items.append

        class Taken(type(stage.channel.core.receiving.items)):  # type: ignore[misc]
            """A queue whose reader is faster than its writer."""

            def append(self, item: object) -> None:
                append(item)  # type: ignore[arg-type]

            def __len__(self) -> int:
                return 1

            def __bool__(self) -> bool:
                return False

        stage.channel.core.receiving.items = Taken()
        stage.channel.core.receiving.deliver(b"\x90")
        assert not stage.channel.core.receiving.full


def test_a_long_inbox_is_passed_on() -> None:
    """One turn of a session handles so many packets; then others have theirs."""
    with bench() as stage:
        seen: list[int] = []

        class Other:
            """Another session that waits for its turn."""

            def run(self) -> bool:
                """See how far the first one is."""
                seen.append(len(stage.channel.data))
                return len(seen) < 3

        stage.send(*range(2 * RUN_PACKETS + 1))
        stage.loop._poll(0.0)  # noqa: SLF001  # it reads, and handles nothing yet
        stage.loop.schedule(Other())
        until(lambda: len(seen) == 3, meanwhile=lambda: stage.turn(1))
        runs = [after - before for before, after in itertools.pairwise([0, *seen])]
        assert all(0 < run <= RUN_PACKETS for run in runs)  # fewer where the machine is slow
        count = 2 * RUN_PACKETS + 1
        until(lambda: len(stage.channel.data) == count, meanwhile=lambda: stage.turn(1))
        assert stage.channel.data == list(range(count))


@again
def test_one_thread_runs_an_inbox(attempt: int) -> None:
    """However many threads try, a session's packets are handled one at a time, in order, and none is left behind."""
    with bench() as stage:
        inside = []
        overlaps = []

        def handle(data: object) -> None:
            inside.append(1)
            if len(inside) > 1:
                overlaps.append(data)
            time.sleep(0)
            inside.pop()

        stage.channel.handle = handle  # type: ignore[method-assign]
        record = [join_packets([encode_packet(Packet("x", n))]) for n in range(500)]
        over = threading.Event()

        def run() -> None:
            while not over.wait(0.0001):
                stage.channel.inbox.run()

        with Crew() as crew:
            for _ in range(3):
                crew.start(run)
            for one in record:
                stage.channel.core.receiving.deliver(one)
            until(lambda: len(stage.channel.data) == 500)
            over.set()
        assert stage.channel.data == list(range(500))
        assert overlaps == []


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_interrupted_in_the_middle_of_a_record(error: type[BaseException]) -> None:
    """Ctrl-C in the program's own thread reaches the program; the packets behind it are handled afterwards."""
    with bench(Bounds(inbox_records=1)) as stage:

        def handle(data: object) -> None:
            if data in (1, 4):
                raise error

        stage.channel.handle = handle  # type: ignore[method-assign]
        stage.send(0, 1, 2)
        stage.send(3, 4)
        with pytest.raises(error):
            stage.turn()  # the first one, unless it has no time for the second packet
        assert stage.channel.data == [0, 1]
        with pytest.raises(error):
            stage.turn()
        stage.send(5)
        stage.turn(5)
        assert stage.channel.data == [0, 1, 2, 3, 4, 5]


def test_a_record_that_cannot_be_read_ends_the_session(caplog: pytest.LogCaptureFixture) -> None:
    """Nonsense from a peer is logged when its turn comes, and the peer is told."""
    with bench() as stage:
        stage.send(1)
        assert stage.peer.sender is not None
        stage.sock.sendall(stage.peer.sender.packets([b"\xc1"]))
        stage.send(2)
        stage.turn()
        assert stage.channel.data == [1]
        (close,) = (item for item in stage.items() if isinstance(item, Closed))
        assert close.code == Code.UNREADABLE
    assert "sent a packet that cannot be read" in caplog.text


# --- replies ---------------------------------------------------------------------------------------------------


def test_a_reply_overtakes_the_inbox() -> None:
    """While somebody waits for it, a reply is given out as soon as it arrives; what came with it keeps its turn."""
    with bench() as stage:
        del stage.channel.inbox.right.free
        waiting = Waiting()
        number = expect(stage.channel, waiting)
        reply = encode_packet(Packet("x", "reply", None, 0.0, None, number))
        others = [encode_packet(Packet("x", n)) for n in range(3)]
        assert stage.peer.sender is not None
        stage.sock.sendall(stage.peer.sender.packets([others[0], reply, *others[1:]]))
        stage.turn()
        assert waiting.event.is_set()
        assert waiting.reply is not None
        assert opened(stage.channel, waiting.reply).data == "reply"
        # A second reply to the same request is nobody's.
        stage.sock.sendall(stage.peer.sender.packets([reply]))
        stage.turn()
        stage.channel.forget(number)
        stage.channel.inbox.right.free = True
        stage.channel.loop.schedule(stage.channel.inbox)
        stage.turn()
        # The owner meets both in their places, and passes over what is a reply.
        assert stage.channel.data == [0, "reply", 1, 2, "reply"]
        assert stage.channel.core.receiving.in_bytes == stage.channel.core.receiving.out_bytes


def test_records_decoded_early_are_bounded_too() -> None:
    """A peer that answers and floods at once fills the inbox like any other."""
    with bench(Bounds(inbox_bytes=100_000)) as stage:
        del stage.channel.inbox.right.free
        waitings = [Waiting() for _ in range(20)]
        assert stage.peer.sender is not None
        frames = []
        for waiting in waitings:
            number = expect(stage.channel, waiting)
            reply = encode_packet(Packet("x", None, None, 0.0, None, number))
            frames.append(
                stage.peer.sender.packets([encode_packet(Packet("x", bytes(30_000))), reply])
            )
        sender = threading.Thread(target=lambda: stage.sock.sendall(b"".join(frames)))
        sender.start()
        until(lambda: stage.channel.core.receiving.full, meanwhile=lambda: stage.turn(1))
        stage.turn(20)
        assert stage.channel.core.receiving.in_bytes < 300_000
        stage.channel.inbox.right.free = True
        stage.channel.loop.schedule(stage.channel.inbox)
        until(lambda: len(stage.channel.data) == 2 * 20, meanwhile=lambda: stage.turn(1))
        sender.join(WAIT)
        assert all(waiting.event.is_set() for waiting in waitings)
        assert not stage.channel.core.receiving.full


def test_who_waits_for_a_reply_hears_of_the_end() -> None:
    """The end of the session wakes whoever waits for a reply."""
    with bench() as stage:
        waiting = Waiting()
        expect(stage.channel, waiting)
        stage.link.lost()
        assert waiting.event.is_set()
        assert waiting.reply is None
        with pytest.raises(ConnectionClosed):
            expect(stage.channel, Waiting())


# --- outbox ------------------------------------------------------------------------------------------------------


def test_a_packet_too_large() -> None:
    """It is refused before anything is queued, naming the limit."""
    with bench() as stage:
        with pytest.raises(LimitExceeded) as caught:
            stage.post(bytes(stage.link.writer.max_packets))
        assert caught.value.limit == "max_packet"
        assert caught.value.hint
        assert not stage.channel.core.sending.packets


def test_the_latest_value_replaces_the_one_that_waits() -> None:
    """With a key, what waits is replaced in its place in the queue, and takes no more room than one."""
    with bench(buffer=SMALL) as stage:
        while not stage.link.writer.buffer.tail:
            stage.post("filler" * 5000)
        stage.post("before")
        for number in range(100):
            stage.post(["position", number], latest="position")
            stage.post(["other", number], latest="other")
        stage.post("after")
        assert len(stage.channel.core.sending.packets) == 4
        assert stage.channel.core.sending.size < 500
        found: list[object] = []
        while "after" not in found:
            found += stage.read(1)
        while found[0] == "filler" * 5000:
            del found[0]
        assert found == ["before", ["position", 99], ["other", 99], "after"]
        # What was sent waits no longer, so the next one is new.
        stage.post("now", latest="position")
        assert stage.read(1) == ["now"]
        assert stage.channel.core.sending.size == 0


def test_the_latest_value_needs_no_room() -> None:
    """A packet that takes the place of one that waits never blocks, however crowded the session is."""
    with bench(Bounds(unsent=50_000), buffer=SMALL) as stage:
        stage.channel.loop.manual = False  # not inside a handler
        while not stage.link.writer.buffer.tail:
            stage.post(bytes(20_000), wait=False)
        stage.post(0, latest="key")
        stage.post(bytes(60_000), wait=False)
        with pytest.raises(LinkTimeout):
            stage.post(1, timeout=0.0)
        stage.post(2, latest="key", timeout=0.0)
        with pytest.raises(LinkTimeout):
            stage.post(3, latest="another", timeout=0.0)
        stage.channel.loop.manual = True


def test_a_send_without_room_says_so() -> None:
    """It names the bytes that wait and what to do, queues nothing, and leaves nothing behind."""
    with bench(Bounds(unsent=50_000), buffer=SMALL) as stage:
        stage.channel.loop.manual = False
        with pytest.raises(LinkTimeout) as caught:
            fill(stage, timeout=0.02)
        assert "bytes wait to be sent" in caught.value.message
        assert "0.02 s" in caught.value.message
        assert "reading" in caught.value.hint
        queued = stage.channel.core.sending.size
        for _ in range(20):
            with pytest.raises(LinkTimeout):
                stage.post(bytes(20_000), timeout=0.0)
        assert stage.channel.core.sending.size == queued
        assert stage.channel.outbox.pressure.waiters == {}
        stage.channel.loop.manual = True


@again
def test_a_send_that_waits_is_woken(attempt: int) -> None:
    """Four threads that wait for room all get it, and nothing is lost or out of order."""
    with bench(Bounds(unsent=50_000), buffer=SMALL) as stage:
        stage.channel.inside_handler = lambda: False  # type: ignore[method-assign]

        def send(name: int) -> None:
            for number in range(20):
                stage.post([name, number, bytes(20_000)], timeout=WAIT)

        with Crew() as crew:
            for name in range(4):
                crew.start(send, name)
            found = stage.read(80)
        for name in range(4):
            assert [number for who, number, _ in found if who == name] == list(range(20))
        assert stage.channel.outbox.pressure.waiters == {}


def test_a_lone_record_wakes_a_send_that_waits() -> None:
    """It may carry an acknowledgement, which makes room."""
    with bench() as stage:
        woken = Sign()
        stage.channel.outbox.pressure.waiters[woken] = None
        stage.send(1)
        stage.turn()
        assert woken.is_set()


def test_a_send_that_waits_hears_of_the_end() -> None:
    """The end of the session ends the waiting."""
    with bench(Bounds(unsent=50_000), buffer=SMALL) as stage:
        stage.channel.inside_handler = lambda: False  # type: ignore[method-assign]
        failed = threading.Event()

        def send() -> None:
            with pytest.raises(ConnectionClosed):
                fill(stage, timeout=WAIT)
            failed.set()

        with Crew() as crew:
            crew.start(send)
            until(lambda: stage.channel.outbox.pressure.waiters)
            stage.link.lost()
        assert failed.is_set()


def test_unacknowledged_bytes_hold_up_a_sender() -> None:
    """A peer that reads and never acknowledges makes us keep only so much; a late acknowledgement lets us go on."""
    with bench(Bounds(unacked=100_000)) as stage:
        stage.channel.inside_handler = lambda: False  # type: ignore[method-assign]
        with pytest.raises(LinkTimeout, match="to be acknowledged"):
            fill(stage, timeout=0.0)
        count = stage.channel.core.numbering.outgoing.sent
        assert count == 4
        stage.read(count)
        assert stage.peer.sender is not None
        stage.sock.sendall(stage.peer.sender.ack())
        stage.turn()
        stage.post(bytes(20_000), timeout=0.0)


@pytest.mark.parametrize("what", ["unsent", "unacked"])
def test_the_hard_limit_ends_a_session(what: str, caplog: pytest.LogCaptureFixture) -> None:
    """Sends that do not wait, as in handlers: beyond the limit the session is ended, and nothing more is queued."""
    if what == "unsent":
        bounds = Bounds(unsent=100_000, hard_unsent=400_000)
    else:
        bounds = Bounds(hard_unacked=400_000)
    with bench(bounds, buffer=SMALL if what == "unsent" else None) as stage:
        with pytest.raises(ConnectionClosed) as caught:
            fill(stage, reading=what == "unacked", wait=False)
        assert caught.value.code == Code.TOO_SLOW
        assert stage.channel.core.sending.size < 450_000
        outgoing = stage.channel.core.numbering.outgoing
        assert outgoing.unacked < 450_000
        assert caplog.text.count("is too slow") == 1


def test_the_hard_limit_holds_in_a_handler_that_leads_no_more() -> None:
    """It does not wait either, though its packets go out one by one; what a peer does not acknowledge is bounded."""
    with bench(Bounds(unacked=100_000, hard_unacked=400_000)) as stage:
        stage.channel.inside_handler = lambda: True  # type: ignore[method-assign]
        with pytest.raises(ConnectionClosed) as caught:
            fill(stage, reading=True)
        assert caught.value.code == Code.TOO_SLOW
        assert stage.channel.core.numbering.outgoing.unacked < 450_000


def test_a_batch_is_bounded_too() -> None:
    """What is held back counts like what was sent."""
    with bench(Bounds(unsent=100_000, hard_unsent=400_000), buffer=SMALL) as stage:
        stage.loop.batches[threading.get_ident()] = []
        with pytest.raises(ConnectionClosed):
            fill(stage, wait=False)
        assert stage.channel.core.sending.size < 450_000


def test_a_quick_peer_may_get_much_from_one_handler() -> None:
    """A handler sends many times the hard limit: what is queued is written, so that a peer that reads is not ended."""
    with bench(Bounds(unsent=100_000, hard_unsent=400_000)) as stage:
        found: list[int] = []

        def handle(data: object) -> None:
            for number in range(100):
                stage.post([number, bytes(20_000)], wait=False)
                if number % 25 == 24:
                    read(25)  # in a real peer, another process

        def read(count: int) -> None:
            while len(found) < number_read[0] + count:
                for item in stage.items():
                    found.extend(p.data[0] for p in decode_packets(item))  # type: ignore[arg-type]
                stage.link.writer.flush()
            number_read[0] += count

        number_read = [0]
        stage.channel.handle = handle  # type: ignore[method-assign]
        stage.send("go")
        stage.turn()
        assert found == list(range(100))


def test_what_was_never_confirmed() -> None:
    """Records without acknowledgement and packets that were never sent, in order, also replaceable ones."""
    with bench(buffer=SMALL) as stage:
        count = 0
        while not stage.link.writer.buffer.tail:
            stage.post([count, bytes(20_000)], wait=False)
            count += 1
        stage.post("queued")
        stage.post("slot", latest="key")
        stage.link.lost()
        data = [packet.data for packet in stage.channel.unconfirmed(stage.link)]
        assert [item[0] for item in data[:-2]] == list(range(count))
        assert data[-2:] == ["queued", "slot"]
