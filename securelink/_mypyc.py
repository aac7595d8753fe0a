"""What the compiler is told about a class (docs/COMPILED.md). Python itself is told nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as mypyc_attr
else:

    def mypyc_attr(**_: Any) -> Any:
        """Leave the class as it is."""
        return lambda cls: cls
