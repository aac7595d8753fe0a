"""A charge of a login, which is final only when its client shows that it got in."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..signatures import checked, did_run


class Hold:
    """
    A charge that is already made, such as a use of a join token, and given back unless the client gets in.

    The first of `confirm` and `release` wins, in any threads; so no charge is both used and given back.

    Args:
        give_back: Called at most once, by `release`, in the thread that calls it.

    Raises:
        ConfigError: It is no plain function, or takes arguments.
    """

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._give_back = checked("give_back", give_back, ())
        self._lock = threading.Lock()
        self._confirmed: bool | None = None

    @property
    def open(self) -> bool:
        """Whether neither was called yet."""
        return self._confirmed is None

    def confirm(self) -> bool:
        """The client has got in. False if the charge was given back before: then the client must not get in."""
        with self._lock:
            if self._confirmed is None:
                self._confirmed = True
            return self._confirmed

    def release(self) -> bool:
        """The client did not get in: give it back. False if it was confirmed or given back before."""
        with self._lock:
            if self._confirmed is not None:
                return False
            self._confirmed = False
        did_run(self._give_back())
        return True
