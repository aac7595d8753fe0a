"""A file of join tokens that another program has locked: nobody waits for long, and no use of a token is lost."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import WAIT, Hostile, Scene, failure, scene, secrets, until
from inside import book_of
from logins import USED_UP, enter, hello, refusal

from securelink import HandshakeError, Hello, Identity, KeyFileError, Server
from securelink.auth import JoinTokens
from securelink.codes import Code
from securelink.limits import LOGIN_LOCK_SECONDS
from securelink.protocol import Opened
from securelink.trust.locking import LockTaken
from securelink.wire.packets import encode_value

pytestmark = pytest.mark.usefixtures("tidy")

TAKEN = "has kept .* locked"


@pytest.fixture
def tokens(tmp_path: Path) -> JoinTokens:
    """Tokens in a file."""
    return JoinTokens(tmp_path / "keys" / "join_tokens.json")


@contextlib.contextmanager
def locked(tokens: JoinTokens) -> Iterator[None]:
    """Another program has the file."""
    assert tokens.path is not None
    descriptor = os.open(f"{tokens.path}.lock", os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def coming(token: str) -> Hello:
    """What a server says of a client that may not get in after all."""
    return dataclasses.replace(hello({"token": token}), _holds=[])


def uses(tokens: JoinTokens) -> list[int | None]:
    """How many each token has left."""
    return [entry.uses for entry in tokens.entries()]


def test_a_login_waits_for_a_second_and_those_behind_it_hardly(tokens: JoinTokens) -> None:
    """One login finds out that the file is stuck; until it is free the others are hardly kept. Nothing is used."""
    token = tokens.create("ada", uses=20)
    began = time.monotonic()
    with locked(tokens):
        for _ in range(20):
            with pytest.raises(LockTaken, match=TAKEN):
                enter(tokens, token)
        # Twenty that wait for a second each would take at least as many.
        assert LOGIN_LOCK_SECONDS <= time.monotonic() - began < 10 * LOGIN_LOCK_SECONDS
    assert uses(tokens) == [20]
    assert enter(tokens, token) == "ada"
    began = time.monotonic()
    with locked(tokens), pytest.raises(LockTaken):
        enter(tokens, token)
    assert time.monotonic() - began >= LOGIN_LOCK_SECONDS  # it was free between: worth a wait


def test_looking_does_not_wait(tokens: JoinTokens) -> None:
    """Who changes nothing needs no lock: wrong tokens, and such as admit any number."""
    often, once = tokens.create("ada", uses=None), tokens.create("bert")
    enter(tokens, often)
    enter(tokens, once)
    with locked(tokens):
        assert enter(tokens, often) == "ada"
        assert refusal(lambda: enter(tokens, once)) == USED_UP
        assert len(tokens.entries()) == 2


def test_what_could_not_be_given_back_is_given_back_later(tokens: JoinTokens) -> None:
    """A login that came to nothing while the file was locked spends nothing: the next change gives its use back."""
    token, other = tokens.create("ada"), tokens.create("bert", uses=None)
    came = coming(token)
    tokens(came)
    with locked(tokens):
        (hold,) = came.holds
        with pytest.raises(LockTaken):
            hold.release()
        assert not hold.confirm()  # it is not in
        with pytest.raises(LockTaken):
            enter(tokens, token)  # whether it is used up cannot be said yet
    assert uses(tokens)[0] == 0
    assert enter(tokens, token) == "ada"
    assert refusal(lambda: enter(tokens, token)) == USED_UP
    assert uses(tokens) == [0, None]
    assert enter(tokens, other) == "bert"


def test_a_change_of_another_token_gives_it_back_too(tokens: JoinTokens) -> None:
    """What is owed goes with any change, once, however many come at once."""
    first, other = tokens.create("ada"), tokens.create("bert", uses=50)
    came = coming(first)
    tokens(came)
    with locked(tokens), pytest.raises(LockTaken):
        came.holds[0].release()
    threads = [threading.Thread(target=enter, args=(tokens, other)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert uses(tokens) == [1, 44]


def test_a_change_that_fails_still_owes(
    tokens: JoinTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk keeps nobody's use: it is given back when there is room again."""
    token = tokens.create("ada")
    came = coming(token)
    tokens(came)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("securelink.trust.locking.os.replace", full)
        for attempt in (came.holds[0].release, lambda: enter(tokens, token)):
            failure(KeyFileError, attempt, "the disk is full")
    assert enter(tokens, token) == "ada"
    assert uses(tokens) == [0]


def test_who_was_lost_while_it_was_owed(tokens: JoinTokens) -> None:
    """A token that is gone, or was revoked, gets nothing back, and stops no change."""
    first, other = tokens.create("ada"), tokens.create("bert")
    came = coming(first)
    tokens(came)
    with locked(tokens), pytest.raises(LockTaken):
        came.holds[0].release()
    with book_of(tokens).update() as entries:
        entries.pop(min(entries, key=lambda key: entries[key].user or ""))
    assert enter(tokens, other) == "bert"
    assert uses(tokens) == [0]


@contextlib.contextmanager
def door(identity: Identity, tokens: JoinTokens, **options: Any) -> Iterator[tuple[Scene, str]]:
    """A server that asks for tokens, with somebody in it already, and a token."""
    mine, token = tokens.create("neighbour"), tokens.create("ada")
    secrets.add(token)
    with scene(identity, authenticate=tokens, neighbour={"token": mine}, **options) as stage:
        stage.check_neighbour()
        yield stage, token


def test_what_the_client_gets(
    identity: Identity,
    tokens: JoinTokens,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """BUSY, and the log says why. It counts as no failure of the client's address, and keeps no session up."""
    for module in ("gate", "suspensions"):
        monkeypatch.setattr(f"securelink.threads.{module}.is_loopback_host", lambda host: False)
    with door(identity, tokens, max_failures=3) as (stage, token):
        stage.hold_window()
        with locked(tokens):
            for _ in range(5):
                client = stage.client(token=token)
                error = failure(HandshakeError, client.connect, "who may enter is being changed")
                assert (error.code, error.hint) == (Code.BUSY, "try again later")
                stage.check_neighbour()
        assert stage.listener.gate.budget.failures("127.0.0.1") == 0
        assert "another program has kept" in caplog.text
        with stage.client(token=token) as client:
            assert stage.session(client).user == "ada"


def test_a_client_that_tries_again_comes_in(identity: Identity, tokens: JoinTokens) -> None:
    """`connect(retry=True)` goes on until the file is free."""
    with (
        door(identity, tokens) as (stage, token),
        contextlib.closing(stage.client(token=token)) as client,
    ):
        with locked(tokens):
            thread = threading.Thread(target=lambda: client.connect(WAIT, retry=True))
            thread.start()
            until(lambda: stage.listener.gate.failed >= 2)
            assert thread.is_alive()
        thread.join(WAIT)
        assert stage.session(client).user == "ada"


def test_a_stop_does_not_wait_for_each(identity: Identity, tokens: JoinTokens) -> None:
    """A server that ends while the file is locked waits for one second, not for one for each login under way."""
    tokens_of = [tokens.create(f"user {number}") for number in range(8)]
    for token in tokens_of:
        secrets.add(token)
    with (
        Server("127.0.0.1", 0, keys=identity, authenticate=tokens) as server,
        contextlib.ExitStack() as stack,
    ):
        for token in tokens_of:
            client = stack.enter_context(
                Hostile(server.address[1], credentials=encode_value({"token": token}))
            )
            client.hello()
            client.authenticate()
            client.flush()
            client.read_until(Opened)
        stack.enter_context(locked(tokens))
        began = time.monotonic()
        server.stop(0.1)
        assert time.monotonic() - began < 5 * LOGIN_LOCK_SECONDS
