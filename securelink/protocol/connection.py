"""What the engines of both roles share."""

from __future__ import annotations

from collections.abc import Callable

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
from .states import CONTENTS, FRAMES, READS_NOTHING, State

_COPY_BELOW = 4096  # bytes: a slice that copies is cheaper than a view up to about here
# Names of the fast path: looking up and comparing members of an enum costs more than opening a record.
_OPEN = State.OPEN
_DATA = int(Content.DATA)
_DATA_ACK = int(Content.DATA_ACK)


class Connection:
    """
    What both roles share.

    Args:
        clock: Seconds, monotonic; read only when the peer updates its key.

    Attributes:
        state: A `State`.
        sender: The sending half; exists from OPEN on.
        numbering: The session's counters; given by the session that this connection carries.
        encrypted: Settled by the hellos.
        at_once: Frames that one call opens at most; 0: all that have arrived.
        more: Whether the last call stopped there: `reconsider` goes on.
        controls: ACK, PING, PONG and KEY_UPDATE records so far.
    """

    def __init__(self, state: State, clock: Callable[[], float]) -> None:
        self.state = state
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
        over = self.state in (State.CLOSED, State.FAILED)
        if not data:
            # Said also after CLOSE and failures: whoever holds the socket waits for it to close the socket.
            self.state = self.state if over else State.CLOSED
            return [Ended()]
        if over:
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
        try:
            name = FRAMES[self.state, Kind(kind)]
        except (KeyError, ValueError):
            raise ProtocolError(f"a frame of type {kind} while {self.state.value}") from None
        getattr(self, name)(header, body, out)
        return b""

    def _dispatch(self, plaintext: bytes, out: list[Item]) -> None:
        try:
            name = CONTENTS[self.state, Content(plaintext[0])]
        except (KeyError, ValueError):
            raise ProtocolError(f"content {plaintext[0]} while {self.state.value}") from None
        getattr(self, name)(plaintext, out)

    def _fail(self, error: SecureLinkError) -> Failed:
        self.more = False
        code = error.code if isinstance(error, ProtocolError | HandshakeError) else Code.PROTOCOL
        answer = self._last_word(int(code))
        self.state = State.FAILED
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
        word = self._last_word(code, text)
        self.state = State.FAILED
        return word

    def _demand(self, step: str, *states: State) -> None:
        """Steps come in the order of the handshake; a check with `assert` would be gone under `python -O`."""
        if self.state not in states:
            raise ConfigError(
                f"{step}() does not belong here: the connection is {self.state.value}",
                hint=f"call it once, when the connection is {' or '.join(s.value for s in states)}",
            )

    def _open(self, max_packet: int) -> None:
        self._frames.limit = max_packet
        self.sender = Sender(made_before(self._send, "open"), self.numbering, max_packet)
        self.state = State.OPEN

    # Frames and contents that both roles take.

    def _alert(self, header: bytes, body: bytes, out: list[Item]) -> None:
        if len(body) != 1 and not (len(body) == 2 and body[0] == Code.BLOCKED):
            raise ProtocolError("an ALERT of the wrong size")
        self.state = State.FAILED
        out.append(Alerted(body[0], body[1] if len(body) == 2 else 0))

    def _close(self, plaintext: bytes, out: list[Item]) -> None:
        close = Close.decode(plaintext)
        if close.sent != self.numbering.incoming.accepted:
            raise ProtocolError(
                f"CLOSE counts {close.sent} records, {self.numbering.incoming.accepted} arrived"
            )
        if self.state in (State.WAIT_AUTH, State.WAIT_CLIENT):
            # The peer has proved nothing yet: this can end the attempt and no more, and its text is nobody's.
            self.state = State.FAILED
            out.append(Alerted(close.code))
            return
        self.state = State.CLOSED
        out.append(Closed(close.code, close.text))

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
