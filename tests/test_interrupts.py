"""Ctrl-C may come between any two steps of a client: it never looks like an attack, and nothing hangs after it."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import Any

import pytest
from helpers import WAIT, until
from programs import Program
from together import joined, link_of, serving

from securelink import ConnectionClosed, Identity, RecordError
from securelink.protocol.sender import Sender

pytestmark = pytest.mark.usefixtures("tidy")

INTERRUPTED = """
import random, signal, time
from securelink import Client, Identity, Server

def interrupt(*_):
    raise KeyboardInterrupt

server = Server("127.0.0.1", 0, keys=Identity.load("server_private.pem"))
server.on("echo", lambda session, packet: packet.data)
server.start()
signal.signal(signal.SIGALRM, interrupt)
for attempt in range(60):
    client = Client("127.0.0.1", server.address[1], pin=server.fingerprint).connect()
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0005, 0.004))
        while True:
            client.request("echo", attempt)
    except KeyboardInterrupt:
        client.close()
server.stop()
print("closed")
"""


def test_interrupts_anywhere(tmp_path: Path, identity: Identity) -> None:
    """Whatever step a signal interrupts: the program goes on, and nothing is reported as tampering."""
    identity.save(tmp_path, "server")
    program = tmp_path / "program.py"
    program.write_text(INTERRUPTED)
    with Program(program, folder=tmp_path) as running:
        assert running.ends() == 0, running.output
        assert "authentication" not in running.output
        assert running.output.splitlines()[-1] == "closed"


class InterruptedSender:
    """A sender that seals, and then Ctrl-C comes."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sender, name)

    def packet(self, encoded: bytes) -> bytes:
        self._sender.packet(encoded)
        raise KeyboardInterrupt

    def packets(self, encoded: list[bytes]) -> bytes:
        self._sender.packets(encoded)
        raise KeyboardInterrupt


@pytest.mark.pure
@pytest.mark.parametrize("latest", [None, "key"])
def test_interrupted_while_sealing(
    identity: Identity, caplog: pytest.LogCaptureFixture, latest: str | None
) -> None:
    """A record that was sealed and not sent leaves a hole: the connection ends there, and the server sees a break."""
    ends: list[object] = []
    with serving(identity) as server, joined(server) as [client]:
        server.on_disconnect(ends.append)
        engine = link_of(client).engine
        assert engine.sender is not None
        engine.sender = InterruptedSender(engine.sender)  # type: ignore[assignment]
        with caplog.at_level(logging.WARNING, "securelink"):
            with pytest.raises(KeyboardInterrupt):
                client.send("a", latest=latest)
            until(lambda: ends)
            with pytest.raises(ConnectionClosed):
                client.receive(WAIT)
        client.close()
    assert [line for line in caplog.messages if "failed authentication" in line] == []


@pytest.mark.pure
@pytest.mark.parametrize("encryption", ["required", "off"])
def test_interrupted_while_reading(
    identity: Identity, caplog: pytest.LogCaptureFixture, encryption: str
) -> None:
    """What a read had taken is lost: the session ends, and the client does not accuse anybody."""
    switch = {"encryption": encryption}
    with serving(identity, **switch) as server, joined(server, 1, **switch) as [client]:
        link = link_of(client)

        class Interrupted:
            def recv(self, size: int, flags: int = 0) -> bytes:
                sock.recv(size)
                raise KeyboardInterrupt

            def __getattr__(self, name: str) -> Any:
                return getattr(sock, name)

        sock = link.sock
        link.sock = Interrupted()  # type: ignore[assignment]
        session = server.sessions[client.token]
        session.send("one")
        with pytest.raises(KeyboardInterrupt):
            client.receive(WAIT)
        link.sock = sock
        # In plaintext the connection ends at once, and the server may know it already.
        with contextlib.suppress(ConnectionClosed):
            session.send("two")
        with caplog.at_level(logging.WARNING, "securelink"):
            with pytest.raises(ConnectionClosed, match="broke"):
                client.receive(WAIT)
            client.close()
    assert [line for line in caplog.messages if "failed authentication" in line] == []


@pytest.mark.pure
def test_a_send_lock_left_behind(identity: Identity) -> None:
    """Ctrl-C just after a lock was taken leaves it locked; closing goes on without it."""
    with serving(identity) as server:
        with joined(server) as [client]:
            link = link_of(client)
            link._send_lock.acquire()
            client.send("never")
            assert [packet.action for packet in client.close(WAIT)] == ["never"]
        until(lambda: link.sock.fileno() < 0)


@pytest.mark.pure
def test_a_drive_lock_left_behind(identity: Identity) -> None:
    """The same for the right to read: the socket is closed all the same, a sweep later."""
    with serving(identity) as server, joined(server) as [client]:
        link = link_of(client)
        client._channel._drive_lock.acquire()  # type: ignore[union-attr]
        client.close(0.1)
        until(lambda: link.sock.fileno() < 0, 3 * WAIT)


@pytest.mark.pure
def test_tampering_after_an_interrupt(identity: Identity, caplog: pytest.LogCaptureFixture) -> None:
    """A Ctrl-C that lost nothing is no excuse for what is changed on the way later."""
    with serving(identity) as server, joined(server) as [client]:
        link = link_of(client)
        link._interrupted = True
        session = server.sessions[client.token]
        session.send("one")
        packet = client.receive(WAIT)
        assert packet is not None
        assert packet.action == "one"
        assert session._link is not None
        session._link.write_raw(b"\x03\x00\x00\x20" + bytes(32))
        with pytest.raises(RecordError):
            client.receive(WAIT)
    assert "failed authentication" in caplog.text
