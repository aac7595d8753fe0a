"""The queue of expensive work: bounded, and fair between addresses."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

Job = Callable[[], None]


class JobQueue:
    """
    Jobs that wait for a pool thread. Addresses take turns, so a flood from one delays only that one.

    Not locked: the pool's lock guards it.
    """

    __slots__ = ("_by_key", "_limit", "_size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._by_key: OrderedDict[str, deque[Job]] = OrderedDict()

    def __len__(self) -> int:
        return self._size

    def put(self, key: str, job: Job) -> bool:
        """Queue a job of an address; False when the queue is full."""
        if self._size >= self._limit:
            return False
        self._size += 1
        self._by_key.setdefault(key, deque()).append(job)
        return True

    def take(self) -> Job | None:
        """The next job, of the address that has waited longest for its turn."""
        if not self._by_key:
            return None
        key, jobs = self._by_key.popitem(last=False)
        job = jobs.popleft()
        self._size -= 1
        if jobs:
            self._by_key[key] = jobs
        return job
