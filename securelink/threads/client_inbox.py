"""The inbox of a client's session: who may run it, and when."""

from __future__ import annotations

import logging
from threading import get_ident
from typing import Protocol

from ..protocol.receive_queue import ReceiveQueue
from .giving_way import worker_threads
from .inbox import Inbox, Session
from .loop import Loop
from .mailbox import Mailbox

log = logging.getLogger("securelink.client")


class Leaving(Session, Protocol):
    """A client's channel, as its inbox knows it."""

    def left_over(self) -> None:
        """Something is left in the inbox that its loop does not run by itself."""


class ClientInbox(Inbox):
    """Run by the driving thread or the caretaker. Packets without a handler are kept for `receive`, up to a bound."""

    __slots__ = ("_channel", "_mailbox", "_warned", "own_thread")

    def __init__(self, loop: Loop, queue: ReceiveQueue, mailbox: Mailbox, channel: Leaving) -> None:
        super().__init__(loop, queue, mailbox, channel)
        self._channel = channel
        self._mailbox = mailbox
        self.own_thread = 0  # the only one that runs it; 0: any
        self._warned = False

    def run(self) -> bool:
        """As `Inbox.run`."""
        if self.own_thread and self.is_foreign():
            return False  # its own thread runs it, in update()
        if not self._mailbox.packets or self.may_run():
            more = Inbox.run(self)  # super() costs as much as the rest of this method
            if more and get_ident() not in worker_threads:
                self._channel.left_over()
            return more
        if not self._warned:
            self._warned = True
            log.warning(
                "%d packets wait for receive(); until it is called no handler is called either. "
                "Bind a handler to what is not wanted",
                len(self._mailbox.packets),
            )
        self._channel.left_over()
        return False

    def is_foreign(self) -> bool:
        """Whether the caller must not run handlers: they belong to another thread."""
        return bool(self.own_thread) and self.own_thread != get_ident()

    def may_run(self) -> bool:
        """Whether what waits may be handled now, by this thread."""
        if self.is_foreign():
            return False
        return self.queue.dropping or self._mailbox.has_room(self.queue.bounds.inbox_bytes)
