"""What may be a handler, a listener or a hook: looked at when it is given, and by type checkers before that."""

from __future__ import annotations

import asyncio
import functools
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import WAIT, failure, until
from mypy import api as mypy
from together import joined, serving

from securelink import Client, ConfigError, Identity, RequestFailed, Server

HERE = Path(__file__).parent


async def coroutine(*_: Any) -> int:
    """Never runs."""
    return 1


async def asynchronous_generator(*_: Any) -> AsyncIterator[int]:
    """Never runs."""
    yield 1


def generator(*_: Any) -> Iterator[int]:
    """Never runs."""
    yield 1


class Objects:
    """All the ways in which a function can be inside of an object."""

    async def method(self, *_: Any) -> None:
        """Never runs."""

    @staticmethod
    async def static(*_: Any) -> None:
        """Never runs."""

    @classmethod
    async def of_class(cls, *_: Any) -> None:
        """Never runs."""


class Called:
    """Calling it makes a coroutine."""

    async def __call__(self, *_: Any) -> None:
        """Never runs."""


class CalledGenerator:
    """Calling it makes a generator."""

    def __call__(self, *_: Any) -> Iterator[int]:
        yield 1


class Runs:
    """A `run` that makes a coroutine."""

    async def run(self, *_: Any) -> None:
        """Never runs."""


class Plain:
    """An object with a `run` that is a handler."""

    def run(self, *_: Any) -> int:
        """Answer."""
        return 7


class Forgotten:
    """Somebody binds a method of the class, and not of an object."""

    def move(self, session: Any, packet: Any) -> None:
        """A handler of an object."""


def sides() -> tuple[Any, Any]:
    """A server and a client, whose types are of no interest here."""
    return Server(encryption="off"), Client("127.0.0.1", 5050)


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that keeps the outside of what it wraps."""

    @functools.wraps(function)
    def wrapper(*arguments: Any) -> Any:
        return function(*arguments)

    return wrapper


LAZY: dict[str, Any] = {
    "async def": coroutine,
    "async generator": asynchronous_generator,
    "generator": generator,
    "method": Objects().method,
    "static method": Objects.static,
    "class method": Objects.of_class,
    "static method object": staticmethod(coroutine),
    "partial": functools.partial(coroutine, 1),
    "partial of partial": functools.partial(functools.partial(generator), 1),
    "partial of method": functools.partial(Objects().method),
    "partial of object": functools.partial(Called()),
    "callable object": Called(),
    "callable generator": CalledGenerator(),
    "class": Plain,
    "exception class": ValueError,
    "partial of class": functools.partial(Plain),
}
WRONG = {
    **LAZY,
    "none": None,
    "number": 5,
    "text": "handler",
    "list": [print],
    "property": property(),
}
NARROW: dict[str, Any] = {
    "too many": lambda a, b, c, d: None,
    "keyword only": lambda *, a: None,
    "keyword only beside": lambda *_, a: None,
    "partial": functools.partial(lambda a, b, c, d, e: None, 1),
}


def bound(handler: Any) -> dict[str, Callable[[], object]]:
    """Every place that takes a function of the application."""
    server, client = Server(encryption="off"), Client("127.0.0.1", 5050)

    def hook(owner: Any, name: str) -> Callable[[], object]:
        return lambda: setattr(owner, name, handler)

    places: dict[str, Callable[[], object]] = {
        "server.on": lambda: server.on("move", handler),
        "server.on as a decorator": lambda: server.on("move")(handler),
        "server.on by keyword": lambda: server.on("move", handler=handler),
        "server.on with a type": lambda: server.on("move", int, handler),
        "client.on": lambda: client.on("move", handler),
        "client.on with a type": lambda: client.on("move", int)(handler),
    }
    for owner in (server, client):
        for name in (
            "on_connect",
            "on_disconnect",
            "on_message",
            "on_state",
            "on_tick",
            "on_start",
            "on_stop",
        ):
            if hasattr(owner, name):
                event = getattr(owner, name)
                places[f"{owner} {name}"] = functools.partial(event, handler)
                places[f"{owner} {name}.add_listener"] = functools.partial(
                    event.add_listener, handler
                )
        for name in ("before_send", "after_receive"):
            if handler is not None:
                places[f"{owner} {name}"] = hook(owner, name)
    if callable(handler):
        places["credentials"] = lambda: Client("127.0.0.1", 5050, credentials=handler)
    return places


@pytest.mark.parametrize("kind", WRONG)
def test_what_would_never_run_is_refused(kind: str) -> None:
    """A coroutine function, a generator, a class or no function at all is a `ConfigError` wherever it is given."""
    for place, call in bound(WRONG[kind]).items():
        if kind in ("class", "exception class") and place in (
            "server.on",
            "server.on as a decorator",
            "client.on",
        ):
            continue  # a class after the name is a type of data: see below
        error = failure(ConfigError, call, "")
        assert error.hint, place


def test_a_class_instead_of_a_handler() -> None:
    """A class that is no type of data is refused, with both ways on."""
    server: Any = Server(encryption="off")
    failure(ConfigError, lambda: server.on("move", Plain), "Plain", "object or a function")
    failure(ConfigError, lambda: server.on("move")(Plain), "is the class Plain", r"Plain\(\)")
    failure(
        ConfigError, lambda: server.on("move", handler=Plain), "is the class Plain", r"Plain\(\)"
    )


def test_an_object_whose_run_would_never_run() -> None:
    """The `run` of an object is looked at as a function is."""
    for side in sides():
        call = functools.partial(side.on, "move", Runs())
        failure(ConfigError, call, "coroutine function", "with def")
        assert side.on("move", Plain()) is not None
        assert (side.off("move"), side.off("move")) == (True, False)


@pytest.mark.parametrize("kind", NARROW)
def test_a_function_that_takes_other_arguments(kind: str) -> None:
    """What a function is called with is compared when it is given, not at the first packet."""
    for place, call in bound(NARROW[kind]).items():
        error = failure(ConfigError, call, "takes .* but is called with")
        assert error.hint.startswith("write def f("), place


def test_the_error_says_what_a_handler_gets() -> None:
    """The names of what it is called with are in the error, and the forgotten `self` is seen."""
    server, client = sides()
    one, two = lambda packet: None, lambda session, packet: None
    says = r"takes \(packet\), but is called with \(session, packet\)"
    failure(ConfigError, lambda: server.on("move", one), says, r"def f\(session, packet\)")
    failure(ConfigError, lambda: client.on("move", two), r"called with \(packet\)")
    failure(ConfigError, lambda: server.on_tick(one), r"called with \(\)", r"def f\(\)")
    forgotten = Forgotten.move
    failure(ConfigError, lambda: server.on("move", forgotten), r"takes \(self, session, packet\)")


def test_functions_that_fit_are_taken() -> None:
    """Defaults, varargs, partials, bound methods, functions in C: whatever can be called so is a handler."""
    server = Server(encryption="off")
    seen: list[Any] = []
    for handler in (
        lambda session, packet, more=1: None,
        lambda *arguments: None,
        functools.partial(lambda before, session, packet: None, 1),
        functools.partial(lambda session, packet, *, named: None, named=1),
        Plain().run,
        print,
        max,
        decorated(lambda session, packet: None),
        functools.wraps(coroutine)(lambda session, packet: None),
        functools.wraps(lambda database, session, packet: None)(lambda session, packet: None),
    ):
        handler_: Any = handler
        assert server.on("move", handler_) is handler
    server.on_connect(seen.append)
    server.on_tick(seen.clear)


@pytest.mark.parametrize("owner", ["server", "client"])
def test_a_decorator_without_its_name(owner: str) -> None:
    """`@server.on`, `@server.on()` and `@server.on_connect()` say how they are written."""
    side: Any = Server(encryption="off") if owner == "server" else Client("127.0.0.1", 5050)

    def move(*_: Any) -> None: ...

    failure(
        ConfigError, lambda: side.on(move), "before the handler move", f'@{owner}.on\\("move"\\)'
    )
    failure(ConfigError, lambda: side.on(), "name of the action is missing", f"@{owner}.on")
    failure(ConfigError, lambda: side.on_connect(), "one listener", "without parentheses")
    failure(ConfigError, lambda: side.on_connect(move, move), "one listener", "without parentheses")
    failure(ConfigError, lambda: side.on("move", None), "None, which cannot be called", "def f")
    for name in ("", "x" * 256, 5, None, b"move", "~move", "~state", ["move"]):
        failure(ConfigError, lambda name=name: side.on(name, move), "", ".")  # type: ignore[misc]


# --- what only a call shows --------------------------------------------------------------------------------


def test_a_coroutine_behind_a_decorator_is_seen_when_it_is_called(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """A function that hides an `async def` fails at each call, with words; who asked is told, nobody is warned."""
    with serving(identity) as server, joined(server) as (client,):

        async def compute(*_: Any) -> int:
            return 1

        def steps(*_: Any) -> Iterator[int]:
            yield 1

        async def stream(*_: Any) -> AsyncIterator[int]:
            yield 1

        loop = asyncio.new_event_loop()
        for hidden in (compute, steps, stream, lambda *_: loop.create_future()):
            hidden_: Any = hidden
            server.on("compute", lambda session, packet, hidden=hidden_: hidden(session, packet))
            with pytest.raises(RequestFailed) as caught:
                client.request("compute", timeout=WAIT)
            assert caught.value.reason == "error"
            assert [type(entry.error) for entry in server.caught.take()] == [ConfigError]
        loop.close()
        never: Any = compute
        server.on_message(lambda session, packet: never())
        client.send("anything")
        until(lambda: "a listener of on_message raised" in caplog.text)
    assert "it returned a coroutine, which is never run; write it with def" in caplog.text


@pytest.mark.parametrize("words", ["\ud800", "x" * 3_000_000])
def test_a_refusal_that_cannot_be_sent_is_an_answer(identity: Identity, words: str) -> None:
    """Who asked hears that the handler failed, instead of waiting for words that never come."""

    def refuse(session: Any, packet: Any) -> None:
        raise RequestFailed(words)

    with (
        Server("127.0.0.1", 0, keys=identity) as server,
        Client("127.0.0.1", server.address[1], pin=server.fingerprint) as client,
    ):
        server.on("ask", refuse)
        with pytest.raises(RequestFailed) as caught:
            client.request("ask", timeout=WAIT)
        assert caught.value.reason == "error"


# --- type checkers -----------------------------------------------------------------------------------------


def test_a_type_checker_sees_each_mistake(tmp_path: Path) -> None:
    """mypy --strict has an error on every line of typing_wrong.py that is marked as wrong, and on no other."""
    file = HERE / "typing_wrong.py"
    marked = {
        number
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if line.endswith("# wrong")
    }
    found, errors, _ = mypy.run(
        ["--strict", "--no-error-summary", "--hide-error-context", f"--cache-dir={tmp_path}",
         f"--config-file={HERE.parent / 'pyproject.toml'}", f"--python-executable={sys.executable}", str(file)]
    )  # fmt: skip
    assert not errors
    lines = {int(line) for line in re.findall(r"typing_wrong\.py:(\d+): error:", found)}
    assert lines == marked
    assert len(marked) > 20
