"""Old programs as their documents print them, run in processes of their own."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from ports import free_port
from programs import Program

from securelink import Identity, KnownServers

_numbers = itertools.count(1)


def program(source: str, folder: Path, replaced: dict[str, str] | None = None) -> Program:
    """
    Run a listing.

    Args:
        source: As the document prints it, but for the import lines.
        folder: Where it runs.
        replaced: Texts that the reader is told to change, as the server's address; each must be in the listing.
    """
    for old, new in (replaced or {}).items():
        assert old in source
        source = source.replace(old, new)
    file = folder / f"program{next(_numbers)}.py"
    file.write_text(source)
    return Program(file, folder=folder)


def user_folder(folder: Path, identity: Identity) -> Path:
    """A user's folder that has a server key already: making one takes longer than the rest."""
    identity.save(folder / "keys", "server")
    return folder


def port_in(folder: Path, identity: Identity, host: str) -> int:
    """A port for a server in this folder, whose key clients have met: that line is none of the documents'."""
    port = free_port()
    KnownServers(folder / "keys" / "known_servers").remember(host, port, identity.fingerprint)
    return port


@contextlib.contextmanager
def stopped_client(port: int) -> Iterator[None]:
    """A client of that port in a process that stands still: it is connected, and neither reads nor answers."""
    source = (
        "import sys, time\n"
        "from securelink import Client\n"
        f"client = Client('127.0.0.1', {port}, trust='first-use').connect()\n"
        "if 'lakeserver' in sys.argv: client.request('lakeserver connect')\n"
        "print('connected', flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"connected\n"
            os.kill(process.pid, signal.SIGSTOP)
            yield
        finally:
            process.kill()
