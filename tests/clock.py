"""A clock for tests of cost: processor time of this thread, which a busy machine hardly changes."""

from __future__ import annotations

import time
from collections.abc import Callable

from securelink.errors import SecureLinkError

FEW_MS = 5.0
"""What one call on bytes of a stranger may take, in milliseconds. The switch interval of the interpreter is 5."""


def cost_ms(call: Callable[[], object], enough: float = FEW_MS, tries: int = 10) -> float:
    """
    The least processor time of some tries, in milliseconds; stops at the first that is below `enough`.

    A refusal is an answer; every other exception goes through.
    """
    least = float("inf")
    for _ in range(tries):
        began = time.thread_time()
        try:
            call()
        except SecureLinkError:
            pass
        least = min(least, 1000 * (time.thread_time() - began))
        if least < enough:
            break
    return least
