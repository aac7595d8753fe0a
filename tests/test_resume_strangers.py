"""What a client that never got in leaves of what would let it resume: nothing."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from helpers import WAIT, Hostile, Scene, scene, until

from securelink import Hello, Identity
from securelink.auth import JoinTokens
from securelink.protocol import Opened, TicketTable
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
        with stage.client(token=token):
            until(lambda: len(tickets(stage)) == 2)
        until(lambda: len(tickets(stage)) == 1)
