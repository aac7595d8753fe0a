"""All of it, one after the other."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ..keys import Identity
from .floor import Bare
from .ours import Ours
from .process import ServerProcess
from .results import PEERS, Results
from .workloads import WORKLOADS, Peer

IDLE = 200  # sessions for the measurement of memory
_SETTLE = 0.5  # seconds until late acknowledgements and frees are over


def run(seconds: float, show: Callable[[str], None]) -> Results:
    """
    Measure everything.

    Args:
        seconds: For each measurement; there are 18.
        show: Told what is being measured.

    Raises:
        SecureLinkError: A server did not start, or does not answer.
        OSError: The system does not let us.
    """
    results = Results(seconds)
    with tempfile.TemporaryDirectory(prefix="securelink-bench-") as name:
        folder = Path(name)
        show("making a key")
        Identity.generate().save(folder, "server")
        show("starting the servers")
        with ServerProcess("ours", folder) as ours, ServerProcess("floor", folder) as floor:
            client = Ours(ours.info["port"], ours.info["fingerprint"], folder)
            # First, while the server's memory has seen nothing yet.
            show("memory of idle sessions")
            results.idle = _idle_bytes(ours, client)
            peers: list[Peer] = [
                client,
                Bare(PEERS[1], floor.info["plain"], None),
                Bare(PEERS[2], floor.info["tls"], folder),
            ]
            for title, workload in WORKLOADS.items():
                found = results.figures[title] = {}
                for peer in peers:
                    show(f"{title}: {peer.name}")
                    found[peer.name] = workload(peer, seconds)
    return results


def _idle_bytes(server: ServerProcess, peer: Peer) -> int | None:
    if server.resident() is None:
        return None
    opened = [peer.open() for _ in range(5)]  # what the first ones cost is not for each
    try:
        time.sleep(_SETTLE)
        before = server.resident()
        opened += [peer.open() for _ in range(IDLE)]
        time.sleep(_SETTLE)
        after = server.resident()
    finally:
        for connection in opened:
            connection.close()
    assert before is not None
    assert after is not None
    return max(0, after - before) // IDLE
