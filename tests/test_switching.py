"""While a handler computes, other threads of the process are let in sooner; afterwards all is as it was."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest
from helpers import WAIT, until
from together import joined, serving, take

from securelink import Identity
from securelink.threads.bursts import Bursts
from securelink.threads.lead import Lead
from securelink.threads.switching import SHORT_SECONDS, short_turns
from securelink.threads.waker import Waker
from securelink.threads.watchdog import Watchdog

pytestmark = pytest.mark.usefixtures("tidy")


@pytest.fixture(autouse=True)
def usual() -> Iterator[float]:
    """The interval before and after each test."""
    before = sys.getswitchinterval()
    yield before
    sys.setswitchinterval(before)


def test_a_handler_that_takes_long(identity: Identity, usual: float) -> None:
    """The interval is short from when the lead is taken from it until it returns, and others are served meanwhile."""
    finish = threading.Event()
    with serving(identity) as server, joined(server, 2) as [slow, other]:

        @server.on("slow")
        def handler(session: object, packet: object) -> None:
            finish.wait(WAIT)

        slow.send("slow")
        until(lambda: sys.getswitchinterval() == SHORT_SECONDS)
        other.send("echo", 1)
        assert take(other) == [1]
        finish.set()
        until(lambda: sys.getswitchinterval() == usual)


@pytest.mark.pure  # it replaces a method of the loop
def test_a_handler_that_ends_while_it_is_called_slow(usual: float) -> None:
    """The watchdog and the handler's thread agree on who says that it is over."""

    class Late(Lead):
        def take_from(self, leader: int, batch: int) -> bool:
            watchdog.no_longer_slow(leader)  # the handler's thread was faster
            return False

    waker = Waker()
    lead = Late(lambda: None)
    watchdog = Watchdog(lead, waker, Bursts(lead, watched=False))
    watchdog.take_lead(1, 1)
    assert sys.getswitchinterval() == usual
    short_turns.begin("another")
    assert sys.getswitchinterval() == SHORT_SECONDS
    short_turns.end("another")
    waker.close()


def test_several_at_once(usual: float) -> None:
    """The last one out restores it; each counts once."""
    short_turns.begin(1)
    short_turns.begin(2)
    short_turns.begin(2)
    short_turns.end(2)
    assert sys.getswitchinterval() == SHORT_SECONDS
    short_turns.end(1)
    assert sys.getswitchinterval() == usual


def test_what_the_program_sets_stays() -> None:
    """A program that sets the interval itself keeps its choice, before and meanwhile."""
    sys.setswitchinterval(SHORT_SECONDS / 2)
    short_turns.begin(1)
    assert sys.getswitchinterval() == SHORT_SECONDS / 2
    sys.setswitchinterval(0.02)
    short_turns.end(1)
    assert sys.getswitchinterval() == 0.02


def test_a_fork_forgets(usual: float) -> None:
    """In a child the slow handler does not exist."""
    short_turns.begin(1)
    short_turns.forget()
    assert sys.getswitchinterval() == usual
