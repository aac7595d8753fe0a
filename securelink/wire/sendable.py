"""What data may be made of: values that arrive as what they were, or nearly so; all else is refused when it is sent."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import uuid
import weakref
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from ..errors import CodecError, ConfigError
from ..limits import MAX_DEPTH, MAX_NUMBER_KEYS
from ..text import escaped, quoted

PLAIN = frozenset((type(None), bool, int, float, str, bytes))
_QUICK_LEVELS = 8  # containers in containers that are looked at quickly; deeper ones, seldom as they are, take longer
# MessagePack has no type for these. The encoder would send text, a list or the bare value, and nobody would be told.
_OTHERS = (
    decimal.Decimal,
    set,
    frozenset,
    enum.Enum,
    uuid.UUID,
    datetime.date,
    datetime.time,
    datetime.timedelta,
)
_FEW = 16  # items that are quicker looked at one by one
_EXACT = "strict_types= takes None, bool, int, float, str, bytes, list, dict and datetime in UTC"
_MAX_WHERE = 200  # characters that say where in the data a value stands

# Classes that a program has declared: they travel as dicts, and arrive as themselves where a handler declares them.
_declared: weakref.WeakSet[type] = weakref.WeakSet()

Kind = TypeVar("Kind", bound=type)


def payload(kind: Kind) -> Kind:
    """
    Declare a dataclass as data that may be sent; a decorator.

    It travels as a dict of its fields. A handler bound with `on(action, TheClass)` gets it as the class again, and
    declares it as well; a handler without a type gets the dict. A `msgspec.Struct` needs no declaration.

    Raises:
        ConfigError: It is no dataclass.
    """
    if not isinstance(kind, type) or not dataclasses.is_dataclass(kind):
        raise ConfigError(f"{quoted(kind)} is no dataclass", hint="put @payload above @dataclass")
    _declared.add(kind)
    return kind


def declare(kind: type) -> None:
    """A handler expects data of this class: from now on it may be sent too."""
    _declared.add(kind)


def check_sendable(data: Any, *, exact: bool = False) -> bool:
    """
    Refuse data that would silently arrive as something else.

    Args:
        data: What is about to be encoded.
        exact: Refuse also what arrives as its nearest relative: tuples (as lists), bytearrays (as bytes), subclasses
            of dict, str and others (as their base), times of another zone (in UTC), and declared classes (as dicts).

    Returns:
        True when a receiver's limits on nesting and on map keys are certainly kept too.

    Raises:
        CodecError: A value, which the error locates, would arrive as one of another type.
    """
    if _is_plain(data, _QUICK_LEVELS):
        return True
    for where, value in _walk(data):
        if exact:
            if not _is_exact(value):
                raise _changes(value, where, _EXACT)
        elif (hint := _fault(value)) is not None:
            raise _changes(value, where, hint)
    return False


def _is_plain(data: Any, levels: int) -> bool:
    """Whether data is plain values in lists and dicts, as almost all is. Hot: for each packet with a container."""
    kind = type(data)
    if kind is dict:
        for key in data:
            if type(key) is not str and (type(key) not in PLAIN or len(data) > MAX_NUMBER_KEYS):
                return False
        items = data.values()
    elif kind is list:
        items = data
    else:
        return kind in PLAIN
    if len(items) > _FEW and PLAIN.issuperset(
        map(type, items)
    ):  # a flat one takes no step for each
        return True
    for item in items:  # noqa: SIM110  # all() would make a generator, which costs as much as the rest
        if type(item) not in PLAIN and not (levels and _is_plain(item, levels - 1)):
            return False
    return True


def _walk(data: Any) -> Iterator[tuple[str, Any]]:
    """Every value of the data, and where it stands."""
    waiting: list[tuple[Any, str, int]] = [(data, "$", 0)]
    while waiting:
        value, where, level = waiting.pop()
        if level > MAX_DEPTH:
            return  # too deep, or in a circle: the encoder says which (and a circle has ever more paths to look at)
        if len(where) > _MAX_WHERE:
            where = where[:_MAX_WHERE] + "…"
        if type(value) in PLAIN:
            continue
        yield where, value
        if isinstance(value, dict):
            waiting += [(key, f"the key {key!r} of {where}", level + 1) for key in value]
            waiting += [(item, f"{where}[{key!r}]", level + 1) for key, item in value.items()]
        elif isinstance(value, list | tuple):
            waiting += [
                (item, f"{where}[{number}]", level + 1) for number, item in enumerate(value)
            ]


def _is_exact(value: Any) -> bool:
    kind = type(value)
    return (
        kind is list or kind is dict or (kind is datetime.datetime and value.tzinfo is datetime.UTC)
    )


def _fault(value: Any) -> str | None:
    """What to do about a value that would change, or None for one that may go."""
    if isinstance(value, str | int | float):
        return None  # also a StrEnum or an IntEnum: still text, still a number
    if isinstance(value, datetime.datetime):
        return None if value.tzinfo is not None else "give it a zone, for example datetime.now(UTC)"
    if dataclasses.is_dataclass(value) or hasattr(value, "__attrs_attrs__"):
        if type(value) in _declared:
            return None
        return (
            "declare it with @securelink.payload, or as the type of a handler, on(action, TheClass); "
            "or send a dict of its fields"
        )
    if isinstance(value, msgspec.Struct) or not isinstance(value, _OTHERS):
        return None  # made to travel; or the encoder decides
    return "send str(value), list(value) or another value that MessagePack has, or declare the type of the data"


def _changes(value: Any, where: str, hint: str) -> CodecError:
    kind = type(value).__name__
    return CodecError(f"a {kind} at {escaped(where)} would arrive as another type", hint=hint)
