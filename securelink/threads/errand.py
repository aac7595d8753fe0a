"""The expensive step of a handshake, on its way to a worker of the pool and back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from ..limits import PATIENT_SECONDS


class Errand:
    """
    The step that a link waits for. It is done once: by the worker that takes it, unless the leader has given it up.

    A client that has waited so long for this side that it may well have given up has not failed.

    Attributes:
        owed_since: Since when the client owes us its next message; infinite while it waits for us.
    """

    __slots__ = ("_kept", "_queued", "_since", "owed_since")

    def __init__(self) -> None:
        self._queued: list[Callable[[], None]] = []  # the step that no worker has begun yet
        self._since = math.inf  # when it was queued, until it is done
        self.owed_since = time.monotonic()
        self._kept = 0.0  # seconds that the client has waited for steps that are done

    def queue(self, step: Callable[[], None]) -> None:
        """By the leader: a worker is to do this."""
        self._since = time.monotonic()
        self.owed_since = math.inf
        self._queued.append(step)

    def take(self) -> Callable[[], None] | None:
        """The first caller gets it: a worker, which does it, or the leader, which gives it up."""
        try:
            return self._queued.pop()
        except IndexError:
            return None

    def do(self) -> None:
        """In the pool: do it, unless it was given up."""
        step = self.take()
        if step is not None:
            step()

    def done(self) -> None:
        """Just before the client is read again."""
        self.owed_since = now = time.monotonic()
        self._kept += max(0.0, now - self._since)
        self._since = math.inf

    @property
    def was_late(self) -> bool:
        """Whether the client has waited so long for this side that it may well have given up."""
        waits = max(0.0, time.monotonic() - self._since)
        return self._kept + waits >= PATIENT_SECONDS

    def excuse(self) -> None:
        """Whatever becomes of this handshake, the client has not failed."""
        self._kept = math.inf
