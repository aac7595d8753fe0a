"""Values written as Python literals, read from a peer's text without executing anything."""

import ast
import re
from itertools import accumulate
from typing import Any

from ...limits import MAX_DEPTH, MAX_WALK_FREE

# Python's own parser recurses over operators, trailers and brackets: a hostile text could end the process where stacks
# are small. What passes here is what repr() writes: strings, numbers and constants between brackets and commas. An
# unclosed string matches to the end, and is refused: a search from each of its quotes would take quadratic time.
_STRING = re.compile(r"""(?s)b?(?:'(?:[^'\\\r\n]|\\.)*+'|"(?:[^"\\\r\n]|\\.)*+")|(['"].*)""")
_NUMBER = r"\d+(?:\.\d+)?(?:e[+-]?\d+)?j?"
_ITEM = re.compile(rf"[\s\[({{]*+(?:s|True|False|None|-?{_NUMBER}(?:[+-]{_NUMBER})?)?[\s\])}}]*")


def read_literal(text: str) -> Any:
    """The value that `text` spells; the text itself when it is no literal, over 64 KiB, or nested deeper than 64."""
    skeleton = _STRING.sub(r"s\1", text[:MAX_WALK_FREE])
    depth = max(accumulate((c in "([{") - (c in ")]}") for c in skeleton), default=0)
    plain = all(map(_ITEM.fullmatch, re.split("[,:]", skeleton)))
    if len(text) > MAX_WALK_FREE or depth > MAX_DEPTH or not plain:
        return text
    try:
        return ast.literal_eval(text.strip())
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return text
