"""The peer of a session, for tasks: the methods that `aio.Session` and `aio.Client` share."""

from __future__ import annotations

from typing import Any

from ..app.actions import checked_action
from ..limits import REQUEST_SECONDS, SEND_SECONDS
from ..options import key, seconds, seconds_or_none
from ..peer import FarEnd
from ..protocol.bounds import encode_for
from .asking import ask, probe, room


class AsyncPeer(FarEnd):
    """The other end of a session, for tasks that wait."""

    __slots__ = ()

    async def send(
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
        Send one packet to the peer; see `securelink.Session.send`, whose arguments and errors are the same.

        The task waits where that waits: for room, and never in a handler. If it is cancelled there the packet is not
        sent; otherwise it is queued when this returns.
        """
        if timeout is not SEND_SECONDS:
            timeout = seconds_or_none("timeout", timeout)
        action = checked_action(action)
        if latest is not None:
            key("latest", latest)
        policies = self._hooks.policies
        if full is not None or (policies.of and policies.has(action)):
            latest, full, timeout = policies.way(action, data, latest, full, timeout)
        channel = self._channel or self._need_channel()
        packet = self._request_packet(action, data, headers)
        outbox = channel.outbox
        encoded = encode_for(outbox.bounds, packet)
        if full is not None and full != "wait":
            return outbox.offer(encoded, timeout, latest, False, full)
        if channel.core.sending.is_crowded(len(encoded)):
            await room(channel, len(encoded), timeout, latest)
        outbox.post(encoded, None, latest, False, packet.created)
        return True

    def send_nowait(
        self,
        action: str,
        data: Any = None,
        *,
        headers: dict[str, Any] | None = None,
        latest: str | None = None,
        full: str | None = None,
    ) -> bool:
        """
        As `send`, for plain functions: it never waits. Without room the packet is queued all the same, as in handlers,
        up to the hard bound that ends the session, unless `full` or the policy says something else.
        """
        return self._send(checked_action(action), data, headers, latest, None, full)

    async def request(
        self,
        action: str,
        data: Any = None,
        *,
        headers: dict[str, Any] | None = None,
        timeout: float = REQUEST_SECONDS,
    ) -> Any:
        """
        Ask the peer, and wait for its answer; see `securelink.Session.request` for arguments and errors.

        A task that is cancelled does not get the answer, and nobody else does.
        """
        timeout = seconds("timeout", timeout)
        packet = self._request_packet(checked_action(action), data, headers)
        return (await ask(self._need_channel(), packet, timeout)).data

    async def ping(self, timeout: float = REQUEST_SECONDS) -> float:
        """Check that the peer answers; see `securelink.Session.ping`. Returns the seconds of the round trip."""
        return await probe(self._need_channel(), seconds("timeout", timeout))
