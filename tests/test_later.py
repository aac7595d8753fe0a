"""Requests without waiting: the answer, or why there is none, comes into a future."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import threading
import time
from concurrent.futures import CancelledError, Future
from threading import get_ident
from typing import Any

import pytest
from helpers import WAIT, failure, until
from together import Crew, channel_of, joined, serving, session_of

from securelink import (
    Client,
    CodecError,
    ConfigError,
    ConnectionClosed,
    Identity,
    LimitExceeded,
    LinkTimeout,
    Received,
    RequestFailed,
    Server,
    Session,
)

pytestmark = pytest.mark.usefixtures("tidy")


def answering(server: Server) -> list[Any]:
    """A server that doubles, refuses, fails, and never answers; what it was asked in vain."""
    held: list[Any] = []
    server.on("double", lambda session, packet: packet.data * 2)

    def refuse(session: Session, packet: Received) -> None:
        raise RequestFailed("not today")

    server.on("refuse", refuse)
    server.on("never", lambda session, packet: held.append(packet.defer()))
    return held


def test_answers_come_without_waiting(identity: Identity) -> None:
    """Many requests at once, in the order in which they were made; each future has its own answer."""
    with serving(identity) as server, joined(server) as (client,):
        answering(server)
        futures = [client.request_later("double", number) for number in range(100)]
        assert all(isinstance(future, Future) for future in futures)
        assert [future.result(WAIT) for future in futures] == [2 * number for number in range(100)]
        assert all(future.done() and future.exception() is None for future in futures)
        assert channel_of(client).core.requests.expected == {}


def test_the_server_asks_its_clients(identity: Identity) -> None:
    """Also in a handler of the very session, and of many sessions at once."""
    with serving(identity) as server, joined(server, 3) as clients:
        for number, client in enumerate(clients):
            client.on("vote", lambda packet, number=number: number)

        @server.on("count")
        def count(session: Session, packet: Received) -> Any:
            votes = [other.request_later("vote") for other in server.sessions.values()]
            return sorted(vote.result(WAIT) for vote in votes)

        until(lambda: len(server.sessions) == 3)
        assert clients[0].request("count", timeout=WAIT) == [0, 1, 2]


def test_why_there_is_no_answer(identity: Identity) -> None:
    """The future has the error that request() would raise."""
    with serving(identity) as server:
        held = answering(server)
        with joined(server) as (client,):
            refused = client.request_later("refuse")
            nobody = client.request_later("no such")
            late = client.request_later("never", timeout=0.1)
            hung = client.request_later("never", timeout=WAIT)
            assert (
                failure(RequestFailed, lambda: refused.result(WAIT), "not today").reason
                == "refused"
            )
            assert (
                failure(RequestFailed, lambda: nobody.result(WAIT), "no handler").reason
                == "no handler"
            )
            failure(LinkTimeout, lambda: late.result(WAIT), "did not answer a request in time")
            with pytest.raises(TimeoutError):
                hung.result(0.01)
            assert not hung.done()
            until(lambda: len(held) == 2)
            session_of(server, client).kick("out")
            error = failure(ConnectionClosed, lambda: hung.result(WAIT), "out")
            assert error.text == "out"
            with pytest.raises(ConnectionClosed):
                client.request_later("double", 1)
            held[0].reply(1)


def test_what_cannot_be_sent_is_said_at_once(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mistakes and bounds are raised by the call, and leave nothing behind."""
    monkeypatch.setattr("securelink.protocol.requests.MAX_REQUESTS", 2)
    with serving(identity) as server, joined(server) as (client,):
        answering(server)
        with pytest.raises(CodecError):
            client.request_later("double", object())
        with pytest.raises(LimitExceeded):
            client.request_later("double", bytes(3_000_000))
        for wrong in ("5", float("nan"), None):
            with pytest.raises(ConfigError):
                client.request_later("double", 1, timeout=wrong)  # type: ignore[arg-type]
        waiting = [client.request_later("never") for _ in range(2)]
        failure(LimitExceeded, lambda: client.request_later("never"), "wait for their reply")
        assert waiting[0].cancel()
        assert client.request_later("double", 4).result(WAIT) == 8
        assert waiting[1].cancel()
    with pytest.raises(ConfigError):
        Client("127.0.0.1", 1).request_later("double")


def test_cancelling(identity: Identity) -> None:
    """Who cancels waits no more, everybody who waits is told, and a late answer goes nowhere."""
    with serving(identity) as server, joined(server) as (client,):
        held = answering(server)
        future = client.request_later("never", timeout=WAIT)
        called: list[Any] = []
        future.add_done_callback(called.append)
        raised: list[BaseException] = []

        def wait() -> None:
            with pytest.raises(CancelledError) as caught:
                future.result(WAIT)
            raised.append(caught.value)

        with Crew() as crew:
            crew.start(wait)
            until(lambda: held)
            assert future.cancel()
            assert future.cancel()
        assert raised
        assert concurrent.futures.wait([future], timeout=WAIT).done == {future}
        until(lambda: called == [future])
        assert channel_of(client).core.requests.expected == {}
        held[0].reply("late")
        done = client.request_later("double", 1)
        assert done.result(WAIT) == 2
        assert not done.cancel()
        assert not done.cancelled()


def test_callbacks_run_as_handlers_do(identity: Identity) -> None:
    """One at a time with the handlers of the session, also one that is added late; what one raises stops nobody."""
    with serving(identity) as server, joined(server) as (client,):
        answering(server)
        inside, together, results = [0], [0], []

        def busy() -> None:
            inside[0] += 1
            together[0] = max(together[0], inside[0])
            time.sleep(0.001)
            inside[0] -= 1

        client.on("echo", lambda packet: busy())

        def answered(future: Future[Any]) -> None:
            busy()
            results.append(future.result())
            raise ValueError("on purpose")

        for number in range(30):
            client.send("echo")
            client.request_later("double", number).add_done_callback(answered)
        until(lambda: len(results) == 30)
        assert together == [1]
        done = client.request_later("double", 50)
        assert done.result(WAIT) == 100
        done.add_done_callback(answered)
        until(lambda: results[-1] == 100)
    late: list[Any] = []
    done.add_done_callback(late.append)  # the session is over, and with it who runs handlers
    until(lambda: late == [done])


def test_callbacks_in_a_game(identity: Identity) -> None:
    """With handlers="update" they run in the thread of the game, however the answer came and whatever it is."""
    with serving(identity) as server:
        answering(server)
        client = Client(*server.address, pin=identity.fingerprint, handlers="update").connect()
        threads: list[int] = []
        futures = [client.request_later("double", n) for n in range(5)]
        futures += [
            client.request_later("never", timeout=0.05),
            client.request_later("never", timeout=WAIT),
        ]
        for future in futures:
            future.add_done_callback(lambda _: threads.append(get_ident()))
        until(lambda: all(future.done() for future in futures[:6]))
        time.sleep(0.2)
        assert threads == []
        assert client.update()
        assert threads == [get_ident()] * 6
        session_of(server, client).kick()
        until(lambda: not client.update())
        assert threads == [get_ident()] * 7
        failure(ConnectionClosed, futures[-1].result, "kicked")


def test_a_client_that_waits_for_an_answer_is_not_forgotten(identity: Identity) -> None:
    """The future alone keeps the client until it is done; then it goes, with a warning."""
    with serving(identity) as server:
        answering(server)
        future = (
            Client(*server.address, pin=identity.fingerprint).connect().request_later("double", 4)
        )

        def finish() -> None:
            assert future.result(WAIT) == 8
            until(lambda: gc.collect() >= 0 and not server.sessions)

        with pytest.warns(ResourceWarning, match="was forgotten"):
            finish()


def test_an_asyncio_program_can_await_it(identity: Identity) -> None:
    """`asyncio.wrap_future` gives what `await` takes."""
    with serving(identity) as server, joined(server) as (client,):
        answering(server)

        async def ask() -> list[Any]:
            futures = [client.request_later("double", number) for number in range(3)]
            return await asyncio.gather(*map(asyncio.wrap_future, futures))

        assert asyncio.run(ask()) == [0, 2, 4]


def test_a_server_that_is_driven(identity: Identity) -> None:
    """In update() a handler may ask and go on; the answer comes in a later turn, and so does a time-out."""
    server = Server("127.0.0.1", 0, keys=identity)
    done: list[Any] = []

    @server.on("start")
    def start(session: Session, packet: Received) -> None:
        future = session.request_later("back", 1)
        failure(ConfigError, future.result, "inside update()")
        future.add_done_callback(lambda future: done.append(future.result()))
        lost = session.request_later("lost", timeout=0.05)
        lost.add_done_callback(lambda future: done.append(type(future.exception())))

    server.update()
    over = threading.Event()

    def play() -> None:
        with Client(*server.address, pin=identity.fingerprint) as client:
            client.on("back", lambda packet: packet.data + 1)
            client.on("lost", lambda packet: packet.defer())
            client.send("start")
            over.wait(WAIT)

    with Crew() as crew:
        crew.start(play)
        until(lambda: server.update() or len(done) == 2)  # type: ignore[func-returns-value]
        over.set()
        until(lambda: server.update() or not server.sessions)  # type: ignore[func-returns-value]
    server.stop()
    assert sorted(map(str, done)) == sorted(map(str, [2, LinkTimeout]))
