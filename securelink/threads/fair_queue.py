"""What goes on later, in a fair order: networks take turns, and within each of them what belongs to it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """
    A queue in rounds: in each of them every network has one turn, for the one of its items that has waited longest.

    A network that comes while a round is under way has its turn in it: those that had theirs come behind.

    Attributes:
        count: How many items it has. Hot: `len()` would call a function of Python.
    """

    __slots__ = ("_done", "_turns", "count")

    def __init__(self) -> None:
        self._turns: OrderedDict[Hashable, OrderedDict[Item, None]] = OrderedDict()  # of this round
        self._done: OrderedDict[Hashable, OrderedDict[Item, None]] = OrderedDict()  # had theirs
        self.count = 0

    def __len__(self) -> int:
        return self.count

    def put(self, item: Item, network: Hashable = None, *, had_turn: bool = False) -> None:
        """
        Queue an item, unless it is there.

        Args:
            item: It.
            network: Whose it is; None: it stands for itself.
            had_turn: It has just had one, and its network with it.
        """
        key: Hashable = item if network is None else network
        lane = self._done.get(key)
        if lane is None:
            lane = self._turns.get(key)
            if lane is None:
                lane = (self._done if had_turn else self._turns)[key] = OrderedDict()
        if item not in lane:
            lane[item] = None
            self.count += 1

    def pop(self) -> Item:
        """The next one. Raises `KeyError` when there is none."""
        lane: OrderedDict[Item, None] = OrderedDict()
        while not lane:
            if not self._turns:
                self._turns, self._done = self._done, self._turns
            network, lane = self._turns.popitem(last=False)
        self._done[network] = lane  # also an empty one: what comes for it is for the next round
        item, _ = lane.popitem(last=False)
        self.count -= 1
        if not self.count:
            self._turns.clear()
            self._done.clear()
        return item
