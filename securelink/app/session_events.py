"""The events of a server's sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from .hooks import EventHook

Member = TypeVar("Member")


class SessionEvents(Generic[Member]):
    """
    The events of a server's sessions.

    Args:
        caught: Called with the exceptions of listeners.
        event: What each is made of.
    """

    def __init__(
        self,
        caught: Callable[[str, BaseException], None],
        event: Callable[..., EventHook[...]] = EventHook,
    ) -> None:
        one = ("session",)
        self.on_connect: EventHook[[Member]] = event("on_connect", caught, one, may_refuse=True)
        self.on_suspend: EventHook[[Member]] = event("on_suspend", caught, one)
        self.on_resume: EventHook[[Member, int]] = event(
            "on_resume", caught, ("session", "replayed"), may_refuse=True
        )
        self.on_restore: EventHook[[Member]] = event("on_restore", caught, one, may_refuse=True)
        self.on_state: EventHook[[Member, Any]] = event("on_state", caught, ("session", "value"))
        self.on_hangup: EventHook[[Member]] = event("on_hangup", caught, one)
        self.on_disconnect: EventHook[[Member]] = event("on_disconnect", caught, one)
