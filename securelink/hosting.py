"""The common part of servers: their options, sessions, rooms and events."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Generic

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
from .app.pending import Pending, Runner
from .app.received import Received
from .app.revocation import Revocations
from .app.rooms import Group, Rooms
from .app.saving import store_of
from .app.session_events import SessionEvents
from .app.session_manager import SessionManager
from .auth import Authenticate
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
from .options import key, options_of, place
from .reporting import Reporting
from .runnable import Listens
from .send_policies import SendPolicies
from .session import Member, context_of, local_fanout, new_session, restored_session
from .streams.base import Carrier
from .streams.tcp import TCP
from .threads.batch import held_back
from .threads.lifecycle import Lifecycle
from .threads.settings import HandshakeSettings
from .threads.start import Calls, Start
from .trust import AuthorizedClients
from .trust.home import forget_last_holders


class BaseServer(Listens, Reporting[Member], Admitting[Member], SendPolicies, Generic[Member]):
    """A server in any shell: all but what runs it, and binds handlers to it."""

    _session_kind: type[Member]
    _room_kind: type[Group[Member]]
    _runner: Runner | None
    _context: ServerContext

    @options_of
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
        fanout: Fanout[Member] | None = None,
    ) -> None:
        self.host, self.port = place(
            host, port, low=0, example="Server(port=5050), or Server('127.0.0.1', 5050)"
        )
        self.carrier: Carrier = TCP
        options = self._options = ServerOptions.of(locals())
        self._bounds = options.bounds
        self._key = OwnKey(options)
        self._runner = self._new_runner()
        hook = chosen_hook(authenticate, options.folder, runs=self._runner is not None)
        self._invitations = Invitations(hook, self._key, lambda: self.address)
        self._fanout = local_fanout(self._session_kind) if fanout is None else fanout
        self._registry = self._fanout.registry
        self._revocations = Revocations(self._registry.everybody)
        self._admission = self._new_admission(hook)
        self._make_events()
        self._rooms: Rooms[Member] = Rooms(
            self.broadcast,
            options.room_capacity,
            self._room_kind,
            most=options.max_rooms,
            most_per_session=options.max_rooms_per_session,
        )
        self._fanout.rooms = self._rooms
        self._context = ServerContext(
            self._handlers, self._rooms, self._registry.counts, self.on_state, self._bounds
        )
        self._policies = self._context.policies
        self._lifecycle = self._new_lifecycle()

    def _new_runner(self) -> Runner | None:
        """Runs handlers and listeners that are coroutines; None: there are none."""
        return None

    def _new_admission(self, hook: Authenticate | None) -> Admission:
        application, version = self._options.application, self._options.version
        return Admission(application, version, self._known_clients(), hook, self._runner)

    def _make_events(self) -> None:
        event = EventHook if self._runner is None else self._runner.event
        self._handlers = Handlers("server", ("session", "packet"), runner=self._runner, event=event)
        self._handlers.bind_reserved(STATE, self._take_state)
        caught = self._handlers.caught.add
        events = self._events = SessionEvents[Member](caught, event)
        self.on_connect, self.on_disconnect = events.on_connect, events.on_disconnect
        self.on_suspend, self.on_resume = events.on_suspend, events.on_resume
        self.on_restore, self.on_hangup = events.on_restore, events.on_hangup
        self.on_message: EventHook[[Member, Received]] = self._handlers.on_message
        self.on_state = events.on_state
        self.on_tick: EventHook[[]] = event("on_tick", caught, ())
        self.on_start: EventHook[[]] = event("on_start", caught, ())
        self.on_stop: EventHook[[]] = event("on_stop", caught, ())

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
            partial(new_session, self._session_kind, self._context, self._bounds),
            partial(restored_session, self._session_kind, self._context, self._bounds),
            self._events,
            self._runner,
        )
        store = store_of(self._options)
        return Start(self.host, self.port, self.carrier, settings, sessions, store)

    def _announce(self) -> None:
        if self.port == 0 and self.carrier is TCP:
            forget_last_holders(self.places)
        address = (self.lan_address, self.address[1])
        announce(address, self._key, self._options.encryption, paused=self.paused)

    # --- what is known about it ---------------------------------------------------------------------------

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

    def _take_state(self, session: Member, packet: Received) -> Pending | None:
        context_of(session).take_state(packet.data)
        return self.on_state.fire(session, packet.data)

    def broadcast(
        self,
        action: str,
        data: Any = None,
        *,
        to: Iterable[Member | str] | None = None,
        exclude: Iterable[Member | str] = (),
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
