"""The harnesses of the fuzzer, without atheris: their seeds, their corpus, and some damage from a fixed seed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz import mutate
from fuzz.resumed import NO_MEMORY, RESUMED, RESUMED_KEYED
from fuzz.targets import BY_NAME, CORPUS, MOST, SLOWER, TARGETS, SlowInputError, Target, simple
from protocol_places import KEYED, PLACES

COUNT = 40


NAMES = [
    # Their seeds are copies of a state, which compiled objects do not allow.
    pytest.param(name, marks=pytest.mark.pure)
    if name.startswith(("resumed-", "no-memory-"))
    else name
    for name in BY_NAME
]


@pytest.mark.parametrize("name", NAMES)
def test_a_short_run(name: str) -> None:
    """No input of the corpus, and none of some damaged ones, gives an undocumented error or takes long."""
    target = BY_NAME[name]
    corpus = target.corpus()
    assert corpus
    slower = SLOWER if sys.gettrace() else 1.0  # make coverage
    for data in corpus:
        target.run(data, slower)
    for data in mutate.inputs(corpus, name, COUNT):
        target.run(data, slower)


def test_every_state_and_role_has_a_harness() -> None:
    """The engine is fuzzed in each place of the table, from outside and with the right keys."""
    engines = [name for name in BY_NAME if name.startswith(("engine-", "peer-"))]
    assert len(engines) == len(PLACES) + len(KEYED) == len(set(engines))
    resumed = [name for name in BY_NAME if name.startswith("resumed-")]
    assert len(resumed) == len(RESUMED) + len(RESUMED_KEYED) == len(set(resumed))
    others = [name for name in BY_NAME if name.startswith("no-memory-")]
    assert len(others) == len(NO_MEMORY)
    assert len(BY_NAME) == len(TARGETS)


def test_the_corpus_belongs_to_harnesses() -> None:
    """Each folder of the corpus is that of a harness; no file is large, and none holds a private key."""
    folders = [path for path in CORPUS.iterdir() if path.is_dir()]
    assert {path.name for path in folders} <= set(BY_NAME)
    assert len(folders) > 10
    for path in CORPUS.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert len(data) <= 4096
            assert b"PRIVATE KEY" not in data


def test_a_harness_can_fail() -> None:
    """An undocumented error goes through, a documented one does not, and a slow input is told."""

    def refuse(data: bytes) -> None:
        raise ValueError(data)

    def dawdle(data: bytes) -> None:
        sum(range(10**6))

    Target("refuse", simple(refuse), (ValueError,), list).run(b"x")
    with pytest.raises(ValueError, match="x"):
        Target("refuse", simple(refuse), (KeyError,), list).run(b"x")
    with pytest.raises(SlowInputError, match="for 1 bytes: 78"):
        Target("dawdle", simple(dawdle), (), list, limit_ms=0.5).run(b"x")
    assert MOST > 2**16


def test_damage_repeats() -> None:
    """The same name gives the same inputs: a failure of one run is that of the next."""
    one, two = (list(mutate.inputs([b"some bytes"], "name", 20)) for _ in range(2))
    assert one == two
    assert len(set(one)) > 15


def test_the_command_names_its_harnesses() -> None:
    """`make fuzz` with a harness that is not there says which are."""
    done = subprocess.run(
        [sys.executable, "-m", "fuzz", "nonsense"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": ""},
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "no harness is called nonsense" in done.stderr
    assert "peer-server-open-required" in done.stderr
