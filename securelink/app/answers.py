"""The type of what a handler may return, for type checkers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import Field
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, ClassVar, Protocol, TypeAlias
from uuid import UUID

import msgspec


class HasFields(Protocol):
    """An object of a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


#: What can be sent. A coroutine, a generator or an awaitable is none of these: so a type checker sees that a handler
#: is `async def` or has a `yield`, and would never run.
Answer: TypeAlias = (
    bool
    | int
    | float
    | Collection[Any]  # str, bytes, lists, tuples, sets, dicts
    | date
    | time
    | timedelta
    | Decimal
    | Enum
    | UUID
    | msgspec.Struct
    | HasFields
    | None
)
