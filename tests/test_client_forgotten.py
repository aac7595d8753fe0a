"""A client that nobody holds any more: it says so and leaves, unless it has work to do; a closed one just goes."""

from __future__ import annotations

import contextlib
import gc
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import WAIT, until
from inside import clients_loop
from together import channel_of, confirmed, link_of, serving, session_of, take

from securelink import Client, Code, ConnectionClosed, Identity, Received, Server, Session

pytestmark = pytest.mark.usefixtures("tidy", "not_kept")


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """What goes here goes because nothing refers to it, not because somebody looked for cycles."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextlib.contextmanager
def warned(count: int = 1) -> Iterator[None]:
    """So many ResourceWarnings come out of the block."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        yield
    assert [warning.category for warning in seen] == [ResourceWarning] * count
    assert all("was forgotten while it was connected" in str(warning.message) for warning in seen)


def connected(server: Server, identity: Identity) -> Client:
    """A connected client."""
    return Client(*server.address, pin=identity.fingerprint).connect()


def nothing(client: Client) -> None:
    """It was only connected."""


def sent(client: Client) -> None:
    """It has sent and received."""
    client.send("echo", 1)
    assert take(client) == [1]


def unread(client: Client) -> None:
    """Packets wait for it: unhandled in the inbox and kept for receive()."""
    for _ in range(2):
        client.send("echo", 1)
    client.wait_for("echo", WAIT)
    client.send("echo", 2)
    until(lambda: channel_of(client).core.receiving.items or channel_of(client).mailbox.packets)


def unbound(client: Client) -> None:
    """It had a handler and listeners, and has none any more."""
    client.on("x", print)
    client.on_message(print)
    client.on_state(print)
    client.on_disconnect(print)
    assert client.off("x")
    for hook in (client.on_message, client.on_state, client.on_disconnect):
        assert hook.remove_listener(print)


USES: list[Callable[[Client], None]] = [nothing, sent, unread, unbound]


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
def test_a_forgotten_client_leaves_and_says_so(
    use: Callable[[Client], None], identity: Identity
) -> None:
    """A ResourceWarning names it, and its session ends cleanly, at once: no cycle keeps it."""
    gone: list[Session] = []
    with serving(identity) as server, without_collector():
        server.on_disconnect(gone.append)
        with warned():
            client = connected(server, identity)
            use(client)
            del client
        until(lambda: gone)
        assert (gone[0].code, gone[0].clean) == (Code.NORMAL, True)
        assert not server.sessions


def test_many_forgotten_clients(identity: Identity) -> None:
    """Each leaves by itself; the process's background ends with the last."""
    with serving(identity) as server, without_collector():
        with warned(10):
            for _ in range(10):
                connected(server, identity).send("quiet", 1)
        until(lambda: not server.sessions)
        until(lambda: clients_loop() is None)


def on_packet(client: Client, seen: list[Any]) -> None:
    """A handler."""
    client.on("note", lambda packet: seen.append(packet.session))


def on_message(client: Client, seen: list[Any]) -> None:
    """A listener for all packets."""
    client.on_message(lambda packet: seen.append(packet.session))


def on_disconnect(client: Client, seen: list[Any]) -> None:
    """Somebody who wants to know the end."""
    client.on_disconnect(lambda: seen.append(1))


@pytest.mark.parametrize("bind", [on_packet, on_message, on_disconnect], ids=lambda b: b.__name__)
@pytest.mark.parametrize("late", [False, True])
def test_a_client_with_work_to_do_goes_on(
    bind: Callable[[Client, list[Any]], None], late: bool, identity: Identity
) -> None:
    """Handlers and listeners are called in the background although the program keeps no reference; then it goes."""
    seen: list[Any] = []
    with serving(identity) as server, without_collector():
        client = Client(*server.address, pin=identity.fingerprint)
        if late:
            client.connect()
        bind(client, seen)
        if not late:
            client.connect()
        weak, session = weakref.ref(client), session_of(server, client)
        del client
        session.send("note")
        if bind is not on_disconnect:
            until(lambda: seen)
            assert seen.pop() is weak()
        assert session.connected
        session.kick()
        until(lambda: bind is not on_disconnect or seen)
        until(lambda: weak() is None)


def test_a_thread_that_waits_holds_its_client(identity: Identity) -> None:
    """Who is inside receive() or iterates has not forgotten it."""
    with serving(identity) as server, without_collector():
        got: list[Any] = []

        def wait(client: Client) -> None:
            for packet in client:
                got.append(packet.data)

        client = connected(server, identity)
        session = session_of(server, client)
        thread = threading.Thread(target=wait, args=(client,))
        thread.start()
        del client
        session.send("x", 1)
        until(lambda: got == [1])
        channel_of(session).end(Code.NORMAL)
        thread.join(WAIT)
        assert not thread.is_alive()


def end_it(end: str, server: Server, client: Client) -> None:
    """End the session of a client in one of three ways, and wait until its connection is gone."""
    confirmed(client)
    if end == "close":
        client.close()
    elif end == "kick":
        session_of(server, client).kick()
    else:
        link_of(client).loop.call(link_of(client).lost)
    until(lambda: client.code is not None)
    until(lambda: channel_of(client).carrier is None)
    assert client.close() == []


@pytest.mark.parametrize("end", ["close", "kick", "break", "never connected"])
def test_a_closed_client_is_no_cycle(end: str, identity: Identity) -> None:
    """After its end a client, its session and its connection go with the last reference, without the collector."""
    with serving(identity) as server, without_collector():
        client = Client(*server.address, pin=identity.fingerprint)
        weak: list[Callable[[], object]] = [weakref.ref(client)]
        client.on("x", lambda packet: None)
        client.on_connect(lambda: None)
        if end != "never connected":
            client.connect()
            sent(client)
            end_it(end, server, client)
        del client
        until(lambda: weak[0]() is None)
        gc.collect()


def ask_in_vain(session: Session) -> None:
    """A request whose session ends before the answer."""
    with pytest.raises(ConnectionClosed):
        session.request("ask", timeout=WAIT)


def test_an_answer_belongs_to_the_session_that_asked(identity: Identity) -> None:
    """A request that is answered after the client has connected again is not taken for one of the new session."""
    with serving(identity) as server:
        client = Client(*server.address, pin=identity.fingerprint)
        asked: list[Received] = []
        deferred: list[Any] = []

        @client.on("ask")
        def ask(packet: Received) -> None:
            asked.append(packet)
            deferred.append(packet.defer())

        client.connect()
        first = client.token
        old = session_of(server, client)
        later = threading.Thread(target=ask_in_vain, args=(old,))
        later.start()
        until(lambda: deferred)
        old.kick()
        later.join(WAIT)
        until(lambda: not client.connected)
        client.connect()
        session = session_of(server, client)
        answers: list[Any] = []
        asking = threading.Thread(
            target=lambda: answers.append(session.request("ask", timeout=WAIT))
        )
        asking.start()
        until(lambda: len(deferred) == 2)
        deferred[0].reply("for the old one")
        deferred[1].reply("for the new one")
        asking.join(WAIT)
        assert answers == ["for the new one"]
        assert (asked[0].token, asked[1].token) == (first, client.token)
        assert asked[0].session is asked[1].session is client
        client.close()


def test_no_thread_stays_after_the_last_close(identity: Identity) -> None:
    """When close() of the last client returns, the threads of all clients have ended."""
    with serving(identity) as server:
        for _ in range(3):
            client = connected(server, identity)
            other = connected(server, identity)
            client.close()
            assert other.ping(WAIT) < WAIT
            loop = link_of(other).loop
            other.close()
            until(lambda loop=loop: not loop.thread_names())  # type: ignore[misc]
