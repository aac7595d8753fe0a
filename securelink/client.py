"""The client: connect, send, receive."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from threading import get_ident
from types import TracebackType
from typing import Any, Self

from .app.actions import STATE
from .app.context import ClientContext
from .app.declared import ClientOptions
from .app.handlers import Handlers
from .app.hooks import EventHook, weakly
from .app.introduction import introduce
from .app.received import Received
from .backpressure import BackPressure
from .dispatching import ClientDispatching
from .errors import ConfigError, LinkTimeout
from .introduced import Introduced
from .keys import Identity
from .limits import (
    CLOSE_SECONDS,
    CONNECT_SECONDS,
    MAX_ELEMENTS,
    MAX_FRAME_BODY,
    MAX_INBOX_BYTES,
    MAX_REQUESTS,
    MAX_UNACKED,
    MAX_UNSENT,
)
from .logs.default import make_visible
from .options import seconds
from .receiver import Receiver
from .streams.addresses import shown
from .streams.base import Carrier
from .streams.tcp import TCP
from .threads.batch import held_back
from .threads.caretaker import SETTLE_SECONDS, caretaker
from .threads.client_channel import ClientChannel
from .threads.connecting import Arrival, Connector, Destination, show_presence
from .threads.mailbox import Mailbox
from .threads.patched import check_not_patched
from .threads.reconnecting import Reconnector
from .wire.packets import Packet

Credentials = Any  # a MessagePack value, or a function of (binding, fingerprint) that gives one


class Client(Receiver, BackPressure, ClientDispatching, Introduced):
    """
    A client.

        client = Client("192.168.1.40", 5050)
        client.connect()
        client.send("say", "hello")
        if packet := client.receive(timeout=5):
            print(packet.data)

    Args:
        host: A name or address; or an invite (`securelink://...`), which says all the rest.
        port: Of the server; part of an invite.
        keys: None: this client shows no key. A folder: it has the key `client_private.pem` there, made when it is
            missing, and shows it to servers that want one. Or an `Identity`.
        encryption: "required", "optional" or "off".
        credentials: For the server's `authenticate`: None, bool, int, str, bytes, lists and dicts, 4 KiB; or a
            function of (channel binding, server fingerprint) that returns them, called at each connect.
        token: A join token, instead of credentials.
        pin: The fingerprint that the server's key must have.
        trust: "known": only servers met before (or pinned). "first-use": any server on first use. None: any server
            on first use, unless credentials would go to one that is not on this machine. A loopback address counts as
            this machine; if a tunnel or a port forward may listen there, say "known" or give a pin.
        plaintext_credentials: True lets credentials or a token go to another machine without encryption: anyone on the
            path can read and use them. Otherwise "off" refuses to send them there, and "optional" means "required".
        known_servers: File of the servers met before. None: `known_servers` in the keys folder; without one, a
            place of the user's, the same in whatever folder the program runs (docs/DESIGN.md, "Keys and files").
        application: Name of the application; a server with another one refuses.
        version: Its version, compared likewise.
        max_packet: The largest packet limit that a server may announce, in bytes.
        max_elements: Values of every kind in one packet above 64 KiB, both ways; the server should have the same.
        max_unsent: Bytes that are not sent; beyond them `send` does what `full` or `policy()` says. Handlers, which
            never wait, may go beyond: 16 times as much ends the session.
        max_unacked: Bytes that were sent, and that the server has not handled; likewise, 4 times.
        max_requests: Requests that wait for their reply.
        max_unhandled: Bytes that wait for handlers and `receive()`; beyond them the server is not read.
        strict_types: Refuse to send also what arrives as its nearest relative: tuples, subclasses of dict, bytearrays,
            declared dataclasses and others. What has no relative (sets, `Decimal`) is refused anyway.
        passphrase: Of the client's private key.
        handlers: Where handlers, listeners and hooks run. "background": in the thread that waits for packets, or in
            one of the library's when none does. "update": only in the program's own thread, in `update()`; see there.
        reconnect: Go on with the session when its connection is lost, over another one, if the server keeps sessions.
            False: the session ends then.
        session: A file, as secret as a password, with which another process goes on when this one has died; see below.

    Attributes:
        server_state: The last value that the server gave to `set_state`; None before.

    Raises:
        ConfigError: An argument is not possible. Nothing is made to fit in silence.
        KeyFileError: The client's key cannot be used as it is.

    Packets whose name has a handler (`on`) go to it, all others to `receive`, `poll` and iteration. Handlers run in
    the thread that waits in one of these, otherwise in a background thread. All methods may be called from any thread.

    When the connection is lost the client connects again in the background, with growing pauses, for as long as the
    server keeps the session. What was sent, either way, is neither lost nor doubled; `send`, `request` and `receive`
    wait within their timeouts, and `connected` is False meanwhile. `on_suspend()` tells of it, `on_resume(replayed)`
    that the session goes on, with how many records are sent again. A function given as `credentials` is called again,
    in a thread of the library. A session that cannot go on ends as every session does: `on_disconnect`, then
    `ConnectionClosed`, with a `code`: EXPIRED (no connection in time), LOST (the server does not have it any more: it
    was restarted, say), or why the server refuses. `unconfirmed` then says exactly what the server may not have. Only
    `connect()` begins a new session: that knows nothing of the one before.

    With `session=` only `close()` ends the session, not the end of the process. The next `connect()` with that file, by
    one client at a time, goes on with it: `resumed` says so, and `on_resume` comes instead of `on_connect`. What the
    server has sent and the dead process had not acknowledged comes then, perhaps for the second time; what that had
    sent and the server did not take is lost, and nobody can list it. If the server does not have the session any more
    a new one begins. Never give one file to two machines.

    A client that the program keeps no reference to is closed with a `ResourceWarning`; one with handlers or listeners
    works on until its session ends.
    """

    def __init__(
        self,
        host: str,
        port: int | None = None,
        *,
        keys: str | Path | Identity | None = None,
        encryption: str = "required",
        credentials: Credentials = None,
        token: str | None = None,
        pin: str | None = None,
        trust: str | None = None,
        plaintext_credentials: bool = False,
        known_servers: str | Path | None = None,
        application: str = "",
        version: str = "",
        max_packet: int = MAX_FRAME_BODY,
        max_elements: int = MAX_ELEMENTS,
        max_unsent: int = MAX_UNSENT,
        max_unacked: int = MAX_UNACKED,
        max_unhandled: int = MAX_INBOX_BYTES,
        max_requests: int = MAX_REQUESTS,
        strict_types: bool = False,
        passphrase: str | None = None,
        handlers: str = "background",
        reconnect: bool = True,
        session: str | Path | None = None,
    ) -> None:
        options = ClientOptions.of(locals())
        self.host, self.port, introduction, belief = introduce(host, port, pin, options)
        self.carrier: Carrier = TCP
        self._connector = Connector(introduction, belief, options.session)
        self._reconnect, self._in_update = options.reconnect, options.handlers == "update"
        # Weak: what a client holds must not hold the client.
        changed = weakly(self._keep_alive)
        self._handlers = Handlers("client", ("packet",), changed)
        self._handlers.bind_reserved(STATE, weakly(self._take_state))
        self.server_state: Any = None
        self._channel: ClientChannel | None = None
        self._token, self._encrypted, self._resumed = "", False, False
        self._hooks = self._new_hooks(changed)
        self._policies = self._hooks.policies

    def _new_hooks(self, changed: Callable[..., None]) -> ClientContext:
        """Make the events of this client, and the context that has them."""
        caught = self._handlers.caught.add
        self.on_connect: EventHook[[]] = EventHook("on_connect", caught, ())
        self.on_suspend: EventHook[[]] = EventHook("on_suspend", caught, ())
        self.on_resume: EventHook[[int]] = EventHook("on_resume", caught, ("replayed",))
        self.on_disconnect: EventHook[[]] = EventHook("on_disconnect", caught, (), changed=changed)
        self.on_message: EventHook[[Received]] = self._handlers.on_message
        self.on_state: EventHook[[Any]] = EventHook("on_state", caught, ("value",), changed=changed)
        return ClientContext(
            self._handlers, self.on_state, self.on_suspend, self.on_resume, self.on_disconnect,
            in_update=self._in_update,
        )  # fmt: skip

    # --- connecting ---------------------------------------------------------------------------------------

    def connect(self, timeout: float = CONNECT_SECONDS, *, retry: bool = False) -> Self:
        """
        Open a session. May be called again when the last one has ended: what came in it and was not received yet is
        kept, and comes first. While a session waits for its next connection this waits for that instead.

        Args:
            timeout: Seconds for all of it.
            retry: Try again, with growing pauses, while the server cannot be reached. A server that restarted has said
                how long to stay away: this waits for that first, but no longer than for half of `timeout`.

        Raises:
            ConfigError: It is connected already, or another thread is connecting it, or this thread drives the server
                by `update()`, or credentials would go to another machine without encryption, or another client uses
                the session's file, or that is of another server.
            ConnectFailed: Nothing listens there, or the name is unknown.
            NotTrusted: The server's key is unknown, changed or not the pinned one.
            PeerIncompatible: Version, application or encryption policy differ.
            Refused: The server said no; `text` has its words.
            ProtocolError: The peer is no securelink server, or an attacker on the path tampers.
            KeyFileError: `known_servers` or the session's file is damaged, or that cannot be written.
            LimitExceeded: Too many packets of the last session were not received.
            ConnectionClosed: Another thread called `close()` meanwhile.
            LinkTimeout: The deadline passed.
        """
        timeout = seconds("timeout", timeout)
        right = self._connector.right
        try:
            del right.free
        except AttributeError:
            raise ConfigError(
                "another thread is connecting this client", hint="let one of the two call connect()"
            ) from None
        try:
            if self.connected:
                raise ConfigError("this client is connected", hint="call close() first")
            self._connect_within(timeout, retry=retry)
        finally:
            right.free = True
        return self

    def _connect_within(self, timeout: float, *, retry: bool) -> None:
        make_visible()
        check_not_patched()
        connector = self._connector
        connector.given_up.clear()
        deadline = connector.deadline(timeout)
        if self._channel is not None:
            if self._channel.await_connection(deadline.at):
                return
            deadline.check()
            if self._channel.is_suspended:
                raise LinkTimeout(
                    f"no connection for the session that waits for one within {timeout:g} s",
                    hint="it is tried further; close() ends it",
                )
            self._channel.finish(deadline.at)  # it is over when the next one begins
        place = Destination(self.carrier, self.host, self.port)
        with connector.passing_on.beginning():
            last, back_at = None, 0.0
            if self._channel is not None:
                last, back_at = self._channel.resumption, self._channel.back_at
            if retry:
                arrival = connector.persist(place, deadline, last, back_at)
            else:
                arrival = connector.attempt(place, deadline, last=last)
            channel: ClientChannel | None = None
            try:
                channel = self._new_channel(arrival, place)
                self._begin(arrival, channel)
            except BaseException:  # Ctrl-C: the next connect() must not find half a session
                if channel is None:
                    arrival.drop()
                else:
                    channel.keeper = channel.file = None
                    arrival.link.writer.break_off()
                    arrival.link.loop.call(arrival.link.give_up)
                raise
            # close() says first that it was called, and then looks for the session: one of us two sees the other.
            if connector.given_up.is_set():
                channel.close(CLOSE_SECONDS)
                raise deadline.called_off()
            channel.run()
        if connector.introduction.has_credentials:
            show_presence(channel, max(0.0, deadline.left))

    def _new_channel(self, arrival: Arrival, place: Destination) -> ClientChannel:
        link, core = arrival.link, arrival.core
        self._token = str(uuid.UUID(bytes=arrival.opened.welcome.token))
        self._encrypted, self._resumed = link.encrypted, arrival.opened.resumed
        mailbox = Mailbox(self, self._hooks, str(place), core)
        own_thread = get_ident() if self._in_update else 0
        channel = ClientChannel(link.loop, core, mailbox, token=self._token, own_thread=own_thread)
        channel.attach(link)
        channel.resumption = arrival.opened.resumption
        if self._reconnect:
            channel.keeper = Reconnector(self._connector, place, channel.resumption)
        channel.file = self._connector.passing_on.file
        return channel

    def _begin(self, arrival: Arrival, channel: ClientChannel) -> None:
        if self._channel is not None:
            channel.mailbox.inherit(self._channel.mailbox)
        self._channel = channel
        self._keep_alive()
        greet = partial(self.on_resume.fire, 0) if self._resumed else self.on_connect.fire
        channel.begin(arrival.link, arrival.early, greet)

    # --- packets ---------------------------------------------------------------------------------------------

    def _rewritten(self, hook: Callable[..., Any], action: str, data: Any) -> Any:
        return hook(action, data)

    def batch(self) -> AbstractContextManager[None]:
        """
        Hold back what this thread sends until the block ends: many packets in one record and one system call.

            with client.batch():
                for move in moves:
                    client.send("move", move)
        """
        return held_back(self._need_channel().loop)

    def _take_state(self, packet: Received) -> None:
        self.server_state = packet.data
        self.on_state.fire(packet.data)

    def _keep_alive(self) -> None:
        """A client that has handlers works in the background, whether or not the program keeps a reference."""
        if self._channel is not None:
            self._channel.keep_client(wanted=self._hooks.wants_to_live)

    # --- the end -------------------------------------------------------------------------------------------------

    def close(self, timeout: float = CLOSE_SECONDS) -> list[Packet]:
        """
        End the session: what was sent goes out first. May be called again, and without a session.

        Packets that nobody has received yet are dropped. A `connect()` that another thread is in gives up.

        Args:
            timeout: Seconds to wait for the server's confirmation.

        Returns:
            The packets that the server has not handled, as far as it has told; normally none, for its answer comes when
            all are, or after 2 s.
        """
        timeout = seconds("timeout", timeout)
        self._connector.given_up.set()
        channel = self._channel
        if channel is None:
            return []
        left = channel.close(timeout)
        caretaker.settle(SETTLE_SECONDS)
        return left

    @property
    def unconfirmed(self) -> list[Packet]:
        """
        What the server has not handled of the session that has ended, as far as it has told, and what was never sent:
        packets, in order. Empty while a session lasts. `close()` returns the same.
        """
        channel = self._channel
        return channel.unconfirmed(None) if channel is not None and channel.ended else []

    def __enter__(self) -> Self:
        return self if self.connected else self.connect()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self, warn: Callable[..., None] = warnings.warn) -> None:
        channel: ClientChannel | None = getattr(self, "_channel", None)
        if channel is not None and not channel.is_over():
            warn(
                f"{self!r} was forgotten while it was connected: call close(), or use it with 'with'",
                ResourceWarning,
                source=self,
            )
            channel.abandon()

    def __repr__(self) -> str:
        state = "connected" if self.connected else "not connected"
        return f"<Client of {shown(self.host, self.port)}, {state}>"
