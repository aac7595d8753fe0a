"""
Tokens that are bound to a key of the client (RFC 7800): who has stolen one cannot use it.

The issuer names the key in the token: `cnf.jkt` is its thumbprint (RFC 9449 6.1), `cnf.jwk` the key itself. The client
proves that it has the private key, as DPoP (RFC 9449) does for requests of HTTP: by a JWT of its own, signed by that
key, with the public key in its header, the hash of the token in `ath`, and in `nonce` what the server has chosen. Here
that is the channel binding of the connection, which no other connection has; so a proof is worth nothing elsewhere, and
needs neither a time nor an identifier. The type of the JWT is our own: a proof of DPoP is none of ours, and the other
way round.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jwt.utils import base64url_encode

from ...crypto import equal, sha256
from .checks import algorithm_of, claims_of, header_of
from .keys import ALGORITHMS, PublicKey, Unfit

PROOF_TYPE = "securelink-proof+jwt"
_MEMBERS = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}


def encoded(data: bytes) -> str:
    """Base64url without padding, as in all of JOSE."""
    return base64url_encode(data).decode("ascii")


def token_hash(token: str) -> str:
    """The `ath` of a token (RFC 9449 4.2)."""
    return encoded(sha256(token.encode("utf-8", "surrogatepass")))


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """
    The thumbprint of a key (RFC 7638, RFC 8037).

    Raises:
        Unfit: It is no key of a type that is known here.
    """
    kind = jwk.get("kty")
    names = _MEMBERS.get(kind, ()) if isinstance(kind, str) else ()
    members = {name: jwk.get(name) for name in names}
    if not members or not all(isinstance(value, str) for value in members.values()):
        raise Unfit("it is no RSA, EC or Ed25519 key")
    canonical = json.dumps(members, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return encoded(sha256(canonical.encode("utf-8", "surrogatepass")))


def check_binding(
    claims: Mapping[str, Any], token: str, proof: str | None, binding: bytes, *, required: bool
) -> None:
    """
    Check that a client has the key that its token is bound to.

    Args:
        claims: Of the token, verified.
        token: As it came.
        proof: What came with it.
        binding: Of this connection.
        required: Whether a token must be bound.

    Raises:
        Unfit: It has not, or the token is bound to none and must be.
    """
    if "cnf" not in claims:
        if required or proof is not None:
            raise Unfit("cnf: the token is bound to no key")
        return
    wanted = _confirmed(claims["cnf"])
    if proof is None:
        raise Unfit(
            "cnf: the token is bound to a key, and the client has not proved that it has it"
        )
    try:
        _check_proof(proof, token, binding, wanted)
    except Unfit as error:
        raise Unfit(f"the proof: {error}") from None


def _confirmed(cnf: object) -> set[str]:
    """The thumbprints that the key must have."""
    wanted: set[str] = set()
    if isinstance(cnf, dict):
        if isinstance(cnf.get("jkt"), str):
            wanted.add(cnf["jkt"])
        if isinstance(cnf.get("jwk"), dict):
            wanted.add(thumbprint(cnf["jwk"]))
    if not wanted:
        raise Unfit("cnf: it has neither jkt nor jwk, and others cannot be proved here")
    return wanted


def _check_proof(proof: str, token: str, binding: bytes, wanted: set[str]) -> None:
    header = header_of(proof, holds_key=True)
    if header.get("typ") != PROOF_TYPE:
        raise Unfit("typ: it is a token for another purpose")
    algorithm = algorithm_of(header, ALGORITHMS)
    jwk = header.get("jwk")
    if not isinstance(jwk, dict):
        raise Unfit("jwk: there is no key")
    # Before anything is made of the key: it is the issuer's word that makes it one of the client's.
    shown = thumbprint(jwk).encode()
    if not all(equal(shown, other.encode("utf-8", "surrogatepass")) for other in wanted):
        raise Unfit("jwk: the token is bound to another key")
    key = PublicKey.of_jwk(jwk)
    if algorithm not in key.algorithms:
        raise Unfit("alg: it does not fit the key")
    claims = claims_of(proof, key.key, algorithm)
    for name, value in (("nonce", encoded(binding)), ("ath", token_hash(token))):
        said = claims.get(name)
        if not isinstance(said, str) or not equal(
            said.encode("utf-8", "surrogatepass"), value.encode()
        ):
            raise Unfit(f"{name}: it is for another {'connection' if name == 'nonce' else 'token'}")
