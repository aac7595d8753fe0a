"""Wrong passwords for one user name, wherever they come from."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable

from ..limits import FAILED_WINDOW, MAX_NAME_FAILURES, MAX_NAMES_COUNTED, MAX_USER_NAME


class NameThrottle:
    """
    Bounds how many passwords are tried for one name in a minute, from however many addresses.

    Where a name was let in before, it is never locked out: who tries passwords elsewhere cannot keep its owner out.
    Names that do not exist are counted alike, so the count does not tell which do.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._tries: dict[str, tuple[float, int]] = {}  # name -> since, how many; oldest first
        self._places: dict[tuple[str, str], None] = {}  # (name, place) that was right; oldest first

    def charge(self, name: str, host: str) -> bool:
        """Count a try before it is looked at; False when there were too many."""
        key = name[: MAX_USER_NAME + 1]
        now = self._clock()
        with self._lock:
            if (key, _place(host)) in self._places:
                return True
            since, count = self._tries.get(key, (now, 0))
            if now - since >= FAILED_WINDOW:
                del self._tries[key]
                since, count = now, 0
            if count >= MAX_NAME_FAILURES:
                return False
            self._tries[key] = (since, count + 1)
            while len(self._tries) > MAX_NAMES_COUNTED:
                del self._tries[next(iter(self._tries))]
            return True

    def right(self, name: str, host: str) -> None:
        """The password was right: this try was none, and the place is remembered."""
        key = name[: MAX_USER_NAME + 1]
        place = (key, _place(host))
        with self._lock:
            known = place in self._places
            self._places.pop(place, None)
            self._places[place] = None
            while len(self._places) > MAX_NAMES_COUNTED:
                del self._places[next(iter(self._places))]
            since, count = self._tries.get(key, (0.0, 0))
            if count and not known:
                self._tries[key] = (since, count - 1)


def _place(host: str) -> str:
    """An address; of IPv6 its /64, within which a machine changes its address by itself."""
    try:
        return (
            str(ipaddress.ip_network((host.partition("%")[0], 64), strict=False))
            if ":" in host
            else host
        )
    except ValueError:
        return host
