"""Many durations in little memory: logarithmic buckets, exact to 1.6 %."""

from __future__ import annotations

import math
from collections.abc import Iterator

_BITS = 7  # of a value that its bucket keeps: 64 buckets for each doubling
_HALF = 1 << (_BITS - 1)
_LONGEST = 2**32 - 1  # microseconds, 71 minutes: longer than any run


def _bucket(value: int) -> int:
    shift = max(0, value.bit_length() - _BITS)
    return shift * _HALF + (value >> shift)


_BUCKETS = _bucket(_LONGEST) + 1


def _greatest(bucket: int) -> int:
    """The greatest value that falls into a bucket."""
    shift = max(0, bucket // _HALF - 1)
    return ((bucket - shift * _HALF + 1) << shift) - 1


class Histogram:
    """
    Counted durations, in seconds.

    Attributes:
        count: How many there are.
        greatest: The longest of them, exactly.
    """

    def __init__(self) -> None:
        self._buckets = [0] * _BUCKETS
        self.count = 0
        self.greatest = 0.0

    def add(self, seconds: float) -> None:
        """Count one; less than nothing counts as nothing."""
        self._buckets[_bucket(min(max(int(seconds * 1e6), 0), _LONGEST))] += 1
        self.count += 1
        if seconds > self.greatest:
            self.greatest = seconds

    def percentile(self, percent: float) -> float:
        """The duration that `percent` of all do not exceed; 0 when there is none."""
        wanted = math.ceil(self.count * percent / 100)
        seen = 0
        for bucket, count in enumerate(self._buckets):
            seen += count
            if count and seen >= wanted:
                return min(_greatest(bucket) / 1e6, self.greatest)
        return self.greatest

    def rows(self) -> list[tuple[float, int]]:
        """(upper limit, count) in steps of 1, 2, 5, from the first that is not empty to the last."""
        found: list[tuple[float, int]] = []
        steps = _steps()
        limit, held = next(steps), 0
        for bucket, count in enumerate(self._buckets):
            while _greatest(bucket) >= limit:
                found.append((limit / 1e6, held))
                limit, held = next(steps), 0
            held += count
        found.append((limit / 1e6, held))
        full = [number for number, (_, count) in enumerate(found) if count]
        return found[full[0] : full[-1] + 1] if full else []


def _steps() -> Iterator[int]:
    """10, 20, 50, 100, ... microseconds."""
    decade = 10
    while True:
        yield from (decade, 2 * decade, 5 * decade)
        decade *= 10
