"""Waiting for a few sockets at once."""

from __future__ import annotations

import select


class Awaited:
    """
    Descriptors of a few sockets, each of which is waited for once.

    The system hears of all of them with each call: for few that costs less than telling it of each, as epoll wants it.
    """

    def __init__(self) -> None:
        self._numbers: dict[int, bool] = {}  # whether it may also be written
        self._poll = select.poll() if hasattr(select, "poll") else None

    def __bool__(self) -> bool:
        return bool(self._numbers)

    def add(self, number: int, *, write: bool) -> None:
        """Wait until it can be read, or, if wanted, written."""
        self._numbers[number] = write
        if self._poll is not None:
            self._poll.register(number, select.POLLIN | (select.POLLOUT if write else 0))

    def poll(self, timeout: float) -> list[int]:
        """Those that are ready, or broken, after `timeout` seconds at most; they are not waited for any more."""
        if self._poll is not None:
            # poll() rounds up, and a call that must not wait would wait a millisecond.
            ready = [n for n, _ in self._poll.poll(timeout * 1000 + 0.5 if timeout > 0 else 0)]
        else:
            # Windows: it tells of a connection that has failed as of an exception.
            writers = [number for number, write in self._numbers.items() if write]
            found = select.select(list(self._numbers), writers, writers, timeout)
            ready = list(dict.fromkeys(number for group in found for number in group))
        for number in ready:
            self.remove(number)
        return ready

    def remove(self, number: int) -> None:
        """It is not waited for any more."""
        del self._numbers[number]
        if self._poll is not None:
            self._poll.unregister(number)
