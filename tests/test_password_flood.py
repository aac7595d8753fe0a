"""Forty addresses guess passwords as fast as they can; who knows his own gets in all the same."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from helpers import WAIT, Hostile
from proxied import header, through

from securelink import Identity, Server
from securelink.auth import Passwords
from securelink.keys import stretching
from securelink.protocol import Opened
from securelink.wire.packets import encode_value

pytestmark = pytest.mark.usefixtures("tidy")

ADDRESSES = 40
EACH = 3  # connections of one address at the same time
COST = 2**13  # a quarter of the usual: the test shall be short
SECONDS = 5.0
UNDER_WAY = 10  # those that were being checked when he came, and his own
KNOWN = "198.51.100.1"


def guessing(server: Server, source: str, user: str, password: str) -> Hostile:
    """A client at some address, with a name and a password."""
    credentials = encode_value({"user": user, "password": password})
    return through(server, header(source), credentials=credentials)


def log_in(server: Server, source: str, checked: list[int]) -> int:
    """Log in with the right password; how many passwords were checked meanwhile, this one included."""
    with guessing(server, source, "ada", "correct horse") as client:
        client.hello()
        assert client.server is not None
        client.authenticate()
        before = checked[0]
        client.flush()
        event = client.read_until(Opened)
        assert isinstance(event, Opened), event
    return checked[0] - before


@contextlib.contextmanager
def attacked(server: Server) -> Iterator[list[int]]:
    """Guesses for the user's name and for others that there are not. Gives how many were answered."""
    over, answered = threading.Event(), [0]

    def guess(number: int) -> None:
        while not over.is_set():
            user = "ada" if answered[0] % 3 == 0 else f"nobody {answered[0]}"
            with contextlib.suppress(OSError), ExitStack() as stack:
                client = stack.enter_context(
                    guessing(server, f"203.0.113.{number % ADDRESSES}", user, "wrong wrong")
                )
                client.hello()
                if client.server is not None:
                    client.authenticate()
                    client.flush()
                    client.ending()
            answered[0] += 1

    threads = [threading.Thread(target=guess, args=(n,)) for n in range(ADDRESSES * EACH)]
    for thread in threads:
        thread.start()
    try:
        yield answered
    finally:
        over.set()
        for thread in threads:
            thread.join(WAIT)


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many passwords were checked: that is what a login waits for, on a slow machine as on a fast one."""
    count, scrypt = [0], stretching.scrypt

    def counted(*arguments: Any) -> bytes:
        count[0] += 1
        return scrypt(*arguments)

    monkeypatch.setattr(stretching, "scrypt", counted)
    return count


def test_who_knows_his_password_gets_in(identity: Identity, checked: list[int]) -> None:
    """
    Both where he was let in before and where he never was, while 40 addresses guess for his name and for others.

    He waits for one guess of each of those addresses at most, once; those that have failed come after him.
    """
    passwords = Passwords(cost=COST)
    passwords.add("ada", "correct horse")
    with Server(
        "127.0.0.1", 0, keys=identity, authenticate=passwords, trusted_proxies=["127.0.0.1"]
    ) as server:
        log_in(server, KNOWN, checked)
        with attacked(server) as answered:
            began, waits = time.monotonic(), list[int]()
            while time.monotonic() - began < SECONDS or answered[0] < ADDRESSES * EACH:
                waits.append(log_in(server, KNOWN, checked))
                waits.append(log_in(server, f"198.51.100.{2 + len(waits) % 200}", checked))
    assert max(waits) <= ADDRESSES + UNDER_WAY
    assert sorted(waits)[len(waits) // 2] <= UNDER_WAY
