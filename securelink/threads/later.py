"""Requests without a waiting thread: a `concurrent.futures.Future` receives the answer."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from ..app.hooks import FailureLog
from ..errors import LinkTimeout, SecureLinkError
from ..limits import ENDED_AT_ONCE
from ..protocol.bounds import encode_for
from ..signatures import checked, did_run
from ..wire.packets import Packet
from .asking import Alarm, Waiting
from .channel import Channel
from .requesting import expect, opened

if TYPE_CHECKING:
    from ..protocol.replies import Reply

log = logging.getLogger("securelink")

_COARSE_SECONDS = 0.05  # expired requests are looked for no more often
_WAIT_SECONDS = 60.0  # the longest single wait for an answer
_failures = FailureLog()


class LaterReply(Future[Any]):
    """
    The answer to a `request_later`.

    Callbacks run as handlers of the session do: one at a time, in order with its packets, in the threads that its
    handlers run in. `result()` and `exception()` wait as `request()` does, also in handlers.

    The result of the base class is the reply as bytes, which is decoded at the first access.
    """

    def __init__(self, channel: Channel, deadline: float) -> None:
        super().__init__()
        self._channel = channel
        self._owner = channel.owner.session  # a client that waits for an answer is not forgotten
        self._waiting = _Later(self, deadline)
        self._decoded: list[tuple[Any, SecureLinkError | None]] = []  # the first result counts

    @property
    def _number(self) -> int:
        return self._waiting.number

    def cancel(self) -> bool:
        """
        Stop waiting for the answer; the peer does not learn of it.

        Returns:
            False if the answer or an error has come already.
        """
        if self._channel.forget(self._number):
            super().cancel()
            self.set_running_or_notify_cancel()  # wakes those in concurrent.futures.wait()
            self._over()
        return self.cancelled()

    def result(self, timeout: float | None = None) -> Any:
        """
        The answer; waits for it.

        Args:
            timeout: In seconds; None: as long as the request itself.

        Raises:
            RequestFailed, ConnectionClosed, LinkTimeout: As `request()`.
            CancelledError: `cancel()` was called.
            TimeoutError: It did not come in `timeout` seconds. It may still come.
        """
        self._wait(timeout)
        data, error = self._decode(super().result(0))
        if error is not None:
            raise error
        return data

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The exception that `result()` would raise, or None; waits like it."""
        self._wait(timeout)
        error = super().exception(0)
        return error if error is not None else self._decode(super().result(0))[1]

    def _get_snapshot(self) -> tuple[bool, bool, Any, BaseException | None]:
        # From Python 3.14 on asyncio.wrap_future() asks this, and not result() and exception().
        if not self.done() or self.cancelled():
            return self.done(), self.cancelled(), None, None
        error = self.exception()
        return True, False, None if error is not None else self.result(), error

    def add_done_callback(self, fn: Callable[[Future[Any]], object]) -> None:
        """
        Call `fn(future)` when the answer or an error is there, as a handler of the session is called.

        Raises:
            ConfigError: It is no plain function of one argument.
        """
        checked("the callback of a request", fn, ("future",))
        super().add_done_callback(lambda _: self._hand_over(fn))

    def _hand_over(self, callback: Callable[[Future[Any]], object]) -> None:
        if self._channel.loop.stopped:
            self._call(callback)  # no thread is left that runs handlers
        else:
            self._channel.note(lambda: self._call(callback))

    def _call(self, callback: Callable[[Future[Any]], object]) -> None:
        try:
            did_run(callback(self))
        except Exception as error:
            _failures.log(error, "a callback of a request raised an error; the session goes on")

    def _wait(self, timeout: float | None) -> None:
        if self.done():
            return
        channel = self._channel
        channel.check_may_wait()
        waiting = Waiting()
        super().add_done_callback(lambda _: waiting.event.set())
        end = time.monotonic() + timeout if timeout is not None else math.inf
        while not self.done() and (now := time.monotonic()) < end:
            channel.await_answer(waiting, min(end, now + _WAIT_SECONDS))
            if channel.ended and not waiting.event.wait(1.0) and channel.forget(self._number):
                self._failed(channel.closed_error())  # in a forked process no event reports it

    def _decode(self, reply: Reply) -> tuple[Any, SecureLinkError | None]:
        """Data and error of the reply: two threads may ask at once, and get the same."""
        decoded = self._decoded
        if not decoded:
            try:
                found: tuple[Any, SecureLinkError | None] = (
                    opened(self._channel, reply).data,
                    None,
                )
            except SecureLinkError as error:
                found = (None, error)
            decoded.append(found)
            reply.drop()  # last: a thread that finds it dropped also finds the decoded packet
        return decoded[0]

    def _answered(self, reply: Reply) -> None:
        self.set_result(reply)
        self._over()

    def _failed(self, error: SecureLinkError) -> None:
        self.set_exception(error)
        self._over()

    def _over(self) -> None:
        self._owner = None
        self._waiting.future = None  # so that it is freed when it is dropped


class _Later(Waiting):
    """The waiter of the session for the answer. Only the thread that removed it there ends it."""

    __slots__ = ("deadline", "future")
    patient = True

    def __init__(self, future: LaterReply, deadline: float) -> None:
        super().__init__()
        self.future: LaterReply | None = future
        self.deadline = deadline

    def answered(self, reply: Reply | None) -> None:
        """By the reading thread."""
        future = self.future
        if reply is not None and future is not None:
            future._answered(reply)

    def over(self) -> None:
        """The session has ended."""
        future = self.future
        if future is not None:
            future._failed(future._channel.closed_error())

    def late(self, error: LinkTimeout) -> None:
        """Nothing has come in time."""
        future = self.future
        if future is not None:
            future._failed(error)


def ask_later(channel: Channel, packet: Packet, timeout: float) -> Future[Any]:
    """
    Send a request, and do not wait for its answer.

    Raises:
        CodecError, ConnectionClosed, LimitExceeded: It cannot be sent.
        LinkTimeout: There is no room for it now.
    """
    deadline = time.monotonic() + timeout
    future = LaterReply(channel, deadline)
    try:
        packet.id = expect(channel, future._waiting)
        encoded = encode_for(channel.bounds, packet)
        channel.outbox.post(encoded, 0.0, None, True, packet.created)
        _arm(channel, deadline)
    except BaseException:
        channel.forget(future._number)
        raise
    return future


def _arm(channel: Channel, deadline: float) -> None:
    """Set the timer of the session, which is for the earliest deadline."""
    with channel.lock:
        alarm = channel.alarm
        if alarm is None:
            alarm = channel.alarm = Alarm(channel)
        if channel.ended or deadline >= alarm.at:
            return
        alarm.at = deadline
    try:
        channel.loop.call_later(max(0.0, deadline - time.monotonic()), lambda: _expire(alarm))
    except BaseException:  # Ctrl-C: the next request must not assume that there is a timer
        with channel.lock:
            alarm.at = math.inf
        raise


def _waiting(channel: Channel) -> list[tuple[int, _Later]]:
    expected = channel.core.requests.expected
    return [(number, waiter) for number, waiter in expected.items() if isinstance(waiter, _Later)]


def _expire(alarm: Alarm[Channel]) -> None:
    """By the leader: answers that did not come in time will not be waited for."""
    channel = alarm.of
    if channel is None:
        return  # the session has ended, and said so to all who waited
    now, left = time.monotonic(), math.inf
    overdue: list[_Later] = []
    with channel.lock:
        alarm.at = math.inf
        for number, later in _waiting(channel):
            if later.deadline > now:
                left = min(left, later.deadline)
            elif len(overdue) < ENDED_AT_ONCE:
                del channel.core.requests.expected[number]
                overdue.append(later)
            else:
                left = now  # the rest hears of it in the next turns: others wait for the leader
    for later in overdue:
        later.late(
            LinkTimeout(
                f"{channel.name} did not answer a request in time; the session goes on",
                hint="its handler may still be running: give a longer timeout=",
            )
        )
    if left < math.inf:
        _arm(channel, left if left <= now else max(left, now + _COARSE_SECONDS))
