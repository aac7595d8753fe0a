"""The client: connect, send, receive."""

from __future__ import annotations

import logging
import random
import time
import uuid
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from threading import get_ident
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, cast, overload

from .app.answers import Answer
from .app.context import Awaited, ClientContext
from .app.handlers import MISSING, STATE, Handlers
from .app.hooks import EventHook
from .app.modes import encryption_mode
from .app.received import Received, Typed
from .codes import Code
from .dispatching import Dispatching
from .errors import (
    CodecError,
    ConfigError,
    ConnectFailed,
    ConnectionClosed,
    HandshakeError,
    LinkTimeout,
    SecureLinkError,
)
from .interrupts import Right, Sign
from .invite import Invite, is_invite
from .keys import Identity, fingerprint_digest, load_or_create
from .limits import (
    CLOSE_SECONDS,
    CONNECT_SECONDS,
    LOOPBACK_KEY_SECONDS,
    MAX_CREDENTIALS,
    MAX_CREDENTIALS_DEPTH,
    MAX_ELEMENTS,
    MAX_FRAME_BODY,
    MIN_ELEMENTS,
    MIN_PACKET,
)
from .logs.default import make_visible
from .options import flag, path, place, seconds, secret, text, whole, word
from .peer import Peer
from .protocol import ClientConnection, Item, PlaintextServer, SessionCore, VerifiedServer, refusal
from .protocol.bounds import Bounds
from .signatures import checked, checked_or_none
from .streams.addresses import is_loopback_host, shown
from .streams.base import Carrier
from .streams.sockets import is_chosen_by_system
from .streams.tcp import TCP
from .threads.batch import held_back
from .threads.caretaker import SETTLE_SECONDS, caretaker
from .threads.client_channel import ClientChannel
from .threads.client_link import ClientLink
from .threads.dial import Dialogue
from .threads.driven import leads_to_own_thread
from .threads.mailbox import Mailbox
from .threads.patched import check_not_patched
from .trust import KnownServers
from .trust.home import KNOWN_SERVERS, user_known_servers
from .trust.locking import LOCK_SECONDS
from .trust.policy import Belief
from .wire.fields import Mode
from .wire.messages import Wanted, Welcome
from .wire.packets import Packet, encode_value

log = logging.getLogger("securelink.client")

Credentials = Any  # a MessagePack value, or a function of (binding, fingerprint) that gives one
BeforeSend = Callable[[str, Any], Any]


class Runs(Protocol):
    """An object whose `run` is a handler."""

    def run(self, packet: Received, /) -> Answer:
        """Handle one packet."""


Bound = TypeVar("Bound", bound=Callable[[Received], Answer] | Runs)
Result = TypeVar("Result", bound=Answer)
Data = TypeVar("Data")


class TypedBinder(Protocol[Data]):
    """What `on(action, type)` gives: a decorator."""

    def __call__(
        self, handler: Callable[[Typed[Data]], Result], /
    ) -> Callable[[Typed[Data]], Result]:
        """Bind the handler."""


_RETRY_FIRST = 0.05  # seconds; doubles up to _RETRY_MOST, with jitter
_RETRY_MOST = 2.0
_PASSING = (
    Code.BUSY,
    Code.BLOCKED,
    Code.SHUTDOWN,
)  # refusals that may be over when the server has started again


def _weakly(method: Callable[..., None]) -> Callable[..., None]:
    """The same call, which does nothing once the object of the method is gone."""
    weak = weakref.WeakMethod(method)

    def call(*arguments: Any) -> None:
        strong = weak()
        if strong is not None:
            strong(*arguments)

    return call


def _destination(
    host: str, port: int | None, pin: str | None, token: str | None
) -> tuple[str, int, str | None, str | None]:
    """Host, port, pin and token, out of an invite or as they were given."""
    if isinstance(host, str) and is_invite(host):
        invite = Invite.parse(host)
        if port is not None or pin is not None:
            raise ConfigError("an invite already says port and key", hint="give the invite alone")
        host, port, pin = invite.host, invite.port, invite.fingerprint
        token = token or invite.token
    example = "Client('example.org', 5050)"
    if port is None and isinstance(host, str) and ":" not in host:
        raise ConfigError("a port is missing", hint=f"write {example}")
    return *place(host, port, low=1, example=example), pin, token


def _mode_for(mode: Mode, pin: str | None, trust: str | None) -> Mode:
    """The mode that a pin and `trust=` leave."""
    if trust == "known" and mode == Mode.OFF:
        raise ConfigError(
            "trust='known' cannot be checked without encryption",
            hint="drop encryption='off', or trust='known'",
        )
    if pin is None:
        return mode
    fingerprint_digest(pin)
    if mode == Mode.OFF:
        raise ConfigError(
            "a pin or an invite cannot be checked without encryption",
            hint="drop encryption='off', or the pin",
        )
    return Mode.REQUIRED


class Client(Peer, Dispatching):
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
        strict_types: Refuse to send also what arrives as its nearest relative: tuples, subclasses of dict, bytearrays,
            declared dataclasses and others. What has no relative (sets, `Decimal`) is refused anyway.
        passphrase: Of the client's private key.
        handlers: Where handlers, listeners and hooks run. "background": in the thread that waits for packets, or in
            one of the library's when none does. "update": only in the program's own thread, in `update()`; see there.

    Attributes:
        server_state: The last value that the server gave to `set_state`; None before.

    Raises:
        ConfigError: An argument is not possible. Nothing is made to fit in silence.
        KeyFileError: The client's key cannot be used as it is.

    Packets whose name has a handler (`on`) go to it, all others to `receive`, `poll` and iteration. Handlers run in
    the thread that waits in one of these, otherwise in a background thread. All methods may be called from any thread.

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
        strict_types: bool = False,
        passphrase: str | None = None,
        handlers: str = "background",
    ) -> None:
        self._mode = encryption_mode(encryption)
        for name, value in (("passphrase", passphrase), ("token", token)):
            secret(name, value)
        host, port, pin, token = _destination(host, port, pin, token)
        self._mode = _mode_for(self._mode, pin, trust)
        if token is not None and credentials is not None:
            raise ConfigError("give credentials= or token=, not both")
        self.host = host
        self.port = port
        self.carrier: Carrier = TCP
        if callable(credentials):
            checked("credentials", credentials, ("binding", "fingerprint"))
        self._credentials = {"token": token} if token is not None else credentials
        self._application = text("application", application)
        self._version = text("version", version)
        self._strict_types = flag("strict_types", strict_types)
        self._max_elements = whole("max_elements", max_elements, MIN_ELEMENTS, MAX_FRAME_BODY)
        self._max_packet = whole("max_packet", max_packet, MIN_PACKET, MAX_FRAME_BODY, unit="bytes")
        self._identity = keys if isinstance(keys, Identity) else None
        folder = None if keys is None or isinstance(keys, Identity) else path("keys", keys)
        if known_servers is not None:
            known_servers = path("known_servers", known_servers)
        if folder is not None and self._mode != Mode.OFF:
            self._identity, _ = load_or_create(folder, "client", passphrase)
        # Ports that the system chose belong to another server soon. A file that the user named keeps them.
        self._forget_soon = known_servers is None and folder is None
        if known_servers is None:
            known_servers = user_known_servers() if folder is None else folder / KNOWN_SERVERS
        known = KnownServers(known_servers)
        self._belief = Belief(
            host,
            port,
            pin,
            trust,
            known,
            plaintext_credentials=flag("plaintext_credentials", plaintext_credentials),
        )
        self._in_update = word("handlers", handlers, ("background", "update")) == "update"
        # Weak: what a client holds must not hold the client.
        changed = _weakly(self._keep_alive)
        self._handlers = Handlers("client", ("packet",), changed)
        self._handlers.bind_reserved(STATE, _weakly(self._take_state))
        self.server_state: Any = None
        self._channel: ClientChannel | None = None
        self._connecting = Right()  # one thread at a time connects
        self._given_up = Sign()  # close() was called meanwhile
        self._welcome: Welcome | None = None
        self._server_fingerprint: str | None = None
        self._encrypted = False
        caught = self._handlers.caught.add
        self.on_connect: EventHook[[]] = EventHook("on_connect", caught, ())
        self.on_disconnect: EventHook[[]] = EventHook("on_disconnect", caught, (), changed=changed)
        self.on_message: EventHook[[Received]] = self._handlers.on_message
        self.on_state: EventHook[[Any]] = EventHook("on_state", caught, ("value",), changed=changed)
        self._hooks: ClientContext = ClientContext(
            self._handlers, self.on_state, self.on_disconnect, in_update=self._in_update
        )

    # --- connecting ---------------------------------------------------------------------------------------

    def connect(self, timeout: float = CONNECT_SECONDS, *, retry: bool = False) -> Self:
        """
        Open a session. May be called again when the last one has ended: what came in it and was not received yet is
        kept, and comes first.

        Args:
            timeout: Seconds for all of it.
            retry: Try again, with growing pauses, while the server cannot be reached.

        Raises:
            ConfigError: It is connected already, or another thread is connecting it, or this thread drives the server
                by `update()`, or credentials would go to another machine without encryption.
            ConnectFailed: Nothing listens there, or the name is unknown.
            NotTrusted: The server's key is unknown, changed or not the pinned one.
            PeerIncompatible: Version, application or encryption policy differ.
            Refused: The server said no; `text` has its words.
            ProtocolError: The peer is no securelink server, or somebody tampers.
            KeyFileError: `known_servers` is damaged.
            LimitExceeded: Too many packets of the last session were not received.
            ConnectionClosed: Another thread called `close()` meanwhile.
            LinkTimeout: The deadline passed.
        """
        timeout = seconds("timeout", timeout)
        right = self._connecting
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
        self._given_up.clear()
        deadline = time.monotonic() + timeout
        self._finish_last(deadline)
        pause = _RETRY_FIRST
        while True:
            try:
                self._connect(deadline, timeout)
                return
            except (ConnectFailed, LinkTimeout, HandshakeError) as error:
                final = (
                    isinstance(error, HandshakeError) and error.final and error.code not in _PASSING
                )
                wait = pause * random.uniform(0.5, 1.5)  # noqa: S311  # jitter, not a secret
                if not retry or final or time.monotonic() + wait >= deadline:
                    raise
            if self._given_up.wait(wait):
                raise self._gave_up()
            pause = min(pause * 2, _RETRY_MOST)

    def _gave_up(self) -> ConnectionClosed:
        return ConnectionClosed(
            "close() was called while this client was connecting", hint="call connect() again"
        )

    def _finish_last(self, deadline: float) -> None:
        """Handle what came before the end of the last session: it is over when the next one begins."""
        if self._channel is not None:
            self._channel.finish(deadline)

    def _connect(self, deadline: float, timeout: float) -> None:
        mode = self._belief.consult(self._mode)
        stream = self.carrier.connect(self.host, self.port, max(0.001, deadline - time.monotonic()))
        try:
            loop = caretaker.loop(stream)
            if leads_to_own_thread(stream):
                raise ConfigError(
                    "this thread drives the server by update(), and cannot wait for it in connect()",
                    hint="connect in another thread, or let the server run by itself: start()",
                )
            loopback = is_loopback_host(stream.peer[0])
            mode = self._belief.mode(
                mode, credentials=self._credentials is not None, loopback=loopback
            )
            engine = ClientConnection(mode, max_packet=self._max_packet)
            core = SessionCore(Bounds(strict=self._strict_types, elements=self._max_elements))
            core.attach(engine)
            dialogue = Dialogue(
                stream,
                engine,
                where=self._where,
                decide=lambda engine, server: self._decide(engine, server, loopback=loopback),
                confirm=lambda: self._remember(deadline, loopback=loopback),
                deadline=deadline,
                timeout=timeout,
            )
            self._welcome, early = dialogue.run()
            if self._given_up.is_set():
                raise self._gave_up()
            self._encrypted = engine.encrypted
            link = ClientLink(loop, stream, engine)
            channel = self._make_channel(link, core)
        except BaseException:
            stream.close()
            caretaker.leave(stream)
            raise
        self._begin(link, channel, early)
        if self._credentials is not None:
            self._show_that_we_are_in(max(0.0, deadline - time.monotonic()))

    def _show_that_we_are_in(self, timeout: float) -> None:
        """
        WELCOME has come, and the server shall know: until then it may hold the session back.

        When the answer is here the session is public there, as it is without credentials.
        """
        channel = self._need_channel()
        try:
            channel.probe(timeout)
        except ConnectionClosed:
            pass  # the session has been, and was ended: whoever uses it hears why
        except LinkTimeout:
            channel.close(0.0)
            raise

    def _remember(self, deadline: float, *, loopback: bool) -> None:
        if self._server_fingerprint is not None:
            soon = self._forget_soon and loopback and is_chosen_by_system(self.port)
            lifetime = LOOPBACK_KEY_SECONDS if soon else None
            left = max(0.0, deadline - time.monotonic())
            wait = min(LOCK_SECONDS, left / 2)  # the rest is for what comes after it
            self._belief.remember(self._server_fingerprint, lifetime=lifetime, timeout=wait)

    @property
    def _where(self) -> str:
        return shown(self.host, self.port)

    def _decide(
        self, engine: ClientConnection, server: VerifiedServer | PlaintextServer, *, loopback: bool
    ) -> None:
        """The server has proved its key, or answered in plaintext as we allow: trust it, and say who we are."""
        identity = None
        self._server_fingerprint = None
        if isinstance(server, PlaintextServer):
            log.warning(
                "PLAINTEXT session with %s: anyone on the path can read and change everything",
                self._where,
            )
        else:
            self._server_fingerprint = server.key.fingerprint
            self._belief.judge(server, credentials=self._credentials is not None, loopback=loopback)
            if server.wanted != Wanted.NO:
                identity = self._identity
            if server.wanted == Wanted.REQUIRED and identity is None:
                raise refusal(Code.CLIENT_KEY_REQUIRED, "")
        engine.authenticate(
            server,
            identity=identity,
            dialled=self.host,
            application=self._application,
            version=self._version,
            credentials=self._encoded_credentials(server),
        )

    def _encoded_credentials(self, server: VerifiedServer | PlaintextServer) -> bytes:
        credentials = self._credentials
        if callable(credentials):
            binding = server.binding if isinstance(server, VerifiedServer) else None
            credentials = credentials(binding, self._server_fingerprint)
        try:
            return encode_value(credentials)
        except CodecError as error:
            raise ConfigError(
                f"these credentials cannot be sent: {error.message}",
                hint="None, bool, int, float, str, bytes, lists and dicts of these: "
                f"{MAX_CREDENTIALS:,} bytes, nested up to {MAX_CREDENTIALS_DEPTH} levels",
            ) from None

    def _make_channel(self, link: ClientLink, core: SessionCore) -> ClientChannel:
        mailbox = Mailbox(self, self._hooks, self._where, elements=core.bounds.elements)
        own_thread = get_ident() if self._in_update else 0
        channel = ClientChannel(link.loop, core, mailbox, token=self.token, own_thread=own_thread)
        channel.attach(link)
        return channel

    def _begin(self, link: ClientLink, channel: ClientChannel, early: list[Item]) -> None:
        try:
            if self._channel is not None:
                channel.mailbox.inherit(self._channel.mailbox)
            self._channel = channel
            self._keep_alive()
            channel.begin(link, early, self.on_connect.fire)
        except BaseException:  # Ctrl-C: who calls connect() again must not find half a session
            link.break_off()
            link.loop.call(link.give_up)
            raise
        # close() says first that it was called, and then looks for the session: one of us two sees the other.
        if self._given_up.is_set():
            channel.close(CLOSE_SECONDS)
            raise self._gave_up()
        channel.run()

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
        channel = self._need_channel()
        return held_back(channel.loop)

    def _take_state(self, packet: Received) -> None:
        self.server_state = packet.data
        self.on_state.fire(packet.data)

    def wait_for(self, action: str, timeout: float) -> Received:
        """
        Wait for a packet of one name, or take it from those that wait for `receive`; others go where they always go.

        Raises:
            LinkTimeout: None came in `timeout` seconds.
            ConnectionClosed: The session ended before.
        """
        timeout = seconds("timeout", timeout)
        channel = self._channel or self._need_channel()
        awaited = Awaited(action)
        self._hooks.awaited[awaited] = None
        try:
            return channel.receive_named(awaited, timeout)
        finally:
            self._hooks.awaited.pop(awaited, None)
            channel.mailbox.packets.extend(awaited.found)  # two came, we take one

    @overload
    def receive(self, timeout: None = None) -> Received: ...

    @overload
    def receive(self, timeout: float | None) -> Received | None: ...

    def receive(self, timeout: float | None = None) -> Received | None:
        """
        The next packet that no handler takes.

        Args:
            timeout: Seconds; None waits forever.

        Returns:
            The packet, or None when none came in time, which cannot be without a timeout. `wait_for` raises instead.

        Raises:
            ConnectionClosed: The session is over and every packet was taken.
            ProtocolError: The same, and it ended because the server, or somebody on the path, broke the protocol.
        """
        if timeout is not None:
            timeout = seconds("timeout", timeout)
        return (self._channel or self._need_channel()).receive(timeout)

    def poll(self) -> list[Received]:
        """
        What has arrived, without waiting: handlers are called, all other packets are returned.

        Of more than 1 MiB the rest comes with the next call.

        Raises:
            ConnectionClosed: The session is over and every packet was taken.
            ProtocolError: The same, and it ended because the server, or somebody on the path, broke the protocol.
        """
        return self._need_channel().poll()

    def update(self) -> bool:
        """
        One turn in the caller's thread, for game loops, once a frame: read, call handlers, write; never waits.

            client = Client("127.0.0.1", 5050, handlers="update").connect()
            while client.update():
                draw()

        Handlers, listeners and hooks run only in the thread that called `update()` last, before that in the one that
        called `connect()`: in `update()`, in `connect()` (on_connect), and in what else this thread calls that waits
        for packets (`request`, `receive`, `poll`, `wait_for`, `close`). However long a frame takes, no other thread
        ever runs them; meanwhile packets are read, up to the bound of the inbox, acknowledgements and heartbeats go
        out in the background. What comes while it runs is for the next frame.

        Returns:
            False when the session is over and everything that came in it was handled.

        Raises:
            ConfigError: The client was not made with handlers="update", or has never been connected.
        """
        if not self._in_update:
            raise ConfigError(
                "handlers of this client may run in other threads than that of update()",
                hint='make it with Client(..., handlers="update")',
            )
        return self._need_channel().update()

    def __iter__(self) -> Iterator[Received]:
        """
        Packets until the session ends cleanly.

        Raises:
            ConnectionClosed: It broke, or the server ended it for a reason (kick, shutdown).
        """
        while True:
            channel = self._need_channel()
            try:
                packet = self.receive()
            except SecureLinkError:
                if channel.code == Code.NORMAL:
                    return
                raise
            assert packet is not None
            yield packet

    @overload
    def on(self, action: str) -> Callable[[Bound], Bound]: ...

    @overload  # a class can be called, too; the first that fits is meant
    def on(self, action: str, data_type: type[Data]) -> TypedBinder[Data]: ...  # type: ignore[overload-overlap]

    @overload
    def on(
        self, action: str, data_type: type[Data], handler: Callable[[Typed[Data]], Result]
    ) -> Callable[[Typed[Data]], Result]: ...

    @overload
    def on(self, action: str, handler: Bound, /) -> Bound: ...

    @overload
    def on(self, action: str, *, handler: Bound) -> Bound: ...

    def on(self, action: Any = MISSING, data_type: Any = MISSING, handler: Any = MISSING) -> Any:
        """
        Bind a handler to the packets of one name: `f(packet)`. A later one replaces an earlier.

            @client.on("said")
            def said(packet): print(packet.data)

            @client.on("moved", Moved)                      # a dataclass or msgspec.Struct
            def moved(packet): print(packet.data.x)

        What it returns answers a `request()` of the server. An object with a method `run(packet)` may be bound too.

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
        A hook: f(action, data) gives the data to send instead, of packets, requests and states. What a handler returns
        as its answer goes out as it is.
        """
        return self._hooks.before_send

    @before_send.setter
    def before_send(self, hook: BeforeSend | None) -> None:
        self._hooks.before_send = checked_or_none("before_send", hook, ("action", "data"))

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
            The packets that the server has not confirmed; normally none.
        """
        timeout = seconds("timeout", timeout)
        self._given_up.set()
        channel = self._channel
        if channel is None:
            return []
        left = channel.close(timeout)
        caretaker.settle(SETTLE_SECONDS)
        return left

    def _need_channel(self) -> ClientChannel:
        return cast(ClientChannel, super()._need_channel())

    # --- what is known about it ------------------------------------------------------------------------------------

    @property
    def token(self) -> str:
        """The uuid4 that names the session; "" before the first one."""
        return str(uuid.UUID(bytes=self._welcome.token)) if self._welcome is not None else ""

    @property
    def encrypted(self) -> bool:
        """Whether the session is encrypted."""
        return self._encrypted

    @property
    def fingerprint(self) -> str | None:
        """Of this client's key, `SHA256:...`; None for a client that has none."""
        return self._identity.fingerprint if self._identity is not None else None

    @property
    def server_fingerprint(self) -> str | None:
        """Of the server's key, `SHA256:...`; None before the first connection and in plaintext."""
        return self._server_fingerprint

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
        return f"<Client of {self._where}, {state}>"
