"""The server: sessions, handlers, sending."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, TypeVar, cast, overload

from .app.admission import Admission, Entry
from .app.answers import Answer
from .app.context import ServerContext
from .app.declared import ServerOptions
from .app.fanout import Fanout
from .app.handlers import MISSING, STATE, Handlers
from .app.hooks import EventHook
from .app.own_key import load_own_key, load_succession
from .app.received import Received, Typed
from .app.registry import Registry
from .app.revocation import Revocations
from .app.rooms import Rooms
from .app.session_manager import SessionManager
from .auth import Authenticate, JoinTokens, checked_hook
from .dispatching import Dispatching
from .errors import ConfigError
from .invite import Invite
from .keys import Identity
from .limits import (
    BACKLOG,
    HEARTBEAT_SECONDS,
    MAX_CONNECTIONS,
    MAX_ELEMENTS,
    MAX_FAILED_PER_ADDRESS,
    MAX_PACKET,
    MAX_RATE,
    RESUME_SECONDS,
    WORKERS,
)
from .options import place
from .protocol.handshake_server import VerifiedClient
from .runnable import Runnable
from .session import Room, Session, channel_of, context_of, outbox_of
from .signatures import checked, checked_or_none
from .streams.base import Carrier
from .streams.tcp import TCP
from .text import quoted
from .threads.batch import held_back
from .threads.channel import Channel
from .threads.lifecycle import Calls, Lifecycle, Start
from .threads.server_link import ServerLink
from .threads.settings import HandshakeSettings
from .trust import AuthorizedClients
from .wire.fields import Mode

log = logging.getLogger("securelink.server")

BeforeSend = Callable[[Session | None, str, Any], Any]


class Runs(Protocol):
    """An object whose `run` is a handler."""

    def run(self, session: Session, packet: Received, /) -> Answer:
        """Handle one packet."""


Bound = TypeVar("Bound", bound=Callable[[Session, Received], Answer] | Runs)
Result = TypeVar("Result", bound=Answer)
Data = TypeVar("Data")


class TypedBinder(Protocol[Data]):
    """What `on(action, type)` gives: a decorator."""

    def __call__(
        self, handler: Callable[[Session, Typed[Data]], Result], /
    ) -> Callable[[Session, Typed[Data]], Result]:
        """Bind the handler."""


class Server(Runnable, Dispatching):
    """
    A server.

        server = Server(port=5050)

        @server.on("say")
        def say(session, packet):
            server.broadcast("said", packet.data, exclude=[session])

        server.serve_forever()

    Args:
        host: Address to listen on, or a name: each of its addresses; "" for all, IPv4 and IPv6.
        port: 0 lets the system choose; see `address`.
        keys: Folder of the server's key, made on first start; or an `Identity`.
        encryption: "required", "optional" or "off". A client that has a key or pin for this server never accepts
            less than encryption, whatever this says.
        authenticate: Decides who enters: a plain function of `Hello` that returns the user or raises `Refused`, or
            "tokens" for join tokens kept in the keys folder (`create_token`). None lets everybody in. An answer of
            None or False refuses too; 0, "", {} and True are users; what is no answer (a coroutine, an error that is
            returned, a class) refuses and is an error in the log. A dict, a dataclass or another object is a user,
            whatever is in it: nobody looks for a coroutine inside. `raise Refused` in `on_connect` ends the session
            with its text; a listener of it that returns a coroutine or a generator ends it as well. What other
            threads send to a session, and the state, wait until its `on_connect` has returned.
        client_keys: "welcome" (a client may show a key), "required", or "known" (in `authorized_clients`; a key that
            is taken out of it loses its sessions, too).
        max_connections: More are turned away. Fewer fit where the system's limit of open files (`ulimit -n`) is lower:
            then the log says so at the start (by default on the level DEBUG), and the limit stays as it is.
        max_per_address: Connections of one address, or /64 of IPv6; more are turned away. None: 1,000, but at most
            three quarters of `max_connections`. The /56 and /48 around it have four and sixteen times as many, but no
            more than these three quarters. This machine's own address has no such bound.
        max_failures: Handshakes of one address that may fail in a minute; then it is turned away until that is over.
            This machine's own address has no such bound.
        trusted_proxies: Addresses or networks of load balancers that say by the PROXY protocol, version 2, who their
            clients are. A connection from there without such a header is closed; from elsewhere none is believed.
        max_packet: Bytes of the largest packet, both ways.
        max_elements: Values of every kind in one packet above 64 KiB, both ways. A client makes the server hold up to
            about 70 bytes for each; clients should have the same.
        strict_types: Refuse to send also what arrives as its nearest relative: tuples, subclasses of dict, bytearrays,
            declared dataclasses and others. What has no relative (sets, `Decimal`) is refused anyway.
        heartbeat: Seconds between pings that clients are asked for, 1 to 300.
        resume: Seconds that a session is kept when its connection is lost, so that its client can go on with it, up to
            86,400; 0: it ends at once. What a waiting session holds is kept so long: its name in an application, say.
        application: Name of the application; a client with another one is refused. "" does not compare.
        version: Its version, compared likewise.
        workers: Threads, 3 to 64.
        overlap: False runs one handler at a time; I/O goes on.
        tick_rate: How often a second `on_tick` fires; may be changed while it runs.
        room_capacity: Most members of one room.
        max_rate: Packets a second of one session; one that sends more is not read until the second is over.
        backlog: Connections that may wait to be accepted.
        passphrase: Of the server's private key.

    Raises:
        ConfigError: An argument is not possible. Nothing is made to fit in silence.

    A client whose connection is lost comes back by itself, within `resume` seconds: with its session, user, rooms and
    data. Nothing that was sent, either way, is lost or comes twice. Meanwhile `session.connected` is False, and what is
    sent waits within the usual bounds. `authenticate` is asked again, and must give an equal user; `hello.resumed` is
    the session. `on_suspend(session)` tells of the break, `on_resume(session, replayed)` that it goes on, with how many
    records are sent again; it may refuse as `on_connect` does. Both come in order with the session's packets.

    `on_hangup` fires at once when a session's connection has ended, also while packets of it wait to be handled; it may
    overlap with its handlers, and `session.kick()` in it drops these packets. `on_disconnect` comes after the last.

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
        max_per_address: int | None = None,
        max_failures: int = MAX_FAILED_PER_ADDRESS,
        trusted_proxies: Iterable[str] = (),
        max_packet: int = MAX_PACKET,
        max_elements: int = MAX_ELEMENTS,
        strict_types: bool = False,
        heartbeat: float = HEARTBEAT_SECONDS,
        resume: int = RESUME_SECONDS,
        application: str = "",
        version: str = "",
        workers: int = WORKERS,
        overlap: bool = True,
        tick_rate: float | None = None,
        room_capacity: int | None = None,
        max_rate: int = MAX_RATE,
        backlog: int = BACKLOG,
        passphrase: str | None = None,
    ) -> None:
        self.host, self.port = place(
            host, port, low=0, example="Server(port=5050), or Server('127.0.0.1', 5050)"
        )
        self.carrier: Carrier = TCP
        options = self._options = ServerOptions.of(
            keys=keys,
            encryption=encryption,
            client_keys=client_keys,
            max_connections=max_connections,
            max_per_address=max_per_address,
            max_failures=max_failures,
            trusted_proxies=trusted_proxies,
            max_packet=max_packet,
            max_elements=max_elements,
            strict_types=strict_types,
            heartbeat=heartbeat,
            resume=resume,
            application=application,
            version=version,
            workers=workers,
            overlap=overlap,
            tick_rate=tick_rate,
            room_capacity=room_capacity,
            max_rate=max_rate,
            backlog=backlog,
            passphrase=passphrase,
        )
        self._bounds = options.bounds
        self._identity = keys if isinstance(keys, Identity) else None
        self._tokens: JoinTokens | None = None
        self._registry = self._new_registry()
        self._revocations = Revocations(self._registry.everybody)
        self._entry = self._new_admission(self._authenticator(authenticate))
        self._started_at = 0.0
        self._handlers = Handlers("server", ("session", "packet"))
        self._handlers.bind_reserved(STATE, self._take_state)
        self._rooms: Rooms[Session] = Rooms(self.broadcast, options.room_capacity, Room)
        caught = self._handlers.caught.add
        self.on_connect: EventHook[[Session]] = EventHook(
            "on_connect", caught, ("session",), may_refuse=True
        )
        self.on_suspend: EventHook[[Session]] = EventHook("on_suspend", caught, ("session",))
        self.on_resume: EventHook[[Session, int]] = EventHook(
            "on_resume", caught, ("session", "replayed"), may_refuse=True
        )
        self.on_hangup: EventHook[[Session]] = EventHook("on_hangup", caught, ("session",))
        self.on_disconnect: EventHook[[Session]] = EventHook("on_disconnect", caught, ("session",))
        self.on_message: EventHook[[Session, Received]] = self._handlers.on_message
        self.on_state: EventHook[[Session, Any]] = EventHook(
            "on_state", caught, ("session", "value")
        )
        self._context = ServerContext(
            self._handlers, self._rooms, self._registry.counts, self.on_state
        )
        self._fanout = self._new_fanout()
        self.on_tick: EventHook[[]] = EventHook("on_tick", caught, ())
        self.on_start: EventHook[[]] = EventHook("on_start", caught, ())
        self.on_stop: EventHook[[]] = EventHook("on_stop", caught, ())
        self._lifecycle = self._new_lifecycle()

    # A server of several processes has others.

    def _new_registry(self) -> Registry[Session]:
        """Where its sessions are."""
        return Registry(lambda session: channel_of(session).numbers())

    def _new_fanout(self) -> Fanout[Session]:
        """What sends to many of them."""
        return Fanout(
            self._registry,
            self._context,
            self._bounds,
            self._options.max_packet,
            kind=Session,
            outlet_of=outbox_of,
            hold_back=self.batch,
        )

    def _new_lifecycle(self) -> Lifecycle:
        return Lifecycle(
            Calls(
                prepare=self._prepare,
                announce=self._announce,
                started=self._revocations.start,
                is_empty=lambda: (
                    not any(session.connected for session in self._registry.everybody())
                ),
                orphaned=self._registry.clear,
                on_tick=self.on_tick,
                on_start=self.on_start,
                on_stop=self.on_stop,
            ),
            workers=self._options.workers,
            overlap=self._options.overlap,
            tick_rate=self._options.tick_rate,
            backlog=self._options.backlog,
        )

    def _new_admission(self, authenticate: Authenticate | None) -> Admission:
        options, known = self._options, None
        if options.client_keys == "known":
            known = AuthorizedClients((options.folder or Path("keys")) / "authorized_clients")
            self.end_when_revoked(
                known, lambda session: not session.operator, "this client's key was revoked"
            )
        return Admission(options.application, options.version, known, authenticate)

    def _authenticator(self, authenticate: Authenticate | str | None) -> Authenticate | None:
        if isinstance(authenticate, str):
            if authenticate != "tokens":
                raise ConfigError(
                    f"authenticate={quoted(authenticate)} is not possible",
                    hint="use a function, 'tokens', or None",
                )
            folder = self._options.folder
            tokens = folder / "join_tokens.json" if folder is not None else None
            authenticate = JoinTokens(tokens)
        if isinstance(authenticate, JoinTokens):
            self._tokens = authenticate
        return None if authenticate is None else checked_hook(authenticate)

    # --- what its lifecycle asks ----------------------------------------------------------------------------

    def _settings(self) -> HandshakeSettings:
        """How this start does handshakes; loads the key."""
        options = self._options
        if options.folder is not None:
            self._identity = None  # it may have been rotated since the last start
        self._load_identity()
        return HandshakeSettings(
            policy=options.encryption,
            identity=self._identity,
            wanted=options.wanted,
            max_connections=options.max_connections,
            max_per_address=options.max_per_address,
            max_failures=options.max_failures,
            proxies=options.trusted_proxies,
            max_packet=options.max_packet,
            heartbeat=options.heartbeat,
            resume=options.resume,
            succession=self._succession(),
        )

    def _prepare(self) -> Start:
        settings = self._settings()
        self._registry.clear()
        self._started_at = time.time()
        sessions = SessionManager(
            self._entry,
            self._registry,
            self._fanout,
            self._new_session,
            on_connect=self.on_connect,
            on_suspend=self.on_suspend,
            on_resume=self.on_resume,
            on_hangup=self.on_hangup,
            on_disconnect=self.on_disconnect,
        )
        return Start(self.host, self.port, self.carrier, settings, sessions)

    def _new_session(self, link: ServerLink, client: VerifiedClient, entry: Entry) -> Channel:
        session = Session(self._context, self._bounds, link, client, entry)
        return channel_of(session)

    def _load_identity(self) -> None:
        if self._options.encryption == Mode.OFF or self._identity is not None:
            return
        folder = self._options.folder
        assert folder is not None
        self._identity = load_own_key(folder, self._options.passphrase)

    def _succession(self) -> bytes:
        """What earlier keys of this server said of the one that it has."""
        folder = self._options.folder
        if folder is None or self._identity is None:
            return b""
        return load_succession(folder, self._identity)

    def _announce(self) -> None:
        log.info("Server IP: %s", self.lan_address)
        log.info("Server PORT: %d", self.address[1])
        if self._identity is not None and self._options.encryption != Mode.OFF:
            where = self._identity.path or "kept in memory"
            log.info("Key: %s (%s)", self._identity.fingerprint, where)
        if self._options.encryption != Mode.REQUIRED:
            log.warning(
                "encryption is %s: anyone on the path can read and change everything of plaintext sessions",
                "off" if self._options.encryption == Mode.OFF else "optional",
            )
        log.info("Status: Ready")
        log.info("New Connections: %s", "Deny" if self.paused else "Allow")

    # --- what is known about it ---------------------------------------------------------------------------

    @property
    def fingerprint(self) -> str | None:
        """Of the server's key, `SHA256:...`, as `ssh-keygen -lf` prints it; None in plaintext."""
        self._load_identity()
        return (
            self._identity.fingerprint
            if self._options.encryption != Mode.OFF and self._identity
            else None
        )

    @property
    def sessions(self) -> Mapping[str, Session]:
        """The sessions by token: a snapshot."""
        return MappingProxyType({session.token: session for session in self._registry.everybody()})

    def find(self, *, address: tuple[str, int] | None = None, user: Any = None) -> list[Session]:
        """The sessions from an address (host, port), or of a user, or both; `sessions[token]` finds by token."""
        if address is not None and not isinstance(address, tuple | list):
            raise ConfigError(f"address= is a {type(address).__name__}", hint="it is (host, port)")
        return [
            session
            for session in self._registry.everybody()
            if (address is None or session.address == tuple(address))
            and (user is None or session.user == user)
        ]

    def room(self, name: str) -> Room:
        """A room; sessions enter by `session.join(name)`."""
        return cast(Room, self._rooms.get(name))

    @property
    def rooms(self) -> list[str]:
        """The names of the rooms that have members."""
        return self._rooms.names()

    @property
    def actions(self) -> list[str]:
        """The actions that have a handler."""
        return self._handlers.actions

    def stats(self) -> dict[str, Any]:
        """
        What the server does and has done, as a dict of plain values.

        Returns:
            What is now: `running`, `uptime_seconds`, `sessions`, `connections_half_open`, `rooms`, `threads`,
            `unsent_bytes`. And what only grows, over all runs and all sessions that there were:
            `sessions_total`, `handshakes_failed_total`, `logins_refused_total`, `handler_errors_total`,
            `records_received_total`, `records_sent_total`, `packets_received_total`, `received_bytes_total`,
            `sent_bytes_total`, `sessions_ended_total` (a dict: how often for which reason) and
            `limits_reached_total` (a dict: how often which limit).
        """
        counts, listener = self._registry.counts, self._lifecycle.listener
        totals, events = self._registry.totals(), counts.events
        limits = (
            "connections",
            "failures",
            "per_address",
            "half_open",
            "handshakes",
            "rate",
            "total_unsent",
        )
        return {
            "running": self.running,
            "uptime_seconds": time.time() - self._started_at if self.running else 0.0,
            "sessions": len(self._registry.everybody()),
            "connections_half_open": listener.gate.half_open if listener is not None else 0,
            "rooms": len(self.rooms),
            "threads": len(self.threads),
            "unsent_bytes": sum(
                channel_of(session).unsent for session in self._registry.everybody()
            ),
            "sessions_total": events["sessions"],
            "handshakes_failed_total": events["handshakes_failed"],
            "logins_refused_total": events["logins_refused"],
            "handler_errors_total": self.caught.total,
            "records_received_total": totals["records_received"],
            "records_sent_total": totals["records_sent"],
            "packets_received_total": totals["packets_received"],
            "received_bytes_total": totals["bytes_received"],
            "sent_bytes_total": totals["bytes_sent"],
            "sessions_ended_total": counts.ended(),
            "limits_reached_total": {name: events[f"limit_{name}"] for name in limits},
        }

    def end_when_revoked(
        self, authorized: AuthorizedClients, concerns: Callable[[Session], bool], reason: str
    ) -> None:
        """
        End sessions within about two seconds when their key is taken out of a file.

        With `client_keys="known"` that is done for `authorized_clients`. While the file is damaged, sessions stay.

        Args:
            authorized: The file.
            concerns: Whether a session is there because its key was in the file.
            reason: What the client is told.
        """
        self._revocations.watch(authorized, concerns, reason)

    # --- tokens and invites ----------------------------------------------------------------------------------

    def create_token(
        self, user: str | None = None, *, uses: int | None = 1, lifetime: float | None = None
    ) -> str:
        """
        Make a join token: whoever has it may enter.

        Args:
            user: Becomes `session.user`.
            uses: How often it admits; None for any number.
            lifetime: Seconds; None forever.

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
            user: As for `create_token`.
            uses: As for `create_token`.
            lifetime: As for `create_token`.

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

    def admit_operators(self, name_of: Callable[[str], str | None]) -> None:
        """
        Let operators in by their key alone: whatever application they run, and without asking `authenticate` or
        `client_keys`. Their user is "operator:NAME".

        Args:
            name_of: f(fingerprint) gives the name of an operator, or None for everybody else's key. It is called in
                the pool, and may be slow. An error of it, and an answer that is neither a text nor None, are logged,
                and make nobody an operator.

        Raises:
            ConfigError: `name_of` is no plain function of one argument.
        """
        self._entry.operator_name = checked("name_of", name_of, ("fingerprint",))

    # --- handlers and sending -----------------------------------------------------------------------------------

    @overload
    def on(self, action: str) -> Callable[[Bound], Bound]: ...

    @overload  # a class can be called, too; the first that fits is meant
    def on(self, action: str, data_type: type[Data]) -> TypedBinder[Data]: ...  # type: ignore[overload-overlap]

    @overload
    def on(
        self, action: str, data_type: type[Data], handler: Callable[[Session, Typed[Data]], Result]
    ) -> Callable[[Session, Typed[Data]], Result]: ...

    @overload
    def on(self, action: str, handler: Bound, /) -> Bound: ...

    @overload
    def on(self, action: str, *, handler: Bound) -> Bound: ...

    def on(self, action: Any = MISSING, data_type: Any = MISSING, handler: Any = MISSING) -> Any:
        """
        Bind a handler to the packets of one name: `f(session, packet)`. A later one replaces an earlier.

            @server.on("move")
            def move(session, packet): ...

            @server.on("jump", Jump)                        # a dataclass or msgspec.Struct
            def jump(session, packet): packet.data.height

        What it returns answers a `request()`. An object with a method `run(session, packet)` may be bound too.

        Args:
            action: 1 to 255 characters that do not begin with "~".
            data_type: What the data must be. Other packets never reach the handler: a request is answered with
                `RequestFailed`, which names the field; the session goes on, and the log has a line.
            handler: The handler, when this is no decorator.

        Raises:
            ConfigError: The name is not possible; or the handler cannot be called, takes other arguments, is
                `async def`, a generator or a class; or the type has parts that cannot be made out of data.
        """
        return self._handlers.on(action, data_type, handler)

    @property
    def before_send(self) -> BeforeSend | None:
        """
        A hook: f(session or None, action, data) gives the data to send instead, of packets, requests and states. What a
        handler returns as its answer goes out as it is.
        """
        return self._context.before_send

    @before_send.setter
    def before_send(self, hook: BeforeSend | None) -> None:
        self._context.before_send = checked_or_none(
            "before_send", hook, ("session", "action", "data")
        )

    def set_state(self, value: Any) -> None:
        """
        Give all clients, and those that come later, a new value of the server's state.

        A value that is still waiting to be sent is replaced, not followed: clients see the latest.

        Raises:
            CodecError: The value cannot be encoded.
            LimitExceeded: It is larger than `max_packet`.
        """
        self._fanout.set_state(value)

    def _take_state(self, session: Session, packet: Received) -> None:
        context_of(session).take_state(packet.data)
        self.on_state.fire(session, packet.data)

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
            ConfigError: The name begins with "~".
            LimitExceeded: The packet is larger than `max_packet`.
        """
        return self._fanout.broadcast(
            action, data, to=to, exclude=exclude, headers=headers, latest=latest
        )

    def batch(self) -> AbstractContextManager[None]:
        """
        Hold back what this thread sends until the block ends: one record and one system call a session.

        Inside handlers that is so anyway.
        """
        return held_back(self._lifecycle.loop)
