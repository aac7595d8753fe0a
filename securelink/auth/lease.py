"""For how long a login holds, when that is not the whole session."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from ..limits import MOST_SECONDS, RENEW_SECONDS
from ..options import number
from ..signatures import checked

Renewal = Callable[[Any], float | Awaitable[float]]


@dataclass(frozen=True, slots=True)
class Lease:
    """
    The time for which a client was let in.

    Attributes:
        until: Its end, in seconds since 1970.
        renew: f(session) returns when the following one ends; None: the session ends with this one.
        since: Its beginning.
    """

    until: float
    renew: Renewal | None = None
    since: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        number("the end of a login", self.until, 0, MOST_SECONDS, unit="seconds since 1970")
        if self.renew is not None:  # whether the shell runs coroutines `Hello` knows
            checked("renew", self.renew, ("session",), runs=True)

    @property
    def due(self) -> float:
        """When it is time to renew it: half a minute before its end; of a short one, when a quarter is left."""
        return self.until - min(RENEW_SECONDS, (self.until - self.since) / 4)
