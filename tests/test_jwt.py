"""JSON Web Tokens: which are valid, and what is learnt of those that are not."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from helpers import secrets
from issuer import (
    AUDIENCE,
    ISSUER,
    KINDS,
    REFUSED,
    RUN_OUT,
    claims,
    forged,
    jwk_of,
    pem_of,
    private_key,
    segment,
    token,
)
from logins import hello, refusal

from securelink.auth import JWT, Passwords, first_of
from securelink.errors import ConfigError, Refused


def hook(kind: str = "EdDSA", **options: Any) -> JWT:
    """One that takes the issuer's key of that kind."""
    given: dict[str, Any] = {"audience": AUDIENCE, "issuer": ISSUER, **options}
    return JWT(given.pop("keys", pem_of(private_key(kind))), **given)


def why(caplog: pytest.LogCaptureFixture) -> str:
    """What the log says of the last refusal."""
    (*_, last) = [record for record in caplog.records if record.name == "securelink.server"]
    assert last.levelno == logging.INFO
    return last.getMessage()


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.DEBUG, logger="securelink")
    secrets.clear()
    yield
    secrets.check(caplog.text)


def refused(
    it: JWT, credentials: Any, caplog: pytest.LogCaptureFixture, reason: str, text: str = REFUSED
) -> None:
    """These credentials do not admit; the client gets that text, the log the reason."""
    if isinstance(credentials, str):
        credentials = {"jwt": credentials}
    with pytest.raises(Refused) as caught:
        it(hello(credentials))
    assert caught.value.text == text
    assert caught.value.__suppress_context__
    secrets.check(repr(caught.value))
    assert f"refused the token of 127.0.0.1:40000: {reason}" in why(caplog)


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_admits_its_user(kind: str) -> None:
    """By each kind of key, until it expires."""
    asked = hello({"jwt": token(kind, exp=int(time.time()) + 100)})
    assert hook(kind, leeway=5)(asked) == "ada"
    assert asked.lease is not None
    assert asked.lease.renew is None
    assert 100 < asked.lease.until - time.time() <= 105


def test_the_clock_of_the_issuer(caplog: pytest.LogCaptureFixture) -> None:
    """It may differ by the leeway and not by more, in both directions."""
    now = int(time.time())
    for name, ahead in (("exp", -30), ("nbf", 30), ("iat", 30)):
        late: dict[str, Any] = {name: now + ahead}
        assert hook(leeway=60)(hello({"jwt": token(**late)})) == "ada"
        text = RUN_OUT if name == "exp" else REFUSED
        refused(
            hook(leeway=5), token(**late), caplog, "exp" if name == "exp" else "nbf or iat", text
        )
    refused(hook(leeway=0), token(exp=now - 1), caplog, "exp: it has expired", RUN_OUT)


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        ({"exp": None}, "exp: it is missing"),
        ({"exp": "9999999999"}, "exp: it is no number"),
        ({"exp": True}, "exp: it has expired"),
        ({"exp": [1]}, "it is damaged"),
        ({"exp": float("inf")}, "it is damaged"),
        ({"nbf": "0"}, "nbf: it is no number"),
        ({"iat": "0"}, "iat: it is no number"),
        ({"iat": "now"}, "iat: it is no time"),
        ({"aud": None}, "aud: it is missing"),
        ({"aud": "another game"}, "aud: it is for another audience"),
        ({"aud": ["a", "b"]}, "aud: it is for another audience"),
        ({"aud": [AUDIENCE, 1]}, "aud: it is for another audience"),
        ({"aud": {AUDIENCE: 1}}, "aud: it is for another audience"),
        ({"iss": None}, "iss: it is missing"),
        ({"iss": ISSUER + "/"}, "iss: it is from another issuer"),
        ({"iss": [ISSUER]}, "iss: it is from another issuer"),
        ({"sub": None}, "sub: it is no text"),
        ({"sub": ""}, "sub: it is no text"),
        ({"sub": 7}, "sub: it is no text"),
        ({"sub": ["ada"]}, "sub: it is no text"),
        ({"sub": "ada\n2026 INFO: bob came in"}, "sub: it is no text"),
        ({"sub": "x" * 256}, "sub: it is no text"),
        ({"jti": 1}, "jti: it is no text"),
    ],
)
def test_a_claim_that_is_wrong(
    others: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The client learns that its token is not valid, the log which check has failed."""
    text = RUN_OUT if reason == "exp: it has expired" else REFUSED
    refused(hook(), token(**others), caplog, reason, text)


def test_huge_times(caplog: pytest.LogCaptureFixture) -> None:
    """An end in a far future is one all the same, and no error."""
    for far in (2**60, 10**400):
        asked = hello({"jwt": token(exp=far)})
        assert hook()(asked) == "ada"
        assert asked.lease is not None
        assert asked.lease.until == 2.0**53
    refused(hook(), token(nbf=10**400), caplog, "nbf or iat")


PUBLIC = pem_of(private_key("RS256"))
OTHER = private_key("RS256", 1)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (lambda: forged({"alg": "none"}), "alg: it is not one of"),
        (lambda: forged({"alg": "None"}), "alg: it is not one of"),
        (lambda: forged({"alg": "NONE", "typ": "JWT"}), "alg: it is not one of"),
        (lambda: forged({}), "alg: it is not one of"),
        (lambda: forged({"alg": ["RS256"]}), "alg: it is not one of"),
        (lambda: forged({"alg": {"RS256": 1}}), "alg: it is not one of"),
        (lambda: forged({"alg": "HS256"}, PUBLIC.encode()), "alg: it is not one of"),
        (lambda: forged({"alg": "HS256"}, PUBLIC.strip().encode()), "alg: it is not one of"),
        (lambda: forged({"alg": "HS256"}, b""), "alg: it is not one of"),
        (lambda: forged({"alg": "RS256"}, PUBLIC.encode()), "the signature is wrong"),
        (lambda: forged({"alg": "RS256"}), "the signature is wrong"),
        (lambda: forged({"alg": "PS256"}), "the signature is wrong"),
        (lambda: forged({"alg": "ES256"}), "alg: ES256 does not fit the key"),
        (lambda: token("ES256"), "alg: ES256 does not fit the key"),
        (lambda: token("EdDSA"), "alg: EdDSA does not fit the key"),
        (lambda: token("RS256", {"crit": ["exp"], "exp": 1}), "it is no JSON Web Token"),
        (lambda: token("RS256", {"b64": True, "crit": ["b64"]}), "it is no JSON Web Token"),
        (lambda: token("RS256", {"jku": "https://evil.example/keys"}), "jku: "),
        (lambda: token("RS256", {"x5u": "https://evil.example/cert"}), "x5u: "),
        (lambda: token("RS256", {"x5c": ["MII"]}), "x5c: "),
        (lambda: token("RS256", {"jwk": jwk_of(private_key("RS256"))}), "jwk: "),
        (lambda: token("RS256", {"typ": "logout+jwt"}), "typ: "),
        (lambda: token("RS256", {"typ": "dpop+jwt"}), "typ: "),
        (lambda: token("RS256", {"typ": 1}), "typ: "),
        (lambda: token("RS256", {"kid": "../../../../dev/null"}), ""),
        (lambda: token("RS256", {"kid": "x' UNION SELECT 'key"}), ""),
    ],
)
def test_forgeries(made: Any, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    """No token says how it is checked: not by which algorithm, which key, or where one could be found."""
    it = hook(keys={"keys": [jwk_of(private_key("RS256"), kid="one")]})
    refused(it, made(), caplog, reason)
    assert it(hello({"jwt": token("RS256", {"kid": "one"})})) == "ada"


def test_a_key_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """A token that brings the key that verifies it is refused, signed by whomever."""
    import jwt

    made = jwt.encode(claims(), OTHER, "RS256", headers={"jwk": jwk_of(OTHER)})
    refused(hook("RS256"), made, caplog, "jwk: ")
    made = jwt.encode(claims(), OTHER, "RS256")
    refused(hook("RS256"), made, caplog, "the signature is wrong")


def test_fewer_algorithms(caplog: pytest.LogCaptureFixture) -> None:
    """A server may take fewer of those that fit."""
    it = hook("RS256", algorithms=["PS384"])
    refused(it, token("RS256"), caplog, "alg: it is not one of PS384")
    assert it(hello({"jwt": token("PS384")})) == "ada"


@pytest.mark.parametrize("name", ["none", "HS256", "HS384", "HS512", "RS1", "", 1])
def test_no_server_takes_a_symmetric_algorithm(name: Any) -> None:
    """Not even when it is asked to."""
    with pytest.raises(ConfigError):
        hook(algorithms=[name])


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "x" * 4097,
        "\ud800.\ud800.\ud800",
        "ключ.ключ.ключ",
        "\0.\0.\0",
        segment([]) + ".." + segment(b"x"),
        segment(b"\xff\xfe") + "." + segment({}) + ".",
        segment(b'{"alg":' + b"[" * 2500) + ".e30.",
        segment(b'{"alg":' + b"9" * 2900 + b"}") + ".e30.",
        segment({"alg": "EdDSA", "kid": 1}) + ".e30.",
        segment({"alg": "EdDSA"}) + ".e30",
        segment({"alg": "EdDSA"}) + ".!!!!.e30",
    ],
)
def test_texts_that_are_no_tokens(text: str, caplog: pytest.LogCaptureFixture) -> None:
    """They are refused like all others, and cost no more than their length."""
    refused(hook(), text, caplog, "")


def test_each_byte_counts(caplog: pytest.LogCaptureFixture) -> None:
    """No token that differs in one character, or ends early, admits."""
    good = token()
    it = hook()

    def tried(text: str) -> str:
        return refusal(lambda: it(hello({"jwt": text})))

    for place in range(len(good)):
        other = "A" if good[place] != "A" else "B"
        assert tried(good[:place] + other + good[place + 1 :]) == REFUSED
        assert tried(good[:place]) == REFUSED
    assert it(hello({"jwt": good})) == "ada"


@pytest.mark.parametrize(
    "credentials",
    [
        None,
        {},
        {"jwt": b"bytes"},
        {"jwt": None},
        {"jwt": ["a"]},
        {"jwt": "a", "proof": None},
        {"jwt": "a", "user": "ada"},
        {"token": "a"},
        "a.b.c",
        b"\xff",
    ],
)
def test_other_credentials(credentials: Any) -> None:
    """Credentials of another kind are told what is wanted; so two hooks can share a server."""
    it = hook()
    assert not it.accepts(credentials)
    assert refusal(lambda: it(hello(credentials))) == "this server asks for a JSON Web Token"


def test_beside_passwords() -> None:
    """`first_of` gives each its kind of credentials, and the end of the login stays."""
    passwords = Passwords(cost=2)
    passwords.add("bert", "battery staple")
    either = first_of(passwords, hook())
    asked = hello({"jwt": token()})
    assert either(asked) == "ada"
    assert asked.lease is not None
    asked = hello({"user": "bert", "password": "battery staple"})
    assert either(asked) == "bert"
    assert asked.lease is None


def test_not_in_plaintext(caplog: pytest.LogCaptureFixture) -> None:
    """A token that others could read on the way admits nobody."""
    for exposed in ({"encrypted": False}, {"binding": None}):
        asked = replace(hello({"jwt": token()}), **exposed)
        assert refusal(partial(hook(), asked)) == REFUSED
        assert "without encryption" in why(caplog)


def test_users(caplog: pytest.LogCaptureFixture) -> None:
    """Another claim, or what a function makes of the claims; it may refuse with words, and must give a user."""
    assert hook(user="name")(hello({"jwt": token(name="Ada L.")})) == "Ada L."
    refused(hook(user="name"), token(), caplog, "name: it is no text")
    roles = hook(user=lambda found: (found["sub"], *found["roles"]))
    assert roles(hello({"jwt": token(roles=["admin"])})) == ("ada", "admin")

    def banned(found: dict[str, Any]) -> str:
        raise Refused("banned")

    assert refusal(lambda: hook(user=banned)(hello({"jwt": token()}))) == "banned"
    refusal(lambda: hook(user=lambda found: found.get("nobody"))(hello({"jwt": token()})))
    with pytest.raises(KeyError):
        roles(hello({"jwt": token()}))


def test_lists_of_audiences_and_issuers() -> None:
    """One of them is enough, in the token and in the server."""
    it = hook(audience=["game", "chat"], issuer={ISSUER, "https://old.example"})
    assert it(hello({"jwt": token(aud=["web", "chat"])})) == "ada"
    assert it(hello({"jwt": token(iss="https://old.example")})) == "ada"


@pytest.mark.parametrize(
    "options",
    [
        {"audience": ""},
        {"audience": []},
        {"audience": None},
        {"audience": b"game"},
        {"issuer": None},
        {"issuer": [""]},
        {"issuer": 5},
        {"user": ""},
        {"user": None},
        {"user": lambda: "ada"},
        {"leeway": -1},
        {"leeway": 301},
        {"leeway": float("nan")},
        {"leeway": "1"},
        {"require_binding": "yes"},
        {"on_expiry": "stay"},
        {"on_expiry": None},
        {"on_expiry": lambda: None},
        {"algorithms": []},
        {"algorithms": "HS256"},
    ],
)
def test_impossible_options(options: dict[str, Any]) -> None:
    """A server with a rule that would check nothing does not start."""
    with pytest.raises(ConfigError):
        hook(**options)


def test_nothing_is_shown() -> None:
    """Neither hook nor hello show a token."""
    made = token()
    secrets.check(repr(hook()) + repr(hello({"jwt": made})))
