"""Places for handlers: who waits for a reply takes none, and what is said when none is free or no thread starts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import looping
import pytest
from helpers import WAIT, until
from inside import clients_loop, loop_of
from together import joined, serving

from securelink import Client, Identity, LimitExceeded, LinkTimeout, Server, aio
from securelink.limits import WORKERS
from securelink.threads import pool as pool_module
from securelink.threads.attempts import Attempts
from securelink.threads.jobs import Task
from securelink.threads.waits import Wait, WaitPlaces

pytestmark = pytest.mark.usefixtures("tidy")


# --- handlers that wait ----------------------------------------------------------------------------------------


def test_the_longest_wait_ends_early() -> None:
    """Beyond the bound the oldest gives up its place, once, and leaving twice is nothing."""
    ended: list[str] = []
    places = WaitPlaces(2)
    first, second, third = (Wait(lambda name=name: ended.append(name)) for name in "abc")  # type: ignore[misc]
    assert places.enter(first) is None
    assert places.enter(second) is None
    oldest = places.enter(third)
    assert oldest is first
    oldest.end()
    assert (ended, first.ended_early, second.ended_early) == (["a"], True, False)
    assert len(places) == 2
    places.leave(first)
    assert len(places) == 2
    places.leave(second)
    places.leave(third)
    assert len(places) == 0


@pytest.mark.parametrize("workers", [3, 12])
def test_clients_that_never_answer_stop_no_handler(identity: Identity, workers: int) -> None:
    """Handlers that wait for a reply take no place: with more of them than threads the others are served at once."""
    outcomes: list[str] = []
    asked = threading.Semaphore(0)

    def ask(session: Any, packet: Any) -> None:
        asked.release()
        try:
            session.request("answer me", timeout=2 * WAIT)
        except Exception as error:
            outcomes.append(type(error).__name__)

    count = workers + 3
    with serving(identity, workers=workers) as server:
        server.on("ask", ask)
        server.on("number", lambda session, packet: packet.data)
        with joined(server) as [other]:
            with joined(server, count) as clients:
                deferred = [
                    client.on("answer me", lambda packet: packet.defer() and None)
                    for client in clients
                ]
                for client in clients:
                    client.send("ask")
                for _ in clients:
                    assert asked.acquire(timeout=WAIT)
                for number in range(20):
                    assert other.request("number", number, timeout=WAIT) == number
                assert not outcomes
                assert len(server.threads) <= workers + count + 1
            until(lambda: len(outcomes) == len(deferred))
            assert set(outcomes) == {"ConnectionClosed"}


@pytest.mark.pure  # it lowers a bound of a module
def test_when_all_places_for_waits_are_taken(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait that is oldest ends early with words, and a newer one gets its answer."""
    monkeypatch.setattr(pool_module, "MAX_WAITING_HANDLERS", 2)
    outcomes: list[BaseException] = []

    def ask(session: Any, packet: Any) -> Any:
        try:
            return session.request("answer me", timeout=2 * WAIT)
        except LinkTimeout as error:
            outcomes.append(error)
            return None

    with serving(identity) as server:
        server.on("ask", ask)
        with joined(server, 4) as clients:
            waits = loop_of(server).pool.waits
            for number, client in enumerate(clients[:3], 1):
                client.on("answer me", lambda packet: packet.defer() and None)
                client.send("ask")
                until(lambda number=number: len(waits) + len(outcomes) == number)  # type: ignore[misc]
            clients[3].on("answer me", lambda packet: 7)
            assert clients[3].request("ask", timeout=WAIT) == 7
            until(lambda: len(outcomes) == 2)
        assert all("other handlers wait" in str(error) for error in outcomes)
        assert all("need not wait" in str(error) for error in outcomes)


def test_a_request_in_authenticate_takes_no_handlers_place(identity: Identity) -> None:
    """A hook that asks somebody while it decides is a job; the count of handlers stays as it is."""
    asked: list[Any] = []

    def authenticate(hello: Any) -> str:
        for session in server.sessions.values():
            asked.append(session.request("may they", timeout=WAIT))
        return "user"

    with serving(identity, authenticate=authenticate) as server, joined(server) as [first]:
        first.on("may they", lambda packet: "yes")
        with joined(server):
            assert asked == ["yes"]
            loop = loop_of(server)
            until(lambda: loop.pool.busy_handlers == 0)


# --- when there is no place ------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"workers": 3}, {"overlap": False}], ids=str)
def test_all_places_taken_is_said(
    identity: Identity, caplog: pytest.LogCaptureFixture, options: Any
) -> None:
    """When packets wait because handlers have all places the log says so, with the number, and once."""
    gate = threading.Event()
    with caplog.at_level(logging.WARNING, "securelink"), serving(identity, **options) as server:
        server.on("block", lambda session, packet: gate.wait(WAIT) and None)
        with joined(server, 3) as clients:
            for client in clients:
                client.send("block")
            until(lambda: "places for handlers are taken" in caplog.text)
            gate.set()
    lines = [line for line in caplog.messages if "places for handlers" in line]
    assert len(lines) == 1
    assert "all 1 places" in lines[0]
    assert f"workers={options.get('workers', WORKERS)}" in lines[0]


# --- threads that do not start ---------------------------------------------------------------------------------


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """`no_threads(2)`: two more of the library's threads start, then the system refuses; -1: it does not any more."""
    start = threading.Thread.start
    left = [-1]

    def refusing(thread: threading.Thread) -> None:
        if thread.name.startswith("securelink-") and left[0] >= 0:
            if left[0] == 0:
                raise RuntimeError("can't start new thread")
            left[0] -= 1
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refusing)

    def allow(count: int) -> None:
        left[0] = count

    return allow


@pytest.mark.parametrize("count", [0, 1])
def test_the_first_connect_without_threads(
    identity: Identity, no_threads: Callable[[int], None], count: int
) -> None:
    """It fails with an error of ours, leaves nothing behind, and the next call works as if nothing had been."""
    with serving(identity) as server:
        until(lambda: clients_loop() is None)
        client = Client("127.0.0.1", server.address[1], pin=server.fingerprint)
        no_threads(count)
        with pytest.raises(LimitExceeded, match=r"can't start new thread.*ulimit") as caught:
            client.connect()
        assert caught.value.limit == "threads"
        assert not client.connected
        no_threads(-1)
        got: list[Any] = []
        client.on("echo", lambda packet: got.append(packet.data))
        with client.connect():
            client.send("echo", 1)
            until(lambda: got)  # in the background: the loop lives


@pytest.mark.parametrize("count", [0, 1])
def test_a_server_without_threads(
    identity: Identity, no_threads: Callable[[int], None], count: int
) -> None:
    """`start()` fails with an error of ours, the port is free again, and the next start works."""
    server = Server("127.0.0.1", 0, keys=identity)
    no_threads(count)
    with pytest.raises(LimitExceeded, match="can't start new thread"):
        server.start()
    assert not server.running
    no_threads(-1)
    with server, joined(server) as [client]:
        assert client.ping(WAIT) > 0


def test_coroutines_without_threads(identity: Identity, no_threads: Callable[[int], None]) -> None:
    """`start()` and `connect()` of asyncio fail likewise; what failed is not done later, and the next call works."""

    async def main() -> None:
        servers = [aio.Server("127.0.0.1", 0, keys=identity) for _ in range(2)]
        no_threads(0)
        for server in servers:
            with pytest.raises(LimitExceeded, match=r"can't start new thread.*ulimit"):
                await server.start()
        no_threads(-1)
        async with servers[1] as server:
            client = aio.Client(*server.address, pin=identity.fingerprint)
            await looping.until(
                lambda: not any("reconnect" in t.name for t in threading.enumerate())
            )
            no_threads(0)
            with pytest.raises(LimitExceeded, match="can't start new thread"):
                await client.connect()
            no_threads(-1)
            async with client:
                assert await client.ping(WAIT) > 0
                assert len(server.sessions) == 1
            assert not servers[0].running

    looping.run(main)


def test_an_attempt_that_another_thread_has_taken_has_not_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No new thread starts, but one that is busy already does the job: nobody is told that it failed."""
    attempts, done, go = Attempts(), threading.Event(), threading.Event()
    attempts.run(lambda: assert_set(go))

    def refusing(thread: threading.Thread) -> None:
        go.set()
        assert done.wait(WAIT)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("securelink.threads.attempts.start_thread", refusing)
    attempts.run(done.set)


def assert_set(event: threading.Event) -> None:
    """Wait for it."""
    assert event.wait(WAIT)


def test_later_threads_that_do_not_start_are_logged(
    identity: Identity, no_threads: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    """A handshake that waits for a thread which cannot be started is no silence: the log says why."""
    with caplog.at_level(logging.ERROR, "securelink"), serving(identity) as server:
        until(lambda: len(server.threads) == 2)  # watchdog and leader
        no_threads(
            1
        )  # the next would be the one for the handshake; the client's caretaker has to start first
        no_threads(0)
        loop = loop_of(server)
        done = threading.Event()
        assert loop.pool.submit("somebody", Task(done.set))
        until(lambda: "cannot start a thread: can't start new thread" in caplog.text)
        no_threads(-1)
        nothing = Task(lambda: None)
        assert loop.pool.submit("somebody", nothing)  # the next call tries again, and both are done
        assert done.wait(WAIT)
