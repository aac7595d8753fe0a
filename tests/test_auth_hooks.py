"""What may be an `authenticate` hook, and what may be its answer: anything unclear keeps the client out."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from multiprocessing.pool import ThreadPool
from typing import Any

import pytest
from helpers import WAIT, failure, scene, until
from logins import hello

from securelink import (
    Client,
    Code,
    ConfigError,
    ConnectionClosed,
    Hello,
    Identity,
    Refused,
)
from securelink.auth import JoinTokens, NoAnswer, Passwords, ask, checked_hook, first_of
from securelink.server import Server
from securelink.tools.console import Operators

pytestmark = pytest.mark.usefixtures("tidy")


async def coroutine(hello: Hello) -> None:
    """Would refuse everybody, if anybody awaited it."""
    raise Refused("never")


def generator(hello: Hello) -> Iterator[None]:
    """The same, if anybody iterated over it."""
    yield None
    raise Refused("never")


async def async_generator(hello: Hello) -> AsyncIterator[None]:
    """The same."""
    yield None
    raise Refused("never")


class Awaited:
    """An object whose call gives a coroutine."""

    async def __call__(self, hello: Hello) -> None:
        raise Refused("never")

    async def method(self, hello: Hello) -> None:
        """The same as a method."""
        raise Refused("never")


class Generating:
    """An object whose call gives a generator."""

    def __call__(self, hello: Hello) -> Iterator[None]:
        yield None


class Account:
    """Calling the class makes one, whatever it is called with."""

    def __init__(self, hello: Hello) -> None:
        self.hello = hello


def with_option(hello: Hello, option: int) -> str:
    """Needs to be told more than a server tells it."""
    return f"{hello} {option}"


NO_HOOKS: list[Any] = [
    coroutine,
    generator,
    async_generator,
    Awaited(),
    Awaited().method,
    Generating(),
    functools.partial(coroutine),
    functools.partial(functools.partial(Awaited())),
    functools.partial(Account),
    Account,
    Refused,
    Passwords,
    bool,
    with_option,
    functools.partial(with_option, hello=hello(None)),
    lambda: "ada",
    "passwords",
    b"tokens",
    {"ada": "password"},
    NotImplemented,
    False,
    0,
]


@pytest.mark.parametrize("hook", NO_HOOKS, ids=range(len(NO_HOOKS)))
def test_what_cannot_decide_is_no_hook(hook: Any, identity: Identity) -> None:
    """Asynchronous functions, generators, classes and what cannot be called are refused when the server is made."""
    with pytest.raises(ConfigError) as caught:
        Server("127.0.0.1", 0, keys=identity, authenticate=hook)
    assert caught.value.hint
    assert "password" not in str(caught.value) or hook == "passwords"


def test_combinations_look_at_their_parts() -> None:
    """first_of() and Operators.admit() refuse at once what a server would refuse."""

    class Half(Passwords):
        async def __call__(self, hello: Hello) -> str:  # type: ignore[override]  # that is the mistake
            return "ada"

    class Asking(Passwords):
        async def accepts(self, credentials: object) -> bool:  # type: ignore[override]
            return True

    for part in (Half(cost=2), Asking(cost=2), Passwords, coroutine):
        with pytest.raises(ConfigError):
            first_of(JoinTokens(), part)  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        Operators("operators").admit(coroutine)


@pytest.mark.parametrize(
    "hook",
    [
        lambda hello: "ada",
        functools.partial(with_option, option=3),
        Passwords(cost=2),
        first_of(JoinTokens()),
        Account(hello(None)).__eq__,
        {"a": 1}.get,
        functools.lru_cache(lambda hello: "ada"),
    ],
)
def test_plain_functions_are_hooks(hook: Callable[..., Any]) -> None:
    """Functions, methods, builtins, partials and objects that can be called are."""
    assert checked_hook(hook) is hook


@contextlib.contextmanager
def block(hello: Hello) -> Iterator[str]:
    """A function that cannot be told from a plain one before it is called."""
    yield "ada"


def answers() -> dict[str, Callable[[], Any]]:
    """What a hook may return by mistake, made anew at each call."""
    loop_free: Future[str] = Future()
    return {
        "coroutine": lambda: coroutine(hello(None)),
        "generator": lambda: generator(hello(None)),
        "async generator": lambda: async_generator(hello(None)),
        "generator expression": lambda: (user for user in ("ada",)),
        "map": lambda: map(str, ()),
        "iterator": lambda: iter([]),
        "context manager": lambda: block(hello(None)),
        "future": lambda: loop_free,
        "gathered": lambda: asyncio.Future(loop=LOOP),
        "Refused": lambda: Refused("no"),
        "error": lambda: ValueError("the secret is 42"),
        "error of the system": KeyboardInterrupt,
        "Refused class": lambda: Refused,
        "class": lambda: Account,
        "function": lambda: with_option,
        "lambda": lambda: lambda: None,
        "partial": lambda: functools.partial(coroutine),
        "another hook": lambda: JoinTokens(),
        "NotImplemented": lambda: NotImplemented,
        "Ellipsis": lambda: ...,
        "no, and why": lambda: (False, "wrong password"),
        "none, and why": lambda: (None, "wrong password"),
        "error in a tuple": lambda: (Refused("no"), 403),
        "error in a list": lambda: [Refused("no")],
        "none in a list": lambda: [None],
        "false of another library": Falsehood,
        "asynchronous iterable": Waves,
        "thread": threading.Thread,
        "result of a pool": lambda: RESULT,
    }


class Falsehood:
    """As `numpy.False_` is: no bool, and false."""

    def __bool__(self) -> bool:
        return False


class Waves:
    """Something for `async for`."""

    def __aiter__(self) -> Waves:
        return self


class _Loop:
    """As much of an event loop as a future needs to exist."""

    def get_debug(self) -> bool:
        return False


LOOP: Any = _Loop()
with ThreadPool(1) as _pool:
    RESULT = _pool.apply_async(int)
    RESULT.wait()


@pytest.mark.parametrize("mistake", answers())
def test_what_is_no_answer_refuses(
    mistake: str, identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """An answer that is no answer keeps the client out, and the server's log has an error that says what it was."""
    make = answers()[mistake]

    def authenticate(hello: Hello) -> Any:
        return "the neighbour" if hello.credentials == "let me in" else make()

    neighbour = {"credentials": "let me in"}
    with scene(identity, neighbour=neighbour, authenticate=authenticate) as stage:
        error = failure(
            Refused, stage.client(credentials="please").connect, "could not check the credentials"
        )
        assert error.code == Code.REFUSED
        until(stage.alone)
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert any("not a user" in record.getMessage() for record in told), told
    assert "the secret is" not in caplog.text
    assert "wrong password" not in caplog.text


@pytest.mark.parametrize("user", [0, "", {}, [], 0.0, b"", True, (), ("ada", None), {"id": 7}, 1])
def test_every_other_value_is_a_user(user: Any) -> None:
    """0, "", {} and True are users, and so is everything else that is a value."""
    assert ask(lambda hello: user, hello(None)) is user


@pytest.mark.parametrize("answer", [None, False])
def test_none_and_false_refuse(answer: Any) -> None:
    """They are answers, and both say no: no error is logged for them."""
    with pytest.raises(Refused) as caught:
        ask(lambda hello: answer, hello(None))
    assert not isinstance(caught.value, NoAnswer)


class Never(Passwords):
    """A hook of the ready-made kind that gives what it was made with."""

    def __init__(self, answer: Any) -> None:
        super().__init__(cost=2)
        self.answer = answer

    def accepts(self, credentials: object) -> bool:
        """It takes all."""
        return True

    def __call__(self, hello: Hello) -> Any:
        return self.answer


def test_combinations_judge_each_answer() -> None:
    """In first_of(), None and False go on to the next hook, and what is no answer ends the search."""
    asked = hello(None)
    assert first_of(Never(None), Never("ada"))(asked) == "ada"
    assert first_of(Never(False), Never(0))(asked) == 0
    with pytest.raises(NoAnswer):
        first_of(Never(Refused("no")), Never("ada"))(asked)


@pytest.mark.parametrize("strange", [{"text": 404}, {"code": 0}, {"code": 999}, {"code": None}])
def test_a_strange_refusal_refuses(strange: dict[str, Any], identity: Identity) -> None:
    """Whatever is in it, a refusal reaches the client as one."""

    def authenticate(hello: Hello) -> str:
        raise Refused(**{"text": "no", **strange})

    with Server("127.0.0.1", 0, keys=identity, authenticate=authenticate) as server:
        client = Client("127.0.0.1", server.address[1], pin=server.fingerprint)
        error = failure(Refused, client.connect, "")
        assert error.code == Code.REFUSED
        assert error.text == str(strange.get("text", "no"))


class Unspeakable:
    """A user that fails whenever somebody wants to see it."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")


def test_a_user_that_is_the_credentials_is_in_no_log(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """Who returns what the client sent has the password in `user`, and neither in the log nor in `repr()`."""
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []
    with scene(identity, authenticate=lambda hello: hello.credentials or "neighbour") as stage:
        stage.server.on_connect(lambda session: shown.append(f"{session!r} {session}"))
        with stage.client(credentials={"user": "ada", "password": "swordfish"}) as client:
            assert client.ping() >= 0
            until(lambda: shown)
        until(stage.alone)
    assert "(a dict) connected" in caplog.text
    assert "swordfish" not in caplog.text + "".join(shown)


def test_a_user_that_cannot_be_shown_enters_and_leaves(identity: Identity) -> None:
    """An error in its `__str__` is not one of the loop."""
    with scene(identity, authenticate=lambda hello: Unspeakable()) as stage:
        with stage.client() as client:
            assert client.ping() >= 0
        until(stage.alone)


OPERATORS: list[Callable[[str], Any]] = [
    lambda fingerprint: fingerprint == "SHA256:",
    lambda fingerprint: True,
    lambda fingerprint: "",
    lambda fingerprint: coroutine(fingerprint),  # type: ignore[arg-type]
    lambda fingerprint: Refused("no"),
    lambda fingerprint: int(fingerprint),
]


@pytest.mark.parametrize("name_of", OPERATORS)
def test_only_a_name_makes_an_operator(
    name_of: Callable[[str], Any], identity: Identity, other_identity: Identity
) -> None:
    """What is no name makes nobody an operator: `authenticate` decides as for everybody else."""
    with scene(
        identity, neighbour={"credentials": "in"}, authenticate=lambda hello: hello.credentials
    ) as stage:
        stage.check_neighbour()
        stage.server.admit_operators(name_of)
        failure(Refused, stage.client(keys=other_identity).connect, "did not accept")
        with stage.client(keys=other_identity, credentials="ada") as client:
            assert client.ping() >= 0
            until(lambda: "ada" in [session.user for session in stage.server.sessions.values()])
            assert not any(session.operator for session in stage.server.sessions.values())
        failure(ConfigError, lambda: stage.server.admit_operators(coroutine), "coroutine function")  # type: ignore[arg-type]


class Banned(Refused):
    """A refusal of an application that forgot to call ours."""

    def __init__(self) -> None:
        pass


def unspeakable() -> Refused:
    """A refusal in words that cannot be shown."""
    return Refused(Unspeakable())  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [Banned, unspeakable])
@pytest.mark.parametrize("place", ["authenticate", "on_connect"])
def test_a_broken_refusal_refuses(
    make: Callable[[], Refused], place: str, identity: Identity
) -> None:
    """Its client is told at once, and is no session afterwards."""

    def refuse(about: object) -> None:
        raise make()

    def authenticate(hello: Hello) -> Any:
        return refuse(hello) if hello.credentials == "refuse me" else "somebody"

    with scene(identity, authenticate=authenticate) as stage:
        stage.check_neighbour()
        if place == "authenticate":
            failure(Refused, stage.client(credentials="refuse me").connect, "")
        else:
            stage.server.on_connect(refuse)
            client = stage.client()
            with contextlib.suppress(ConnectionClosed):
                client.connect()
                client.receive(WAIT)
            assert not client.connected
            client.close()
        until(stage.alone)


def test_what_ends_the_thread_of_a_hook_ends_no_login(identity: Identity) -> None:
    """A `give_back` that raises SystemExit keeps nobody from hearing the refusal."""

    def authenticate(hello: Hello) -> Any:
        if hello.credentials != "refuse me":
            return "somebody"
        hello.hold(lambda: sys.exit(3))
        raise Refused("not you")

    with scene(identity, authenticate=authenticate) as stage:
        failure(Refused, stage.client(credentials="refuse me").connect, "not you")
