"""The client: connect, send, receive."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from .dispatching import ClientDispatching
from .errors import ConfigError, ConnectionClosed, LinkTimeout
from .limits import (
    CLOSE_SECONDS,
    CONNECT_SECONDS,
)
from .logs.default import make_visible
from .options import seconds
from .receiver import Receiver
from .threads.caretaker import SETTLE_SECONDS, caretaker
from .threads.client_channel import ClientChannel
from .threads.connecting import Destination
from .threads.patched import check_not_patched
from .threads.receiving import finish, no_connection
from .threads.requesting import probe
from .visiting import BaseClient
from .wire.packets import Packet

Credentials = Any  # a MessagePack value, or a function of (binding, fingerprint) that gives one


class Client(BaseClient, Receiver, ClientDispatching):
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
                raise no_connection(timeout)
            finish(self._channel, deadline.at)  # it is over when the next one begins
        place = Destination(self.carrier, self.host, self.port)
        with connector.passing_on.beginning():
            channel = self._enter(self._arrive(place, deadline, retry=retry), place)
            # close() says first that it was called, and then looks for the session: one of us two sees the other.
            if connector.given_up.is_set():
                channel.close(CLOSE_SECONDS)
                raise deadline.called_off()
            channel.run()
        if connector.introduction.has_credentials:
            _show_presence(channel, max(0.0, deadline.left))

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

    def __enter__(self) -> Self:
        return self if self.connected else self.connect()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _show_presence(channel: ClientChannel, timeout: float) -> None:
    """
    WELCOME has come, and the server shall know: until then it may hold the session back.

    When the answer is here the session is public there, as it is without credentials.

    Raises:
        LinkTimeout: It did not answer in `timeout` seconds; the session is ended.
    """
    try:
        probe(channel, timeout)
    except ConnectionClosed:
        pass  # the session existed and was ended: its next use says why
    except LinkTimeout:
        channel.close(0.0)
        raise
