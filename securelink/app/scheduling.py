"""The interface of a shell that runs jobs for the application side, soon or later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Job(Protocol):
    """A job that a shell runs like an inbox."""

    def run(self) -> bool:
        """Do a part; True if something is left."""


class Scheduler(Protocol):
    """A shell, as jobs need it. One thread at a time leads it."""

    @property
    def now(self) -> float:
        """Seconds of its clock, at its last poll."""

    @property
    def paced(self) -> bool:
        """Whether it goes on by itself; False: the program drives it, turn by turn."""

    @property
    def stopping(self) -> bool:
        """Whether it is about to end."""

    def call(self, command: Callable[[], None]) -> None:
        """Let the leader run a command soon. Any thread."""

    def call_later(self, seconds: float, command: Callable[[], None]) -> None:
        """Let the leader run a command after a while."""

    def make_ready(self, runnable: Job) -> None:
        """By the leader: run a job like an inbox."""

    def schedule(self, runnable: Job) -> None:
        """The same, from any thread."""

    def submit_own(self, job: Callable[[], None]) -> bool:
        """Queue expensive work that is never displaced by work for strangers; False if the shell ends. Any thread."""
