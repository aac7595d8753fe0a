"""Lines from a person: with completion, history and lines arriving meanwhile on a terminal, plain elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

Complete = Callable[[str], list[str]]


class Prompt:
    """
    Asks for lines until the end of input (Ctrl-D, Ctrl-C).

    On a terminal prompt_toolkit edits the line, and what other threads print appears above it; without it, or when
    input is a pipe, lines are read as they come.

    Args:
        text: What stands before the line.
        complete: Gives candidates for the last word of a line, or None.
        history: File to keep the lines in, or None.
    """

    def __init__(
        self, text: str, *, complete: Complete | None = None, history: Path | None = None
    ) -> None:
        self._text = text
        self._session: Any = None
        if sys.stdin.isatty() and sys.stdout.isatty():
            self._session = _terminal_session(complete, history)

    @property
    def comfortable(self) -> bool:
        """Whether there is a terminal with editing."""
        return self._session is not None

    def lines(self) -> Iterator[str]:
        """The lines, without their ends."""
        with self._patched():
            while True:
                try:
                    if self._session is not None:
                        yield str(self._session.prompt(self._text))
                    else:
                        line = sys.stdin.readline()
                        if not line:
                            return
                        yield line.rstrip("\n")
                except (EOFError, KeyboardInterrupt):
                    return

    def _patched(self) -> AbstractContextManager[Any]:
        if self._session is None:
            return nullcontext()
        from prompt_toolkit.patch_stdout import patch_stdout

        return patch_stdout()


def _terminal_session(complete: Complete | None, history: Path | None) -> Any:
    try:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.completion import CompleteEvent, Completer, Completion
        from prompt_toolkit.document import Document
        from prompt_toolkit.history import FileHistory, InMemoryHistory
    except ImportError:
        return None  # plain lines; `pip install 'securelink-sessions[console]'` gives editing

    class Words(Completer):
        def get_completions(
            self, document: Document, complete_event: CompleteEvent
        ) -> Iterable[Completion]:
            if complete is None:
                return
            line = document.text_before_cursor
            word = line.split(" ")[-1]
            for candidate in complete(line):
                yield Completion(candidate, start_position=-len(word))

    return PromptSession(
        completer=Words(),
        history=FileHistory(str(history)) if history is not None else InMemoryHistory(),
        complete_while_typing=False,
    )
