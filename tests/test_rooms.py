"""Rooms and rolls: who is in them, and what it costs to come and to go."""

from __future__ import annotations

import threading
import time
import uuid
from typing import Any

import pytest
from together import REPEATS

from securelink.app.roll import Roll
from securelink.app.rooms import Group, Rooms


class Guest:
    """A session, as far as rooms know it."""

    def __init__(self) -> None:
        self.token = str(uuid.uuid4())
        self.ended = False


def rooms() -> Rooms[Guest]:
    """Rooms of a server that sends nothing."""

    def broadcast(*_: Any, **__: Any) -> int:
        return 0

    return Rooms(broadcast, None, Group)


def cost(guests: int) -> float:
    """Seconds of the processor that each of so many guests of forty rooms takes to leave them."""
    place = rooms()
    came = [Guest() for _ in range(guests)]
    for guest in came:
        for number in range(40):
            place.join(guest, str(number))
    before = time.thread_time()  # others may use the processor meanwhile
    for guest in came:
        assert len(place.leave_all(guest)) == 40
    assert place.names() == []
    return (time.thread_time() - before) / guests


@pytest.mark.cost
def test_many_who_leave_cost_each_what_one_costs() -> None:
    """When all members of large rooms leave, nobody's leaving takes longer than that of a few."""
    few, many = min(cost(50) for _ in range(5)), min(cost(2000) for _ in range(2))
    assert many < 8 * few  # some forty times as much, when each leaving looks at all who stay


def test_a_room_is_known_by_its_name() -> None:
    """Who has a room before anybody is in it sees who comes; the order is that of joining."""
    place, guests = rooms(), [Guest() for _ in range(3)]
    early = place.get("red")
    assert (early.members, len(early)) == ((), 0)
    for guest in guests:
        assert place.join(guest, "red") is place.get("red")
    assert early.members == tuple(guests)
    assert early.members is early.members  # not made anew for each sender
    assert place.leave(guests[1], "red")
    assert not place.leave(guests[1], "red")
    assert not place.leave(guests[1], "blue")
    assert early.members == (guests[0], guests[2])
    assert place.join(guests[1], "red").members == (guests[0], guests[2], guests[1])


def test_a_roll_that_changes_while_somebody_looks() -> None:
    """Whoever looks when nobody comes or goes any more sees exactly those who are there."""
    for _ in range(REPEATS):
        roll: Roll[Guest] = Roll()
        stay, go = [Guest() for _ in range(300)], [Guest() for _ in range(300)]
        done = threading.Event()

        def look(roll: Roll[Guest] = roll, done: threading.Event = done) -> None:
            while not done.is_set():
                for guest in roll.everybody():
                    assert guest.token

        watcher = threading.Thread(target=look)
        watcher.start()
        for one, other in zip(stay, go, strict=True):
            roll.add(other)
            roll.add(one)
        for other in go:
            assert roll.remove(other)
            assert other not in roll.everybody()
        done.set()
        watcher.join()
        assert roll.everybody() == tuple(stay)
        assert len(roll) == 300
        roll.clear()
        assert roll.everybody() == ()
