"""The loop: wake-ups, timers, stopping, and driving by hand."""

from __future__ import annotations

import itertools
import math
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from threading import get_ident

import pytest
from helpers import WAIT, until
from loops import Work, in_the_loop, led, running
from together import Crew

from securelink.streams.base import READ
from securelink.threads import loop as loop_module
from securelink.threads.loop import Loop
from securelink.threads.waker import Waker

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
            assert not loop._waker.sleeping  # noqa: SLF001  # it was woken

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
                loop.call(partial(ran.append, (name, number)))
                if number % 20 == name:
                    time.sleep(0.0005)

        with Crew() as crew:
            for name in range(8):
                crew.start(caller, name)
        led(loop)
        for name in range(8):
            assert [n for who, n in ran if who == name] == list(range(200))


def test_timers_run_in_order() -> None:
    """What is due earlier runs earlier, whoever asked."""
    with running() as loop:
        ran: list[list[float]] = []  # when each was due: at the earliest, at the latest
        for seconds in (0.03, 0.01, 0.02, 0.04):
            due = [time.monotonic() + seconds]
            loop.call_later(seconds, partial(ran.append, due))
            due.append(time.monotonic() + seconds)
        until(lambda: len(ran) == 4)
        # To the microsecond, unless the machine was busy with something else between two lines of this test.
        assert all(earlier[0] <= later[1] for earlier, later in itertools.pairwise(ran))


# --- stopping, and driving by hand ------------------------------------------------------------------------------


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
