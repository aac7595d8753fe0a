"""
The session as the client holds it: the thread that waits drives.

A thread that waits for a packet reads the socket itself, with the drive right: no thread switch between the kernel and
the caller. A thread that waits while another one drives is woken by it, and looks again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from threading import get_ident

from ..codes import Code
from ..errors import ConnectionClosed, ProtocolError
from ..interrupts import Right, Sign
from ..protocol import Item, Resumption, SessionCore
from ..state import SessionFile
from ..wire.packets import Packet
from . import bursts
from .asking import Waiting
from .caretaker import Caretaker
from .channel import Channel
from .client_inbox import ClientInbox
from .client_link import PATIENCE_SECONDS, ClientLink
from .ends import SHUT
from .giving_way import waiting as taking_a_place
from .giving_way import worker_threads
from .inbox import Inbox, Owner
from .link import Link
from .loop import Loop
from .mailbox import Mailbox
from .outcome import AGAIN, WAYS_ON, Outcome

_LOOK_SECONDS = 0.02  # while another thread runs the inbox, which gives no sign on the socket


class ClientChannel(Channel):
    """
    The session as the client holds it.

    Attributes:
        carrier: Its link, also when the session is over, until the stream is closed.
        drive_right: The right to read the stream.
        drives: Counts drives.
        drivers: Of those that wait while another one drives.
        file: Where another process finds it; None: nowhere.
        home: Cares for it while no thread drives.
        mailbox, own_inbox: What waits for `receive`; `inbox`, as what it is.
        token, resumption: The session's, and what its last connection has brought.
    """

    __slots__ = (
        "carrier", "drive_right", "drivers", "drives", "file", "home", "mailbox", "own_inbox", "resumption", "token",
    )  # fmt: skip

    def __init__(
        self,
        loop: Loop,
        core: SessionCore,
        mailbox: Mailbox,
        *,
        token: str,
        home: Caretaker,
        own_thread: int = 0,
    ) -> None:
        self.mailbox = mailbox
        self.home = home
        super().__init__(loop, core, mailbox)
        self.own_inbox.own_thread = own_thread
        self.token = token
        self.resumption: Resumption | None = None
        self.carrier: ClientLink | None = None
        self.drive_right = Right()
        self.drivers: dict[Sign, None] = {}
        self.drives = 0
        self.file: SessionFile | None = None

    def finished(self, outcome: Outcome) -> bool:
        """As `Channel.finished`: no other process goes on with it."""
        if not super().finished(outcome):
            return False
        if self.file is not None:
            self.file.over()
        return True

    def _make_inbox(self, loop: Loop, owner: Owner) -> Inbox:
        self.own_inbox = ClientInbox(loop, self.core.receiving, self.mailbox, self)
        return self.own_inbox

    def keep_client(self, *, wanted: bool) -> None:
        """Keep the client alive although the program forgets it, as long as the session lasts: it has work to do."""
        self.mailbox.keep_client(wanted=wanted and not self.ended)

    def abandon(self) -> None:
        """The client was forgotten: say goodbye. In a finalizer, so it takes no lock and leaves it to the loop."""
        self.loop.call(lambda: self.end(Code.NORMAL))

    def is_wanted(self) -> bool:
        """Whether what comes must not wait until a thread drives: handlers, or answers to `request_later`."""
        return (self.alarm is not None and self.alarm.at < math.inf) or self.has_handlers()

    def has_handlers(self) -> bool:
        return self.mailbox.wants_background

    def ended_event(self) -> object:
        pending = self.mailbox.ended()
        if self.drivers:
            self.wake_drivers()
        return pending

    def suspend(self, link: Link) -> bool:
        """As `Channel.suspend`. In a child of fork() the caretaker finds what the link has let go."""
        self.home.keep(self)  # first: in between neither would have it
        try:
            if not super().suspend(link):
                return False
            self.carrier = None
            # Once more: who had brought that connection may have let it go meanwhile. Its stream kept the loop.
            self.home.keep(self)
            return True
        finally:
            if not self.is_suspended:
                self.home.let_go(self)

    def go_on_over(self, link: ClientLink, early: list[Item], told: Callable[[], object]) -> bool:
        """
        Let another connection carry it.

        Args:
            link: That.
            early: What came together with WELCOME, and is not in the socket any more.
            told: The event of it, which comes before all that comes over that connection.

        Returns:
            False when it is over.
        """
        gone_on: list[bool] = []

        def take_over() -> None:
            gone_on.append(self.go_on(link, lambda: True))
            if gone_on[0]:
                self.carrier = link
                self.note(told)
                self._take_over(link, early)
                link.writer.flush()

        while not self.drive_once(take_over):
            time.sleep(0.001)  # the driver of the last one is about to notice that it is over
        return gone_on[0]

    def await_connection(self, deadline: float) -> bool:
        """Wait while it is suspended. Returns whether it has a connection again."""
        while self.is_suspended and (left := deadline - time.monotonic()) > 0:
            self._wait(left, lambda: not self.is_suspended)
        return self.connected

    def released(self) -> None:
        """By the connection, whose socket is closed: a session that is over holds nothing that holds it."""
        self.carrier = None
        if self.drivers:
            self.wake_drivers()

    def left_over(self) -> None:
        """Called by the thread that ran the inbox and leaves something in it."""
        carrier = self.carrier
        if self.link is not None and carrier is not None:
            carrier.left_over()

    def run(self) -> bool:
        """See `ClientInbox.run`."""
        return self.inbox.run()

    def attach(self, link: ClientLink) -> None:
        """The connection that carries this session."""
        self.carrier = link
        self.carried_by(link)

    def begin(self, link: ClientLink, early: list[Item], greet: Callable[[], object]) -> None:
        """
        The handshake is done, and a connection attached: carry the session.

        Args:
            link: Its connection.
            early: What came together with WELCOME, and is not in the socket any more.
            greet: Called first of all, by the thread that runs the inbox.
        """
        self.core.receiving.items.append(greet)
        self.drive_once(lambda: self._take_over(link, early))

    def _take_over(self, link: ClientLink, early: list[Item]) -> None:
        self.home.adopt(link)
        link.reader.take_items(early, link)

    # Driving: any thread.

    def wait(self, timeout: float | None, ready: Callable[[], object]) -> None:
        """
        Wait until something may have happened, by driving or by waiting for the one who drives.

        Args:
            timeout: Seconds; None forever.
            ready: Whether the caller has what it waits for; asked again once nobody else can bring it unseen.

        Raises:
            LinkTimeout: In a handler: too many others wait as well.
        """
        if get_ident() not in worker_threads or timeout == 0:
            self._wait(timeout, ready)
            return
        with taking_a_place(self.wake_drivers) as place:
            self._wait(timeout, ready)
        if place is not None and place.ended_early and not ready():
            raise self._crowded_out()

    def _wait(self, timeout: float | None, ready: Callable[[], object]) -> None:
        if bursts.waiting:
            bursts.over()
        if timeout is None or timeout > PATIENCE_SECONDS:
            timeout = PATIENCE_SECONDS
        if self.link is None and self.is_suspended:
            self._wait_for_connection(timeout, ready)
            return
        right = self.drive_right
        try:
            del right.free
        except AttributeError:
            self._wait_for_driver(timeout, ready)
            return
        try:
            self.drives += 1
            # In this order: what was taken out of the inbox is being handled still, or what came of it is there.
            items, inbox = self.core.receiving.items, self.own_inbox
            waiting = items and inbox.may_run()
            running = not hasattr(inbox.right, "free")  # as `taken`, in half the time
            if ready() or (waiting and not running):
                return
            if running and timeout > _LOOK_SECONDS:
                timeout = _LOOK_SECONDS
            carrier = self.carrier
            if carrier is not None and self.link is not None:
                carrier.drive(timeout)
            elif running or items:
                time.sleep(min(timeout, _LOOK_SECONDS))
        finally:
            right.free = True
            if self.drivers:
                self.wake_drivers()

    def _wait_for_connection(self, timeout: float, ready: Callable[[], object]) -> None:
        if self.keeper is not None:
            self.keeper.see_to(self)
        if self.core.receiving.items:
            timeout = min(timeout, _LOOK_SECONDS)
        sign = Sign()
        self.drivers[sign] = None
        try:
            if not ready() and self.is_suspended:
                sign.wait(timeout)
        finally:
            self.drivers.pop(sign, None)

    def _wait_for_driver(self, timeout: float, ready: Callable[[], object]) -> None:
        sign = Sign()
        self.drivers[sign] = None
        try:
            # Look once more after joining them: the driver may have left in between.
            if not ready() and not self.ended and self.drive_right.taken:
                sign.wait(timeout)
        finally:
            self.drivers.pop(sign, None)

    def drive_once(self, act: Callable[[], object]) -> bool:
        """Do something as the driver; False when another thread drives."""
        right = self.drive_right
        try:
            del right.free
        except AttributeError:
            return False
        try:
            self.drives += 1
            act()
        finally:
            right.free = True
            if self.drivers:
                self.wake_drivers()
        return True

    def wake_drivers(self) -> None:
        """Let threads that wait look again."""
        for sign in tuple(self.drivers):
            sign.set()

    def wait_for_room(self, woken: Sign, seconds: float) -> None:
        """As `Channel.wait_for_room`: the waiting thread reads, so the two sides never wait for each other."""
        if self.is_suspended:
            woken.wait(seconds)
        elif not self.drive_once(partial(self._make_room, min(seconds, 0.1))):
            time.sleep(min(seconds, 0.001))

    def read_on(self) -> None:
        """As `Channel.read_on`: acknowledgements make room, and the two sides never wait for each other."""
        link = self.link
        if link is not None and not link.reader.greedy:
            link.reader.greedy = True
            link.ask_interest()

    def _make_room(self, timeout: float) -> None:
        carrier = self.carrier
        if carrier is not None and self.link is not None:
            carrier.drive(timeout, greedy=True)
            carrier.writer.flush()

    def await_answer(self, waiting: Waiting, deadline: float) -> None:
        while not waiting.event.is_set() and not self.ended:
            left = deadline - time.monotonic()
            if left <= 0:
                return
            if self.core.receiving.items:
                self.run()  # handlers too: the peer may ask back before it answers
            self.wait(left, waiting.event.is_set)

    def orphaned(self) -> None:
        """As `Channel.orphaned`."""
        super().orphaned()
        self.drive_right, self.resumption = Right(), None  # connect() ends no session of the parent

    def close(self, timeout: float) -> list[Packet]:
        """See `Client.close`."""
        deadline = time.monotonic() + timeout
        carrier = self.carrier
        if carrier is None:
            self.end(Code.NORMAL)
            self.mailbox.packets.clear()
            self.run()
            return self.unconfirmed(None)
        if not carrier.writer.when_not_sending(lambda held: held):
            carrier.writer.break_off()  # a signal came in the middle of a write, and its handler closes
        self.end(Code.NORMAL)
        self.mailbox.packets.clear()
        while not self.ended and (left := deadline - time.monotonic()) > 0:
            self._wait(left, lambda: self.ended)
            self.run()  # drops what is not wanted any more
        if not self.ended:
            carrier.finish_channel(Outcome(Code.BROKEN))
            carrier.loop.call(carrier.give_up)
        elif carrier.writer.end >= SHUT:
            carrier.loop.call(carrier.give_up)  # nothing comes after the server's CLOSE
        while self.run():  # on_disconnect, unless another thread is at it
            pass
        return self.unconfirmed(carrier)

    def closed_error(self) -> ConnectionClosed:
        error = super().closed_error()
        if not error.hint:
            ours = self.outcome is not None and self.outcome.ours
            told = error.clean and not ours
            error.hint = WAYS_ON.get(error.code, "") if told else AGAIN
        return error

    def over_error(self) -> ConnectionClosed | ProtocolError:
        """Why nothing more can be received: a broken protocol is an error of its own."""
        failed = self.outcome.failed if self.outcome is not None else None
        return self.closed_error() if failed is None else failed.as_error()

    def crowded_hint(self) -> str:
        """As `Channel.crowded_hint`."""
        if self.core.receiving.full:
            return "this program sends without receiving: call receive() or poll() as well"
        return super().crowded_hint()

    def inside_handler(self) -> bool:
        """As `Channel.inside_handler`: a handler in a driver's thread must not drive again below itself."""
        return super().inside_handler() or self.inbox.runner == get_ident()
