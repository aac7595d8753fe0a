"""Keys shared by all tests: making one takes longer than most tests."""

from __future__ import annotations

import pytest

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
