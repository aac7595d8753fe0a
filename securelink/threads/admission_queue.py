"""
Connections that wait for a place among the half-open ones: nothing has been read of them, and nothing done for them.

They wait here and not in the kernel's backlog, which is one line for all addresses: a client that fills it keeps out
all others. Here networks take turns, those with few failures first (`app/failure_budget.py`), so the connections of one
network delay only each other.
"""

from __future__ import annotations

from collections import OrderedDict

from ..app.failure_budget import LATE
from ..streams.base import HANGUP, Address, Stream
from .loop import Loop

_Lane = OrderedDict["Waiting", None]


class Waiting:
    """
    One of them.

    Args:
        queue: Where it waits.
        stream: To its client.
        address: Of its client.
        network: That counts as one.
        standing: Of its address, when it came.
    """

    __slots__ = ("_queue", "address", "network", "standing", "stream")

    def __init__(
        self, queue: AdmissionQueue, stream: Stream, address: Address, network: str, standing: int
    ) -> None:
        self._queue = queue
        self.stream = stream
        self.address = address
        self.network = network
        self.standing = standing

    def on_io(self, mask: int) -> None:
        """Its client has hung up."""
        self._queue.drop(self)

    def on_error(self) -> None:
        """An internal error: close it."""
        self._queue.drop(self)


class AdmissionQueue:
    """
    The queue. By the leader.

    Args:
        loop: Tells of those that hang up.
        limit: How many wait; above it the newest of the network that has most is closed.
    """

    def __init__(self, loop: Loop, limit: int) -> None:
        self._loop = loop
        self._limit = limit
        self._size = 0
        # By standing: network -> its connections, oldest first.
        self._turns: list[OrderedDict[str, _Lane]] = [OrderedDict() for _ in range(LATE + 1)]

    def __len__(self) -> int:
        return self._size

    def put(self, waiting: Waiting) -> None:
        """It waits from now on, or is closed."""
        turns = self._turns[waiting.standing]
        lane = turns.get(waiting.network)
        if self._size >= self._limit and not self._make_room(len(lane or ())):
            waiting.stream.close()
            return
        if lane is None:
            lane = turns[waiting.network] = OrderedDict()
        lane[waiting] = None
        self._size += 1
        self._loop.register(waiting.stream, HANGUP, waiting)

    def _make_room(self, own: int) -> bool:
        """Close the newest of the network that has most; not for one that has its share already."""
        networks = sum(len(turns) for turns in self._turns)
        if own >= self._limit // networks:
            return False
        busiest: _Lane = OrderedDict()
        for turns in self._turns:
            busiest = max(busiest, *turns.values(), key=len) if turns else busiest
        self.drop(next(reversed(busiest)))
        return True

    def next_network(self, but: str = "") -> str:
        """Whose turn it is; somebody must wait. Not that of `but`, unless nobody else waits."""
        return next((net for turns in self._turns for net in turns if net != but), but)

    def take(self, network: str) -> Waiting:
        """The one of a network that has waited longest; then it is another network's turn."""
        turns = next(turns for turns in self._turns if network in turns)
        lane = turns.pop(network)
        waiting, _ = lane.popitem(last=False)
        if lane:
            turns[network] = lane
        self._left(waiting)
        return waiting

    def drop(self, waiting: Waiting) -> None:
        """Close one."""
        turns = self._turns[waiting.standing]
        lane = turns[waiting.network]
        del lane[waiting]
        if not lane:
            del turns[waiting.network]
        self._left(waiting)
        waiting.stream.close()

    def _left(self, waiting: Waiting) -> None:
        self._size -= 1
        self._loop.register(waiting.stream, 0, waiting)

    def close(self) -> None:
        """Close all."""
        while self._size:
            self.take(self.next_network()).stream.close()

    def orphaned(self) -> None:
        """In a child of fork(): the connections are the parent's."""
        for turns in self._turns:
            for lane in turns.values():
                for waiting in lane:
                    waiting.stream.close()
