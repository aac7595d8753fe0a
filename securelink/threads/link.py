"""
One connection that carries a channel: it has a stream, the protocol's `Connection`, what writes and what reads.

Reading, closing the socket and everything else with the selector is the leader's alone. What is said to the peer and
when is the connection's business (`protocol/connection.py`): a link moves bytes, waits, and calls it.
"""

from __future__ import annotations

import logging
from math import inf

from .._mypyc import mypyc_attr
from ..codes import Code, spares_session
from ..errors import SecureLinkError
from ..protocol import (
    Closed,
    Connection,
    Ended,
    Event,
    Expired,
    Failed,
    Pinged,
    Ponged,
    Silent,
)
from ..streams.base import HANGUP, READ, WRITE, Address, Stream
from ..wire.fields import Content
from .carried import Carried
from .ends import CLOSED, SHUT
from .loop import Loop
from .outcome import Outcome
from .reading import Reader
from .writing import Writer

log = logging.getLogger("securelink")


@mypyc_attr(allow_interpreted_subclasses=True)
class Link:
    """
    A stream, and what goes over it.

    Args:
        loop: Its leader reads this link.
        stream: To the peer. The link closes it.
        connection: In either role.
        address: Of the peer, if it is another than the stream says.

    Attributes:
        channel: The session, once there is one.
        writer, reader: What seals and writes, what reads and opens.
    """

    __slots__ = (
        "_given_up", "_heard_all", "address", "channel", "connection", "loop", "reader", "stream", "writer",
    )  # fmt: skip

    def __init__(
        self, loop: Loop, stream: Stream, connection: Connection, address: Address | None = None
    ) -> None:
        self.loop = loop
        self.stream = stream
        self.connection = connection
        self.address = address or stream.peer
        self.channel: Carried | None = None
        self._given_up = False  # it is worth nothing any more, but a session may go on without it
        self._heard_all = False  # its last byte was read, and our CLOSE is to come
        self.writer = Writer(loop, stream, connection, self.address, self)
        self.reader = Reader(loop, stream, connection, self.writer)

    def carry(self, channel: Carried) -> None:
        """From now on this link carries that session."""
        self.writer.carry(channel)
        self.reader.carry(channel)
        self.channel = channel  # last: a thread that finds it finds the others

    # --- any thread -----------------------------------------------------------------------------------------

    @property
    def closing(self) -> tuple[int, str] | None:
        """Code and text of the CLOSE that was or will be sent, if any."""
        return self.connection.closing

    @property
    def encrypted(self) -> bool:
        """Whether it is."""
        return self.connection.encrypted

    def ping(self, number: int, now: float) -> None:
        """Send a PING with this number at this moment."""
        if self.connection.liveness is not None:
            self.connection.liveness.pinged(now)
        self.control(Content.PING, number.to_bytes(8))

    def control(self, content: Content, payload: bytes = b"") -> None:
        """Queue a control record and write it. After CLOSE there are none."""
        self.connection.control(content, payload)
        self.writer.flush()

    def end(self, code: int, text: str = "", delay: float = 0.0) -> None:
        """Send what is queued, then CLOSE, unless one is to be sent, see `Connection.close`; the leader sees to it."""
        self._given_up = self._given_up or spares_session(code)
        self.connection.close(code, text, now=self.loop.now, delay=delay)
        self.ask_interest()
        self.writer.flush()

    def ask_interest(self) -> None:
        """Let the leader recompute what the selector reports for this link."""
        self.loop.call(self.update_interest)

    # --- the leader ---------------------------------------------------------------------------------------------

    def update_interest(self) -> None:
        """Register for what this link waits for."""
        if self.writer.end is CLOSED:
            return
        mask = self.writer.mask()
        listens = self.reader.listens()
        self.connection.reading(listens)
        if listens:
            mask |= READ
            if self.connection.more:
                self.reader.go_on_later(self)
        elif not self.reader.hung_up:
            mask |= HANGUP
        self.loop.register(self.stream, mask, self)

    def on_io(self, mask: int) -> None:
        """The selector reports this link."""
        writer, reader = self.writer, self.reader
        if mask == READ:
            if not (writer.end is CLOSED or reader.unfinished):
                reader.read(self)
            return
        if mask & WRITE and writer.end is not CLOSED:
            writer.flush()
            self._leave_if_done()
            if self.channel is not None:
                self.channel.drained()
            self.update_interest()
        if mask & HANGUP and writer.end is not CLOSED:
            self._peer_hung_up()
        if mask & READ and not (writer.end is CLOSED or reader.unfinished):
            reader.read(self)

    def _peer_hung_up(self) -> None:
        """What it left is finite. It is read at once, so that its end is known though handlers lag behind."""
        self.reader.hung_up = True
        self.connection.hung_up()
        self.update_interest()

    def go_on(self) -> None:
        """The next part of what arrived; the others had their turn."""
        reader = self.reader
        reader.unfinished = False
        if self.writer.end is not CLOSED and self.connection.more and reader.listens():
            reader.read(self)

    def on_error(self) -> None:
        """An internal error: close; other connections go on."""
        self.lost()

    def delivered(self) -> None:
        """Records have come: the inbox has something to run."""
        channel = self.channel
        if channel is not None:
            self.loop.ready.inboxes[channel.inbox] = None  # as `ReadyList.add`

    def pass_time(self, now: float) -> None:
        """Let the connection do what is due."""
        for event in self.connection.on_deadline(now):
            self.event(event)
        if self.connection.wants_write:
            self.writer.flush()
            self._leave_if_done()

    # --- what was read ------------------------------------------------------------------------------------------

    def event(self, event: Event) -> None:
        """Anything that is no record."""
        match event:
            case Pinged():
                pass  # it is answered
            case Ponged(payload):
                self.reader.ponged(payload)
            case Closed():
                self._peer_closed(event)
            case Ended():
                self.heard_all()
            case Failed():
                self._failed(event)
            case Silent(seconds):
                self._silent(seconds)
            case Expired():
                self._expired()
            case _:
                self._handshake_event(event)

    def _handshake_event(self, event: Event) -> None:
        raise NotImplementedError

    def _peer_closed(self, closed: Closed) -> None:
        """The session is over, unless the peer only gives the connection up. Answered when all before it is handled."""
        channel = self.channel
        if channel is not None and closed.delay:
            channel.stay_away(closed.delay)
        if spares_session(closed.code) and self._gives_way():
            return
        if channel is not None and self.connection.answer_at < inf:
            channel.note(self._answer_close)
        self.writer.flush()
        self.finish_channel(Outcome(closed.code, closed.text, clean=True, ours=closed.answers))

    def _answer_close(self) -> None:
        """Called by the thread that runs the inbox, when everything before the peer's CLOSE has had its turn."""
        self.connection.answer_close()
        self.writer.flush()
        self.loop.call(self._leave_if_done)

    def _leave_if_done(self) -> None:
        """By the leader: the peer has sent its last byte, and now we have sent ours."""
        if self._heard_all and self.writer.end >= SHUT:
            self.lost()

    def heard_all(self) -> None:
        """The peer's last byte was read. If its CLOSE waits for our answer, so does the stream."""
        if self.connection.answer_at < inf and self.writer.end < SHUT:
            self._heard_all = True
            self.reader.open = False
            self.ask_interest()
            # The second look: it may have been answered meanwhile.
            self.loop.call(self._leave_if_done)
        else:
            self.lost()

    def _failed(self, failed: Failed) -> None:
        """The peer broke the protocol, or somebody on the path did."""
        channel = self.channel
        if channel is None:
            self._handshake_failed(failed.error, failed.answer)
            return
        if failed.ours:
            # Not the peer's fault, nor a stranger's: Ctrl-C took a piece of the stream with it.
            self.give_way()
            return
        # It is kept with the session; the frames that it passed through, with what they hold, are not.
        failed.error.__traceback__ = failed.error.__context__ = failed.error.__cause__ = None
        log.warning("%s: %s; the connection is closed", channel.name, failed.as_error())
        if failed.spared and self._gives_way():
            return
        self.finish_channel(Outcome(Code.PROTOCOL, ours=True, failed=failed))
        self.end(Code.PROTOCOL)

    def _silent(self, seconds: float) -> None:
        """The peer was read, and said nothing for too long."""
        if self._gives_way():
            return
        self.finish_channel(Outcome(Code.SILENT, ours=True))
        self.end(Code.SILENT)

    def _expired(self) -> None:
        """The peer did not come to the end in time."""
        self.lost()

    def _handshake_failed(self, error: SecureLinkError, answer: bytes) -> None:
        raise NotImplementedError

    def finish_channel(self, outcome: Outcome) -> bool:
        """End the session; False when it had ended, or there is none."""
        asked = self.connection.asked
        if asked is not None and (asked[0] != Code.NORMAL or not outcome.clean):
            # We ended it, for a reason or before the stream ended: ours is the reason.
            outcome = Outcome(*asked, clean=True, ours=True, failed=outcome.failed)
        channel = self.channel
        if channel is None or not channel.finished(outcome):
            return False
        if channel.parting:
            self._part(channel)
        return True

    def _part(self, channel: Carried) -> None:
        """Tell those that still wait for answers."""
        while channel.part():
            pass

    def finish_raw(self, data: bytes) -> None:
        """Write last bytes of a failed handshake, shut our side, and let the peer read them."""
        self.writer.queue_raw(data)
        self.connection.close(Code.NORMAL, now=self.loop.now)
        self.writer.flush()
        self.reader.open = True
        self.update_interest()

    def lost(self) -> None:
        """End of stream, reset, or deadline: close the socket. The session ends if it has not."""
        writer = self.writer
        if writer.end is CLOSED:
            return
        writer.advance(CLOSED)
        self.loop.register(self.stream, 0, self)
        self._left_by(writer.close(self.leave_session))
        self._gone()

    def leave_session(self, held: bool) -> Carried | None:
        """
        Called by the reader of this link, which is over: its session goes on without it, if it may.

        Args:
            held: Whether the caller has the send right.

        Returns:
            The session that goes on.
        """
        channel, connection = self.channel, self.connection
        if not held or channel is None or connection.asked is not None:
            return None
        over = connection.closing is not None and not self._given_up  # one side has said so
        if over or not channel.suspend(self):
            return None
        self.let_go()
        return channel

    def let_go(self) -> None:
        """Called with the send right, after the session was detached: nothing of this link touches it any more."""
        self.writer.let_go()
        self.reader.let_go()
        self.channel = None

    def _left_by(self, session: Carried | None) -> None:
        """The connection broke: its session goes on without it, or is over."""
        if session is None:
            self.finish_channel(Outcome(Code.BROKEN))
        else:
            session.suspended()

    def _gives_way(self) -> bool:
        channel = self.channel
        if channel is None or not channel.may_suspend(self):
            return False
        self.give_way()
        return True

    def give_way(self) -> None:
        """The peer is not to be heard over this link any more; its session may go on over another one."""
        self._given_up = True
        self.writer.flush()  # the last word
        self.lost()

    def orphaned(self) -> None:
        """In a child of fork(): the connection is the parent's. The peer must not wait for us to close it as well."""
        self.writer.orphaned()

    def orphaned_late(self) -> None:
        """The same, should it have escaped that."""
        if self.channel is not None:
            self.channel.orphaned()

    # --- once a second, by the leader ---------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """What is due, overdue or silent, and rates that are counted anew."""
        writer, reader = self.writer, self.reader
        if writer.end is CLOSED:
            return
        writer.look_again()
        self.connection.reading(reader.listens())
        self.pass_time(now)
        if writer.end >= CLOSED:
            return
        if reader.next_second(now):
            self.update_interest()
        liveness = self.connection.liveness
        if liveness is not None:
            writer.buffer.watch(liveness, choked=writer.choked and not reader.hung_up)
        if writer.buffer.is_stalled:
            self._too_slow()

    def _too_slow(self) -> None:
        if self.channel is not None:
            self.channel.end(Code.TOO_SLOW)

    def _gone(self) -> None:
        """The socket is closed. Subclasses take it out of their registries."""
