"""Chooses the sessions that end when all together keep too much: the largest of the address that keeps most."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from heapq import heapify, heappop, heapreplace
from typing import TypeVar

from .failure_budget import SHARES

Holder = TypeVar("Holder", bound=Hashable)


def greediest_first(
    held: Mapping[Holder, int], places: Callable[[Holder], tuple[Hashable, ...]]
) -> Iterator[Holder]:
    """
    Each holder once, in the order in which they should give up their memory.

    Each time the address that still keeps most in sum gives up its largest holder. So many small holders of one
    stranger end before a single large one, and of one address the largest ends first.

    Args:
        held: The bytes that each keeps.
        places: Gives the address that counts for a holder, and the networks around it: these may keep SHARES times as
            much as one address. A holder that counts for itself alone is its own address.
    """
    waiting: dict[Hashable, list[Holder]] = {}  # by address or network, the largest last
    sums: dict[Hashable, int] = {}
    share: dict[Hashable, int] = {}
    for holder in sorted(held, key=held.__getitem__):
        for place, most in zip(places(holder), SHARES, strict=False):
            waiting.setdefault(place, []).append(holder)
            sums[place] = sums.get(place, 0) + held[holder]
            share[place] = most
    # The heap never underestimates a place, and its value is checked again when its turn comes. Numbers decide
    # between equals, because places cannot be compared.
    queue = [(-sums[place] / share[place], number, place) for number, place in enumerate(waiting)]
    heapify(queue)
    gone: set[Holder] = set()
    while queue:
        said, number, place = queue[0]
        now = -sums[place] / share[place]
        if now > said:
            heapreplace(queue, (now, number, place))
            continue
        mine = waiting[place]
        while mine and mine[-1] in gone:  # it ended already, as a holder of another network
            mine.pop()
        if not mine:
            heappop(queue)
            continue
        holder = mine.pop()
        gone.add(holder)
        for other in places(holder):
            sums[other] -= held[holder]
        yield holder
