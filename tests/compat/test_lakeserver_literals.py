"""Reading a peer's text as a Python literal: what repr() writes is read, nothing else, and nothing takes long."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securelink.compat.literals import read_literal

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
    "9" * 5000,
]  # fmt: skip

#: Each ended Python's parser, or took it or a careless search seconds, when it was long enough.
HOSTILE = [
    "(" * 30_000, "[1," * 20_000, "-" * 60_000 + "1", "1" + "+1" * 30_000, "not " * 15_000 + "1", "a" + "[0]" * 20_000,
    "f" + "()" * 30_000, "a" + ".b" * 30_000, "'\\" * 30_000, "'\\\n" * 20_000, "b" * 65_000 + "'", " " * 65_000 + "!",
    "x" * 65_000 + "!", "1.1" * 20_000, "'\"\n" * 20_000, "1" * 100_000,
]  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_what_repr_writes_is_read(value: Any) -> None:
    """Any value of literals comes back equal."""
    assert read_literal(repr(value)) == value


@pytest.mark.parametrize("text", NO_LITERALS, ids=lambda text: ascii(text[:20]))
def test_everything_else_is_refused(text: str) -> None:
    """Expressions, names, calls and broken text are no literals."""
    with pytest.raises(ValueError):
        read_literal(text)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:8]))
def test_hostile_text_is_refused_quickly(text: str) -> None:
    """Deep, long and repetitive text is refused in a fraction of a second."""
    began = time.process_time()
    with pytest.raises(ValueError):
        read_literal(text)
    assert time.process_time() - began < 0.5


def test_depth_and_length_are_bounded() -> None:
    """Nesting of 64 and 65,536 characters are read, one more is not."""
    assert read_literal("[" * 64 + "]" * 64)
    assert len(read_literal("'" + "x" * 65_534 + "'")) == 65_534
    for text in ("[" * 65 + "]" * 65, "'" + "x" * 65_535 + "'"):
        with pytest.raises(ValueError):
            read_literal(text)
