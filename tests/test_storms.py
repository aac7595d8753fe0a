"""benchmarks/storm.py in short: everybody gets in and comes back, also to a server that was killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.storm import Storm

pytestmark = pytest.mark.usefixtures("tidy")
CLIENTS = 24


@pytest.mark.parametrize("asyncio", [False, True], ids=["threads", "asyncio"])
def test_everybody_comes_back_to_a_killed_server(tmp_path: Path, asyncio: bool) -> None:
    """
    Clients that come at one instant get in by one attempt each. They keep their sessions when all connections break,
    and when the server is killed and started again with its file.
    """
    folder = tmp_path / "kept"
    folder.mkdir(mode=0o700)
    with Storm(CLIENTS, 2, bits=2048, folder=folder, asyncio=asyncio) as storm:
        new = storm.connect()
        assert (new.failed, new.attempts) == ([], CLIENTS)
        back = storm.cut()
        assert (back.failed, back.attempts) == ([], CLIENTS)
        assert storm.restart().failed == []
        assert storm.cut().failed == []
