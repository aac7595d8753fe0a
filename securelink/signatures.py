"""
Checks whether a given function can serve as a handler, a listener or `authenticate`.

A coroutine function or a generator function returns at once and has done nothing, and a class makes an object that is
not used: each would be accepted, called, and never run. So they are refused when they are given, and the result of a
call is checked once more, because a decorator can hide the function that it wraps.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, TypeVar

from .errors import ConfigError
from .text import escaped, kind_of

Hook = TypeVar("Hook")

COROUTINE = "a coroutine function (async def)"
_SYNC = (
    "write it with def, without await and yield; threads of the library run it, not an event loop"
)


def checked(
    name: str, function: Any, takes: tuple[str, ...] | None, *, runs: bool = False
) -> Callable[..., Any]:
    """
    Return a function after checking it.

    Args:
        name: Its role, for the error: "the handler of 'move'".
        function: The function as it was given.
        takes: Names of the arguments of a call; None skips this check.
        runs: Whether what asks runs coroutines.

    Raises:
        ConfigError: It cannot be called, would not run when it is called, or takes other arguments.
    """
    if not callable(function):
        raise ConfigError(
            f"{name} is {_shown(function)}, which cannot be called", hint=_example(takes)
        )
    inner = _steps(function)[-1]
    if isinstance(inner, type):
        raise ConfigError(
            f"{name} is the class {inner.__name__}, and calling it would only make an object",
            hint=f"give a function, or an object: {inner.__name__}()",
        )
    kind = lazy_kind(function)
    if kind and not (runs and kind == COROUTINE):
        raise ConfigError(f"{name} is {kind}: a call of it runs nothing", hint=_SYNC)
    if takes is not None:
        _check_arguments(name, function, takes)
    checked_function: Callable[..., Any] = function
    return checked_function


def checked_or_none(name: str, hook: Hook, takes: tuple[str, ...]) -> Hook:
    """
    Return a hook after checking it; None for none.

    Raises:
        ConfigError: As `checked` does.
    """
    if hook is not None:
        checked(name, hook, takes)
    return hook


def lazy_kind(function: Any) -> str:
    """The kind of a function whose call runs nothing; "" for a plain function."""
    for tried in _steps(function):
        if inspect.iscoroutinefunction(tried):
            return COROUTINE
        if inspect.isasyncgenfunction(tried):
            return "an asynchronous generator (async def with yield)"
        if inspect.isgeneratorfunction(tried):
            return "a generator function (it has a yield)"
    return ""


def never_run(result: object) -> str:
    """The kind of a returned object that has not run, and is closed now; "" for a result."""
    if isinstance(result, CoroutineType | GeneratorType):
        result.close()  # never begun, so nothing of it runs; closing it prevents a warning later
        return "a coroutine" if isinstance(result, CoroutineType) else "a generator"
    if isinstance(result, AsyncGeneratorType):
        return "an asynchronous generator"
    return "an awaitable" if hasattr(type(result), "__await__") else ""


def did_run(result: object) -> None:
    """
    Check the result of a function, unless it is None.

    Raises:
        ConfigError: It is a coroutine, a generator or the like: the function has done nothing.
    """
    if kind := never_run(result):
        raise ConfigError(f"it returned {kind}, which is never run", hint=_SYNC)


def _steps(function: Any) -> list[Any]:
    """
    The objects that a call passes through, outermost first: partials, methods, `__call__` of objects.

    The last is a function or a class. The function that a decorator calls is not known.
    """
    steps: list[Any] = []
    while not any(function is step for step in steps):
        steps.append(function)
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, staticmethod) or inspect.ismethod(function):
            function = function.__func__
        elif callable(function) and not (inspect.isroutine(function) or isinstance(function, type)):
            function = type(function).__call__
    return steps


def _check_arguments(name: str, function: Callable[..., Any], takes: tuple[str, ...]) -> None:
    try:
        # Not the function that a decorator wraps: the decorator may call it with other arguments than its own.
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return  # a function in C without a signature; the first call will show it
    try:
        signature.bind(*takes)
    except TypeError:
        raise ConfigError(
            f"{name} takes {escaped(str(_plain(signature)))}, but is called with ({', '.join(takes)})",
            hint=_example(takes),
        ) from None


def _plain(signature: inspect.Signature) -> inspect.Signature:
    """A signature without annotations and defaults, which may be long."""
    plain = [
        parameter.replace(annotation=parameter.empty)
        if parameter.default is parameter.empty
        else parameter.replace(annotation=parameter.empty, default=...)
        for parameter in signature.parameters.values()
    ]
    return signature.replace(parameters=plain, return_annotation=signature.empty)


def _example(takes: tuple[str, ...] | None) -> str:
    return f"write def f({', '.join(takes)}): ..." if takes is not None else "give a function"


def _shown(value: object) -> str:
    return "None" if value is None else kind_of(value)
