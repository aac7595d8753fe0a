"""What becomes of packets for which a session has no room: a policy for each action."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import ConfigError
from ..limits import MAX_ACTION, SEND_SECONDS
from ..options import key as checked_key
from ..options import seconds_or_none, word
from ..protocol.bounds import FULL
from ..signatures import checked_or_none
from .actions import checked_action


class Policy(NamedTuple):
    """
    What becomes of the packets of one action.

    Attributes:
        full: See `Peer.send`.
        key: Gives the key of a packet, see `latest` there; None: the action is the key of all.
        timeout: Seconds that a `send` waits; None: for ever.
    """

    full: str
    key: Callable[[Any], str] | None
    timeout: float | None


class Way(NamedTuple):
    """
    What becomes of one packet.

    Attributes:
        latest: Its key, if any.
        full: None: it waits.
        timeout: For so many seconds; None: for ever.
    """

    latest: str | None
    full: str | None
    timeout: float | None


class Policies:
    """
    The policies of one side, for all its sessions.

    Attributes:
        of: By action. Replaced, never changed: senders take no lock.
    """

    __slots__ = ("of",)

    def __init__(self) -> None:
        self.of: dict[str, Policy] = {}

    def set(
        self, action: str, full: str | None, key: Callable[[Any], str] | None, timeout: float | None
    ) -> None:
        """See `SendPolicies.policy`."""
        if not isinstance(action, str) or not 0 < len(action) <= MAX_ACTION:
            raise ConfigError(f"an action's name is a text of 1 to {MAX_ACTION} characters")
        checked_action(action)
        others = {name: policy for name, policy in self.of.items() if name != action}
        if full is not None:
            word("full", full, FULL)
            checked_or_none("key", key, ("data",))
            others[action] = Policy(full, key, seconds_or_none("timeout", timeout))
        self.of = others

    def has(self, action: object) -> bool:
        """Whether an action has a policy; one of a wrong type has none, and the codec refuses it."""
        return isinstance(action, str) and action in self.of

    def way(
        self, action: str, data: Any, latest: str | None, full: str | None, timeout: float | None
    ) -> Way:
        """
        What is to become of a packet. What was said for it alone goes before the policy of its action.

        Raises:
            ConfigError: `full` or the key is not possible.
        """
        if full is not None:
            word("full", full, FULL)
        if self.has(action):
            policy = self.of[action]
            if latest is None and policy.key is not None:
                latest = policy.key(data)
                checked_key("key", latest)
            if full is None:
                full = policy.full
            if (
                timeout is SEND_SECONDS
            ):  # none was given: it is the default itself, not only as long
                timeout = policy.timeout
        if latest is None and full in ("latest", "oldest"):
            latest = action
        return Way(latest, None if full == "wait" else full, timeout)
