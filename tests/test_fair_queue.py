"""Networks take turns, however much of each waits."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import msgspec
import pytest
from linked import ProbeChannel

from securelink.limits import TURN_SECONDS
from securelink.protocol import SessionCore
from securelink.protocol.bounds import Bounds
from securelink.protocol.receive_queue import ReceiveQueue
from securelink.threads.asking import Waiting
from securelink.threads.fair_queue import FairQueue
from securelink.threads.looking import looks_later
from securelink.threads.loop import Loop
from securelink.threads.requesting import expect


def drained(rotation: FairQueue[str]) -> Iterator[str]:
    """All that waits, in its order."""
    while rotation:
        yield rotation.pop()


def test_networks_take_turns() -> None:
    """One of each network in a round; within a network, and for what stands for itself, in the order of arrival."""
    rotation = FairQueue[str]()
    for item in ("a1", "a2", "a3", "b1", "own", "b2", "c1"):
        rotation.put(item, None if item == "own" else item[0])
    assert len(rotation) == 7
    assert list(drained(rotation)) == ["a1", "b1", "own", "c1", "a2", "b2", "a3"]
    with pytest.raises(KeyError):
        rotation.pop()


def test_each_is_there_once() -> None:
    """What waits already is not queued again."""
    rotation = FairQueue[str]()
    for _ in range(3):
        rotation.put("a1", "a")
    assert list(drained(rotation)) == ["a1"]


def test_who_comes_has_a_turn_in_this_round() -> None:
    """A network that comes is before those that had their turn, but has no second one before the others."""
    rotation = FairQueue[str]()
    for item in ("a1", "a2", "a3"):
        rotation.put(item, "a")
    assert rotation.pop() == "a1"
    rotation.put("b1", "b")
    assert rotation.pop() == "b1"
    rotation.put("b2", "b")
    rotation.put("a4", "a", had_turn=True)
    assert list(drained(rotation)) == ["a2", "b2", "a3", "a4"]


def test_who_always_has_more_keeps_nobody_out() -> None:
    """Two networks that put an item back at once get the same number of turns, whatever else they have."""
    for had_turn in (True, False):
        rotation = FairQueue[str]()
        for item in ("a1", "a2", "a3", "b1"):
            rotation.put(item, item[0])
        turns = []
        for _ in range(20):
            item = rotation.pop()
            turns.append(item[0])
            rotation.put(item, item[0], had_turn=had_turn)
        assert turns == ["a", "b"] * 10


class Busy:
    """An inbox of a network that takes longer than a turn, each time."""

    def __init__(self, name: str, network: str, ran: list[str], rounds: int) -> None:
        self.name = name
        self.network = network
        self._ran = ran
        self._rounds = rounds

    def run(self) -> bool:
        """True while there are rounds left."""
        self._ran.append(self.name)
        self._rounds -= 1
        time.sleep(1.5 * TURN_SECONDS)
        return self._rounds > 0


@pytest.mark.parametrize("rounds", [1, 3])
def test_many_sessions_of_a_network_delay_others_as_one_does(rounds: int) -> None:
    """Forty busy sessions of one network, whether they give way or come anew: another one has every other turn."""
    loop = Loop("test", manual=True)
    loop.start()
    ran: list[str] = []
    many = [Busy(f"a{number}", "a", ran, rounds) for number in range(40)]
    for busy in many:
        loop.schedule(busy)
    loop.turn()
    for _ in range(20):
        loop.schedule(Busy("b", "b", ran, 1))
        before = len(ran)
        while "b" not in ran[before:]:
            loop.turn()
        assert len(ran) - before <= 2
    while loop.ready.again or loop.ready.inboxes:
        loop.turn()
    loop.stop(lambda: None)
    mine = [name for name in ran if name != "b"]
    assert mine == [busy.name for busy in many] * rounds


def test_sessions_of_no_network_stand_for_themselves() -> None:
    """Those of this machine take turns one by one, in the order in which they came."""
    loop = Loop("test", manual=True)
    loop.start()
    ran: list[str] = []
    for name in "abc":
        busy = Busy(name, "", ran, 3)
        busy.network = None  # type: ignore[assignment]  # as an inbox of this machine has it
        loop.schedule(busy)
    for _ in range(9):
        loop.turn()
    loop.stop(lambda: None)
    assert ran == list("abc") * 3


class Reading:
    """A connection of which more has arrived than a turn takes."""

    def __init__(self, loop: Loop, name: str, network: str, ran: list[str]) -> None:
        self._loop = loop
        self.name = name
        self.network = network
        self._ran = ran

    def go_on(self) -> None:
        """One part; there is always more."""
        self._ran.append(self.name)
        time.sleep(1.5 * TURN_SECONDS)
        self._loop.make_unfinished(self, self.network)

    def on_error(self) -> None:
        """Nothing."""


def test_connections_that_are_read_in_parts_take_turns_by_network() -> None:
    """Of forty connections of one network and one of another each network is read in every other turn."""
    loop = Loop("test", manual=True)
    loop.start()
    ran: list[str] = []
    for number in range(40):
        loop.make_unfinished(Reading(loop, f"a{number}", "a", ran), "a")
    loop.make_unfinished(Reading(loop, "b", "b", ran), "b")
    for _ in range(20):
        loop.turn()
    loop.stop(lambda: None)
    assert all("b" in pair for pair in itertools.pairwise(ran))
    assert ran.count("b") >= 9


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8:1:100::%d"])
def test_looks_of_a_network_delay_others_as_one_does(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty sessions of one network whose records are looked into for a reply: another one has every other step."""
    loop = Loop("test", manual=True)
    loop.look_later = looks_later(loop.make_unfinished)
    loop.start()
    looked: list[ReceiveQueue] = []
    look_on = ReceiveQueue.look_on

    def seen(queue: ReceiveQueue) -> bool:
        looked.append(queue)
        return look_on(queue)

    monkeypatch.setattr(ReceiveQueue, "look_on", seen)
    monkeypatch.setattr("securelink.threads.looking.STEP_SECONDS", 0.0)  # one step in each turn

    def looks(address: str) -> ReceiveQueue:
        channel = ProbeChannel(loop, SessionCore(Bounds(inbox_records=10_000)))
        channel.inbox.stands_for(address)
        number = expect(channel, Waiting())
        channel.core.receiving.deliver(
            msgspec.msgpack.encode([["a", [{}] * 30_000, None, 0.0, None, number]])
        )
        return channel.core.receiving

    for number in range(40):
        looks(host % number if "%" in host else host)
    honest = looks("198.51.100.7")
    while honest.held_in_steps:
        loop.turn()
    loop.stop(lambda: None)
    mine = looked.count(honest)
    assert mine >= 3
    # Of the others: the first of each, and then one after one of its own.
    assert len(looked) <= 2 * mine + 80
