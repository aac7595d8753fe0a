"""Reading the vector files of this folder. Their origins are in README.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def load(name: str) -> Any:
    """A vector file, as decoded JSON."""
    return json.loads((Path(__file__).parent / name).read_text())


def unhex(entry: dict[str, Any]) -> dict[str, bytes]:
    """The hex strings of one vector, as bytes."""
    return {k: bytes.fromhex(v) for k, v in entry.items() if isinstance(v, str)}
