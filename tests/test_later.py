"""Requests without waiting: the answer, or why there is none, comes into a future."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import threading
import time
import tracemalloc
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from threading import get_ident
from typing import Any

import pytest
from helpers import SOON, WAIT, failure, until
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
from securelink.limits import ENDED_AT_ONCE
from securelink.threads import later

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


def test_what_cannot_be_sent_is_said_at_once(identity: Identity) -> None:
    """Mistakes and bounds are raised by the call, and leave nothing behind."""
    with serving(identity) as server, joined(server, max_requests=2) as (client,):
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
        until(
            lambda: len(threads) == 6,
            meanwhile=lambda: client.update() or pytest.fail("it is over"),
        )
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
    """In update() a handler may ask and go on; the answer comes in a later turn, and so does a timeout."""
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
        until(lambda: len(done) == 2, meanwhile=server.update)
        over.set()
        until(lambda: not server.sessions, meanwhile=server.update)
    server.stop()
    assert sorted(map(str, done)) == sorted(map(str, [2, LinkTimeout]))


# --- what is kept ----------------------------------------------------------------------------------------------

LARGE: list[Any] = [{}] * 20_000  # 20 kB on the wire, 1.4 MB as objects


def give(server: Server, client: Client, answer: Any, count: int) -> list[Future[Any]]:
    """Let a client answer questions of its server; the answers, of which nobody has asked for one."""
    client.on("give", lambda packet: answer)
    session = session_of(server, client)
    futures = [session.request_later("give", timeout=WAIT) for _ in range(count)]
    assert concurrent.futures.wait(futures, timeout=WAIT).not_done == set()
    return futures


def test_answers_that_nobody_looks_at_are_bytes(identity: Identity) -> None:
    """A dozen of them take what they took on the wire, until result() asks: then each is what was sent, once."""
    with serving(identity) as server, joined(server) as (client,):
        give(server, client, LARGE, 1)[0].result()
        tracemalloc.start()
        try:
            futures = give(server, client, LARGE, 12)
            # As objects 17 MB; the server keeps a copy until they are acknowledged.
            until(lambda: gc.collect() >= 0 and tracemalloc.get_traced_memory()[0] < 4_000_000)
        finally:
            tracemalloc.stop()
        first = futures[0].result()
        assert first == LARGE
        assert futures[0].result() is first
        assert futures[0].exception() is None


def test_answers_count_until_they_are_taken_or_dropped(identity: Identity) -> None:
    """They are in what the session holds; looking at one, and forgetting one, gives its bytes back."""
    with serving(identity) as server, joined(server) as (client,):
        channel = channel_of(session_of(server, client))
        before = channel.held
        futures = give(server, client, bytes(1_000_000), 3)
        assert channel.held - before > 3_000_000
        assert len(futures.pop().result()) == 1_000_000
        # The thread that brought the last one may not be through with its record.
        until(lambda: 2_000_000 < channel.held - before < 2_100_000)
        asked = futures[0].exception()
        assert asked is None
        assert 1_000_000 < channel.held - before < 1_100_000
        futures.clear()
        until(lambda: gc.collect() >= 0 and channel.held - before < 100_000)


@pytest.mark.pure  # it lowers a bound of a module
@pytest.mark.parametrize("ended", [False, True])
def test_answers_of_all_sessions_are_bounded_together(
    identity: Identity, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    """At the bound of all sessions the answers of those that hold most go, also of one that has said its goodbye."""
    monkeypatch.setattr("securelink.threads.sweeper.SWEEP_SECONDS", 0.05)
    with serving(identity, max_memory=4_700_000) as server, joined(server, 2) as (modest, greedy):
        channel = channel_of(session_of(server, greedy))
        small = give(server, modest, bytes(1_000_000), 1)
        large = give(server, greedy, bytes(1_500_000), 2 if ended else 3)
        if ended:
            greedy.close()
            until(lambda: len(server.sessions) == 1)
            time.sleep(0.3)  # some sweeps look at what it has left
            small += give(server, modest, bytes(1_000_000), 1)
        else:
            until(lambda: len(server.sessions) == 1)
        until(lambda: channel.core.requests.replies.held == 0)
        for future in large:
            failure(ConnectionClosed, future.result, "the session is over")
            assert isinstance(future.exception(), ConnectionClosed)
        assert [len(future.result()) for future in small] == [1_000_000] * len(small)
        assert modest.ping(WAIT) > 0


def test_an_answer_outlives_its_session(identity: Identity) -> None:
    """Who asks late has what came, though the session is over."""
    with serving(identity) as server, joined(server) as (client,):
        (future,) = give(server, client, LARGE, 1)
        client.close()
        until(lambda: not server.sessions)
        assert future.result() == LARGE


def test_a_session_that_has_ended_goes_though_it_asked(identity: Identity) -> None:
    """Neither questions without an answer nor their timeouts keep a session that is over."""
    with serving(identity) as server, joined(server) as (client,):
        answering(server)
        session = session_of(server, client)
        futures = [session.request_later("never", timeout=600.0) for _ in range(3)]
        parts: list[Callable[[], object]] = [
            weakref.ref(session),
            weakref.ref(channel_of(session).lock),
        ]
        client.close()
        for future in futures:
            failure(ConnectionClosed, future.result, "the session is over")
        del session, future
        futures.clear()
        until(lambda: not server.sessions)
        until(lambda: gc.collect() >= 0 and not any(part() for part in parts), SOON)


def test_many_questions_of_a_session_that_ends_stop_nobody(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They end a few in each turn of the leader; their callbacks come before on_disconnect, which comes once."""
    monkeypatch.setattr("securelink.threads.chores.TURN_SECONDS", 0.0)
    heard: list[str] = []
    done_at_hangup: list[int] = []
    with serving(identity) as server, joined(server) as (client,):
        client.on("never", lambda packet: packet.defer() and None)
        session = session_of(server, client)
        futures = [session.request_later("never", timeout=600.0) for _ in range(1000)]
        for future in futures:
            future.add_done_callback(lambda _: heard.append("over"))
        server.on_hangup(lambda _: done_at_hangup.append(sum(f.done() for f in futures)))
        server.on_disconnect(lambda _: heard.append("disconnected"))
        with Crew() as crew:
            crew.start(failure, ConnectionClosed, lambda: session.request("never"), "is over")
            until(lambda: len(channel_of(session).core.requests.expected) == 1001)
            client.close()
        until(lambda: "disconnected" in heard)
        assert heard == ["over"] * 1000 + ["disconnected"]
        assert done_at_hangup[0] < 1000  # all of them, when one turn ends them
        for future in futures:
            failure(ConnectionClosed, future.result, "the session is over")


def test_questions_end_with_the_server(identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it stops, nobody is left who waits for what will not come."""
    monkeypatch.setattr("securelink.threads.chores.TURN_SECONDS", 0.0)
    monkeypatch.setattr("securelink.threads.lifecycle.STOP_GRACE_SECONDS", 0.0)
    with serving(identity) as server, joined(server, 20) as clients:
        for client in clients:
            client.on("never", lambda packet: packet.defer() and None)
        sessions = [session_of(server, client) for client in clients]
        futures = [session.request_later("never") for session in sessions for _ in range(200)]
        server.stop(0.0)  # it has no time to wait for that
        until(lambda: all(future.done() for future in futures))
        for future in futures:
            failure(ConnectionClosed, future.result, "")


def test_two_who_ask_at_once_get_the_same(identity: Identity) -> None:
    """One answer is one object, whoever decodes it."""
    with serving(identity) as server, joined(server) as (client,):
        for future in give(server, client, {"some": ["data"]}, 20):
            results: list[Any] = []
            with Crew() as crew:
                for _ in range(4):
                    crew.start(
                        lambda future=future, results=results: results.append(future.result())
                    )
            assert len(results) == 4
            assert all(result is results[0] for result in results)


def test_the_library_of_futures_takes_it(identity: Identity) -> None:
    """wait(), as_completed() and asyncio see answers, refusals and cancellations as those of any future."""
    with serving(identity) as server, joined(server) as (client,):
        answering(server)
        good, bad, hung = (
            client.request_later(name, 4, timeout=WAIT) for name in ("double", "refuse", "never")
        )
        done = list(concurrent.futures.as_completed([good, bad], timeout=WAIT))
        assert set(done) == {good, bad}
        assert isinstance(bad.exception(), RequestFailed)
        assert concurrent.futures.wait([good, hung], timeout=0.0).not_done == {hung}

        async def ask() -> list[Any]:
            wrapped = [asyncio.wrap_future(future) for future in (good, bad)]
            wrapped[0].get_loop().call_soon(hung.cancel)
            return await asyncio.gather(*wrapped, asyncio.wrap_future(hung), return_exceptions=True)

        first, second, third = asyncio.run(ask())
        assert first == 8
        assert isinstance(second, RequestFailed)
        assert isinstance(third, asyncio.CancelledError)


def test_many_that_end_at_once_end_in_many_turns(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand requests without an answer ended in one go, and every session waited for that."""
    ended: list[int] = []
    expire: Callable[[object], None] = vars(later)["_expire"]

    def counted(alarm: object) -> None:
        before = sum(future.done() for future in futures)
        expire(alarm)
        ended.append(sum(future.done() for future in futures) - before)

    monkeypatch.setattr("securelink.threads.later._expire", counted)
    with serving(identity) as server, joined(server) as (client,):
        held: list[Any] = []
        client.on("never", lambda packet: held.append(packet.defer()))
        session = server.sessions[client.token]
        futures = [session.request_later("never", timeout=0.3) for _ in range(200)]
        slow = session.request_later("never", timeout=WAIT)
        for future in futures:
            assert isinstance(future.exception(WAIT), LinkTimeout)
        until(lambda: sum(ended) == len(futures))
        assert max(ended) <= ENDED_AT_ONCE
        slow.cancel()
