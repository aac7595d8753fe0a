"""The threads of a loop: what handlers and jobs have places for, and that none is lost."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest
from helpers import WAIT, until
from loops import Work, in_the_loop, led, running
from programs import finished

from securelink.threads import pool as pool_module
from securelink.threads.giving_way import hand_over
from securelink.threads.jobs import Task
from securelink.threads.loop import Loop


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


@pytest.mark.pure
@pytest.mark.parametrize(("workers", "started"), [(4, 4), (12, 8)])
def test_threads_start_early_where_later_is_too_late(
    workers: int, started: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CPython 3.12.0 and 3.12.1 start no thread after main has ended: those of a server are there before."""
    monkeypatch.setattr(pool_module, "EARLY_THREADS", 8)
    with running(workers=workers) as loop:
        led(loop)
        assert loop.pool.started == started

        def refuse(thread: threading.Thread) -> None:
            raise RuntimeError("can't create new thread at interpreter shutdown")

        monkeypatch.setattr(threading.Thread, "start", refuse)
        gate = threading.Event()

        def held() -> None:
            gate.wait(WAIT)

        for _ in range(workers // 4):
            assert loop.pool.submit("a", Task(held))
        work = Work(lambda: None)
        loop.schedule(work)
        assert work.done.wait(WAIT)
        gate.set()


def test_threads_start_when_they_are_needed(tmp_path: Path) -> None:
    """In a program of its own, where no fixture has a say."""
    source = "from securelink.threads import pool; print(pool.EARLY_THREADS)"
    early = sys.version_info[:3] in ((3, 12, 0), (3, 12, 1))
    assert finished("-c", source, folder=tmp_path).strip() == ("8" if early else "1")


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
