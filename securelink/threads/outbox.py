"""
How a session sends: inside a handler a send never waits; elsewhere it waits for room (`back_pressure.py`).

What waits is in the session's `SendQueue`, under the session's lock. The link's send right is taken before that lock,
never after; no user code runs and nothing waits while it is held.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf
from threading import get_ident
from typing import Protocol

from .._mypyc import mypyc_attr
from ..app.pending import Pending
from ..codes import Code
from ..errors import LimitExceeded, Refused
from ..options import word
from ..protocol.bounds import FULL
from ..protocol.send_queue import Loose, Mark
from ..protocol.session_core import SessionCore
from . import back_pressure
from .back_pressure import BackPressure
from .bursts import BURST_BYTES, ROW_PACKETS, ROW_SECONDS
from .loop import Loop
from .writing import Writer

log = logging.getLogger("securelink")


class Session(back_pressure.Session, Protocol):
    """The session that has an outbox, as that needs it."""

    def inside_handler(self) -> bool:
        """Whether the calling thread runs a handler, and shall not wait."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Outbox:
    """
    Sends packets.

    Args:
        loop: Of the session.
        core: The session's, with its queue and numbering.
        session: Whose outbox this is.

    Attributes:
        bounds: How much may wait.
        queue, receiving, outgoing: Parts of the core.
        writer: Of what carries the session now, if anything does.
        max_packets: Bytes of the largest encoded packet.
        apart: What is sent goes another way: it is dropped, or held back until the session is let in.
        pressure: What its sends wait for.
    """

    __slots__ = (
        "_greeter", "_holding", "_last_at", "_muted", "_row", "_row_by", "_session", "apart", "bounds", "loop",
        "max_packets", "outgoing", "pressure", "queue", "receiving", "writer",
    )  # fmt: skip

    def __init__(self, loop: Loop, core: SessionCore, session: Session) -> None:
        self.loop = loop
        self.bounds = core.bounds
        self.queue = core.sending
        self.receiving = core.receiving
        self.outgoing = core.numbering.outgoing
        self._session = session
        self.writer: Writer | None = None
        self.pressure = BackPressure(core, session)
        self.max_packets = 0
        self.apart = self._muted = self._holding = False
        self._greeter = 0  # whose packets are not held back, by `Loop.identity`
        self._last_at = 0.0  # when the last packet was made, in seconds
        self._row = self._row_by = 0  # how many in a row it had before it, and their thread

    def post(
        self,
        encoded: bytes,
        timeout: float | None,
        latest: Mark = None,
        wait: bool = True,
        at: float = -inf,
    ) -> None:
        """
        Queue one encoded packet and see that it is written. While nothing carries the session it stays in the queue.

        Hot: called with arguments by place, which CPython passes in a third of the time. `casting.py` has it again.

        Args:
            at: When it was made, by a clock that need not be right: one of many in a row may wait for the next one.
                By default it does not.

        Raises:
            ConnectionClosed: The session has ended.
            LimitExceeded: The packet is larger than the session allows.
            LinkTimeout: No room within `timeout` seconds. The packet was not queued.
        """
        writer, size = self.writer, len(encoded)
        if writer is None or self.receiving.dropping:
            self.pressure.check_goes_on()
        if size > self.max_packets:
            raise self._too_large(size)
        if self.apart and self._put_apart(encoded, timeout, latest, wait):
            return
        loop, queue, me = self.loop, self.queue, get_ident()
        leads = loop.lead.thread == me and writer is not None
        if wait and not leads and queue.is_crowded(size) and not self._session.inside_handler():
            self.pressure.wait(size, timeout, latest)
        loop.grown = grown = loop.grown + size
        if grown > loop.look_after:
            loop.grew()
        if writer is None:
            queue.put(encoded, latest)
        elif leads:
            if latest is not None:
                queue.put(encoded, latest)
            else:
                with queue.guard:  # as `put`
                    queue.size += size
                    queue.packets.append(encoded)
            # The flush list is the leader's; if leadership went away meanwhile, no thread may look at it again.
            if not writer.listed:
                writer.listed = True
                loop.flush_list.append(writer)
            if loop.lead.thread != me:
                writer.listed = False
                writer.flush()
        else:
            in_row = 0.0 <= at - self._last_at < ROW_SECONDS
            self._last_at = at
            if in_row or latest is not None or queue.packets or loop.batches:
                self._post_behind(writer, encoded, latest, in_row)
            else:
                self._row = 0
                if not writer.write_packet(encoded):
                    queue.put(encoded)
                    writer.flush()
        if self.writer is not writer:
            self.look_again()
        bounds = self.bounds
        if queue.size > bounds.unsent or self.outgoing.unacked > bounds.hard_unacked:
            self.pressure.choke(writer)

    def _post_behind(self, writer: Writer, encoded: bytes, latest: Mark, in_row: bool) -> None:
        """By a thread that does not lead, where something waits already, or this packet may wait for others."""
        queue, me = self.queue, get_ident()
        batch = self.loop.batches.get(me)
        if batch is not None:
            queue.put(encoded, latest)
            batch.append(writer)
            return
        self._row = row = self._row + 1 if in_row and self._row_by == me else 1
        self._row_by = me
        burst = row >= ROW_PACKETS
        if not burst and latest is None and not queue.packets and writer.write_packet(encoded):
            return
        queue.put(encoded, latest)
        if not burst or queue.size >= BURST_BYTES or not self.loop.bursts.add(writer, me):
            writer.flush()

    def offer(
        self, encoded: bytes, timeout: float | None, latest: str | None, wait: bool, full: str
    ) -> bool:
        """
        As `post`, with another way out where there is no room.

        Args:
            encoded: The packet.
            timeout: As for `post`.
            latest: Likewise; with "oldest" those with this key are dropped.
            wait: Likewise.
            full: One of `FULL`, see `Peer.send`.

        Returns:
            Whether it was queued.

        Raises:
            ConfigError: `full` is something else.
            LimitExceeded: As for `post`.
        """
        word("full", full, FULL)
        if full == "wait":
            self.post(encoded, timeout, latest, wait)
            return True
        self.pressure.check_goes_on()
        if full == "latest":
            self.post(encoded, None, latest, False)
            return True
        mark: Mark = Loose(latest or "") if full == "oldest" else latest
        size = len(encoded)
        if size > self.max_packets:
            raise self._too_large(size)
        if self._is_crowded(size) and not self.queue.replaces(mark):
            self.look_again()  # takes in acknowledgements
            if self._is_crowded(size) and not self._makes_room(size, mark):
                self.pressure.dropped += 1
                if full == "end":
                    self.pressure.end_slow()
                return False
        self.post(encoded, None, mark, False)
        return True

    def _is_crowded(self, size: int) -> bool:
        return self.queue.is_crowded(size)

    def _makes_room(self, size: int, mark: Mark) -> bool:
        if not isinstance(mark, Loose):
            return False
        dropped = self._drop_oldest(size, mark.key)
        self.pressure.dropped += dropped or 0
        return dropped is not None

    def _drop_oldest(self, size: int, key: str) -> int | None:
        """See `SendQueue.make_room`."""
        return self.queue.make_room(size, key)

    @property
    def muted(self) -> bool:
        """Whether what is sent is dropped."""
        return self._muted

    @muted.setter
    def muted(self, muted: bool) -> None:
        self._muted = muted
        self.apart = muted or self._holding

    def hold_back(self) -> None:
        """Before anybody can send: what is sent is not to go out before the application has let the session in."""
        self.queue.hold_back()
        self.apart = self._holding = True

    def greet(self, fire: Callable[[], Pending | None]) -> Pending | None:
        """
        Let the application greet the session, and then let go what was held back meanwhile.

        Args:
            fire: Greets it. What its thread sends goes out at once. If it raises `Refused`, or Ctrl-C comes,
                nothing else ever goes out.

        Returns:
            What `fire` does.
        """
        if not self._holding:
            return fire()
        self._greeter = self.loop.identity()
        try:
            pending = fire()
        except (Refused, KeyboardInterrupt):  # see `Decision`
            self._greeter = 0
            raise
        except BaseException:
            self._let_go()
            raise
        if pending is None:
            self._let_go()
        else:
            self._greeter = pending.number
            pending.then(self._greeted)
        return pending

    def _greeted(self, error: BaseException | None) -> None:
        self._greeter = 0
        if error is None:  # otherwise refused, see `Decision`
            self._let_go()

    def _let_go(self) -> None:
        self.queue.release()
        self._holding, self._greeter = False, 0
        self.apart = self._muted
        if self._muted:
            self.apart = True  # another thread has muted it between the two halves of the last line
        self.look_again()
        self.pressure.wake_waiters()

    def _put_apart(self, encoded: bytes, timeout: float | None, latest: Mark, wait: bool) -> bool:
        """False: it goes the usual way after all."""
        if self._muted:
            return True
        queue, size = self.queue, len(encoded)
        if self._greeter == self.loop.identity():
            if isinstance(latest, str):
                queue.supersede(latest)
            return False
        if wait and queue.is_crowded(size) and not self._session.inside_handler():
            self.pressure.wait(size, timeout, latest)
        if not queue.put_held(encoded, latest):
            return False
        self.loop.grown += size
        if queue.is_over_hard_limit:
            log.warning(
                "%s: on_connect does not come to its end, and %d bytes wait to be sent; ended",
                self._session.name, queue.unsent,
            )  # fmt: skip
            self._session.end(Code.TOO_SLOW)
        return True

    def _too_large(self, size: int) -> LimitExceeded:
        return LimitExceeded(
            f"a packet of {size} bytes is larger than the {self.max_packets} that this session allows",
            limit="max_packet",
            hint="send it in pieces, or raise max_packet= of the server",
        )

    def look_again(self) -> None:
        """Another link carries the session than a moment ago: it may have looked before our packet was there."""
        writer = self.writer
        if writer is not None:
            writer.flush()
