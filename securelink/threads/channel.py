"""
The durable side of a session as threads use it: its inbox, its outbox, and its end. A `Link` carries it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sized
from threading import get_ident
from typing import Any

from .._mypyc import mypyc_attr
from ..codes import Code, code_text
from ..errors import ConfigError, ConnectionClosed, LinkTimeout
from ..interrupts import Sign
from ..limits import ENDED_AT_ONCE, MAX_AWAY_SECONDS, MAX_WAITING_HANDLERS
from ..protocol import SessionCore
from ..protocol.bounds import Bounds, encode_for
from ..protocol.send_queue import Mark
from ..text import escaped
from ..wire.fields import Content
from ..wire.packets import Packet
from . import bursts
from .asking import Alarm, Waiting
from .carried import Keeper
from .giving_way import waiting as taking_a_place
from .giving_way import worker_threads
from .inbox import Inbox, Owner
from .link import Link
from .loop import Loop
from .outbox import Outbox
from .outcome import Outcome
from .unkept import Unkept

FORKED = "this process is a fork of the one that opened it"


@mypyc_attr(allow_interpreted_subclasses=True)
class Channel(Unkept):
    """
    A session, in either role, as threads use it: it has a core, an inbox, an outbox, and a link that carries it.

    Attributes:
        loop: Its threads run the session.
        core: What the session is.
        inbox: Runs what has arrived.
        outbox: Sends.
        owner: Gets the packets.
        link: What carries it now, if anything does.
        lock: Guards the tables of `core` and the end.
        ended: Whether it is over.
        outcome: How and why it ended; None until then.
        keeper: Keeps it while nothing carries it; None: it ends with its connection.
        grace: For how many seconds, if not for as long as the keeper would; 0: it ends with its connection.
        alarm: The timer that looks for answers that did not come, once there was one. Under the lock.
        parting: It is over, and answers are waited for that will not come; see `part`.
        back_at: Until when the peer asks this side to stay away, on the clock of `time.monotonic`.
    """

    __slots__ = (
        "_last", "alarm", "back_at", "core", "ended", "grace", "inbox", "keeper", "link", "lock", "loop", "outbox",
        "outcome", "owner", "parting",
    )  # fmt: skip

    def __init__(self, loop: Loop, core: SessionCore, owner: Owner) -> None:
        self.loop = loop
        self.owner = owner
        self.lock = threading.Lock()
        self.core = core
        core.guard_with(self.lock)
        self.inbox = self._make_inbox(loop, owner)
        self.outbox = self._make_outbox(loop)
        self.link: Link | None = None
        self.keeper: Keeper | None = None
        self.grace: int | None = None
        self.ended = self.parting = False
        self.outcome: Outcome | None = None
        self.alarm: Alarm[Channel] | None = None
        self._last: Callable[[], object] | None = None
        self.back_at = 0.0

    def place_of(self, packet: Packet) -> tuple[int, int]:
        """See `Inbox`."""
        return self.inbox.place_of(packet)

    def _make_inbox(self, loop: Loop, owner: Owner) -> Inbox:
        return Inbox(loop, self.core.receiving, owner, self)

    def _make_outbox(self, loop: Loop) -> Outbox:
        return Outbox(loop, self.core, self)

    @property
    def name(self) -> str:
        """Who the peer is, for the log."""
        return self.owner.name

    @property
    def bounds(self) -> Bounds:
        """How much it may keep. May be changed."""
        return self.core.bounds

    @bounds.setter
    def bounds(self, bounds: Bounds) -> None:
        core = self.core
        core.receiving.bound_by(bounds)
        core.bounds = core.sending.bounds = self.outbox.bounds = bounds

    @property
    def muted(self) -> bool:
        """Whether what is sent is dropped."""
        return self.outbox.muted

    @muted.setter
    def muted(self, muted: bool) -> None:
        self.outbox.muted = muted

    @property
    def unsent(self) -> int:
        """Bytes that the stream has not taken yet."""
        return self.core.sending.unsent

    @property
    def held(self) -> int:
        """Bytes that this session keeps in memory, for and of its peer. By a sweep."""
        return self.core.held + self.owner.held

    def carried_by(self, link: Link) -> None:
        """From now on this link carries the session."""
        link.carry(self)
        self.outbox.max_packets = link.writer.max_packets
        self.inbox.stands_for(link.address[0])
        self.link, self.outbox.writer = link, link.writer

    def may_suspend(self, link: Link) -> bool:
        """Whether it goes on when this link is lost."""
        keeper = self.keeper
        return keeper is not None and not self.core.receiving.dropping and keeper.keeps(self, link)

    @property
    def is_suspended(self) -> bool:
        """Whether it goes on, and nothing carries it."""
        return self.link is None and not self.ended

    def suspend(self, link: Link) -> bool:
        """
        By the link, with its send right, and while no thread reads it: the session goes on without it.

        Returns:
            False when it ends with this link, or has ended, or goes on over another one.
        """
        if not self.may_suspend(link):
            return False
        with self.lock:
            if self.ended or self.link is not link:
                return False
            self.core.detach(link.connection)
            self.link = self.outbox.writer = None
            return True

    def suspended(self) -> None:
        """After `suspend`, when nothing is held any more."""
        if self.keeper is not None:
            self.keeper.suspended(self)

    def go_on(self, link: Link, resume: Callable[[], bool]) -> bool:
        """
        Let another link carry it. While no thread reads or writes the one that did, if any.

        Args:
            link: From now on.
            resume: In one step with that; returns False, or raises, when nothing has changed.

        Returns:
            False when it is over, or is being ended, or `resume` said so.
        """
        with self.lock:
            if self.ended or self.core.receiving.dropping or not resume():
                return False
            self.carried_by(link)
        self._ping_again(link)
        return True

    def _ping_again(self, link: Link) -> None:
        """Send PINGs again whose PONG is waited for: the other link took them along."""
        for number in tuple(self.core.requests.expected):
            if number < 0:
                link.connection.control(Content.PING, (-number).to_bytes(8))

    def post(
        self, encoded: bytes, timeout: float | None, latest: Mark = None, wait: bool = True
    ) -> None:
        """See `Outbox.post`."""
        self.outbox.post(encoded, timeout, latest, wait)

    def note(self, event: Callable[[], object]) -> None:
        """See `Inbox.note`."""
        self.inbox.note(event)

    def note_last(self, event: Callable[[], object]) -> None:
        """By the leader: put an event behind all that comes of a session that has ended."""
        if self.parting:
            self._last = event
        else:
            self.note(event)

    def part(self) -> bool:
        """By the leader, while it is `parting`: tell some of those that wait for answers; True when more wait."""
        self.parting = self.core.requests.end_some(ENDED_AT_ONCE)
        last = self._last
        if not self.parting and last is not None:
            self._last = None
            self.note(last)
        return self.parting

    @property
    def waiters(self) -> Sized:
        """Those that wait for room to send."""
        return self.outbox.pressure.waiters

    def wake_waiters(self) -> None:
        """There may be room to send."""
        self.outbox.pressure.wake_waiters()

    def handled(self) -> None:
        """Something was handled: perhaps an acknowledgement is due, which nothing else will take along."""
        link = self.link
        if self.core.look() and link is not None and not link.writer.listed:
            link.writer.flush()

    def look_again(self) -> None:
        """Whether it is read may have changed."""
        link = self.link
        if link is not None:
            link.ask_interest()

    def inside_handler(self) -> bool:
        """Whether the calling thread runs a handler, and shall not wait for room."""
        # With a manual loop no thread would read acknowledgements while we wait.
        return get_ident() in worker_threads or self.loop.manual

    def look_for_room(self) -> None:
        """Take in acknowledgements that have come, and write what can be written."""
        self.outbox.look_again()

    def wait_for_room(self, woken: Sign, seconds: float) -> None:
        """Wait until there may be room to send."""
        woken.wait(seconds)

    def crowded_hint(self) -> str:
        """What to do when there is no room to send."""
        return "is the peer reading? send less, or give send() a longer timeout="

    def forget(self, number: int) -> bool:
        """Wait no more; False when nothing waited."""
        return self.core.requests.forget(number)

    def check_may_wait(self) -> None:
        """Raises `ConfigError` inside `update()`: no thread would read the answer meanwhile."""
        if self.loop.manual and self.loop.lead.thread == get_ident():
            raise ConfigError(
                "a handler inside update() cannot wait for the peer",
                hint="send() and handle the answer as a packet, or use start()",
            )

    def await_answer(self, waiting: Waiting, deadline: float) -> None:
        """Wait until `waiting` is filled, the session ends or the deadline passes."""
        loop = self.loop
        if bursts.waiting:
            bursts.over()
        if not loop.manual:
            # A thread that waits must not lead: the reply has to be read.
            link = self.link
            host = link.address[0] if link is not None else ""
            with taking_a_place(waiting.event.set, host) as place:
                waiting.event.wait(max(0.0, deadline - time.monotonic()))
            if place is not None and place.ended_early:
                self._ended_early(waiting)
            return
        while not waiting.event.wait(0.001) and time.monotonic() < deadline:
            loop.turn()

    def _ended_early(self, waiting: Waiting) -> None:
        if waiting.reply is None and not self.ended:
            raise self._crowded_out()

    def _crowded_out(self) -> LinkTimeout:
        return LinkTimeout(
            f"{self.name} did not answer yet, and {MAX_WAITING_HANDLERS} other handlers wait for replies",
            hint="a handler need not wait: send(), and handle the answer as a packet",
        )

    def answer(self, packet: Packet, data: Any = None, error: str | None = None) -> None:
        """Send the reply to a request; a session that has ended meanwhile needs none."""
        headers = {"error": error} if error is not None else None
        reply = Packet(packet.action, data, headers, time.time(), None, packet.id)
        try:
            encoded = encode_for(self.core.bounds, reply)
            self.outbox.post(encoded, None, None, False, reply.created)
        except ConnectionClosed:
            pass

    @property
    def connected(self) -> bool:
        """Whether a connection carries it now."""
        return self.link is not None

    def numbers(self) -> dict[str, int]:
        """Records, packets and bytes of both directions so far."""
        incoming, outgoing = self.core.numbering.incoming, self.core.numbering.outgoing
        return {
            "records_received": incoming.accepted,
            "records_sent": outgoing.sent,
            "bytes_received": self.core.receiving.in_bytes,
            "bytes_sent": outgoing.bytes,
            "packets_received": self.core.receiving.handled,
            "packets_dropped": self.outbox.pressure.dropped,
            "packets_replaced": self.core.sending.replaced,
            "sends_blocked": self.outbox.pressure.blocked,
        }

    def is_over(self) -> bool:
        """Whether nothing can be sent any more: the session has ended, or is being ended."""
        link = self.link
        asked = link is not None and link.connection.asked is not None
        return self.ended or asked or self.core.receiving.dropping

    # --- the end ----------------------------------------------------------------------------------------------

    def end(self, code: int, text: str = "", delay: float = 0.0) -> None:
        """
        End the session from our side: what is queued goes out, then CLOSE. Any thread; returns at once.

        Args:
            code: Why; `text` says it to the user of the peer.
            delay: With RESTART: seconds after which the peer is asked to come back.
        """
        self.core.receiving.refuse()
        while not self.ended:
            link = self.link
            if link is not None:
                link.end(code, text, delay)
            elif self.keeper is not None:
                self.keeper.end(self, code, text)
            if self.link is link:
                return  # otherwise it has lost its connection meanwhile, or got another one

    def stay_away(self, seconds: float) -> None:
        """See `Carried`; nobody can send this side away for long."""
        self.back_at = time.monotonic() + min(seconds, MAX_AWAY_SECONDS)

    def unconfirmed(self, link: Link | None) -> list[Packet]:
        """What the peer has not acknowledged, and what was never sent, in order. After the end."""
        if link is None:
            return self.core.unconfirmed()
        return link.writer.when_not_sending(lambda _: self.core.unconfirmed())

    def closed_error(self) -> ConnectionClosed:
        link = self.link
        asked = link.connection.asked if link is not None else None
        if asked is not None:
            code, text = asked
            return ConnectionClosed(
                f"the session is being ended: {escaped(text) or code_text(code, ours=True)}",
                code=code,
                text=escaped(text),
                clean=True,
            )
        if self.outcome is not None:
            return self.outcome.as_error()
        if self.core.receiving.dropping:
            return ConnectionClosed("the session is being ended")
        return ConnectionClosed("there is no connection", hint="call connect() first")

    def orphaned(self) -> None:
        """In a child of fork(): the session is the parent's. Threads that held these locks are not here."""
        self.lock = threading.Lock()
        self.core.guard_with(self.lock)
        self.inbox.orphaned()
        self.outcome = Outcome(Code.INTERNAL, FORKED)
        self.ended, self.link, self.outbox.writer = True, None, None

    def finished(self, outcome: Outcome) -> bool:
        """The session is over. False for all calls but the first: the reading thread and `close()` may race."""
        with self.lock:
            if self.ended:
                return False
            outcome.detail = self.inbox.detail
            self.outcome = outcome
            self.ended = True  # after what says why
            self.link = self.outbox.writer = None
            alarm = self.alarm
        if alarm is not None:
            alarm.of = None
        self.parting = self.core.requests.over()
        self.outbox.pressure.wake_waiters()
        return True
