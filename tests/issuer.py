"""An issuer of JSON Web Tokens for tests: keys of each kind, and tokens with any claim and header."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from helpers import secrets

AUDIENCE, ISSUER = "game", "https://login.example"
KINDS = ("RS256", "PS384", "ES256", "ES384", "ES512", "EdDSA")

REFUSED = "this token is not valid here"
RUN_OUT = "this token has expired; get a new one"


def private_key(kind: str, number: int = 0) -> Any:
    """A key for an algorithm, the same in each call."""
    return _made("RSA" if kind[:2] in ("RS", "PS") else kind, number)


@functools.cache
def _made(kind: str, number: int) -> Any:
    match kind:
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "ES384":
            return ec.generate_private_key(ec.SECP384R1())
        case "ES512":
            return ec.generate_private_key(ec.SECP521R1())
        case "short":
            return rsa.generate_private_key(65537, 1024)
    return rsa.generate_private_key(65537, 2048)


def pem_of(key: Any) -> str:
    """The public key."""
    data: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return data.decode()


def private_pem_of(key: Any) -> str:
    """The private key."""
    data: bytes = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return data.decode()


def jwk_of(key: Any, **members: Any) -> dict[str, Any]:
    """The public key as a JWK."""
    kinds = {
        rsa.RSAPrivateKey: "RS256", ed25519.Ed25519PrivateKey: "EdDSA", ec.EllipticCurvePrivateKey: "ES256",
    }  # fmt: skip
    (name,) = (name for kind, name in kinds.items() if isinstance(key, kind))
    algorithm = jwt.get_algorithm_by_name(name)
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), **members}


def claims(**others: Any) -> dict[str, Any]:
    """Those of a good token for "ada"; None leaves one out."""
    now = int(time.time())
    given = {"sub": "ada", "aud": AUDIENCE, "iss": ISSUER, "iat": now, "exp": now + 3600, **others}
    return {name: value for name, value in given.items() if value is not None}


def token(kind: str = "EdDSA", headers: dict[str, Any] | None = None, **others: Any) -> str:
    """A token, signed by the issuer's key of that kind."""
    payload = json.dumps(claims(**others)).encode()  # PyJWT itself makes no token with odd claims
    made = jwt.api_jws.encode(payload, private_key(kind), kind, headers=headers)
    secrets.add(made)
    secrets.add(made.rsplit(".", 1)[1])
    return made


def segment(value: Any) -> str:
    """One part of a token."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forged(header: dict[str, Any], secret: bytes | None = None, **others: Any) -> str:
    """A token that a stranger has made: without a signature, or with HMAC under something that is known."""
    parts = f"{segment(header)}.{segment(claims(**others))}"
    signature = b"" if secret is None else hmac.digest(secret, parts.encode(), hashlib.sha256)
    return f"{parts}.{segment(signature)}"
