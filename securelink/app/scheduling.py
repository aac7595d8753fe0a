"""What a shell runs for the application side: jobs, soon or later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Job(Protocol):
    """What a shell runs like an inbox."""

    def run(self) -> bool:
        """Do a part; True when something is left."""


class Scheduler(Protocol):
    """A shell, as far as jobs need it. One thread at a time leads it."""

    @property
    def now(self) -> float:
        """Seconds of its clock, at its last look."""

    @property
    def manual(self) -> bool:
        """Whether the program drives it, turn by turn."""

    @property
    def stopping(self) -> bool:
        """Whether it ends."""

    def call(self, command: Callable[[], None]) -> None:
        """Let the leader run a command soon. Any thread."""

    def call_later(self, seconds: float, command: Callable[[], None]) -> None:
        """Let the leader run a command after a while."""

    def make_ready(self, runnable: Job) -> None:
        """By the leader: run a job like an inbox."""

    def schedule(self, runnable: Job) -> None:
        """The same. Any thread."""

    def submit_own(self, job: Callable[[], None]) -> bool:
        """Expensive work that is never refused for the work of strangers; False when it ends. Any thread."""
