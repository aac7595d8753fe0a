"""
The durable side of a session: an inbox, an outbox, who waits for an answer, and the end. A `Link` carries it.
"""

from __future__ import annotations

import math
import threading
import time
from threading import get_ident
from typing import TYPE_CHECKING, Any

from .._mypyc import mypyc_attr
from ..codes import Code, code_text, known
from ..errors import ConfigError, ConnectionClosed, LimitExceeded, LinkTimeout, RequestFailed
from ..interrupts import Right, Sign
from ..limits import MAX_REQUESTS, MAX_WAITING_HANDLERS
from ..protocol.bounds import Bounds, encode_for
from ..text import escaped
from ..wire.fields import Content
from ..wire.packets import Packet, decode_packets, join_packets
from .inbox import Owner
from .loop import Loop
from .loop import waiting as taking_a_place
from .outbox import Outbox, Slot

if TYPE_CHECKING:
    from ..protocol import Failed
    from .link import Link

BLOCKED = "~blocked"  # header of a request: no other is handled before it is answered
FORKED = "this process is a fork of the one that opened it"


@mypyc_attr(allow_interpreted_subclasses=True)
class Waiting:
    """
    Somebody waits for a reply or a PONG. The reading thread fills it in.

    Attributes:
        event: Set when there is nothing to wait for any more.
        number: Of the request; of a PING the negative one; 0 before there is one.
        packet: The reply, if one came.
    """

    __slots__ = ("event", "number", "packet")

    def __init__(self) -> None:
        self.event = Sign()
        self.number = 0
        self.packet: Packet | None = None

    def answered(self, packet: Packet) -> None:
        """The reply is there."""
        self.packet = packet
        self.event.set()

    def over(self) -> None:
        """The session has ended: there will be no reply."""
        self.event.set()


def failure_of(reply: Packet) -> RequestFailed | None:
    """The error that a reply stands for, or None."""
    if not reply.headers or "error" not in reply.headers:
        return None
    reason = escaped(str(reply.headers["error"]))
    hint = ""
    if reason == "no handler":
        hint = f"is {escaped(reply.action)!r} spelled as in the other side's on()?"
    return RequestFailed(escaped(str(reply.data or "")), reason=reason, hint=hint)


#: Shared by all channels that wait for nothing: an empty dict each would cost 64 bytes.
_NOTHING: dict[int, Waiting] = {}


@mypyc_attr(allow_interpreted_subclasses=True)
class Channel(Outbox):
    """The durable side of a session, in either role."""

    __slots__ = (
        "_asked",
        "_clean",
        "_close_code",
        "_close_text",
        "_expires_at",
        "_failed",
        "_ours",
        "ended",
    )
    _expected: dict[int, Waiting]

    def __init__(self, loop: Loop, bounds: Bounds, owner: Owner) -> None:
        super().__init__(loop, bounds, owner)
        self.ended = False
        self._close_code = int(Code.NORMAL)
        self._close_text = ""
        self._clean = False
        self._ours = False  # whether this side ended it
        self._failed: Failed | None = None  # what broke the protocol
        self._expires_at = math.inf  # when a timer looks for answers that did not come; under _lock
        self._asked = 0  # requests and pings so far; under _lock
        self._expected = _NOTHING  # replies and PONGs that are waited for; under _lock

    # --- asking ---------------------------------------------------------------------------------------------

    def expect(self, waiting: Waiting, *, pong: bool = False) -> int:
        """
        From now on the reply, or the PONG, with the number that this returns is for `waiting`.

        It may be so although this raises, for Ctrl-C can come at the end: `waiting.number` says it.
        """
        with self._lock:
            if self._link is None:
                raise self.closed_error()
            if len(self._expected) >= MAX_REQUESTS:
                raise LimitExceeded(
                    f"{MAX_REQUESTS} requests wait for their reply already", limit="MAX_REQUESTS"
                )
            if self._expected is _NOTHING:
                self._expected = {}
            self._asked += 1
            number = self._asked
            waiting.number = -number if pong else number
            self._expected[waiting.number] = waiting
            return number

    def _resolve(self, packet: Packet) -> bool:
        """Give a reply to the call that waits for it; False when none does."""
        if packet.reply_to is None:
            return False
        with self._lock:
            waiting = self._expected.pop(packet.reply_to, None)
        if waiting is None:
            return False
        waiting.answered(packet)
        return True

    def _ponged(self, number: int) -> None:
        waiting = self._expected.get(-number)
        if waiting is not None:
            waiting.event.set()

    def forget(self, number: int) -> bool:
        """Wait no more; False when nobody did."""
        with self._lock:
            return self._expected.pop(number, None) is not None

    def ask(self, packet: Packet, timeout: float) -> Packet:
        """
        Send a request and wait for its reply.

        Raises:
            RequestFailed: The other side has no answer.
            ConnectionClosed: The session ended before the reply came.
            LinkTimeout: No reply in time. One that comes later is dropped.
            ConfigError: The other side cannot handle it before this handler has answered.
        """
        self.check_may_wait()
        handling = self._handling()
        if handling is not None:
            if handling.headers and BLOCKED in handling.headers:
                raise ConfigError(
                    f"{self.name} waits for this handler's answer in a handler of its own, "
                    "and handles no request before",
                    hint="answer first, or send() and handle the answer as a packet",
                )
            packet.headers = {**(packet.headers or {}), BLOCKED: True}
        deadline = time.monotonic() + timeout
        waiting = Waiting()
        try:
            packet.id = self.expect(waiting)
            self.post(encode_for(self.bounds, packet), timeout=timeout)
            self.await_answer(waiting, deadline)
        finally:
            # Not by a call of ours, at whose beginning Ctrl-C may come: it would be waited for for ever.
            with self._lock:
                self._expected.pop(waiting.number, None)
        reply = waiting.packet
        if reply is None:
            if self.ended:
                raise self.closed_error()
            raise LinkTimeout(
                f"{self.name} did not answer the request {packet.action!r} within {timeout:g} s",
                hint="its handler may still be running: give a longer timeout=",
            )
        failure = failure_of(reply)
        if failure is not None:
            raise failure
        return reply

    def probe(self, timeout: float) -> float:
        """Send a PING; seconds until its PONG. Raises `LinkTimeout`, `ConnectionClosed`."""
        self.check_may_wait()
        waiting = Waiting()
        try:
            number = self.expect(waiting, pong=True)
            link = self._link
            if link is None:
                raise self.closed_error()
            start = time.monotonic()
            link.control(Content.PING, number.to_bytes(8))
            self.await_answer(waiting, start + timeout)
            if not waiting.event.is_set():
                raise LinkTimeout(
                    f"{self.name} did not answer a ping within {timeout:g} s",
                    hint="it or the network may be overloaded: try again with a longer timeout=",
                )
            if self.ended:
                raise self.closed_error()
            return time.monotonic() - start
        finally:
            with self._lock:  # see _ask
                self._expected.pop(waiting.number, None)

    def check_may_wait(self) -> None:
        if self.loop.manual and self.loop.turn_thread == get_ident():
            raise ConfigError(
                "a handler inside update() cannot wait for the other side",
                hint="send() and handle the answer as a packet, or use start()",
            )

    def await_answer(self, waiting: Waiting, deadline: float) -> None:
        """Wait until `waiting` is filled, the session ends or the deadline passes."""
        loop = self.loop
        if not loop.manual:
            # Whoever waits must not lead: the reply has to be read.
            with taking_a_place(waiting.event.set) as place:
                waiting.event.wait(max(0.0, deadline - time.monotonic()))
            if place is not None and place.ended_early:
                self._ended_early(waiting)
            return
        while not waiting.event.wait(0.001) and time.monotonic() < deadline:
            loop.turn()

    def _ended_early(self, waiting: Waiting) -> None:
        if waiting.packet is None and not self.ended:
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
            self.post(encode_for(self.bounds, reply), timeout=None, wait=False)
        except ConnectionClosed:
            pass

    @property
    def connected(self) -> bool:
        """Whether packets can be sent."""
        return self._link is not None

    def numbers(self) -> dict[str, int]:
        """Records, packets and bytes of both directions so far."""
        incoming, outgoing = self.numbering.incoming, self.numbering.outgoing
        return {
            "records_received": incoming.accepted,
            "records_sent": outgoing.sent,
            "bytes_received": self._in_bytes,
            "bytes_sent": outgoing.bytes,
            "packets_received": self._handled,
        }

    def is_over(self) -> bool:
        """Whether nothing can be sent any more: the session has ended, or is being ended."""
        link = self._link
        return link is None or link.closing is not None or self._dropping

    # --- the end ----------------------------------------------------------------------------------------------

    def end(self, code: int, text: str = "") -> None:
        """End the session from our side: what is queued goes out, then CLOSE. Any thread; returns at once."""
        self._dropping = True
        link = self._link
        if link is not None:
            link.end(code, text)

    def unconfirmed(self, link: Link | None) -> list[Packet]:
        """What the peer has not acknowledged, and what was never sent, in order. After the end."""
        outgoing = self.numbering.outgoing
        if link is None:
            records = outgoing.unconfirmed
        else:
            records = link.when_not_sending(lambda _: outgoing.unconfirmed)
        with self._lock:
            waiting = [e.encoded if isinstance(e, Slot) else e for e in self._outbox]
        records += [join_packets([encoded]) for encoded in waiting]
        return [
            packet for record in records for packet in decode_packets(record, self.bounds.elements)
        ]

    @property
    def reason(self) -> str:
        """Why the session ended, in a sentence that names who ended it; "" until it has ended."""
        if not self.ended:
            return ""
        if self._failed is not None:
            return escaped(self._failed.words)
        words = self._close_text or code_text(self._close_code, ours=self._ours)
        return f"{words}: {escaped(self._detail)}" if self._ours and self._detail else words

    @property
    def code(
        self,
    ) -> Code | int | None:  # the compiler makes a plain int of what is declared as one
        """Why the session ended, as a `Code` (or the number that a newer peer sent); None until it has ended."""
        return known(self._close_code) if self.ended else None

    @property
    def text(self) -> str:
        """The words with which an application ended the session (`kick`, a refusal), escaped; "" without."""
        return self._close_text if self.ended else ""

    @property
    def clean(self) -> bool:
        """Whether one side announced the end. False when the connection broke, and until it has ended."""
        return self.ended and self._clean

    def closed_error(self) -> ConnectionClosed:
        link = self._link
        if link is not None and link.closing is not None:
            code, text = link.closing
            return ConnectionClosed(
                f"the session is being ended: {escaped(text) or code_text(code, ours=True)}",
                code=code,
                text=escaped(text),
                clean=True,
            )
        if not self.ended and not self._dropping:
            return ConnectionClosed("there is no connection", hint="call connect() first")
        return ConnectionClosed(
            f"the session is over: {self.reason}",
            code=self._close_code,
            text=self._close_text,
            clean=self._clean,
            hint=self._failed.hint if self._failed is not None else "",
        )

    def _orphaned(self) -> None:
        """In a child of fork(): the session is the parent's. Threads that held these locks are not here."""
        self._lock, self._run_right = threading.Lock(), Right()
        self._inbox.clear()
        self.ended, self._clean, self._link = True, False, None
        self._close_code, self._close_text, self._failed = int(Code.INTERNAL), FORKED, None

    def _finished(
        self, code: int, text: str, clean: bool, ours: bool = False, failed: Failed | None = None
    ) -> bool:
        """The link is gone. False for all calls but the first: the reading thread and `close()` may race."""
        with self._lock:
            if self.ended:
                return False
            self._close_code, self._close_text, self._clean = code, escaped(text), clean
            self._ours, self._failed = ours, failed
            self.ended = True  # after what says why
            self._link = None
            expected, self._expected = self._expected, _NOTHING
        for waiting in expected.values():
            waiting.over()
        self._wake_waiters()
        return True
