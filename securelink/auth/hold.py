"""What a login takes for good only when its client shows that it got in."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Hold:
    """
    Something that is taken already, such as a use of a join token, and given back unless the client gets in.

    Either `confirm` or `release` wins, whichever comes first, in whatever threads; so nothing is both used and given
    back.

    Args:
        give_back: Called at most once, by `release`, in the thread that calls it.
    """

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._give_back = give_back
        self._lock = threading.Lock()
        self._confirmed: bool | None = None

    @property
    def open(self) -> bool:
        """Whether neither has happened yet."""
        return self._confirmed is None

    def confirm(self) -> bool:
        """The client has got in. False when it was given back before: then it must not."""
        with self._lock:
            if self._confirmed is None:
                self._confirmed = True
            return self._confirmed

    def release(self) -> bool:
        """Nobody got in: give it back. False when it was confirmed, or given back before."""
        with self._lock:
            if self._confirmed is not None:
                return False
            self._confirmed = False
        self._give_back()
        return True
