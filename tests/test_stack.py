"""
Deep nesting does not kill the process, whatever stack it is decoded on.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Decodes deep records on threads with stacks as given; a crash shows in the exit code.
SCRIPT = """
import sys, threading
from securelink.wire.packets import decode_packets
from securelink.errors import CodecError

size, recursion_limit, when = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
forms = [b"\\x91", b"\\xdc\\x00\\x01", b"\\x81\\x01", b"\\x81\\xa1k", b"\\x81\\x91"]
forms.append(forms[0] + forms[2])
starts = [b"\\x91\\x92\\xa1a", b"\\x91\\x92\\xa1a\\x81", b"\\x91\\x93\\xa1a\\xc0\\x81\\xa1k", b""]

def run():
    started.wait()
    for start in starts:
        for form in forms:
            for levels in (60, 200, 500, 950, 3000, 15_000, 100_000):
                closed = form * levels + b"\\xc0" * (levels * form.count(b"\\x81") + 1)
                for data in (start + form * levels, start + closed):
                    try:
                        decode_packets(data)
                        results.add("packets")
                    except CodecError:
                        results.add("refused")

results, started = set(), threading.Event()
sys.setrecursionlimit(recursion_limit)
if size:
    threading.stack_size(size * 1024)
thread = threading.Thread(target=run)
thread.start()
if when == "reset":
    threading.stack_size(0)  # from here on Python does not know how small the thread is
started.set()
thread.join()
run() if when == "main" else None
print(sorted(results))
"""


def decode_deep(size: int, recursion_limit: int, when: str, *prefix: str) -> str:
    """Run the script in a process of its own."""
    done = subprocess.run(
        [*prefix, sys.executable, "-c", SCRIPT, str(size), str(recursion_limit), when],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("size", "recursion_limit", "when"),
    [
        (512, 1000, "set"),
        (256, 1000, "set"),
        (64, 1000, "set"),
        (256, 1000, "reset"),
        (0, 1_000_000, "main"),
        (256, 1_000_000, "reset"),
    ],
)
def test_deep_records_do_not_kill_the_process(size: int, recursion_limit: int, when: str) -> None:
    """Every form of nesting is decoded or refused on stacks of any size, at any recursion limit."""
    assert decode_deep(size, recursion_limit, when) == "['packets', 'refused']"


def test_a_small_stack_of_the_whole_process_is_noticed() -> None:
    """`ulimit -s` is the stack of the main thread and of all threads started without a size."""
    small = ("sh", "-c", 'ulimit -s 256; exec "$@"', "sh")
    assert decode_deep(0, 1000, "main", *small) == "['packets', 'refused']"
