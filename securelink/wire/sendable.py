"""Values that may be sent: those that arrive with their own type or a close relative; all others are refused."""

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
from ..text import escaped, kind_of, quoted

PLAIN = frozenset((type(None), bool, int, float, str, bytes))
_QUICK_LEVELS = 8  # nesting that the fast check handles; deeper data is rare and takes longer
# MessagePack has no type for these. The encoder would silently send text, a list or the bare value.
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
_FEW = 16  # up to this many items, checking one by one is faster
_EXACT = "strict_types= takes None, bool, int, float, str, bytes, list, dict and datetime in UTC"
_MAX_WHERE = 200  # characters of the path that locates a value in the data

# Classes that a program has declared: they are sent as dicts, and arrive as instances if a handler declares them.
_declared: weakref.WeakSet[type] = weakref.WeakSet()

Kind = TypeVar("Kind", bound=type)


def payload(kind: Kind) -> Kind:
    """
    Declare a dataclass as data that may be sent; a decorator.

    It is sent as a dict of its fields. A handler bound with `on(action, TheClass)` gets it as the class again, and
    declares it as well; a handler without a type gets the dict. A `msgspec.Struct` needs no declaration.

    Raises:
        ConfigError: The class is not a dataclass.
    """
    if not isinstance(kind, type) or not dataclasses.is_dataclass(kind):
        raise ConfigError(f"{quoted(kind)} is no dataclass", hint="put @payload above @dataclass")
    _declared.add(kind)
    return kind


def declare(kind: type) -> None:
    """A handler expects data of this class: from now on it may also be sent."""
    _declared.add(kind)


def check_sendable(data: Any, *, exact: bool = False) -> bool:
    """
    Refuse data that would silently arrive as something else.

    Args:
        data: The data to be encoded.
        exact: Also refuse values that arrive as a close relative: tuples (as lists), bytearrays (as bytes), subclasses
            of dict, str and others (as their base), times of another zone (in UTC), and declared classes (as dicts).

    Returns:
        True when a receiver's limits on nesting and on map keys are certainly kept too.

    Raises:
        CodecError: A value, which the error locates, would arrive as one of another type.
    """
    if is_plain(data):
        return True
    check_each(data, exact=exact)
    return False


def check_each(data: Any, *, exact: bool = False) -> None:
    """As `check_sendable`, of data that is not plain."""
    for where, value in _walk(data):
        if exact:
            if not _is_exact(value):
                raise _changes(value, where, _EXACT)
        elif (hint := _fault(value)) is not None:
            raise _changes(value, where, hint)


def is_plain(data: Any, levels: int = _QUICK_LEVELS) -> bool:
    """Whether data is plain values in lists and dicts, as almost all data is. Runs for each packet with a container."""
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
    # A flat container needs no step for each item.
    if len(items) > _FEW and PLAIN.issuperset(map(type, items)):
        return True
    for item in items:  # noqa: SIM110  # all() would make a generator, which costs as much as the rest
        if type(item) not in PLAIN and not (levels and is_plain(item, levels - 1)):
            return False
    return True


def _walk(data: Any) -> Iterator[tuple[str, Any]]:
    """Every value of the data, and its place."""
    waiting: list[tuple[Any, str, int]] = [(data, "$", 0)]
    while waiting:
        value, where, level = waiting.pop()
        if level > MAX_DEPTH:
            return  # too deep, or circular: the encoder reports which (a circle has endless paths)
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
    """The hint for a value that would change its type; None for a value that may be sent."""
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
        return None  # declared, or the encoder decides
    return "send str(value), list(value) or another value that MessagePack has, or declare the type of the data"


def _changes(value: Any, where: str, hint: str) -> CodecError:
    place = "" if where == "$" else f" at {escaped(where)}"
    return CodecError(f"{kind_of(value)}{place} would arrive as another type", hint=hint)
