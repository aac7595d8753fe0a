"""Lines that a user types, for the adapters' programs for terminals."""

from __future__ import annotations


def typed(prompt: str) -> str | None:
    """
    Ask for a line.

    Args:
        prompt: What is shown before it.

    Returns:
        The line, with a replacement sign for what is no text; None when there will be none any more: the input ended,
        was closed, or never was there. Only Ctrl-C raises, `KeyboardInterrupt`.
    """
    try:
        return input(prompt).encode("utf-8", "replace").decode()
    except (EOFError, OSError, RuntimeError, ValueError):
        return None  # RuntimeError: no stdin at all; ValueError: it was closed, or its bytes are no text
