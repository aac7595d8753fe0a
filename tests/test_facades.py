"""What `Session`, `Client` and `Server` show of themselves."""

from __future__ import annotations

import gc
import weakref

import pytest
from helpers import until
from together import joined, serving, session_of

from securelink import ConfigError, Identity, Session

pytestmark = pytest.mark.usefixtures("tidy")

#: What an application does with a session, and knows of it.
OFFERED = {
    "address",
    "clean",
    "code",
    "connected",
    "connected_at",
    "data",
    "dialled",
    "encrypted",
    "ended",
    "fingerprint",
    "info",
    "join",
    "kick",
    "leave",
    "mute",
    "muted",
    "operator",
    "ping",
    "reason",
    "request",
    "request_later",
    "rooms",
    "send",
    "set_state",
    "state",
    "text",
    "token",
    "unconfirmed",
    "unmute",
    "user",
}


def test_a_session_shows_what_applications_need() -> None:
    """Nothing of the machinery that carries it stands among its names."""
    assert {name for name in dir(Session) if not name.startswith("_")} == OFFERED


def test_a_session_is_no_handler(identity: Identity) -> None:
    """Bound by mistake it is refused, as everything without a `run` is."""
    with serving(identity) as server, joined(server) as (client,), pytest.raises(ConfigError):
        server.on("x", session_of(server, client))  # type: ignore[call-overload]  # refused


def test_a_session_that_is_dropped_after_its_end_is_gone(identity: Identity) -> None:
    """Session and channel hold each other only while there are packets: no work for the garbage collector."""
    gone: list[weakref.ref[Session]] = []
    with serving(identity) as server:
        server.on_disconnect(lambda session: gone.append(weakref.ref(session)))
        gc.collect()
        gc.disable()
        try:
            with joined(server):
                pass
            until(lambda: gone)
            until(lambda: gone[0]() is None)
        finally:
            gc.enable()
