"""Features of the predecessors under our own names: what a program shows without any set-up, and how to switch it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from programs import finished

from securelink import Identity

LINES = """
import logging
import sys
import threading
from securelink import Client, Server, show_status
{setup}
server = Server("127.0.0.1", 0, keys="keys").start()
client = Client("127.0.0.1", server.address[1], keys="keys")
with client:
    client.send("unknown")
    client.ping()
    {inside}
server.stop()
"""


def shown(folder: Path, setup: str = "", inside: str = "") -> list[str]:
    """The lines that a program shows."""
    file = folder / "program.py"
    file.write_text(LINES.format(setup=setup, inside=inside))
    return finished(file, folder=folder).splitlines()


@pytest.fixture
def folder(tmp_path: Path, identity: Identity) -> Path:
    """A user's folder that has a server key already."""
    identity.save(tmp_path / "keys", "server")
    return tmp_path


def test_status_lines(folder: Path) -> None:
    """A program that sets nothing up sees tagged lines of what happens and of what should be looked at."""
    lines = shown(folder)
    assert lines[0] == "[Server INFO] Server IP: 127.0.0.1"
    assert re.fullmatch(r"\[Server INFO\] Server PORT: \d+", lines[1])
    assert "[Server INFO] Status: Ready" in lines
    assert "[Server INFO] New Connections: Allow" in lines
    assert any(line.startswith("[Client WARNING] first connection to 127.0.0.1") for line in lines)
    assert any("nobody handles packets named 'unknown'" in line for line in lines)
    assert lines[-1] == "[Server INFO] Status: Shutdown"


def test_status_lines_can_be_switched_off(folder: Path) -> None:
    """Both kinds, or one of them."""
    assert shown(folder, "show_status(info=False, warnings=False)") == []
    (folder / "keys" / "known_servers").unlink()
    warnings = shown(folder, "show_status(info=False)")
    assert warnings
    assert all(" WARNING] " in line for line in warnings)
    infos = shown(folder, "show_status(warnings=False)")
    assert infos
    assert all(" INFO] " in line for line in infos)


def test_lines_with_time_stamps_and_whole(folder: Path) -> None:
    """A program's own logging set-up decides how lines look; lines of many threads never mix."""
    setup = "logging.basicConfig(level=logging.INFO, format='%(asctime)s %(name)s %(message)s')"
    inside = """
    log = logging.getLogger("securelink.server")
    threads = [threading.Thread(target=lambda: [log.info("x" * 200) for _ in range(50)]) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    """
    lines = shown(folder, setup, inside)
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} securelink(\.\w+)? "
    assert all(re.match(stamp, line) for line in lines)
    assert sum(bool(re.fullmatch(stamp + "x{200}", line)) for line in lines) == 400
