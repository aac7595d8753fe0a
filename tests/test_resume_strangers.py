"""What a client that never got in leaves of what would let it resume: nothing."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers import WAIT, Hostile, Scene, scene, until

from securelink import Hello, Identity
from securelink.auth import JoinTokens
from securelink.protocol import Opened, TicketTable
from securelink.streams.addresses import networks
from securelink.threads import suspensions
from securelink.threads.outcome import Outcome
from securelink.wire.packets import encode_value

pytestmark = pytest.mark.usefixtures("tidy")


def tickets(stage: Scene) -> TicketTable:
    """Of the server's sessions."""
    table = stage.listener.suspensions.tickets
    assert table is not None
    return table


def test_who_is_lost_in_the_hook_leaves_no_ticket(identity: Identity) -> None:
    """Each client whose connection was gone when `authenticate` returned left a ticket, and its session with it."""
    asked, answer = threading.Semaphore(0), threading.Event()
    slow = threading.Event()

    def authenticate(hello: Hello) -> str:
        if slow.is_set():
            asked.release()
            assert answer.wait(WAIT)
        return "ada"

    with scene(identity, authenticate=authenticate, resume=60) as stage:
        stage.check_neighbour()
        slow.set()
        for _ in range(3):
            with Hostile(stage.port) as peer:
                peer.hello()
                peer.authenticate()
                peer.flush()
                assert asked.acquire(timeout=WAIT)
                stage.overdue()
                until(stage.alone)
        answer.set()
        slow.clear()
        with stage.client() as client:  # who comes now has its turn behind them
            assert client.connected
        until(lambda: len(tickets(stage)) == 1)


def test_who_gives_no_sign_leaves_no_ticket(identity: Identity, tmp_path: Path) -> None:
    """The same with a join token, which is given back to a client that hangs up before it has shown that it is in."""
    tokens = JoinTokens(tmp_path / "keys" / "join_tokens.json")
    mine, token = tokens.create("neighbour"), tokens.create("ada")
    with scene(identity, authenticate=tokens, neighbour={"token": mine}, resume=60) as stage:
        stage.check_neighbour()
        for _ in range(3):
            with Hostile(stage.port, credentials=encode_value({"token": token})) as peer:
                peer.hello()
                peer.authenticate()
                peer.flush()
                assert isinstance(peer.read_until(Opened), Opened)
            until(stage.alone)
            until(lambda: {entry.uses for entry in tokens.entries()} == {0, 1})  # given back
        with stage.client(token=token):
            until(lambda: len(tickets(stage)) == 2)
        until(lambda: len(tickets(stage)) == 1)


class Away:
    """A session that has lost its connection, as far as `Suspensions` looks at it."""

    def __init__(self, host: str, number: int) -> None:
        self.link = None
        self.grace = None
        self.outcome: Outcome | None = None
        self.owner = SimpleNamespace(session=SimpleNamespace(user="ada"))
        self.core = SimpleNamespace(sending=SimpleNamespace(drop=lambda: None))
        self.carrying = SimpleNamespace(token=bytes([number]) * 16, places=networks(host))

    def finished(self, outcome: Outcome) -> bool:
        """See `Channel.finished`."""
        self.outcome = outcome
        return True


@pytest.mark.parametrize(
    ("hosts", "kept"),
    [
        ("2001:db8::{}", 2),  # one /64
        ("2001:db8:0:{}::1", 8),  # one /56
        ("2001:db8:0:{}00::1", 9),  # one /48
        ("10.0.0.{}", 12),
    ],
)
def test_a_network_does_not_take_all_places(hosts: str, kept: int) -> None:
    """A customer with many IPv6 networks pushed the sessions of all others out of those that wait for clients."""
    loop: Any = SimpleNamespace(now=1.0, call_later=lambda seconds, call: None)
    host: Any = SimpleNamespace(suspended=lambda channel: None, ended=lambda channel: False)
    keeper = suspensions.Suspensions(loop, 60, host, lambda channel, places: None, 12, 2)
    crowd: list[Any] = [Away(hosts.format(number), number) for number in range(1, 13)]
    other: Any = Away("192.0.2.1", 99)
    for one in (other, *crowd):
        keeper.begun(one, one.carrying, known=True)
    for one in (other, *crowd):
        keeper.suspended(one)
    assert sum(one.outcome is None for one in crowd) == kept
    assert other.outcome is None
    for one in (other, *crowd):
        if one.outcome is None:
            keeper.over(one, one.carrying.token)
    assert not keeper.waiting
