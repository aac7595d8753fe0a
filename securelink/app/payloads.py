"""Data of a declared type: checked on arrival, before a handler sees it."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import inspect as shapes

from ..errors import CodecError, ConfigError
from ..text import escaped
from ..wire.sendable import declare
from .crowds import Bound, TooMany

_AS_THEY_COME = (bytes, bytearray)  # otherwise a str would count as bytes in Base64
_MAX_WHY = 200  # characters of what msgspec says; it may quote a name out of the data


def is_type(value: object) -> bool:
    """Whether this is a type for data, and not a function: a class, `list[int]`, `int | None`."""
    return isinstance(value, type | types.GenericAlias | types.UnionType) or (
        typing.get_origin(value) is not None
    )


def converter(action: str, kind: Any) -> Callable[[Any], Any]:
    """
    A function that converts received data into a value of a type.

    It raises `CodecError` for data that does not fit; its text names the field, and may quote a short piece of the
    data, escaped.

    Args:
        action: The action of the packets.
        kind: A `msgspec.Struct`, a dataclass, a `TypedDict`, a `NamedTuple`, or types that these are made of.

    Raises:
        ConfigError: It has a part that msgspec cannot make from data.
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

    if isinstance(kind, type):
        declare(kind)
    within = Bound().of(shapes.type_info(kind))

    def convert(data: Any) -> Any:
        try:
            if within is not None:
                within(data)
            return msgspec.convert(data, kind, builtin_types=_AS_THEY_COME)
        except (msgspec.ValidationError, RecursionError, OverflowError, TooMany) as error:
            why = escaped(str(error)[:_MAX_WHY])
            raise CodecError(f"the data of {action!r} does not fit: {why}") from None

    return convert


_HINT = (
    "give an object or a function as the handler, and a msgspec.Struct or a dataclass as the type"
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
