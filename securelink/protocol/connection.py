"""What the engines of both roles share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..codes import Code
from ..errors import ConfigError, HandshakeError, ProtocolError, SecureLinkError
from ..limits import HEADER_SIZE, MAX_HANDSHAKE_BODY
from ..wire.fields import Content, Kind
from ..wire.frames import FrameBuffer
from ..wire.messages import Close
from .events import Alerted, Closed, Ended, Failed, Item, Pinged, Ponged
from .numbering import Numbering
from .order import made_before
from .records import RecordReceiver, RecordSender
from .sender import Sender
from .states import CONTENT_INPUTS, KIND_INPUTS, MOVES, OVER, READS_NOTHING, Input, State, Take

_COPY_BELOW = 4096  # bytes: a slice that copies is cheaper than a view up to about here
# Names of the fast path: looking up and comparing members of an enum costs more than opening a record.
_OPEN = State.OPEN
_DATA = int(Content.DATA)
_DATA_ACK = int(Content.DATA_ACK)


#: What a role does with what it takes: with header and body of a frame in clear, or with the plaintext of another.
Takes = Mapping[Take, Callable[..., None]]


class Connection:
    """
    What both roles share.

    Args:
        state: The first.
        takes: What this role does with what the table lets in.
        clock: Seconds, monotonic; read only when the peer updates its key.

    Attributes:
        state: A `State`. Only `_go` changes it.
        sender: The sending half; exists from OPEN on.
        numbering: The session's counters; given by the session that this connection carries.
        encrypted: Settled by the hellos.
        at_once: Frames that one call opens at most; 0: all that have arrived.
        more: Whether the last call stopped there: `reconsider` goes on.
        controls: ACK, PING, PONG and KEY_UPDATE records so far.
    """

    def __init__(self, state: State, takes: Takes, clock: Callable[[], float]) -> None:
        self.state = state
        self._takes = takes
        self.encrypted = False
        self.numbering = Numbering()
        self.sender: Sender | None = None
        self.at_once = 0
        self.more = False
        self.controls = 0
        self._clock = clock
        self._frames = FrameBuffer(MAX_HANDSHAKE_BODY)
        self._out: list[bytes] = []
        self._send: RecordSender | None = None
        self._receive: RecordReceiver | None = None
        self._last_update = float("-inf")
        self._proved = False  # whether what broke the protocol was authenticated as the peer's

    @property
    def pending(self) -> int:
        """Bytes that arrived and are no whole frame yet."""
        return self._frames.pending

    # Both directions during the handshake.

    def data_to_send(self) -> bytes:
        """What the handshake wants sent; empty once it was taken."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def receive_data(self, data: bytes) -> list[Item]:
        """
        Take bytes from the peer; b"" is end of stream.

        Returns:
            Records and events in order. Never raises for what a peer does: the last event is `Failed` then.
        """
        if self.state is not _OPEN or not data:
            return self._receive_unopened(data)
        out: list[Item] = []
        try:
            frame = self._frames.whole(data)
            if frame is not None:
                self._record(frame[0], frame[1], out)
            else:
                self._frames.feed(data)
                self._process(out)
        except SecureLinkError as error:
            out.append(self._fail(error))
        return out

    def _receive_unopened(self, data: bytes) -> list[Item]:
        """Before the session is open, after it, and the end of the stream at any time."""
        if not data:
            # Said also after CLOSE and failures: whoever holds the socket waits for it to close the socket.
            self._go(Input.END_OF_STREAM)
            return [Ended()]
        if self.state in OVER:
            return []
        self._frames.feed(data)
        return self.reconsider()

    def reconsider(self) -> list[Item]:
        """Process what had arrived while the state read nothing. Same returns as `receive_data`."""
        out: list[Item] = []
        try:
            self._process(out)
        except SecureLinkError as error:
            out.append(self._fail(error))
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
                self._record(frame[0], frame[1], out)
            else:
                self._take_unopened(frame[0], frame[1], out)
            left -= 1
            if left == 0:
                self.more = True
                return

    def _record(self, header: bytes, body: bytes, out: list[Item]) -> None:
        """One frame of an open session. The usual contents need no look-up: it takes longer than decrypting them."""
        receive = self._receive
        if receive is None:
            raise ConfigError("an open connection has nothing to open records with")
        if header[0] != receive.kind:
            self._unprotect(header, body, out)
            return
        plaintext = receive.open(header, body)
        content = plaintext[0]
        try:
            if content == _DATA:
                self._data(plaintext, out)
            elif content == _DATA_ACK:
                self._data_ack(plaintext, out)
            else:
                self.controls += 1
                self._dispatch(plaintext, out)
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
            # Before it has verified SERVER_AUTH a client may have agreed on keys with anybody.
            self._proved = self.encrypted and state is State.AUTH_SENT
            raise

    def _unprotect(self, header: bytes, body: bytes, out: list[Item]) -> bytes:
        """The plaintext of a protected frame; a clear one is dispatched here and gives b""."""
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

    # The state: the one place where it is looked up, and the one where it changes.

    def _demand(self, step: str, given: Input) -> None:
        """Steps come in the order of the handshake; a check with `assert` would be gone under `python -O`."""
        if (self.state, given) not in MOVES:
            states = " or ".join(state.value for state, known in MOVES if known is given)
            raise ConfigError(
                f"{step}() does not belong here: the connection is {self.state.value}",
                hint=f"call it once, when the connection is {states}",
            )

    def _go(self, given: Input) -> None:
        """Change the state as the table says."""
        self._demand(given.name.lower(), given)
        move = MOVES[self.state, given]
        plaintext = None if self.encrypted else move.in_plaintext
        self.state = move.then if plaintext is None else plaintext

    def abort(self) -> None:
        """Something of a record may be lost on this side for certain: what still arrives is not looked at."""
        self._go(Input.ABORT)

    def _fail(self, error: SecureLinkError) -> Failed:
        self.more = False
        code = error.code if isinstance(error, ProtocolError | HandshakeError) else Code.PROTOCOL
        answer = self._last_word(int(code))
        self._go(Input.FAULT)
        return Failed(error, answer, self._proved)

    def _last_word(self, code: int, text: str = "") -> bytes:
        """ALERT while this direction has sent nothing protected, else CLOSE."""
        if self.sender is not None:
            return b""  # the transport says CLOSE under its send lock
        if self._send is None:
            return Kind.ALERT.to_bytes(1) + (1).to_bytes(HEADER_SIZE - 1) + code.to_bytes(1)
        return self._send.seal(Close(code, 0, text).encode())

    def give_up(self, code: int, text: str = "") -> bytes:
        """End the handshake from our side; returns the last word for the peer."""
        return self._end(Input.GIVE_UP, code, text)

    def _end(self, given: Input, code: int, text: str = "") -> bytes:
        """End the handshake by a step of our own; returns the last word for the peer."""
        word = self._last_word(code, text)
        self._go(given)
        return word

    def _open(self, max_packet: int) -> None:
        self._frames.limit = max_packet
        self.sender = Sender(made_before(self._send, "open"), self.numbering, max_packet)

    # Frames and contents that both roles take.

    def _alert(self, header: bytes, body: bytes, out: list[Item]) -> None:
        if len(body) != 1 and not (len(body) == 2 and body[0] == Code.BLOCKED):
            raise ProtocolError("an ALERT of the wrong size")
        out.append(Alerted(body[0], body[1] if len(body) == 2 else 0))

    def _close(self, plaintext: bytes, out: list[Item]) -> None:
        close = self._close_of(plaintext)
        out.append(Closed(close.code, close.text))

    def _close_unproved(self, plaintext: bytes, out: list[Item]) -> None:
        """The peer has proved nothing yet: this can end the attempt and no more, and its text is nobody's."""
        out.append(Alerted(self._close_of(plaintext).code))

    def _close_of(self, plaintext: bytes) -> Close:
        close = Close.decode(plaintext)
        if close.sent != self.numbering.incoming.accepted:
            raise ProtocolError(
                f"CLOSE counts {close.sent} records, {self.numbering.incoming.accepted} arrived"
            )
        return close

    def _data(self, plaintext: bytes, out: list[Item], start: int = 1) -> None:
        """The record is ours from here on: it is counted, and goes to the inbox."""
        self.numbering.incoming.accepted += 1
        short = len(plaintext) < _COPY_BELOW
        out.append(plaintext[start:] if short else memoryview(plaintext)[start:])

    def _data_ack(self, plaintext: bytes, out: list[Item]) -> None:
        if len(plaintext) < 10:
            raise ProtocolError("a DATA_ACK record is too short")
        self.numbering.outgoing.acknowledge(int.from_bytes(plaintext[1:9]))
        self._data(plaintext, out, 9)

    def _ack(self, plaintext: bytes, out: list[Item]) -> None:
        if len(plaintext) != 9:
            raise ProtocolError("an ACK record of the wrong size")
        self.numbering.outgoing.acknowledge(int.from_bytes(plaintext[1:]))

    def _ping(self, plaintext: bytes, out: list[Item]) -> None:
        if len(plaintext) != 9:
            raise ProtocolError("a PING record of the wrong size")
        out.append(Pinged(plaintext[1:]))

    def _pong(self, plaintext: bytes, out: list[Item]) -> None:
        if len(plaintext) != 9:
            raise ProtocolError("a PONG record of the wrong size")
        out.append(Ponged(plaintext[1:]))

    def _key_update(self, plaintext: bytes, out: list[Item]) -> None:
        receive = made_before(self._receive, "key_update")
        if len(plaintext) != 1:
            raise ProtocolError("a KEY_UPDATE record of the wrong size")
        enough_records = receive.update()
        now = self._clock()
        if not enough_records and now - self._last_update < 1.0:
            raise ProtocolError(
                "a flood of key updates: more than one per 1,000 records and second"
            )
        self._last_update = now


#: What both roles do alike.
SHARED_TAKES: Takes = {
    Take.ALERT: Connection._alert,
    Take.DATA: Connection._data,
    Take.DATA_ACK: Connection._data_ack,
    Take.ACK: Connection._ack,
    Take.PING: Connection._ping,
    Take.PONG: Connection._pong,
    Take.KEY_UPDATE: Connection._key_update,
    Take.CLOSE: Connection._close,
    Take.CLOSE_UNPROVED: Connection._close_unproved,
}
