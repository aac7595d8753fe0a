"""The common part of clients: their options, and the session that an attempt to connect has given."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from threading import get_ident
from typing import Any

from .app.actions import STATE
from .app.context import ClientContext
from .app.declared import ClientOptions
from .app.handlers import Handlers
from .app.hooks import EventHook, weakly
from .app.introduction import introduce
from .app.pending import Pending, Runner
from .app.received import Received
from .introduced import Introduced
from .keys import Identity
from .limits import (
    MAX_ELEMENTS,
    MAX_FRAME_BODY,
    MAX_INBOX_BYTES,
    MAX_REQUESTS,
    MAX_UNACKED,
    MAX_UNSENT,
)
from .options import options_of
from .peer import FarEnd
from .send_policies import SendPolicies
from .streams.addresses import shown
from .streams.base import Carrier
from .streams.tcp import TCP
from .threads.batch import held_back
from .threads.client_channel import ClientChannel
from .threads.connecting import Arrival, Connector, Destination
from .threads.dial import Deadline
from .threads.mailbox import Mailbox
from .threads.reconnecting import Reconnector
from .wire.packets import Packet

Credentials = Any  # a MessagePack value, or a function of (binding, fingerprint) that gives one


class BaseClient(FarEnd, SendPolicies, Introduced):
    """A client in any shell: all but what waits, and binds handlers to it."""

    _channel: ClientChannel | None
    _hooks: ClientContext
    _runner: Runner | None
    _block = "with"  # the word that begins a block in which it is closed

    @options_of
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
        self._runner = self._new_runner()
        # Weak: what a client holds must not hold the client.
        changed = weakly(self._keep_alive)
        self._handlers = Handlers(
            "client", ("packet",), changed, runner=self._runner, event=self._event()
        )
        self._handlers.bind_reserved(STATE, weakly(self._take_state))
        self.server_state: Any = None
        self._channel: ClientChannel | None = None
        self._token, self._encrypted, self._resumed = "", False, False
        self._hooks = self._new_hooks(changed)
        self._policies = self._hooks.policies

    def _new_runner(self) -> Runner | None:
        """Runs handlers and listeners that are coroutines; None: there are none."""
        return None

    def _event(self) -> Callable[..., EventHook[...]]:
        return EventHook if self._runner is None else self._runner.event

    def _new_hooks(self, changed: Callable[..., None]) -> ClientContext:
        """Make the events of this client, and the context that has them."""
        caught, event = self._handlers.caught.add, self._event()
        self.on_connect: EventHook[[]] = event("on_connect", caught, ())
        self.on_suspend: EventHook[[]] = event("on_suspend", caught, ())
        self.on_resume: EventHook[[int]] = event("on_resume", caught, ("replayed",))
        self.on_disconnect: EventHook[[]] = event("on_disconnect", caught, (), changed=changed)
        self.on_message: EventHook[[Received]] = self._handlers.on_message
        self.on_state: EventHook[[Any]] = event("on_state", caught, ("value",), changed=changed)
        return ClientContext(
            self._handlers, self.on_state, self.on_suspend, self.on_resume, self.on_disconnect,
            in_update=self._in_update,
        )  # fmt: skip

    def _arrive(self, place: Destination, deadline: Deadline, *, retry: bool) -> Arrival:
        """Connect; this waits."""
        last, back_at = None, 0.0
        if self._channel is not None:
            last, back_at = self._channel.resumption, self._channel.back_at
        if retry:
            return self._connector.persist(place, deadline, last, back_at)
        return self._connector.attempt(place, deadline, last=last)

    def _enter(self, arrival: Arrival, place: Destination) -> ClientChannel:
        """Begin the session."""
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
        return channel

    def _new_channel(self, arrival: Arrival, place: Destination) -> ClientChannel:
        link, core = arrival.link, arrival.core
        self._token = str(uuid.UUID(bytes=arrival.opened.welcome.token))
        self._encrypted, self._resumed = link.encrypted, arrival.opened.resumed
        mailbox = Mailbox(self, self._hooks, str(place), core)
        own_thread = get_ident() if self._in_update else 0
        channel = ClientChannel(
            link.loop, core, mailbox, token=self._token, home=link.home, own_thread=own_thread
        )
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

    def _take_state(self, packet: Received) -> Pending | None:
        self.server_state = packet.data
        return self.on_state.fire(packet.data)

    def _keep_alive(self) -> None:
        """A client that has handlers works in the background, whether or not the program keeps a reference."""
        channel, hooks = self._channel, self._hooks
        if channel is not None:
            mailbox = channel.mailbox
            # Once more behind it: another thread may have bound one, and looked before.
            while mailbox.wants_background != (wanted := hooks.wants_background):
                mailbox.wants_background = wanted
            channel.keep_client(wanted=hooks.wants_to_live)

    @property
    def dropped(self) -> int:
        """
        How many packets were dropped: nobody had bound a handler to them, nobody has called `receive()` or `poll()`,
        and a thousand of them (`MAX_INBOX_RECORDS`) waited already. A client without handlers drops none.
        """
        channel = self._channel
        return channel.mailbox.dropped if channel is not None else 0

    @property
    def unconfirmed(self) -> list[Packet]:
        """
        What the server has not handled of the session that has ended, as far as it has told, and what was never sent:
        packets, in order. Empty while a session lasts. `close()` returns the same.
        """
        channel = self._channel
        return channel.unconfirmed(None) if channel is not None and channel.ended else []

    def __del__(self, warn: Callable[..., None] = warnings.warn) -> None:
        channel: ClientChannel | None = getattr(self, "_channel", None)
        if channel is not None and not channel.is_over():
            warn(
                f"{self!r} was forgotten while it was connected: call close(), or use it with {self._block!r}",
                ResourceWarning,
                source=self,
            )
            channel.abandon()

    def __repr__(self) -> str:
        state = "connected" if self.connected else "not connected"
        return f"<Client of {shown(self.host, self.port)}, {state}>"
