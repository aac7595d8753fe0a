"""Reading a peer's text as a Python literal: what repr() writes is read, nothing else, and nothing takes long."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest
from helpers import WAIT
from hypothesis import given, settings
from hypothesis import strategies as st

from securelink.compat.lakeserver.literals import read_literal

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.complex_numbers(allow_nan=False, allow_infinity=False) | st.text() | st.binary()
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(SCALARS, inner),
    max_leaves=20,
)

NO_LITERALS = [
    "hello", "hello world", "__import__('os')", "f()", "a.b", "1 if 2 else 3", "[x for x in y]", "lambda: 0",
    "1..real", "a[0][0]", "'a'[0][0]", "set()()", "'%s' % 1", "not 1", "1\x002", "'", "1+", "((", "[1,2", "",
    "9" * 5000, "set()", "nan", "1_0", "0x10", "- 1", "1+2+3", "f''", "f'{1}'", "u'a'", "'a' 'b'", "'''a'''", "[1] [0]",
    "(1)(1)", "'a\n'", "'a\r'", "...", "*a", "{**{}}", "1:2", "'\ud800'",
]  # fmt: skip

#: Each ends Python's parser where stacks are small, or takes it or a careless search seconds, when it is long enough.
HOSTILE = [
    "(" * 30_000, "[1," * 20_000, "-" * 60_000 + "1", "1" + "+1" * 30_000, "not " * 15_000 + "1", "a" + "[0]" * 20_000,
    "f" + "()" * 30_000, "a" + ".b" * 30_000, "'\\" * 30_000, "'\\\n" * 20_000, "b" * 65_000 + "'", " " * 65_000 + "!",
    "x" * 65_000 + "!", "1.1" * 20_000, "'\"\n" * 20_000, "1" * 100_000,
    "f'{" + "-" * 60_000 + "1}'", "'''\n,'''" + "-" * 60_000 + "1", " " * 30_000 + "[" + " " * 30_000 + "!",
    "1e1" * 20_000, "'\\'" * 20_000, "1 if 1 else " * 5_000 + "1", "lambda:" * 9_000 + "1", "1<" * 30_000 + "1",
]  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_what_repr_writes_is_read(value: Any) -> None:
    """Any value of literals comes back equal."""
    assert read_literal(repr(value)) == value


@pytest.mark.parametrize("text", NO_LITERALS, ids=lambda text: ascii(text[:20]))
def test_everything_else_is_refused(text: str) -> None:
    """Expressions, names, calls and broken text are no literals, and stay text."""
    assert read_literal(text) is text


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:8]))
def test_hostile_text_is_refused_quickly(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deep, long and repetitive text is refused without much work, before Python's parser sees it."""
    monkeypatch.delattr("ast.literal_eval")
    began = time.process_time()
    assert read_literal(text) is text
    assert time.process_time() - began < 5


def test_what_is_read_needs_little_stack() -> None:
    """The deepest value is read by a thread with a stack of 256 KiB, where an unguarded parser ends the process."""
    script = f"""
import threading
from securelink.compat.lakeserver.literals import read_literal
text = {"[" * 64 + "-1" + "]" * 64!r}
read = []
def look():
    read.append(read_literal(text) is not text)
    read.append(read_literal("-" * 60_000 + "1"))
threading.stack_size(256 * 1024)
thread = threading.Thread(target=look)
thread.start()
thread.join()
assert read == [True, "-" * 60_000 + "1"]
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=WAIT)


def test_depth_and_length_are_bounded() -> None:
    """Nesting of 64 and 65,536 characters are read, one more is not."""
    assert read_literal("[" * 64 + "]" * 64)
    assert len(read_literal("'" + "x" * 65_534 + "'")) == 65_534
    for text in ("[" * 65 + "]" * 65, "'" + "x" * 65_535 + "'"):
        assert read_literal(text) is text
