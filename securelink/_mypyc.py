"""Attributes of classes for the compiler (docs/COMPILED.md). They have no effect in Python itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as mypyc_attr
else:

    def mypyc_attr(**_: Any) -> Any:
        """Leave the class as it is."""
        return lambda cls: cls
