"""The server: sessions, handlers, sending."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, cast

from .admitting import Admitting
from .app.actions import STATE, checked_action
from .app.admission import Admission
from .app.announcing import announce
from .app.context import ServerContext
from .app.declared import ServerOptions
from .app.fanout import Fanout
from .app.handlers import Handlers
from .app.hooks import EventHook
from .app.invitations import Invitations, chosen_hook
from .app.own_key import OwnKey
from .app.received import Received
from .app.revocation import Revocations
from .app.rooms import Rooms
from .app.saving import store_of
from .app.session_manager import SessionEvents, SessionManager
from .auth import Authenticate
from .backpressure import BackPressure
from .dispatching import ServerDispatching
from .errors import LimitExceeded
from .keys import Identity
from .limits import (
    BACKLOG,
    HEARTBEAT_SECONDS,
    MAX_BYTE_RATE,
    MAX_CONNECTIONS,
    MAX_ELEMENTS,
    MAX_FAILED_PER_ADDRESS,
    MAX_HALF_OPEN,
    MAX_INBOX_BYTES,
    MAX_PACKET,
    MAX_RATE,
    MAX_REQUESTS,
    MAX_ROOMS,
    MAX_ROOMS_PER_SESSION,
    MAX_SUSPENDED,
    MAX_SUSPENDED_PER_ADDRESS,
    MAX_TOTAL_UNSENT,
    MAX_UNACKED,
    MAX_UNSENT,
    RECORD_ROOM,
    RESUME_SECONDS,
    WORKERS,
)
from .options import key, place
from .reporting import Reporting
from .runnable import Runnable
from .session import Room, Session, context_of, local_fanout, new_session, restored_session
from .streams.base import Carrier
from .streams.tcp import TCP
from .threads.batch import held_back
from .threads.lifecycle import Calls, Lifecycle
from .threads.settings import HandshakeSettings
from .threads.start import Start
from .trust import AuthorizedClients


class Server(Runnable, Reporting, Admitting, BackPressure, ServerDispatching):
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
            `session.grace` is less for single ones.
        application: Name of the application; a client with another one is refused. "" does not compare.
        version: Its version, compared likewise.
        workers: Threads, 3 to 64.
        overlap: False runs one handler at a time; I/O goes on.
        tick_rate: How often a second `on_tick` fires; None: only after each `update()`. May be changed while it runs.
        room_capacity: Most members of one room.
        max_rate: Packets a second of one session; one that sends more is not read for a moment. What it sends again
            after a lost connection is paid for by the time that it was away.
        max_byte_rate: Bytes of packets, likewise.
        max_suspended: Sessions that are kept without a connection; those with the least to lose go first.
        max_suspended_per_address: Of them, of one address, or /64 of IPv6; the networks around it have more, as above.
        max_rooms: Rooms with members.
        max_rooms_per_session: Rooms that one session may be in.
        max_unsent: Bytes of one session that are not sent; beyond them `send` does what `full` or `policy()` says.
            Handlers and broadcasts, which never wait, may go beyond: a session with 16 times as much ends.
        max_unacked: Bytes of one session that were sent, and that its client has not handled; likewise, 4 times.
        max_unhandled: Bytes of one session that wait for its handlers; beyond them its client is not read.
        max_memory: Bytes that all sessions keep, of packets in both directions and what belongs to them. Beyond them
            the largest session ends, of the address that keeps most.
        max_half_open: Connections that have no session yet; further ones wait for their turn.
        max_requests: Requests of this side in one session that wait for their reply.
        backlog: Connections that may wait to be accepted.
        passphrase: Of the server's private key.
        fanout: Has the sessions and sends to many of them; None: those of this process. Each server needs its own.
        state: A file in which sessions survive their process, however it ends, but for `stop()`; made if it does not
            exist. See docs/DEPLOY.md.
        state_sync: When it is on the disk: before anybody is told ("turn"; "10ms": once in 10 ms), or some time ("os").

    Raises:
        ConfigError: An argument is not possible. Nothing is made to fit in silence.

    A client whose connection is lost comes back by itself, within `resume` seconds: with its session, user, rooms and
    data. Nothing that was sent, either way, is lost or comes twice. Meanwhile `session.connected` is False, and what is
    sent waits within the usual bounds. `authenticate` is asked again, and must give an equal user; `hello.resumed` is
    the session. `on_suspend(session)` tells of the break, `on_resume(session, replayed)` that it goes on, with how many
    records are sent again; it may refuse as `on_connect` does. Both come in order with the session's packets. If
    `session.restarted` is true then, the client is another process, which knows nothing of the session
    (`Client(session=)`). With `state=` what a handler sends leaves when its turn is kept; `on_restore(session)` tells
    of those that were, and may refuse likewise.

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
        max_byte_rate: int = MAX_BYTE_RATE,
        max_suspended: int = MAX_SUSPENDED,
        max_suspended_per_address: int = MAX_SUSPENDED_PER_ADDRESS,
        max_rooms: int = MAX_ROOMS,
        max_rooms_per_session: int = MAX_ROOMS_PER_SESSION,
        max_unsent: int = MAX_UNSENT,
        max_unacked: int = MAX_UNACKED,
        max_unhandled: int = MAX_INBOX_BYTES,
        max_memory: int = MAX_TOTAL_UNSENT,
        max_half_open: int = MAX_HALF_OPEN,
        max_requests: int = MAX_REQUESTS,
        backlog: int = BACKLOG,
        passphrase: str | None = None,
        state: str | Path | None = None,
        state_sync: str = "turn",
        fanout: Fanout[Session] | None = None,
    ) -> None:
        self.host, self.port = place(
            host, port, low=0, example="Server(port=5050), or Server('127.0.0.1', 5050)"
        )
        self.carrier: Carrier = TCP
        options = self._options = ServerOptions.of(locals())
        self._bounds = options.bounds
        self._key = OwnKey(options)
        hook = chosen_hook(authenticate, options.folder)
        self._invitations = Invitations(hook, self._key, lambda: self.address)
        self._fanout = local_fanout() if fanout is None else fanout
        self._registry = self._fanout.registry
        self._revocations = Revocations(self._registry.everybody)
        self._admission = Admission(
            options.application, options.version, self._known_clients(), hook
        )
        self._make_events()
        self._rooms: Rooms[Session] = Rooms(
            self.broadcast,
            options.room_capacity,
            Room,
            most=options.max_rooms,
            most_per_session=options.max_rooms_per_session,
        )
        self._context = ServerContext(
            self._handlers, self._rooms, self._registry.counts, self.on_state, self._bounds
        )
        self._policies = self._context.policies
        self._lifecycle = self._new_lifecycle()

    def _make_events(self) -> None:
        self._handlers = Handlers("server", ("session", "packet"))
        self._handlers.bind_reserved(STATE, self._take_state)
        caught = self._handlers.caught.add
        events = self._events = SessionEvents[Session](caught)
        self.on_connect, self.on_disconnect = events.on_connect, events.on_disconnect
        self.on_suspend, self.on_resume = events.on_suspend, events.on_resume
        self.on_restore, self.on_hangup = events.on_restore, events.on_hangup
        self.on_message: EventHook[[Session, Received]] = self._handlers.on_message
        self.on_state = events.on_state
        self.on_tick: EventHook[[]] = EventHook("on_tick", caught, ())
        self.on_start: EventHook[[]] = EventHook("on_start", caught, ())
        self.on_stop: EventHook[[]] = EventHook("on_stop", caught, ())

    def _new_lifecycle(self) -> Lifecycle:
        options, everybody = self._options, self._registry.everybody
        calls = Calls(
            prepare=self._prepare,
            announce=self._announce,
            started=self._revocations.start,
            is_empty=lambda: not any(session.connected for session in everybody()),
            orphaned=self._registry.clear,
            on_tick=self.on_tick,
            on_start=self.on_start,
            on_stop=self.on_stop,
        )
        return Lifecycle(
            calls,
            workers=options.workers,
            overlap=options.overlap,
            tick_rate=options.tick_rate,
            backlog=options.backlog,
        )

    def _known_clients(self) -> AuthorizedClients | None:
        """The clients that may enter, if only those that are known may: a session ends when its key is revoked."""
        if self._options.client_keys != "known":
            return None
        known = AuthorizedClients((self._options.folder or Path("keys")) / "authorized_clients")
        self._revocations.watch(
            known, lambda session: not session.operator, "this client's key was revoked"
        )
        return known

    def _prepare(self) -> Start:
        self._key.load_again()
        settings = HandshakeSettings.of(self._options, self._key)
        self._registry.clear()
        self._context.grace = self._options.resume
        self._started_at = time.time()
        sessions = SessionManager(
            self._admission,
            self._registry,
            self._fanout,
            self._rooms,
            partial(new_session, self._context, self._bounds),
            partial(restored_session, self._context, self._bounds),
            self._events,
        )
        store = store_of(self._options)
        return Start(self.host, self.port, self.carrier, settings, sessions, store)

    def _announce(self) -> None:
        address = (self.lan_address, self.address[1])
        announce(address, self._key, self._options.encryption, paused=self.paused)

    # --- what is known about it ---------------------------------------------------------------------------

    def room(self, name: str) -> Room:
        """A room; sessions enter by `session.join(name)`."""
        return cast(Room, self._rooms.get(name))

    @property
    def rooms(self) -> list[str]:
        """The names of the rooms that have members."""
        return self._rooms.names()

    # --- handlers and sending -----------------------------------------------------------------------------------

    def set_state(self, value: Any) -> None:
        """
        Give all clients, and those that come later, a new value of the server's state.

        A value that is still waiting to be sent is replaced, not followed: clients see the latest.

        Raises:
            CodecError: The value cannot be encoded.
            LimitExceeded: It is larger than `max_packet`.
        """
        encoded = self._context.encode(STATE, value)
        if len(encoded) > self._options.max_packet - RECORD_ROOM:
            # It is checked now, not when a client connects.
            raise LimitExceeded(
                f"a state of {len(encoded)} bytes is larger than max_packet allows",
                limit="max_packet",
            )
        with self.batch():
            self._fanout.set_state(encoded)

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
        full: str | None = None,
    ) -> int:
        """
        Send one packet to many sessions; it is encoded once.

        Never waits: a session that takes too little is not read until it does, and ended at a hard limit.

        Args:
            to: Sessions or their tokens; None for all. Unknown tokens are passed over.
            exclude: Sessions or tokens left out.
            latest: As in `Session.send`.
            full: As in `Session.send`, for each session by itself; "wait" queues it all the same.

        Returns:
            How many sessions it was queued for.

        Raises:
            CodecError: The data cannot be encoded.
            ConfigError: The name begins with "~", or `full` is something else.
            LimitExceeded: The packet is larger than `max_packet`.
        """
        key("latest", latest)
        encoded = self._context.encode(checked_action(action), data, headers)
        latest, full, _ = self._policies.way(action, data, latest, full, None)
        with self.batch():
            return self._fanout.send(encoded, to=to, exclude=exclude, latest=latest, full=full)

    def batch(self) -> AbstractContextManager[None]:
        """
        Hold back what this thread sends until the block ends: one record and one system call a session.

        Inside handlers that is so anyway.
        """
        return held_back(self._lifecycle.loop)
