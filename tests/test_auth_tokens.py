"""Join tokens: who is let in by one, how often and for how long, and what their owner sees."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from inside import book_of
from logins import (
    EXPIRED,
    MALFORMED,
    MISSING,
    REVOKED,
    START,
    UNKNOWN,
    USED_UP,
    Clock,
    enter,
    hello,
    refusal,
)

from securelink import Invite, createEncryptKeys, crypto, limits
from securelink.auth import JoinTokens, Passwords
from securelink.errors import ConfigError, LimitExceeded


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "file"])
def tokens(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> JoinTokens:
    path = tmp_path / "keys" / "join_tokens.json" if request.param == "file" else None
    return JoinTokens(path, now=clock)


def test_a_token_admits_its_user_once(tokens: JoinTokens) -> None:
    """A token is a uuid4, admits the user it was made for, and by default only once."""
    token = tokens.create("anna")
    assert uuid.UUID(token).version == 4
    assert str(uuid.UUID(token)) == token
    assert enter(tokens, token) == "anna"
    assert refusal(lambda: enter(tokens, token)) == USED_UP


def test_a_token_without_a_user_admits_a_guest(tokens: JoinTokens) -> None:
    """A guest has a name too, the same for every session of the same token."""
    token = tokens.create(uses=2)
    (entry,) = tokens.entries()
    assert enter(tokens, token) == enter(tokens, token) == f"guest-{entry.id}"
    assert len(entry.id) == 8


def test_uses(tokens: JoinTokens) -> None:
    """A token opens as many sessions as its owner said, one without a number any."""
    three, any_number = tokens.create("anna", uses=3), tokens.create("bert", uses=None)
    for left in (2, 1, 0):
        enter(tokens, three)
        assert tokens.entries()[0].uses == left
    assert refusal(lambda: enter(tokens, three)) == USED_UP
    assert {enter(tokens, any_number) for _ in range(20)} == {"bert"}


def test_lifetime(tokens: JoinTokens, clock: Clock) -> None:
    """A token ends at the second its lifetime is over, not before."""
    token = tokens.create("anna", uses=None, lifetime=60)
    clock.time += 59.9
    assert enter(tokens, token) == "anna"
    clock.time = START + 60
    assert refusal(lambda: enter(tokens, token)) == EXPIRED


@pytest.mark.parametrize("by_id", [False, True])
def test_revoking(tokens: JoinTokens, by_id: bool) -> None:
    """A token is revoked by itself or by its id, once, and admits nobody from then on."""
    token, other = tokens.create("anna", uses=None), tokens.create("bert", uses=None)
    enter(tokens, token)
    name = tokens.entries()[0].id if by_id else token
    assert tokens.revoke(name)
    assert not tokens.revoke(name)
    assert refusal(lambda: enter(tokens, token)) == REVOKED
    assert enter(tokens, other) == "bert"
    assert not tokens.revoke(str(uuid.uuid4()))
    assert not tokens.revoke("")


def test_an_unknown_token(tokens: JoinTokens) -> None:
    """A token that was never made admits nobody, and costs nobody a use."""
    tokens.create("anna")
    assert refusal(lambda: enter(tokens, str(uuid.uuid4()))) == UNKNOWN
    assert tokens.entries()[0].uses == 1


def test_a_token_that_shares_only_the_id(tokens: JoinTokens) -> None:
    """The whole hash counts: the eight digits of the id, which are public, admit nobody."""
    token = tokens.create("anna")
    (entry,) = tokens.entries()
    with book_of(tokens).update() as entries:
        entries[entry.id] = msgspec.structs.replace(entry, hash=entry.id + "0" * 56)
    assert refusal(lambda: enter(tokens, token)) == UNKNOWN


def test_a_token_whose_id_is_taken(tokens: JoinTokens, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tokens never share an id: a second one that would is drawn again."""
    first, second = (uuid.UUID(int=n, version=4) for n in (1, 2))
    drawn = iter([first, first, second])
    monkeypatch.setattr("securelink.auth.tokens.uuid.uuid4", lambda: next(drawn))
    assert [tokens.create(), tokens.create()] == [str(first), str(second)]


@pytest.mark.parametrize(
    ("credentials", "text"),
    [
        (None, MISSING),
        ("text", MISSING),
        (b"bytes", MISSING),
        ([], MISSING),
        ({}, MISSING),
        ({"token": None}, MISSING),
        ({"token": b"x"}, MISSING),
        ({"token": ["x"]}, MISSING),
        ({"Token": "x"}, MISSING),
        ({"token": "x", "more": 1}, MISSING),
        ({1: "x"}, MISSING),
        ({"token": ""}, MALFORMED),
        ({"token": "x" * 4000}, MALFORMED),
        ({"token": "\ud800"}, MALFORMED),
        ({"token": "00000000-0000-1000-8000-000000000000"}, MALFORMED),
    ],
)
def test_credentials_of_another_shape(tokens: JoinTokens, credentials: Any, text: str) -> None:
    """Whatever a client sends instead of a token is refused with a sentence that helps."""
    tokens.create("anna")
    assert refusal(lambda: tokens(hello(credentials))) == text


def test_one_spelling_only(tokens: JoinTokens) -> None:
    """A token in capitals, braces or with a line end is told apart from a token that is wrong."""
    token = tokens.create("anna")
    for other in (token.upper(), f"{{{token}}}", token + "\n", f" {token}", token.replace("-", "")):
        assert refusal(lambda other=other: enter(tokens, other)) == MALFORMED  # type: ignore[misc]
    assert enter(tokens, token) == "anna"


# --- resuming a session ---------------------------------------------------------------------------


def test_resuming_is_no_further_use(tokens: JoinTokens, clock: Clock) -> None:
    """Who resumes the session that a token opened gets its user, though the token has ended."""
    token = tokens.create("anna", lifetime=60)
    session = SimpleNamespace(user=enter(tokens, token))
    clock.time += 3600
    assert enter(tokens, token, session) == "anna"
    assert enter(tokens, token, session) == "anna"
    assert refusal(lambda: enter(tokens, token)) == EXPIRED


def test_resuming_after_revocation(tokens: JoinTokens) -> None:
    """A revoked token does not even resume the session that it opened."""
    token = tokens.create(uses=None)
    session = SimpleNamespace(user=enter(tokens, token))
    tokens.revoke(token)
    assert refusal(lambda: enter(tokens, token, session)) == REVOKED


def test_resuming_counts_no_use(tokens: JoinTokens) -> None:
    """Resuming leaves the remaining uses to those who have not come yet."""
    token = tokens.create("team", uses=2)
    session = SimpleNamespace(user=enter(tokens, token))
    for _ in range(5):
        enter(tokens, token, session)
    assert enter(tokens, token) == "team"
    assert refusal(lambda: enter(tokens, token)) == USED_UP


def test_resuming_with_another_token(tokens: JoinTokens) -> None:
    """Another user's token opens a session of that user, and that is a use of it."""
    session = SimpleNamespace(user=enter(tokens, tokens.create("anna")))
    other = tokens.create("bert")
    assert enter(tokens, other, session) == "bert"
    assert refusal(lambda: enter(tokens, other, session)) == USED_UP


def test_resuming_with_a_token_that_was_never_used(tokens: JoinTokens) -> None:
    """A second token of the same user is counted: it has not paid for any session yet."""
    session = SimpleNamespace(user=enter(tokens, tokens.create("anna")))
    other = tokens.create("anna")
    assert enter(tokens, other, session) == "anna"
    assert refusal(lambda: enter(tokens, other)) == USED_UP


# --- making tokens --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        {"uses": 0},
        {"uses": -1},
        {"uses": 1.5},
        {"uses": True},
        {"uses": 10**10},
        {"lifetime": 0},
        {"lifetime": -1},
        {"lifetime": float("inf")},
        {"lifetime": float("nan")},
        {"note": "x" * (limits.MAX_TOKEN_NOTE + 1)},
        {"note": "two\nlines"},
        {"user": ""},
        {"user": " anna"},
        {"user": "an\x1b[31mna"},
        {"user": "x" * (limits.MAX_USER_NAME + 1)},
    ],
)
def test_impossible_tokens(tokens: JoinTokens, arguments: dict[str, Any]) -> None:
    """A token that could not work as asked is not made."""
    with pytest.raises(ConfigError):
        tokens.create(**arguments)
    assert tokens.entries() == []


def test_what_the_owner_sees(tokens: JoinTokens, clock: Clock) -> None:
    """The list tells of each token whom it admits, what for, and whether it still does."""
    once = tokens.create("anna", note="for Anna's phone")
    tokens.create(uses=None, lifetime=60)
    tokens.revoke(tokens.create())
    enter(tokens, once)
    first, second, third = tokens.entries()
    assert (first.user, first.note, first.uses, first.used) == (
        "anna",
        "for Anna's phone",
        0,
        START,
    )
    assert (second.user, second.created, second.expires) == (None, START, START + 60)
    assert [entry.state(clock()) for entry in (first, second, third)] == [
        "used up",
        "valid",
        "revoked",
    ]
    assert second.state(START + 60) == "expired"
    assert [entry.ended(START + 60) for entry in (first, second, third)] == [
        START,
        START + 60,
        START,
    ]
    assert second.ended(START) is None


def test_only_so_many_tokens(
    tokens: JoinTokens, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens that ended make room, the oldest end first; valid ones never do."""
    monkeypatch.setattr(limits, "MAX_TOKENS", 3)
    keep, early, late = (tokens.create(name) for name in ("keep", "early", "late"))
    clock.time += 1
    enter(tokens, early)
    clock.time += 1
    enter(tokens, late)
    tokens.create("new")
    assert [entry.user for entry in tokens.entries()] == ["keep", "late", "new"]
    tokens.create("newer")
    with pytest.raises(LimitExceeded) as caught:
        tokens.create("newest")
    assert caught.value.limit == "MAX_TOKENS"
    assert enter(tokens, keep) == "keep"


def test_ended_tokens_are_forgotten_after_a_while(tokens: JoinTokens, clock: Clock) -> None:
    """A token that ended is listed for a week, a valid one for as long as it lives."""
    tokens.create("long", lifetime=30 * 86_400)
    enter(tokens, tokens.create("short"))
    clock.time += limits.KEEP_DEAD_TOKENS
    tokens.create("new")
    assert [entry.user for entry in tokens.entries()] == ["long", "short", "new"]
    clock.time += 1
    tokens.create("newer")
    assert [entry.user for entry in tokens.entries()] == ["long", "new", "newer"]


def test_hashes_are_compared_in_constant_time(
    tokens: JoinTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hash of a token that came is compared by `crypto.equal` and by nothing else, known or not."""
    compared: list[tuple[bytes, bytes]] = []

    def differ(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return False

    token, unknown = tokens.create("anna"), str(uuid.uuid4())
    monkeypatch.setattr(crypto, "equal", differ)
    assert refusal(lambda: enter(tokens, token)) == UNKNOWN
    assert refusal(lambda: enter(tokens, unknown)) == UNKNOWN
    digests = [crypto.sha256(text.encode()).hex().encode() for text in (token, unknown)]
    assert compared == [(digests[0], digests[0]), (b"0" * 64, digests[1])]


@pytest.mark.parametrize("odd", [5, b"ada", ["ada"], object()])
def test_what_is_no_text_or_number_is_a_config_error(odd: Any) -> None:
    """Names, notes, lifetimes, tokens, passwords and hosts of another type are errors that say so."""
    tokens, passwords = JoinTokens(), Passwords(cost=2)
    uses: list[Callable[[], object]] = [
        lambda: tokens.create(odd),
        lambda: tokens.create(note=odd),
        lambda: tokens.create(lifetime=str(odd)),  # type: ignore[arg-type]
        lambda: tokens.revoke(odd),
        lambda: passwords.add(odd, "long enough"),
        lambda: passwords.remove(odd),
        lambda: Invite(odd, 5050, "SHA256:" + "A" * 43),
        lambda: createEncryptKeys(odd),
    ]
    for use in uses:
        with pytest.raises(ConfigError):
            use()
    assert tokens.entries() == []
