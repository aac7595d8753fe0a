"""Detects gevent and eventlet, which replace threads and sockets: code that needs real ones would hang."""

from __future__ import annotations

import _thread
import socket
import sys
import threading
import time

from ..errors import ConfigError

_LIBRARIES = ("gevent", "eventlet")


def check_not_patched() -> None:
    """
    Check that the threads and sockets of this process are real ones.

    Raises:
        ConfigError: gevent or eventlet has replaced them ("monkey patching").
    """
    if not any(name in sys.modules for name in _LIBRARIES):
        return
    for what in (
        socket.socket, _thread.start_new_thread, _thread.allocate_lock, threading.get_ident, time.sleep,
    ):  # fmt: skip
        library = (getattr(what, "__module__", "") or "").partition(".")[0]
        if library in _LIBRARIES:
            raise ConfigError(
                f"{library} has replaced the threads and sockets of this process, and securelink needs real ones",
                hint=f"do not patch them, or run securelink in a process of its own without {library}",
            )
