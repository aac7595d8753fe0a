"""Wrong passwords for one user name, wherever they come from."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from ..limits import (
    FAILED_WINDOW,
    MAX_NAME_FAILURES,
    MAX_NAME_PLACES,
    MAX_NAME_TRIES,
    MAX_NAMES_COUNTED,
    MAX_USER_NAME,
)
from ..rates import WindowCounts
from ..streams.addresses import network, networks

Try = tuple[str, str]  # under what a try is counted: a name, and its place or ""


class NameThrottle:
    """
    Bounds how many passwords are tried for one name in a minute, from however many addresses.

    A place where a name was let in before has a count of its own: nobody can keep its owner out by trying passwords
    elsewhere. It is a count, too, because many are at one place behind a router or a tunnel. Who comes from a new place
    has one try when the others are used up, as long as not too many places had one: so it takes many addresses to keep
    him out. Names that do not exist are counted alike, so the count does not tell which do.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()  # guards all three
        # By name, and place if it was right there.
        self._tries = WindowCounts[Try](FAILED_WINDOW, MAX_NAMES_COUNTED, clock)
        # By name and network, of those that are counted under the name alone.
        self._strangers = WindowCounts[Try](FAILED_WINDOW, MAX_NAMES_COUNTED, clock)
        self._places: dict[str, dict[str, None]] = {}  # by name: where it was right; oldest first

    def charge(self, name: str, host: str) -> Try | None:
        """Count a try before it is looked at; None when there were too many."""
        with self._lock:
            key = self._key(name, host)
            tries = self._tries.count(key)
            if key[1]:
                if tries >= MAX_NAME_FAILURES:
                    return None
            else:
                stranger = _stranger(key, host)
                most = MAX_NAME_FAILURES if self._strangers.count(stranger) else MAX_NAME_TRIES
                if tries >= most:
                    return None
                self._strangers.add(stranger)
            self._tries.add(key)
            return key

    def right(self, key: Try, host: str) -> None:
        """
        The password was right: this try was none, and the place is remembered.

        Args:
            key: From `charge`. By now the try might be counted under another, as the place is known.
        """
        name, counted_place = key
        with self._lock:
            self._tries.take_back(key)
            if not counted_place:
                self._strangers.take_back(_stranger(key, host))
            # Only right passwords come here, so there are no more names than users; an old one may be a former user's.
            places = self._places.pop(name, {})
            places.pop(network(host), None)
            places[network(host)] = None
            _shorten(places, MAX_NAME_PLACES)
            self._places[name] = places
            _shorten(self._places, MAX_NAMES_COUNTED)

    def _key(self, name: str, host: str) -> Try:
        """Under what a try is counted."""
        short, place = name[: MAX_USER_NAME + 1], network(host)
        return (short, place if place in self._places.get(short, ()) else "")


def _stranger(key: Try, host: str) -> Try:
    return key[0], networks(host)[-1]  # a customer of IPv6 has many addresses, and one first try


def _shorten(oldest_first: dict[str, Any], most: int) -> None:
    while len(oldest_first) > most:
        del oldest_first[next(iter(oldest_first))]
