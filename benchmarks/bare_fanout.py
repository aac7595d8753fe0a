"""
What a fan-out costs without any protocol: python -m benchmarks.bare_fanout

One process sends 120 bytes to each of N plain sockets, another one receives them in turn: microseconds a delivery. The
kernel's own structures leave the caches as the number grows; no server can be flatter than this.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
import time

SIZES = (10, 100, 1_000, 2_000, 5_000)
DELIVERIES = 60_000
PACKET = bytes(120)


def _receive(port: int, ready: int, go: int) -> None:
    """The other process: for each size connect, then receive as many rounds as it is told."""
    sockets: list[socket.socket] = []
    for size in SIZES:
        while len(sockets) < size:
            sockets.append(socket.create_connection(("127.0.0.1", port)))
        os.write(ready, b"r")
        for _ in range(int(os.read(go, 20))):
            for sock in sockets:
                sock.recv(4096)
            os.write(ready, b"d")


def main() -> int:
    """The command."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    ready, ready_end = os.pipe()
    go_end, go = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _receive(listener.getsockname()[1], ready_end, go_end)
        finally:
            os._exit(0)
    sockets: list[socket.socket] = []
    for size in SIZES:
        while len(sockets) < size:
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sockets.append(sock)
        os.read(ready, 1)
        rounds = max(4, DELIVERIES // size)
        os.write(go, str(rounds).encode())
        began = time.perf_counter()
        for _ in range(rounds):
            for sock in sockets:
                sock.send(PACKET)
            os.read(ready, 1)
        cost = (time.perf_counter() - began) / rounds / size
        print(f"{size:6,} receivers: {cost * 1e6:5.2f} µs a delivery")
    os.waitpid(child, 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
