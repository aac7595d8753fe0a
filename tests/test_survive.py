"""benchmarks/survive.py in short: connections are cut at random bytes, and nothing is lost, doubled or out of order."""

from __future__ import annotations

import pytest

from benchmarks import soak_asyncio
from benchmarks.soak import soak
from benchmarks.storm import storm
from benchmarks.survive import survive
from benchmarks.ways import Way
from securelink import Client


def test_nothing_is_lost_over_a_hundred_cuts() -> None:
    """In handshakes, resumes, large packets and small ones, in both directions, under four sessions that talk."""
    outcome = survive(sessions=4, cuts=100, seed=20)
    assert outcome.wrong == []
    assert outcome.cuts >= 100
    assert outcome.packets > 100


def test_what_is_not_as_it_was_sent_is_seen() -> None:
    """A packet that is missing, doubled, out of order or changed: each is a line of the outcome."""
    way = Way()
    packets = [{"number": n, "size": 3, "filling": bytes([n]) * 3} for n in range(4)]
    for number in (0, 2, 2, 1):
        way.take(packets[number])
    way.take({"number": 2, "size": 3, "filling": b"abc"})
    assert way.wrong == [
        "2 came in the place of 1",
        "2 came in the place of 3",
        "1 came in the place of 3",
        "2 has other content",
    ]


@pytest.mark.parametrize("with_asyncio", ["neither", "server", "clients"])
def test_a_soak_in_short(with_asyncio: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions that talk, come, go, and lose their connections: nothing is lost or doubled, all is counted."""
    module = "benchmarks.soak_asyncio" if with_asyncio == "server" else "benchmarks.soak"
    make = soak_asyncio.clients() if with_asyncio == "clients" else Client
    monkeypatch.setattr("benchmarks.soak.TALK_BYTES", 5_000)
    monkeypatch.setattr("benchmarks.soak.LOOK_SECONDS", 0.5)
    lines: list[str] = []
    outcome = soak(0.06, sessions=6, seed=3, say=lines.append, module=module, make=make)
    assert outcome.wrong == []
    assert outcome.sessions >= 6
    assert outcome.connections > outcome.sessions
    assert outcome.packets > 0
    assert lines
    assert outcome.looks[-1].memory > 0


def test_two_storms_in_short() -> None:
    """Forty clients connect at one instant, and come back at one instant: all are in, each with one attempt."""
    for wave in storm(40, 2, keys=False):
        assert wave.failed == []
        assert wave.attempts == 40
