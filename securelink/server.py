"""The server: sessions, handlers, sending."""

from __future__ import annotations

from typing import cast

from .dispatching import ServerDispatching
from .hosting import BaseServer
from .runnable import Runnable
from .session import Room, Session


class Server(BaseServer[Session], Runnable, ServerDispatching):
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
        fanout: Has the sessions and sends to many of them; None: those of this process. Each server needs its own. One
            that joins several processes is in examples/cluster.py.
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

    _session_kind, _room_kind = Session, Room

    def room(self, name: str) -> Room:
        """A room; sessions enter by `session.join(name)`."""
        return cast(Room, self._rooms.get(name))
