"""User names and passwords: who is let in, what a wrong guess learns, what is kept."""

from __future__ import annotations

import functools
import json
import threading
import time
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from helpers import until
from inside import book_of
from logins import hello, refusal

from securelink import crypto, limits
from securelink.auth import Passwords
from securelink.auth.passwords import COST
from securelink.errors import ConfigError, KeyFileError, LimitExceeded
from securelink.keys import stretching

WRONG = "wrong user name or password"
CHEAP = 2**4  # these tests are about who is let in, not about the price of a guess


@pytest.fixture(params=["memory", "file"])
def passwords(request: pytest.FixtureRequest, tmp_path: Path) -> Passwords:
    return Passwords(tmp_path / "passwords.json" if request.param == "file" else None, cost=CHEAP)


def login(passwords: Passwords, user: str, password: str) -> str:
    return passwords(hello({"user": user, "password": password}))


def test_name_and_password_admit(passwords: Passwords) -> None:
    """The right password admits its user, as often as they come."""
    passwords.add("anna", "correct horse")
    passwords.add("bert", "battery staple")
    assert [login(passwords, "anna", "correct horse") for _ in range(2)] == ["anna", "anna"]
    assert login(passwords, "bert", "battery staple") == "bert"
    assert passwords.users() == ["anna", "bert"]


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("anna", "correct horsf"),
        ("anna", "correct horse "),
        ("anna", "Correct horse"),
        ("anna", ""),
        ("anna", "battery staple"),
        ("anna", "\ud800" * 8),
        ("Anna", "correct horse"),
        ("anna ", "correct horse"),
        ("nobody", "correct horse"),
        ("", ""),
        ("x" * 4000, "x" * 4000),
    ],
)
def test_one_refusal_for_everything_wrong(passwords: Passwords, user: str, password: str) -> None:
    """A wrong name and a wrong password get the same words: a guess learns of no name."""
    passwords.add("anna", "correct horse")
    passwords.add("bert", "battery staple")
    assert refusal(lambda: login(passwords, user, password)) == WRONG


def test_equal_work_for_an_unknown_name(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each login computes exactly one hash of the same price, whether or not the name exists."""
    passwords.add("anna", "correct horse")
    calls: list[tuple[int, ...]] = []
    real = stretching.scrypt

    def counted(password: bytes, salt: bytes, *settings: int) -> bytes:
        calls.append((len(salt), *settings))
        return real(password, salt, *settings)

    monkeypatch.setattr(stretching, "scrypt", counted)
    assert login(passwords, "anna", "correct horse") == "anna"
    assert refusal(lambda: login(passwords, "anna", "wrong")) == WRONG
    assert refusal(lambda: login(passwords, "nobody", "wrong")) == WRONG
    assert calls == [(16, CHEAP, 8, 3)] * 3


def test_the_price_of_a_guess() -> None:
    """By default a guess takes 32 MiB and three passes (OWASP: N=2^15, r=8, p=3)."""
    passwords = Passwords()
    passwords.add("anna", "correct horse")
    (account,) = book_of(passwords).read().values()
    assert (account.n, account.r, account.p) == (2**15, 8, 3) == (COST, 8, 3)
    assert login(passwords, "anna", "correct horse") == "anna"


@pytest.mark.parametrize("cost", [0, 1, 3, 2**18 + 1, 2**19, -2, 16.0, True])
def test_impossible_costs(cost: Any) -> None:
    """A cost that scrypt cannot take is refused at once, not at the first login."""
    with pytest.raises(ConfigError):
        Passwords(cost=cost)


def test_an_older_cost_still_counts(tmp_path: Path) -> None:
    """The settings are kept with each hash: raising the cost locks nobody out."""
    path = tmp_path / "passwords.json"
    Passwords(path, cost=CHEAP).add("anna", "correct horse")
    newer = Passwords(path, cost=CHEAP * 2)
    newer.add("bert", "battery staple")
    assert [entry["n"] for entry in json.loads(path.read_text())] == [CHEAP, CHEAP * 2]
    assert login(newer, "anna", "correct horse") == "anna"
    assert login(newer, "bert", "battery staple") == "bert"


def test_changing_a_password(passwords: Passwords) -> None:
    """A user who exists is only changed when that is asked for; the old password then ends."""
    passwords.add("anna", "correct horse")
    with pytest.raises(ConfigError, match="exists already"):
        passwords.add("anna", "battery staple")
    assert login(passwords, "anna", "correct horse") == "anna"
    passwords.add("anna", "battery staple", replace=True)
    assert login(passwords, "anna", "battery staple") == "anna"
    assert refusal(lambda: login(passwords, "anna", "correct horse")) == WRONG
    assert passwords.users() == ["anna"]


def test_removing_a_user(passwords: Passwords) -> None:
    """A removed user is refused like one who never existed."""
    passwords.add("anna", "correct horse")
    assert passwords.remove("anna")
    assert not passwords.remove("anna")
    assert refusal(lambda: login(passwords, "anna", "correct horse")) == WRONG
    assert passwords.users() == []


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("", "long enough"),
        (" anna", "long enough"),
        ("anna\n", "long enough"),
        ("an\u202ena", "long enough"),
        ("\ud800", "long enough"),
        ("x" * (limits.MAX_USER_NAME + 1), "long enough"),
        ("anna", ""),
        ("anna", "7 chars"),
        ("anna", "x" * (limits.MAX_PASSWORD + 1)),
        ("anna", b"long enough"),
    ],
)
def test_impossible_users(passwords: Passwords, user: Any, password: Any) -> None:
    """Names that cannot be shown, and passwords that are too short, are refused when added."""
    with pytest.raises(ConfigError) as caught:
        passwords.add(user, password)
    assert passwords.users() == []
    assert "long enough" not in str(caught.value)


def test_the_longest_and_shortest_that_are_possible(passwords: Passwords) -> None:
    """The bounds are inclusive."""
    passwords.add("x" * limits.MAX_USER_NAME, "x" * limits.MAX_PASSWORD)
    passwords.add("y", "8 chars!")
    assert login(passwords, "y", "8 chars!") == "y"
    assert login(passwords, "x" * 64, "x" * 1024) == "x" * 64


def test_two_keyboards_one_letter(passwords: Passwords) -> None:
    """A letter with an accent is the same however the keyboard sends it, in name and password."""
    composed, taken_apart = (unicodedata.normalize(form, "zoë") for form in ("NFC", "NFD"))
    assert composed != taken_apart
    passwords.add(taken_apart, f"pass {taken_apart}")
    assert login(passwords, composed, f"pass {composed}") == composed
    assert login(passwords, taken_apart, f"pass {taken_apart}") == composed
    assert passwords.remove(taken_apart)


@pytest.mark.parametrize(
    "credentials",
    [None, "x", {}, {"user": "anna"}, {"user": "anna", "password": b"x"}, {"token": "x"}],
)
def test_credentials_of_another_shape(passwords: Passwords, credentials: Any) -> None:
    """A client that sends no name and password is told that they are wanted."""
    assert refusal(lambda: passwords(hello(credentials))) == (
        "this server asks for a user name and password"
    )


def test_only_so_many_users(passwords: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of users is bounded; those who exist may still change their password."""
    monkeypatch.setattr(limits, "MAX_USERS", 1)
    passwords.add("anna", "correct horse")
    with pytest.raises(LimitExceeded) as caught:
        passwords.add("bert", "battery staple")
    assert caught.value.limit == "MAX_USERS"
    passwords.add("anna", "battery staple", replace=True)


def test_a_thief_of_the_file_finds_no_password(tmp_path: Path) -> None:
    """The file has a salt of its own for each user, no password, and is its owner's only."""
    path = tmp_path / "passwords.json"
    passwords = Passwords(path, cost=CHEAP)
    for user in ("anna", "bert"):
        passwords.add(user, "correct horse")
    first, second = json.loads(path.read_text())
    assert first["salt"] != second["salt"]
    assert first["hash"] != second["hash"]
    assert "horse" not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert passwords.path == path
    assert first["hash"] not in repr(book_of(passwords).read()) + repr(passwords.__dict__)


@pytest.mark.parametrize(
    "change",
    [
        {"salt": "AAAA"},
        {"hash": "AAAA"},
        {"salt": "not base64"},
        {"n": 2**19},
        {"n": 1},
        {"r": 0},
        {"r": 33},
        {"p": 33},
        {"n": None},
        {"user": None},
        {"more": 1},
    ],
)
def test_a_damaged_file_admits_nobody(
    tmp_path: Path, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file with an entry that cannot be right is an error, and costs no more than reading it."""
    path = tmp_path / "passwords.json"
    passwords = Passwords(path, cost=CHEAP)
    passwords.add("anna", "correct horse")
    (entry,) = json.loads(path.read_text())
    path.write_text(json.dumps([entry | change]))
    monkeypatch.setattr(stretching, "scrypt", lambda *_: pytest.fail("a hash was computed"))
    for call in (passwords.users, lambda: login(passwords, "anna", "correct horse")):
        with pytest.raises(KeyFileError) as caught:
            call()
        assert str(path) in str(caught.value)


def test_so_many_checks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many logins come together, only a few hashes are computed at the same time."""
    passwords = Passwords(cost=CHEAP)
    passwords.add("anna", "correct horse")
    running, most, lock = 0, 0, threading.Lock()
    real = stretching.scrypt

    def counted(*arguments: Any) -> bytes:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        until(lambda: most >= limits.MAX_PASSWORD_CHECKS)
        time.sleep(0.02)  # for others, if they are let in
        with lock:
            running -= 1
        return real(*arguments)

    monkeypatch.setattr(stretching, "scrypt", counted)
    results: list[str] = []
    threads = [
        threading.Thread(target=lambda: results.append(login(passwords, "anna", "correct horse")))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert results == ["anna"] * 12
    assert most == limits.MAX_PASSWORD_CHECKS


def test_hashes_are_compared_in_constant_time(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hash of a password is compared by `crypto.equal` and by nothing else, for any name."""
    compared: list[tuple[bytes, bytes]] = []

    def differ(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return False

    passwords.add("anna", "correct horse")
    monkeypatch.setattr(crypto, "equal", differ)
    for user in ("anna", "nobody"):
        assert refusal(functools.partial(login, passwords, user, "correct horse")) == WRONG
    assert len(compared) == 2
    assert compared[0][0] == compared[0][1]
    assert compared[1][0] != compared[1][1]
