"""`on_connect` may refuse who was let in, and what is unclear there refuses, too."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from helpers import WAIT, failure, scene, until

from securelink import (
    Code,
    ConnectionClosed,
    Identity,
    Refused,
    Session,
)

pytestmark = pytest.mark.usefixtures("tidy")


def test_on_connect_may_refuse(identity: Identity, caplog: pytest.LogCaptureFixture) -> None:
    """`raise Refused` in on_connect ends the session with that text: nothing of it is handled any more."""
    greeted: list[Session] = []
    left: list[Session] = []
    heard: list[Any] = []
    with scene(identity) as stage:
        stage.check_neighbour()  # it is in before anybody is refused

        @stage.server.on_connect
        def full(session: Session) -> None:
            raise Refused("the game has begun", code=77)

        stage.server.on_connect(greeted.append)
        stage.server.on_disconnect(left.append)
        stage.server.on("say", lambda session, packet: heard.append(packet.data))
        client = stage.client().connect()
        with contextlib.suppress(ConnectionClosed):
            client.send("say", "hello")
        error = failure(ConnectionClosed, lambda: client.receive(WAIT), "the game has begun")
        assert (error.text, error.code, error.clean) == ("the game has begun", 77, True)
        until(stage.alone)
        until(lambda: left)
    assert not greeted
    assert not heard
    assert "on_connect refused" in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("answer", [Refused("not now"), Refused])
def test_on_connect_may_return_a_refusal(answer: Any, identity: Identity) -> None:
    """`return Refused(...)` in on_connect, and the class alone, refuse as `raise` does."""
    with scene(identity) as stage:
        stage.check_neighbour()
        stage.server.on_connect.add_listener(lambda session: answer)
        client = stage.client().connect()
        failure(ConnectionClosed, lambda: client.receive(WAIT), "")
        until(stage.alone)


@pytest.mark.parametrize("kind", ["coroutine", "generator", "async generator", "task", "partial"])
def test_a_check_in_on_connect_that_has_not_run_refuses(
    kind: str, identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """A listener of on_connect that only calls an `async def` check has checked nothing: its session ends."""

    async def check(session: Session) -> None:
        raise Refused("not you")

    def lazily(session: Session) -> Iterator[None]:
        yield
        raise Refused("not you")

    async def asynchronously(session: Session) -> AsyncIterator[None]:
        yield
        raise Refused("not you")

    class Task:
        def __await__(self) -> Iterator[None]:
            yield

    answers: dict[str, Callable[[Session], Any]] = {
        "coroutine": lambda session: check(session),
        "generator": lambda session: lazily(session),
        "async generator": lambda session: asynchronously(session),
        "task": lambda session: Task(),
        "partial": functools.partial(lambda word, session: check(session), "word"),
    }
    greeted: list[Session] = []
    with scene(identity) as stage:
        stage.check_neighbour()
        stage.server.on_connect(answers[kind])
        stage.server.on_connect(greeted.append)
        client = stage.client().connect()
        error = failure(
            ConnectionClosed, lambda: client.receive(WAIT), "could not check this session"
        )
        assert error.code == Code.REFUSED
        until(stage.alone)
    assert not greeted
    assert "which is never run" in caplog.text


def test_other_errors_in_on_connect_end_nothing(identity: Identity) -> None:
    """Any other error is logged, the others are called, and the session goes on."""
    greeted: list[Session] = []
    with scene(identity) as stage:

        @stage.server.on_connect
        def broken(session: Session) -> None:
            raise ValueError("a bug")

        stage.server.on_connect(greeted.append)
        with stage.client() as client:
            until(lambda: greeted)
            assert client.ping() >= 0
