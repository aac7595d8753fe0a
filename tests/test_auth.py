"""What a hook is shown, and how ready-made hooks combine."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logins import MISSING, USED_UP, hello, refusal

from securelink.auth import JoinTokens, Passwords, ReadyMade, first_of
from securelink.errors import ConfigError


def test_hello_hides_credentials_and_binding() -> None:
    """The repr of a hello may be logged: it shows who asks, and no secret."""
    shown = repr(hello({"token": "secret-token"}, SimpleNamespace(user="anna")))
    assert "secret-token" not in shown
    assert "bbbb" not in shown
    assert "127.0.0.1" in shown


def test_first_of_asks_the_hook_of_that_kind() -> None:
    """Tokens and passwords work side by side, each with its own refusals."""
    tokens, passwords = JoinTokens(), Passwords(cost=2)
    token = tokens.create("anna")
    passwords.add("bert", "long enough")
    authenticate = first_of(tokens, passwords)
    assert authenticate(hello({"token": token})) == "anna"
    assert authenticate(hello({"user": "bert", "password": "long enough"})) == "bert"
    assert refusal(lambda: authenticate(hello({"token": token}))) == USED_UP
    wrong = {"user": "bert", "password": "long"}
    assert refusal(lambda: authenticate(hello(wrong))) == "wrong user name or password"
    assert refusal(lambda: authenticate(hello(None))) == (
        "this server asks for a join token, or a user name and password"
    )


def test_first_of_two_of_one_kind() -> None:
    """With two lists of tokens either admits; if none does, the first refusal is given."""
    ours, theirs = JoinTokens(), JoinTokens()
    used, other = ours.create("anna"), theirs.create("bert")
    authenticate = first_of(ours, theirs)
    assert authenticate(hello({"token": other})) == "bert"
    assert authenticate(hello({"token": used})) == "anna"
    assert refusal(lambda: authenticate(hello({"token": used}))) == USED_UP
    assert refusal(lambda: authenticate(hello(None))) == MISSING


def test_first_of_nothing() -> None:
    """A combination of no hooks would refuse everybody: it is an error at once."""
    with pytest.raises(ConfigError):
        first_of()


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=40) | st.binary(max_size=40),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["token", "user", "password"])
                | inner.filter(lambda key: key.__hash__ is not None),
                inner,
                max_size=3,
            )
        ),
        max_leaves=5,
    )
)
def test_hostile_credentials_are_refused(credentials: Any) -> None:
    """No credentials make a ready-made hook do anything but refuse."""
    hooks: list[ReadyMade] = [JoinTokens(), Passwords(cost=2)]
    for hook in (*hooks, first_of(*hooks)):
        refusal(lambda hook=hook: hook(hello(credentials)))  # type: ignore[misc]
