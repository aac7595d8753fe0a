"""Requests and PINGs whose sender waits for the answer."""

from __future__ import annotations

import time

from ..errors import ConfigError, LinkTimeout
from ..protocol.bounds import encode_for
from ..protocol.replies import Reply
from ..wire.packets import Packet
from .asking import Waiting, failure_of
from .channel import Channel

BLOCKED = "~blocked"  # header of a request: no other is handled before it is answered


def expect(channel: Channel, waiting: Waiting, *, pong: bool = False) -> int:
    """
    From now on the reply, or the PONG, with the number that this returns is for `waiting`.

    It may be so although this raises, for Ctrl-C can come at the end: `waiting.number` says it.
    """
    number = channel.core.requests.expect(waiting, pong=pong)
    if channel.ended:  # looked at only now: a thread that ends it meanwhile finds it in the table
        channel.core.requests.forget(waiting.number)
        raise channel.closed_error()
    return number


def ask(channel: Channel, packet: Packet, timeout: float) -> Packet:
    """
    Send a request and wait for its reply.

    Raises:
        RequestFailed: The peer has no answer.
        ConnectionClosed: The session ended before the reply came.
        LinkTimeout: No reply in time. One that comes later is dropped.
        ConfigError: The peer cannot handle it before this handler has answered.
    """
    channel.check_may_wait()
    mark(channel, packet)
    deadline = time.monotonic() + timeout
    waiting = Waiting()
    try:
        packet.id = expect(channel, waiting)
        encoded = encode_for(channel.core.bounds, packet)
        channel.outbox.post(encoded, timeout, None, True, packet.created)
        channel.await_answer(waiting, deadline)
    finally:
        # Not by a call of ours, at whose beginning Ctrl-C may come: it would be waited for forever.
        with channel.lock:
            channel.core.requests.expected.pop(waiting.number, None)
    return answer_of(channel, packet, waiting, timeout)


def mark(channel: Channel, packet: Packet) -> None:
    """
    A request of a handler says so: the peer must not ask back before it answers.

    Raises:
        ConfigError: The peer waits for this very handler.
    """
    handling = channel.inbox.handling()
    if handling is None:
        return
    if handling.headers and BLOCKED in handling.headers:
        raise ConfigError(
            f"{channel.name} waits for this handler's answer in a handler of its own, "
            "and handles no request before",
            hint="answer first, or send() and handle the answer as a packet",
        )
    packet.headers = {**(packet.headers or {}), BLOCKED: True}


def answer_of(channel: Channel, packet: Packet, waiting: Waiting, timeout: float) -> Packet:
    """The answer, behind the wait for it. Raises as `ask` does."""
    if waiting.reply is not None:
        return opened(channel, waiting.reply)
    if channel.ended:
        raise channel.closed_error()
    raise LinkTimeout(
        f"{channel.name} did not answer the request {packet.action!r} within {timeout:g} s",
        hint="its handler may still be running: give a longer timeout=",
    )


def opened(channel: Channel, reply: Reply) -> Packet:
    """
    A reply that has come, decoded by the caller.

    Raises:
        RequestFailed: It says that the peer has no answer.
        ConnectionClosed: The session was ended for what it keeps, and this went with it.
    """
    packet = reply.packet()
    if packet is None:
        raise channel.closed_error()
    failure = failure_of(packet)
    if failure is not None:
        raise failure
    return packet


def probe(channel: Channel, timeout: float) -> float:
    """
    Send a PING; seconds until its PONG. Over a break too: then the pause counts.

    Raises:
        LinkTimeout, ConnectionClosed: None came.
    """
    channel.check_may_wait()
    waiting = Waiting()
    try:
        number = expect(channel, waiting, pong=True)
        start = time.monotonic()
        link = channel.link
        if link is not None:
            link.ping(number, start)
        channel.await_answer(waiting, start + timeout)
        return round_trip(channel, waiting, start, timeout)
    finally:
        with channel.lock:  # see ask
            channel.core.requests.expected.pop(waiting.number, None)


def round_trip(channel: Channel, waiting: Waiting, start: float, timeout: float) -> float:
    """Seconds since the PING, behind the wait for its PONG. Raises as `probe` does."""
    if channel.ended:
        raise channel.closed_error()
    if not waiting.event.is_set():
        raise LinkTimeout(
            f"{channel.name} did not answer a ping within {timeout:g} s",
            hint="it or the network may be overloaded: try again with a longer timeout=",
        )
    return time.monotonic() - start
