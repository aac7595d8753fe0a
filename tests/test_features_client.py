"""Features of the predecessors under our own names: being a client."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from helpers import SOON, WAIT, sock_of, until
from ports import free_port
from together import Crew, joined, link_of, serving, take

from securelink import (
    Client,
    ConfigError,
    ConnectFailed,
    ConnectionClosed,
    Identity,
    LinkTimeout,
    Passwords,
    Refused,
    Server,
    Session,
)
from securelink.streams.base import BREAK
from securelink.threads import client_channel as channel_module
from securelink.threads.reading import Reader, Reports

pytestmark = pytest.mark.usefixtures("tidy")


# --- being a client ------------------------------------------------------------------------------------------


def test_connecting(identity: Identity) -> None:
    """connect() gives the client, or raises what says why not; `connected` is the state."""
    client = Client("127.0.0.1", free_port(), pin=identity.fingerprint)
    assert not client.connected
    with pytest.raises(ConnectFailed, match="nothing listens there"):
        client.connect()
    with pytest.raises(ConfigError, match="not connected"):
        client.send("early")
    with serving(identity) as server:
        client = Client("127.0.0.1", server.address[1], pin=identity.fingerprint)
        assert client.connect() is client
        assert client.connected
        with pytest.raises(ConfigError, match="is connected"):
            client.connect()
        client.close()


def test_trying_until_the_server_is_up(identity: Identity) -> None:
    """connect(retry=True) waits for the server, in growing pauses, until its time is over."""
    port = free_port()
    client = Client("127.0.0.1", port, pin=identity.fingerprint)
    with pytest.raises(ConnectFailed):
        client.connect(0.2, retry=True)
    with Crew() as crew:
        crew.start(lambda: client.connect(WAIT, retry=True))
        time.sleep(0.1)
        with Server("127.0.0.1", port, keys=identity):
            crew.join()
            client.close()


def test_disconnecting_and_connecting_again(identity: Identity) -> None:
    """close() gives what was not confirmed, normally nothing; then the same client may connect again."""
    with serving(identity) as server:
        client = Client("127.0.0.1", server.address[1], pin=identity.fingerprint)
        tokens = set()
        for number in range(3):
            client.connect()
            tokens.add(client.token)
            client.send("echo", number)
            assert take(client) == [number]
            assert client.close() == []
            assert client.close() == []
        assert len(tokens) == 3
        until(lambda: not server.sessions)


def test_background_receiving_is_switched_by_handlers(identity: Identity) -> None:
    """A name with a handler comes by itself; without one, packets wait for receive()."""
    with serving(identity) as server, joined(server) as (client,):
        heard: list[object] = []
        client.on("echo", lambda packet: heard.append(packet.data))
        client.send("echo", 1)
        until(lambda: heard == [1])
        assert client.off("echo")
        assert not client.off("echo")
        client.send("echo", 2)
        assert take(client) == [2]
        assert heard == [1]


def test_three_ways_to_read(identity: Identity) -> None:
    """poll() never waits, receive() waits so long, iteration until the end."""
    with serving(identity) as server, joined(server) as (client,):
        began = time.monotonic()
        looks = [client.poll() for _ in range(500)]
        assert time.monotonic() - began < SOON
        assert looks == [[]] * 500
        began = time.monotonic()
        assert client.receive(0.05) is None
        assert 0.04 < time.monotonic() - began < SOON
        for number in range(3):
            client.send("echo", number)
        found: list[object] = []
        deadline = time.monotonic() + WAIT
        while len(found) < 3 and time.monotonic() < deadline:
            found += [packet.data for packet in client.poll()]
        server.on("bye", lambda session, packet: (session.send("last", 4), session.kick()))
        client.send("echo", 3)
        client.send("bye")
        packets = iter(client)
        assert (found, next(packets).data, next(packets).data) == ([0, 1, 2], 3, 4)
        with pytest.raises(ConnectionClosed):
            next(packets)


def test_waiting_for_an_event(identity: Identity) -> None:
    """For a packet of one name, or for any event, with a limit of time."""
    with serving(identity) as server, Crew() as crew:
        seen: list[tuple[object, ...]] = []
        crew.start(lambda: seen.append(server.on_connect.wait(WAIT)))
        until(lambda: server.on_connect.listeners)
        with joined(server) as (client,):
            until(lambda: seen)
            assert seen == [tuple(server.sessions.values())]
            client.send("echo", "early")
            (session,) = server.sessions.values()
            session.send("wanted", "this")
            assert client.wait_for("wanted", WAIT).data == "this"
            assert take(client) == ["early"]
            with pytest.raises(LinkTimeout):
                client.wait_for("wanted", 0.02)
            with pytest.raises(LinkTimeout):
                server.on_connect.wait(0.02)


def test_the_clients_events(identity: Identity) -> None:
    """Connected, received, disconnected: in this order, each once, whoever ends the session."""
    with serving(identity) as server:
        client = Client("127.0.0.1", server.address[1], pin=identity.fingerprint)
        told: list[str] = []
        client.on_connect(lambda: told.append("connected"))
        client.on_message(lambda packet: told.append(packet.data))
        client.on_disconnect(lambda: told.append("disconnected"))
        client.connect()
        client.send("echo", "received")
        until(lambda: len(told) == 2)
        for session in server.sessions.values():
            session.kick("enough")
        until(lambda: len(told) == 3)
        time.sleep(0.02)
        client.close()
        assert told == ["connected", "received", "disconnected"]


@pytest.mark.usefixtures("not_kept")
def test_the_end_is_noticed_once_and_at_once(identity: Identity) -> None:
    """A clean close and a broken connection, on both sides, with words that differ."""
    with serving(identity) as server:
        gone: list[Session] = []
        server.on_disconnect(gone.append)
        for clean in (True, False):
            with joined(server) as (client,):
                until(lambda: server.sessions)
                if clean:
                    client.close()
                else:
                    link_of(client).stream.shutdown(BREAK)
                began = time.monotonic()
                until(lambda: gone)
                assert time.monotonic() - began < SOON
                until(lambda: not client.connected)
            time.sleep(0.02)
            assert len(gone) == 1
            assert gone.pop().connected is False
        assert not server.sessions


def test_addresses_of_both_families(identity: Identity) -> None:
    """IPv4, IPv6 and names; a server on "" has all of them, and shows an IPv4 client as IPv4."""
    with Server("", 0, keys=identity) as server:
        for host, shown in (("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("localhost", None)):
            with Client(host, server.address[1], pin=identity.fingerprint) as client:
                (session,) = server.sessions.values()
                assert shown in (None, session.address[0])
                assert session.address[1] != server.address[1]
                assert session.dialled == client.host == host
            until(lambda: not server.sessions)
    with (
        Server("::1", 0, keys=identity) as server,
        Client("::1", server.address[1], pin=identity.fingerprint),
    ):
        assert len(server.sessions) == 1


def test_small_packets_do_not_wait(identity: Identity) -> None:
    """TCP_NODELAY is set on both ends, so no packet waits for the 40 ms of a delayed acknowledgement."""
    with serving(identity) as server, joined(server) as (client,):
        (session,) = server.sessions.values()
        for link in (link_of(client), link_of(session)):
            assert link is not None
            assert sock_of(link).getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_user_name_and_password(identity: Identity) -> None:
    """A ready-made hook checks them; the right ones give the session its user, wrong ones no session."""
    passwords = Passwords(cost=2**5)
    passwords.add("ada", "correct horse")
    with serving(identity, authenticate=passwords) as server:
        login = {"user": "ada", "password": "correct horse"}
        with joined(server, credentials=login):
            assert [session.user for session in server.sessions.values()] == ["ada"]
        with pytest.raises(Refused):
            Client(
                "127.0.0.1",
                server.address[1],
                pin=identity.fingerprint,
                credentials={**login, "password": "wrong horse"},
            ).connect()


@pytest.mark.pure  # it replaces a method of the connection
def test_who_waits_is_woken_by_the_background(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that the background thread reads wakes the thread that waits for it."""
    monkeypatch.setattr(channel_module, "PATIENCE_SECONDS", WAIT)  # nobody looks up by itself
    read, reading = Reader.read, threading.Event()

    def slow_read(reader: Reader, told: Reports) -> None:
        if told is link and threading.current_thread() is not threading.main_thread():
            reading.set()
            time.sleep(0.1)
        read(reader, told)

    with serving(identity) as server, joined(server) as (client,), Crew() as crew:
        link = link_of(client)
        until(lambda: link.background)
        monkeypatch.setattr(Reader, "read", slow_read)
        crew.start(next(iter(server.sessions.values())).ping)
        assert reading.wait(WAIT)
        assert client.ping(WAIT) < WAIT / 2
