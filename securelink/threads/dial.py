"""The client's handshake over a stream, driven in the caller's thread."""

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
from ..streams.base import Stream
from ..text import escaped

LOOK_SECONDS = 0.1  # how late an attempt may notice that it was called off


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

    def check(self) -> None:
        """Raise `ConnectionClosed` if it was called off."""
        if self._given_up.is_set():
            raise self.called_off()

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
    ) -> None:
        self._stream = stream
        self._connection = connection
        self._where = where
        self._decide = decide
        self._confirm = confirm
        self._deadline = deadline

    def run(self) -> tuple[Opened, list[Item]]:
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
        self._send(self._connection.data_to_send())
        while True:
            self._wait(write=False)
            try:
                data = self._stream.recv(16 * 1024, self._stream.at_once)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            items = self._connection.receive_data(data, time.monotonic())
            for number, item in enumerate(items, 1):
                opened = self._take(item)
                if opened is not None:
                    return opened, items[number:]
            self._send(self._connection.data_to_send())

    def _take(self, item: Item) -> Opened | None:
        match item:
            case ServerVerified(server) | PlaintextChosen(server):
                self._proceed(server)
            case Opened():
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

    def _send(self, data: bytes) -> None:
        while data:
            try:
                data = data[self._stream.send(data, self._stream.at_once) :]
            except BlockingIOError:
                self._wait(write=True)
            except OSError:
                return  # bytes that the peer sent before it closed are still to be read

    def _wait(self, *, write: bool) -> None:
        while True:
            self._deadline.check()
            left = self._deadline.left
            if left <= 0:
                raise LinkTimeout(
                    f"{self._where} did not finish the handshake within {self._deadline.seconds:g} s",
                    hint="is it a securelink server? is it overloaded?",
                )
            if self._stream.wait(read=True, write=write, timeout=min(left, LOOK_SECONDS)):
                return
