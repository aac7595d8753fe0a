"""The queue of expensive work: bounded, and fair between addresses."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

Job = Callable[[], None]
_Turns = OrderedDict[str, deque[Job]]


class JobQueue:
    """
    Jobs that wait for a pool thread. Addresses take turns, so a flood from one delays only that one.

    Jobs of addresses that have failed often are late: they wait until no other job does, and give way when the queue
    is full. So not even many such addresses can keep out one that has not failed. When there are none, whoever has most
    jobs gives way to an address that has fewer.

    Not locked: the pool's lock guards it.
    """

    __slots__ = ("_late", "_limit", "_size", "_soon")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._soon: _Turns = OrderedDict()
        self._late: _Turns = OrderedDict()

    def __len__(self) -> int:
        return self._size

    def put(self, key: str, job: Job, *, late: bool = False) -> bool:
        """Queue a job of an address; False when the queue is full. One that gives way is dropped."""
        if self._size >= self._limit and (late or not self._make_room(key)):
            return False
        self._size += 1
        (self._late if late else self._soon).setdefault(key, deque()).append(job)
        return True

    def take(self) -> Job | None:
        """The next job, of the address that has waited longest for its turn."""
        turns = self._soon or self._late
        if not turns:
            return None
        key, jobs = turns.popitem(last=False)
        job = jobs.popleft()
        self._size -= 1
        if jobs:
            turns[key] = jobs
        return job

    def _make_room(self, key: str) -> bool:
        """Drop the newest job of the address that has most. Its connection ends at its deadline."""
        turns = self._late or self._soon
        busiest = max(turns, key=lambda other: len(turns[other]))
        if turns is self._soon and len(turns[busiest]) <= len(turns.get(key, ())) + 1:
            return False
        turns[busiest].pop()
        if not turns[busiest]:
            del turns[busiest]
        self._size -= 1
        return True
