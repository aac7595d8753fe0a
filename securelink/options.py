"""
What arguments must look like: one check for each kind of value, and one kind of error.

Nothing is changed in silence: a value that cannot work is refused when it is given, and never made to fit. Every check
raises `ConfigError` with the name of the argument, the value, and what is possible.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from .errors import ConfigError
from .limits import FOREVER_SECONDS, MAX_NAME
from .signatures import checked
from .text import quoted

# Signs that no name and no address has, and what looks like a join token.
_NO_HOST = re.compile(r"[/@?\\]|[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)


def whole(name: str, value: Any, low: int, high: int | None = None, *, unit: str = "") -> int:
    """
    A whole number from `low` to `high`, both possible. True and False are none, nor is 5.0.

    Raises:
        ConfigError: It is something else.
    """
    if _is(int, value) and low <= value and (high is None or value <= high):
        return int(value)
    raise _wrong_number(name, value, f"a whole number {_range(low, high)}{_in(unit)}")


def number(
    name: str, value: Any, low: float, high: float | None = None, *, unit: str = ""
) -> float:
    """
    A finite number from `low` to `high`; a `low` of 0 is not possible itself.

    Raises:
        ConfigError: It is something else.
    """
    if _is(int | float, value) and -math.inf < value < math.inf:
        enough = low <= value if low else value > 0
        with contextlib.suppress(OverflowError):  # a whole number larger than any float
            if enough and (high is None or value <= high):
                return float(value)
    least = (
        _range(low, high) if low else "above 0" + (f" and at most {_plain(high)}" if high else "")
    )
    raise _wrong_number(name, value, f"a number {least}{_in(unit)}")


def seconds(name: str, value: Any) -> float:
    """
    A timeout. One below 0 has passed already, as one that a program computes from a deadline may have.

    Returns:
        Seconds; at most FOREVER_SECONDS, which no wait of the system refuses. Infinity is possible.

    Raises:
        ConfigError: It is no number, or not a number in the sense of IEEE 754.
    """
    if _is(int | float, value) and value == value:
        return float(min(value, FOREVER_SECONDS))
    raise _wrong_number(name, value, "a number of seconds")


def seconds_or_none(name: str, value: Any) -> float | None:
    """The same, or None: no timeout."""
    if value is None:
        return None
    if _is(int | float, value) and value == value:
        return float(min(value, FOREVER_SECONDS))
    raise _wrong_number(name, value, "a number of seconds, or None to wait forever")


def flag(name: str, value: object) -> bool:
    """
    True or False.

    Raises:
        ConfigError: It is something else, whatever its truth.
    """
    if isinstance(value, bool):
        return value
    raise _wrong(name, value, "True or False")


def word(name: str, value: object, words: Collection[str]) -> str:
    """
    One of a few words.

    Raises:
        ConfigError: It is none of them.
    """
    if isinstance(value, str) and value in words:
        return value
    *first, last = (repr(word) for word in words)
    raise _wrong(name, value, f"{', '.join(first)} or {last}" if first else last)


def text(name: str, value: object, *, most: int = MAX_NAME) -> str:
    """
    A text that travels: at most `most` bytes of UTF-8.

    Raises:
        ConfigError: It is something else, or longer, or cannot be encoded.
    """
    if not isinstance(value, str):
        hint = f"write {name}={str(value)!r}" if isinstance(value, int | float) else ""
        raise _wrong(name, value, "a text", hint)
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise _wrong(name, value, "a text without lone surrogates") from None
    if size > most:
        raise ConfigError(f"{name}= is longer than {most} bytes", hint=f"it has {size:,}")
    return value


def raw(name: str, value: object) -> None:
    """
    Bytes, or what holds bytes. The value is not shown.

    Raises:
        ConfigError: It is something else; a text most likely, which has to be encoded first.
    """
    if not isinstance(value, bytes | bytearray | memoryview):
        hint = (
            "encode the text: text.encode()"
            if isinstance(value, str)
            else "it is possible as bytes"
        )
        raise ConfigError(f"{name} is a {type(value).__name__}, not bytes", hint=hint)


def moment(name: str, clock: Callable[[], float]) -> float:
    """
    What a clock says, in seconds.

    Raises:
        ConfigError: It cannot be called, or says no number.
    """
    checked(name, clock, ())
    return number(f"{name}()", clock(), -FOREVER_SECONDS)


def key(name: str, value: object) -> None:
    """
    A name that is kept and compared, but does not travel alone; None for none.

    Raises:
        ConfigError: It is no text, or has more than MAX_NAME characters.
    """
    if value is not None and (not isinstance(value, str) or len(value) > MAX_NAME):
        raise _wrong(name, value, f"a text of at most {MAX_NAME} characters, or None")


def secret(name: str, value: object) -> None:
    """
    A text or bytes that nobody may read in an error; None for none.

    Raises:
        ConfigError: It is something else. The value is not shown.
    """
    if value is not None and not isinstance(value, str | bytes):
        raise ConfigError(
            f"{name}= is a {type(value).__name__}", hint="it is possible as a text, bytes or None"
        )


def path(name: str, value: object) -> Path:
    """
    The path of a file or folder.

    Raises:
        ConfigError: It is no path, or an empty one, which would mean the current folder without saying so.
    """
    if isinstance(value, str | os.PathLike):
        spelled = os.fspath(value)
        if isinstance(spelled, str) and spelled and "\0" not in spelled:
            return Path(spelled)
    raise _wrong(name, value, "a path: a text that is not empty, or a pathlib.Path")


def place(host: object, port: object, *, low: int, example: str) -> tuple[str, int]:
    """
    Look at `host` and `port` as somebody typed them.

    Args:
        low: The least port: 0 where the system may choose one.
        example: What to write instead.

    Raises:
        ConfigError: The host is no text, or has the port in it; the port is no port of TCP.
    """
    hint = f"write {example}"
    if not isinstance(host, str):
        raise ConfigError(f"host is a name or an address, not {quoted(host)}", hint=hint)
    if low and not host:  # a server without one listens on all addresses
        raise ConfigError("the host is an empty text", hint=hint)
    name, colon, digits = host.rpartition(":")
    if colon and digits.isdecimal() and (":" not in name or name.endswith("]")):
        raise ConfigError("the host has a port in it", hint=hint)
    text("host", host)
    if _NO_HOST.search(host):  # not quoted: an invite or a token may have come here, whole or torn
        raise ConfigError(
            "what was given as the host is not the name or address of a host", hint=hint
        )
    if not isinstance(port, int) or isinstance(port, bool) or not low <= port <= 65535:
        raise ConfigError(
            f"{_number_shown(port)} is no TCP port", hint=f"use {low} to 65535: {hint}"
        )
    return host, int(port)


def _number_shown(value: object) -> str:
    """What was given for a number. Text with anything else in it may be a password that came into the wrong place."""
    if isinstance(value, str | bytes) and not re.fullmatch(
        r"[0-9 +.,:_-]{1,16}", quoted(value).strip("b'\"")
    ):
        return f"a {type(value).__name__}"
    return quoted(value)


def _is(kind: Any, value: object) -> bool:
    """Whether it is of that kind; a bool is an int to Python, and a mistake here."""
    return isinstance(value, kind) and not isinstance(value, bool)


def _wrong(name: str, value: object, possible: str, hint: str = "") -> ConfigError:
    return ConfigError(f"{name}={quoted(value)} is not possible", hint=hint or f"it is {possible}")


def _wrong_number(name: str, value: object, possible: str) -> ConfigError:
    return ConfigError(f"{name}={_number_shown(value)} is not possible", hint=f"it is {possible}")


def _range(low: float, high: float | None) -> str:
    return (
        f"from {_plain(low)} to {_plain(high)}"
        if high is not None
        else f"of at least {_plain(low)}"
    )


def _plain(value: float) -> str:
    """A bound as people write it: 16,777,216 and 0.5, not 1.67772e+07."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,g}"


def _in(unit: str) -> str:
    return f" ({unit})" if unit else ""
