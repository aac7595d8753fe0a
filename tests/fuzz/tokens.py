"""Harnesses of JSON Web Tokens: what a stranger sends as a token, and as the proof of one that is good."""

from __future__ import annotations

from issuer import AUDIENCE, ISSUER, forged, pem_of, private_key, token
from logins import hello

from securelink.auth import JWT, BoundToken

_KEY = private_key("ES256", 2)


def _hook() -> JWT:
    return JWT(pem_of(private_key("EdDSA")), audience=AUDIENCE, issuer=ISSUER)


def _bound() -> BoundToken:
    made = token(cnf={"jkt": BoundToken("", _KEY).thumbprint})
    return BoundToken(made, _KEY)


def web_token(data: bytes) -> None:
    """A token."""
    _hook()(hello({"jwt": data.decode("utf-8", "replace")}))


def web_proof(data: bytes) -> None:
    """The proof of a token that is good."""
    credentials = _bound()(b"b" * 32, None)
    _hook()(hello({**credentials, "proof": data.decode("utf-8", "replace")}))


def token_seeds() -> list[bytes]:
    """Tokens of the issuer, and of nobody."""
    kinds = [{"alg": name, "kid": "a"} for name in ("none", "HS256", "EdDSA")]
    made = [token(), token(headers={"kid": "a"}), *(forged(header, b"") for header in kinds)]
    return [text.encode() for text in made]


def proof_seeds() -> list[bytes]:
    """One that holds on this connection, and one of another."""
    bound = _bound()
    return [bound(binding, None)["proof"].encode() for binding in (b"b" * 32, b"c" * 32)]
