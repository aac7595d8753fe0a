"""Attempts to connect share their threads: one makes them all, others do what may wait."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from helpers import WAIT, failure, until

from securelink import interrupts
from securelink.limits import MAX_ATTEMPTS
from securelink.streams.memory import memory_pair
from securelink.streams.tcp import TcpStream
from securelink.threads import attempts as module
from securelink.threads.attempts import ELSEWHERE, Attempts, Pause, Steps, made

pytestmark = pytest.mark.usefixtures("tidy")


@contextlib.contextmanager
def streams(count: int) -> Iterator[list[tuple[TcpStream, socket.socket]]]:
    """Streams that say nothing, each with its other end."""
    with contextlib.ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(count)]
        for ours, theirs in pairs:
            stack.enter_context(ours)
            stack.enter_context(theirs)
        yield [(TcpStream(ours, ("", 0)), theirs) for ours, theirs in pairs]


def here() -> str:
    """Which thread this is."""
    thread = threading.current_thread()
    return f"{thread.name} {thread.ident}"


def makers() -> list[threading.Thread]:
    """The threads of attempts."""
    return [thread for thread in threading.enumerate() if thread.name == "securelink-reconnect"]


def test_one_thread_makes_them_all() -> None:
    """Many that wait for their servers cost one thread, which ends with the last."""
    attempts, through = Attempts(), list[str]()

    def attempt(stream: TcpStream) -> Steps[None]:
        for _ in range(3):
            yield Pause(stream, WAIT)
            stream.recv(1, stream.at_once)
        through.append(here())

    with streams(40) as pairs:
        for stream, _ in pairs:
            attempts.make(attempt(stream))
        assert len(makers()) == 1
        for _, theirs in pairs:
            theirs.send(b"abc")
        until(lambda: len(through) == 40)
        assert len(set(through)) == 1
    until(lambda: not makers())


def test_more_than_may_wait_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those for which there is no room begin when others are through."""
    monkeypatch.setattr(module, "MAX_WAITING_ATTEMPTS", 3)
    attempts, begun, through = Attempts(), list[int](), list[int]()

    def attempt(number: int, stream: TcpStream) -> Steps[None]:
        begun.append(number)
        yield Pause(stream, WAIT)
        while not stream.wait(read=True, write=False, timeout=0.0):
            yield Pause(stream, WAIT)
        through.append(number)

    def is_through(number: int) -> Callable[[], bool]:
        return lambda: number in through

    with streams(8) as pairs:
        for number, (stream, _) in enumerate(pairs):
            attempts.make(attempt(number, stream))
        until(lambda: begun == [0, 1, 2])
        for number, (_, theirs) in enumerate(pairs):
            theirs.send(b"x")
            until(is_through(number))
        assert begun == list(range(8))
    until(lambda: not makers())


def test_what_may_wait_holds_up_nobody() -> None:
    """It is done by another thread; then the common one goes on."""
    attempts, go, steps = Attempts(), threading.Event(), list[tuple[str, str]]()

    def slow(stream: TcpStream) -> Steps[None]:
        yield Pause(stream, WAIT)
        steps.append(("before", here()))
        yield ELSEWHERE
        assert go.wait(WAIT)
        steps.append(("waited", here()))
        yield Pause(stream, WAIT)
        steps.append(("after", here()))

    def quick(stream: TcpStream) -> Steps[None]:
        yield Pause(stream, WAIT)
        steps.append(("quick", here()))
        go.set()

    with streams(3) as pairs:
        (first, one), (second, two), (third, _) = pairs

        def stays() -> Steps[None]:
            while len(steps) < 4:
                yield Pause(third, WAIT)

        attempts.make(stays())  # else the common thread may end meanwhile
        attempts.make(slow(first))
        one.send(b"x")
        until(lambda: steps)
        attempts.make(quick(second))
        two.send(b"x")
        until(lambda: len(steps) == 4)
        where = dict(steps)
        assert [name for name, _ in steps] == ["before", "quick", "waited", "after"]
        assert where["before"] == where["quick"] == where["after"] != where["waited"]
    until(lambda: not makers())


def test_a_stream_without_a_descriptor() -> None:
    """A thread of its own waits for it."""
    attempts, through = Attempts(), list[bytes]()
    ours, theirs = memory_pair()

    def attempt() -> Steps[None]:
        yield Pause(ours, WAIT)
        through.append(ours.recv(10, ours.at_once))

    attempts.make(attempt())
    theirs.send(b"abc", 0)
    until(lambda: through == [b"abc"])
    ours.close()
    theirs.close()
    until(lambda: not makers())


def test_one_that_is_told_nothing_looks_now_and_then() -> None:
    """It may have been called off, or its time may be over."""
    attempts, off = Attempts(), threading.Event()
    through = list[str]()

    def attempt(stream: TcpStream) -> Steps[None]:
        while not off.is_set():
            yield Pause(stream, WAIT)
        through.append("off")

    with streams(2) as pairs:
        for stream, _ in pairs:
            attempts.make(attempt(stream))
        off.set()
        until(lambda: through == ["off", "off"])
    until(lambda: not makers())


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
@pytest.mark.parametrize("waits", [False, True])
def test_a_failure_takes_no_other_along(
    error: type[BaseException], waits: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever one raises is in the log, and the others go on."""
    attempts, through = Attempts(), list[str]()

    def bad(stream: TcpStream) -> Steps[None]:
        yield Pause(stream, WAIT)
        if waits:
            yield ELSEWHERE
        raise error

    def good(stream: TcpStream) -> Steps[None]:
        yield Pause(stream, WAIT)
        yield ELSEWHERE
        yield Pause(stream, WAIT)
        through.append(here())

    with streams(1 + MAX_ATTEMPTS) as pairs:
        for stream, theirs in pairs[1:]:
            attempts.make(bad(stream))
            theirs.send(b"x")
        until(lambda: caplog.text.count(error.__name__) >= MAX_ATTEMPTS)
        attempts.make(good(pairs[0][0]))
        pairs[0][1].send(b"x")
        until(lambda: through)
    until(lambda: not makers())


def test_no_thread_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks is told, and those that waited already are made by the next thread; one that is on its way fails."""
    attempts, said = Attempts(), list[str]()
    real = interrupts.start_thread
    none = [True]

    def start(thread: threading.Thread) -> None:
        if none[0]:
            raise RuntimeError("can't start new thread")
        real(thread)

    def attempt(name: str, stream: TcpStream) -> Steps[None]:
        yield Pause(stream, WAIT)
        none[0] = True
        try:
            yield ELSEWHERE
        except RuntimeError:
            said.append(name)

    monkeypatch.setattr(module, "start_thread", start)
    with streams(2) as pairs:
        for _, theirs in pairs:
            theirs.send(b"x")
        failure(RuntimeError, lambda: attempts.make(attempt("first", pairs[0][0])), "new thread")
        none[0] = False
        attempts.make(attempt("second", pairs[1][0]))
        until(lambda: said == ["second"])
    until(lambda: not makers())


def test_made_by_the_caller() -> None:
    """It waits itself, has the result, and an attempt that is broken off lets go of what it has."""
    let_go: list[str] = []

    def attempt(stream: TcpStream) -> Steps[int]:
        try:
            yield ELSEWHERE
            yield Pause(stream, WAIT)
            return len(stream.recv(10, stream.at_once))
        finally:
            let_go.append(here())

    class Interrupted:
        def fileno(self) -> int:
            return -1

        def wait(self, *, read: bool, write: bool, timeout: float) -> bool:
            raise KeyboardInterrupt

    def broken_off() -> Steps[None]:
        try:
            yield Pause(Interrupted(), WAIT)
        finally:
            let_go.append("broken off")

    with streams(1) as pairs:
        (stream, theirs), = pairs  # fmt: skip
        theirs.send(b"abc")
        assert made(attempt(stream)) == 3
    failure(KeyboardInterrupt, lambda: made(broken_off()), "")
    assert let_go == [here(), "broken off"]
