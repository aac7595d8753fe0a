"""The queue of expensive work: bounded, and fair between addresses."""

from __future__ import annotations

from securelink.threads.jobs import JobQueue


def test_addresses_take_turns() -> None:
    """A flood of one address waits behind one job of each other address, not the other way round."""
    queue, done = JobQueue(100), []
    for number in range(10):
        assert queue.put("flood", lambda number=number: done.append(f"flood {number}"))  # type: ignore[misc]
    for name in ("ada", "bob"):
        assert queue.put(name, lambda name=name: done.append(name))  # type: ignore[misc]
    assert len(queue) == 12
    while (job := queue.take()) is not None:
        job()
    assert done == ["flood 0", "ada", "bob", *(f"flood {number}" for number in range(1, 10))]
    assert len(queue) == 0


def test_a_full_queue_takes_no_more() -> None:
    """The bound is on all addresses together; a job that was taken makes room for one."""
    queue = JobQueue(2)
    assert [queue.put(name, lambda: None) for name in ("ada", "bob", "eve")] == [True, True, False]
    assert queue.take() is not None
    assert queue.put("eve", lambda: None)
    assert not queue.put("eve", lambda: None)


def test_a_flood_does_not_fill_the_queue_for_others() -> None:
    """An address that has not failed yet and fills the queue gives way to one that has fewer jobs in it."""
    queue = JobQueue(10)
    assert [queue.put("flood", lambda: None) for _ in range(12)] == [True] * 10 + [False] * 2
    assert queue.put("ada", lambda: None)
    assert queue.put("bob", lambda: None)
    assert len(queue) == 10
    assert not queue.put("flood", lambda: None)
    assert [queue.put("ada", lambda: None) for _ in range(8)] == [True] * 3 + [False] * 5
    assert len(queue) == 10


def test_who_gives_way_is_told() -> None:
    """What was said for that case is to be called, once, after the lock; a job that is done is not told."""
    queue, told = JobQueue(2), list[str]()
    for name in ("first", "second"):
        queue.put("flood", lambda: None, displaced=lambda name=name: told.append(name))  # type: ignore[misc]
    assert queue.put("ada", lambda: None)
    assert told == []
    for act in queue.displaced:
        act()
    assert told == ["second"]


def test_our_own_work_comes_first_and_never_gives_way() -> None:
    """What a client that did not get in had taken is given back, however many strangers ask for signatures."""
    queue = JobQueue(4)
    done: list[str] = []
    for _number in range(4):
        assert queue.put("flood", lambda: done.append("signature"))
    for number in range(10):
        queue.put_own(lambda number=number: done.append(f"given back {number}"))  # type: ignore[misc]
        queue.put(f"10.0.0.{number}", lambda: done.append("signature"))
    while (job := queue.take()) is not None:
        job()
    assert done[:10] == [f"given back {number}" for number in range(10)]
    assert done[10:] == ["signature"] * 4
    assert len(queue) == 0
