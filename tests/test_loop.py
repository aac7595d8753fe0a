"""The loop: who leads, when the lead passes on, and that it is never lost."""

from __future__ import annotations

import contextlib
import itertools
import math
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from threading import get_ident
from typing import Any

import pytest
from helpers import WAIT, until
from inside import Tollgate
from together import REPEATS, Crew

from securelink.interrupts import Sign
from securelink.streams.base import READ
from securelink.threads import lead as lead_module
from securelink.threads import loop as loop_module
from securelink.threads import pool as pool_module
from securelink.threads import ready as ready_module
from securelink.threads.giving_way import hand_over, worker_threads
from securelink.threads.jobs import Task
from securelink.threads.lead import Lead
from securelink.threads.loop import Loop
from securelink.threads.waker import Waker

again = pytest.mark.parametrize("attempt", range(REPEATS))


class Work:
    """An inbox with one thing to do."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act
        self.thread = 0
        self.done = threading.Event()

    def run(self) -> bool:
        """Do it."""
        self.thread = get_ident()
        try:
            self._act()
        finally:
            self.done.set()
        return False


@contextlib.contextmanager
def running(*, watched: bool = True, **options: Any) -> Iterator[Loop]:
    """
    A started loop; afterwards it must be gone with all its threads.

    Args:
        watched: False: the watchdog sleeps on: on a busy machine it may think the shortest handler a slow one.
        options: Of the loop.
    """
    loop = Loop("test", **options)
    loop.start()
    if not watched:
        wanted, loop.lead.watch_wanted = loop.lead.watch_wanted, Sign()
        until(lambda: loop.lead.watch_dormant)
    try:
        yield loop
    finally:
        if not watched:
            loop.lead.watch_wanted = wanted
            wanted.set()
        loop.stop(lambda: None)
        ended = loop.join(WAIT)
    assert ended, loop.thread_names()
    assert not worker_threads.keys() & {thread.ident for thread in loop.pool.threads}


def in_the_loop(loop: Loop, act: Callable[[], object]) -> Work:
    """Run something as a handler and wait until it is through."""
    work = Work(act)
    loop.schedule(work)
    assert work.done.wait(WAIT)
    return work


def led(loop: Loop) -> int:
    """Which thread leads now."""
    found: list[int] = []
    event = threading.Event()

    def look() -> None:
        found.append(get_ident())
        event.set()

    loop.call(look)
    assert event.wait(WAIT)
    return found[0]


# --- handlers, and the lead ----------------------------------------------------------------------------


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
    monkeypatch.setattr(lead_module, "WATCHDOG_SECONDS", 0.0001)
    monkeypatch.setattr(ready_module, "WATCHDOG_SECONDS", 0.0001)
    with running() as loop:
        polling: list[int] = []
        poll = loop._poller.poll
        wrong: list[str] = []

        def watched(timeout: float | None) -> Any:
            if polling or loop.lead.thread != get_ident():
                wrong.append(f"{get_ident()} polls, {loop.lead.thread} leads")
            polling.append(get_ident())
            try:
                return poll(timeout)
            finally:
                polling.remove(get_ident())

        loop._poller.poll = watched  # type: ignore[method-assign]
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
            works.append(Work(lambda number=number, pause=pause: handler(number, pause)))  # type: ignore[misc]
            loop.schedule(works[-1])
        for work in works:
            assert work.done.wait(WAIT)
        led(loop)
        assert sorted(ran) == list(range(300))
        assert wrong == []
        until(lambda: loop.idle)
        assert len(loop.thread_names()) <= loop.pool.workers + 1


def test_one_at_a_time_without_overlap() -> None:
    """`overlap=False`: handlers never run side by side, and the loop works on meanwhile."""
    with running(overlap=False) as loop:
        inside: list[int] = []
        most: list[int] = []

        def handler() -> None:
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.012)
            led(loop)  # commands are run while a handler is
            inside.pop()

        works = [Work(handler) for _ in range(5)]
        for work in works:
            loop.schedule(work)
        for work in works:
            assert work.done.wait(WAIT)
        assert max(most) == 1


def test_the_last_place_is_kept_for_leading() -> None:
    """When all places of handlers are taken no more are begun; commands, timers and jobs go on."""
    with running(workers=5) as loop:
        gate = threading.Event()
        asleep = [Work(lambda: gate.wait(WAIT)) for _ in range(loop.pool.handler_places)]
        for work in asleep:
            loop.schedule(work)
        until(lambda: loop.pool.busy_handlers == loop.pool.handler_places)
        waiting = Work(lambda: None)
        loop.schedule(waiting)
        for _ in range(3):
            led(loop)
        timer, job = threading.Event(), threading.Event()
        loop.call_later(0.01, timer.set)
        assert loop.pool.submit("somebody", Task(job.set))
        assert timer.wait(WAIT)
        assert job.wait(WAIT)
        assert not waiting.done.is_set()
        gate.set()
        assert waiting.done.wait(WAIT)


def test_jobs_have_places_of_their_own() -> None:
    """However many jobs wait, only so many run at a time, and handlers are run meanwhile."""
    with running(workers=7) as loop:
        gate, running_now, most = threading.Event(), [0], [0]
        lock = threading.Lock()

        def job() -> None:
            with lock:
                running_now[0] += 1
                most[0] = max(most[0], running_now[0])
            gate.wait(WAIT)
            with lock:
                running_now[0] -= 1

        for number in range(10):
            assert loop.pool.submit(f"address {number}", Task(job))
        until(lambda: running_now[0] == loop.pool.jobs.places)
        in_the_loop(loop, lambda: None)
        gate.set()
        until(lambda: running_now[0] == 0 and not len(loop.pool.jobs))
        assert most[0] == loop.pool.jobs.places == 3


def test_the_queue_of_jobs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many jobs are refused, not kept."""
    monkeypatch.setattr(pool_module, "MAX_PENDING_SIGNATURES", 3)
    with running(workers=3) as loop:
        gate = threading.Event()

        def job() -> None:
            gate.wait(WAIT)

        assert loop.pool.submit("a", Task(job))
        until(lambda: not len(loop.pool.jobs))
        assert [loop.pool.submit("a", Task(job)) for _ in range(4)] == [True, True, True, False]
        gate.set()
        until(lambda: not len(loop.pool.jobs))


# --- what goes wrong ---------------------------------------------------------------------------------------


class Sink:
    """Something registered with the loop that fails."""

    def __init__(self, error: Exception) -> None:
        self.listed = False
        self.errors = 0
        self._error = error

    def on_io(self, mask: int) -> None:
        """Fail."""
        raise self._error

    def flush(self) -> None:
        """Fail."""
        raise self._error

    def on_error(self) -> None:
        """Fail again."""
        self.errors += 1
        raise self._error


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_a_handler_raises_costs_no_thread(error: type[BaseException]) -> None:
    """Whatever comes out of an inbox is logged; thread and lead stay, quick or slow."""

    def quick() -> None:
        raise error("on purpose")

    def slow() -> None:
        hand_over()
        raise error("on purpose")

    with running(workers=4) as loop:
        for _ in range(20):
            in_the_loop(loop, quick)
            in_the_loop(loop, slow)
        led(loop)
        until(lambda: loop.idle)
        assert not loop.pool.busy_handlers
        assert loop.pool.started == len(loop.thread_names()) - 1 <= 4


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_what_a_job_raises_costs_no_thread(error: type[BaseException]) -> None:
    """A job that fails frees its place."""
    with running(workers=4) as loop:

        def job() -> None:
            raise error("on purpose")

        for _ in range(10):
            assert loop.pool.submit("a", Task(job))
        until(lambda: not len(loop.pool.jobs) and not loop.pool.jobs.busy)
        in_the_loop(loop, lambda: None)
        assert loop.pool.started == len(loop.thread_names()) - 1


def test_bugs_of_ours_do_not_cost_the_lead(caplog: pytest.LogCaptureFixture) -> None:
    """What fails in reading, writing, a command or a timer is logged and closed; the loop leads on."""
    ours, theirs = socket.socketpair()
    with ours, theirs, running() as loop:
        first = led(loop)
        sink = Sink(ValueError("on purpose"))

        def fail() -> None:
            raise ValueError("on purpose")

        loop.call(lambda: loop.flush_list.append(sink))
        loop.call(fail)
        loop.call_later(0.0, fail)
        loop.call(lambda: loop.register(ours, READ, sink))
        theirs.send(b"x")
        until(lambda: sink.errors >= 2)
        loop.call(lambda: loop.register(ours, 0, sink))
        assert led(loop) == first
        in_the_loop(loop, lambda: None)
    assert "internal error on a connection" in caplog.text
    assert "internal error in a command" in caplog.text
    assert "internal error in a timer" in caplog.text


def test_a_system_without_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """When no thread can be started, those that are there go on, one handler after the other."""
    with running() as loop:
        led(loop)
        start = threading.Thread.start

        def refuse(thread: threading.Thread) -> None:
            if thread.name.startswith("securelink-test"):
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", refuse)
        in_the_loop(
            loop, lambda: time.sleep(0.02)
        )  # the lead is offered, and nobody is there to take it
        in_the_loop(loop, lambda: None)
        led(loop)
        monkeypatch.undo()
        assert loop.thread_names() == ["securelink-test-watchdog", "securelink-test-1"]


# --- wake-ups ------------------------------------------------------------------------------------------------


class Edge(Waker):
    """A waker with a hook just before the leader says that it goes to sleep."""

    on_edge: Callable[[], object] = staticmethod(lambda: None)

    @property
    def wakes_at(self) -> float:
        """Never by itself."""
        return math.inf

    @wakes_at.setter
    def wakes_at(self, when: float) -> None:
        self.on_edge()


@pytest.mark.pure  # it replaces a class of the loop
@pytest.mark.parametrize("what", ["call", "schedule", "stop"])
def test_the_last_look_before_sleeping(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes between the leader's last turn and its sleep is not slept over."""
    monkeypatch.setattr(loop_module, "Waker", Edge)
    loop = Loop("test")
    seen = threading.Event()
    asked = threading.Event()

    def at_the_edge() -> None:
        if loop.lead.thread == get_ident() and not asked.is_set():
            asked.set()
            # Nobody is woken by this: the leader has not said yet that it goes to sleep.
            if what == "call":
                loop.call(seen.set)
            elif what == "schedule":
                loop.schedule(Work(seen.set))
            else:
                loop.stop(seen.set)
            assert not loop._waker.sleeping

    monkeypatch.setattr(Edge, "on_edge", staticmethod(at_the_edge))
    loop.start()
    assert seen.wait(WAIT)
    assert asked.is_set()
    loop.stop(lambda: None)
    assert loop.join(WAIT)


def test_wake_ups_from_many_threads() -> None:
    """Commands of eight threads all run, each thread's in its order, though the loop sleeps between them."""
    with running() as loop:
        ran: list[tuple[int, int]] = []

        def caller(name: int) -> None:
            for number in range(200):
                loop.call(lambda number=number: ran.append((name, number)))  # type: ignore[misc]
                if number % 20 == name:
                    time.sleep(0.0005)

        with Crew() as crew:
            for name in range(8):
                crew.start(caller, name)
        led(loop)
        for name in range(8):
            assert [n for who, n in ran if who == name] == list(range(200))


def test_the_watchdog_sleeps_while_the_loop_does() -> None:
    """An idle loop costs nothing; the first handler after a rest is watched all the same."""
    with running() as loop:
        for _ in range(3):
            until(lambda: loop.lead.watch_dormant and loop._waker.sleeping)
            gate = threading.Event()
            slow = Work(lambda gate=gate: gate.wait(WAIT))  # type: ignore[misc]
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


def test_timers_run_in_order() -> None:
    """What is due earlier runs earlier, whoever asked."""
    with running() as loop:
        ran: list[list[float]] = []  # when each was due: at the earliest, at the latest
        for seconds in (0.03, 0.01, 0.02, 0.04):
            due = [time.monotonic() + seconds]
            loop.call_later(seconds, lambda due=due: ran.append(due))  # type: ignore[misc]
            due.append(time.monotonic() + seconds)
        until(lambda: len(ran) == 4)
        # To the microsecond, unless the machine was busy with something else between two lines of this test.
        assert all(earlier[0] <= later[1] for earlier, later in itertools.pairwise(ran))


# --- stopping, and driving by hand ------------------------------------------------------------------------------


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


def test_code_that_is_told_of_the_end_may_use_the_pool() -> None:
    """Who is called at the very end holds up no thread of the loop, even if it waits for one."""
    loop = Loop("test")
    loop.start()
    gate, busy, waited = threading.Event(), threading.Event(), []

    def handler() -> None:
        busy.set()
        gate.wait(WAIT)

    work = Work(handler)
    loop.schedule(work)
    assert busy.wait(WAIT)

    def told() -> None:
        gate.set()
        until(lambda: not loop.pool.busy_handlers)  # takes the lock of the pool
        waited.append(True)
        raise ValueError("on purpose")

    loop.stop(told)
    assert loop.join(WAIT)
    assert waited == [True]


def test_driving_by_hand() -> None:
    """In manual mode everything runs in the caller's turn, and a turn inside a turn does nothing."""
    loop = Loop("test", manual=True)
    loop.start()
    ran: list[int] = []

    def handler() -> None:
        ran.append(get_ident())
        loop.turn()
        loop.hand_over()

    loop.schedule(Work(handler))
    loop.call(lambda: ran.append(get_ident()))
    assert ran == []
    loop.turn()
    assert ran == [get_ident()] * 2
    assert loop.lead.thread == 0
    loop.stop(lambda: ran.append(0))
    assert ran[-1] == 0
    loop.turn()
    assert loop.join(0)
    assert loop.thread_names() == []


def test_a_number_that_is_reused_is_not_mistaken() -> None:
    """A descriptor freed and opened again while an event for the old one is pending: the new one gets no event."""
    heard: list[str] = []
    loop = Loop("test", manual=True)
    loop.start()
    pairs = [socket.socketpair() for _ in range(2)]
    fresh: list[socket.socket] = []

    class Target:
        """Closes the other one as soon as it is read, and opens a new socket in its place."""

        def __init__(self, name: str, sock: socket.socket) -> None:
            self.name, self.sock, self.closed = name, sock, False

        def on_io(self, mask: int) -> None:
            """The first of the two ends the second."""
            if self.closed:
                return
            heard.append(self.name)
            self.sock.recv(10)
            other = targets[1 - targets.index(self)] if self in targets else self
            if other is self or other.closed:
                return
            number = other.sock.fileno()
            loop.register(other.sock, 0, other)
            other.sock.close()
            other.closed = True
            fresh.extend(socket.socketpair())
            assert fresh[0].fileno() == number
            loop.register(fresh[0], READ, Target("new", fresh[0]))

        def on_error(self) -> None:
            """Never."""
            raise AssertionError

    targets = [Target(str(i), pair[0]) for i, pair in enumerate(pairs)]
    for target, pair in zip(targets, pairs, strict=True):
        loop.register(target.sock, READ, target)
        pair[1].send(b"x")
    loop.turn()
    assert len(heard) == 1
    fresh[1].send(b"y")
    loop.turn()
    assert heard[1:] == ["new"]
    loop.register(fresh[0], 0, targets[0])
    for sock in [*fresh, *(sock for pair in pairs for sock in pair)]:
        sock.close()
    loop.stop(lambda: None)
    assert loop.join(0)
