"""Ports for servers that are started later, or again."""

from __future__ import annotations

import itertools
import os
import socket

# Below those that systems give to whoever asks for any (32768 and more on Linux, 49152 elsewhere): such a one could be
# somebody else's between the moment in which it was free and that in which the server begins to listen.
_FIRST = 20_000
_SHARE = 1_500  # for each of eight processes that run tests side by side
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
_NEXT = itertools.count(os.getpid())


def free_port() -> int:
    """A port on which nothing listens, and that nobody gets by chance."""
    while True:
        port = _FIRST + _WORKER * _SHARE + next(_NEXT) % _SHARE
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
