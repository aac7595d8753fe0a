"""The queue of expensive work: bounded, and fair between addresses."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

Job = Callable[[], None]
_Queued = tuple[Job, Job | None]  # with what to call if it has to give way
_Turns = OrderedDict[str, deque[_Queued]]


class JobQueue:
    """
    Jobs that wait for a pool thread. Addresses take turns, so a flood from one delays only that one.

    Jobs of addresses that have failed often are late: they wait until no other job does, and give way when the queue
    is full. So not even many such addresses can keep out one that has not failed. When there are none, whoever has most
    jobs gives way to an address that has fewer.

    Not locked: the pool's lock guards it.

    Attributes:
        displaced: Of jobs that have given way: what to call, after the lock.
    """

    __slots__ = ("_late", "_limit", "_own", "_size", "_soon", "displaced")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._soon: _Turns = OrderedDict()
        self._late: _Turns = OrderedDict()
        self.displaced: list[Job] = []
        self._own: deque[Job] = deque()

    def __len__(self) -> int:
        return self._size + len(self._own)

    def put_own(self, job: Job) -> None:
        """Queue work of our own: no stranger asked for it, so it comes first, and never gives way."""
        self._own.append(job)

    def put(self, key: str, job: Job, *, late: bool = False, displaced: Job | None = None) -> bool:
        """
        Queue a job of an address; False when the queue is full.

        Args:
            key: The address.
            job: What to do.
            late: After all that are not.
            displaced: What to call if it gives way to another one.
        """
        if self._size >= self._limit and (late or not self._make_room(key)):
            return False
        self._size += 1
        (self._late if late else self._soon).setdefault(key, deque()).append((job, displaced))
        return True

    def take(self) -> Job | None:
        """The next job: our own, or that of the address that has waited longest for its turn."""
        if self._own:
            return self._own.popleft()
        turns = self._soon or self._late
        if not turns:
            return None
        key, jobs = turns.popitem(last=False)
        job, _ = jobs.popleft()
        self._size -= 1
        if jobs:
            turns[key] = jobs
        return job

    def _make_room(self, key: str) -> bool:
        """Drop the newest job of the address that has most."""
        turns = self._late or self._soon
        busiest = max(turns, key=lambda other: len(turns[other]))
        if turns is self._soon and len(turns[busiest]) <= len(turns.get(key, ())) + 1:
            return False
        _, displaced = turns[busiest].pop()
        if displaced is not None:
            self.displaced.append(displaced)
        if not turns[busiest]:
            del turns[busiest]
        self._size -= 1
        return True
