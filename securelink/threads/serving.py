"""A server runs until somebody stops it, or the program is asked to end."""

from __future__ import annotations

import logging

from ..errors import ConfigError
from ..limits import STOP_GRACE_SECONDS
from ..signals import ends_like_interrupts, is_restart
from .farewell import STOPPING, returning
from .lifecycle import Lifecycle

log = logging.getLogger("securelink.server")


def serve_forever(lifecycle: Lifecycle, drain: float) -> None:
    """See `Server.serve_forever`."""
    with ends_like_interrupts():
        _serve(lifecycle, drain)


def _serve(lifecycle: Lifecycle, drain: float) -> None:
    if lifecycle.loop is not None and lifecycle.loop.manual:
        raise ConfigError(
            "serve_forever() would wait for a server that update() drives",
            hint="use one of the two",
        )
    loop, ours = lifecycle.loop, lifecycle.loop is not None
    farewell = STOPPING
    try:
        if loop is None:
            lifecycle.start(manual=False)
            loop, ours = lifecycle.loop, True
        _wait(lifecycle)
    except KeyboardInterrupt as interrupt:
        ours = True  # also inside start(): it may serve clients before it comes back
        log.info("%s; shutting down", str(interrupt) or "interrupted")
        farewell = returning(0.0) if is_restart(interrupt) else lifecycle.parting
        _wait_once(lifecycle, drain)
    finally:
        if ours:
            lifecycle.stop(farewell=farewell)
        if loop is not None:
            loop.join(STOP_GRACE_SECONDS)  # another thread's stop() may not be through yet
    if lifecycle.failure is not None:
        raise lifecycle.failure


def _wait_once(lifecycle: Lifecycle, timeout: float) -> None:
    """Let sessions come to their end, unless there is no time for it, or a second Ctrl-C comes."""
    if timeout <= 0 or lifecycle.loop is None:
        return
    try:
        lifecycle.let_leave(timeout)
    except KeyboardInterrupt:
        log.info("interrupted again; sessions are ended now")


def _wait(lifecycle: Lifecycle) -> None:
    # Slices: a wait without end would keep Ctrl-C from being seen on some platforms.
    while not lifecycle.wait(0.5):
        pass
