"""Bounds wrong passwords for one user name from all addresses."""

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
from ..streams.addresses import network, networks
from ..window_counts import WindowCounts

Try = tuple[str, str]  # the key of a count: a name, and its place or ""


class NameThrottle:
    """
    Bounds the passwords that are tried for one name in a minute, from all addresses.

    A place where a name was let in before has its own count, so that attempts elsewhere cannot lock out the owner. It
    is bounded too, because many people may share one place behind a router or a tunnel. When the common count is used
    up, a new place has one attempt, up to a bound for all new places: locking out the owner there takes many
    addresses. Unknown names are counted alike, so that the count does not reveal which names exist.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()  # guards all three
        # By name, and by place if it was right there.
        self._tries = WindowCounts[Try](FAILED_WINDOW, MAX_NAMES_COUNTED, clock)
        # By name and network, for attempts that are counted under the name only.
        self._strangers = WindowCounts[Try](FAILED_WINDOW, MAX_NAMES_COUNTED, clock)
        self._places: dict[
            str, dict[str, None]
        ] = {}  # by name: places where it was right; oldest first

    def charge(self, name: str, host: str) -> Try | None:
        """Count an attempt before it is checked; None if there were too many."""
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
        The password was right: take back the attempt, and remember the place.

        Args:
            key: From `charge`. By now the place may be known, and another key would be used.
        """
        name, counted_place = key
        with self._lock:
            self._tries.take_back(key)
            if not counted_place:
                self._strangers.take_back(_stranger(key, host))
            # Only right passwords come here, so there are no more names than users, former ones included.
            places = self._places.pop(name, {})
            places.pop(network(host), None)
            places[network(host)] = None
            _shorten(places, MAX_NAME_PLACES)
            self._places[name] = places
            _shorten(self._places, MAX_NAMES_COUNTED)

    def _key(self, name: str, host: str) -> Try:
        """The key under which an attempt is counted."""
        short, place = name[: MAX_USER_NAME + 1], network(host)
        return (short, place if place in self._places.get(short, ()) else "")


def _stranger(key: Try, host: str) -> Try:
    return key[0], networks(host)[-1]  # a customer of IPv6 has many addresses, but one attempt


def _shorten(oldest_first: dict[str, Any], most: int) -> None:
    while len(oldest_first) > most:
        del oldest_first[next(iter(oldest_first))]
