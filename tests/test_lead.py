"""Who leads, when the lead passes on, and that it is never lost."""

from __future__ import annotations

import random
import threading
import time
from functools import partial
from threading import get_ident
from typing import Any

import pytest
from helpers import WAIT, until
from inside import Tollgate
from loops import Work, again, in_the_loop, led, running

from securelink.threads import loop as loop_module
from securelink.threads import ready as ready_module
from securelink.threads import watchdog as watchdog_module
from securelink.threads.giving_way import hand_over
from securelink.threads.lead import Lead
from securelink.threads.loop import Loop


def test_short_handlers_cost_no_thread() -> None:
    """A hundred short handlers run in the leader's own thread, one after the other."""
    with running(watched=False) as loop:
        threads = {in_the_loop(loop, lambda: None).thread for _ in range(100)}
        assert threads == {led(loop)}
        assert len(loop.thread_names()) == 2  # the leader and the watchdog


def test_a_long_handler_loses_the_lead() -> None:
    """While a handler takes its time, others run in another thread."""
    with running() as loop:
        gate = threading.Event()
        slow = Work(lambda: gate.wait(WAIT))
        loop.schedule(slow)
        quick = in_the_loop(loop, lambda: None)
        assert not slow.done.is_set()
        assert slow.thread not in (quick.thread, led(loop))
        gate.set()


def test_handing_over_is_at_once() -> None:
    """A handler that waits for what only the next leader can do gets it without the watchdog."""
    with running(watched=False) as loop:
        done = threading.Event()

        def handler() -> None:
            hand_over()
            loop.call(done.set)
            assert done.wait(WAIT)

        in_the_loop(loop, handler)


def test_handing_over_is_for_leaders_in_handlers() -> None:
    """Anybody may call it: threads that are not the loop's, and handlers that have lost the lead already."""
    hand_over()
    with running() as loop:
        loop.hand_over()
        leaders: list[int] = []

        def handler() -> None:
            hand_over()
            until(lambda: loop.lead.thread)
            leaders.append(loop.lead.thread)
            hand_over()
            loop.hand_over()
            leaders.append(loop.lead.thread)

        in_the_loop(loop, handler)
        assert leaders[0] == leaders[1]


@again
def test_the_lead_is_taken_at_the_instant_of_return(attempt: int) -> None:
    """A handler is through, and before its thread has the token back another one leads: exactly one goes on."""
    with running(watched=False) as loop:
        gate = Tollgate(loop)
        first = led(loop)

        def take() -> None:
            gate.on_return = lambda: None
            thief = threading.Thread(target=lambda: gate.take_lead(first))
            thief.start()
            thief.join(WAIT)
            assert loop.lead.thread != first
            taken.set()

        taken = threading.Event()
        gate.on_return = take
        assert in_the_loop(loop, lambda: None).thread == first
        assert taken.wait(WAIT)
        until(
            lambda: loop.idle and loop.pool.idle == 1
        )  # the other one is in the pool, its place is free
        assert in_the_loop(loop, lambda: None).thread == led(loop)


@again
def test_the_token_alone_is_not_the_lead(attempt: int) -> None:
    """Who comes back and gets the token, because the new leader is in a handler itself, does not lead."""
    with running(watched=False) as loop:
        gate = Tollgate(loop)
        first = led(loop)
        inside, leave = threading.Event(), threading.Event()

        def second_handler() -> None:
            inside.set()
            assert leave.wait(WAIT)

        def take() -> None:
            gate.on_return = lambda: None
            loop.schedule(Work(second_handler))
            gate.take_lead(first)
            assert inside.wait(WAIT)  # the token is free now, and `first` is about to get it

        gate.on_return = take
        in_the_loop(loop, lambda: None)
        assert inside.wait(WAIT)
        second = loop.lead.thread
        assert second != first
        leave.set()
        until(lambda: loop.idle and loop.pool.idle == 1)
        assert in_the_loop(loop, lambda: None).thread == led(loop)


@again
def test_a_passer_by_does_not_cost_the_lead(attempt: int) -> None:
    """Somebody holds the token for a moment and finds nothing to take: the leader waits for it and leads on."""
    with running(watched=False) as loop:
        gate = Tollgate(loop)
        first = led(loop)
        let_go = threading.Event()

        def release() -> None:
            let_go.wait(WAIT)
            gate.lock.release()

        def pass_by() -> None:
            gate.on_return = let_go.set  # the second try
            assert gate.lock.acquire(False)
            threading.Thread(target=release).start()

        gate.on_return = pass_by
        in_the_loop(loop, lambda: None)
        assert led(loop) == first
        assert let_go.is_set()


@again
def test_never_two_leaders(attempt: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a watchdog that bites all the time, nobody polls but the one who leads, and nothing is run twice."""
    monkeypatch.setattr(watchdog_module, "WATCHDOG_SECONDS", 0.0001)
    monkeypatch.setattr(ready_module, "WATCHDOG_SECONDS", 0.0001)
    with running() as loop:
        polling: list[int] = []
        poller = loop._poller  # noqa: SLF001  # who leads polls
        poll = poller.poll
        wrong: list[str] = []

        def watched(timeout: float | None) -> Any:
            if polling or loop.lead.thread != get_ident():
                wrong.append(f"{get_ident()} polls, {loop.lead.thread} leads")
            polling.append(get_ident())
            try:
                return poll(timeout)
            finally:
                polling.remove(get_ident())

        monkeypatch.setattr(poller, "poll", watched)
        led(loop)
        chance = random.Random(5)
        ran: list[int] = []

        def handler(number: int, pause: float) -> None:
            ran.append(number)
            if pause > 0.0005:
                hand_over()
            time.sleep(pause)

        works = []
        for number in range(300):
            pause = chance.choice([0, 0, 0.0001, 0.0002, 0.001])
            works.append(Work(partial(handler, number, pause)))
            loop.schedule(works[-1])
        for work in works:
            assert work.done.wait(WAIT)
        led(loop)
        assert sorted(ran) == list(range(300))
        assert wrong == []
        until(lambda: loop.idle)
        assert len(loop.thread_names()) <= loop.pool.workers + 1


def test_the_watchdog_sleeps_while_the_loop_does() -> None:
    """An idle loop costs nothing; the first handler after a rest is watched all the same."""
    with running() as loop:
        waker = loop._waker  # noqa: SLF001  # it says when the loop sleeps
        for _ in range(3):
            until(lambda: loop.lead.watch_dormant and waker.sleeping)
            gate = threading.Event()
            slow = Work(partial(gate.wait, WAIT))
            loop.schedule(slow)
            quick = in_the_loop(loop, lambda: None)
            assert not slow.done.is_set()
            assert quick.thread != slow.thread
            gate.set()
            assert slow.done.wait(WAIT)


@pytest.mark.pure  # it replaces a class of the loop
def test_the_watchdogs_last_look_before_sleeping(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that begins just before the watchdog lies down is watched all the same."""
    gate, inside = threading.Event(), threading.Event()

    def handler() -> None:
        inside.set()
        gate.wait(WAIT)

    slow = Work(handler)

    class Sleepy(Lead):
        """A lead whose watchdog is held up on its way to sleep."""

        _dormant = False

        @property
        def watch_dormant(self) -> bool:
            return self._dormant

        @watch_dormant.setter
        def watch_dormant(self, dormant: bool) -> None:
            if dormant and not inside.is_set():
                loop.schedule(slow)
                assert inside.wait(WAIT)
            self._dormant = dormant

    monkeypatch.setattr(loop_module, "Lead", Sleepy)
    loop = Loop("test")
    loop.start()
    assert inside.wait(WAIT)
    in_the_loop(loop, lambda: None)
    assert not slow.done.is_set()
    gate.set()
    loop.stop(lambda: None)
    assert loop.join(WAIT)


@again
def test_stopping_while_the_lead_passes(attempt: int) -> None:
    """A loop may be stopped at any instant: also inside a handler that has just given the lead away."""
    loop = Loop("test")
    loop.start()
    ended: list[int] = []

    def handler() -> None:
        hand_over()
        loop.stop(lambda: ended.append(1))
        loop.stop(lambda: ended.append(2))

    loop.schedule(Work(handler))
    assert loop.join(WAIT)
    assert 1 in ended
    assert loop.thread_names() == []
    assert loop.lead.thread == 0
