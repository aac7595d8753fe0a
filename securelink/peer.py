"""The peer of a session, as an application uses it: the common part of `Session` and `Client`."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple, Protocol

from .app.actions import STATE, checked_action
from .app.policies import Policies
from .codes import Code
from .errors import ConfigError
from .limits import REQUEST_SECONDS, SEND_SECONDS
from .options import key, seconds, seconds_or_none
from .protocol.bounds import encode_for
from .threads.channel import Channel
from .threads.later import ask_later
from .threads.outcome import Outcome
from .threads.requesting import ask, probe
from .wire.packets import Packet


class Hooks(Protocol):
    """Holds the hook that is called before each packet is sent."""

    before_send: Callable[..., Any] | None
    policies: Policies


class Pressure(NamedTuple):
    """
    What waits in a session, and what has become of packets for which there was no room.

    Attributes:
        unsent: Bytes that the system has not taken yet; bounded by `max_unsent`.
        unacked: Bytes that were sent, and that the peer has not handled; bounded by `max_unacked`.
        dropped: Packets that were dropped.
        replaced: Packets that a later one has replaced before they were sent.
        blocked: How often a `send` has waited.
    """

    unsent: int
    unacked: int
    dropped: int
    replaced: int
    blocked: int


class FarEnd:
    """The other end of a session, in any shell: what it is told without waiting, and what is known of it."""

    __slots__ = ()
    _channel: Channel | None
    _hooks: Hooks

    def _send(
        self,
        action: str,
        data: Any = None,
        headers: dict[str, Any] | None = None,
        latest: str | None = None,
        timeout: float | None = SEND_SECONDS,
        full: str | None = None,
    ) -> bool:
        """Send a packet whose name may be one of our own."""
        if latest is not None:
            key("latest", latest)
        hooks = self._hooks
        policies = hooks.policies
        if full is not None or (policies.of and policies.has(action)):
            latest, full, timeout = policies.way(action, data, latest, full, timeout)
        hook = hooks.before_send
        if hook is not None:
            data = self._rewritten(hook, action, data)
        now = time.time()
        packet = Packet(action, data, headers, now)
        channel = self._channel or self._need_channel()
        outbox = channel.outbox
        encoded = encode_for(outbox.bounds, packet)
        if full is not None:
            return outbox.offer(encoded, timeout, latest, True, full)
        outbox.post(encoded, timeout, latest, True, now)
        return True

    def _rewritten(self, hook: Callable[..., Any], action: str, data: Any) -> Any:
        """The data that the hook returns in place of the packet's."""
        raise NotImplementedError

    def _need_channel(self) -> Channel:
        channel = self._channel
        if channel is None:
            raise ConfigError("this client is not connected", hint="call connect() first")
        return channel

    def _request_packet(self, action: str, data: Any, headers: dict[str, Any] | None) -> Packet:
        hook = self._hooks.before_send
        if hook is not None:
            data = self._rewritten(hook, action, data)
        return Packet(action, data, headers, time.time())

    def set_state(self, value: Any) -> None:
        """Give the peer a new value of this side's state; one that is still waiting is replaced. Never waits."""
        self._send(STATE, value, latest=STATE, full="latest")

    @property
    def rtt(self) -> float | None:
        """
        The round trip over the present connection, in seconds, smoothed (each measurement counts an eighth).

        It is measured by pings, of which a client sends one with each heartbeat, and a server none by itself: there
        call `ping()` now and then. None until the first is answered, and while there is no connection.
        """
        channel = self._channel
        link = channel.link if channel is not None else None
        liveness = link.connection.liveness if link is not None else None
        return liveness.rtt if liveness is not None else None

    @property
    def pressure(self) -> Pressure:
        """What waits in the present session, or the last one, and what has become of packets without room there."""
        channel = self._channel
        if channel is None:
            return Pressure(0, 0, 0, 0, 0)
        core, pressure = channel.core, channel.outbox.pressure
        unsent, unacked = core.sending.unsent, core.numbering.outgoing.unacked
        return Pressure(unsent, unacked, pressure.dropped, core.sending.replaced, pressure.blocked)

    @property
    def connected(self) -> bool:
        """Whether there is a connection now. While a session has lost it, and waits for the next one, there is none."""
        channel = self._channel
        return channel is not None and channel.connected

    @property
    def ended(self) -> bool:
        """Whether the session is over. One that has only lost its connection is not."""
        channel = self._channel
        return channel is not None and channel.ended

    @property
    def reason(self) -> str:
        """Why the last session ended, in a sentence that names the side that ended it; "" until one has ended."""
        outcome = self._outcome
        return outcome.reason if outcome is not None else ""

    @property
    def code(self) -> Code | int | None:
        """The same as a `Code` (or the number that a newer peer sent); None while there is a session, and before."""
        outcome = self._outcome
        return outcome.code if outcome is not None else None

    @property
    def text(self) -> str:
        """The text with which an application ended the session (`kick`, a refusal), escaped; "" without one."""
        outcome = self._outcome
        return outcome.text if outcome is not None else ""

    @property
    def clean(self) -> bool:
        """Whether one side announced the end. False when the connection broke, and until the session has ended."""
        outcome = self._outcome
        return outcome is not None and outcome.clean

    @property
    def _outcome(self) -> Outcome | None:
        channel = self._channel
        return channel.outcome if channel is not None else None


class Peer(FarEnd):
    """The other end of a session, for threads that wait."""

    __slots__ = ()

    def send(
        self,
        action: str,
        data: Any = None,
        *,
        headers: dict[str, Any] | None = None,
        latest: str | None = None,
        timeout: float | None = SEND_SECONDS,
        full: str | None = None,
    ) -> bool:
        """
        Send one packet to the peer.

        There is no room for it while the bytes that are not sent, or not handled by the peer, exceed `max_unsent` or
        `max_unacked`, because the peer reads too slowly, or is away. `full` says what happens then, and `policy()` says
        it for all packets of a name:

            "wait"      Wait for room, up to `timeout`; a client reads meanwhile. A handler never waits: it is queued
                        all the same, and the peer is not read until it takes it. So without `full`.
            "drop"      Drop this packet.
            "oldest"    Drop the oldest that wait, of those sent so with the same key (`latest`; without, the action).
            "latest"    It takes the place of one with the same key that waits; the first is queued all the same.
            "end"       End the session.

        What is in a record is on its way, and neither dropped nor replaced. The others come in their order. Many that
        one thread sends in a row go out together: from the fourth on they may wait until it calls something that waits,
        for half a millisecond at most.

        Args:
            action: The packet's name, 1 to 255 characters.
            data: None, bool, int, float, str, bytes, and lists and dicts of these.
            headers: Further values of these types, by name.
            latest: A key; the packet replaces one with the same key that is still waiting.
            timeout: In seconds; None waits forever, or until the session ends: one whose peer is away has its time.
            full: See above. None: what `policy()` says of the action, or "wait".

        Returns:
            Whether the session has taken the packet; False: it is dropped. What others `pressure` counts.

        Raises:
            CodecError: The data cannot be encoded.
            ConfigError: The name begins with "~", or `timeout` or `full` is not possible, or there was never a session.
            ConnectionClosed: The session has ended.
            LimitExceeded: The packet is larger than the server's `max_packet`.
            LinkTimeout: The peer takes no data.
        """
        if timeout is not SEND_SECONDS:  # packets should not pay for a check of our own default
            timeout = seconds_or_none("timeout", timeout)
        return self._send(checked_action(action), data, headers, latest, timeout, full)

    def request(
        self,
        action: str,
        data: Any = None,
        *,
        headers: dict[str, Any] | None = None,
        timeout: float = REQUEST_SECONDS,
    ) -> Any:
        """
        Ask the peer and wait for its answer. Also in a handler, even of this very session.

        Args:
            timeout: In seconds.

        Returns:
            What the peer's handler returned.

        Raises:
            ConfigError: The name begins with "~", or `timeout` is not a number, or there was never a session, or the
                peer itself waits for this handler and could not answer.
            CodecError: The data cannot be encoded.
            RequestFailed: The peer has no handler for it, or its handler failed or refused.
            ConnectionClosed: The session ended before the answer came.
            LimitExceeded: The packet is larger than the server's `max_packet`, or `max_requests` wait for their answer.
            LinkTimeout: No answer in time.
        """
        timeout = seconds("timeout", timeout)
        packet = self._request_packet(checked_action(action), data, headers)
        return ask(self._need_channel(), packet, timeout).data

    def request_later(
        self,
        action: str,
        data: Any = None,
        *,
        headers: dict[str, Any] | None = None,
        timeout: float = REQUEST_SECONDS,
    ) -> Future[Any]:
        """
        Ask the peer without waiting; the returned future receives the answer.

            votes = [session.request_later("vote") for session in server.sessions.values()]
            client.request_later("path", [3, 4]).add_done_callback(found)

        Callbacks run as handlers of this session do: one at a time, in order with its packets, in the same threads.
        `result()` waits, also in a handler. A handler that waits for its own session should use `request()` instead,
        which tells the peer so: then a handler there that asks back is refused at once; otherwise both wait for their
        timeouts. `cancel()` ends the waiting; the peer does not learn of it. In an asyncio program
        `asyncio.wrap_future()` makes it awaitable.

        Args:
            timeout: Seconds from now; then the future has a `LinkTimeout`.

        Returns:
            A future of what the peer's handler returns. Its exception is what `request()` would raise.

        Raises:
            ConfigError: The name begins with "~", or `timeout` is no number, or there was never a session.
            CodecError: The data cannot be encoded.
            ConnectionClosed: The session has ended.
            LimitExceeded: The packet is larger than `max_packet`, or `max_requests` wait for their answer.
            LinkTimeout: The peer takes no data, and there is no room.
        """
        timeout = seconds("timeout", timeout)
        packet = self._request_packet(checked_action(action), data, headers)
        return ask_later(self._need_channel(), packet, timeout)

    def ping(self, timeout: float = REQUEST_SECONDS) -> float:
        """
        Check that the peer answers; returns the seconds of the round trip.

        Raises:
            ConfigError: `timeout` is not a number, or there was never a session.
            LinkTimeout: No answer in time.
            ConnectionClosed: The session has ended.
        """
        return probe(self._need_channel(), seconds("timeout", timeout))
