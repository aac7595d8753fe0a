"""The server: sessions, handlers, sending."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident
from types import MappingProxyType, TracebackType
from typing import Any, Self, TypeVar

from ..auth import Authenticate, JoinTokens
from ..codec import Packet, encode_packet
from ..errors import (
    ConfigError,
    ConnectionClosed,
)
from ..events import EventHook
from ..handshake.messages import Wanted
from ..handshake.wire import Code, Mode
from ..invite import Invite
from ..keys import Identity, load_or_create
from ..limits import (
    CLOSE_SECONDS,
    HEARTBEAT_SECONDS,
    MAX_CONNECTIONS,
    MAX_FRAME_BODY,
    MAX_HEARTBEAT,
    MAX_NAME,
    MAX_PACKET,
    MIN_HEARTBEAT,
    MIN_PACKET,
    WORKERS,
)
from ..modes import encryption_mode
from ..received import Received
from ..status import make_visible
from ..text import escaped
from ..transport.channel import Bounds
from ..transport.listener import Admission, Listener
from ..transport.loop import Loop, worker_threads
from ..transport.sockets import listen, shown
from ..trust import AuthorizedClients
from .reception import Gate, Reception
from .session import Session

log = logging.getLogger("securelink")

Handler = TypeVar("Handler", bound=Callable[..., Any])

_CLIENT_KEYS = {"welcome": Wanted.WELCOME, "required": Wanted.REQUIRED, "known": Wanted.REQUIRED}
_MAX_UNHANDLED = 64  # action names remembered for the warning about missing handlers


class Server:
    """
    A server.

        server = Server(port=5050)

        @server.on("say")
        def say(session, packet):
            server.broadcast("said", packet.data, exclude=[session])

        server.serve_forever()

    Args:
        host: Address to listen on; "" for all, IPv4 and IPv6.
        port: 0 lets the system choose; see `address`.
        keys: Folder of the server's key, made on first start; or an `Identity`.
        encryption: "required", "optional" or "off". A client that has a key or pin for this server never accepts
            less than encryption, whatever this says.
        authenticate: Decides who enters: a function of `Hello` that returns the user or raises `Refused`, or
            "tokens" for join tokens kept in the keys folder (`create_token`). None lets everybody in.
        client_keys: "welcome" (a client may show a key), "required", or "known" (in `authorized_clients`).
        max_connections: More are turned away.
        max_packet: Bytes of the largest packet, both ways.
        heartbeat: Seconds between pings that clients are asked for, 1 to 300.
        application: Name of the application; a client with another one is refused. "" does not compare.
        version: Its version, compared likewise.
        workers: Threads, 3 to 64.
        overlap: False runs one handler at a time; I/O goes on.
        passphrase: Of the server's private key.

    Handlers of one session never overlap. Those of different sessions seldom do, but may whenever one takes longer
    than 5 ms: guard shared data, or use `overlap=False`, or drive the server with `update()`.
    """

    def __init__(
        self,
        host: str = "",
        port: int = 5050,
        *,
        keys: str | Path | Identity = "keys",
        encryption: str = "required",
        authenticate: Authenticate | str | None = None,
        client_keys: str = "welcome",
        max_connections: int = MAX_CONNECTIONS,
        max_packet: int = MAX_PACKET,
        heartbeat: float = HEARTBEAT_SECONDS,
        application: str = "",
        version: str = "",
        workers: int = WORKERS,
        overlap: bool = True,
        passphrase: str | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self._mode = encryption_mode(encryption)
        if client_keys not in _CLIENT_KEYS:
            raise ConfigError(
                f"client_keys={client_keys!r} is not possible",
                hint="use 'welcome', 'required' or 'known'",
            )
        if client_keys != "welcome" and self._mode == Mode.OFF:
            raise ConfigError(
                f"client_keys={client_keys!r} needs encryption: plaintext proves no key",
                hint="drop encryption='off'",
            )
        if not MIN_PACKET <= max_packet <= MAX_FRAME_BODY:
            raise ConfigError(
                f"max_packet is {MIN_PACKET:,} to {MAX_FRAME_BODY:,} bytes, not {max_packet}"
            )
        if max_connections < 1:
            raise ConfigError(f"max_connections={max_connections} lets nobody in")
        for name, value in (("application", application), ("version", version)):
            if len(value.encode()) > MAX_NAME:
                raise ConfigError(f"{name}= is longer than {MAX_NAME} bytes")
        self._client_keys = client_keys
        self._max_connections = max_connections
        self._max_packet = max_packet
        self._heartbeat = min(max(heartbeat, MIN_HEARTBEAT), MAX_HEARTBEAT)
        self._workers = workers
        self._overlap = overlap
        self._passphrase = passphrase
        self._bounds = Bounds()
        self._identity = keys if isinstance(keys, Identity) else None
        self._keys = None if isinstance(keys, Identity) else Path(keys)
        self._tokens: JoinTokens | None = None
        known = AuthorizedClients((self._keys or Path("keys")) / "authorized_clients")
        self._gate = Gate(
            application,
            version,
            known if client_keys == "known" else None,
            self._authenticator(authenticate),
        )
        self._handlers: dict[str, Callable[..., Any]] = {}
        self._unhandled: set[str] = set()
        self._sessions: dict[str, Session] = {}
        self._state = threading.Lock()  # guards starting and stopping
        self._loop: Loop | None = None
        self._listener: Listener | None = None
        self._stopped = threading.Event()
        self._stopped.set()
        self.on_connect = EventHook("on_connect")
        self.on_disconnect = EventHook("on_disconnect")
        self.on_message = EventHook("on_message")

    def _authenticator(self, authenticate: Authenticate | str | None) -> Authenticate | None:
        if isinstance(authenticate, str):
            if authenticate != "tokens":
                raise ConfigError(
                    f"authenticate={authenticate!r} is not possible",
                    hint="use a function, 'tokens', or None",
                )
            path = self._keys / "join_tokens.json" if self._keys is not None else None
            authenticate = JoinTokens(path)
        if isinstance(authenticate, JoinTokens):
            self._tokens = authenticate
        return authenticate

    # --- starting and stopping ------------------------------------------------------------------------

    def start(self) -> Self:
        """
        Listen, in the background. Returns when clients can connect.

        Raises:
            ConfigError: It is started already.
            ConnectFailed: The port is in use, or the address is not of this machine.
            KeyFileError: The key cannot be used as it is.
        """
        return self._start(manual=False)

    def _start(self, *, manual: bool) -> Self:
        make_visible()
        with self._state:
            if self._loop is not None:
                raise ConfigError(
                    "the server is running", hint="call stop() before you start again"
                )
            self._load_identity()
            sock = listen(self.host, self.port, 1024)
            loop = Loop(
                f"server-{sock.getsockname()[1]}",
                workers=self._workers,
                overlap=self._overlap,
                manual=manual,
            )
            admission = Admission(
                policy=self._mode,
                identity=self._identity,
                wanted=_CLIENT_KEYS[self._client_keys],
                max_connections=self._max_connections,
                max_packet=self._max_packet,
                heartbeat=self._heartbeat,
            )
            listener = Listener(loop, [sock], admission, Reception(self, self._gate))
            self._loop, self._listener = loop, listener
            self._sessions = {}
            self._stopped.clear()
            loop.call(listener.start)
            loop.start()
        self._announce()
        return self

    def _load_identity(self) -> None:
        if self._mode == Mode.OFF or self._identity is not None:
            return
        assert self._keys is not None
        self._identity, created = load_or_create(self._keys, "server", self._passphrase)
        if created:
            log.info("made a new server key in %s", self._identity.path)

    def _announce(self) -> None:
        where = shown(self.host or "*", self.address[1])
        if self._mode == Mode.OFF:
            log.info("listening on %s in PLAINTEXT", where)
        else:
            assert self._identity is not None
            log.info(
                "listening on %s, key %s (%s)",
                where,
                self._identity.fingerprint,
                self._identity.path or "in memory",
            )
        if self._mode != Mode.REQUIRED:
            log.warning(
                "encryption is %s: anyone on the path can read and change everything of plaintext sessions",
                "off" if self._mode == Mode.OFF else "optional",
            )

    def serve_forever(self) -> None:
        """`start()`, unless it was, and wait until the server is stopped or Ctrl-C is pressed."""
        if self._loop is None:
            self.start()
        try:
            # Slices: a wait without end would keep Ctrl-C from being seen on some platforms.
            while not self._stopped.wait(0.5):
                pass
        except KeyboardInterrupt:
            log.info("interrupted; shutting down")
        finally:
            self.stop()

    def update(self) -> None:
        """
        One turn in the caller's thread, for game loops: read, call handlers, write; never waits.

        The first call starts the server. Handlers then run only inside `update()`.
        """
        if self._loop is None:
            self._start(manual=True)
        loop = self._loop
        assert loop is not None
        if not loop.manual:
            raise ConfigError(
                "update() drives a server that start() has not started",
                hint="use one of the two",
            )
        loop.turn()

    def stop(self, timeout: float = CLOSE_SECONDS) -> bool:
        """
        End all sessions and stop. May be called again, from any thread, and before `start()`.

        Clients are told; what was sent before goes out. In a handler it only asks, and returns at once.

        Args:
            timeout: Seconds to wait for clients and handlers.

        Returns:
            True when everything has ended, False when a handler still runs.
        """
        with self._state:
            loop, listener = self._loop, self._listener
        if loop is None or listener is None:
            return True
        loop.call(lambda: self._begin_stop(loop, listener, time.monotonic() + timeout))
        if loop.manual:
            return self._stop_manually(loop, timeout)
        if get_ident() in worker_threads:
            return False
        self._stopped.wait(timeout + 1.0)
        return loop.join(timeout)

    def _stop_manually(self, loop: Loop, timeout: float) -> bool:
        deadline = time.monotonic() + timeout + 1.0
        if loop.turn_thread == get_ident():
            return False  # inside update(): the next calls of update() finish it
        while not self._stopped.is_set() and time.monotonic() < deadline:
            loop.turn()
            time.sleep(0.005)
        return loop.join(1.0)

    def _begin_stop(self, loop: Loop, listener: Listener, deadline: float) -> None:
        """By the leader: no new connections, CLOSE to all, then wait until all are gone."""
        listener.close()
        for link in tuple(listener.links):
            if link.channel is None:
                link.lost()
            else:
                link.channel._end(Code.SHUTDOWN)
        self._continue_stop(loop, listener, deadline)

    def _continue_stop(self, loop: Loop, listener: Listener, deadline: float) -> None:
        if (listener.links or not loop.idle) and time.monotonic() < deadline:
            loop.call_later(0.01, lambda: self._continue_stop(loop, listener, deadline))
            return
        loop.stop(lambda: self._finish_stop(loop, listener))

    def _finish_stop(self, loop: Loop, listener: Listener) -> None:
        for link in tuple(listener.links):
            link.lost()
        with self._state:
            if self._loop is loop:
                self._loop = self._listener = None
        log.info("stopped")
        self._stopped.set()

    def pause(self) -> None:
        """Accept no new connections; they wait in the system's backlog. Sessions go on."""
        self._set_paused(True)

    def resume(self) -> None:
        """Accept connections again."""
        self._set_paused(False)

    def _set_paused(self, paused: bool) -> None:
        loop, listener = self._loop, self._listener
        if loop is None or listener is None:
            raise ConfigError("the server is not running", hint="call start() first")
        loop.call(lambda: listener.set_paused(paused))

    def __enter__(self) -> Self:
        return self if self._loop is not None else self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    # --- what is known about it ---------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether it listens."""
        return self._loop is not None

    @property
    def address(self) -> tuple[str, int]:
        """(host, port) that it listens on; the port is the real one when 0 was asked for."""
        listener = self._listener
        if listener is None:
            return (self.host, self.port)
        return (self.host, listener.addresses[0][1])

    @property
    def fingerprint(self) -> str | None:
        """Of the server's key, `SHA256:...`, as `ssh-keygen -lf` prints it; None in plaintext."""
        if self._mode != Mode.OFF and self._identity is None:
            self._load_identity()
        return self._identity.fingerprint if self._identity is not None else None

    @property
    def sessions(self) -> Mapping[str, Session]:
        """The sessions by token: a picture of this moment."""
        return MappingProxyType(dict(self._sessions))

    # --- tokens and invites ----------------------------------------------------------------------------------

    def create_token(
        self, user: str | None = None, *, uses: int | None = 1, lifetime: float | None = None
    ) -> str:
        """
        Make a join token: whoever has it may enter.

        Args:
            user: Becomes `session.user`.
            uses: How often it admits; None for any number.
            lifetime: Seconds; None for ever.

        Returns:
            A uuid4. It is kept only as a hash: this is the one time that it is shown.

        Raises:
            ConfigError: This server does not ask for tokens.
        """
        if self._tokens is None:
            raise ConfigError(
                "this server does not ask for join tokens",
                hint="create it with authenticate='tokens'",
            )
        return self._tokens.create(user, uses=uses, lifetime=lifetime)

    def invite(
        self,
        host: str | None = None,
        *,
        user: str | None = None,
        uses: int | None = 1,
        lifetime: float | None = None,
    ) -> str:
        """
        A link that has all a client needs: address, the server's fingerprint and, if the server asks for tokens, a
        new one.

        Args:
            host: The name or address under which clients reach this server; needed when it listens on all.
            user, uses, lifetime: As for `create_token`.

        Raises:
            ConfigError: The host is missing, or the server has no key (encryption="off").
        """
        host = host or self.host
        if not host:
            raise ConfigError(
                "an invite must say where the server is, and this one listens on all addresses",
                hint="call invite(host='the address that clients use')",
            )
        if self.fingerprint is None:
            raise ConfigError("a server without encryption has no key to invite to")
        token = None
        if self._tokens is not None:
            token = self.create_token(user, uses=uses, lifetime=lifetime)
        return str(Invite(host, self.address[1], self.fingerprint, token))

    # --- handlers and sending -----------------------------------------------------------------------------------

    def on(self, action: str) -> Callable[[Handler], Handler]:
        """
        Bind a handler to the packets of one name: `f(session, packet)`. A later one replaces an earlier.

            @server.on("move")
            def move(session, packet): ...
        """

        def bind(handler: Handler) -> Handler:
            self._handlers[action] = handler
            return handler

        return bind

    def broadcast(
        self,
        action: str,
        data: Any = None,
        *,
        to: Iterable[Session | str] | None = None,
        exclude: Iterable[Session | str] = (),
        headers: dict[str, Any] | None = None,
        latest: str | None = None,
    ) -> int:
        """
        Send one packet to many sessions; it is encoded once.

        Never waits: a session that takes too little is not read until it does, and ended at a hard limit.

        Args:
            to: Sessions or their tokens; None for all. Unknown tokens are passed over.
            exclude: Sessions or tokens left out.
            latest: As in `Session.send`.

        Returns:
            How many sessions it was queued for.

        Raises:
            CodecError: The data cannot be encoded.
            LimitExceeded: The packet is larger than `max_packet`.
        """
        encoded = encode_packet(Packet(action, data, headers, time.time()))
        if isinstance(to, Session | str):
            to = (to,)
        if isinstance(exclude, Session | str):
            exclude = (exclude,)
        sessions = self._sessions
        chosen: Iterable[Session]
        if to is None:
            chosen = tuple(sessions.values())
        else:
            found = (sessions.get(item) if isinstance(item, str) else item for item in to)
            chosen = [session for session in found if session is not None]
        left_out = {item if isinstance(item, str) else item.token for item in exclude}
        count = 0
        with self.batch():
            for session in chosen:
                if left_out and session.token in left_out:
                    continue
                try:
                    session._post(encoded, timeout=0.0, latest=latest)
                except ConnectionClosed:
                    continue  # it left meanwhile
                count += 1
        return count

    @contextmanager
    def batch(self) -> Iterator[None]:
        """
        Hold back what this thread sends until the block ends: one record and one system call a session.

        Inside handlers that is so anyway.
        """
        loop = self._loop
        me = get_ident()
        if loop is None or loop.turn_thread == me or me in loop.batches:
            yield
            return
        held = loop.batches[me] = []
        try:
            yield
        finally:
            del loop.batches[me]
            for link in dict.fromkeys(held):
                link.flush()

    def _dispatch(self, session: Session, packet: Packet) -> None:
        received = Received(packet, session)
        if self.on_message._listeners:
            self.on_message.fire(session, received)
        handler = self._handlers.get(packet.action)
        if handler is not None:
            # As in guarded(), without its call: this is the fast path.
            try:
                handler(session, received)
            except Exception:
                log.exception(
                    "the handler of %r raised an error; the session goes on", packet.action
                )
        elif not self.on_message._listeners:
            self._warn_unhandled(packet.action)

    def _warn_unhandled(self, action: str) -> None:
        if action not in self._unhandled and len(self._unhandled) < _MAX_UNHANDLED:
            self._unhandled.add(action)
            log.warning(
                "nobody handles packets named '%s'; add @server.on(...) or @server.on_message",
                escaped(action),
            )
