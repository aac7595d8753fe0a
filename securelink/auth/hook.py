"""Checks of an `authenticate` hook and of its return value: in case of doubt the client is refused."""

from __future__ import annotations

import concurrent.futures
import numbers
import threading
from typing import Any

from ..errors import Refused
from ..signatures import checked, never_run
from ..text import kind_of
from .hello import Authenticate, Hello

_NO_USER = "the server did not accept the credentials"


class NoAnswer(Refused):
    """
    A hook returned a value that is not a user, most likely by mistake. The client is refused.

    Attributes:
        mistake: The mistake of the hook, for the server's log.
    """

    def __init__(self, mistake: str) -> None:
        super().__init__("the server could not check the credentials")
        self.mistake = mistake


class CallsBack:
    """A ready-made hook that calls other functions of the application when a client is in."""

    def check_functions(self, *, runs: bool) -> None:
        """
        Check that a server can call them.

        Args:
            runs: Whether it runs coroutines.

        Raises:
            ConfigError: It cannot.
        """


def checked_hook(hook: Any, name: str = "authenticate", *, runs: bool = False) -> Authenticate:
    """
    Check a hook before a server uses it: a hook that is not a plain function would let every client in.

    Args:
        hook: The value of `authenticate`.
        name: Its name in an error.
        runs: Whether the server runs coroutines.

    Returns:
        The hook.

    Raises:
        ConfigError: It cannot be called, is a class, cannot be called with one argument, or is one of
            the kinds of functions whose call gives something to be awaited or iterated. Likewise for
            functions that it calls.
    """
    if isinstance(hook, CallsBack):
        hook.check_functions(runs=runs)
    return checked(name, hook, ("hello",), runs=runs)


def ask(hook: Authenticate, hello: Hello) -> Any:
    """
    Call a hook and judge its answer.

    Returns:
        The user.

    Raises:
        Refused: The hook raised it, or returned None or False.
        NoAnswer: It returned a value that is not a user.
        Exception: Any other exception of the hook.
    """
    return judged(hook(hello))


def judged(answer: Any) -> Any:
    """
    The user that an answer names.

    Every value is a user, also 0, "", {} and True, except None and False, which refuse, and values that are returned
    only by mistake: errors, classes, functions, `NotImplemented`, `...`, objects whose `__bool__` gives False, and
    everything that still has to be called, awaited or iterated to give a result.

    Raises:
        Refused: It is None or False.
        NoAnswer: It is not a user.
    """
    if answer is None or answer is False:
        raise Refused(_NO_USER)
    mistake = _mistake(answer)
    if mistake is None and isinstance(answer, tuple | list) and answer:
        first = answer[0]
        if first is None or first is False:
            mistake = f"{kind_of(answer)} that begins with {first}"
        else:
            mistake = _mistake(first)
    if mistake is not None:
        raise NoAnswer(
            f"returned {mistake}, which is not a user; it has to return the user or raise Refused"
        )
    return answer


def _mistake(answer: Any) -> str | None:
    """A description of a value that is not a user; None for a user. The value is not shown: it may be a secret."""
    if deferred := never_run(answer):
        return deferred
    kind = type(answer)
    if isinstance(answer, BaseException):
        return f"the error {kind.__name__} (raise it)"
    if isinstance(answer, type):
        return f"the class {answer.__name__}"
    if answer is NotImplemented or answer is ...:
        return repr(answer)
    if isinstance(answer, concurrent.futures.Future):
        return f"something to be awaited ({kind.__name__})"
    # Also results of process pools and of task queues.
    if isinstance(answer, threading.Thread) or all(
        hasattr(kind, name) for name in ("ready", "wait", "get")
    ):
        return f"something to be waited for ({kind.__name__})"
    if any(hasattr(kind, name) for name in ("__next__", "__anext__", "__aiter__")):
        return f"something to be iterated ({kind.__name__})"
    if hasattr(kind, "__bool__") and not isinstance(answer, numbers.Number) and not answer:
        return f"something that says it is false ({kind.__name__})"  # such as numpy.False_
    if callable(answer):
        return f"something to be called ({kind.__name__})"
    return None
