"""The client's handshake over a stream, driven in the caller's thread."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..codes import Code
from ..errors import HandshakeError, LinkTimeout
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
from ..wire.messages import Welcome

Decide = Callable[[ClientConnection, VerifiedServer | PlaintextServer], None]


class Dialogue:
    """
    One handshake. What fails in it ends this attempt and nothing else.

    Args:
        stream: To the server. It stays the caller's.
        where: `host:port`, for errors.
        decide: Called with the proof of the server; calls `engine.authenticate` with it, or raises.
        confirm: Called after WELCOME and before anything of the session is used. If it raises, the session is over.
        timeout: In seconds, for errors; `deadline` is what counts.
    """

    def __init__(
        self,
        stream: Stream,
        engine: ClientConnection,
        *,
        where: str,
        decide: Decide,
        confirm: Callable[[], None],
        deadline: float,
        timeout: float,
    ) -> None:
        self._stream = stream
        self._engine = engine
        self._where = where
        self._decide = decide
        self._confirm = confirm
        self._deadline = deadline
        self._timeout = timeout

    def run(self) -> tuple[Welcome, list[Item]]:
        """
        Until WELCOME.

        Returns:
            It, and what arrived together with it: the first records of the session.

        Raises:
            HandshakeError: Refused, incompatible, not trusted, or the connection ended.
            ProtocolError: No securelink server, or somebody tampers.
            LinkTimeout: The deadline passed.
        """
        self._send(self._engine.data_to_send())
        while True:
            self._wait(write=False)
            try:
                data = self._stream.recv(16 * 1024, self._stream.at_once)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            items = self._engine.receive_data(data, time.monotonic())
            for number, item in enumerate(items, 1):
                welcome = self._take(item)
                if welcome is not None:
                    return welcome, items[number:]
            self._send(self._engine.data_to_send())

    def _take(self, item: Item) -> Welcome | None:
        match item:
            case ServerVerified(server) | PlaintextChosen(server):
                self._proceed(server)
            case Opened(welcome):
                self._enter()
                return welcome
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
            self._decide(self._engine, server)
        except Exception as error:
            code = error.code if isinstance(error, HandshakeError) else Code.INTERNAL
            self._last_word(self._engine.give_up(code))
            raise

    def _enter(self) -> None:
        try:
            self._confirm()
        except Exception as error:
            code = error.code if isinstance(error, HandshakeError) else Code.INTERNAL
            sender = self._engine.sender
            if sender is not None:
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
                return  # what the peer said before it closed is still to be read

    def _wait(self, *, write: bool) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0 or not self._stream.wait(read=True, write=write, timeout=left):
            raise LinkTimeout(
                f"{self._where} did not finish the handshake within {self._timeout:g} s",
                hint="is it a securelink server? is it overloaded?",
            )
