"""Wrong passwords for one user name, wherever they come from."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ..limits import FAILED_WINDOW, MAX_NAME_FAILURES, MAX_NAMES_COUNTED, MAX_USER_NAME
from ..rates import WindowCounts
from ..streams.addresses import network

Try = tuple[str, str]  # under what a try is counted: a name, and its place or ""


class NameThrottle:
    """
    Bounds how many passwords are tried for one name in a minute, from however many addresses.

    A place where a name was let in before has a count of its own: nobody can keep its owner out by trying passwords
    elsewhere. It is a count, too, because many are at one place behind a router or a tunnel. Names that do not exist
    are counted alike, so the count does not tell which do.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()  # guards both
        # By name, and place if it was right there.
        self._tries = WindowCounts[Try](FAILED_WINDOW, MAX_NAMES_COUNTED, clock)
        self._places: dict[tuple[str, str], None] = {}  # (name, place) that was right; oldest first

    def charge(self, name: str, host: str) -> Try | None:
        """Count a try before it is looked at; None when there were too many."""
        with self._lock:
            key = self._key(name, host)
            if self._tries.count(key) >= MAX_NAME_FAILURES:
                return None
            self._tries.add(key)
            return key

    def right(self, key: Try, host: str) -> None:
        """
        The password was right: this try was none, and the place is remembered.

        Args:
            key: From `charge`. By now the try might be counted under another, as the place is known.
        """
        with self._lock:
            self._tries.take_back(key)
            place = (key[0], network(host))
            self._places.pop(place, None)
            self._places[place] = None
            while len(self._places) > MAX_NAMES_COUNTED:
                del self._places[next(iter(self._places))]

    def _key(self, name: str, host: str) -> Try:
        """Under what a try is counted."""
        short = name[: MAX_USER_NAME + 1]
        place = (short, network(host))
        return place if place in self._places else (short, "")
