"""Packets that wait: which of them are replaced or dropped, and that all others keep their order."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from helpers import failure
from inside import bytes_below
from storm import interrupted, points

from securelink import Client, ConfigError, Identity, Server
from securelink.app.policies import Policies
from securelink.limits import SEND_SECONDS
from securelink.protocol.acknowledgements import Outgoing
from securelink.protocol.bounds import FULL, Bounds
from securelink.protocol.durable import DurableOutgoing, DurableSendQueue
from securelink.protocol.send_queue import Loose, SendQueue

ROOM = Bounds(unsent=10_000, unacked=10_000)


def packet(number: int, size: int = 100) -> bytes:
    """It is never empty, and tells its number."""
    return number.to_bytes(4) + bytes(size - 4)


def numbers(packets: list[bytes]) -> list[int]:
    """Of packets."""
    return [int.from_bytes(one[:4]) for one in packets]


def queue_of(outgoing: Outgoing | None = None, bounds: Bounds = ROOM) -> SendQueue:
    """An empty one."""
    return SendQueue(bounds, outgoing or Outgoing(), nullcontext())


def sent(queue: SendQueue, outgoing: Outgoing, budget: int = 1 << 20) -> list[int]:
    """What goes into the next record."""
    taken = queue.take(budget)
    if taken:
        outgoing.keep(b"".join(taken), len(taken))
    queue.trim()
    return numbers(taken)


# --- the oldest ---------------------------------------------------------------------------------------------


def test_the_oldest_make_room() -> None:
    """As many as it takes, of those with the key, from the oldest on; what else waits stays where it is."""
    outgoing = Outgoing()
    queue = queue_of(outgoing)
    for number in range(99):
        queue.put(packet(number), Loose("a") if number % 3 else None)
    assert queue.is_crowded(300)
    assert queue.make_room(300, "a") == 3
    assert not queue.is_crowded(300)
    queue.put(packet(99, 300), Loose("a"))
    assert numbers(queue.waiting) == [n for n in range(100) if n not in (1, 2, 4)]
    assert sent(queue, outgoing) == [n for n in range(100) if n not in (1, 2, 4)]
    assert (queue.size, len(queue.packets)) == (0, 0)


def test_nothing_is_dropped_in_vain() -> None:
    """Where all of them would not make room, all stay; so do those of other keys, and those without one."""
    queue = queue_of()
    for number in range(10):
        queue.put(packet(number), Loose("a"))
        queue.put(packet(number), Loose("b"))
    queue.put(packet(10, 7990))
    assert queue.make_room(1200, "a") is None
    assert queue.make_room(100, "c") is None
    assert len(queue.waiting) == 21
    assert queue.make_room(800, "a") == 9


def test_the_largest_packet_has_room_when_all_are_gone() -> None:
    """A packet above the bound fits into an empty session, so all go for it, but none when another stays."""
    queue = queue_of()
    queue.put(packet(0), Loose("a"))
    assert queue.make_room(50_000, "a") == 1
    queue.put(packet(1))
    queue.put(packet(2), Loose("a"))
    assert queue.make_room(50_000, "a") is None


def test_what_is_in_a_record_is_not_dropped() -> None:
    """Only those that wait: the rest is on its way, also when the record could not be written."""
    outgoing = Outgoing()
    queue = queue_of(outgoing)
    for number in range(100):
        queue.put(packet(number), Loose("a"))
    taken = queue.take(300)  # and the writer comes no further
    assert queue.make_room(200, "a") == 3
    assert numbers(queue.waiting)[:5] == [0, 1, 2, 6, 7]
    assert queue.take(300) == taken
    outgoing.keep(b"".join(taken), len(taken))
    assert numbers(queue.waiting)[:3] == [6, 7, 8]


def test_what_the_peer_does_not_handle_keeps_what_waits_from_growing() -> None:
    """Beyond `unacked` dropping makes no room; a later packet may take the place of earlier ones all the same."""
    outgoing = Outgoing()
    queue = queue_of(outgoing)
    outgoing.keep(bytes(10_000))
    assert queue.make_room(100, "a") is None
    for number in range(5):
        queue.put(packet(number), Loose("a"))
    before = queue.size
    assert queue.make_room(99, "a") == 1
    queue.put(packet(5), Loose("a"))
    assert queue.size == before
    assert numbers(queue.waiting) == [1, 2, 3, 4, 5]


def test_what_is_gone_takes_no_memory() -> None:
    """A million packets behind one that cannot leave: the queue holds what has room, and little more."""
    queue = queue_of()
    queue.put(packet(0))
    for number in range(1, 100_000):
        if queue.is_crowded(100):
            assert queue.make_room(100, "a")
        queue.put(packet(number), Loose("a"))
        assert len(queue.packets) < 300
        assert queue.size <= 10_000
    assert numbers(queue.waiting)[0] == 0
    assert numbers(queue.waiting)[1:] == list(range(100_000 - len(queue.waiting) + 1, 100_000))


def test_only_what_is_gone() -> None:
    """A queue in which nothing else is left is empty for a writer, and then it is empty."""
    outgoing = Outgoing()
    queue = queue_of(outgoing)
    queue.put(packet(0), Loose("a"))
    assert queue.make_room(10_000, "a") == 1
    assert sent(queue, outgoing) == []
    assert not queue.packets
    queue.put(packet(1))
    assert sent(queue, outgoing) == [1]


def test_replaced_ones_are_counted() -> None:
    """Each packet that a later one has replaced, those too that are held back."""
    queue = queue_of()
    for number in range(4):
        queue.put(packet(number), "at")
    queue.hold_back()
    for number in range(4):
        queue.put_held(packet(number), "held")
        queue.put_held(packet(number), Loose("loose"))
    assert queue.replaced == 6
    queue.release()
    assert numbers(queue.waiting) == [3, 3, 0, 1, 2, 3]
    assert queue.make_room(10_000, "loose") is None  # what was held back stays


def test_keys_leave_nothing_behind() -> None:
    """However many there are: what was dropped or sent is forgotten with its key."""
    outgoing = Outgoing()
    queue = queue_of(outgoing, Bounds(unsent=100))
    for number in range(1000):
        queue.put(packet(number), Loose(f"{number}"))
        assert queue.make_room(100, f"{number}") == 1
    queue.put(packet(1000), Loose("sent"))
    assert sent(queue, outgoing) == [1000]
    assert bytes_below(queue).count(b"9") < 5


@pytest.mark.pure
@pytest.mark.cost
@pytest.mark.parametrize("kind", [SendQueue, DurableSendQueue])
def test_interrupted(kind: type[SendQueue]) -> None:
    """Wherever Ctrl-C comes, nothing is lost that may not be, nothing comes twice, and the size is right."""
    for at in points():
        outgoing = DurableOutgoing() if kind is DurableSendQueue else Outgoing()
        queue = kind(Bounds(unsent=9000), outgoing, nullcontext())
        for number in range(70):
            queue.put(packet(number), None if number % 10 == 0 else Loose("a"))

        def act(queue: SendQueue = queue, outgoing: Outgoing = outgoing) -> None:
            for size in (8600, 300):  # the first makes the queue anew
                queue.make_room(size, "a")
            queue.put(packet(70), Loose("a"))
            sent(queue, outgoing, 500)
            queue.make_room(9000, "a")

        storm = interrupted(at, act)
        queue.trim()
        waiting = numbers(queue.waiting)
        with_key = [number for number in waiting if number % 10 or number == 70]
        assert queue.size == 100 * len(waiting) + len(with_key)
        sent(queue, outgoing)
        assert queue.size == len(queue.packets) == 0
        records = b"".join(outgoing.unconfirmed)
        went = numbers([records[begin:] for begin in range(0, len(records), 100)])
        assert went == sorted(set(went))
        assert {*range(0, 70, 10)} <= set(went)
        if not storm.where:
            break


class Model:
    """What a queue must do, in the simplest way: a list of [number, kind, key]."""

    def __init__(self) -> None:
        self.entries: list[list[Any]] = []

    def put(self, number: int, kind: str, key: str) -> None:
        """As the queue."""
        for entry in self.entries:
            if kind == "latest" and entry[1:] == ["latest", key]:
                entry[0] = number
                return
        self.entries.append([number, kind, key])

    def drop(self, key: str, count: int) -> None:
        """The oldest of them."""
        for _ in range(count):
            self.entries.remove(next(e for e in self.entries if e[1:] == ["loose", key]))

    def take(self, count: int) -> list[int]:
        """The first."""
        taken, self.entries = self.entries[:count], self.entries[count:]
        return [number for number, *_ in taken]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("kind", [SendQueue, DurableSendQueue])
def test_any_order_of_events(kind: type[SendQueue], seed: int) -> None:
    """Whatever is put, replaced, dropped and sent: the others leave once, in order, and a store has what waits."""
    dice = random.Random(seed)
    outgoing = DurableOutgoing() if kind is DurableSendQueue else Outgoing()
    bounds = Bounds(unsent=2000, unacked=1 << 40)
    queue, model = kind(bounds, outgoing, nullcontext()), Model()
    store: dict[int, bytes] = {}
    for number in range(3000):
        event, key = dice.random(), dice.choice("ab")
        if event < 0.8:
            how = dice.choice(["plain", "latest", "loose", "loose", "loose"])
            if how == "loose" and queue.is_crowded(50):
                dropped = queue.make_room(50, key)
                if dropped is None:
                    continue
                model.drop(key, dropped)
            mark = {"plain": None, "latest": key, "loose": Loose(key)}[how]
            queue.put(packet(number, 50), mark)
            model.put(number, how, key)
        elif event < 0.9:
            found = sent(queue, outgoing, dice.randrange(1, 3000))
            assert found == model.take(len(found))
        elif isinstance(queue, DurableSendQueue):
            rows, below = queue.changed()
            store.update(rows)
            for old in [n for n in store if n < below]:
                del store[old]
            _restores(queue, store, model, outgoing)
        assert numbers(queue.waiting) == [entry[0] for entry in model.entries]
        assert queue.size == sum(50 + len(k if h != "plain" else "") for _, h, k in model.entries)
    assert sent(queue, outgoing) == [entry[0] for entry in model.entries]


def _restores(
    queue: DurableSendQueue, store: dict[int, bytes], model: Model, outgoing: Outgoing
) -> None:
    """Another process finds what waits, in order; of what was dropped it may find some, and no other packet."""
    left = [store[number] for number in sorted(store) if number >= outgoing.queued]
    assert sorted(n for n in store if n >= outgoing.queued) == list(
        range(outgoing.queued, outgoing.queued + len(left))
    )
    begun = DurableOutgoing()
    begun.restore(outgoing.sent, outgoing.queued, [])
    again = DurableSendQueue(queue.bounds, begun, nullcontext())
    again.restore(left)
    found = iter(numbers(again.waiting))
    for number, *_ in model.entries:
        assert number in found  # in this order
    again.put(packet(1 << 20))
    assert sent(again, begun)[-1] == 1 << 20
    assert not again.packets


# --- policies -----------------------------------------------------------------------------------------------


def test_what_a_call_says_goes_first() -> None:
    """Then comes the policy of the action, then the usual way."""
    policies = Policies()
    policies.set("at", "latest", lambda data: str(data["who"]), SEND_SECONDS)
    policies.set("order", "wait", None, 2.0)
    policies.set("spark", "oldest", None, None)
    way = policies.way
    assert way("at", {"who": "x"}, None, None, SEND_SECONDS) == ("x", "latest", SEND_SECONDS)
    assert way("at", {"who": "x"}, "y", None, SEND_SECONDS) == ("y", "latest", SEND_SECONDS)
    assert way("at", {"who": "x"}, None, "drop", 1.0) == ("x", "drop", 1.0)
    assert way("at", {"who": "x"}, None, "wait", 1.0) == ("x", None, 1.0)
    assert way("order", 1, None, None, SEND_SECONDS) == (None, None, 2.0)
    assert way("order", 1, None, None, 9.0) == (None, None, 9.0)
    assert way("spark", 1, None, None, SEND_SECONDS) == ("spark", "oldest", None)
    assert way("other", 1, None, "latest", 1.0) == ("other", "latest", 1.0)
    policies.set("at", None, None, SEND_SECONDS)
    assert way("at", {}, None, None, SEND_SECONDS) == (None, None, SEND_SECONDS)


@pytest.mark.parametrize(
    "call",
    [
        *(lambda side, full=full: side.policy("x", full) for full in ("later", "", 5, True)),
        *(
            lambda side, name=name: side.policy(name, "drop")
            for name in ("", "~state", "x" * 256, 5)
        ),
        lambda side: side.policy("x", "latest", key="x"),
        lambda side: side.policy("x", "latest", key=lambda: "x"),
        lambda side: side.policy("x", "wait", timeout="1"),
    ],
)
@pytest.mark.parametrize("ours", [True, False])
def test_impossible_policies(identity: Identity, ours: bool, call: Callable[[Any], None]) -> None:
    """They are refused when they are made, by both sides."""
    side = Server("127.0.0.1", 0, keys=identity) if ours else Client("127.0.0.1", 5050)
    assert failure(ConfigError, lambda: call(side), "").message


def test_a_key_is_looked_at(identity: Identity) -> None:
    """When a packet needs it; it is a text."""
    server = Server("127.0.0.1", 0, keys=identity)
    for full in FULL:
        server.policy("x", full, key=lambda data: data)
        failure(ConfigError, lambda: server.broadcast("x", 5), "key=5")
        assert server.broadcast("x", "five") == 0


def test_bounds_are_options(identity: Identity) -> None:
    """They hold for sessions; where nobody waits the hard ones follow, with room for the largest packets."""
    server = Server("127.0.0.1", 0, keys=identity, max_unsent=1 << 20, max_unacked=1 << 24)
    limits = server.limits()
    assert (limits["max_unsent"].most, limits["max_unacked"].most) == (1 << 20, 1 << 24)
    bounds = Bounds.of_options(max_unsent=1000, max_unacked=10_000, max_packet=5000)
    assert (bounds.unsent, bounds.hard_unsent) == (1000, 16_000)
    assert (bounds.unacked, bounds.hard_unacked) == (10_000, 40_000)
    bounds = Bounds.of_options(max_unsent=1, max_unacked=1, max_packet=5000)
    assert (bounds.hard_unsent, bounds.hard_unacked) == (10_000, 10_000)
    usual = Bounds()
    given = Bounds.of_options(
        max_unsent=usual.unsent, max_unacked=usual.unacked, max_packet=2 * 1024 * 1024
    )
    assert given == usual
