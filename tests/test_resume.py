"""A session outlives its connections: nothing lost, nothing twice, and only its owner gets it."""

from __future__ import annotations

import pytest
from resuming import World

from securelink.codes import Code
from securelink.keys import Identity
from securelink.protocol import State
from securelink.protocol.records import Sealer
from securelink.wire.fields import Mode
from securelink.wire.packets import Packet, encode_packet

OFF, REQUIRED = Mode.OFF, Mode.REQUIRED
both_modes = pytest.mark.parametrize("mode", [REQUIRED, OFF])


@both_modes
def test_a_session_goes_on(mode: Mode, identity: Identity) -> None:
    """After a drop the same session goes on, with what either side said meanwhile, once and in order."""
    world = World(identity, mode)
    world.client.say("a")
    world.connect()
    held = world.held
    world.server.say(held, "A")
    world.settle()
    world.cut()
    world.client.say("b", "c")
    world.server.say(held, "B")
    world.connect()
    assert world.client.opened == [False, True]
    assert world.held is held
    world.client.say("d")
    world.server.say(held, "C")
    world.settle()
    assert held.handled == ["a", "b", "c", "d"]
    assert world.client.handled == [["A", "B", "C"]]
    world.pass_time(5.0)
    assert world.client.core.numbering.outgoing.kept == held.core.numbering.outgoing.kept == 0


@both_modes
def test_a_second_drop_without_traffic(mode: Mode, identity: Identity) -> None:
    """Drops one after the other, with nothing said in between: each is resumed, and nothing comes twice."""
    world = World(identity, mode)
    world.connect()
    held = world.held
    world.client.say("a")
    world.server.say(held, "A")
    world.settle()
    for _ in range(5):
        world.cut()
        world.connect()
    assert world.client.opened == [False, *[True] * 5]
    world.client.say("b")
    world.settle()
    assert (held.handled, world.client.handled) == (["a", "b"], [["A"]])


@both_modes
def test_a_drop_before_the_first_packet(mode: Mode, identity: Identity) -> None:
    """A session that has said nothing goes on as well."""
    world = World(identity, mode)
    world.connect()
    world.cut()
    world.connect()
    assert world.client.opened == [False, True]
    assert len(world.server.sessions) == 1


@both_modes
def test_faster_than_the_server_notices(mode: Mode, identity: Identity) -> None:
    """The server takes the old connection for alive: the new one takes over, and the old one's late end is nobody's."""
    world = World(identity, mode)
    world.connect()
    held = world.held
    world.cut(server_sees=False)
    world.client.say("a")
    world.server.say(held, "A")
    world.arrival.data_to_send()  # written into a connection that is dead
    world.connect()
    old = world.arrivals[0]
    assert old.engine.state is State.FAILED
    old.receive(b"", world.now)
    assert world.is_open
    assert held.core.connection is world.arrival.engine
    world.client.say("b")
    world.settle()
    assert (held.handled, world.client.handled) == (["a", "b"], [["A"]])


@both_modes
def test_what_comes_late_on_the_old_connection(mode: Mode, identity: Identity) -> None:
    """Records and a CLOSE that were on their way on the old connection are not looked at after the takeover."""
    world = World(identity, mode)
    world.connect()
    held = world.held
    engine = world.client.engine
    assert engine is not None
    world.client.say("a")
    late = world.client.data_to_send()
    engine.close(Code.NORMAL, now=0.0)
    late += world.client.data_to_send()
    world.connect()
    old = world.arrivals[0]
    assert old.engine.receive_data(late, world.now) == []
    assert old.engine.numbering.incoming.accepted == 0
    old.receive(b"", world.now)
    assert old.data_to_send() == b""
    assert held.handled == ["a"]
    assert world.is_open
    assert world.server.sessions == {held.token: held}
    world.server.say(held, "A")
    world.settle()
    assert world.client.handled == [["A"]]


@both_modes
def test_what_was_accepted_is_not_sent_again(mode: Mode, identity: Identity) -> None:
    """What the peer has in its inbox crosses the network once, though no acknowledgement came back."""
    world = World(identity, mode)
    world.connect()
    world.client.say("x" * 200)
    world.settle()
    assert world.client.core.numbering.outgoing.kept == 1
    world.cut()
    world.dial()
    world.client.say("y")
    world.collect()
    before = len(world.up)
    world.settle()
    assert world.held.handled == ["x" * 200, "y"]
    assert before
    assert not world.client.core.numbering.outgoing.again


@both_modes
def test_records_are_sent_again_unchanged(mode: Mode, identity: Identity) -> None:
    """The same bytes in the same records, before anything new, however much it is; and acknowledged in the end."""
    world = World(identity, mode)
    world.connect()
    held = world.held
    for number in range(300):
        world.client.core.sending.put(encode_packet(Packet(f"{number}", bytes(3000))))
    while world.client.core.sending.packets:
        world.client.data_to_send()  # sealed, and lost
    outgoing = world.client.core.numbering.outgoing
    kept = outgoing.unconfirmed
    world.client.say("new")
    world.cut()
    world.dial()
    until_welcome(world)
    assert outgoing.again[::-1] == kept
    world.settle()
    assert held.handled == [f"{number}" for number in range(300)] + ["new"]
    world.pass_time(3.0)
    assert (outgoing.kept, outgoing.unacked) == (0, 0)


def until_welcome(world: World) -> None:
    """Let things arrive until the client has WELCOME; what follows from it was not sent."""
    world.collect()
    while world.client.engine and world.client.engine.sender is None:
        up, world.up = world.up, b""
        world.arrival.receive(up, world.now)
        world.down += world.arrival.data_to_send()
        down, world.down = world.down, b""
        world.client.receive(down, world.now)
        if world.client.engine.sender is None:
            world.up += world.client.data_to_send()


def test_a_shell_that_forgets_to_send_again(identity: Identity) -> None:
    """New packets and CLOSE take what is to be sent again along: the order does not hang on the shell."""
    for last in ("packets", "close"):
        world = World(identity)
        world.connect()
        held = world.held
        world.client.say("a", "b")
        world.client.data_to_send()
        world.client.say("c")
        world.client.data_to_send()
        world.cut()
        world.dial()
        until_welcome(world)
        assert world.client.engine is not None
        outgoing = world.client.core.numbering.outgoing
        assert len(outgoing.again) == 2
        sender = world.client.engine.sender
        assert sender is not None
        if last == "packets":
            world.up += sender.packet(encode_packet(Packet("d")))
        else:
            world.up += sender.close(Code.NORMAL)
        assert not outgoing.again
        world.settle()
        assert held.handled == ["a", "b", "c", *(["d"] if last == "packets" else [])]
        assert world.arrival.failed is None


@both_modes
def test_many_records_before_a_drop(mode: Mode, identity: Identity) -> None:
    """A session that is old, and has missed nothing, is resumed like a young one."""
    world = World(identity, mode)
    world.connect()
    held = world.held
    for number in range(3000):
        world.client.say(f"{number}")
        world.server.say(held, f"{number}")
        world.settle()
    world.pass_time(5.0)
    world.cut()
    world.connect()
    world.client.say("end")
    world.settle()
    assert held.handled == [f"{number}" for number in range(3000)] + ["end"]
    assert world.client.handled == [[f"{number}" for number in range(3000)]]


def test_updated_keys_do_not_matter(identity: Identity) -> None:
    """However often the keys of a connection were replaced, the next one begins with fresh ones, at counter zero."""
    world = World(identity)
    world.connect()
    first = world.arrival.engine
    for _ in range(3):
        world.now += 2.0
        for core in (world.client.core, world.held.core):
            assert core.connection is not None
            assert core.connection.sender is not None
            sealer = core.connection.sender.records
            assert isinstance(sealer, Sealer)
            sealer.due = True
            core.sending.put(encode_packet(Packet("x")))
        world.settle()
    assert first.key_updates == 3
    world.cut()
    world.connect()
    assert world.client.opened == [False, True]
    world.client.say("y")
    world.settle()
    assert world.held.handled == ["x", "x", "x", "y"]
    assert world.arrival.engine.key_updates == 0


@both_modes
def test_acknowledgements_go_on(mode: Mode, identity: Identity) -> None:
    """An acknowledgement that was lost with its connection is made anew on the next one, by time or with a record."""
    for by_record in (True, False):
        world = World(identity, mode)
        world.connect()
        held = world.held
        world.client.say("a")
        world.settle()
        held.core.numbering.incoming.confirmed = 1  # said, and lost
        world.cut()
        world.connect()
        outgoing = world.client.core.numbering.outgoing
        assert outgoing.kept == 1
        if by_record:
            world.server.say(held, "A")
            world.settle()
        else:
            world.pass_time(3.0)
        assert outgoing.acknowledged == 1


class Story:
    """A handshake, packets, a resume, packets again, a large record: until so many bytes have crossed the network."""

    def __init__(self, identity: Identity, mode: Mode, budget: int) -> None:
        self.world = World(identity, mode)
        self.left = budget
        self.up: list[str] = []
        self.down: list[str] = []
        self._tell()

    def _tell(self) -> None:
        world = self.world
        self._say("a")
        world.dial()
        if not self._settle() or not world.client.opened:
            return
        self._answer("A", "B")
        self._say("b", "c")
        if not self._settle():
            return
        world.collect()
        self._say("d")
        world.client.data_to_send()
        world.cut(server_sees=False)
        self._say("e")
        self._answer("C")
        world.dial()
        if not self._settle():
            return
        self.up.append("large")
        world.client.core.sending.put(encode_packet(Packet("large", bytes(3000))))
        self._answer("D")
        self._settle()

    def _settle(self) -> bool:
        self.left = self.world.settle(self.left)
        return self.left > 0

    def _say(self, *names: str) -> None:
        self.up += names
        self.world.client.say(*names)

    def _answer(self, *names: str) -> None:
        self.down += names
        self.world.server.say(self.world.held, *names)

    def go_on(self) -> None:
        """The connection is lost there; another one brings what is missing."""
        self.world.cut(server_sees=False)
        self.world.connect()
        assert self.world.is_open

    def check(self) -> None:
        """All of it came, once and in order, and nobody was told of a loss."""
        handled = [name for held in self.world.server.sessions.values() for name in held.handled]
        assert handled == self.up
        assert [name for names in self.world.client.handled for name in names] == self.down
        assert self.world.client.lost == []


@both_modes
def test_a_cut_at_each_byte(mode: Mode, identity: Identity) -> None:
    """
    A handshake, a resume and a large record are cut after any number of bytes, both ways; the next attempt brings all
    that is missing, and the session that the client knows is never lost.
    """
    total = 10**9 - Story(identity, mode, 10**9).left
    # In plaintext at every byte; encrypted at some in each frame, for a handshake takes milliseconds.
    for budget in range(0, total + 1, 1 if mode == OFF else 61):
        story = Story(identity, mode, budget)
        began = bool(story.world.client.opened)
        story.go_on()
        story.check()
        assert story.world.client.opened[-1] is began


@pytest.mark.parametrize("first", [1500, 3000, 5000, 6200, 7000])
def test_two_cuts(first: int, identity: Identity) -> None:
    """What is cut while it is being resumed is cut again while that is being resumed."""
    for second in range(0, 4200, 173):
        story = Story(identity, REQUIRED, first)
        story.world.cut(server_sees=False)
        story.world.dial()
        story.world.settle(second)
        story.go_on()
        story.check()


def test_the_late_end_of_an_old_connection(identity: Identity) -> None:
    """`detach` says whether this connection carried the session: a late end starts no clock and ends nothing."""
    world = World(identity)
    world.connect()
    old = world.arrival.engine
    world.connect()
    core = world.held.core
    assert not core.detach(old)
    assert core.connection is world.arrival.engine
    assert core.detach(world.arrival.engine)
    assert not core.detach(world.arrival.engine)
    assert not core.detach()
