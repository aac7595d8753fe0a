"""
What arrives at a session is run here: by at most one thread, in order.

Records wait as bytes in the session's `ReceiveQueue` and are decoded when their turn comes. `right` is the right to
run them; the thread that gives it up looks once more.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable
from functools import partial
from threading import get_ident
from typing import Any, Protocol, cast

from .._mypyc import mypyc_attr
from ..app.hooks import Decision
from ..app.pending import Pending
from ..codes import Code
from ..errors import CodecError, ConfigError
from ..interrupts import Right
from ..limits import OPENED_GUESS, RUN_PACKETS, RUN_SECONDS, STEP_SECONDS
from ..protocol.arrived import ARRIVED, Happening, Partly, Record, Rest
from ..protocol.receive_queue import ReceiveQueue
from ..streams.addresses import is_loopback_host, networks
from ..wire.packets import Packet
from . import bursts
from .giving_way import worker_threads
from .loop import Loop

log = logging.getLogger("securelink")
Left = tuple[int, float, Pending | None]  # of a turn: packets and deadline; and what is not done


class Owner(Protocol):
    """What has a channel: takes the packets that arrive in it."""

    @property
    def session(self) -> Any:
        """What the application knows the session as."""

    @property
    def name(self) -> str:
        """Who the peer is, for the log."""

    @property
    def held(self) -> int:
        """Bytes that it keeps for the peer."""

    def handle(self, channel: Any, packet: Packet) -> Pending | None:
        """
        Take one packet.

        Returns:
            What has been begun and is not done: nothing else of the session happens before.

        Raises:
            BaseException: One that is no `Exception`, of the application's.
        """

    def throttled(self) -> None:
        """The peer sends more than it may in a second."""


class Session(Protocol):
    """The session that has an inbox, as that needs it; it is given to the owner with each packet."""

    def end(self, code: int, text: str = "") -> None:
        """End it from our side."""

    def handled(self) -> None:
        """Something was handled: perhaps an acknowledgement is due."""

    def look_again(self) -> None:
        """Whether it is read may have changed."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Inbox:
    """
    Runs what has arrived.

    Args:
        loop: Its threads run it.
        queue: What has arrived.
        owner: Gets the packets.
        session: Whose inbox this is.

    Attributes:
        throttled: The peer has sent too much lately, and is not read for a moment.
        runner: The thread that runs it now, or 0.
        right: To run it.
        network: Of its peer: all inboxes of one take turns as one does. None: it stands for itself.
        detail: What was wrong with what the peer sent.
        parked: What the application has begun here, and is not done: meanwhile `right` is taken, by no thread.
    """

    __slots__ = (
        "_second", "detail", "loop", "network", "owner", "parked", "queue", "right", "runner", "session", "throttled",
    )  # fmt: skip

    def __init__(self, loop: Loop, queue: ReceiveQueue, owner: Owner, session: Session) -> None:
        self.loop = loop
        self.queue = queue
        self.owner = owner
        self.session = session
        self.network: Hashable = None
        queue.on_look = loop.look_later
        self.detail = ""
        self.throttled = False
        self._second = 0.0  # when `next_second` was called last
        self.runner = 0
        self.right = Right()
        self.parked: Pending | None = None

    def stands_for(self, host: str) -> None:
        """Its peer has this address. Those of this machine may be anybody's, behind a proxy or a tunnel."""
        self.network = network = None if is_loopback_host(host) else networks(host)[-1]
        look = self.loop.look_later
        if look is not None:  # most sessions share one
            self.queue.on_look = look if network is None else partial(look, network=network)

    def note(self, event: Happening) -> None:
        """Put an event behind the packets that came before it. Any thread."""
        self.queue.items.append(event)
        self.loop.schedule(self)

    def run(self) -> bool:
        """
        Handle what waits, for RUN_PACKETS or RUN_SECONDS.

        Returns:
            True when something is left, or came meanwhile: the caller sees that the inbox is run again.
        """
        right = self.right
        try:
            del right.free
        except AttributeError:
            return False  # the thread that runs it looks once more when it is done
        try:
            self.runner = get_ident()
            try:
                more = self._run_some()
            finally:
                self.runner = 0
            if self.queue.may_owe():
                self.session.handled()
        except BaseException as error:
            # Ctrl-C, most likely. In the program's own thread it ends what the program is doing;
            # in one of ours it would only end the thread.
            if get_ident() not in worker_threads:
                self.loop.schedule(self)
                raise
            log.warning(
                "a handler of %s raised %s, which ends nothing in a thread of ours; the session goes on",
                self.owner.name, type(error).__name__,
            )  # fmt: skip
            more = True
        finally:
            if self.parked is None:
                right.free = True
        if bursts.waiting:
            bursts.over()
        # Given up; look once more: a thread that appended meanwhile found us running and went away.
        return self.parked is None if more or self.queue.items else False

    def _park(self, pending: Pending) -> Pending | None:
        """By who runs it: nothing more is run before that is done. The record counts as handled only then."""
        if not pending.active:
            return None
        self.parked = pending
        self.loop.parked += 1
        pending.then(self._go_on)
        return pending

    def _go_on(self, error: BaseException | None) -> None:
        """By who has done it, in the loop's thread."""
        self.parked = None
        self.right.free = True
        self.loop.parked -= 1
        # The rest of a record that is through is only counted, which needs no turn.
        if self.run() if self._is_through() else self.queue.items:
            self.loop.schedule(self)

    def _is_through(self) -> bool:
        """Whether there is nothing but a record all of whose packets are handled."""
        items = self.queue.items
        first = items[0] if len(items) == 1 else None
        return isinstance(first, Rest) and first.at >= len(first.packets)

    def runs_here(self) -> bool:
        """In a handler or listener of this session: it is the caller's."""
        parked = self.parked
        if parked is not None:
            return parked.number == self.loop.identity()
        return self.runner == get_ident()

    def handling(self) -> Packet | None:
        """In a handler of this session: its packet. None in any other thread, and in listeners of events."""
        opened = self.queue.opened
        if not self.runs_here() or opened is None or not 0 < opened.at <= len(opened.packets):
            return None
        return opened.packets[opened.at - 1]

    def place_of(self, packet: Packet) -> tuple[int, int]:
        """
        Where a packet has come that is being handled: the number of its record, and its place there, from 1 on.

        Raises:
            ConfigError: It is handled already.
        """
        queue = self.queue
        opened, incoming = queue.opened, queue.incoming
        if opened is not None:
            packets, at = opened.packets, opened.at
            if 0 < at <= len(packets) and packets[at - 1] is packet:
                return incoming.done + incoming.early + 1, at
        raise ConfigError(
            "packet.number is known until the packet is handled",
            hint="read it in the handler: afterwards it gives the same number again",
        )

    def _run_some(self) -> bool:
        queue = self.queue
        inbox, incoming = queue.items, queue.incoming
        session, handle, loop = self.session, self.owner.handle, self.loop
        left = RUN_PACKETS
        deadline = 0.0  # unknown while there is a single thing to do: a lone packet costs no look at the clock
        while inbox:
            # Not popleft(): Ctrl-C comes after calls, and would take the item with it.
            item = inbox[0]
            if not deadline and len(inbox) > 1:
                deadline = time.monotonic() + RUN_SECONDS
            rest = queue.begin(item) if type(item) is bytes else None  # as usual
            if rest is None and isinstance(item, ARRIVED) and (rest := self._rest_of(item)) is None:
                return True  # it is decoded in steps, and others wait
            if rest is not None:
                queue.opened = rest  # counted, until all of it is handled
                packets, at = rest.packets, rest.at
                pending: Pending | None = None
                try:
                    if not at:
                        loop.grown = grown = loop.grown + OPENED_GUESS * rest.size
                        if grown > loop.look_after or queue.is_over_rate:
                            self._has_grown()
                    if len(packets) == 1 and not at and not queue.dropping:  # as usual
                        rest.at = 1
                        left -= 1
                        pending = handle(session, packets[0])
                    else:
                        left, deadline, pending = self._handle_several(rest, left, deadline)
                        if pending is None and rest.at < len(packets) and not queue.dropping:
                            return True
                    if pending is not None:
                        pending = self._park(pending)
                        return False
                finally:
                    if pending is not None or (rest.at < len(packets) and not queue.dropping):
                        inbox.appendleft(rest)
                    else:
                        queue.opened = None
                        incoming.done += 1
                        if incoming.ahead or (incoming.kept and not rest.charged):
                            incoming.go_past(rest.size)
                    if queue.full and queue.make_room():
                        self.session.look_again()
            else:
                left -= self._happen(cast(Happening, item))
            if inbox and (left <= 0 or time.monotonic() > deadline):
                return True
        return False

    def _handle_several(self, rest: Rest, left: int, deadline: float) -> Left:
        """Packets of one record, until one is not done at once, one has ended the session, or the turn is over."""
        session, handle, queue = self.session, self.owner.handle, self.queue
        packets, first, count = rest.packets, rest.at, len(rest.packets)
        pending: Pending | None = None
        left -= not count  # an empty record is work as well
        if not deadline and count - first > 1:
            deadline = time.monotonic() + RUN_SECONDS
        for at in range(first, count):
            if queue.dropping or (at > first and (left <= 0 or time.monotonic() > deadline)):
                break
            rest.at = at + 1
            left -= 1
            if (pending := handle(session, packets[at])) is not None:
                break
        return left, deadline, pending

    def _happen(self, event: Happening) -> int:
        """Run the event that is the first item. Returns how many packets it counts as: all, if it is not done."""
        try:
            del self.queue.items[0]
            pending = event()
            if isinstance(pending, Pending):
                self._park(pending)
        except KeyboardInterrupt:
            if isinstance(event, Decision):
                event.interrupted()
            raise
        return 1 if self.parked is None else RUN_PACKETS

    def _rest_of(self, record: Record | Partly | Rest) -> Rest | None:
        """
        The first record, whose turn has come, decoded and counted. After Ctrl-C its turn comes again.

        None when it is not decoded to its end, and goes on in the next turn.
        """
        queue = self.queue
        inbox, out_bytes = queue.items, queue.out_bytes
        if isinstance(record, Rest):
            del inbox[0]
            return record
        if isinstance(record, Partly) and record.is_waited_for and not queue.dropping:
            return None
        data: Record = record.record if isinstance(record, Partly) else record
        del inbox[0]
        try:
            packets = queue.open(record)
            if packets is None:
                packets = self._in_steps(record)
                if packets is None:
                    inbox.appendleft(record)
                    return None
            return Rest(packets, data)
        except CodecError as error:
            log.warning("%s sent a packet that cannot be read: %s", self.owner.name, error)
            self.detail = error.message
            self.session.end(Code.UNREADABLE)
            return Rest([], b"")
        except (KeyboardInterrupt, SystemExit):
            queue.out_bytes = out_bytes
            inbox.appendleft(record)
            raise

    def _has_grown(self) -> None:
        """A record was decoded, and much is kept since the last look, or has come in this second."""
        if self.loop.grown > self.loop.look_after:
            self.loop.grew()
        if self.queue.is_over_rate and not self.throttled:
            self.throttle()

    def _in_steps(self, record: Record | Partly) -> list[Packet] | None:
        """Its packets; None when they take longer than this turn."""
        deadline = time.monotonic() + STEP_SECONDS
        # A thread that calls receive() of a client serves no other session.
        for_others = self.loop.manual or get_ident() in worker_threads
        while True:
            packets = self.queue.open(record)
            if packets is not None or (for_others and time.monotonic() > deadline):
                return packets

    def throttle(self) -> None:
        """More packets, bytes or controls than one session may send: it is not read for a moment."""
        self.throttled = True
        log.info("%s sends too much: it is not read for a moment", self.owner.name)
        self.session.look_again()
        self.owner.throttled()

    def next_second(self, now: float) -> bool:
        """By a sweep, about once a second: time for the rates has passed; True when reading may go on again."""
        queue, was = self.queue, self.throttled
        queue.pass_time(now - self._second if self._second else 1.0)
        self._second = now
        self.throttled = queue.is_over_rate
        return was and not self.throttled

    def drop_waiting(self) -> None:
        """
        By the leader, of a session that we have ended for what it keeps: records that wait are dropped at once.

        While one of its handlers runs, the thread that runs it does it: handlers have a bounded number of places. Those
        that are coroutines have not, and may wait for long: what is behind one is dropped here, and it is cancelled,
        for it keeps its packet.
        """
        right, queue = self.right, self.queue
        try:
            del right.free
        except AttributeError:
            parked = self.parked
            if parked is not None:
                handles = queue.opened is not None
                queue.drop()
                if handles:
                    parked.call_off()
            return
        try:
            queue.drop()
        finally:
            right.free = True
        self.loop.schedule(self)

    def orphaned(self) -> None:
        """In a child of fork(): the thread that ran it may not be here."""
        self.right = Right()
        self.queue.items.clear()
