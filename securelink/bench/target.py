"""
A server process of the measurement: `python -m securelink.bench.target ours | floor FOLDER`.

It says where it listens, as one line of JSON, and ends when its standard input does.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from ..app.received import Received
from ..logs.default import show_status
from ..server import Server
from ..session import Session
from .floor import Floor
from .workloads import ACTION, DATA, HOST


def ours(folder: Path) -> dict[str, Any]:
    """Start this library's server."""
    show_status(info=False)
    server = Server(HOST, 0, keys=folder)

    def echo(session: Session, packet: Received) -> None:
        session.send(ACTION, packet.data)

    def cast(session: Session, packet: Received) -> None:
        server.broadcast(ACTION, DATA)

    server.on(ACTION, echo)
    server.on("cast", cast)
    server.on("blob", lambda session, packet: None)
    server.on("taken", lambda session, packet: None)
    server.start()
    return {"port": server.address[1], "fingerprint": server.fingerprint}


def floor(folder: Path) -> dict[str, Any]:
    """Start the servers that have only sockets."""
    plain, tls = Floor(folder).start()
    return {"plain": plain, "tls": tls}


def main() -> None:
    """Serve until the input ends."""
    start = {"ours": ours, "floor": floor}[sys.argv[1]]
    info = start(Path(sys.argv[2])) | {"pid": os.getpid()}
    sys.stdout.write(json.dumps(info) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    # Sessions that are open are of no interest any more.
    os._exit(0)


if __name__ == "__main__":
    main()
