"""Ctrl-C may come between any two steps of a client: it never looks like an attack, and nothing hangs after it."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from engines import Pair
from helpers import WAIT, open_descriptors, until
from inside import cared_for, left_behind, loop_of
from programs import Program
from storm import interrupted, points
from together import Crew, channel_of, joined, link_of, serving

from securelink import (
    Client,
    Collector,
    ConnectionClosed,
    EventHook,
    Identity,
    LinkTimeout,
    RecordError,
    SecureLinkError,
    Server,
)
from securelink.interrupts import Right, Sign
from securelink.limits import RECORD_TARGET
from securelink.protocol import SessionCore
from securelink.protocol.bounds import Bounds
from securelink.protocol.send_queue import SendQueue
from securelink.protocol.sender import Sender
from securelink.threads import caretaker as caretaker_module
from securelink.threads.waker import Waker
from securelink.wire.fields import Mode
from securelink.wire.packets import Packet, encode_packet

pytestmark = pytest.mark.usefixtures("tidy", "not_kept")

INTERRUPTED = """
import random, signal, time
from securelink import Client, Identity, Server

def interrupt(*_):
    global interrupted
    interrupted = True
    raise KeyboardInterrupt

server = Server("127.0.0.1", 0, keys=Identity.load("server_private.pem"))
server.on("echo", lambda session, packet: packet.data)
server.start()
signal.signal(signal.SIGALRM, interrupt)
for attempt in range(60):
    client = Client("127.0.0.1", server.address[1], pin=server.fingerprint).connect()
    interrupted = False
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0005, 0.004))
        while not interrupted:  # what is raised in a finalizer Python only prints
            client.request("echo", attempt)
    except KeyboardInterrupt:
        pass
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

    def queued(self, queue: SendQueue) -> bytes:
        self._sender.queued(queue)
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
        engine = link_of(client).connection
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
    identity: Identity,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    encryption: str,
) -> None:
    """What a read had taken is lost: the session ends, and the client does not accuse anybody."""
    monkeypatch.setattr(caretaker_module, "TICK_SECONDS", WAIT)  # nobody else reads
    switch = {"encryption": encryption}
    with serving(identity, **switch) as server, joined(server, 1, **switch) as [client]:
        link = link_of(client)

        class Interrupted:
            def recv(self, size: int, flags: int = 0) -> bytes:
                stream.recv(size, 0)
                raise KeyboardInterrupt

            def __getattr__(self, name: str) -> Any:
                return getattr(stream, name)

        stream = link.stream
        link.reader.stream = Interrupted()
        session = server.sessions[client.token]
        session.send("one")
        with pytest.raises(KeyboardInterrupt):
            client.receive(WAIT)
        link.reader.stream = stream
        # In plaintext the connection ends at once, and the server may know it already.
        with contextlib.suppress(ConnectionClosed):
            session.send("two")
        with caplog.at_level(logging.WARNING, "securelink"):
            with pytest.raises(ConnectionClosed, match="broke"):
                client.receive(WAIT)
            client.close()
    assert [line for line in caplog.messages if "failed authentication" in line] == []


@pytest.mark.pure
def test_closing_in_the_middle_of_a_write(identity: Identity) -> None:
    """
    A signal's handler may close while the code below it has the send right: it goes on without, after a second. The
    socket stays until that code is through, which may be about to call send() with its number.
    """
    with serving(identity) as server:
        with joined(server) as [client]:
            link, right = link_of(client), link_of(client).writer._send_right  # noqa: SLF001
            del right.free  # as the interrupted write does
            client.send("never")
            assert [packet.action for packet in client.close(WAIT)] == ["never"]
        until(lambda: not server.sessions)
        until(lambda: right.left_open)
        assert link.stream.fileno() >= 0
        right.free = True
        link.writer.flush()  # what every writer does after it
        assert link.stream.fileno() < 0


@pytest.mark.pure
def test_closing_in_the_middle_of_a_read(identity: Identity) -> None:
    """The same for the right to read: the socket stays until the reader is through, for its number may be reused."""
    with serving(identity) as server, joined(server) as [client]:
        link, right = link_of(client), channel_of(client).drive_right
        del right.free
        client.close(0.1)
        assert not client.connected
        assert link.stream.fileno() >= 0
        right.free = True
        until(lambda: link.stream.fileno() < 0, 3 * WAIT)


@pytest.mark.pure
def test_tampering_after_an_interrupt(identity: Identity, caplog: pytest.LogCaptureFixture) -> None:
    """A Ctrl-C that lost nothing is no excuse for what is changed on the way later."""
    with serving(identity) as server, joined(server) as [client]:
        link = link_of(client)
        link.connection.interrupted()
        session = server.sessions[client.token]
        session.send("one")
        packet = client.receive(WAIT)
        assert packet is not None
        assert packet.action == "one"
        link_of(session).writer.queue_raw(b"\x03\x00\x00\x20" + bytes(32))
        link_of(session).writer.flush()
        with pytest.raises(RecordError):
            client.receive(WAIT)
    assert "failed authentication" in caplog.text


# --- at every point ----------------------------------------------------------------------------------------------

#: Each how-many-th point is tried. `SECURELINK_POINTS=1` is the long way.
STEP = int(os.environ.get("SECURELINK_POINTS", "3"))

CALLS: dict[str, Callable[[Client], object]] = {
    "send": lambda client: client.send("echo", 1),
    "batch": lambda client: _send_two(client),
    "set_state": lambda client: client.set_state(1),
    "request": lambda client: client.request("answer", 1, timeout=WAIT),
    "request_later": lambda client: client.request_later("answer", 1, timeout=WAIT).result(),
    "ping": lambda client: client.ping(WAIT),
    "receive": lambda client: client.receive(WAIT),
    "wait_for": lambda client: client.wait_for("pushed", WAIT),
    "poll": lambda client: client.poll(),
    "update": lambda client: client.update(),
    "close": lambda client: client.close(WAIT),
}


def _send_two(client: Client) -> None:
    with client.batch():
        client.send("a", 1)
        client.send("b", 2)


@pytest.mark.cost
@pytest.mark.parametrize("encryption", ["required", "off"])
@pytest.mark.parametrize("name", CALLS)
def test_interrupted_at_every_point(
    identity: Identity, name: str, encryption: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Wherever Ctrl-C interrupts a call, no right and no lock stays taken, nothing waits forever; close() is quick."""
    call = CALLS[name]
    options: dict[str, Any] = {"handlers": "update"} if name == "update" else {}
    with serving(identity, encryption=encryption) as server:
        server.on("answer", lambda session, packet: packet.data)
        server.on("push", lambda session, packet: session.send("pushed", packet.data))
        server.on("state", lambda session, packet: None)
        with joined(server, encryption=encryption):  # so that the caretaker stays
            tried = 0
            for at in points(step=STEP):
                with joined(server, encryption=encryption, **options) as [client]:
                    client.send("push", 1)
                    storm = interrupted(at, lambda: call(client))
                    if name != "request_later":  # its answer may still come
                        until(lambda: not left_behind(client))
                    began = time.monotonic()
                    client.close(2 * WAIT)
                    assert time.monotonic() - began < WAIT, storm.where
                    until(lambda: not left_behind(client))
                if not storm.where:
                    break
                tried += 1
            assert tried > 1
    assert [line for line in caplog.messages if "failed authentication" in line] == []


def _waiting_packets(core: SessionCore) -> list[str]:
    """Packets of both kinds, of which each fills a record."""
    names = ["a", "b", "c"]
    for name in names:
        packet = encode_packet(Packet(name, bytes(RECORD_TARGET - 100)))
        core.sending.put(packet, "key" if name == "b" else None)
    return names


@pytest.mark.cost
def test_sealing_interrupted_at_every_point() -> None:
    """Each packet is kept or waits, and none does both: a session that goes on loses none, and sends none twice."""
    tried = 0
    for at in points():
        pair = Pair(None, client_mode=Mode.OFF, server_mode=Mode.OFF)
        core = SessionCore(Bounds())
        core.attach(pair.client)
        assert pair.run().is_open
        names = _waiting_packets(core)
        sender = pair.sender("client")
        storm = interrupted(at, partial(sender.queued, core.sending))
        assert [packet.action for packet in core.unconfirmed()] == names, storm.where
        outgoing = core.numbering.outgoing
        outgoing.rewind(outgoing.acknowledged)  # what the next connection begins with
        assert outgoing.unacked == sum(map(len, outgoing.unconfirmed)), storm.where
        sender.queued(core.sending)
        assert core.sending.packets == [], storm.where
        assert core.sending.size == 0, storm.where
        assert [packet.action for packet in core.unconfirmed()] == names, storm.where
        if not storm.where:
            break
        tried += 1
    assert tried > 10


@pytest.mark.cost
@pytest.mark.parametrize("latest", [None, "new", "old"])
def test_queueing_interrupted_at_every_point(latest: str | None) -> None:
    """A packet is in the queue or is not; what is there is whole and counted, and a key has one place at most."""
    for at in points():
        core = SessionCore(Bounds())
        queue = core.sending
        queue.put(b"before", "old")
        storm = interrupted(at, partial(queue.put, b"packet", latest))
        assert queue.waiting in ([b"before"], [b"before", b"packet"], [b"packet"]), storm.where
        keys = len("old") + len("new") * queue.replaces("new")
        assert queue.size == sum(map(len, queue.waiting)) + keys, storm.where
        queue.put(b"after", "new")
        assert queue.waiting[-1] == b"after", storm.where
        if not storm.where:
            break
    assert at > 1


@pytest.mark.cost
def test_connecting_interrupted_at_every_point(identity: Identity) -> None:
    """Wherever Ctrl-C interrupts connect(), the client can connect again, and the caretaker has no thread too many."""
    # Before Python 3.13 the handlers of logging have locks that a signal can leave taken.
    logging.disable(logging.CRITICAL)
    try:
        with serving(identity) as server, warnings.catch_warnings():
            # A socket that the system gave in the very call after which Ctrl-C came is closed by the garbage collector.
            warnings.simplefilter("ignore", ResourceWarning)
            for at in points(step=11 * STEP):
                client = Client(*server.address, pin=server.fingerprint)
                storm = interrupted(at, client.connect)
                if not client.connected:
                    client.connect(WAIT)
                client.close(WAIT)
                del client
                gc.collect()
                until(lambda: not (cared_for() or server.sessions))
                until(lambda: not any("clients" in thread.name for thread in threading.enumerate()))
                if not storm.where:
                    break
    finally:
        logging.disable(logging.NOTSET)


def test_connecting_interrupted_before_the_session_begins(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither side is left with half a session: not one that is never closed, and none that goes on by itself."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with serving(identity) as server:
        client = Client(*server.address, pin=server.fingerprint)
        with monkeypatch.context() as patch:
            patch.setattr(Client, "_begin", interrupt)
            with pytest.raises(KeyboardInterrupt):
                client.connect()
        assert not client.connected
        until(lambda: not (cared_for() or server.sessions))
        with client:
            assert client.ping(WAIT) >= 0


@pytest.mark.cost
def test_a_waker_interrupted_at_every_point() -> None:
    """A loop whose making Ctrl-C stops leaves no descriptor open."""
    before = len(open_descriptors())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # as above
        for at in points():
            storm = interrupted(at, lambda: Waker().close())
            assert len(open_descriptors()) == before, storm.where
            if not storm.where:
                break


def _waiting(act: Callable[[], object]) -> bool:
    """Whether another thread can still do it."""
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(WAIT)
    return not thread.is_alive()


@pytest.mark.cost
def test_a_sign_interrupted_at_every_point() -> None:
    """Who sets a sign, or waits for one, never stops another thread that does."""
    for call in (Sign.set, lambda sign: sign.wait(0.001), lambda sign: (sign.set(), sign.wait())):
        for at in points():
            sign = Sign()
            storm = interrupted(at, lambda: call(sign))  # noqa: B023
            assert _waiting(sign.set)
            assert sign.wait(WAIT)
            assert not sign._gates  # noqa: SLF001  # a lock for each that waits: none is forgotten
            if not storm.where:
                break


@pytest.mark.cost
def test_a_right_interrupted_at_every_point() -> None:
    """`within` gives the right back wherever it was interrupted."""
    for at in points():
        right = Right()
        storm = interrupted(at, lambda: right.within(WAIT, lambda held: held))  # noqa: B023
        assert not right.taken
        if not storm.where:
            break


@pytest.mark.cost
def test_collecting_interrupted_at_every_point() -> None:
    """take() of a Collector leaves nothing that the thread which fires the event would hang at."""
    for at in points():
        hook: EventHook[[int]] = EventHook("event")
        collector = Collector(hook)
        storm = interrupted(at, lambda: collector.take(0.001))  # noqa: B023
        assert _waiting(lambda: hook.fire(1))  # noqa: B023
        if not storm.where:
            break


@pytest.mark.cost
def test_waiting_for_an_event_interrupted_at_every_point() -> None:
    """wait() of an event leaves no listener behind, and nothing that the thread which fires it would hang at."""

    def wait(hook: EventHook[[int]]) -> None:
        with contextlib.suppress(LinkTimeout):
            hook.wait(0.001)

    for at in points():
        hook: EventHook[[int]] = EventHook("event")
        storm = interrupted(at, lambda: wait(hook))  # noqa: B023
        assert _waiting(lambda: hook.fire(1))  # noqa: B023
        if not storm.where:
            break


@pytest.mark.cost
def test_a_turn_interrupted_at_every_point(identity: Identity) -> None:
    """Ctrl-C in the update() of a server: the next turn goes on, and no session stays on a list that nobody reads."""
    server = Server("127.0.0.1", 0, encryption="off")
    server.on("answer", lambda session, packet: packet.data)
    server.update()
    loop = loop_of(server)
    over, answered = Sign(), [0]

    def ask() -> None:
        while not over.is_set():
            with (
                contextlib.suppress(SecureLinkError),
                Client(*server.address, encryption="off") as client,
            ):
                while not over.is_set():
                    client.request("answer", 1, timeout=1.0)
                    answered[0] += 1

    def served() -> bool:
        server.update()
        return answered[0] > before

    with Crew() as crew:
        crew.start(ask)
        try:
            for at in range(1, 150, STEP):
                before = answered[0]
                until(served)
                interrupted(at, server.update)
                assert not loop._turn_right.taken  # noqa: SLF001  # what update() takes
                assert loop.lead.thread == 0
                server.update()
                assert not any(
                    link.writer.listed
                    for session in server.sessions.values()
                    if (link := link_of(session))
                )
        finally:
            over.set()
            server.stop()
