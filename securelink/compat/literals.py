"""Values written as Python literals, read from a peer's text without executing anything."""

from __future__ import annotations

import ast
import re
from itertools import accumulate
from typing import Any

from ..limits import MAX_DEPTH, MAX_WALK_FREE

# Python's own parser recurses over operators, trailers and brackets: a hostile text could end the process. What passes
# here is no more than what repr() writes: strings, numbers and names between brackets and commas. An unclosed string
# matches too, and is refused: a search from each of its quotes would take quadratic time.
_STRING = re.compile(r"""[bB]?(?:'(?:[^'\\\n]|\\.)*(')?|"(?:[^"\\\n]|\\.)*(")?)""")
_TRAILER = re.compile(r"[\w)\]}]\s*[(\[{]|\.\s*[^\W\d]")
_ATOM = re.compile(r"[+-]?[\w.]*(?:[+-][\w.]+){0,3}")


def read_literal(text: str) -> Any:
    """
    The value that `text` spells.

    Raises:
        ValueError: It is no literal, longer than 64 KiB or nested deeper than 64.
    """
    if len(text) > MAX_WALK_FREE:
        raise ValueError("too long for a literal")
    skeleton = _STRING.sub(lambda found: "s" if found[1] or found[2] else "!", text).replace(
        "set()", "s"
    )
    depth = max(accumulate((c in "([{") - (c in ")]}") for c in skeleton), default=0)
    atoms = [atom.strip() for atom in re.split(r"[\[\](){},:]", skeleton)]
    if depth > MAX_DEPTH or _TRAILER.search(skeleton) or not all(map(_ATOM.fullmatch, atoms)):
        raise ValueError("no literal")
    try:
        return ast.literal_eval(text.strip())
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError("no literal") from error
