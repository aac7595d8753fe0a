"""Editing by prompt_toolkit, which the extra `console` installs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, InMemoryHistory
from prompt_toolkit.patch_stdout import patch_stdout


class _Words(Completer):
    def __init__(self, complete: Callable[[str], list[str]]) -> None:
        self._complete = complete

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        line = document.text_before_cursor
        word = line.split(" ")[-1]
        for candidate in self._complete(line):
            yield Completion(candidate, start_position=-len(word))


class ToolkitEditor:
    """See `Editor` in prompt.py."""

    def __init__(
        self, text: str, complete: Callable[[str], list[str]] | None, history: Path | None
    ) -> None:
        self._text = text
        self._left = False
        self._session: PromptSession[str] = PromptSession(
            completer=_Words(complete) if complete is not None else None,
            history=FileHistory(str(history)) if history is not None else InMemoryHistory(),
            complete_while_typing=False,
        )

    def read(self) -> str:
        """The next line."""
        return self._session.prompt(self._text, pre_run=self._leave_now)

    def showing(self) -> contextlib.AbstractContextManager[Any]:
        """Write raw: colours are ours, and texts of others are escaped before they are printed."""
        return patch_stdout(raw=True)

    def leave(self) -> bool:
        """End a prompt that is shown, and every later one."""
        self._left = True
        loop = self._session.app.loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it was closed meanwhile
                loop.call_soon_threadsafe(self._leave_now)
        return True

    def _leave_now(self) -> None:
        app = self._session.app
        if self._left and app.is_running and not app.is_done:
            app.exit(exception=EOFError())
