"""Tokens that are bound to a key of the client: a stolen one is worth nothing, nor is a proof elsewhere."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from helpers import failure, secrets
from issuer import (
    AUDIENCE,
    ISSUER,
    KINDS,
    REFUSED,
    jwk_of,
    pem_of,
    private_key,
    private_pem_of,
    segment,
    token,
)
from logins import hello, refusal

from securelink.auth import JWT, BoundToken
from securelink.auth.jwt.proof import PROOF_TYPE, thumbprint, token_hash
from securelink.errors import ConfigError, KeyFileError

KEY, STRANGER = private_key("ES256", 2), private_key("ES256", 3)
BINDING = hello().binding
assert BINDING is not None


def hook(**options: Any) -> JWT:
    return JWT(pem_of(private_key("EdDSA")), audience=AUDIENCE, issuer=ISSUER, **options)


def bound(**cnf: Any) -> str:
    """A token that is bound to `KEY`, or as it is said."""
    return token(cnf=cnf or {"jkt": BoundToken("", KEY).thumbprint})


def shown(made: str, proof: str) -> Any:
    return hello({"jwt": made, "proof": proof})


def proof_of(made: str, key: Any = KEY, header: Any = None, **claims: Any) -> str:
    """A proof as `BoundToken` makes it, but for what is said."""
    said = {"nonce": segment(BINDING), "ath": token_hash(made), **claims}
    headers = {"typ": PROOF_TYPE, "jwk": jwk_of(KEY), **(header or {})}
    said = {name: value for name, value in said.items() if value is not None}
    headers = {name: value for name, value in headers.items() if value is not None}
    return jwt.encode(said, key, "ES256", headers=headers)


def test_a_known_thumbprint() -> None:
    """The keys of RFC 7638 3.1 and of RFC 8037 A.3 have the thumbprints that stand there."""
    rsa = {
        "kty": "RSA",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJE"
        "CPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2Q"
        "vzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6"
        "WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        "e": "AQAB",
        "alg": "RS256",
        "kid": "2011-04-29",
    }
    assert thumbprint(rsa) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    okp = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert thumbprint(okp) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("named", ["jkt", "jwk", "both"])
def test_a_proof_admits(kind: str, named: str) -> None:
    """By each kind of key, and both ways to name it."""
    key = private_key(kind, 1)
    client = BoundToken("", key)
    cnf = {"jkt": client.thumbprint, "jwk": jwk_of(key)}
    made = bound(**(cnf if named == "both" else {named: cnf[named]}))
    credentials = BoundToken(made, private_pem_of(key))(BINDING, "SHA256:...")
    for required in (False, True):
        assert hook(require_binding=required)(hello(credentials)) == "ada"


def test_on_another_connection(caplog: pytest.LogCaptureFixture) -> None:
    """Token and proof that were read at a server, or by one in the middle, admit nowhere else."""
    caplog.set_level(logging.INFO, logger="securelink")
    credentials = BoundToken(bound(), KEY)(BINDING, None)
    asked = replace(hello(credentials), binding=b"c" * 32)
    assert refusal(lambda: hook()(asked)) == REFUSED
    assert "the proof: nonce: it is for another connection" in caplog.text


def test_a_stolen_token(caplog: pytest.LogCaptureFixture) -> None:
    """Without the key it admits nobody, also at a server that does not demand bound tokens."""
    caplog.set_level(logging.INFO, logger="securelink")
    made = bound()
    assert refusal(lambda: hook()(hello({"jwt": made}))) == REFUSED
    assert "has not proved" in caplog.text
    stolen = BoundToken(made, STRANGER)(BINDING, None)
    assert refusal(lambda: hook()(hello(stolen))) == REFUSED
    assert "jwk: the token is bound to another key" in caplog.text


def test_one_that_is_not_bound(caplog: pytest.LogCaptureFixture) -> None:
    """A server may demand that tokens are bound; and a client that proves a key is never taken for less."""
    caplog.set_level(logging.INFO, logger="securelink")
    assert hook()(hello({"jwt": token()})) == "ada"
    assert refusal(lambda: hook(require_binding=True)(hello({"jwt": token()}))) == REFUSED
    proved = BoundToken(token(), KEY)(BINDING, None)
    assert refusal(lambda: hook()(hello(proved))) == REFUSED
    assert caplog.text.count("cnf: the token is bound to no key") == 2


@pytest.mark.parametrize(
    "cnf",
    [
        {"kid": "one"},
        {"x5t#S256": "abc"},
        {"jkt": 1},
        {"jkt": None},
        {"jkt": "\ud800"},
        {"jwk": {}},
        {"jwk": {"kty": "EC"}},
        {"jwk": {"kty": ["EC"]}},
        {"jwk": "text"},
        {"jkt": "another", "jwk": jwk_of(KEY)},
        {"jkt": BoundToken("", KEY).thumbprint, "jwk": jwk_of(STRANGER)},
    ],
)
def test_other_ways_to_name_a_key(cnf: Any) -> None:
    """What is not known here is not taken for nothing, nor is what contradicts itself."""
    made = token(cnf=cnf)
    assert refusal(lambda: hook()(shown(made, proof_of(made)))) == REFUSED
    assert refusal(lambda: hook()(hello({"jwt": made}))) == REFUSED


@pytest.mark.parametrize("cnf", [None, [], "jkt", 1, True])
def test_a_cnf_of_another_type(cnf: Any) -> None:
    """A token that says anything of a key is bound to one."""
    made = token(cnf=cnf) if cnf is not None else token(cnf={})
    assert refusal(lambda: hook()(hello({"jwt": made}))) == REFUSED


@pytest.mark.parametrize(
    "wrong",
    [
        {"nonce": None},
        {"nonce": segment(b"c" * 32)},
        {"nonce": 1},
        {"nonce": "\ud800"},
        {"ath": None},
        {"ath": token_hash("another")},
        {"exp": 1},
        {"aud": "somebody"},
        {"header": {"typ": "dpop+jwt"}},
        {"header": {"typ": "JWT"}},
        {"header": {"typ": None}},
        {"header": {"jwk": None}},
        {"header": {"jwk": "text"}},
        {"header": {"jwk": jwk_of(STRANGER)}},
        {"header": {"jwk": {"kty": "oct", "k": "c2VjcmV0"}}},
        {"header": {"jwk": jwk_of(KEY, d="AA")}},
        {"header": {"jwk": jwk_of(KEY, use="enc")}},
        {"header": {"jku": "https://evil.example"}},
        {"header": {"x5c": ["MII"]}},
        {"key": STRANGER},
    ],
)
def test_a_proof_that_is_wrong(wrong: dict[str, Any]) -> None:
    """Each part of it counts: who signed it, for which token, for which connection, and that it is a proof."""
    made = bound()
    assert hook()(shown(made, proof_of(made))) == "ada"
    assert refusal(lambda: hook()(shown(made, proof_of(made, **wrong)))) == REFUSED


def test_proofs_that_are_forged() -> None:
    """Neither without a signature, nor by HMAC under the public key, nor the token itself, nor what is no proof."""
    made = bound()
    head = {"typ": PROOF_TYPE, "jwk": jwk_of(KEY)}
    body = segment({"nonce": segment(BINDING), "ath": token_hash(made)})
    proofs = [
        segment({**head, "alg": name}) + f".{body}." for name in ("none", "HS256", "RS256", "ES256")
    ]
    for proof in [*proofs, made, "", "..", "x" * 5000, "\ud800"]:
        assert refusal(lambda proof=proof: hook()(shown(made, proof))) == REFUSED  # type: ignore[misc]


def test_a_key_that_would_take_long() -> None:
    """The issuer has taken over a key of the client whose check takes seconds; nothing is computed with it here."""
    odd = {**jwk_of(private_key("RS256")), "e": segment(b"\xff" * 1000)}
    made = token(cnf={"jkt": thumbprint(odd)})
    body = segment({"nonce": segment(BINDING), "ath": token_hash(made)})
    head = segment({"typ": PROOF_TYPE, "jwk": odd, "alg": "RS256"})
    proof = f"{head}.{body}.{segment(bytes(256))}"
    assert refusal(lambda: hook()(shown(made, proof))) == REFUSED


def test_the_client_s_side(tmp_path: Path) -> None:
    """The token may come from a function, the key from a file that is the user's alone; neither is shown."""
    pem = private_pem_of(KEY)
    secrets.add(pem.splitlines()[1])
    path = tmp_path / "key.pem"
    path.write_text(pem)
    path.chmod(0o600)
    made = [bound()]
    client = BoundToken(lambda: made[-1], path)
    secrets.check(repr(client))
    failure(ConfigError, client.again, "no connection")
    assert client(BINDING, None)["jwt"] == made[0]
    made.append(bound())
    assert hook()(hello(client.again())) == "ada"
    failure(ConfigError, lambda: client(None, None), "without encryption")
    failure(ConfigError, lambda: BoundToken(lambda: None, KEY)(BINDING, None), "NoneType")  # type: ignore[arg-type, return-value]
    path.chmod(0o644)
    failure(KeyFileError, lambda: BoundToken("", path), "")


@pytest.mark.parametrize(
    "key",
    [
        None,
        5,
        {},
        b"",
        "",
        pem_of(KEY),
        KEY.public_key(),
        private_key("short"),
        "-----BEGIN nothing",
    ],
)
def test_what_is_no_private_key(key: Any) -> None:
    """It is said at once, and not at the first connection."""
    with pytest.raises(ConfigError):
        BoundToken("token", key)


@pytest.mark.parametrize("wrong", [None, 5, b"bytes", lambda binding: "token"])
def test_what_is_no_token(wrong: Any) -> None:
    """Likewise."""
    with pytest.raises(ConfigError):
        BoundToken(wrong, KEY)
