"""Records that take long to be looked into for replies, while one is waited for: the leader does it in its turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable

from ..limits import STEP_SECONDS
from ..protocol.receive_queue import ReceiveQueue
from .tasks import Look, Unfinished


class Looking:
    """
    Looks into the records of one session, for STEP_SECONDS in each of its turns.

    Args:
        queue: Of the session.
        later: `Loop.make_unfinished`.
        network: Of its peer: all that is looked into for one takes turns as one does. None: it stands for itself.
    """

    def __init__(
        self, queue: ReceiveQueue, later: Callable[[Unfinished, Hashable], None], network: Hashable
    ) -> None:
        self._queue = queue
        self._later = later
        self._network = network
        later(self, network)

    def go_on(self) -> None:
        """Go on; the others had their turn."""
        deadline = time.monotonic() + STEP_SECONDS
        more = True  # also when Ctrl-C comes
        try:
            while True:
                more = self._queue.look_on()
                if not more or time.monotonic() >= deadline:
                    break
        except Exception:
            more = False
            raise
        finally:
            if more:
                self._later(self, self._network)

    def on_error(self) -> None:
        """An internal error: the thread that waits for a reply hears nothing, others go on."""
        self._queue.look_no_more()


def looks_later(later: Callable[[Unfinished, Hashable], None]) -> Look:
    """What the sessions of a server's loop have as `ReceiveQueue.on_look`; each with its network, if it has one."""

    def look_later(queue: ReceiveQueue, network: Hashable = None) -> None:
        Looking(queue, later, network)

    return look_later
