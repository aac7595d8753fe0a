"""A client written from docs/PROTOCOL.md alone (`page_client.py`) resumes sessions of a server of the library."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import page_client
import pytest
from helpers import until
from page_client import AlertError, PageClient, Session

from securelink import Code, Identity, Server

both_modes = pytest.mark.parametrize("encrypted", [True, False], ids=["encrypted", "plaintext"])


@contextmanager
def serving(identity: Identity, encrypted: bool, heard: list[Any]) -> Iterator[Server]:
    """A server that keeps sessions, and writes down what it hears."""
    options: dict[str, Any] = {"keys": identity} if encrypted else {"encryption": "off"}
    server = Server("127.0.0.1", 0, resume=60, **options)
    server.on("say", lambda session, packet: heard.append(packet.data))
    with server:
        yield server


def connect(server: Server, encrypted: bool, session: Any = None, **options: Any) -> PageClient:
    """Begin a session, or go on with one."""
    return PageClient(server.address[1], session, encrypted=encrypted, **options)


def push(server: Server, *numbers: int) -> None:
    """The server sends packets in its one session, each in a record of its own."""
    (session,) = server.sessions.values()
    for number in numbers:
        session.send("push", number)


@both_modes
def test_a_session_goes_on(identity: Identity, encrypted: bool) -> None:
    """Over three connections: nothing is lost, nothing comes twice, and each side sends again what the other lacks."""
    heard: list[Any] = []
    with serving(identity, encrypted, heard) as server:
        client = connect(server, encrypted)
        token = client.session.token
        client.send(["say", 0])
        until(lambda: heard == [0])
        push(server, 0, 1)
        client.read_until(2)
        client.send(["say", 1])
        client.send(["say", 2], lost=True)
        client.send(["say", 3], ["say", 4], lost=True)
        session = client.cut()
        until(lambda: heard == [0, 1])
        push(server, 2)

        client = connect(server, encrypted, session)
        assert (client.resumed, client.session.token) == (True, token)
        push(server, 3)
        assert [packet[1] for packet in client.read_until(4)] == [0, 1, 2, 3]
        until(lambda: heard == [0, 1, 2, 3, 4])
        client.acknowledge()
        client.send(["say", 5], lost=True)
        session = client.cut()

        client = connect(server, encrypted, session)
        client.send(["say", 6])
        assert client.resumed
        assert client.close() == 0  # all that was sent was handled
        assert heard == [0, 1, 2, 3, 4, 5, 6]
        until(lambda: not server.sessions)


@both_modes
def test_a_break_while_it_resumes(identity: Identity, encrypted: bool) -> None:
    """A ticket stays good until the server knows that the next has arrived: here WELCOME is never read."""
    heard: list[Any] = []
    with serving(identity, encrypted, heard) as server:
        client = connect(server, encrypted)
        client.send(["say", 0], lost=True)
        session = client.cut()
        ticket, psk = session.ticket, session.psk
        again = connect(server, encrypted, session)
        assert again.resumed
        until(
            lambda: heard == [0]
        )  # its records came, so the server knows that the next ticket has
        session = again.cut()
        session.ticket, ticket, session.psk, psk = ticket, session.ticket, psk, session.psk
        stale = connect(server, encrypted, session)
        assert not stale.resumed  # a full handshake, to a new session
        assert stale.session.token != session.token
        stale.cut()
        session.ticket, session.psk = ticket, psk
        client = connect(server, encrypted, session)
        assert client.resumed
        client.cut()
        assert heard == [0]


def test_a_wrong_binder(identity: Identity) -> None:
    """It ends the attempt with ALERT PROTOCOL, and the session stays for its owner."""
    heard: list[Any] = []
    with serving(identity, True, heard) as server:
        client = connect(server, True)
        session = client.cut()
        with pytest.raises(AlertError) as alert:
            connect(server, True, session, spoilt=True)
        assert alert.value.args == (Code.PROTOCOL,)
        client = connect(server, True, session)
        assert client.resumed
        client.cut()


@both_modes
def test_an_acknowledgement_says_what_was_handled(identity: Identity, encrypted: bool) -> None:
    """What the client does not acknowledge is what the server lists when the session ends."""
    heard: list[Any] = []
    left: list[Any] = []
    with serving(identity, encrypted, heard) as server:
        server.on_disconnect(lambda session: left.append([p.data for p in session.unconfirmed]))
        client = connect(server, encrypted)
        until(lambda: server.sessions)
        push(server, 0)
        client.read_until(1)
        client.acknowledge()
        push(server, 1)
        client.read_until(2)
        session = client.cut()
        client = connect(server, encrypted, session)
        assert client.resumed
        client.close()
        until(lambda: left)
    assert left == [[1]]


@both_modes
def test_another_process_goes_on(identity: Identity, encrypted: bool) -> None:
    """Section 17, "A client without memory": counts begin where WELCOME says, what was not acknowledged comes again."""
    heard: list[Any] = []
    with serving(identity, encrypted, heard) as server:
        client = connect(server, encrypted)
        push(server, 0)
        client.read_until(1)
        client.acknowledge()
        client.send(["say", 0])
        until(lambda: heard == [0])
        push(server, 1)
        client.read_until(2)
        client.send(["say", 1], lost=True)
        died = client.cut()
        push(server, 2)
        session = Session(encrypted, died.token, died.ticket, died.psk, forgotten=True)
        client = connect(server, encrypted, session)
        assert client.resumed
        assert [packet[1] for packet in client.read_until(2)] == [1, 2]
        client.acknowledge()
        client.send(["say", 2])
        until(lambda: heard == [0, 2])
        client.send(["say", 3], lost=True)
        session = client.cut()
        client = connect(server, encrypted, session)  # which now has a memory
        assert client.resumed
        until(lambda: heard == [0, 2, 3])
        push(server, 3)
        assert [packet[1] for packet in client.read_until(3)] == [1, 2, 3]
        client.acknowledge()
        assert client.close() == 0


def test_the_client_knows_nothing_of_the_package() -> None:
    """What it does is in the page."""
    source = Path(page_client.__file__ or "").read_text()
    assert not re.findall(r"^(?:from|import) securelink", source, re.MULTILINE)
