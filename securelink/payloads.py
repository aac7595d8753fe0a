"""Data of a declared type: looked at when it arrives, before a handler sees it."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import inspect as shapes

from .errors import CodecError, ConfigError
from .limits import MAX_DEPTH
from .text import escaped

_AS_THEY_COME = (bytes, bytearray)  # otherwise a str would be taken for bytes in Base64
_SAME = frozenset((type(None), bool, int, float, str, bytes))
_MAX_WHY = 200  # characters of what msgspec says; it may quote a name out of the data


def is_type(value: object) -> bool:
    """Whether this is a type that data may be declared as, and no function: a class, `list[int]`, `int | None`."""
    return isinstance(value, type | types.GenericAlias | types.UnionType) or (
        typing.get_origin(value) is not None
    )


def converter(action: str, kind: Any) -> Callable[[Any], Any]:
    """
    A function that turns data, as it came, into a value of a type.

    It raises `CodecError` for what does not fit; its text names the field, and may quote a short piece of the data,
    escaped.

    Args:
        action: Whose data it is.
        kind: A `msgspec.Struct`, a dataclass, a `TypedDict`, a `NamedTuple`, or what these are made of.

    Raises:
        ConfigError: It has a part that msgspec cannot make out of data.
    """
    try:
        unknown = _unknown(shapes.type_info(kind), set())
    except (TypeError, ValueError, NameError) as error:
        raise ConfigError(
            f"the data of {action!r} cannot be a {_name(kind)}: {error}", hint=_HINT
        ) from None
    if unknown is not None:
        raise ConfigError(
            f"the data of {action!r} cannot be a {_name(kind)}: nothing says what {_name(unknown)} is made of",
            hint=_HINT,
        )

    def convert(data: Any) -> Any:
        try:
            return msgspec.convert(data, kind, builtin_types=_AS_THEY_COME)
        except (msgspec.ValidationError, RecursionError, OverflowError) as error:
            why = escaped(str(error)[:_MAX_WHY])
            raise CodecError(f"the data of {action!r} does not fit: {why}") from None

    return convert


_HINT = (
    "give an object or a function as the handler, and a msgspec.Struct or a dataclass as the type"
)


def check_unchanged(data: Any) -> None:
    """
    Look whether data arrives as what it is: each value of exactly a type that MessagePack has.

    Raises:
        CodecError: A value, which the error locates, would arrive as one of another type.
    """
    waiting: list[tuple[Any, str, int]] = [(data, "$", 0)]
    while waiting:
        value, where, level = waiting.pop()
        if level > MAX_DEPTH:
            raise CodecError(
                "the data is nested too deep, or contains itself",
                hint=f"keep nesting within {MAX_DEPTH} levels",
            )
        kind = type(value)
        if len(where) > _MAX_WHY:
            where = where[:_MAX_WHY] + "…"
        if kind is list:
            waiting += [
                (item, f"{where}[{number}]", level + 1) for number, item in enumerate(value)
            ]
        elif kind is dict:
            waiting += [(key, f"the key {key!r} of {where}", level + 1) for key in value]
            waiting += [(item, f"{where}[{key!r}]", level + 1) for key, item in value.items()]
        elif kind not in _SAME and not (kind is datetime and value.tzinfo is UTC):
            raise CodecError(
                f"a {kind.__name__} at {escaped(where)} would arrive as another type",
                hint="strict_types= takes None, bool, int, float, str, bytes, list, dict and datetime in UTC",
            )


def _unknown(node: Any, seen: set[int]) -> Any:
    """The first class inside a type that msgspec does not know, or None."""
    if isinstance(node, shapes.CustomType):
        return node.cls
    if isinstance(node, tuple):
        parts = node
    elif isinstance(node, shapes.Type | shapes.Field):
        if id(node) in seen:
            return None
        seen.add(id(node))
        parts = tuple(
            getattr(node, name)
            for name in node.__struct_fields__
            if name not in ("default", "default_factory", "cls")
        )
    else:
        return None
    for part in parts:
        if (found := _unknown(part, seen)) is not None:
            return found
    return None


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", None) or str(kind)
