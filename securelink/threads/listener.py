"""
Accepting connections: from the kernel, or from a trusted proxy, which has to say first for whom.

What bounds them before they have a session says `gate.py`; their handshake is in `server_handshake.py`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable, Sequence

from ..codes import Code
from ..errors import ProtocolError
from ..limits import ACCEPTS_PER_TURN, RECORD_ROOM
from ..protocol import Resuming
from ..state import Loaded
from ..streams.base import READ, Address, Listening, Stream
from ..streams.proxy import Preamble, is_trusted
from .book import Book
from .channel import Channel
from .chores import Chores
from .farewell import Farewell
from .gate import Gate
from .holdings import Holdings
from .host import Host
from .loop import Loop
from .outcome import Outcome
from .server_link import ServerLink
from .settings import HandshakeSettings
from .suspensions import Restored, Suspensions, granted, places_of
from .sweeper import Sweeper

log = logging.getLogger("securelink.server")


class Listener:
    """
    The places where one server listens, and all connections that came in through them.

    Args:
        loop: Its leader accepts.
        listening: Where streams come in.
        settings: How to do handshakes.
        host: The server.
        book: Commits the turns of sessions, if a store keeps them.

    Attributes:
        addresses: Where it listens.
        links: All connections.
        gate: The bounds before a session.
        holdings: What their sessions keep together.
        suspensions: Sessions that have lost their connection.
        resuming: What connections resume them with; None: none is resumed.
        chores: What has no hurry.
        deaf: Nobody is listened to any more; those that are in may go on.
    """

    def __init__(
        self,
        loop: Loop,
        listening: Sequence[Listening],
        settings: HandshakeSettings,
        host: Host,
        book: Book | None = None,
    ) -> None:
        self.loop = loop
        self.settings = settings
        self.host = host
        self.book = book
        self.links: set[ServerLink] = set()
        self._listening = listening
        self.addresses: list[Address] = [place.address for place in listening]
        self.gate = Gate(loop, settings, self.links, host.note, self._begin)
        self._preambles: dict[Preamble, None] = {}  # proxies that have not said for whom they speak
        self.chores = Chores(loop.call)
        self.suspensions = Suspensions(
            loop,
            settings.resume,
            host,
            self._session_gone,
            settings.max_suspended,
            settings.max_suspended_per_address,
        )
        self.holdings = Holdings(
            loop, self.links, host.note, self.suspensions.waiting, settings.max_memory
        )
        tickets, identity = self.suspensions.tickets, settings.identity
        self.resuming: Resuming | None = None
        if tickets is not None:
            self.resuming = Resuming(tickets, identity.public if identity is not None else None)
        self._paused = False
        self.deaf = False
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether it has stopped listening for good."""
        return self._closed

    # By the leader.

    def start(self) -> None:
        """Begin to accept and to sweep."""
        self._register()
        self.holdings.start()
        Sweeper(self.loop, self.links, self._visit, self._round_ended)

    def restore(self, sessions: Sequence[Loaded], written_at: float) -> None:
        """
        Before anybody leads: the sessions of another process go on here. Their time has run while there was none.

        Args:
            sessions: As the store has them.
            written_at: When that process was last heard of, in seconds since 1970.
        """

        def lost_at(loaded: Loaded) -> float:
            since = loaded.saved.lost_at
            return written_at if since is None else since

        for loaded in sorted(sessions, key=lost_at):  # those that have waited longest end first
            saved = loaded.saved
            channel = self.host.restored(self, loaded)
            if channel is None:
                continue
            sizes = [one.max_packet for one in saved.tickets]
            channel.outbox.max_packets = (sizes or [self.settings.max_packet])[-1] - RECORD_ROOM
            tickets = [granted(ticket, channel, saved.token) for ticket in saved.tickets]
            place = Restored(saved.token, places_of(channel, saved.address[0]))
            self.suspensions.restored(
                channel, place, tickets, max(0.0, time.time() - lost_at(loaded))
            )

    def _register(self) -> None:
        for place in self._listening:
            self.loop.register(place, 0 if self._paused or self.deaf else READ, self)

    def set_paused(self, paused: bool) -> None:
        """Stop or go on accepting; connections wait in the kernel's backlog meanwhile."""
        self._paused = paused
        if not self.deaf:
            self._register()

    def stop_listening(self) -> None:
        """Accept no more connections: the address is free for another server. Sessions go on."""
        if not self.deaf:
            self.deaf = True
            self._register()
            for place in self._listening:
                place.close()
            for preamble in tuple(self._preambles):
                self._drop_preamble(preamble)
            self.gate.close()

    def close(self, *, hands_over: bool) -> None:
        """
        The same for good: a session that has lost its connection does not come back. Connections stay.

        Args:
            hands_over: Sessions that a store keeps wait for the process that follows; all others are over.
        """
        if not self._closed:
            self._closed = True
            self.stop_listening()
            self.suspensions.close(hands_over=hands_over)

    def say_farewell(self, farewell: Farewell) -> None:
        """Say it to the clients of all sessions, and hang up on those that have no session yet."""
        for link in tuple(self.links):
            if link.session is None:
                link.lost()
        farewell.say([link.session for link in self.links if link.session is not None])
        if self.book is not None:
            self.book.commit(at_once=True)

    def let_go(self) -> None:
        """By the last leader: the store is free, and what is left here of its sessions is over."""
        if self.book is not None:
            self.book.close()
            for session in tuple(self.suspensions.waiting):
                session.keeper = None
                session.finished(Outcome(Code.HANDOVER, clean=True, ours=True))

    def orphaned(self) -> None:
        """In a child of fork(): the sockets are the parent's, and it alone decides when the port is free again."""
        self._closed = self.deaf = True
        for place in self._listening:
            place.close()
        for preamble in self._preambles:
            preamble.stream.close()
        self.gate.waiting.orphaned()
        for link in self.links:
            link.orphaned()
        self.suspensions.orphaned()
        if self.book is not None:
            self.book.orphaned()

    def on_io(self, mask: int) -> None:
        """Connections wait to be accepted."""
        for place in self._listening:
            for _ in range(ACCEPTS_PER_TURN):
                try:
                    stream = place.accept()
                except ConnectionError:
                    continue  # it was reset while it waited
                except OSError as error:
                    self._accept_failed(error)
                    break
                self._accepted(stream)

    def _accept_failed(self, error: OSError) -> None:
        if isinstance(error, BlockingIOError | InterruptedError):
            return
        # Out of descriptors, most likely. The connection stays in the backlog; trying at once would spin.
        log.error("cannot accept connections: %s; trying again in a second", error)
        for place in self._listening:
            self.loop.register(place, 0, self)
        self.loop.call_later(1.0, self._register)

    def _accepted(self, stream: Stream) -> None:
        self.loop.unread = True  # its first message may be here as well
        if self.settings.proxies and is_trusted(stream.peer[0], self.settings.proxies):
            self._await_header(stream)
            return
        self.gate.arrived(stream, stream.peer)

    def _await_header(self, stream: Stream) -> None:
        preamble = Preamble(stream, self._header_done)
        self._preambles[preamble] = None
        if len(self._preambles) > self.settings.max_half_open:
            self._drop_preamble(next(iter(self._preambles)))
        self.loop.register(stream, READ, preamble)
        self.loop.call_later(self.settings.handshake_seconds, lambda: self._header_late(preamble))

    def _header_late(self, preamble: Preamble) -> None:
        if preamble in self._preambles:
            log.warning("%s is a trusted proxy and sent no PROXY header in time", preamble.peer[0])
            self._drop_preamble(preamble)

    def _header_done(self, preamble: Preamble, found: Address | ProtocolError | None) -> None:
        if isinstance(found, ProtocolError):
            log.warning("%s is turned away: %s", preamble.peer[0], found)
        if not isinstance(found, tuple):
            self._drop_preamble(preamble)
            return
        del self._preambles[preamble]
        self.loop.register(preamble.stream, 0, preamble)
        self.gate.arrived(preamble.stream, found)

    def _drop_preamble(self, preamble: Preamble) -> None:
        if self._preambles.pop(preamble, 0) is None:
            self.loop.register(preamble.stream, 0, preamble)
            preamble.stream.close()

    def _begin(self, stream: Stream, address: Address) -> None:
        link = ServerLink(self, stream, address)
        self.links.add(link)
        self.gate.admit(link)

    def forget(self, link: ServerLink) -> None:
        """The socket of this link is closed."""
        self.links.discard(link)
        if link.channel is not None and not link.told:
            link.channel.core.sending.drop()  # the application may keep the session as long as it likes
        self.gate.left(link)

    def on_error(self) -> None:
        """An internal error while accepting: go on."""

    def _visit(self, link: ServerLink) -> None:
        link.sweep(self.loop.now)
        self.holdings.visit(link)
        if link.session is not None:
            link.session.visit()

    def _round_ended(self) -> None:
        self.suspensions.sweep()
        if self.book is not None:
            for session in self.suspensions.waiting:
                session.visit()
            self.book.tick()
        self.holdings.round_ended()

    def _session_gone(self, session: Channel, places: tuple[Hashable, ...]) -> None:
        """A session ended that had no connection."""
        if session.parting:
            self.chores.add(session.part)
        self.holdings.left(session, places)
