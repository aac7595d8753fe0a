"""The server process of one run: `python -m benchmarks.serve TARGET`. Says one line of JSON when it is ready."""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import threading
from typing import Any

from .target import Target


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


def _ready(info: dict[str, Any]) -> None:
    print(json.dumps(info | {"pid": os.getpid()}), flush=True)


def main() -> None:
    """Serve until standard input ends."""
    logging.basicConfig(level=logging.WARNING)
    target = Target.from_json(sys.argv[1])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    importlib.import_module(f"benchmarks.peers.{target.module}").serve(target, _ready)


if __name__ == "__main__":
    main()
