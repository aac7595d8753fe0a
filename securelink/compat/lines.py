"""Lines that a user types, and lines that are printed, for the adapters' programs for terminals."""

from __future__ import annotations

from collections.abc import Callable

from ..logs.floods import LineCounts
from ..text import escaped

_KIND_SIZE = 20  # characters; then come words of peers


def say(line: str) -> None:
    """Print a line by one write: other threads print as well, and what `print` writes apart is torn between them."""
    print(f"{line}\n", end="", flush=True)  # noqa: T201  # its purpose


class Printer:
    """
    Prints lines that peers can cause: a thousand of a kind, then one a second, each escaped.

    A kind is how a line begins.

    Args:
        write: Prints one line.
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._counts = LineCounts()

    def show(self, start: str, text: str) -> None:
        """
        Print a line, unless there were too many like it.

        Args:
            start: Of our own, in front of the text.
            text: May hold words of a peer behind its first characters.
        """
        hidden = self._counts.take(text[:_KIND_SIZE])
        if hidden:
            self._write(f"{start}{hidden} more lines like the next one were not shown")
        if hidden is not None:
            self._write(f"{start}{escaped(text)}")


def typed(prompt: str) -> str | None:
    """
    Ask for a line.

    Args:
        prompt: The text before the line.

    Returns:
        The line, with a replacement sign for what is no text; None when there will be none any more: the input ended,
        was closed, or never was there. Only Ctrl-C raises, `KeyboardInterrupt`.
    """
    try:
        return input(prompt).encode("utf-8", "replace").decode()
    except (EOFError, OSError, RuntimeError, ValueError):
        # RuntimeError: no stdin at all; ValueError: it was closed, or its bytes are no text
        return None
