"""Counts of results, shared by several threads."""

from __future__ import annotations

import math
import threading
from collections import Counter

from ...errors import ConnectionClosed, Refused, SecureLinkError
from .histogram import Histogram

MAX_KINDS = 20  # of errors; a server may word each of its refusals differently
MAX_WORDS = 200  # characters of one kind
OTHER = "other errors"


class Tally:
    """
    Counts.

    Attributes:
        connected: How many sessions are open now.
        entered: How many were opened.
        sent: Packets.
        answered: Packets that were answered.
        others: Packets that came without being an answer.
        errors: The number of errors of each kind.
        latency: Of the answers to packets that were due since `measured_from`.
        measured_from: A moment of the clock that the simulated clients use; infinite before the ramp is over.
        worst_delay: By how many seconds a packet was sent too late, through no fault of the server.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.connected = 0
        self.entered = 0
        self.sent = 0
        self.answered = 0
        self.others = 0
        self.errors: Counter[str] = Counter()
        self.latency = Histogram()
        self.measured_from = math.inf
        self.worst_delay = 0.0

    @property
    def failures(self) -> int:
        """The number of all errors."""
        with self._lock:
            return self.errors.total()

    def came(self) -> None:
        """One client is connected."""
        with self._lock:
            self.connected += 1
            self.entered += 1

    def went(self) -> None:
        """One client is not connected any more."""
        with self._lock:
            self.connected -= 1

    def packet(self, delay: float) -> None:
        """A packet was sent, this many seconds after it was due."""
        with self._lock:
            self.sent += 1
            self.worst_delay = max(self.worst_delay, delay)

    def answer(self, due: float, now: float) -> None:
        """The answer to a packet that was due at a moment has come."""
        with self._lock:
            self.answered += 1
            if due >= self.measured_from:
                self.latency.add(now - due)

    def other(self) -> None:
        """A packet came that answers none of ours."""
        with self._lock:
            self.others += 1

    def failed(self, kind: str, times: int = 1) -> None:
        """Something went wrong."""
        if not times:
            return
        kind = kind if len(kind) <= MAX_WORDS else f"{kind[:MAX_WORDS]}..."
        with self._lock:
            if kind not in self.errors and len(self.errors) >= MAX_KINDS:
                kind = OTHER
            self.errors[kind] += times


def kind_of(error: Exception) -> str:
    """The kind of an error: its sentence, which for most errors does not mention the client."""
    if isinstance(error, Refused):
        return f"refused: {error.message}"
    if isinstance(error, ConnectionClosed):
        return f"session lost: {error.message.removeprefix('the session is over: ')}"
    return (
        error.message if isinstance(error, SecureLinkError) else f"{type(error).__name__}: {error}"
    )
