"""How a program takes packets from a client's channel: it waits for them, or polls once a frame."""

from __future__ import annotations

import math
import time
from functools import partial
from threading import get_ident

from ..app.context import Awaited
from ..app.received import Received
from ..errors import ConfigError, LimitExceeded, LinkTimeout
from ..limits import POLL_BYTES, UPDATE_READS
from . import bursts
from .client_channel import ClientChannel


def check_may_receive(channel: ClientChannel) -> None:
    """Raises `ConfigError` inside a handler: what it would wait for is handled only after it."""
    if channel.inbox.runs_here() and not channel.mailbox.packets:
        raise ConfigError(
            "a handler of this client cannot wait for packets: they come after it",
            hint="use request(), or bind a handler to the packet",
        )


def receive(channel: ClientChannel, timeout: float | None) -> Received | None:
    """See `Client.receive`."""
    mailbox = channel.mailbox
    packets = mailbox.packets
    mailbox.receiving = True
    if mailbox.incoming.owes:
        channel.handled()  # not after a packet is taken: Ctrl-C would take it along
    deadline = 0.0  # unknown: what is there costs no look at the clock
    left = None
    while True:
        if packets:  # first, and in few steps: often they come faster than they are taken
            try:
                packet = packets.popleft()[1]
                return packet if isinstance(packet, Received) else packet.unfold()
            except IndexError:
                pass  # another thread was faster
        if channel.inbox.runner:
            check_may_receive(channel)
        items = channel.core.receiving.items
        if items:
            if timeout is not None and not deadline:
                deadline = time.monotonic() + timeout
            channel.inbox.run()
            if packets:
                continue
        if channel.ended and not items:
            raise channel.over_error()
        if timeout is not None:
            now = time.monotonic()
            deadline = deadline or now + timeout
            left = deadline - now
            if left <= 0:
                return None
        channel.wait(left, mailbox.count)


def receive_named(channel: ClientChannel, awaited: Awaited, timeout: float) -> Received:
    """Wait for a packet of one name, which the client's handlers are told of. See `Client.wait_for`."""
    check_may_receive(channel)
    deadline = time.monotonic() + timeout
    while not awaited.found:
        # Each time: another thread may have stored it before it could know of us.
        packet = channel.mailbox.take(awaited.action)
        if packet is not None:
            return packet
        left = deadline - time.monotonic()
        if left <= 0:
            raise none_came(awaited, timeout)
        if channel.core.receiving.items:
            channel.run()
        elif channel.ended:
            raise channel.over_error()
        channel.wait(left, awaited.found.__len__)
    return awaited.found.pop()


def none_came(awaited: Awaited, timeout: float) -> LinkTimeout:
    """The error of a wait for a packet of one name."""
    return LinkTimeout(
        f"no packet named {awaited.action!r} within {timeout:g} s",
        hint="give a longer timeout=, or bind a handler with on(), which need not wait",
    )


def no_connection(timeout: float) -> LinkTimeout:
    """The error of a `connect()` that has waited for a session that is suspended."""
    return LinkTimeout(
        f"no connection for the session that waits for one within {timeout:g} s",
        hint="it is tried further; close() ends it",
    )


def poll(channel: ClientChannel) -> list[Received]:
    """See `Client.poll`."""
    channel.mailbox.receiving = True
    if channel.core.numbering.incoming.owes:
        channel.handled()
    channel.wait(0.0, lambda: False)
    while channel.core.receiving.items and channel.run():
        pass
    packets = channel.mailbox.pop_some(POLL_BYTES)
    if not packets and channel.ended and not channel.core.receiving.items:
        raise channel.over_error()
    return packets


def update(channel: ClientChannel, budget: float | None) -> bool:
    """See `Client.update`."""
    if channel.inbox.runner == get_ident():
        raise ConfigError(
            "update() cannot be called in a handler: it is what runs the handler",
            hint="return, and call it once a frame",
        )
    channel.own_inbox.own_thread = get_ident()
    deadline = math.inf if budget is None else time.monotonic() + budget
    if bursts.waiting:
        bursts.over()
    channel.drive_once(partial(_read_frame, channel))
    # What comes while it is being handled is for the next frame.
    receiving = channel.core.receiving
    until = receiving.in_bytes
    while receiving.items and channel.run():
        last = receiving.out_bytes == until and receiving.opened is not None
        if not (receiving.out_bytes < until or last) or time.monotonic() >= deadline:
            break
    return not channel.ended or bool(channel.core.receiving.items)


def _read_frame(channel: ClientChannel) -> None:
    carrier = channel.carrier
    if carrier is None or channel.link is None:
        return
    for _ in range(UPDATE_READS):
        if not carrier.drive(0.0):
            break


def finish(channel: ClientChannel, deadline: float) -> None:
    """
    The session is over: handle what came in it, `on_disconnect` last.

    Raises:
        LimitExceeded: It cannot be handled, for too much was handled before and not received.
        LinkTimeout: A handler still runs at the deadline.
    """
    if channel.own_inbox.own_thread:
        channel.own_inbox.own_thread = get_ident()
    while not finish_some(channel, deadline):
        time.sleep(0.002)


def finish_some(channel: ClientChannel, deadline: float) -> bool:
    """As `finish`, without waiting for a handler that runs; False: one does."""
    inbox = channel.own_inbox
    if inbox.runs_here():
        return True  # a handler of its own connects again; what is left comes after it
    while not inbox.right.taken:
        if not channel.core.receiving.items:
            return True
        if not inbox.may_run():
            raise LimitExceeded(
                f"{len(channel.mailbox.packets)} packets of the last session wait for receive()",
                limit="MAX_INBOX_RECORDS",
                hint="receive() them, or call close() to drop them, before you connect again",
            )
        channel.run()
    if time.monotonic() > deadline:
        raise LinkTimeout(
            "a handler of the last session still runs",
            hint="connect again when it has returned",
        )
    return False
