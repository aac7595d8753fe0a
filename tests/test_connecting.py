"""One attempt to connect after the other: for a new session, for one that goes on, and until it is called off."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest
from helpers import WAIT, failure
from resuming_server import Arrival as ServerEnd
from resuming_server import Server as Sessions

from securelink import Client, ConnectFailed, ConnectionClosed, Identity, LinkTimeout
from securelink.app.introduction import Introduction
from securelink.errors import Refused
from securelink.limits import MAX_PACKET
from securelink.protocol.bounds import Bounds
from securelink.streams.base import Stream
from securelink.streams.memory import MemoryNetwork
from securelink.threads.connecting import (
    Arrival,
    Connector,
    Destination,
    GoingOn,
    SessionGone,
)
from securelink.trust import KnownServers
from securelink.trust.home import user_known_servers
from securelink.trust.policy import Belief
from securelink.wire.fields import Mode
from securelink.wire.packets import Packet, encode_packet

HOST, PORT = "127.0.0.1", 5050


def connector_to(identity: Identity, dialled: str = HOST) -> Connector:
    """A connector that believes this server."""
    introduction = Introduction(
        mode=Mode.REQUIRED,
        identity=None,
        credentials=None,
        application="game",
        version="1",
        max_packet=MAX_PACKET,
        bounds=Bounds(),
        forget_soon=False,
    )
    known = KnownServers(user_known_servers())
    return Connector(introduction, Belief(dialled, PORT, identity.fingerprint, None, known))


class Stage:
    """A server on cores alone, whose sessions may be resumed, on a network in memory."""

    def __init__(self, identity: Identity) -> None:
        self.network = MemoryNetwork()
        self.sessions = Sessions(identity)
        self.ends: list[ServerEnd] = []
        self.breaks = False
        [self._place] = self.network.listen("", PORT, 8)
        self._over = False
        self._thread = threading.Thread(target=self._run)

    @property
    def destination(self) -> Destination:
        """Where it is."""
        return Destination(self.network, HOST, PORT)

    def _run(self) -> None:
        while not self._over:
            if self._place.wait(0.05):
                self._serve(self._place.accept())

    def _serve(self, stream: Stream) -> None:
        """One connection, until it ends; or until the client has said who it is, if connections break."""
        end = self.sessions.accept()
        self.ends.append(end)
        while not self._over and stream.wait(read=True, write=False, timeout=WAIT):
            data = stream.recv(1 << 16, 0)
            end.receive(data, 0.0)
            if not data or (self.breaks and end.verified is not None):
                break
            with contextlib.suppress(OSError):  # the client has what it wanted to know
                stream.send(end.data_to_send(), 0)
        stream.close()

    def __enter__(self) -> Stage:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._thread.join(WAIT)
        self._place.close()


def lose(arrival: Arrival) -> None:
    """The connection of an arrival breaks."""
    arrival.core.detach()
    arrival.drop()


def test_an_attempt_may_resume_a_session(identity: Identity) -> None:
    """It goes on though attempts between have failed: in each of them nothing was spent; else a new one begins."""
    with Stage(identity) as stage:
        connector = connector_to(identity)
        first = connector.attempt(stage.destination, connector.deadline(WAIT))
        assert not first.opened.resumed
        resumption = first.opened.resumption
        assert resumption is not None
        core = first.core
        core.sending.put(encode_packet(Packet("later")))
        lose(first)

        stage.breaks = True
        for _ in range(3):
            with pytest.raises(Exception, match="closed the connection during the handshake"):
                connector.attempt(
                    stage.destination, connector.deadline(WAIT), GoingOn(core, resumption)
                )
            assert core.connection is None
        stage.breaks = False

        again = connector.attempt(
            stage.destination, connector.deadline(WAIT), GoingOn(core, resumption)
        )
        assert again.opened.resumed
        assert again.core is core
        assert core.connection is again.link.connection
        assert again.opened.welcome.token == first.opened.welcome.token
        assert [packet.action for packet in core.unconfirmed()] == ["later"]
        lose(again)

        [held] = stage.sessions.sessions.values()
        held.user = "somebody else"
        assert again.opened.resumption is not None
        fresh = connector.attempt(
            stage.destination, connector.deadline(WAIT), GoingOn(core, again.opened.resumption)
        )
        assert not fresh.opened.resumed
        assert fresh.core is not core
        assert core.connection is None
        assert fresh.core.connection is fresh.link.connection
        assert [packet.action for packet in core.unconfirmed()] == ["later"]
        lose(fresh)


def test_a_server_that_has_lost_the_session_is_not_told_who_comes(identity: Identity) -> None:
    """It says so with its key proved: then nobody is introduced, and no new session begins there."""
    with Stage(identity) as stage:
        connector = connector_to(identity)
        first = connector.attempt(stage.destination, connector.deadline(WAIT))
        assert first.opened.resumption is not None
        lose(first)
        [held] = stage.sessions.sessions.values()
        stage.sessions.end(held)
        asked = GoingOn(first.core, first.opened.resumption)
        with pytest.raises(SessionGone):
            connector.attempt(stage.destination, connector.deadline(WAIT), asked)
        assert first.core.connection is None
        assert not stage.sessions.sessions
        assert len(stage.sessions.asked) == 1


def test_a_refusal_leaves_the_session_as_it_was(identity: Identity) -> None:
    """The server says no: the session that was to go on is carried by nothing, and can be tried again."""
    with Stage(identity) as stage:
        connector = connector_to(identity)
        first = connector.attempt(stage.destination, connector.deadline(WAIT))
        resumption, core = first.opened.resumption, first.core
        assert resumption is not None
        lose(first)
        stage.sessions.banned.add(HOST)
        with pytest.raises(Refused):
            connector.attempt(
                stage.destination, connector.deadline(WAIT), GoingOn(core, resumption)
            )
        assert core.connection is None
        stage.sessions.banned.clear()
        again = connector.attempt(
            stage.destination, connector.deadline(WAIT), GoingOn(core, resumption)
        )
        assert again.opened.resumed
        lose(again)


@pytest.mark.parametrize("retry", [False, True])
def test_close_calls_an_attempt_off(retry: bool) -> None:
    """Whoever waits in connect() for a server that says nothing does not wait to the end of his time."""
    with socket.create_server((HOST, 0)) as place:
        place.settimeout(WAIT)
        client = Client(HOST, place.getsockname()[1])
        found = list[BaseException]()

        def connect() -> None:
            try:
                client.connect(10 * WAIT, retry=retry)
            except ConnectionClosed as error:
                found.append(error)

        thread = threading.Thread(target=connect)
        thread.start()
        with place.accept()[0] as sock:
            assert sock.recv(1)  # it has said hello, and waits
            client.close()
            thread.join(WAIT)
        assert not thread.is_alive()
        [error] = found
        assert str(error).startswith("close() was called")
        failure(LinkTimeout, lambda: client.connect(0.3), "within 0.3 s")  # it may be tried again


def test_attempts_end_with_the_deadline(identity: Identity) -> None:
    """What is not there in time is the error of the last attempt, and nothing is left of any."""
    network = MemoryNetwork()
    connector = connector_to(identity)
    began = time.monotonic()
    with pytest.raises(ConnectFailed, match="no server listens"):
        connector.persist(Destination(network, HOST, PORT), connector.deadline(0.5))
    assert time.monotonic() - began < WAIT
    assert connector.server_fingerprint is None
