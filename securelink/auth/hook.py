"""What an `authenticate` hook may be, and what it may answer: anything unclear keeps the client out."""

from __future__ import annotations

import concurrent.futures
import numbers
import threading
from typing import Any

from ..errors import Refused
from ..signatures import checked, never_run
from .hello import Authenticate, Hello

_NO_USER = "the server did not accept the credentials"


class NoAnswer(Refused):
    """
    A hook answered with something that is no user, most likely by mistake. The client is refused.

    Attributes:
        mistake: What is wrong with the hook, for the server's log.
    """

    def __init__(self, mistake: str) -> None:
        super().__init__("the server could not check the credentials")
        self.mistake = mistake


def checked_hook(hook: Any, name: str = "authenticate") -> Authenticate:
    """
    Look at a hook before a server uses it: one that is not a plain function would let everybody in.

    Args:
        hook: What was given as `authenticate`.
        name: What to call it in an error.

    Returns:
        The hook.

    Raises:
        ConfigError: It cannot be called, is a class, cannot be called with one argument, or is one of
            the kinds of functions whose call gives something to be awaited or iterated.
    """
    return checked(name, hook, ("hello",))


def ask(hook: Authenticate, hello: Hello) -> Any:
    """
    Call a hook and judge its answer.

    Returns:
        The user.

    Raises:
        Refused: The hook raised it, or returned None or False.
        NoAnswer: It returned something that is no user.
        Exception: Whatever else the hook raised.
    """
    return judged(hook(hello))


def judged(answer: Any) -> Any:
    """
    The user that an answer names.

    Every value is a user, also 0, "", {} and True, apart from None and False, which refuse, and from
    what nobody returns on purpose: errors, classes, functions, `NotImplemented`, `...`, objects whose
    `__bool__` says False, and everything that still has to be called, awaited or iterated before it
    says anything.

    Raises:
        Refused: It is None or False.
        NoAnswer: It is no user.
    """
    if answer is None or answer is False:
        raise Refused(_NO_USER)
    mistake = _mistake(answer)
    if mistake is None and isinstance(answer, tuple | list) and answer:
        first = answer[0]
        if first is None or first is False:
            mistake = f"a {type(answer).__name__} that begins with {first}"
        else:
            mistake = _mistake(first)
    if mistake is not None:
        raise NoAnswer(
            f"returned {mistake}, which is no user; it has to return the user or raise Refused"
        )
    return answer


def _mistake(answer: Any) -> str | None:
    """What an answer is that is no user, in words; None for a user. Its value is not shown: it may be a secret."""
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
    if isinstance(answer, threading.Thread) or all(
        hasattr(kind, name) for name in ("ready", "wait", "get")
    ):  # also results of process pools and of task queues
        return f"something to be waited for ({kind.__name__})"
    if any(hasattr(kind, name) for name in ("__next__", "__anext__", "__aiter__")):
        return f"something to be iterated ({kind.__name__})"
    if hasattr(kind, "__bool__") and not isinstance(answer, numbers.Number) and not answer:
        return f"something that says it is false ({kind.__name__})"  # such as numpy.False_
    if callable(answer):
        return f"something to be called ({kind.__name__})"
    return None
