"""Calls that wait: for how long they may be told to, whatever signals come, and what a handler raises meanwhile."""

from __future__ import annotations

import asyncio
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import WAIT, until
from together import AT_ONCE, joined, link_of, serving, session_of

from securelink import Client, Collector, ConfigError, Identity, LinkTimeout, RequestFailed, Server
from securelink.errors import SecureLinkError
from securelink.streams import tcp
from securelink.threads.waits import Wait, WaitPlaces

pytestmark = pytest.mark.usefixtures("tidy")

# Every call of the public API that takes a timeout, of a connected client.
CALLS: dict[str, Callable[[Server, Client, Any], object]] = {
    "Client.connect": lambda server, client, t: Client(
        "127.0.0.1", server.address[1], pin=server.fingerprint
    ).connect(t),
    "Client.receive": lambda server, client, t: client.receive(t),
    "Client.request": lambda server, client, t: client.request("mute", timeout=t),
    "Client.ping": lambda server, client, t: client.ping(t),
    "Client.wait_for": lambda server, client, t: client.wait_for("never", t),
    "Client.send": lambda server, client, t: client.send("mute", timeout=t),
    "Client.close": lambda server, client, t: client.close(t),
    "Session.request": lambda server, client, t: session_of(server, client).request("x", timeout=t),
    "Session.ping": lambda server, client, t: session_of(server, client).ping(t),
    "Session.send": lambda server, client, t: session_of(server, client).send("x", timeout=t),
    "EventHook.wait": lambda server, client, t: client.on_disconnect.wait(t),
    "Collector.take": lambda server, client, t: Collector(client.on_disconnect).take(t),
    "Server.stop": lambda server, client, t: Server("127.0.0.1", 0, encryption="off").stop(t),
    "Server.drain": lambda server, client, t: Server("127.0.0.1", 0, encryption="off").drain(t),
}
NO_TIMEOUTS = [math.nan, -math.nan, "5", True, b"", [], object()]
NONE_IS_POSSIBLE = {"Client.receive", "Client.send", "Session.send"}


@pytest.fixture
def pair(identity: Identity) -> Iterator[tuple[Server, Client]]:
    """A server that never answers "mute", and a client of it."""
    with serving(identity) as server, joined(server) as [client]:
        server.on("mute", lambda session, packet: packet.defer() and None)
        client.on("x", lambda packet: packet.defer() and None)
        yield server, client


@pytest.mark.parametrize("call", CALLS)
def test_what_is_no_timeout(call: str, pair: tuple[Server, Client]) -> None:
    """NaN, texts, truths and other things are refused at once, by every call, and nothing is begun."""
    values: list[Any] = list(NO_TIMEOUTS)
    if call not in NONE_IS_POSSIBLE:
        values.append(None)
    for value in values:
        with pytest.raises(ConfigError, match="timeout="):
            CALLS[call](*pair, value)
    assert pair[1].connected


@pytest.mark.parametrize("value", [0, -1, -math.inf])
@pytest.mark.parametrize("call", [name for name in CALLS if name != "Client.close"])
def test_no_time_at_all(call: str, value: float, pair: tuple[Server, Client]) -> None:
    """What has passed already comes back at once, with an error of ours or without; it never waits or spins."""
    start = time.monotonic()
    try:
        CALLS[call](*pair, value)
    except SecureLinkError:
        pass
    assert time.monotonic() - start < WAIT / 2


@pytest.mark.parametrize("value", [math.inf, 1e300, 10**400], ids=["inf", "1e300", "10**400"])
@pytest.mark.parametrize(
    "call", ["Client.connect", "Client.ping", "Client.send", "Session.ping", "Server.stop"]
)
def test_all_the_time_there_is(call: str, value: float, pair: tuple[Server, Client]) -> None:
    """However long a call may take, it does what it does."""
    result = CALLS[call](*pair, value)
    if isinstance(result, Client):
        result.close()


@pytest.mark.parametrize("value", [math.inf, 1e300])
def test_a_wait_without_end_waits(value: float, identity: Identity) -> None:
    """It ends with what it waits for."""
    with serving(identity) as server, joined(server) as [client]:
        threading.Timer(0.05, lambda: session_of(server, client).send("late")).start()
        packet = client.receive(value)
        assert packet is not None
        assert packet.action == "late"


# --- signals ---------------------------------------------------------------------------------------------------


@pytest.fixture
def signals() -> Iterator[list[int]]:
    """A signal with a handler comes every 5 ms."""
    hits: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: hits.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
    try:
        yield hits
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="a system without timers")
@pytest.mark.parametrize("call", ["receive", "request", "wait_for"])
def test_signals_do_not_make_a_wait_endless(
    call: str, identity: Identity, signals: list[int]
) -> None:
    """The kernel's timeout begins anew with each signal; the call comes back in its time all the same."""
    with serving(identity) as server, joined(server) as [client]:
        server.on("mute", lambda session, packet: packet.defer() and None)
        before = len(signals)
        start = time.monotonic()
        if call == "receive":
            assert client.receive(1.5) is None
        else:
            with pytest.raises(LinkTimeout):
                CALLS[f"Client.{call}"](server, client, 1.5)
        assert 1.4 < time.monotonic() - start < WAIT / 2
        assert len(signals) > before
        woken = link_of(client)._woken  # noqa: SLF001  # the timeout of the call was made shorter
        assert woken or tcp.DONT_WAIT == 0
        server.on("echo it", lambda session, packet: packet.data)
        assert [client.request("echo it", n, timeout=WAIT) for n in range(20)] == list(range(20))


# --- what handlers raise ---------------------------------------------------------------------------------------


class Outcome(BaseException):
    """As test frameworks have: it is no Exception, so that nobody catches it by chance."""


RAISED = [SystemExit, asyncio.CancelledError, Outcome, GeneratorExit, KeyboardInterrupt]


def raising(error: type[BaseException]) -> Callable[..., Any]:
    """A handler, or listener, that raises it."""

    def handler(*arguments: Any) -> Any:
        raise error("on purpose")

    return handler


@pytest.mark.parametrize("error", RAISED)
def test_whatever_a_handler_raises_who_asked_is_answered(
    error: type[BaseException], identity: Identity
) -> None:
    """The request fails at once, on servers and in the background of clients; the session goes on."""
    with serving(identity) as server, joined(server) as [client]:
        server.on("fail", raising(error))
        client.on("fail", raising(error))
        client.on("fine", lambda packet: packet.data)
        server.on("fine", lambda session, packet: packet.data)
        session = session_of(server, client)
        for asking in (client, session):
            start = time.monotonic()
            with pytest.raises(RequestFailed) as caught:
                asking.request("fail", timeout=2 * AT_ONCE)
            assert caught.value.reason == "error"
            assert time.monotonic() - start < AT_ONCE
            assert asking.request("fine", 1, timeout=WAIT) == 1
        if error is not KeyboardInterrupt:
            assert [kept.what for kept in server.caught.take()] == ["fail"]
            assert [kept.what for kept in client.caught.take()] == ["fail"]


@pytest.mark.parametrize("error", RAISED[:4])
def test_whatever_a_listener_raises_the_others_are_called(
    error: type[BaseException], identity: Identity
) -> None:
    """Listeners of messages and of ends, and the handler after them: each has its turn, and requests an answer."""
    called: list[str] = []
    with serving(identity) as server:
        for hook in (server.on_connect, server.on_message, server.on_disconnect):
            hook.add_listener(raising(error))
        server.on_connect(lambda session: called.append("connect"))
        server.on_message(lambda session, packet: called.append("message"))
        server.on_disconnect(lambda session: called.append("disconnect"))
        server.on("ask", lambda session, packet: "answer")
        with joined(server) as [client]:
            assert client.request("ask", timeout=WAIT) == "answer"
            with pytest.raises(RequestFailed):
                client.request("nobody has it", timeout=WAIT)
        until(lambda: len(called) == 4)
        assert called == ["connect", "message", "message", "disconnect"]


def test_in_the_programs_own_thread_it_ends_what_the_program_does(identity: Identity) -> None:
    """`sys.exit()` in a handler that update() runs goes through, and who asked has his answer before."""
    server = Server("127.0.0.1", 0, keys=identity)
    server.on("quit", raising(SystemExit))
    server.update()
    answers: list[Any] = []

    def ask() -> None:
        with Client("127.0.0.1", server.address[1], pin=server.fingerprint) as client:
            try:
                client.request("quit", timeout=WAIT)
            except RequestFailed as error:
                answers.append(error.reason)

    asking = threading.Thread(target=ask)
    asking.start()
    with pytest.raises(SystemExit):
        until(server.update)
    until(lambda: answers, meanwhile=server.update)
    assert answers == ["error"]
    until(lambda: not asking.is_alive(), meanwhile=server.update)
    server.stop()


def test_on_stop_that_exits(identity: Identity) -> None:
    """A listener of on_stop that raises SystemExit does not keep the server from having stopped."""
    server = Server("127.0.0.1", 0, keys=identity)
    server.on_stop(raising(SystemExit))
    server.start()
    assert server.stop(WAIT)
    assert not server.running


# --- back and forth --------------------------------------------------------------------------------------------


def test_three_levels_of_requests_are_refused_at_once(identity: Identity) -> None:
    """A asks B, whose handler asks A back, whose handler asks B: that one is told, and nobody waits for a timeout."""
    words: list[str] = []
    with serving(identity) as server, joined(server) as [client]:
        server.on("outer", lambda session, packet: session.request("back", timeout=2 * AT_ONCE))
        server.on("leaf", lambda session, packet: 1)

        @client.on("back")
        def back(packet: Any) -> Any:
            try:
                return client.request("leaf", timeout=2 * AT_ONCE)
            except ConfigError as error:
                words.append(str(error))
                return "alone"

        start = time.monotonic()
        assert client.request("outer", timeout=2 * AT_ONCE) == "alone"
        assert time.monotonic() - start < AT_ONCE
        assert "waits for this handler's answer" in words[0]
        assert "send()" in words[0]
        # Asked by a thread of its own, the server handles what the client's handler asks.
        assert session_of(server, client).request("back", timeout=2 * AT_ONCE) == 1


def test_the_busiest_address_gives_way() -> None:
    """A stranger with many sessions that never answer ends his own waits, not the older one of somebody else."""
    places = WaitPlaces(3)
    mine = Wait(lambda: None, "192.0.2.1")
    assert places.enter(mine) is None
    theirs = [Wait(lambda: None, "192.0.2.9") for _ in range(5)]
    assert [places.enter(wait) for wait in theirs] == [None, None, *theirs[:3]]
    assert len(places) == 3
