"""The queue of expensive work: bounded, and fair between addresses."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import NamedTuple

from ..app.failure_budget import LATE, NEW

Job = Callable[[], None]


def _new() -> int:
    return NEW


class Task(NamedTuple):
    """
    A job that waits.

    Attributes:
        run: What to do.
        displaced: What to call if it gives way to others; or None.
        standing: How its address stands, whenever it is asked, from 0, the best, to `LATE`. It must take no lock.
        quick: Whether it takes milliseconds.
        late: Whether it was taken as one of an address that has failed often.
    """

    run: Job
    displaced: Job | None = None
    standing: Callable[[], int] = _new
    quick: bool = False
    late: bool = False


_Turns = OrderedDict[str, deque[Task]]


class JobQueue:
    """
    Jobs that wait for a pool thread. Addresses take turns, so a flood from one delays only that one.

    Addresses that stand better come first, as they stand when their turn comes: who was let in before, then who is
    new, then who has failed. Of two that stand alike quick work (a signature) and slow work (a password) take
    turns, so nobody waits for the passwords of others to say his own. The tasks of addresses that have failed often
    are late: they have a quarter of the places, and give way when the queue is full. So not even many such
    addresses keep out one that has not failed. When there are none, whoever has most jobs gives way to an address
    that has fewer.

    Not locked: the pool's lock guards it.

    Args:
        limit: Jobs that may wait.
        places: Jobs that may run at the same time.

    Attributes:
        places: As above.
        busy: Jobs that run.
        displaced: Of jobs that have given way: what to call, after the lock.
    """

    __slots__ = (
        "_late", "_limit", "_order", "_own", "_quick", "_size", "_slow", "busy", "displaced", "places",
    )  # fmt: skip

    def __init__(self, limit: int, places: int) -> None:
        self.places = places
        self.busy = 0
        self._late = 0  # of those that run
        self._limit = limit
        self._size = 0
        # By standing.
        self._quick: list[_Turns] = [OrderedDict() for _ in range(LATE + 1)]
        self._slow: list[_Turns] = [OrderedDict() for _ in range(LATE + 1)]
        self._order = (self._quick, self._slow)  # whose turn it is
        self.displaced: list[Job] = []
        self._own: deque[Job] = deque()

    def __len__(self) -> int:
        return self._size + len(self._own)

    @property
    def wanted(self) -> int:
        """How many threads there is work for."""
        return min(len(self), self.places - self.busy)

    def put_own(self, job: Job) -> None:
        """Queue work of our own: no stranger asked for it, so it comes first, and never gives way."""
        self._own.append(job)

    def put(self, key: str, task: Task) -> bool:
        """Queue a job of an address; False when the queue is full."""
        standing = task.standing()
        if self._size >= self._limit and not self._make_room(key, standing):
            return False
        self._size += 1
        turns = (self._quick if task.quick else self._slow)[standing]
        turns.setdefault(key, deque()).append(task)
        return True

    def take(self) -> Task | None:
        """The next job, to be given to `done` afterwards. None when there is none, or no place for it."""
        if self.busy >= self.places:
            return None
        if self._own:
            self.busy += 1
            return Task(self._own.popleft())
        if not self._size:
            return None
        for standing in range(LATE + 1):
            if not (self._quick[standing] or self._slow[standing]):
                continue
            if standing == LATE and self._late >= max(1, self.places // 4):
                return None
            first, second = self._order
            for lanes, others in ((first, second), (second, first)):
                task = self._next(lanes, standing) if lanes[standing] else None
                if task is not None:
                    self._order = (others, lanes)
                    return task
        return None

    def done(self, task: Task) -> None:
        """A job that was taken has run."""
        self.busy -= 1
        self._late -= task.late

    def _next(self, lanes: list[_Turns], standing: int) -> Task | None:
        """The job of the address that has waited longest for its turn, of those that stand so."""
        turns = lanes[standing]
        while turns:
            key, jobs = turns.popitem(last=False)
            task = jobs.popleft()
            if jobs:
                turns[key] = jobs
            now = task.standing()
            if now <= standing:
                self._size -= 1
                self.busy += 1
                self._late += standing == LATE
                return task._replace(late=True) if standing == LATE else task
            lanes[now].setdefault(key, deque()).append(task)  # it has failed since
        return None

    def _make_room(self, key: str, standing: int) -> bool:
        """Drop the newest job of the address that has most, of those that stand worst."""
        worst = next(s for s in range(LATE, -1, -1) if self._quick[s] or self._slow[s])
        if worst < standing or worst == standing == LATE:
            return False
        turns, busiest = max(
            (
                (turns, other)
                for turns in (self._quick[worst], self._slow[worst])
                for other in turns
            ),
            key=lambda found: len(found[0][found[1]]),
        )
        if worst == standing and len(turns[busiest]) <= len(turns.get(key, ())) + 1:
            return False
        displaced = turns[busiest].pop().displaced
        if displaced is not None:
            self.displaced.append(displaced)
        if not turns[busiest]:
            del turns[busiest]
        self._size -= 1
        return True
