"""A client whose methods are coroutines."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from types import TracebackType
from typing import Any, Self, cast, overload

from ..app.actions import checked_action
from ..app.context import Awaited
from ..app.received import Received
from ..codes import Code
from ..errors import ConfigError, ConnectionClosed, SecureLinkError
from ..interrupts import Sign
from ..limits import CLOSE_SECONDS, CONNECT_SECONDS
from ..logs.default import make_visible
from ..options import seconds
from ..threads.attempts import attempts
from ..threads.client_channel import ClientChannel
from ..threads.connecting import Arrival, Destination
from ..threads.outcome import Outcome
from ..threads.patched import check_not_patched
from ..threads.receiving import check_may_receive, finish_some, no_connection, none_came
from ..visiting import BaseClient
from ..wire.packets import Packet
from .asking import probe
from .binding import ClientBinding
from .home import home
from .peer import AsyncPeer
from .running import Event, Running
from .waiting import Woken, elsewhere


class Client(BaseClient, AsyncPeer, ClientBinding):
    """
    A client.

        async with aio.Client("192.168.1.40", 5050) as client:
            await client.send("say", "hello")
            async for packet in client:
                print(packet.data)

    Options, attributes and events are those of `securelink.Client`, but for `handlers=`: handlers and listeners,
    coroutines or plain functions, run in the event loop in which `connect()` was called. It belongs to that loop: call
    its methods there.
    """

    _block = "async with"

    _runner: Running
    on_connect: Event[[]]
    on_suspend: Event[[]]
    on_resume: Event[[int]]
    on_disconnect: Event[[]]
    on_message: Event[[Received]]
    on_state: Event[[Any]]

    def _new_runner(self) -> Running:
        if self._in_update:
            raise ConfigError(
                'handlers="update" is for programs with frames: here the event loop runs handlers',
                hint="leave it out",
            )
        return Running()

    def _need_channel(self) -> ClientChannel:
        return cast(ClientChannel, super()._need_channel())

    def _keep_alive(self) -> None:
        super()._keep_alive()
        if self._channel is not None and self._channel.core.receiving.items:
            self._channel.loop.schedule(self._channel.inbox)  # for what is bound now

    # --- connecting ---------------------------------------------------------------------------------------------

    async def connect(self, timeout: float = CONNECT_SECONDS, *, retry: bool = False) -> Self:
        """
        Open a session; see `securelink.Client.connect`, whose arguments and errors are the same.

        Names, files and keys are looked up in another thread. If the task is cancelled there is no session, and that
        thread ends soon.
        """
        timeout = seconds("timeout", timeout)
        right = self._connector.right
        try:
            del right.free
        except AttributeError:
            raise ConfigError(
                "another task is connecting this client", hint="let one of the two call connect()"
            ) from None
        try:
            if self.connected:
                raise ConfigError("this client is connected", hint="call close() first")
            await self._connect_within(timeout, retry=retry)
        finally:
            right.free = True
        return self

    async def _connect_within(self, timeout: float, *, retry: bool) -> None:
        make_visible()
        check_not_patched()
        connector = self._connector
        given_up = connector.given_up = Sign()  # its own: one that was cancelled stays called off
        deadline = connector.deadline(timeout)
        last = self._channel
        if last is not None:
            await _until(last, lambda: not last.is_suspended, deadline.left)
            deadline.check()
            if last.connected:
                return
            if last.is_suspended:
                raise no_connection(timeout)
            while not finish_some(last, deadline.at):
                await _until(last, lambda: not last.inbox.right.taken, 0.01)
        connector.home = here = home()
        await here.enter(self)
        try:
            place = Destination(self.carrier, self.host, self.port)
            with connector.passing_on.beginning():
                arrival = await elsewhere(
                    attempts.run,
                    partial(self._arrive, place, deadline, retry=retry),
                    call_off=given_up.set,
                    undo=Arrival.drop,
                )
                channel = self._enter(arrival, place)
                if given_up.is_set():
                    await _close(channel, CLOSE_SECONDS)
                    raise deadline.called_off()
                _run(channel)
        finally:
            here.leave(self)
        try:
            await _until(channel, lambda: channel.inbox.parked is None, deadline.left)  # on_connect
            if connector.introduction.has_credentials:
                await probe(channel, max(0.0, deadline.left))
        except ConnectionClosed:
            pass  # the session existed and was ended: its next use says why
        except BaseException:
            channel.end(Code.NORMAL)
            raise

    async def close(self, timeout: float = CLOSE_SECONDS) -> list[Packet]:
        """
        End the session; see `securelink.Client.close`.

        If the task is cancelled the session ends nevertheless.
        """
        timeout = seconds("timeout", timeout)
        self._connector.given_up.set()
        channel = self._channel
        if channel is None:
            return []
        left = await _close(channel, timeout)
        await home().settled()
        return left

    async def __aenter__(self) -> Self:
        return self if self.connected else await self.connect()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # --- packets ------------------------------------------------------------------------------------------------

    @overload
    async def receive(self, timeout: None = None) -> Received: ...

    @overload
    async def receive(self, timeout: float | None) -> Received | None: ...

    async def receive(self, timeout: float | None = None) -> Received | None:
        """
        The next packet that no handler takes; see `securelink.Client.receive`. A task that is cancelled takes none.
        """
        if timeout is not None:
            timeout = seconds("timeout", timeout)
        channel = self._channel or self._need_channel()
        mailbox = channel.mailbox
        inbox = channel.inbox
        if inbox.runner or inbox.parked is not None:
            check_may_receive(channel)
        mailbox.receiving = True
        core = channel.core
        if core.numbering.incoming.owes:
            channel.handled()
        if not mailbox.packets:
            if core.receiving.items:
                _run(channel)
            if not mailbox.packets:
                await _until(channel, partial(_has_come, channel), timeout)
        if mailbox.packets:
            return mailbox.pop()
        _check_goes_on(channel)
        return None

    async def wait_for(self, action: str, timeout: float) -> Received:
        """Wait for a packet of one name; see `securelink.Client.wait_for`. A task that is cancelled takes none."""
        timeout = seconds("timeout", timeout)
        channel = self._need_channel()
        check_may_receive(channel)
        awaited = Awaited(checked_action(action))
        packet = channel.mailbox.take(action)
        if packet is not None:
            return packet
        self._hooks.awaited[awaited] = None
        try:
            await _until(channel, lambda: awaited.found or _is_over(channel), timeout)
            if awaited.found:
                return awaited.found.pop()
            _check_goes_on(channel)
            raise none_came(awaited, timeout)
        finally:
            self._hooks.awaited.pop(awaited, None)
            channel.mailbox.put_back(awaited.found)

    async def __aiter__(self) -> AsyncIterator[Received]:
        """Packets until the session ends cleanly; see `securelink.Client`."""
        while True:
            channel = self._need_channel()
            try:
                packet = await self.receive()
            except SecureLinkError:
                if channel.outcome is not None and channel.outcome.code == Code.NORMAL:
                    return
                raise
            yield packet


def _run(channel: ClientChannel) -> None:
    """Handle what waits; what is left has its turn later."""
    if channel.core.receiving.items and channel.inbox.run():
        channel.loop.schedule(channel.inbox)


def _is_over(channel: ClientChannel) -> bool:
    return channel.ended and not channel.core.receiving.items


def _check_goes_on(channel: ClientChannel) -> None:
    """Raises the error of a session that is over and taken to its end."""
    if _is_over(channel):
        raise channel.over_error()


def _has_come(channel: ClientChannel) -> bool:
    return bool(channel.mailbox.packets) or _is_over(channel)


async def _until(
    channel: ClientChannel, ready: Callable[[], object], timeout: float | None
) -> bool:
    """Handle what comes until `ready()`; False after `timeout` seconds."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        if channel.core.receiving.items:
            _run(channel)
        if ready():
            return True
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            return False
        woken = Woken()
        channel.drivers[woken] = None
        try:
            await (woken if left is None else woken.within(left))
        finally:
            channel.drivers.pop(woken, None)


async def _close(channel: ClientChannel, timeout: float) -> list[Packet]:
    """As `ClientChannel.close`."""
    deadline = time.monotonic() + timeout
    carrier = channel.carrier
    channel.end(Code.NORMAL)
    channel.mailbox.packets.clear()
    await _until(channel, lambda: channel.ended, deadline - time.monotonic())
    if carrier is not None:
        if not channel.ended:
            carrier.finish_channel(Outcome(Code.BROKEN))
        carrier.loop.call(carrier.give_up)
        if not channel.inbox.runs_here():
            await _until(channel, lambda: _is_over(channel) and channel.carrier is None, 1.0)
    return channel.unconfirmed(carrier)
