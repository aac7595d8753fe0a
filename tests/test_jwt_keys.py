"""The keys of an issuer: what is one, which is taken for a token, and files and functions that have them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jwt
import pytest
from helpers import failure, secrets
from issuer import (
    AUDIENCE,
    ISSUER,
    REFUSED,
    jwk_of,
    pem_of,
    private_key,
    private_pem_of,
    segment,
    token,
)
from logins import hello, refusal

from securelink.auth import JWT
from securelink.errors import ConfigError, KeyFileError

ONE, TWO, THREE = private_key("ES256"), private_key("ES256", 1), private_key("RS256")


def hook(keys: Any) -> JWT:
    return JWT(keys, audience=AUDIENCE, issuer=ISSUER)


def admits(it: JWT, kind: str = "ES256", kid: str | None = None) -> bool:
    """Whether a token of the first key of that kind admits."""
    headers = None if kid is None else {"kid": kid}
    asked = hello({"jwt": token(kind, headers)})
    try:
        return bool(it(asked) == "ada")
    except Exception:
        assert refusal(lambda: it(asked)) == REFUSED
        return False


@pytest.mark.parametrize(
    "form", ["text", "object", "bytes", "jwk", "set", "pyjwk", "file", "set file", "str"]
)
def test_forms_of_a_key(form: str, tmp_path: Path) -> None:
    """PEM, JWK or JWKS, in a file or from a function: all are the same key."""
    pem, jwk = pem_of(ONE), jwk_of(ONE, kid="one")
    path = tmp_path / "issuer"
    path.write_text(json.dumps({"keys": [jwk]}) if form == "set file" else pem)
    path.chmod(0o600)
    sources: dict[str, Any] = {
        "text": pem,
        "object": ONE.public_key(),
        "bytes": pem.encode(),
        "jwk": jwk,
        "set": {"keys": [jwk]},
        "pyjwk": lambda kid: jwt.PyJWK(jwk),
        "file": path,
        "set file": path,
        "str": str(path),
    }
    it = hook(sources[form])
    assert admits(it, kid="one")
    assert admits(it)
    # PEM has no name, and a function has looked for it.
    assert admits(it, kid="two") == (form in ("text", "object", "bytes", "file", "str", "pyjwk"))
    assert not admits(it, "RS256")


def test_the_name_chooses() -> None:
    """Of several keys the named one; without a name the only one that fits, and none when there are more."""
    members = [jwk_of(ONE, kid="one"), jwk_of(TWO, kid="two"), jwk_of(THREE, kid="three")]
    it = hook({"keys": members})
    assert admits(it, kid="one")
    assert not admits(it, kid="two")
    assert not admits(it, kid="three")  # of another type: the name does not help
    assert not admits(it)
    assert admits(it, "RS256")
    assert admits(it, "RS256", "three")


def test_keys_for_something_else() -> None:
    """Members of a set that are not for signatures, or for an algorithm that is not known, are as if not there."""
    jwk = jwk_of(ONE)
    passed_over = [
        jwk | {"use": "enc"},
        jwk | {"key_ops": ["encrypt"]},
        jwk | {"key_ops": "verify"},
        jwk | {"alg": "ES384"},
        jwk | {"alg": "none"},
        jwk | {"kty": "new"},
        jwk | {"kty": 1},
        jwk | {"kty": ["EC"]},
        jwk | {"crv": "secp256k1"},
        jwk | {"crv": None},
        jwk | {"x": "AA"},
        jwk | {"x": 1},
        {},
    ]
    assert admits(hook({"keys": [*passed_over, jwk]}))
    for alone in passed_over:
        with pytest.raises(ConfigError):
            hook({"keys": [alone]})
    one_algorithm = hook(jwk_of(THREE, alg="RS256"))
    assert admits(one_algorithm, "RS256")
    assert not admits(one_algorithm, "PS384")


def short(**numbers: int) -> dict[str, Any]:
    """An RSA key with other numbers."""
    jwk = jwk_of(THREE)
    made = {name: value.to_bytes(-(-value.bit_length() // 8)) for name, value in numbers.items()}
    return {**jwk, **{name: segment(value) for name, value in made.items()}}


@pytest.mark.parametrize(
    "keys",
    [
        None,
        5,
        b"",
        "",
        {},
        {"keys": []},
        {"keys": {}},
        {"keys": ["a"]},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"keys": [jwk_of(ONE), {"kty": "oct", "k": "c2VjcmV0"}]},
        {"keys": [jwk_of(ONE, kid="a"), jwk_of(TWO, kid="a")]},
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        lambda: None,
        short(e=1),
        short(e=3),
        short(e=2**31),
        short(e=2**2000 + 1),
        short(n=2**2048),
        short(n=2**1023 + 1),
        short(n=2**8192 + 1),
        pem_of(private_key("short")),
    ],
)
def test_what_is_no_key(keys: Any) -> None:
    """A server whose tokens nothing could verify, or anybody could make, does not start."""
    with pytest.raises(ConfigError):
        hook(keys)


def test_a_private_key_is_none() -> None:
    """A server that has the issuer's private key is one to steal it from; the error does not show it."""
    pem = private_pem_of(ONE)
    secrets.add(pem.splitlines()[1])
    algorithm = jwt.get_algorithm_by_name("ES256")
    jwk = algorithm.to_jwk(ONE, as_dict=True)
    secrets.add(jwk["d"])
    for keys in (ONE, pem, pem.encode(), jwk, {"keys": [jwk]}):
        failure(ConfigError, lambda keys=keys: hook(keys), "private")  # type: ignore[misc]


def test_a_file_that_changes(tmp_path: Path) -> None:
    """The issuer has new keys: the next login sees them; a damaged file admits nobody, and is no empty one."""
    path = tmp_path / "keys.json"

    def write(text: str) -> None:
        path.write_text(text)
        path.chmod(0o600)

    write(json.dumps({"keys": [jwk_of(TWO, kid="two")]}))
    it = hook(path)
    assert not admits(it)
    write(json.dumps({"keys": [jwk_of(TWO, kid="two"), jwk_of(ONE, kid="one")]}))
    assert admits(it, kid="one")
    asked = hello({"jwt": token("ES256")})
    for text in ("", "{", "[" * 100_000, "{}", '{"keys": []}', "-----BEGIN nothing"):
        write(text)
        failure(KeyFileError, lambda: it(asked), "has no keys")
    path.unlink()
    failure(KeyFileError, lambda: it(asked), "cannot", "issuer's public key")


def test_a_file_that_others_can_change(tmp_path: Path) -> None:
    """Whoever can change it could make tokens."""
    path = tmp_path / "issuer.pem"
    path.write_text(pem_of(ONE))
    path.chmod(0o666)
    if os.name == "posix":
        failure(KeyFileError, lambda: hook(path), "")
    failure(KeyFileError, lambda: hook(tmp_path / "missing"), "")


def test_a_function() -> None:
    """It is asked with the name, and its answer is judged like keys that stand still."""
    asked: list[str | None] = []
    answers: dict[str | None, Any] = {
        "one": pem_of(ONE),
        "set": {"keys": [jwk_of(TWO, kid="other"), jwk_of(ONE, kid="set")]},
        "private": private_pem_of(ONE),
        "symmetric": {"kty": "oct", "k": "c2VjcmV0"},
        "odd": 5,
        None: pem_of(ONE),
    }

    def keys(kid: str | None) -> Any:
        asked.append(kid)
        if kid == "gone":
            raise jwt.PyJWKClientError("no such key")
        return answers.get(kid)

    it = hook(keys)
    found = {kid: admits(it, kid=kid) for kid in [*answers, "unknown", "gone"]}
    assert [kid for kid, admitted in found.items() if admitted] == ["one", "set", None]
    assert set(asked) == {*answers, "unknown", "gone"}


@pytest.mark.parametrize("kid", ["", "x" * 257, "a\nb", "a\0b", "\x1b[2J", "\u2028"])
def test_names_that_no_function_sees(kid: str) -> None:
    """What the application's function is called with has no control characters, and a bound."""
    asked: list[Any] = []
    assert not admits(hook(asked.append), kid=kid)
    assert not asked


@pytest.mark.parametrize("error", [OSError, jwt.PyJWKClientConnectionError])
def test_a_function_that_fails(error: type[Exception]) -> None:
    """Its error is the server's, as with any hook: that an issuer is away is no fault of a client."""

    def keys(kid: str | None) -> Any:
        raise error("no network")

    with pytest.raises(error, match="no network"):
        hook(keys)(hello({"jwt": token("ES256")}))
