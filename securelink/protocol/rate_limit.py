"""
The limit of what a peer may send: packets and bytes a second, as token buckets.

`ReceiveQueue` counts both, and says by `is_over_rate` that reading is to pause; `pass_time` fills the buckets again.
"""

from __future__ import annotations

from ..limits import DEBT_SECONDS


def later_mark(mark: int, count: int, rate: int, seconds: float) -> int:
    """
    Up to where a count may go, when it stands at `count`, might go up to `mark`, and so many seconds have passed: a
    token bucket that holds what one second allows, or all of these seconds if they are more, and may be in debt for
    DEBT_SECONDS.
    """
    most = min(mark + int(rate * seconds), count + int(rate * max(seconds, 1.0)))
    return max(most, count - int(rate * DEBT_SECONDS))
