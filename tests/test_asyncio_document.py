"""docs/ASYNCIO.md: its programs run as printed, its table names what there is, and it can be found."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from programs import ROOT, Program

import securelink
from securelink import Identity, aio

TEXT = (ROOT / "docs/ASYNCIO.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
PRINTED = [r"welcome \{'players': 1\}\n(.*\n)*6\n", r"42\n"]


@pytest.mark.parametrize(("text", "expected"), list(zip(PROGRAMS, PRINTED, strict=True)))
def test_programs_run(text: str, expected: str, identity: Identity, tmp_path: Path) -> None:
    """As printed; what they print is what the page says."""
    identity.save(tmp_path / "keys", "server")
    with Program("-c", text, folder=tmp_path) as program:
        assert program.ends() == 0, program.output
    assert re.search(expected, program.output), program.output


def test_what_waits_is_a_coroutine() -> None:
    """The methods that the table calls so are, and have the arguments that they have with threads."""
    row = next(line for line in TEXT.splitlines() if line.startswith("| what waits"))
    found = 0
    for name in re.findall(r"`(\w+)`", row.split("|")[1]):
        for kind in ("Client", "Server", "Session"):
            waits = getattr(getattr(aio, kind), name, None)
            plain = getattr(getattr(securelink, kind), name, None)
            assert (waits is None) == (plain is None), (kind, name)
            if waits is not None and plain is not None:
                assert inspect.iscoroutinefunction(waits), (kind, name)
                assert inspect.signature(waits).parameters == inspect.signature(plain).parameters
                found += 1
    assert found > 12


def test_nothing_is_missing() -> None:
    """What a client, a server or a session has with threads it has here, but for what the table leaves out."""
    left_out = {
        "Client": {"poll", "request_later", "update"},
        "Server": {"update"},
        "Session": {"request_later"},
    }
    for kind, missing in left_out.items():
        theirs = {name for name in dir(getattr(securelink, kind)) if not name.startswith("_")}
        ours = {name for name in dir(getattr(aio, kind)) if not name.startswith("_")}
        assert theirs - ours == missing
    for kind in ("Client", "Server"):
        options = inspect.signature(getattr(securelink, kind)).parameters
        assert inspect.signature(getattr(aio, kind)).parameters == options


def test_the_page_is_found() -> None:
    """README and the site lead to it."""
    assert "docs/ASYNCIO.md" in (ROOT / "README.md").read_text()
    assert "docs/ASYNCIO.md" in (ROOT / "mkdocs.yml").read_text()
