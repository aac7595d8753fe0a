"""
The long way of the explorer (`make explore`): larger bounds than `tests/test_explorer.py` has time for.

    cd tests; python -m explorer [seconds]

Each world of `WORLDS` is explored for its share of the time, or to its end. What is broken is shown with the shortest
way there, and the exit code is 1.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

from securelink.keys import Identity
from securelink.wire.fields import Mode

from .search import Bounds, Explorer, Found
from .sides import repeatable

SECONDS = 1800.0  # altogether, by default

#: Three packets each way, two connections lost, and what else a network and a server can do.
_FULL = Bounds(up=3, down=3, dials=3, cuts=2, lazy=True, calm=16)
WORLDS = {
    "plaintext, all of a small world": Bounds(Mode.OFF),
    "encrypted, all of a small world": Bounds(),
    "plaintext": replace(_FULL, mode=Mode.OFF),
    "encrypted": _FULL,
    "frames are dropped and doubled": replace(_FULL, up=2, down=2, drops=1, doubles=1),
    "old hellos come again": replace(_FULL, up=2, down=2, replays=2),
    "the server forgets": replace(_FULL, up=2, down=2, restarts=1),
    "the client's process dies": replace(_FULL, up=2, down=2, cuts=1, deaths=2),
    "the server hands over": replace(_FULL, up=2, down=2, cuts=1, handovers=2),
    "the client wants another session": replace(_FULL, up=2, down=2, cuts=1, parts=2),
    "sessions expire": replace(_FULL, up=2, down=2, expiries=1),
    "connections race": Bounds(up=1, down=1, dials=4, cuts=0, lazy=True, calm=16),
}


def shown(name: str, found: Found, seconds: float) -> str:
    """What was found, in a line and the way to it."""
    ways = "all of its states" if found.complete else "states"
    words = f"{name}: {found.states:,} {ways}, {found.steps:,} steps, {seconds:.0f} s"
    if found.broken is None:
        return words
    return "\n    ".join([f"{words}\n  BROKEN: {found.broken}", *found.way])


def main(seconds: float = SECONDS) -> int:
    """Explore all worlds; how many are broken."""
    identity = Identity.generate(2048)
    broken = 0
    for name, bounds in WORLDS.items():
        began = time.monotonic()
        with repeatable():
            explorer = Explorer(bounds, identity)
            found = explorer.explore(until=began + seconds / len(WORLDS))
        print(shown(name, found, time.monotonic() - began), flush=True)
        broken += found.broken is not None
    return broken


if __name__ == "__main__":
    sys.exit(1 if main(*map(float, sys.argv[1:])) else 0)
