"""
Exceptions as text that is safe to show.

The text of an exception, its notes, and the names and lines of its frames may come from a peer. A line break in them
would forge lines of a log, an escape sequence would reach the terminal. So every line is escaped, and the text of one
exception stays on one line.
"""

from __future__ import annotations

import linecache
from collections import deque
from collections.abc import Iterable
from types import TracebackType
from typing import NamedTuple

from ..text import escaped, kind_of

_MAX_LINKS = 10  # exceptions of a chain that are shown: causes and contexts
_MAX_GROUP = 10  # exceptions of a group that are shown
_MAX_NESTED = 10  # groups within groups that are shown
_MAX_FRAMES = 64  # of one exception
_MAX_WORDS = 2000  # characters of one exception or note

_CAUSE = "The above exception was the direct cause of the following exception:"
_CONTEXT = "During handling of the above exception, another exception occurred:"


class Frame(NamedTuple):
    """The place of a frame, by name: the frame itself would keep all its variables."""

    file: str
    line: int
    function: str
    indent: str = ""


Line = str | Frame


def traceback_text(error: BaseException) -> str:
    """
    An exception with its frames, notes, causes and members, as Python shows them, but each line escaped.

    Returns:
        Lines of printable characters, without a line break at the end.
    """
    return text_of(outline(error))


def outline(error: BaseException) -> list[Line]:
    """
    As `traceback_text`, without the lines of source: finding them takes most of its time.

    Returns:
        An outline for `text_of`, which no longer needs the exception or its frames. Bounded in number and length.
    """
    return _chain(error, set(), 0)


def text_of(lines: Iterable[Line]) -> str:
    """An outline as text."""
    return "\n".join(line if isinstance(line, str) else _shown(line) for line in lines)


def summary(error: BaseException) -> str:
    """The name of an exception and its text, on one line of printable characters."""
    kind = type(error)
    module = "" if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}."
    words = _words(error)
    return escaped(module + kind.__qualname__) + (f": {words}" if words else "")


def _chain(error: BaseException, seen: set[int], depth: int) -> list[Line]:
    """The lines of an exception and of its causes, in order of time."""
    blocks: list[list[Line]] = []
    link: BaseException | None = error
    successor = error
    while link is not None and id(link) not in seen:
        if len(blocks) == _MAX_LINKS:
            blocks.append(["(earlier exceptions are not shown)", ""])
            break
        seen.add(id(link))
        block = _one(link, seen, depth)
        if blocks:
            joint = _CAUSE if successor.__cause__ is link else _CONTEXT
            block += ["", joint, ""]
        blocks.append(block)
        successor = link
        if link.__cause__ is not None:
            link = link.__cause__
        else:
            link = None if link.__suppress_context__ else link.__context__
    return [line for block in reversed(blocks) for line in block]


def _one(error: BaseException, seen: set[int], depth: int) -> list[Line]:
    """The lines of one exception."""
    lines: list[Line] = []
    if error.__traceback__ is not None:
        lines.append("Traceback (most recent call last):")
        lines += _frames(error.__traceback__)
    lines.append(summary(error))
    lines += [_words(note) for note in _notes(error)[:_MAX_GROUP]]
    if isinstance(error, BaseExceptionGroup):
        if depth < _MAX_NESTED:
            lines += _members(error, seen, depth + 1)
        else:
            lines.append("  (exceptions that are nested deeper are not shown)")
    return lines


def _frames(link: TracebackType | None) -> deque[Frame]:
    """The last frames of a traceback, the innermost last."""
    frames: deque[Frame] = deque(maxlen=_MAX_FRAMES)
    while link is not None:
        code = link.tb_frame.f_code
        # Remembers the loader of a module without a file, whose source is read only if it is shown.
        linecache.lazycache(code.co_filename, link.tb_frame.f_globals)
        frames.append(Frame(code.co_filename, link.tb_lineno, code.co_name))
        link = link.tb_next
    return frames


def _shown(frame: Frame) -> str:
    where = f'{frame.indent}  File "{escaped(frame.file)}", line {frame.line}, in {escaped(frame.function)}'
    linecache.checkcache(frame.file)
    source = linecache.getline(frame.file, frame.line).strip()
    return f"{where}\n{frame.indent}    {escaped(source)}" if source else where


def _notes(error: BaseException) -> list[object]:
    try:
        notes = getattr(error, "__notes__", ())
        return list(notes) if isinstance(notes, list | tuple) else []
    except Exception:
        return []


def _members(group: BaseExceptionGroup[BaseException], seen: set[int], depth: int) -> list[Line]:
    lines: list[Line] = []
    for number, member in enumerate(group.exceptions, 1):
        if number > _MAX_GROUP:
            lines.append(f"  and {len(group.exceptions) - _MAX_GROUP} more exceptions")
            break
        if id(member) in seen:
            continue
        lines.append(f"  {number} of {len(group.exceptions)}:")
        lines += map(_indented, _chain(member, seen, depth))
    return lines


def _indented(line: Line) -> Line:
    if isinstance(line, str):
        return "    " + line
    return line._replace(indent=line.indent + "    ")


def _words(said: object) -> str:
    """The text of an exception or a note, on one line."""
    try:
        text = str(said)
    except KeyboardInterrupt:
        raise
    except BaseException:  # an exception while showing another one must not hide it
        return f"<{kind_of(said)} that cannot be shown>"
    if len(text) > _MAX_WORDS:
        text = f"{text[:_MAX_WORDS]}… ({len(text):,} characters)"
    return escaped(text)
