"""
Bounds the members of sets that are made from a peer's data.

A set or dict takes time with the square of the number of members with equal hashes, in one call with the
interpreter's lock held. Hashes of text and bytes are keyed by the process; those of numbers, and of values made of
numbers, are not, so a peer can choose members with equal hashes. Maps on the wire are bounded by the scan; this
module is about arrays that a declared type turns into sets, and texts that it turns into keys.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import inspect as shapes

from ..limits import MAX_NUMBER_KEYS

Check = Callable[[Any], None]

# Hashed as bytes, with a key; or there are only a few values.
_SAFE: tuple[type[shapes.Type], ...] = (
    shapes.StrType, shapes.BytesType, shapes.ByteArrayType, shapes.DateTimeType, shapes.DateType, shapes.TimeType,
    shapes.BoolType, shapes.NoneType, shapes.EnumType, shapes.LiteralType,
)  # fmt: skip
# Keys of maps that come as numbers are bounded by the scan.
_SAFE_KEYS: tuple[type[shapes.Type], ...] = (
    *_SAFE,
    shapes.IntType,
    shapes.FloatType,
    shapes.AnyType,
)


class TooMany(Exception):
    """A set would get too many members."""


class Bound:
    """Finds the sets inside a type, and makes a function that raises `TooMany` for data with too many members."""

    def __init__(self) -> None:
        self._known: dict[int, list[Check]] = {}  # by id of a node: types may contain themselves

    def of(self, node: shapes.Type) -> Check | None:
        """A check of data of this type; None if there is nothing to check."""
        return self._check(node) if _has_crowd(node, set()) else None

    def _check(self, node: shapes.Type) -> Check:
        found = self._known.get(id(node))
        if found is None:
            found = self._known[id(node)] = []
            found.extend(self._parts(node))
        checks = found

        def check(data: Any) -> None:
            for part in checks:
                part(data)

        return check

    def _parts(self, node: shapes.Type) -> list[Check]:
        match node:
            case shapes.SetType() | shapes.FrozenSetType():
                parts = [self._each(node.item_type)]
                return parts if _is_safe(node) else [_few, *parts]
            case shapes.ListType() | shapes.VarTupleType() | shapes.CollectionType():
                return [self._each(node.item_type)]
            case shapes.DictType() | shapes.FrozenDictType():
                parts = [self._values(node.value_type)]
                return parts if _is_safe(node) else [_few, *parts]
            case shapes.TupleType():
                return [self._places([self._check(item) for item in node.item_types], 0)]
            case shapes.UnionType():
                return [self._check(member) for member in node.types]
            case (
                shapes.StructType()
                | shapes.DataclassType()
                | shapes.TypedDictType()
                | shapes.NamedTupleType()
            ):
                fields = {field.encode_name: self._check(field.type) for field in node.fields}
                tagged = isinstance(node, shapes.StructType) and node.tag is not None
                return [self._places(list(fields.values()), int(tagged)), self._names(fields)]
        return []

    def _each(self, item: shapes.Type) -> Check:
        check = self._check(item)

        def each(data: Any) -> None:
            if isinstance(data, list):
                for value in data:
                    check(value)

        return each

    def _values(self, value_type: shapes.Type) -> Check:
        check = self._check(value_type)

        def values(data: Any) -> None:
            if isinstance(data, dict):
                for value in data.values():
                    check(value)

        return values

    @staticmethod
    def _places(checks: list[Check], first: int) -> Check:
        def places(data: Any) -> None:
            if isinstance(data, list):
                for check, value in zip(checks, data[first:], strict=False):
                    check(value)

        return places

    @staticmethod
    def _names(checks: dict[str, Check]) -> Check:
        def names(data: Any) -> None:
            if isinstance(data, dict):
                for name, check in checks.items():
                    if name in data:
                        check(data[name])

        return names


def _few(data: Any) -> None:
    if isinstance(data, list | dict) and len(data) > MAX_NUMBER_KEYS:
        raise TooMany(
            f"{len(data):,} members for a set or keys of other things than text and bytes; "
            f"{MAX_NUMBER_KEYS} are the most"
        )


def _is_safe(node: Any) -> bool:
    """Whether a peer cannot choose members of this set, or keys of this dict, that have equal hashes."""
    match node:
        case shapes.SetType() | shapes.FrozenSetType():
            members, safe = node.item_type, _SAFE
        case shapes.DictType() | shapes.FrozenDictType():
            members, safe = node.key_type, _SAFE_KEYS
        case _:
            return True
    kinds = members.types if isinstance(members, shapes.UnionType) else (members,)
    return all(isinstance(kind, safe) for kind in kinds)


def _has_crowd(node: Any, seen: set[int]) -> bool:
    if isinstance(node, tuple):
        return any(_has_crowd(part, seen) for part in node)
    if not isinstance(node, shapes.Type | shapes.Field) or id(node) in seen:
        return False
    seen.add(id(node))
    if not _is_safe(node):
        return True
    return any(
        _has_crowd(getattr(node, name), seen)
        for name in node.__struct_fields__
        if name not in ("default", "default_factory", "cls")
    )
