"""What server and client share: received data, exceptions, flags, and waiting for these."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Self

from ...errors import SecureLinkError
from ...limits import MAX_COLLECTED

log = logging.getLogger("securelink")

MESSAGE = "bytes"  # the action of the packets that carry the messages
_MAX_EXCEPTIONS = 100

Bytes = bytes | bytearray | memoryview
Callback = Callable[..., Any] | None


class SetupError(Exception):
    """`setup()` was not called."""


class Endpoint:
    """What server and client share: received data, exceptions, flags (`event`), and waiting for these."""

    EVENT_EXCEPTION = "--EXCEPTION--"
    EVENT_RECEIVED = "--RECEIVED--"
    EVENT_TIMEOUT = "--TIMEOUT--"
    on_connect: Callback = None
    on_disconnect: Callback = None
    on_receive: Callback = None

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._news: list[str] = []  # connected and disconnected, for await_event
        self.socket: Any = None
        self.recved_data: list[Any] = []
        self.event = SimpleNamespace(
            new_data=False, exception=SimpleNamespace(occurred=False, list=[])
        )

    @property
    def _ready(self) -> Any:
        if self.socket is None:
            raise SetupError("Server isn't setup")
        return self.socket

    @property
    def new_data_recved(self) -> bool:
        """The older name of `event.new_data`."""
        return bool(self.event.new_data)

    def _set_callbacks(self, *callbacks: Callback) -> None:
        names = ("on_connect", "on_disconnect", "on_receive")
        for name, callback in zip(names, callbacks, strict=True):
            if callback is not None:  # one that was set as an attribute stays
                setattr(self, name, callback)

    def _store(self, item: Any) -> None:
        with self._changed:
            while len(self.recved_data) >= MAX_COLLECTED and self.socket is not None:
                if self.on_receive is not None:
                    del self.recved_data[0]  # it has been seen
                else:
                    self._changed.wait(0.5)
            self.recved_data.append(item)
            self.event.new_data = True
            self._changed.notify_all()

    def _record(self, error: Exception) -> None:
        with self._changed:
            caught = self.event.exception
            text = "".join(traceback.format_exception(error))
            caught.list = [*caught.list[1 - _MAX_EXCEPTIONS :], (text, error)]
            caught.occurred = True
            self._changed.notify_all()

    def _call(self, callback: Callback, *arguments: Any) -> None:
        try:
            if callback is not None:
                callback(*arguments)
        except Exception as error:
            log.exception("a callback raised an error; the connection goes on")
            self._record(error)

    def _send(self, target: Any, data: Bytes) -> bool:
        message = bytes(memoryview(data))  # a text is a TypeError
        try:
            if message:  # an empty one would be taken for the end
                target.send(MESSAGE, message)
        except SecureLinkError as error:
            self._record(error)
            return False
        return True

    def return_recved_data(self) -> list[Any]:
        """All that was received and not yet taken."""
        with self._changed:
            taken, self.recved_data = self.recved_data, []
            self.event.new_data = False
            self._changed.notify_all()
        return taken

    def return_exceptions(
        self, delete: bool = True, reset_exception: bool = True, reset_exceptions: bool = True
    ) -> list[tuple[str, Exception]]:
        """The caught exceptions, each after its traceback as text."""
        with self._changed:
            caught = self.event.exception
            taken = list(caught.list)
            if delete:
                caught.list = []
            if reset_exception and reset_exceptions:
                caught.occurred = False
        return taken

    def await_event(
        self, timeout: float = 0, disable_on_functions: bool = False
    ) -> tuple[str, Any]:
        """Sleep until something happened, `timeout` milliseconds at most; 0 is for ever."""
        event = self.event
        with self._changed:
            if disable_on_functions:
                self._news = []
            self._changed.wait_for(
                lambda: event.exception.occurred or event.new_data or self._news,
                timeout / 1000 or None,
            )
            if event.exception.occurred:
                return self.EVENT_EXCEPTION, self.return_exceptions()
            if event.new_data:
                return self.EVENT_RECEIVED, self.return_recved_data()
            return self._news.pop(0) if self._news else self.EVENT_TIMEOUT, None

    def close(self) -> None:
        """End everything. `setup()` may follow."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
