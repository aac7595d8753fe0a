"""The common part of the connections of both roles. What they do with each content is in `contents.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf

from ..codes import Code
from ..errors import ConfigError, HandshakeError, ProtocolError, SecureLinkError
from ..limits import CLOSE_SECONDS, HEADER_SIZE, MAX_CONTROLS, MAX_HANDSHAKE_BODY, SWEEP_SECONDS
from ..wire.fields import Content, Kind
from ..wire.frames import FrameBuffer
from ..wire.messages import Close, Welcome
from .ack_timing import AckTiming
from .acknowledgements import Numbering
from .call_order import made_before, misplaced
from .events import Ended, Event, Expired, Failed, Item, Overdue, Silent
from .liveness import Liveness
from .records import RecordReceiver, RecordSender
from .sender import Sender
from .states import CONTENT_INPUTS, KIND_INPUTS, MOVES, OVER, READS_NOTHING, Input, State, Take

_COPY_BELOW = 4096  # bytes: a slice that copies is cheaper than a view up to about here
# Names of the fast path: looking up and comparing members of an enum costs more than opening a record.
_OPEN = State.OPEN
_DATA = int(Content.DATA)
_NUMBERED = _DATA, int(Content.DATA_ACK)

#: What a role does with an input: it gets header and body of a clear frame, or the plaintext of a protected one.
Takes = Mapping[Take, Callable[..., None]]


class Connection:
    """
    The common part of both roles.

    The receiving half (`receive_data`, `reconsider`), the sending half (`data_to_send`, `sender`) and the timekeeper
    (`on_deadline`) may be three threads, one each. The first and the last only queue their output and set
    `wants_write`; the sending half seals it.

    Args:
        state: The first.
        takes: What this role does with the inputs that the table allows.
        pings: Whether this side sends the heartbeats.
        deadline: When the handshake must be done.

    Attributes:
        state: A `State`. Only `_go` changes it.
        sender: The sending half; exists from OPEN on.
        numbering: The session's counters, see `carry`.
        encrypted: Whether the hellos agreed on encryption.
        at_once: Frames that one call opens at most; 0: all that have arrived.
        more: Whether the last call stopped there; `reconsider` continues.
        controls: ACK, PING, PONG and KEY_UPDATE records so far.
        key_updates: KEY_UPDATE records of the peer so far.
        reads: The number of calls of `receive_data`.
        wants_write: Once open: whether `data_to_send` has output.
        now: The time as the receiving half was given it last.
        deadline: When the handshake must be done, or the peer must have ended after our CLOSE; `inf` in between.
        closing, delay: Code and text of the CLOSE of either side; milliseconds of RESTART and HANDOVER.
        asked: The same if `close` was called to end the session, before there was any other reason for that.
        acks: When to send acknowledgements.
        answer_at: When the peer's CLOSE is answered at the latest; `inf` unless what came before it is to be handled.
        liveness: Heartbeats and silence; exists from OPEN on.
    """

    __slots__ = (
        "_bytes_lost", "_carried", "_controls", "_frames", "_out", "_pings", "_proved", "_reading", "_receive",
        "_resumable", "_send", "_takes", "acks", "answer_at", "asked", "at_once", "closing", "controls", "deadline",
        "delay", "encrypted", "key_updates", "liveness", "more", "now", "numbering", "reads", "sender", "state",
        "wants_write",
    )  # fmt: skip

    def __init__(self, state: State, takes: Takes, *, pings: bool, deadline: float) -> None:
        self.state = state
        self._takes, self._pings = takes, pings
        self.numbering = Numbering()
        self.sender: Sender | None = None
        self.acks = AckTiming(self.numbering.incoming)
        self.liveness: Liveness | None = None
        self.at_once, self.more = 0, False
        self.controls = self.key_updates = self.reads = self.delay = 0
        self.wants_write = self.encrypted = False
        self.closing: tuple[int, str] | None = None
        self.asked: tuple[int, str] | None = None
        self.deadline, self.now = deadline, -inf
        self._frames = FrameBuffer(MAX_HANDSHAKE_BODY)
        # Lists, for they are short, and an empty deque has 700 bytes more.
        self._out: list[bytes] = []
        self._controls: list[tuple[Content, bytes]] = []
        self._send: RecordSender | None = None
        self._receive: RecordReceiver | None = None
        self.answer_at, self._reading = inf, True
        self._proved = False  # whether the record that broke the protocol was authenticated
        self._bytes_lost = self._carried = False  # see `interrupted` and `carry`
        self._resumable = False  # the session has a ticket

    @property
    def pending(self) -> int:
        """Bytes that arrived and are not a whole frame yet."""
        return self._frames.pending

    # Sending: one thread at a time.

    def data_to_send(self, *, more: bool = False) -> bytes:
        """
        Output other than packets: the messages of the handshake; once open ACK, PONG, PING and CLOSE.

        Args:
            more: Packets that were sent before the end still wait, so CLOSE comes later, after them.

        Returns:
            Bytes to be written in this order; empty once they were taken.
        """
        parts: list[bytes] = []
        while self._out:
            parts.append(self._out.pop(0))
        sender = self.sender
        if sender is not None and self.wants_write:
            self.wants_write = False  # first: output that is queued from here on sets it again
            self._seal_controls(sender, parts)
            if self.closing is not None and not sender.closed:
                if more:
                    self.wants_write = True
                else:
                    parts.append(sender.close(*self.closing, self.delay))
        return b"".join(parts)

    @property
    def has_handshake_data(self) -> bool:
        """Whether a message of the handshake waits to be sent."""
        return bool(self._out)

    def _seal_controls(self, sender: Sender, parts: list[bytes]) -> None:
        if self.acks.due:
            self.acks.due = False
            parts.append(sender.ack())
        if sender.closed:
            self._controls.clear()  # no records follow CLOSE
        while self._controls:
            parts.append(sender.control(*self._controls.pop(0)))

    def carry(self, numbering: Numbering) -> None:
        """
        Use a session's numbering: its counts of sent and accepted records continue here.

        Raises:
            ConfigError: The connection is open and already counts.
        """
        if self.sender is not None:
            raise ConfigError(
                "carry() does not belong here: the connection is open",
                hint="give it the session's numbering before",
            )
        self.numbering = numbering
        self._carried = True

    def let_go(self) -> None:
        """Stop carrying the session: unaccepted and unwritten data is dropped. Call it while neither half is in use."""
        self._go(Input.ABORT)
        self.numbering = Numbering()
        self._out.clear()
        if self.sender is not None:
            self.sender.closed = True

    # Asking for something: any thread.

    def answer_close(self) -> None:
        """Answer the peer's CLOSE; what is acknowledged with it is all that will be."""
        self.answer_at = inf
        self._say_close(Code.NORMAL)

    def control(self, content: Content, payload: bytes = b"") -> None:
        """Queue a PING or PONG, unless CLOSE was sent; a peer that pings without reading gets few answers."""
        sender = self.sender
        if sender is None or sender.closed or len(self._controls) >= MAX_CONTROLS:
            return
        self._controls.append((content, payload))
        self.wants_write = True

    def close(self, code: int, text: str = "", *, now: float, delay: float | None = None) -> None:
        """
        Send CLOSE after all packets that were sent before. The first call counts.

        Args:
            code: The reason: a `Code`, such as NORMAL, UNREADABLE, TOO_SLOW.
            text: The application's text for the peer.
            now: The time: the peer has CLOSE_SECONDS to answer.
            delay: With RESTART and HANDOVER: seconds after which the peer is asked to come back.
        """
        closing = self.closing
        if code != Code.HANDOVER and (closing is None or closing[0] == Code.HANDOVER):
            self.asked = self.asked or (code, text)
        if closing is None:
            self.delay = int(1000 * (delay or 0))
            self._say_close(code, text)
            self.leave(now)

    def _say_close(self, code: int, text: str = "") -> None:
        if self.closing is None:
            self.closing = (code, text)
        self.wants_write = self.sender is not None

    def leave(self, now: float) -> None:
        """The connection is about to end: from now on a deadline runs, after which `on_deadline` returns `Expired`."""
        if self.deadline == inf:
            self.deadline = now + CLOSE_SECONDS

    def hurry(self, deadline: float) -> None:
        """Set the deadline for the peer's next step, unless the connection is about to end anyway."""
        if self.closing is None:
            self.deadline = deadline

    def interrupted(self) -> None:
        """Bytes of the peer may have been lost on this side: a next record that does not open is not its fault."""
        self._bytes_lost = True

    def abort(self) -> None:
        """Part of a record is certainly lost on this side: bytes that still arrive are ignored."""
        self._go(Input.ABORT)

    # The time.

    def reading(self, reads: bool) -> None:
        """Say whether the peer is read from now on: time in which it is not read does not count as its silence."""
        self._reading = reads
        if self.liveness is not None:
            self.liveness.reading(reads)

    def hung_up(self) -> None:
        """Say that the peer's last byte has come, though it was not read yet."""
        if self.liveness is not None:
            self.liveness.hung_up = True

    def next_deadline(self) -> float:
        """When to call `on_deadline` at the latest; `inf` if nothing is due."""
        due = min(self.deadline, self.acks.due_at, self.answer_at)
        if self.liveness is not None and self.closing is None:
            due = min(due, self.liveness.next_look)
        return due

    def on_deadline(self, now: float) -> list[Event]:
        """
        Do what the time demands: acknowledgements, heartbeats, new keys, the end of overdue or silent connections.

        It may be called sooner or later than `next_deadline` says, and more often.

        Returns:
            `Overdue`, `Expired` or `Silent`. `data_to_send` returns the output.
        """
        acks, liveness = self.acks, self.liveness
        if now >= acks.due_at and acks.on_time(now):
            self.wants_write = True
        if now >= self.answer_at:
            self.answer_close()
        if liveness is not None:
            liveness.look(now, self.reads, behind=self.more)
            if self.sender is not None:
                self.sender.watch_key(now)
        if self.deadline < inf:
            return self._past_deadline(now) if now >= self.deadline else []
        if liveness is None or self.closing is not None:
            return []
        if liveness.silent:
            self._say_close(Code.SILENT)
            self.leave(now)
            return [Silent(liveness.quiet)]
        if liveness.ping_is_due(now):
            self.control(Content.PING, bytes(8))
        return []

    def _past_deadline(self, now: float) -> list[Event]:
        # A moment to read a last message; a connection that is not closed by then is reported again.
        self.deadline = now + SWEEP_SECONDS
        if self.sender is not None or self.state in OVER:
            return [Expired()]
        # While it is not read, another thread computes its next step.
        return [Overdue(self.state, self.overdue() if self._reading else b"")]

    def overdue(self) -> bytes:
        """End a handshake that takes too long; returns a last message for the peer."""
        return self._end(Input.DEADLINE, Code.TIMEOUT)

    # Receiving: one thread at a time.

    def receive_data(self, data: bytes, now: float) -> list[Item]:
        """
        Take bytes from the peer; b"" is end of stream.

        Args:
            data: The bytes that have arrived, in pieces of any size.
            now: The time, in seconds; monotonic.

        Returns:
            Records and events in order; the last is `Failed` if the peer broke the protocol. Never raises for it.
        """
        found = self.receive(data, now)
        return found if isinstance(found, list) else [found]

    def receive(self, data: bytes, now: float) -> bytes | memoryview | list[Item]:
        """As `receive_data`; a lone record, as usual, comes without a list."""
        self.now, self.reads = now, self.reads + 1
        if self.state is not _OPEN or not data:
            return self._receive_unopened(data)
        out: list[Item] = []
        frame, record = self._frames.whole(data), None
        try:
            if frame is not None:
                record = self._record(frame[0], frame[1], out)
            else:
                self._frames.feed(data)
                self._process(out)
        except SecureLinkError as error:
            out.append(self._fail(error))
        # An inbox asks for itself when it has handled something; here only whether a timer has to be started.
        acks, asks = self.acks, not self.numbering.incoming.queued
        if (asks or acks.due_at == inf) and (record is not None or out) and acks.look(now):
            self.wants_write = True
        return out if record is None else record

    def _receive_unopened(self, data: bytes) -> list[Item]:
        """Before the session is open, after it, and the end of the stream at any time."""
        if not data:
            # Reported also after CLOSE and failures: the owner of the socket waits for it before closing the socket.
            self._go(Input.END_OF_STREAM)
            return [Ended()]
        if self.state in OVER:
            return []
        self._frames.feed(data)
        return self.reconsider(self.now)

    def reconsider(self, now: float) -> list[Item]:
        """Process bytes that arrived while the state read nothing. Returns the same as `receive_data`."""
        self.now = now
        out: list[Item] = []
        try:
            self._process(out)
        except SecureLinkError as error:
            out.append(self._fail(error))
        if out and self.acks.look(now):
            self.wants_write = True
        return out

    def _process(self, out: list[Item]) -> None:
        next_frame = self._frames.next_frame
        left = self.at_once
        self.more = False
        while self.state is _OPEN or self.state not in READS_NOTHING:
            frame = next_frame()
            if frame is None:
                return
            if self.state is _OPEN:
                record = self._record(frame[0], frame[1], out)
                if record is not None:
                    out.append(record)
            else:
                self._take_unopened(frame[0], frame[1], out)
                if self.more:
                    return
            left -= 1
            if left == 0:
                self.more = True
                return

    def _record(self, header: bytes, body: bytes, out: list[Item]) -> bytes | memoryview | None:
        """One frame of an open session: the record that it brings; anything else is added to `out`."""
        receive = self._receive
        if receive is None or header[0] != receive.kind:
            self._unprotect(header, body, out)
            return None
        plaintext = receive.open(header, body)
        try:
            if plaintext[0] in _NUMBERED:  # no look-up: that takes longer than decryption
                return self._accept(plaintext)
            self.controls += 1
            self._dispatch(plaintext, out)
            return None
        except SecureLinkError:
            self._proved = self.encrypted
            raise

    def _take_unopened(self, header: bytes, body: bytes, out: list[Item]) -> None:
        """One frame of a session that is not open yet."""
        state = self.state
        plaintext = self._unprotect(header, body, out)
        if not plaintext:
            return
        try:
            self._dispatch(plaintext, out)
        except SecureLinkError:
            # Before it has verified SERVER_AUTH a client may have agreed on keys with an attacker.
            self._proved = self.encrypted and state is State.AUTH_SENT
            raise

    def _unprotect(self, header: bytes, body: bytes, out: list[Item]) -> bytes:
        """The plaintext of a protected frame; a clear one is dispatched here and returns b""."""
        kind = header[0]
        if self._receive is not None and kind == self._receive.kind:
            return self._receive.open(header, body)
        given = KIND_INPUTS.get(kind)
        move = None if given is None else MOVES.get((self.state, given))
        if given is None or move is None or move.take is None:
            raise ProtocolError(f"a frame of type {kind} while {self.state.value}")
        self._takes[move.take](self, header, body, out)
        self._go(given)
        return b""

    def _dispatch(self, plaintext: bytes, out: list[Item]) -> None:
        state = self.state
        given = CONTENT_INPUTS.get(plaintext[0])
        move = None if given is None else MOVES.get((state, given))
        if given is None or move is None or move.take is None:
            raise ProtocolError(f"content {plaintext[0]} while {state.value}")
        self._takes[move.take](self, plaintext, out)
        if move.then is not state:
            self._go(given)

    # The state: it is looked up and changed only here.

    def _demand(self, step: str, given: Input) -> None:
        """Steps must come in the order of the handshake; `assert` would not check this under `python -O`."""
        if (self.state, given) not in MOVES:
            raise misplaced(step, self.state, given)

    def _go(self, given: Input) -> None:
        """Change the state according to the table."""
        step = self.state, given
        if step not in MOVES:
            self._demand(given.name.lower(), given)
        move = MOVES[step]
        plaintext = None if self.encrypted else move.in_plaintext
        self.state = move.then if plaintext is None else plaintext

    def _fail(self, error: SecureLinkError) -> Failed:
        self.more = False
        code = error.code if isinstance(error, ProtocolError | HandshakeError) else Code.PROTOCOL
        ours = self._bytes_lost
        answer = self._last_word(int(code))
        spared = self._resumable and not self._proved and (self.encrypted or ours)
        if self.sender is not None:
            if not spared:
                self._say_close(Code.NORMAL if ours else int(code))
            self.leave(self.now)
        self._go(Input.FAULT)
        return Failed(error, answer, self._proved, ours, spared)

    def _last_word(self, code: int, text: str = "") -> bytes:
        """ALERT while this direction has sent nothing protected, otherwise CLOSE."""
        if self.sender is not None:
            return b""  # `data_to_send` has the CLOSE
        if self._send is None:
            return Kind.ALERT.to_bytes(1) + (1).to_bytes(HEADER_SIZE - 1) + code.to_bytes(1)
        return self._send.seal(Close(code, 0, text).encode())

    def give_up(self, code: int, text: str = "") -> bytes:
        """End the handshake from our side; returns a last message for the peer."""
        return self._end(Input.GIVE_UP, code, text)

    def _end(self, given: Input, code: int, text: str = "") -> bytes:
        """End the handshake by a step of our own; returns a last message for the peer."""
        word = self._last_word(code, text)
        self._go(given)
        return word

    def _open(self, welcome: Welcome) -> None:
        send, max_packet = made_before(self._send, "open"), welcome.max_packet
        self._resumable = welcome.ticket is not None
        self._frames.limit = max_packet
        self.acks = AckTiming(self.numbering.incoming, self.now)
        self.liveness = Liveness(welcome.heartbeat, self.now, pings=self._pings)
        self.liveness.reading(self._reading)
        self.sender = Sender(send, self.numbering, max_packet)
        if self.closing is None:
            self.deadline = inf
        else:
            self.wants_write = True

    def _data(self, plaintext: bytes, out: list[Item]) -> None:
        """A record of DATA or DATA_ACK."""
        out.append(self._accept(plaintext))

    def _accept(self, plaintext: bytes) -> bytes | memoryview:
        """Accept a record of DATA or DATA_ACK: it is counted, and its packets go to the inbox."""
        numbering, size, start = self.numbering, len(plaintext), 1
        if plaintext[0] != _DATA:
            start = 9
            if size <= start:
                raise ProtocolError("a DATA_ACK record is too short")
            numbering.outgoing.acknowledge(int.from_bytes(plaintext[1:9]))
        numbering.incoming.accepted += 1
        self.acks.bytes += size - start
        self._bytes_lost = False  # a record was opened after it, so nothing was lost
        return plaintext[start:] if size < _COPY_BELOW else memoryview(plaintext)[start:]

    def _key_update(self, plaintext: bytes, out: list[Item]) -> None:
        receive = made_before(self._receive, "key_update")
        if len(plaintext) != 1:
            raise ProtocolError("a KEY_UPDATE record of the wrong size")
        receive.update(self.now)
        self.key_updates += 1
