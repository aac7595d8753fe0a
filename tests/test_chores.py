"""Work without hurry: some of it in each turn, in order, and nothing is left or done twice."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import pytest

from securelink.threads.chores import Chores


class Turns:
    """A loop's commands, run by hand."""

    def __init__(self) -> None:
        self.commands: deque[Callable[[], None]] = deque()

    def turn(self) -> None:
        """Run those that are there."""
        for _ in range(len(self.commands)):
            self.commands.popleft()()


def countdown(done: list[str], name: str, parts: int) -> Callable[[], bool]:
    """A chore of so many parts."""
    left = iter(range(parts - 1, -1, -1))

    def do() -> bool:
        done.append(name)
        return next(left) > 0

    return do


def test_a_little_in_each_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """One part a turn when there is no time for two; the first chore is done before the second."""
    monkeypatch.setattr("securelink.threads.chores.TURN_SECONDS", 0.0)
    turns, done = Turns(), list[str]()
    chores = Chores(turns.commands.append)
    chores.add(countdown(done, "a", 3))
    chores.add(countdown(done, "b", 2))
    assert len(turns.commands) == 1
    for expected in ("a", "aa", "aaa", "aaab", "aaabb"):
        turns.turn()
        assert "".join(done) == expected
    assert not turns.commands
    chores.add(countdown(done, "c", 1))
    turns.turn()
    assert done[-1] == "c"


def test_all_of_it_when_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short ones do not take a turn each, and the last leader leaves nothing."""
    monkeypatch.setattr("securelink.threads.chores.TURN_SECONDS", 60.0)
    turns, done = Turns(), list[str]()
    chores = Chores(turns.commands.append)
    for _ in range(5):
        chores.add(countdown(done, "a", 2))
    turns.turn()
    assert len(done) == 10
    chores.add(countdown(done, "b", 7))
    chores.finish()
    assert done[10:] == ["b"] * 7
    turns.turn()
    assert len(done) == 17
    assert not turns.commands


def test_one_that_fails_stops_no_other() -> None:
    """It is not tried again, and the next has its turn; Ctrl-C in it as well."""
    turns, done = Turns(), list[str]()
    chores = Chores(turns.commands.append)
    for error in (ValueError(), KeyboardInterrupt()):

        def fail(error: BaseException = error) -> bool:
            raise error

        chores.add(fail)
        chores.add(countdown(done, "a", 1))
        with pytest.raises(type(error)):
            turns.turn()
        turns.turn()
    assert done == ["a", "a"]
