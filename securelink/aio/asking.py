"""Packets, requests and PINGs of a session, for tasks that wait: for room, and for answers."""

from __future__ import annotations

import time
from math import inf

from ..protocol.bounds import encode_for
from ..protocol.send_queue import Mark
from ..threads.asking import Waiting
from ..threads.channel import Channel
from ..threads.requesting import answer_of, expect, mark, round_trip
from ..wire.packets import Packet
from .running import in_handler
from .waiting import Woken


async def room(channel: Channel, size: int, timeout: float | None, latest: Mark = None) -> None:
    """
    Wait until a packet of this size may be queued. In a handler it may be: a handler never waits for room.

    Raises:
        ConnectionClosed: The session has ended.
        LinkTimeout: There is none in `timeout` seconds.
    """
    pressure, queue = channel.outbox.pressure, channel.core.sending
    if not queue.is_crowded(size) or in_handler():
        return
    deadline = inf if timeout is None else time.monotonic() + timeout
    waited = False
    while True:
        woken = Woken()
        try:
            left = pressure.must_wait(size, latest, woken, timeout, deadline)
            if not left:
                return
            pressure.blocked += not waited
            waited = True
            channel.read_on()
            await (woken if left == inf else woken.within(left))
        finally:
            pressure.stop_waiting(woken)


async def ask(channel: Channel, packet: Packet, timeout: float) -> Packet:
    """As `threads.requesting.ask`. A task that is cancelled leaves nobody who waits for the answer."""
    mark(channel, packet)
    deadline = time.monotonic() + timeout
    woken = Woken()
    waiting = Waiting(woken)
    try:
        packet.id = expect(channel, waiting)
        encoded = encode_for(channel.core.bounds, packet)
        if channel.core.sending.is_crowded(len(encoded)):
            await room(channel, len(encoded), timeout)
        channel.outbox.post(encoded, None, None, False, packet.created)
        channel.release()
        if waiting.reply is None and not channel.ended:
            await woken.within(deadline - time.monotonic())
    finally:
        channel.forget(waiting.number)
    return answer_of(channel, packet, waiting, timeout)


async def probe(channel: Channel, timeout: float) -> float:
    """As `threads.requesting.probe`."""
    woken = Woken()
    waiting = Waiting(woken)
    try:
        number = expect(channel, waiting, pong=True)
        start = time.monotonic()
        if channel.link is not None:
            channel.link.ping(number, start)
        if not channel.ended:
            await woken.within(timeout)
        return round_trip(channel, waiting, start, timeout)
    finally:
        channel.forget(waiting.number)
