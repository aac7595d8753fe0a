"""
A client's session that has lost its connection gets another one, in the background.

Attempts follow each other with growing pauses and jitter, for as long as the server keeps the session. Who makes them
says `attempts.py`.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import partial

from ..codes import Code, is_final
from ..errors import HandshakeError, Refused
from ..limits import CONNECT_SECONDS
from ..protocol import Resumption
from ..text import escaped
from .attempts import ELSEWHERE, Steps, attempts
from .client_channel import ClientChannel
from .client_link import ClientLink
from .connecting import Arrival, Connector, Destination, GoingOn, SessionGone
from .jitter import jitter
from .outcome import Outcome

log = logging.getLogger("securelink.client")

# Seconds before the first attempt, at most: many clients lose their server at one instant.
FIRST_PAUSE = 0.05
_GROWTH = 2.0
MOST_PAUSE = 5.0


class Reconnector:
    """
    Brings back one session of a client; the `Keeper` of its channel.

    It holds nothing of the client itself: one that the program has forgotten is closed although it is away.

    Args:
        connector: Makes the attempts.
        place: Where the server is.
        resumption: What the session's first connection brought; None: the server keeps nothing.
    """

    def __init__(
        self, connector: Connector, place: Destination, resumption: Resumption | None
    ) -> None:
        self._connector = connector
        self._place = place
        self._resumption = resumption
        self._lock = threading.Lock()  # guards the next two
        self._until = 0.0  # when the server forgets the session
        self._busy = False  # an attempt is under way, or will be
        self._pause = FIRST_PAUSE
        self._told = ""  # why the last attempt failed, as the log says

    # As the keeper of a session.

    def keeps(self, channel: ClientChannel, link: ClientLink) -> bool:
        """Whether it goes on when this link is lost."""
        return self._resumption is not None and not channel.loop.stopping

    def suspended(self, channel: ClientChannel) -> None:
        """Called by the thread that noticed that the connection is lost."""
        resumption = self._resumption
        assert resumption is not None
        self._pause, self._told = FIRST_PAUSE, ""
        self._until = time.monotonic() + resumption.lifetime
        away = self._away(channel)
        log.info(
            "%s: the connection is lost; trying to get another one%s",
            channel.name,
            f" in {away:.1f} s, as the server has asked" if away > 0 else "",
        )
        channel.note(channel.mailbox.suspended)
        self.see_to(channel)
        channel.wake_drivers()

    def see_to(self, channel: ClientChannel) -> None:
        """See that a thread tries to connect: Ctrl-C may have stopped the one that was about to begin."""
        with self._lock:
            if self._busy or not channel.is_suspended:
                return
            self._busy = True
        spread = jitter.uniform(0.0, FIRST_PAUSE)
        self._try_later(channel, self._away(channel) + spread)

    def _away(self, channel: ClientChannel) -> float:
        """For how long the server has asked to stay away. At least half of the session's time is for attempts."""
        now = time.monotonic()
        return max(0.0, min(channel.back_at - now, (self._until - now) / 2))

    def end(self, channel: ClientChannel, code: int, text: str) -> None:
        """End it though there is no connection to say so."""
        self._finish(channel, Outcome(code, text, ours=True))

    # Attempts.

    def _try_later(self, channel: ClientChannel, seconds: float) -> None:
        channel.loop.call_later(seconds, partial(self._start, channel))

    def _start(self, channel: ClientChannel) -> None:
        try:
            attempts.make(self._try(channel))
        except RuntimeError as error:
            log.error("no thread for another connection: %s", error)
            self._try_later(channel, MOST_PAUSE)

    def _try(self, channel: ClientChannel) -> Steps[None]:
        again = True
        try:
            if channel.is_suspended:
                again = yield from self._attempt(channel)
        except Exception:
            log.exception("an attempt to connect again failed in this library")
        finally:
            # What has arrived is none of this thread's business any more: the next attempt may be under way.
            if again and channel.is_suspended:
                self._try_later(channel, self._next_pause())
            elif again:
                self._rest()

    def _rest(self) -> None:
        with self._lock:
            self._busy = False

    def _next_pause(self) -> float:
        pause = self._pause * jitter.uniform(0.5, 1.5)
        self._pause = min(self._pause * _GROWTH, MOST_PAUSE)
        return max(0.0, min(pause, self._until - time.monotonic()))

    def _attempt(self, channel: ClientChannel) -> Steps[bool]:
        """One attempt; True when there is to be another one."""
        left = self._until - time.monotonic()
        resumption = self._resumption
        if left <= 0 or resumption is None:
            self._give_up(channel, Outcome(Code.EXPIRED))
            return False
        deadline = self._connector.deadline(min(left, CONNECT_SECONDS))
        try:
            going_on = GoingOn(channel.core, resumption)
            arrival = yield from self._connector.steps(self._place, deadline, going_on)
        except SessionGone:
            self._give_up(channel, Outcome(Code.LOST))
            return False
        except HandshakeError as error:
            if error.final and is_final(error.code):
                text = error.text if isinstance(error, Refused) else ""
                self._give_up(channel, Outcome(error.code, text, clean=True))
                return False
            self._tell(channel, error.message)
            return True
        except Exception as error:
            # Of the credentials' function too: nothing ends trying but the server.
            self._tell(channel, str(error))
            return True
        if channel.drive_right.taken:
            yield ELSEWHERE  # the driver of the last connection is about to notice that it is over
        self._connector.home.bring(partial(self._arrived, channel, arrival))
        return False

    def _tell(self, channel: ClientChannel, why: str) -> None:
        """Log a failed attempt; one that fails for the same reason as the last is news to nobody."""
        level = logging.DEBUG if why == self._told else logging.INFO
        self._told = why
        log.log(level, "%s: no other connection yet: %s", channel.name, escaped(why))

    def _arrived(self, channel: ClientChannel, arrival: Arrival) -> None:
        if not arrival.opened.resumed:
            arrival.drop()
            self._finish(channel, Outcome(Code.LOST))
            return
        self._resumption = channel.resumption = arrival.opened.resumption
        self._rest()  # first: should this connection break at once, the next begins anew
        replayed = len(channel.core.numbering.outgoing.again)
        told = partial(channel.mailbox.resumed, replayed)
        if not channel.go_on_over(arrival.link, arrival.early, told):
            channel.core.detach(arrival.link.connection)
            arrival.drop()  # it has ended meanwhile
            return
        log.info("%s: the session goes on, %d records go again", channel.name, replayed)
        self._connector.home.let_go(channel, unless=lambda: channel.is_suspended)
        channel.wake_waiters()
        if channel.drivers:
            channel.wake_drivers()
        else:
            self._connector.home.read(arrival.link)

    def _give_up(self, channel: ClientChannel, outcome: Outcome) -> None:
        """By the thread of an attempt."""
        self._connector.home.bring(partial(self._finish, channel, outcome))

    def _finish(self, channel: ClientChannel, outcome: Outcome) -> None:
        if channel.finished(outcome):
            while channel.parting and channel.part():
                pass
            channel.note(channel.ended_event)
            channel.wake_drivers()
        self._connector.home.let_go(channel)
