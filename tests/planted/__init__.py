"""Faults to plant, by the part of the library that they break. See `sabotage.py`."""

from __future__ import annotations

from . import (
    crypto,
    entry,
    forgotten,
    handshake,
    keys,
    people,
    protocol,
    resume,
    rotation,
    sessions,
    state,
    straight,
    transport,
    wire,
)
from .fault import Fault

FAULTS = [
    *crypto.FAULTS,
    *wire.FAULTS,
    *handshake.FAULTS,
    *protocol.FAULTS,
    *resume.FAULTS,
    *forgotten.FAULTS,
    *sessions.FAULTS,
    *state.FAULTS,
    *keys.FAULTS,
    *rotation.FAULTS,
    *entry.FAULTS,
    *transport.FAULTS,
    *straight.FAULTS,
    *people.FAULTS,
]

__all__ = ["FAULTS", "Fault"]
