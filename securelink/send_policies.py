"""What an application says of packets for which a session has no room: common to both sides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .app.policies import Policies
from .limits import SEND_SECONDS


class SendPolicies:
    """A server or client, whose packets may have policies."""

    _policies: Policies

    def policy(
        self,
        action: str,
        full: str | None,
        *,
        key: Callable[[Any], str] | None = None,
        timeout: float | None = SEND_SECONDS,
    ) -> None:
        """
        Say what becomes of packets of one name that find no room in a session: its peer reads too slowly, or is away.

            server.policy("position", "latest", key=lambda data: data["player"])
            server.policy("spark", "oldest")
            server.policy("order", "wait", timeout=5)

        It holds for `send` and broadcasts of all sessions from now on, for each receiver by itself; `full`, `latest`
        and `timeout` of a call go before it. Requests, replies and states have none: they are never dropped.

        Args:
            action: The packet's name, 1 to 255 characters.
            full: "wait", "drop", "oldest", "latest" or "end", see `send`; None: as without a policy.
            key: Gives the key of a packet, by its data; None: all packets of this name have the same. For "latest",
                and for "oldest".
            timeout: Seconds that a `send` waits; None: until the session ends.

        Raises:
            ConfigError: An argument is not possible.
        """
        self._policies.set(action, full, key, timeout)
