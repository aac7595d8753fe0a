"""What the tests of faults share: a neighbour who must notice nothing, hostile peers, a look for leaks."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import logging
import os
import re
import socket
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

import pytest
from inside import listener_of

from securelink import Client, Identity, SecureLinkError, Server, Session, crypto
from securelink.app.declared import ServerOptions
from securelink.app.own_key import OwnKey
from securelink.limits import FAILED_WINDOW, MAX_FRAME_BODY
from securelink.protocol import (
    Alerted,
    ClientConnection,
    Closed,
    Ended,
    Event,
    Failed,
    Opened,
    PlaintextChosen,
    PlaintextServer,
    ServerVerified,
    VerifiedServer,
)
from securelink.streams.tcp import TcpStream
from securelink.threads.link import Link
from securelink.threads.listener import Listener
from securelink.threads.server_link import ServerLink
from securelink.threads.settings import HandshakeSettings
from securelink.wire.fields import Content, Kind, Mode

WAIT = 60.0  # seconds after which a test fails instead of hanging: nothing that works takes so long anywhere
SOON = 4.0  # what waits for none of our own timeouts (5 s and more) is over sooner, on a busy machine too

Error = TypeVar("Error", bound=BaseException)


def until(
    condition: Callable[[], object],
    seconds: float = WAIT,
    *,
    meanwhile: Callable[[], object] = lambda: None,
) -> None:
    """Wait until a condition holds; fail when it does not in time. `meanwhile` is called before each look."""
    deadline = time.monotonic() + seconds
    meanwhile()
    while not condition():
        assert time.monotonic() < deadline, "this did not happen in time"
        time.sleep(0.005)
        meanwhile()


def pem_label(path: Path) -> str:
    """What a PEM file says that it holds."""
    first = path.read_text().splitlines()[0]
    assert first.startswith("-----BEGIN ")
    assert first.endswith("-----")
    return first[len("-----BEGIN ") : -len("-----")]


# --- secrets: what no log record and no error may hold ---------------------------------------------


class Secrets:
    """Collects what must stay secret while a test runs, in every spelling that a log line could have."""

    def __init__(self) -> None:
        self._spellings: set[str] = set()

    def clear(self) -> None:
        """Forget them: a new test begins."""
        self._spellings.clear()

    def add(self, secret: str | bytes) -> None:
        """A join token, a password, a key."""
        if isinstance(secret, str):
            self._spellings.add(secret)
        else:
            self._spellings |= {secret.hex(), repr(secret)[2:-1], str(int.from_bytes(secret))}

    def check(self, text: str) -> None:
        """Fail if the text holds one of them."""
        for spelling in self._spellings:
            assert spelling not in text, "a secret was written down"


secrets = Secrets()


def failure(kind: type[Error], call: Callable[[], object], says: str, hint: str = "") -> Error:
    """
    The error that a call ends with: of exactly this class, with this text and this hint in it.

    Args:
        kind: Its class; a subclass will not do.
        says: A regular expression that its message must match somewhere.
        hint: One that its hint must match somewhere.
    """
    with pytest.raises(kind) as caught:
        call()
    error = caught.value
    assert type(error) is kind
    secrets.check("".join(traceback.format_exception(error)) + repr(error))
    if isinstance(error, SecureLinkError):
        assert re.search(says, error.message), error.message
        assert re.search(hint, error.hint), error.hint
    return error


# --- nothing is left ---------------------------------------------------------------------------------


def open_descriptors() -> list[str]:
    """What this process has open: files, sockets and what else has a descriptor."""
    return [os.path.realpath(entry.path) for entry in os.scandir("/proc/self/fd")]


@contextlib.contextmanager
def nothing_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    """Fail unless every thread, socket and open file of the block is gone after it, and no secret was logged."""
    monkeypatch.setattr("securelink.threads.caretaker.LINGER_SECONDS", 0.0)
    monkeypatch.setattr(crypto, "hkdf_expand_label", _recorded(crypto.hkdf_expand_label))
    caplog.set_level(logging.DEBUG, logger="securelink")
    secrets.clear()
    threads, descriptors = set(threading.enumerate()), open_descriptors()
    yield
    until(lambda: set(threading.enumerate()) <= threads)
    try:
        until(lambda: len(open_descriptors()) <= len(descriptors))
    except AssertionError:
        left = Counter(open_descriptors()) - Counter(descriptors)
        sockets = [thing for thing in gc.get_objects() if isinstance(thing, socket.socket)]
        holders = [
            type(holder).__qualname__ for thing in sockets for holder in gc.get_referrers(thing)
        ]
        pytest.fail(f"still open: {', '.join(left)}; {sockets}, held by {holders}")
    secrets.check(caplog.text)


def _recorded(derive: Callable[..., bytes]) -> Callable[..., bytes]:
    """A key-schedule function whose results are remembered as secrets."""

    def recorded(*arguments: Any, **options: Any) -> bytes:
        derived = derive(*arguments, **options)
        secrets.add(derived)
        return derived

    return recorded


# --- a server, and a neighbour -----------------------------------------------------------------------


class Scene:
    """
    A server that echoes, and a session that looks on while something goes wrong elsewhere.

    Attributes:
        server: Listens on a port of its own.
        neighbour: A client that was connected before, and must still be at the end.
        encryption: Of the neighbour.
    """

    def __init__(self, server: Server, neighbour: Client, encryption: str) -> None:
        self.encryption = encryption
        self.server = server
        self.neighbour = neighbour
        self._token = neighbour.token

    @property
    def port(self) -> int:
        """Where the server listens."""
        return self.server.address[1]

    def client(self, **options: Any) -> Client:
        """A client of this server that trusts it, not connected."""
        if "trust" not in options and self.server.fingerprint is not None:
            options.setdefault("pin", self.server.fingerprint)
        return Client("127.0.0.1", self.port, **options)

    def session(self, client: Client) -> Session:
        """The server's end of a client's session; it is public a moment after the client is connected."""
        until(lambda: client.token in self.server.sessions)
        return self.server.sessions[client.token]

    def check_neighbour(self) -> None:
        """The neighbour's session is the same as ever, and no timeout of somebody else's holds it up."""
        began = time.monotonic()
        assert echo(self.neighbour, "still here")
        assert time.monotonic() - began < SOON
        assert self.neighbour.token == self._token

    @property
    def listener(self) -> Listener:
        """What accepts connections."""
        return listener_of(self.server)

    def alone(self) -> bool:
        """Whether the neighbour's is the only session, and its connection the only one."""
        return len(self.server.sessions) == 1 and len(self.listener.links) == 1

    def half_open(self) -> list[ServerLink]:
        """The connections without a session."""
        return [link for link in tuple(self.listener.links) if link.channel is None]

    def hurry(self, seconds: float) -> None:
        """Whoever knocks from now on has so much time for the handshake; the neighbour had the usual."""
        admission = dataclasses.replace(self.listener.settings, handshake_seconds=seconds)
        self.listener.settings = admission

    def overdue(self) -> None:
        """The time for all handshakes that are under way is over, as the next sweep will notice."""
        for link in self.half_open():
            link.connection.deadline = 0.0

    def hold_window(self, held: bool = True) -> None:
        """Failures of an address are counted until this is undone: no sweep in between begins a new window."""
        budget = self.listener.gate.budget
        budget.window = 86_400.0 if held else FAILED_WINDOW
        if not held:
            budget.clear()


def admitting(monkeypatch: pytest.MonkeyPatch, **limits: Any) -> None:
    """Servers of this test admit with other limits."""
    made = HandshakeSettings.of

    def of(options: ServerOptions, key: OwnKey) -> HandshakeSettings:
        return dataclasses.replace(made(options, key), **limits)

    monkeypatch.setattr(HandshakeSettings, "of", of)


def sock_of(link: Link) -> socket.socket:
    """The socket below a connection over TCP."""
    assert isinstance(link.stream, TcpStream)
    return link.stream.sock


def echo(client: Client, data: Any) -> bool:
    """Whether the server sends this back."""
    client.send("echo", data)
    packet = client.receive(WAIT)
    return packet is not None and packet.action == "echo" and bool(packet.data == data)


@contextlib.contextmanager
def scene(
    identity: Identity, *, neighbour: dict[str, Any] | None = None, **options: Any
) -> Iterator[Scene]:
    """
    Start a server with a neighbour; at the end see that the neighbour has noticed nothing.

    Args:
        identity: Of the server.
        neighbour: More options of the neighbour's client.
        options: Of the server.
    """
    for line in identity.to_pkcs1_pem().decode().splitlines()[1:-1]:
        secrets.add(line)
    # Strangers by hand do not come back, and what becomes of them is to be seen at once.
    server = Server("127.0.0.1", 0, keys=identity, **{"resume": 0, **options})
    server.on("echo", lambda session, packet: session.send("echo", packet.data))
    with server:
        wanted = {"encryption": options.get("encryption", "required"), **(neighbour or {})}
        if wanted["encryption"] != "off":
            wanted.setdefault("pin", server.fingerprint)
        with Client("127.0.0.1", server.address[1], **wanted) as other:
            stage = Scene(server, other, wanted["encryption"])
            yield stage
            stage.check_neighbour()
        # A server that has to wait for somebody here would have kept a connection for too long.
        assert server.stop(timeout=SOON)


# --- a client that breaks the rules ------------------------------------------------------------------


class Hostile:
    """
    A client that speaks the protocol by hand: an engine and a blocking socket.

    Args:
        port: Of the server, on this machine.
        mode: Its encryption policy.
        auth: Other arguments of `ClientConnection.authenticate`.
    """

    def __init__(self, port: int, mode: Mode = Mode.REQUIRED, **auth: Any) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=WAIT)
        self.engine = ClientConnection(mode, max_packet=MAX_FRAME_BODY)
        self.server: VerifiedServer | PlaintextServer | None = None
        self.events: list[Event] = []
        self._auth = {
            "identity": None, "dialled": "127.0.0.1", "application": "", "version": "",
            "credentials": b"\xc0", **auth,
        }  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def hello(self) -> None:
        """Send CLIENT_HELLO and wait for the server's proof (or its choice of plaintext)."""
        self.flush()
        event = self.read_until(ServerVerified, PlaintextChosen)
        if isinstance(event, ServerVerified | PlaintextChosen):
            self.server = event.server

    def open(self) -> Self:
        """The whole handshake."""
        self.hello()
        self.authenticate()
        self.flush()
        self.read_until(Opened)
        return self

    def authenticate(self) -> None:
        """Queue CLIENT_AUTH for the server that has answered."""
        assert self.server is not None
        self.engine.authenticate(self.server, **self._auth)

    def flush(self) -> None:
        """Send what the engine wants sent."""
        self.sock.sendall(self.engine.data_to_send())

    def seal(self, content: int, body: bytes = b"") -> bytes:
        """The frame of a record; the session is open."""
        assert self.engine.sender is not None
        if content in (Content.DATA, Content.DATA_ACK):
            self.engine.numbering.outgoing.keep(body)
        return self.engine.sender.records.seal(bytes((content,)) + body)

    def send(self, content: int, body: bytes = b"") -> None:
        """Send one record of any content."""
        self.sock.sendall(self.seal(content, body))

    def read_until(self, *kinds: type[Event]) -> Event:
        """The next event of one of these kinds; failing that, whatever ended the stream."""
        while True:
            for index, event in enumerate(self.events):
                if isinstance(event, (*kinds, Alerted, Closed, Ended, Failed)):
                    del self.events[: index + 1]
                    return event
            self.events.clear()
            try:
                data = self.sock.recv(65536)
            except ConnectionError:
                data = b""
            self.events += [
                item
                for item in self.engine.receive_data(data, time.monotonic())
                if not isinstance(item, bytes | memoryview)
            ]

    def ending(self) -> tuple[int, str]:
        """Code and text of the CLOSE or ALERT by which the server ends this; (-1, "") for a mere end of stream."""
        event = self.read_until(Closed)
        match event:
            case Closed(code, text):
                return code, text
            case Alerted(code):
                return code, ""
            case Ended():
                return -1, ""
        raise AssertionError(f"{event} instead of an end")


def end_of_stream(sock: socket.socket) -> bytes:
    """All that comes until the peer closes the connection."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while chunk := sock.recv(65536):
            data += chunk
    return data


# --- a server that breaks the rules --------------------------------------------------------------------


@contextlib.contextmanager
def answering(behave: Callable[[socket.socket], object], times: int = 1) -> Iterator[int]:
    """
    A port on which something else than our server answers.

    Args:
        behave: Called with each connection, which is closed afterwards. It may raise `OSError`.
        times: How many connections it takes.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(WAIT)

        def serve() -> None:
            for _ in range(times):
                sock, _ = listening.accept()
                sock.settimeout(WAIT)
                with sock, contextlib.suppress(OSError):
                    behave(sock)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(WAIT)
        assert not thread.is_alive()


def read_frame(sock: socket.socket) -> bytes:
    """One frame, header included."""
    header = read_exactly(sock, 4)
    return header + read_exactly(sock, int.from_bytes(header[1:]))


def read_exactly(sock: socket.socket, size: int) -> bytes:
    """So many bytes; raises `ConnectionError` at the end of the stream."""
    data = b""
    while len(data) < size:
        chunk = sock.recv(size - len(data))
        if not chunk:
            raise ConnectionError("the stream ended")
        data += chunk
    return data


def frame(kind: Kind, body: bytes) -> bytes:
    """A frame, whatever its body."""
    return bytes((kind,)) + len(body).to_bytes(3) + body
