"""Chance that spreads what would come at one instant."""

from __future__ import annotations

import random

#: Not the generator of the module `random`: a program that seeds that one gets the same numbers with us as without, and
#: children of a `fork()` do not all wait equally long.
jitter = random.SystemRandom()
