"""The packets that come to a client, as an application takes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast, overload

from .app.actions import checked_action
from .app.context import Awaited, ClientContext
from .app.received import Received
from .codes import Code
from .errors import ConfigError, SecureLinkError
from .limits import FOREVER_SECONDS
from .options import seconds, seconds_or_none
from .peer import Peer
from .threads.client_channel import ClientChannel
from .threads.receiving import poll, receive, receive_named, update


class Receiver(Peer):
    """The methods of `Client` that take packets: a facade of its channel and `threads/receiving.py`."""

    _channel: ClientChannel | None
    _hooks: ClientContext
    _in_update: bool

    def wait_for(self, action: str, timeout: float) -> Received:
        """
        Wait for a packet of one name, or take it from those that wait for `receive`; others go where they always go.

        Raises:
            ConfigError: The name begins with "~".
            LinkTimeout: None came in `timeout` seconds.
            ConnectionClosed: The session ended before.
        """
        timeout = seconds("timeout", timeout)
        channel = self._channel or self._need_channel()
        awaited = Awaited(checked_action(action))
        self._hooks.awaited[awaited] = None
        try:
            return receive_named(channel, awaited, timeout)
        finally:
            self._hooks.awaited.pop(awaited, None)
            channel.mailbox.put_back(awaited.found)  # two came, we take one

    @overload
    def receive(self, timeout: None = None) -> Received: ...

    @overload
    def receive(self, timeout: float | None) -> Received | None: ...

    def receive(self, timeout: float | None = None) -> Received | None:
        """
        The next packet that no handler takes.

        Args:
            timeout: Seconds; None waits forever.

        Returns:
            The packet, or None when none came in time, which cannot be without a timeout. `wait_for` raises instead.

        Raises:
            ConnectionClosed: The session is over and every packet was taken.
            ProtocolError: The same, and it ended because the server, or somebody on the path, broke the protocol.
        """
        if timeout is not None and not (type(timeout) is float and timeout <= FOREVER_SECONDS):
            timeout = seconds("timeout", timeout)
        return receive(self._channel or self._need_channel(), timeout)

    def poll(self) -> list[Received]:
        """
        What has arrived, without waiting: handlers are called, all other packets are returned.

        Of more than 1 MiB the rest comes with the next call.

        Raises:
            ConnectionClosed: The session is over and every packet was taken.
            ProtocolError: The same, and it ended because the server, or somebody on the path, broke the protocol.
        """
        return poll(self._need_channel())

    def update(self, budget: float | None = None) -> bool:
        """
        One turn in the caller's thread, for game loops, once a frame: read, call handlers, write; never waits.

            while client.update():
                draw()

        Handlers, listeners and hooks run only in the thread that called `update()` last, or `connect()` before that: in
        these and in its other calls that wait for packets (`request`, `receive`, `poll`, `wait_for`, `close`). However
        long a frame takes, packets are read in the background. What comes during `update()` is for the next frame.

        Args:
            budget: Seconds; up to 10 ms later the rest is left for the next call. None: all that had come is handled.

        Returns:
            False when the session is over and everything in it was handled.

        Raises:
            ConfigError: The client was not made with handlers="update", was never connected, or `budget` is no number.
        """
        if not self._in_update:
            raise ConfigError(
                "handlers of this client may run in other threads than that of update()",
                hint='make it with Client(..., handlers="update")',
            )
        return update(self._need_channel(), seconds_or_none("budget", budget))

    def __iter__(self) -> Iterator[Received]:
        """
        Packets until the session ends cleanly.

        Raises:
            ConnectionClosed: It broke, or the server ended it for a reason (kick, shutdown).
        """
        while True:
            channel = self._need_channel()
            try:
                packet = self.receive()
            except SecureLinkError:
                if channel.outcome is not None and channel.outcome.code == Code.NORMAL:
                    return
                raise
            assert packet is not None
            yield packet

    def _need_channel(self) -> ClientChannel:
        return cast(ClientChannel, super()._need_channel())
