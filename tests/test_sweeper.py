"""The sweep: every connection once a round, in steps that hold nobody up."""

from __future__ import annotations

from collections import Counter

import pytest
from helpers import until

from securelink.threads import sweeper as sweeper_module
from securelink.threads.loop import Loop
from securelink.threads.sweeper import Sweeper

STEP = 10


class Visited:
    """Stands for a connection."""

    def on_io(self, mask: int) -> None:
        """Nothing is registered."""

    def on_error(self) -> None:
        """Its visit failed."""


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    """A loop that the test turns, with fast sweeps and short steps."""
    monkeypatch.setattr(sweeper_module, "SWEEP_SECONDS", 0.02)
    monkeypatch.setattr(sweeper_module, "SWEEP_LINKS", STEP)
    loop = Loop("sweep", manual=True)
    loop.start()
    return loop


@pytest.mark.parametrize("count", [0, 1, STEP - 1, STEP, 5 * STEP + 3])
def test_each_once_a_round(loop: Loop, count: int) -> None:
    """However many there are, each is visited once in a round, and never more than a step's worth in a row."""
    links = [Visited() for _ in range(count)]
    visits: Counter[Visited] = Counter()
    rounds: list[Counter[Visited]] = []
    Sweeper(loop, links, lambda link: visits.update([link]), lambda: rounds.append(visits.copy()))
    largest = 0
    while len(rounds) < 3:
        before = visits.total()
        loop.turn()
        largest = max(largest, visits.total() - before)
    assert [found.total() for found in rounds] == [count, 2 * count, 3 * count]
    assert set(rounds[0].values()) <= {1}
    assert largest <= STEP
    loop.stop(lambda: None)


def test_who_comes_and_goes_between_two_steps(loop: Loop) -> None:
    """The set may change meanwhile: who came is visited in the next round."""
    links = {Visited() for _ in range(3 * STEP)}
    visits: Counter[Visited] = Counter()
    late = Visited()

    def visit(link: Visited) -> None:
        links.add(late)
        visits[link] += 1

    Sweeper(loop, links, visit)
    until(lambda: visits[late], meanwhile=loop.turn)
    assert max(visits.values()) <= 2
    loop.stop(lambda: None)


def test_the_end_of_the_loop_ends_it(loop: Loop) -> None:
    """A loop that stops sweeps no more."""
    visits: list[Visited] = []
    Sweeper(loop, [Visited()], visits.append)
    until(lambda: visits, meanwhile=loop.turn)
    loop.stop(lambda: None)
    loop.turn()
    assert len(visits) < 3


def test_a_round_that_ends_badly_is_not_the_last(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    """An error of ours at the end of a round is logged, and the next round comes."""
    rounds: list[int] = []

    def ended() -> None:
        rounds.append(1)
        raise RuntimeError("a bug")

    Sweeper(loop, [Visited()], lambda link: None, ended)
    until(lambda: len(rounds) >= 3, meanwhile=loop.turn)
    assert "a bug" in caplog.text
    loop.stop(lambda: None)
