"""A session as threads use it goes on without a connection: what is kept, what ends it, what another link finds."""

from __future__ import annotations

from typing import Any

import pytest
from engines import Pair
from helpers import WAIT
from linked import Bench, ProbeLink, bench

from securelink.codes import Code
from securelink.errors import ConnectionClosed, LinkTimeout
from securelink.protocol.bounds import Bounds
from securelink.streams.memory import memory_pair
from securelink.threads.asking import Waiting
from securelink.threads.requesting import expect
from securelink.wire.fields import Mode
from securelink.wire.packets import Packet, decode_packets, encode_packet


class Keeper:
    """Keeps what it is told, and writes down the rest."""

    def __init__(self) -> None:
        self.willing = True
        self.said: list[Any] = []

    def keeps(self, channel: Any, link: Any) -> bool:
        """Whether it goes on."""
        return self.willing

    def suspended(self, channel: Any) -> None:
        """It goes on."""
        self.said.append("suspended")

    def see_to(self, channel: Any) -> None:
        """Nobody comes."""

    def end(self, channel: Any, code: int, text: str) -> None:
        """It is to end."""
        self.said.append((code, text))


def kept(stage: Bench) -> Keeper:
    """From now on the session of this bench goes on without its connection."""
    keeper = Keeper()
    stage.channel.keeper = keeper
    return keeper


def cut(stage: Bench) -> None:
    """The connection breaks."""
    stage.sock.close()
    stage.turn()
    assert stage.link.gone


def test_a_lost_connection_suspends_the_session() -> None:
    """It is not over: what had come is handled, what is sent waits, and nothing of the old link touches it."""
    with bench() as stage:
        keeper = kept(stage)
        stage.send(1, 2)
        cut(stage)
        channel = stage.channel
        assert (channel.is_suspended, channel.ended, channel.connected) == (True, False, False)
        assert not channel.is_over()
        assert channel.data == [1, 2]
        assert keeper.said == ["suspended"]
        stage.post("later")
        stage.link.writer.flush()
        stage.link.lost()
        assert len(channel.core.sending.packets) == 1
        assert stage.link.channel is None
        assert keeper.said == ["suspended"]


def test_a_session_that_nobody_keeps_ends() -> None:
    """Without a keeper, or if that does not want it, a lost connection is the end."""
    for willing in (None, False):
        with bench() as stage:
            if willing is not None:
                kept(stage).willing = willing
            cut(stage)
            assert stage.channel.ended
            assert stage.outcome.code == Code.BROKEN
            with pytest.raises(ConnectionClosed):
                stage.post("late")


@pytest.mark.parametrize("ours", [True, False])
def test_a_farewell_is_the_end(ours: bool) -> None:
    """A session of which either side has said CLOSE is not suspended, though its connection breaks afterwards."""
    with bench() as stage:
        keeper = kept(stage)
        if ours:
            stage.channel.end(Code.KICKED, "out")
        else:
            assert stage.peer.sender is not None
            stage.sock.sendall(stage.peer.sender.close(Code.NORMAL))
        stage.turn()
        cut(stage)
        assert stage.channel.ended
        assert stage.outcome.code == (Code.KICKED if ours else Code.NORMAL)
        assert keeper.said == []


def test_a_farewell_for_silence_is_not() -> None:
    """A peer that heard nothing gives the connection up, and not the session."""
    with bench() as stage:
        keeper = kept(stage)
        assert stage.peer.sender is not None
        stage.sock.sendall(stage.peer.sender.close(Code.SILENT))
        stage.turn()
        assert stage.channel.is_suspended
        assert stage.link.gone
        assert keeper.said == ["suspended"]


def test_what_came_with_the_last_word_is_handled() -> None:
    """A packet, and in the same read the end of the connection: it does not wait until the client is back."""
    with bench() as stage:
        keeper = kept(stage)
        sender = stage.peer.sender
        assert sender is not None
        packet = sender.packets([encode_packet(Packet("x", 1))])
        stage.sock.sendall(packet + sender.close(Code.SILENT))
        stage.turn()
        assert stage.channel.is_suspended
        stage.turn()
        assert stage.channel.data == [1]
        assert keeper.said == ["suspended"]


def test_ending_what_is_suspended_is_the_keeper_s() -> None:
    """There is no link to say CLOSE over; from then on nothing is sent or handled."""
    with bench() as stage:
        keeper = kept(stage)
        cut(stage)
        stage.channel.end(Code.KICKED, "out")
        assert keeper.said == ["suspended", (Code.KICKED, "out")]
        with pytest.raises(ConnectionClosed):
            stage.post("late")


def test_a_writer_waits_for_room_though_nothing_carries_the_session() -> None:
    """Outside of handlers a send above the bound waits, but never longer than its timeout."""
    with bench(Bounds(unsent=10_000)) as stage:
        kept(stage)
        cut(stage)
        stage.channel.inside_handler = lambda: False  # type: ignore[method-assign]  # a manual loop is one big handler
        stage.post(bytes(8_000))
        with pytest.raises(LinkTimeout):
            stage.post(bytes(8_000), timeout=0.05)
        stage.channel.inside_handler = lambda: True  # type: ignore[method-assign]
        stage.post(bytes(8_000))
        assert len(stage.channel.core.sending.packets) == 2


def test_too_much_for_a_peer_that_is_away_ends_the_session() -> None:
    """In handlers nothing waits, so a hard bound decides."""
    with bench(Bounds(unsent=5_000, hard_unsent=10_000)) as stage:
        keeper = kept(stage)
        cut(stage)
        stage.post(bytes(20_000))
        assert keeper.said[-1] == (Code.TOO_SLOW, "")


def test_another_link_carries_it() -> None:
    """What was sent meanwhile goes over it, and PINGs that nobody answered go again."""
    with bench() as stage:
        kept(stage)
        waiting = Waiting()
        number = expect(stage.channel, waiting, pong=True)
        cut(stage)
        stage.post("later")
        pair = Pair(None, client_mode=Mode.OFF, server_mode=Mode.OFF)
        core = stage.channel.core
        stage.channel.core.attach(pair.server)
        assert pair.run().is_open
        far, near = memory_pair(1 << 20)
        link = ProbeLink(stage.loop, near, pair.server)
        assert stage.channel.go_on(link, lambda: True)
        link.writer.flush()
        assert stage.channel.connected
        records = [
            item
            for item in pair.client.receive_data(far.recv(1 << 20), 0.0)
            if isinstance(item, bytes | memoryview)
        ]
        assert [packet.data for record in records for packet in decode_packets(record)] == ["later"]
        far.send(pair.client.data_to_send())  # the PONG
        link.reader.read(link)
        assert waiting.event.wait(WAIT)
        assert core.requests.forget(-number)
        link.lost()


def test_a_session_that_is_being_ended_does_not_go_on() -> None:
    """A kick that comes first wins."""
    with bench() as stage:
        kept(stage)
        cut(stage)
        stage.channel.end(Code.KICKED)
        assert not stage.channel.go_on(stage.link, lambda: pytest.fail("asked though it ends"))
