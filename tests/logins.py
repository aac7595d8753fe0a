"""What the tests of logins share: a clock that they set, a hello, and the texts of refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from securelink.auth import Hello, JoinTokens
from securelink.errors import Refused

START = 1_700_000_000.0
UNKNOWN = "this join token is not valid here; ask for a new invite"
USED_UP = "this join token is used up; ask for a new invite"
EXPIRED = "this join token has expired; ask for a new invite"
REVOKED = "this join token was revoked; ask for a new invite"
MALFORMED = "this is not a whole join token; paste the invite again"
MISSING = "this server asks for a join token"


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> float:
        return self.time


def hello(credentials: Any = None, resumed: Any = None) -> Hello:
    return Hello(
        credentials=credentials,
        fingerprint=None,
        address=("127.0.0.1", 40000),
        dialled="localhost",
        application="",
        version="",
        resumed=resumed,
        binding=b"b" * 32,
        encrypted=True,
    )


def enter(tokens: JoinTokens, token: Any, resumed: Any = None) -> str:
    return tokens(hello({"token": token}, resumed))


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(Refused) as caught:
        call()
    return caught.value.text
