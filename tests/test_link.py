"""One connection: its flags never stick, its records keep their order, its end is told."""

from __future__ import annotations

import socket
import threading
import time
from math import inf

import pytest
from helpers import WAIT, until
from inside import controls_of, forks, is_choked
from linked import SMALL, bench, choked
from together import REPEATS, Crew

from securelink.codes import Code
from securelink.errors import ConnectionClosed
from securelink.limits import (
    ACK_RECORDS,
    CLOSE_SECONDS,
    MAX_CONTROLS,
)
from securelink.protocol import Closed, Ended, Item, Pinged, Ponged
from securelink.protocol.bounds import Bounds
from securelink.threads import reading, writing
from securelink.threads.ends import DEAD
from securelink.threads.outcome import Outcome
from securelink.threads.write_buffer import WriteBuffer
from securelink.wire.fields import Content
from securelink.wire.packets import Packet, decode_packets, encode_packet

again = pytest.mark.parametrize("attempt", range(REPEATS))


# --- flags that must not stick ------------------------------------------------------------------------------


def test_what_the_kernel_does_not_take_goes_out_later() -> None:
    """More than the socket's buffers hold is written when there is room, in order."""
    with bench(buffer=SMALL) as stage:
        for number in range(50):
            stage.post([number, bytes(20_000)])
        assert stage.link.writer.buffer.tail
        assert [number for number, _ in stage.read(50)] == list(range(50))
        assert not stage.link.writer.buffer.tail


def test_a_tail_that_appears_while_the_leader_looks() -> None:
    """The leader has seen no tail, and before it has noted so another thread leaves one: it is written all the same."""
    with bench() as stage:
        link = stage.link

        class Sly:
            """A tail that is empty when looked at; then it is not."""

            def __bool__(self) -> bool:
                link.leave_tail(b"late")
                return False

            def __len__(self) -> int:
                return 0

        link.seem_to_have(Sly())
        link.update_interest()
        stage.turn()
        assert stage.sock.recv(100) == b"late"
        assert not link.has_tail


def test_choking_when_all_is_written_already() -> None:
    """A link that is told to stop reading just after the last byte went out reads on."""
    with bench() as stage:
        stage.link.writer.choke()
        assert not is_choked(stage.link)
        stage.send(1)
        stage.turn()
        assert stage.channel.data == [1]


@pytest.mark.pure  # it replaces a method of the write buffer
def test_choking_while_another_thread_writes_the_last_byte(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The writer has looked for the flag already; it looks once more after it has let go."""
    with bench() as stage:
        link = stage.link
        write = WriteBuffer.write
        raced: list[WriteBuffer] = []

        def race(self: WriteBuffer, data: bytes) -> bool:
            written = write(self, data)
            if not raced:
                raced.append(self)
                with Crew(WAIT) as crew:
                    crew.start(link.writer.choke)
            return written

        monkeypatch.setattr(WriteBuffer, "write", race)
        stage.post(1, latest="key")
        assert raced == [link.writer.buffer]
        assert not is_choked(link)
        stage.send(2)
        stage.turn()
        assert stage.channel.data == [2]


def test_a_link_that_is_choked_reads_again() -> None:
    """While too much is unsent the peer is not read; when it is out, it is."""
    with bench(Bounds(unsent=100_000), buffer=SMALL) as stage:
        for _ in range(10):
            stage.post(bytes(30_000), wait=False)
        assert is_choked(stage.link)
        stage.turn()
        stage.send("waits")
        stage.turn()
        assert stage.channel.data == []
        stage.read(10)
        stage.turn()
        assert stage.channel.data == ["waits"]


def test_a_link_that_cannot_write_reads_on() -> None:
    """What the peer sent before it went away is still delivered, also by a link that was choked."""
    with bench(Bounds(unsent=100_000), buffer=SMALL) as stage:
        for _ in range(10):
            stage.post(bytes(30_000), wait=False)
        assert is_choked(stage.link)
        stage.turn()
        stage.send("before the end")
        stage.link.fail_to_write()
        stage.turn()
        assert stage.channel.data == ["before the end"]
        assert stage.link.connection.deadline < inf


# --- CLOSE is the last ---------------------------------------------------------------------------------------


def test_nothing_is_sealed_for_a_peer_that_takes_nothing_more() -> None:
    """What waits then keeps its place in the queue: the next connection carries it."""
    with bench() as stage:
        stage.link.writer.advance(DEAD)
        stage.channel.core.sending.put(encode_packet(Packet("x", 1)))
        stage.link.writer.flush()
        assert stage.channel.core.numbering.outgoing.sent == 0
        assert len(stage.channel.core.sending.packets) == 1


def test_nothing_is_written_after_close() -> None:
    """Packets and control records that come after CLOSE are refused or dropped; nobody loops over them."""
    with bench() as stage:
        stage.post(1)
        stage.channel.end(Code.KICKED, "enough")
        with pytest.raises(ConnectionClosed, match="being ended: enough") as caught:
            stage.post(2)
        assert caught.value.code == Code.KICKED

        def more() -> None:
            stage.link.control(Content.PONG, bytes(8))
            stage.channel.core.sending.put(b"\xc0")  # a send that had looked before
            stage.link.writer.flush()

        with Crew(WAIT) as crew:
            crew.start(more)
        assert not controls_of(stage.link.connection)
        items: list[Item] = [*stage.items(), *stage.events()]
        first, *others = items
        (packet,) = decode_packets(first)  # type: ignore[arg-type]
        assert packet.data == 1
        assert others == [Closed(Code.KICKED, "enough"), Ended()]


def test_a_busy_peer_is_ended_all_the_same() -> None:
    """A session that was ended while its peer sends and pings: each is taken, none is answered, CLOSE is."""
    with bench(Bounds(inbox_records=4)) as stage:
        stage.channel.handle = lambda data: stage.channel.end(Code.KICKED, "")  # type: ignore[method-assign]
        stage.send(0)
        stage.turn()
        for number in range(1, 4 * ACK_RECORDS):
            stage.send(number)
        stage.control(Content.PING, bytes(8))
        assert stage.peer.sender is not None
        stage.sock.sendall(stage.peer.sender.close(Code.NORMAL))
        stage.turn(10)
        assert stage.channel.data == [0]
        assert stage.channel.ended
        assert (stage.outcome.code, stage.outcome.clean) == (Code.KICKED, True)
        assert stage.events()[-2:] == [Closed(Code.KICKED, ""), Ended()]


def test_close_waits_for_what_was_sent_before() -> None:
    """CLOSE follows the last packet, though that waits for the kernel."""
    with bench(buffer=SMALL) as stage:
        for number in range(10):
            stage.post([number, bytes(30_000)], wait=False)
        stage.channel.end(Code.NORMAL)
        found, closed = [], False
        while not closed:
            stage.loop.turn()
            for item in stage.items():
                if isinstance(item, Closed):
                    closed = True
                else:
                    found += [packet.data[0] for packet in decode_packets(item)]  # type: ignore[arg-type]
        assert found == list(range(10))


def test_a_peer_that_never_answers_close_is_left() -> None:
    """From our CLOSE on a deadline runs."""
    with bench() as stage:
        assert stage.link.connection.deadline == inf
        stage.channel.end(Code.NORMAL)
        stage.turn()
        assert stage.link.connection.deadline <= stage.loop.now + CLOSE_SECONDS


def test_the_end_of_the_stream_ends_the_session_once() -> None:
    """A peer that vanishes: the session is over, not cleanly; the socket is closed and nobody told twice."""
    with bench() as stage:
        stage.post(1)
        stage.sock.close()
        until(lambda: stage.link.gone, meanwhile=stage.turn)
        assert stage.channel.ended
        assert not stage.outcome.clean
        assert stage.link.stream.fileno() == -1
        assert stage.channel.finished(Outcome(Code.KICKED, "late", clean=True)) is False
        with pytest.raises(ConnectionClosed, match="broke"):
            stage.post(2)


@again
def test_closing_the_socket_under_senders(attempt: int) -> None:
    """Threads that send while the leader closes the socket get ConnectionClosed, and nothing else happens."""
    with bench(Bounds(unsent=10_000_000)) as stage:
        ended = []
        begun = threading.Barrier(5)

        def send() -> None:
            begun.wait(WAIT)
            try:
                while True:
                    stage.post(bytes(100), wait=False)
            except ConnectionClosed:
                ended.append(1)

        with Crew(WAIT) as crew:
            for _ in range(4):
                crew.start(send)
            begun.wait(WAIT)
            time.sleep(0.002 * (attempt % 3))
            stage.link.lost()
        assert ended == [1] * 4


# --- order ------------------------------------------------------------------------------------------------------


@again
def test_senders_of_one_link(attempt: int) -> None:
    """Eight threads on one link: each record opens, each thread's packets arrive in its order, none twice."""
    with bench(Bounds(unsent=100_000_000), buffer=SMALL * (1 + attempt % 3)) as stage:

        def send(name: int) -> None:
            for number in range(100):
                stage.post([name, number, bytes(100)], wait=False)

        with Crew() as crew:
            for name in range(8):
                crew.start(send, name)
            found = stage.read(800)
        for name in range(8):
            assert [number for who, number, _ in found if who == name] == list(range(100))
        assert stage.quiet()


# --- control records -------------------------------------------------------------------------------------------


def test_pings_are_answered() -> None:
    """A PING comes back as PONG, byte for byte."""
    with bench() as stage:
        stage.control(Content.PING, b"12345678")
        stage.turn()
        assert stage.items() == [Ponged(b"12345678")]
        stage.link.control(Content.PING, b"abcdefgh")
        assert stage.items() == [Pinged(b"abcdefgh")]


def test_a_peer_that_pings_without_reading() -> None:
    """Answers that nobody takes are not piled up."""
    with bench(buffer=SMALL) as stage:
        choked(stage)
        for _ in range(4 * MAX_CONTROLS):
            stage.link.control(Content.PONG, bytes(8))
        assert controls_of(stage.link.connection) == MAX_CONTROLS


def test_half_a_shutdown() -> None:
    """A peer that shuts its sending side without CLOSE has vanished; what it sent before is delivered."""
    with bench() as stage:
        stage.send("last")
        stage.sock.shutdown(socket.SHUT_WR)
        until(lambda: stage.link.gone, meanwhile=stage.turn)
        assert stage.channel.data == ["last"]
        assert stage.channel.ended


# --- after fork() ---------------------------------------------------------------------------------------------
#
# Hooks of fork() end every link of the child. Here none of them has run: each way to the keys has its own look.


def fork(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count a fork, as the hook in the child does."""
    for module in (reading, writing):
        monkeypatch.setattr(module, "forks", [forks() + 1])


@pytest.mark.pure
def test_a_lone_packet_is_not_sealed_in_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """The short way of a packet refuses: the counter of the key, which the parent has too, does not move."""
    with bench() as stage:
        fork(monkeypatch)
        assert not stage.link.writer.write_packet(encode_packet(Packet("x", 1)))
        assert stage.quiet()
        assert stage.channel.core.numbering.outgoing.sent == 0


@pytest.mark.pure
def test_what_is_queued_is_not_sealed_in_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """The general way refuses as well, and the session of the child ends with the reason."""
    with bench() as stage:
        fork(monkeypatch)
        stage.channel.core.sending.put(encode_packet(Packet("x", 1)))
        stage.link.writer.flush()
        assert stage.quiet()
        assert stage.channel.core.numbering.outgoing.sent == 0
        assert stage.channel.ended
        with pytest.raises(ConnectionClosed, match="fork"):
            stage.post(2)


@pytest.mark.pure
def test_nothing_is_opened_in_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """What arrives is the parent's: the child leaves it in the socket, and its session has ended."""
    with bench() as stage:
        stage.send("for the parent")
        fork(monkeypatch)
        stage.link.reader.read(stage.link)
        assert stage.channel.core.numbering.incoming.accepted == 0
        assert stage.channel.data == []
        assert stage.channel.ended
