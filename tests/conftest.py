"""What many tests share: keys (making one takes longer than most tests) and broken systems."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from helpers import nothing_left

from securelink.keys import Identity


@pytest.fixture(scope="session")
def key_pool() -> list[Identity]:
    """Three identities of 2048 bits, made once a run."""
    return [Identity.generate(2048) for _ in range(3)]


@pytest.fixture(scope="session")
def identity(key_pool: list[Identity]) -> Identity:
    """An identity for a test that needs one."""
    return key_pool[0]


@pytest.fixture(scope="session")
def other_identity(key_pool: list[Identity]) -> Identity:
    """Another identity, for a test that needs two."""
    return key_pool[1]


@pytest.fixture
def failing() -> Callable[[int], Callable[..., NoReturn]]:
    """`failing(errno.ENOSPC)` is a function to put in the place of a system call that must fail."""

    def build(code: int) -> Callable[..., NoReturn]:
        def fail(*_: object, **__: object) -> NoReturn:
            raise OSError(code, os.strerror(code))

        return fail

    return build


@pytest.fixture
def tidy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    """The test runs in a folder of its own; no thread, socket or open file is left, and no secret in the log."""
    monkeypatch.chdir(tmp_path)
    with nothing_left(monkeypatch, caplog):
        yield
