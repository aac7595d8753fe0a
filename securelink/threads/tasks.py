"""What a loop works on, as it sees it."""

from __future__ import annotations

from typing import Protocol


class Runnable(Protocol):
    """A session's inbox, or work of our own."""

    def run(self) -> bool:
        """Handle what waits, within RUN_PACKETS and RUN_SECONDS; True when something is left."""


class Unfinished(Protocol):
    """A connection of which more arrived than one turn takes."""

    def go_on(self) -> None:
        """Take the next part."""

    def on_error(self) -> None:
        """Called after `go_on` raised."""


class Flushable(Protocol):
    """Something with bytes to write."""

    listed: bool

    def flush(self) -> None:
        """Write without waiting."""

    def on_error(self) -> None:
        """Called after `flush` raised."""
