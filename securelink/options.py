"""
Checks of arguments: one check for each kind of value, and one kind of error.

No value is changed silently: a value that cannot work is refused when it is given. Every check raises `ConfigError`
with the name of the argument, the value, and the possible values.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import inspect
import math
import os
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from .errors import ConfigError
from .limits import FOREVER_SECONDS, MAX_NAME
from .signatures import checked
from .text import kind_of, quoted

Made = TypeVar("Made")
Given = ParamSpec("Given")

_NUMBERS = (int, float)  # not `int | float`: that would be made for each packet that is received
# Characters that no name and no address contains, and texts that look like a join token.
_NO_HOST = re.compile(r"[/@?\\]|[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)


def options_of(
    init: Callable[Concatenate[Made, Given], None],
) -> Callable[Concatenate[Made, Given], None]:
    """
    An `__init__` that refuses an option which there is not, and says which one may be meant.

    Raises:
        ConfigError: By the `__init__`: there is no such option, or too much is given without a name.
    """
    parameters = inspect.signature(init).parameters
    names = list(parameters)[1:]
    by_place = init.__code__.co_argcount - 1
    needed = [name for name in names if parameters[name].default is inspect.Parameter.empty]

    @functools.wraps(init)
    def checked_init(self: Made, /, *args: Given.args, **options: Given.kwargs) -> None:
        kind = type(self).__name__
        for name in options:
            if name not in names:
                close = difflib.get_close_matches(name, names, 1)
                meant = f"did you mean {close[0]}=? " if close else ""
                raise ConfigError(
                    f"{kind} has no option {quoted(name)}",
                    hint=f"{meant}help({kind}) lists all",
                )
        if len(args) > by_place:
            first = " and ".join(names[:by_place])
            raise ConfigError(
                f"{kind} takes {first} without a name, and {len(args)} values have none",
                hint=f"write the name of each other option: {kind}(..., {names[by_place]}=...)",
            )
        missing = [name for name in needed[len(args) :] if name not in options]
        if missing:
            raise ConfigError(f"{kind} needs {' and '.join(missing)}", hint=f"see help({kind})")
        init(self, *args, **options)

    return checked_init


def whole(name: str, value: Any, low: int, high: int | None = None, *, unit: str = "") -> int:
    """
    A whole number from `low` to `high`, inclusive. True, False and 5.0 are refused.

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
    A finite number from `low` to `high`; a `low` of 0 is itself excluded.

    Raises:
        ConfigError: It is something else.
    """
    if _is(_NUMBERS, value) and -math.inf < value < math.inf:
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
    A timeout. A negative one has already passed; a program may compute one from a deadline.

    Returns:
        Seconds; at most FOREVER_SECONDS, which every wait of the system accepts. Infinity is allowed.

    Raises:
        ConfigError: It is not a number, or NaN.
    """
    # The usual case, for each packet received.
    if type(value) in _NUMBERS and value <= FOREVER_SECONDS:
        return float(value)
    if _is(_NUMBERS, value) and value == value:
        return float(min(value, FOREVER_SECONDS))
    raise _wrong_number(name, value, "a number of seconds")


def seconds_or_none(name: str, value: Any) -> float | None:
    """The same, or None: no timeout."""
    if value is None:
        return None
    if _is(_NUMBERS, value) and value == value:
        return float(min(value, FOREVER_SECONDS))
    raise _wrong_number(name, value, "a number of seconds, or None to wait forever")


def flag(name: str, value: object) -> bool:
    """
    True or False.

    Raises:
        ConfigError: It is neither True nor False.
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
    A text that is sent: at most `most` bytes of UTF-8.

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
    Bytes, or a bytes-like object. The value is not shown.

    Raises:
        ConfigError: It is something else; most likely a text, which has to be encoded first.
    """
    if not isinstance(value, bytes | bytearray | memoryview):
        hint = "encode the text: text.encode()" if isinstance(value, str) else "give bytes"
        raise ConfigError(f"{name} is {kind_of(value)}, not bytes", hint=hint)


def moment(name: str, clock: Callable[[], float]) -> float:
    """
    The time of a clock, in seconds.

    Raises:
        ConfigError: It cannot be called, or does not return a number.
    """
    checked(name, clock, ())
    return number(f"{name}()", clock(), -FOREVER_SECONDS)


def key(name: str, value: object) -> None:
    """
    A name that is kept and compared, but not sent by itself; None for none.

    Raises:
        ConfigError: It is no text, or has more than MAX_NAME characters.
    """
    if value is not None and (not isinstance(value, str) or len(value) > MAX_NAME):
        raise _wrong(name, value, f"a text of at most {MAX_NAME} characters, or None")


def secret(name: str, value: object) -> None:
    """
    A text or bytes that no error may show; None for none.

    Raises:
        ConfigError: It is something else. The value is not shown.
    """
    if value is not None and not isinstance(value, str | bytes):
        raise ConfigError(f"{name}= is {kind_of(value)}", hint="give a text, bytes or None")


def path(name: str, value: object) -> Path:
    """
    The path of a file or folder.

    Raises:
        ConfigError: It is not a path, or an empty one, which would silently mean the current folder.
    """
    if isinstance(value, str | os.PathLike):
        spelled = os.fspath(value)
        if isinstance(spelled, str) and spelled and "\0" not in spelled:
            return Path(spelled)
    raise _wrong(name, value, "a path: a text that is not empty, or a pathlib.Path")


def place(host: object, port: object, *, low: int, example: str) -> tuple[str, int]:
    """
    Check `host` and `port` as a user typed them.

    Args:
        low: The least port: 0 where the system may choose one.
        example: What to write instead.

    Raises:
        ConfigError: The host is not a text, or contains the port; the port is not a TCP port.
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
    # The host is not quoted: an invite or a token may have been given here, whole or in part.
    if _NO_HOST.search(host):
        raise ConfigError("the host is not the name or address of a host", hint=hint)
    if not isinstance(port, int) or isinstance(port, bool) or not low <= port <= 65535:
        raise ConfigError(
            f"{_number_shown(port)} is not a TCP port", hint=f"use {low} to 65535: {hint}"
        )
    return host, int(port)


def _number_shown(value: object) -> str:
    """The value that was given for a number. Other text may be a password in the wrong place, so it is not shown."""
    if isinstance(value, str | bytes) and not re.fullmatch(
        r"[0-9 +.,:_-]{1,16}", quoted(value).strip("b'\"")
    ):
        return kind_of(value)
    return quoted(value)


def _is(kind: Any, value: object) -> bool:
    """Whether a value is of that kind; a bool is an int in Python, but a mistake here."""
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
