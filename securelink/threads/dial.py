"""The client's handshake over a stream, in steps."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..codes import Code
from ..errors import ConnectionClosed, HandshakeError, LinkTimeout
from ..interrupts import Sign
from ..protocol import (
    Alerted,
    ClientConnection,
    Closed,
    Ended,
    Failed,
    Item,
    Opened,
    PlaintextChosen,
    PlaintextServer,
    ServerVerified,
    VerifiedServer,
    refusal,
)
from ..streams.addresses import shown
from ..streams.base import Carrier, Opening, Stream
from ..text import escaped
from .attempts import ELSEWHERE, LOOK_SECONDS, Pause, Steps


class Deadline:
    """
    The deadline of a client's attempt to connect, which can also be called off.

    Args:
        seconds: From now.
        given_up: Set when it is called off.
    """

    def __init__(self, seconds: float, given_up: Sign) -> None:
        self.seconds = seconds
        self._at = time.monotonic() + seconds
        self._given_up = given_up

    @property
    def left(self) -> float:
        """Seconds; below 0 when it is over."""
        return self._at - time.monotonic()

    @property
    def at(self) -> float:
        """When it is over, by `time.monotonic()`."""
        return self._at

    def pause(self, seconds: float) -> bool:
        """Wait so long; True if it was called off meanwhile."""
        return self._given_up.wait(seconds)

    @property
    def patience(self) -> float:
        """Seconds for one step of an attempt, which looks afterwards whether it was called off."""
        return max(0.0, min(self.left, LOOK_SECONDS))

    def check(self, where: str = "") -> None:
        """
        Raise `ConnectionClosed` if it was called off.

        Args:
            where: `host:port` of a server whose answer is waited for: raise `LinkTimeout` when it is over, too.
        """
        if self._given_up.is_set():
            raise self.called_off()
        if where and self.left <= 0:
            raise LinkTimeout(
                f"{where} did not finish the handshake within {self.seconds:g} s",
                hint="is it a securelink server? is it overloaded?",
            )

    def called_off(self) -> ConnectionClosed:
        """The error for that."""
        return ConnectionClosed(
            "close() was called while this client was connecting", hint="call connect() again"
        )


class Dialogue:
    """
    One handshake. A failure ends only this attempt.

    Args:
        stream: To the server. It stays the caller's.
        where: `host:port`, for errors.
        decide: Called with the proof of the server; calls `connection.authenticate` with it, or raises.
        confirm: Called after WELCOME, before the session is used. If it raises, a new session is over; one that goes on
            can be tried again, for the server does not know that WELCOME has arrived.
        deciding_waits: Whether `decide` may wait.
        confirming_waits: Returns whether `confirm` may.
    """

    def __init__(
        self,
        stream: Stream,
        connection: ClientConnection,
        *,
        where: str,
        decide: Callable[[VerifiedServer | PlaintextServer], None],
        confirm: Callable[[Opened], None],
        deadline: Deadline,
        deciding_waits: bool,
        confirming_waits: Callable[[], bool],
    ) -> None:
        self._stream = stream
        self._connection = connection
        self._where = where
        self._decide = decide
        self._confirm = confirm
        self._deadline = deadline
        self._deciding_waits = deciding_waits
        self._confirming_waits = confirming_waits

    def steps(self) -> Steps[tuple[Opened, list[Item]]]:
        """
        Until WELCOME.

        Returns:
            The event, and the first records of the session that arrived with it.

        Raises:
            HandshakeError: Refused, incompatible, not trusted, or the connection ended.
            ProtocolError: The peer is not a securelink server, or an attacker on the path tampers.
            LinkTimeout: The deadline passed.
            ConnectionClosed: It was called off.
        """
        yield from self._send(self._connection.data_to_send())
        while True:
            yield Pause(self._stream, self._deadline.patience)
            self._deadline.check(self._where)
            try:
                data = self._stream.recv(16 * 1024, self._stream.at_once)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            items = self._connection.receive_data(data, time.monotonic())
            for number, item in enumerate(items, 1):
                opened = yield from self._take(item)
                if opened is not None:
                    return opened, items[number:]
            yield from self._send(self._connection.data_to_send())

    def _take(self, item: Item) -> Steps[Opened | None]:
        match item:
            case ServerVerified(server) | PlaintextChosen(server):
                if self._deciding_waits:
                    yield ELSEWHERE
                self._proceed(server)
            case Opened():
                if self._confirming_waits():
                    yield ELSEWHERE
                self._enter(item)
                return item
            case Alerted(code, seconds):
                alert = refusal(code, "", seconds)
                alert.final = False
                raise alert
            case Closed(code, text):
                raise refusal(code, escaped(text))
            case Failed(error, answer):
                self._last_word(answer)
                error.hint = item.hint
                raise error
            case Ended():
                raise HandshakeError(
                    f"{self._where} closed the connection during the handshake",
                    code=Code.SHUTDOWN,
                    hint="is it a securelink server, and is this client allowed there?",
                )
        return None

    def _proceed(self, server: VerifiedServer | PlaintextServer) -> None:
        try:
            self._decide(server)
        except Exception as error:
            code = error.code if isinstance(error, HandshakeError) else Code.INTERNAL
            self._last_word(self._connection.give_up(code))
            raise

    def _enter(self, opened: Opened) -> None:
        try:
            self._confirm(opened)
        except Exception as error:
            code = error.code if isinstance(error, HandshakeError) else Code.INTERNAL
            sender = self._connection.sender
            if sender is not None and not opened.resumed:
                self._last_word(sender.close(code))
            raise

    def _last_word(self, data: bytes) -> None:
        try:
            self._stream.send(data, self._stream.at_once)
        except OSError:
            pass  # the attempt has failed anyway; our own error says why

    def _send(self, data: bytes) -> Steps[None]:
        while data:
            try:
                data = data[self._stream.send(data, self._stream.at_once) :]
            except BlockingIOError:
                yield Pause(self._stream, self._deadline.patience, write=True)
                self._deadline.check(self._where)
            except OSError:
                return  # bytes that the peer sent before it closed are still to be read


def open_stream(
    carrier: Carrier, host: str, port: int, deadline: Deadline, *, waits: bool
) -> Steps[Stream]:
    """
    A stream to a server.

    Args:
        waits: Whether the thread that makes these steps may as well wait.

    Raises:
        ConnectFailed: Nothing listens there, or the name is unknown.
        LinkTimeout: There was no answer in time.
        ConnectionClosed: It was called off.
    """
    begin = None if waits else getattr(carrier, "begin", None)
    opening: Opening | None = begin(host, port) if begin is not None else None
    if opening is None:
        yield ELSEWHERE
        return carrier.connect(host, port, max(0.001, deadline.left))
    try:
        while True:
            stream = opening.done()
            if stream is not None:
                return stream
            deadline.check()
            if deadline.left <= 0:
                raise LinkTimeout(f"{shown(host, port)} did not answer in {deadline.seconds:g} s")
            yield Pause(opening, deadline.patience, write=True)
    finally:
        opening.close()
