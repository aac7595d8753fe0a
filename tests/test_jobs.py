"""The queue of expensive work: bounded, and fair between addresses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from securelink.app.failure_budget import KNOWN, LATE, NEW
from securelink.threads.jobs import JobQueue, Task


def run_all(queue: JobQueue) -> None:
    """Do all jobs, one at a time."""
    while (task := queue.take()) is not None:
        task.run()
        queue.done(task)


def test_addresses_take_turns() -> None:
    """A flood of one address waits behind one job of each other address, not the other way round."""
    queue, done = JobQueue(100, 4), list[str]()
    for number in range(10):
        assert queue.put("flood", Task(partial(done.append, f"flood {number}")))
    for name in ("ada", "bob"):
        assert queue.put(name, Task(partial(done.append, name)))
    assert len(queue) == 12
    run_all(queue)
    assert done == ["flood 0", "ada", "bob", *(f"flood {number}" for number in range(1, 10))]
    assert len(queue) == 0


def test_a_full_queue_takes_no_more() -> None:
    """The bound is on all addresses together; a job that was taken makes room for one."""
    queue = JobQueue(2, 4)
    assert [queue.put(name, Task(lambda: None)) for name in ("ada", "bob", "eve")] == [
        True,
        True,
        False,
    ]
    assert queue.take() is not None
    assert queue.put("eve", Task(lambda: None))
    assert not queue.put("eve", Task(lambda: None))


def test_a_flood_does_not_fill_the_queue_for_others() -> None:
    """An address that has not failed yet and fills the queue gives way to one that has fewer jobs in it."""
    queue = JobQueue(10, 4)
    assert [queue.put("flood", Task(lambda: None)) for _ in range(12)] == [True] * 10 + [False] * 2
    assert queue.put("ada", Task(lambda: None))
    assert queue.put("bob", Task(lambda: None))
    assert len(queue) == 10
    assert not queue.put("flood", Task(lambda: None))
    assert [queue.put("ada", Task(lambda: None)) for _ in range(8)] == [True] * 3 + [False] * 5
    assert len(queue) == 10


def test_who_gives_way_is_told() -> None:
    """What was said for that case is to be called, once, after the lock; a job that is done is not told."""
    queue, told = JobQueue(2, 4), list[str]()
    for name in ("first", "second"):
        queue.put("flood", Task(lambda: None, partial(told.append, name)))
    assert queue.put("ada", Task(lambda: None))
    assert told == []
    for act in queue.displaced:
        act()
    assert told == ["second"]


def test_our_own_work_comes_first_and_never_gives_way() -> None:
    """What a client that did not get in had taken is given back, however many strangers ask for signatures."""
    queue = JobQueue(4, 4)
    done: list[str] = []
    for _number in range(4):
        assert queue.put("flood", Task(lambda: done.append("signature")))
    for number in range(10):
        queue.put_own(partial(done.append, f"given back {number}"))
        queue.put(f"10.0.0.{number}", Task(lambda: done.append("signature")))
    run_all(queue)
    assert done[:10] == [f"given back {number}" for number in range(10)]
    assert done[10:] == ["signature"] * 4
    assert len(queue) == 0


class Done(list[str]):
    """The names of jobs, in the order in which they ran."""

    def task(
        self, name: str, standing: Callable[[], int] = lambda: NEW, *, quick: bool = False
    ) -> Task:
        """A job that adds its name."""
        return Task(lambda: self.append(name), None, standing, quick)


def test_who_has_failed_waits_behind_others() -> None:
    """Many addresses that have failed cannot keep one waiting that has not, nor fill the queue against it."""
    queue, done = JobQueue(6, 4), Done()
    for number in range(6):
        assert queue.put(f"bad {number}", done.task("bad", lambda: LATE))
    assert not queue.put("bad 7", done.task("bad", lambda: LATE))
    assert queue.put("good", done.task("good"))
    assert len(queue) == 6
    run_all(queue)
    assert done == ["good", *["bad"] * 5]


def test_who_stands_better_comes_first() -> None:
    """Who was let in before, then who is new, then by failures; when it is full, the worst gives way to the better."""
    queue, done = JobQueue(6, 4), Done()
    for standing in (NEW + 1, KNOWN, LATE, NEW):
        for name in ("x", "y"):
            work = done.task(str(standing), partial(int, standing))
            queue.put(f"{name}{standing}", work)
    run_all(queue)
    assert done == [str(KNOWN)] * 2 + [str(NEW)] * 2 + [str(NEW + 1)] * 2


def test_a_standing_is_that_of_the_moment() -> None:
    """What was queued before its address had failed is late all the same: a flood has no head start."""
    queue, done = JobQueue(100, 4), Done()
    failures = [0]
    for _ in range(5):
        assert queue.put("flood", done.task("flood", lambda: NEW + failures[0]))
    queue.put("ada", done.task("ada"))
    queue.put("ada", done.task("ada"))
    first = queue.take()
    assert first is not None
    first.run()
    failures[0] += 1
    queue.done(first)
    run_all(queue)
    assert done == ["flood", "ada", "ada", *["flood"] * 4]


def test_late_jobs_have_few_places() -> None:
    """Addresses that have failed often have a quarter of the places, also when all is quiet."""
    queue, done = JobQueue(100, 8), Done()
    for number in range(8):
        queue.put(f"bad {number}", done.task("bad", lambda: LATE))
    taken = [queue.take() for _ in range(4)]
    assert [task is not None for task in taken] == [True, True, False, False]
    queue.put("ada", done.task("ada"))
    assert queue.take() is not None
    assert taken[0] is not None
    queue.done(taken[0])
    assert [queue.take() is not None for _ in range(2)] == [True, False]
    assert queue.busy == 3


def test_quick_and_slow_jobs_take_turns() -> None:
    """Who has only his hello to say does not wait for the passwords of forty others, nor the other way round."""
    queue, done = JobQueue(100, 1), Done()
    for number in range(5):
        queue.put(f"10.0.0.{number}", done.task("slow"))
    for number in range(3):
        queue.put(f"10.0.1.{number}", done.task("quick", quick=True))
    run_all(queue)
    assert done[:6] in (["quick", "slow"] * 3, ["slow", "quick"] * 3)
    assert done[6:] == ["slow", "slow"]
