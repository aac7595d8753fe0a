"""The load process of one run: `python -m benchmarks.load TARGET WORKLOAD PARAMETERS`. Prints figures as JSON."""

from __future__ import annotations

import importlib
import json
import logging
import sys
from typing import Any

from .measure import Figures
from .target import Target


def run(target: Target, workload: str, parameters: dict[str, Any]) -> Figures:
    """Run one workload against a server that is ready."""
    peer = importlib.import_module(f"benchmarks.peers.{target.module}")
    figures: Figures
    if target.style == "local":
        figures = getattr(peer, workload)(**parameters)
        return figures
    driver = importlib.import_module(f"benchmarks.drivers.{target.style}")
    options = getattr(peer, "DRIVER_OPTIONS", {})
    method = getattr(driver.Driver(peer.connect, target, **options), workload)
    if target.style == "blocking":
        figures = method(**parameters)
    else:
        figures = peer.run(lambda: method(**parameters), target)
    return figures


def main() -> None:
    """Run what the command line says."""
    logging.basicConfig(level=logging.WARNING)
    target = Target.from_json(sys.argv[1])
    figures = run(target, sys.argv[2], json.loads(sys.argv[3]))
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
