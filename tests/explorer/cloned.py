"""
Copies of what a program is in the middle of, and what tells two of them apart.

A side of the explorer is a graph of the library's own objects, between two calls. It is copied before anything is done
to it, and has a digest that is equal for equal states: sizes, bytes, and who refers to whom. Keys and ciphers of
`cryptography` do not change, and are shared. Where an object lies in memory is no part of its state.
"""

from __future__ import annotations

import hashlib
import marshal
from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext
from enum import Enum
from functools import cache
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from securelink.keys import Identity, PublicKey
from securelink.protocol.acknowledgements import _NOTHING as _NO_RECORDS
from securelink.protocol.requests import _NOTHING as _NO_WAITERS
from securelink.protocol.send_queue import _NOTHING as _NO_SLOTS

_HASH = type(hashlib.sha256())
_ATOMS = {int, str, bytes, float, bool, type(None)}
#: Neither changed by anybody nor part of a state.
_SHARED = (Enum, type, FunctionType, BuiltinFunctionType, Identity, PublicKey, nullcontext)
#: Tables of the library's, the same for all objects of a class.
_CONSTANT = {"_takes"}
#: Stand for what is empty, and are replaced when something comes.
_EMPTY = {id(nothing) for nothing in (_NO_RECORDS, _NO_WAITERS, _NO_SLOTS)}

_SHARE, _TUPLE, _PILE, _DICT, _SET, _VIEW, _STATE, _METHOD, _NAMED, _OBJECT = range(10)


@cache
def _sort_of(kind: type) -> int:
    """How objects of this class are treated."""
    if issubclass(kind, _SHARED) or kind is frozenset or kind.__module__.startswith("cryptography"):
        return _SHARE
    known = {
        tuple: _TUPLE,
        dict: _DICT,
        set: _SET,
        memoryview: _VIEW,
        _HASH: _STATE,
        MethodType: _METHOD,
    }
    if kind in known:
        return known[kind]
    if issubclass(kind, (list, deque, bytearray)):
        return _PILE
    return _NAMED if issubclass(kind, tuple) else _OBJECT


@cache
def _slots_of(kind: type) -> tuple[str, ...]:
    names: list[str] = []
    for one in kind.__mro__:
        slots = one.__dict__.get("__slots__", ())
        names += (slots,) if isinstance(slots, str) else slots
    return tuple(name for name in dict.fromkeys(names) if name not in ("__weakref__", "__dict__"))


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    """Attributes of an object, in a fixed order."""
    kind: Any = type(value)
    for name in _slots_of(kind):
        try:
            yield name, getattr(value, name)
        except AttributeError:
            pass  # not set
    yield from getattr(value, "__dict__", {}).items()


class _Copier:
    """One copy: what is referred to twice is copied once."""

    def __init__(self) -> None:
        self.done: dict[int, Any] = {}

    def copy(self, value: Any) -> Any:
        """The same, independent of it."""
        kind: Any = type(value)
        if kind in _ATOMS:
            return value
        sort = _sort_of(kind)
        if sort == _SHARE or id(value) in _EMPTY:
            return value
        if sort == _TUPLE:
            return tuple([self.copy(item) for item in value]) if value else value
        known = self.done.get(id(value))
        return known if known is not None else self._new(value, kind, sort)

    def _new(self, value: Any, kind: Any, sort: int) -> Any:
        new: Any
        done, copy = self.done, self.copy
        if sort == _OBJECT:
            new = done[id(value)] = kind.__new__(kind)
            for name, item in _fields(value):
                object.__setattr__(new, name, item if name in _CONSTANT else copy(item))
        elif sort == _DICT:
            new = done[id(value)] = {}
            for key, item in value.items():
                new[copy(key)] = copy(item)
        elif sort == _SET:
            new = done[id(value)] = {copy(item) for item in value}
        elif sort == _PILE:
            new = done[id(value)] = kind()
            new.extend(value if kind is bytearray else [copy(item) for item in value])
        elif sort == _STATE:
            new = done[id(value)] = value.copy()
        elif sort == _METHOD:
            new = MethodType(value.__func__, copy(value.__self__))
        elif sort == _NAMED:
            new = kind(*[copy(item) for item in value])
        else:
            new = bytes(value)
        return new


def copied(value: Any) -> Any:
    """A copy of an object and of all that it refers to."""
    return _Copier().copy(value)


class _Teller:
    """Writes an object down, everything that it refers to in the order in which it is met."""

    def __init__(self) -> None:
        self.numbers: dict[int, int] = {}
        self.out: list[Any] = []

    def tell(self, value: Any) -> None:
        """Write this down."""
        kind: Any = type(value)
        out = self.out
        if kind in _ATOMS:
            out.append(value)
            return
        number = self.numbers.get(id(value))
        if number is not None:
            out.append(number)
            return
        self.numbers[id(value)] = len(self.numbers)
        out.append(kind.__name__)
        sort = _sort_of(kind)
        if sort == _OBJECT:
            for name, item in _fields(value):
                if name not in _CONSTANT:
                    self.tell(item)
        elif sort == _SHARE:
            self._tell_shared(value)
        elif sort == _DICT:
            for key, item in value.items():
                self.tell(key)
                self.tell(item)
            out.append(len(value))
        elif sort == _SET:
            out.append(sorted(map(repr, value)))
        elif sort == _STATE:
            out.append(value.digest())
        elif sort == _METHOD:
            self.tell(value.__self__)
            out.append(value.__func__.__name__)
        elif kind in (bytearray, memoryview):
            out.append(bytes(value))
        else:
            for item in value:
                self.tell(item)
            out.append(len(value))

    def _tell_shared(self, value: Any) -> None:
        if isinstance(value, Enum):
            self.out.append(value.name)
        elif isinstance(value, PublicKey):
            self.out.append(value.fingerprint)


def digest(value: Any) -> bytes:
    """Equal for objects that will do the same."""
    teller = _Teller()
    teller.tell(value)
    return hashlib.blake2b(marshal.dumps(teller.out, 2), digest_size=16).digest()
