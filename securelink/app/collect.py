"""Keeps the arguments of events until they are taken."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigError
from ..interrupts import Sign
from ..limits import (
    MAX_CAUGHT_TEXT,
    MAX_COLLECTED,
    MAX_COLLECTED_BYTES,
    OBJECT_BYTES,
    OPENED_FACTOR,
    OPENED_MOST_BYTES,
)
from ..logs.tracebacks import Line, outline, text_of
from ..options import seconds, whole
from ..text import kind_of
from ..wire.packets import wire_size
from .hooks import EventHook
from .received import Received

_FRAME_BYTES = 120  # of a `Frame`; its texts belong to the code


class Collector:
    """
    Stores the arguments of an event until they are taken. The oldest entries are dropped if there are more than
    `limit`, or if they take more than about 256 MiB.

        packets = Collector(server.on_message)
        for session, packet in packets.take(): ...

    Args:
        hook: The event.
        limit: Most entries kept.

    Raises:
        ConfigError: The limit is not a whole number above 0, or `hook` is not an event.

    Attributes:
        dropped: The number of entries that were not taken in time.
    """

    def __init__(self, hook: EventHook[...], limit: int = MAX_COLLECTED) -> None:
        if not isinstance(hook, EventHook):
            raise ConfigError(
                f"a Collector takes an event, not {kind_of(hook)}",
                hint="write Collector(server.on_message), for example",
            )
        self._hook = hook
        self._limit = whole("limit", limit, 1, unit="entries")
        self._lock = threading.Lock()  # guards the next two
        self._grown = Sign()
        self._entries: deque[tuple[tuple[Any, ...], int]] = deque()  # with the bytes of each
        self._size = 0  # of all of them
        self.dropped = 0
        hook.add_listener(self._add)

    def _add(self, *arguments: Any) -> None:
        size = sum(map(_size, arguments))
        with self._lock:
            self._entries.append((arguments, size))
            self._size += size
            # The newest is kept whatever its size.
            self._make_room()
        self._grown.set()

    def _make_room(self) -> None:
        while len(self._entries) > 1 and (
            len(self._entries) > self._limit or self._size > MAX_COLLECTED_BYTES
        ):
            self._size -= self._entries.popleft()[1]
            self.dropped += 1

    def take(self, timeout: float = 0.0) -> list[tuple[Any, ...]]:
        """All stored entries, oldest first; waits up to `timeout` seconds for a first one."""
        timeout = seconds("timeout", timeout)
        deadline = time.monotonic() + timeout
        while not self._entries and (left := deadline - time.monotonic()) > 0:
            self._grown.clear()
            if not self._entries:  # checked once more: it may have come just before
                self._grown.wait(left)
        with self._lock:
            taken = [arguments for arguments, _ in self._entries]
            self._entries.clear()
            self._size = 0
            return taken

    def close(self) -> None:
        """Stop collecting."""
        self._hook.remove_listener(self._add)

    def __len__(self) -> int:
        return len(self._entries)


def _size(argument: object) -> int:
    """The approximate memory of an event's argument, in bytes, counting only data of peers."""
    if isinstance(argument, Received):
        size = wire_size((argument.data, argument.headers))
    else:
        size = wire_size(argument)
    return OBJECT_BYTES + min(OPENED_FACTOR * size, size + OPENED_MOST_BYTES)


@dataclass(frozen=True)
class CaughtError:
    """
    An exception that a handler raised.

    Attributes:
        what: The name of the packet or event that it handled.
        error: The exception, without frames. Its text may come from a peer: use `escaped()` before you show it.
    """

    what: str
    error: BaseException
    _lines: tuple[Line, ...] = field(repr=False)

    @property
    def traceback(self) -> str:
        """The traceback, as text that is safe to show: every line is escaped. Made at each access."""
        return text_of(self._lines)


def _chain(error: BaseException) -> list[BaseException]:
    """An error, its causes and contexts, and the members of groups; the first thousand."""
    found: dict[int, BaseException] = {}
    waiting = [error]
    while waiting and len(found) < 1000:
        link = waiting.pop()
        if id(link) in found:
            continue
        found[id(link)] = link
        waiting += [near for near in (link.__cause__, link.__context__) if near is not None]
        if isinstance(link, BaseExceptionGroup):
            waiting += link.exceptions
    return list(found.values())


def _kept(error: BaseException) -> int:
    """Bytes that an error keeps, about: what it says, and texts and bytes that it holds, such as a whole document."""
    size, left = 0, 1000
    waiting: list[object] = [error.args, vars(error)]
    if isinstance(error, UnicodeError):
        waiting.append(getattr(error, "object", None))
    while waiting and left:
        left -= 1
        held = waiting.pop()
        if isinstance(held, dict):
            waiting += list(held.values())[:left]
        elif isinstance(held, (list, tuple, set, frozenset)):
            size += sys.getsizeof(held)
            waiting += list(held)[:left]
        elif held is not None:
            size += sys.getsizeof(held, 0)
    return size


def let_go(error: BaseException) -> int:
    """
    Drop the frames of an error and of all that led to it, which keep alive what was handled.

    Returns:
        Bytes that it still keeps, about: an error holds what it is about, which may be what a peer sent.
    """
    links = _chain(error)
    for link in links:
        link.__traceback__ = None
    return sum(map(_kept, links))


def _line_size(line: Line) -> int:
    return len(line) if isinstance(line, str) else _FRAME_BYTES


class CaughtErrors:
    """
    The exceptions that handlers raised, oldest first; a bounded number is kept until they are taken.

    Attributes:
        total: The number of all exceptions, also those that were taken or are forgotten.
    """

    def __init__(self, limit: int = 100) -> None:
        self._lock = threading.Lock()
        self._limit = limit
        self._entries: deque[tuple[CaughtError, int]] = deque()  # with the bytes of each, about
        self._size = 0  # of all of them
        self.total = 0

    def add(self, what: str, error: BaseException) -> None:
        """
        Keep one, and where it came from by name: its frames would keep alive what they handled, megabytes each.

        Source is looked for only if somebody shows it: a peer may make each of its packets fail.
        """
        lines = tuple(outline(error))
        size = sum(map(_line_size, lines)) + let_go(error)
        with self._lock:
            self.total += 1
            self._size += size
            self._entries.append((CaughtError(what, error, lines), size))
            # The newest is kept whatever its size.
            self._make_room()

    def _make_room(self) -> None:
        while len(self._entries) > 1 and (
            self._size > MAX_CAUGHT_TEXT or len(self._entries) > self._limit
        ):
            self._size -= self._entries.popleft()[1]

    def take(self) -> list[CaughtError]:
        """All kept exceptions; they are then forgotten."""
        with self._lock:
            taken = [entry for entry, _ in self._entries]
            self._entries.clear()
            self._size = 0
        return taken

    def __len__(self) -> int:
        return len(self._entries)
