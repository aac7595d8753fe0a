"""Whatever Ctrl-C interrupts, `with` and `finally` do their work: no loop is where CPython forgets them."""

import contextlib
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from storm import interrupted, points
from uncovered import uncovered

PACKAGE = Path(__file__).parent.parent / "securelink"


def test_no_jump_back_leaves_a_block_open() -> None:
    """On 3.11 nothing is found: that compiler has no such gap."""
    assert [jump for path in sorted(PACKAGE.rglob("*.py")) for jump in uncovered(path)] == []


@pytest.mark.cost
def test_a_conditional_loop_is_found(tmp_path: Path) -> None:
    """
    Where the compiler has the gap, and the block is really left open there; on 3.11 neither.

    3.12 has the gap, but looks for signals after the jump, so an error there belongs to where the jump leads, which
    the block covers.
    """
    module = tmp_path / "module.py"
    module.write_text(
        "def work(lock, things):\n"
        "    with lock:\n"
        "        while len(things) > 1:\n"
        "            things.pop()\n"
    )
    names: dict[str, Any] = {}
    exec(module.read_text(), names)
    lock, work = threading.Lock(), names["work"]
    left_open = False
    for at in points():
        storm = interrupted(at, lambda: work(lock, [1, 2, 3, 4]))
        left_open |= lock.locked()
        with contextlib.suppress(RuntimeError):
            lock.release()
        if not storm.where:
            break
    assert bool(uncovered(module)) == (sys.version_info >= (3, 12))
    assert left_open == (sys.version_info >= (3, 13))
