"""From the text of a token to its claims: every check that needs no connection."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import jwt
from jwt.exceptions import InvalidJTIError, InvalidSubjectError

from ...limits import MAX_CREDENTIALS
from .keys import Unfit

EXPIRED = "exp: it has expired"
# They name or hold a key, or a place of one: a token must not say by which key it is to be checked. `crit` demands
# extensions, of which there are none here.
_FORBIDDEN = frozenset(("jwk", "jku", "x5c", "x5u", "x5t", "x5t#S256", "crit", "b64"))
_TYPES = ("jwt", "at+jwt")  # RFC 7519 5.1, RFC 9068 2.1
_TIMES = ("exp", "nbf", "iat")
_WORDS: dict[type[Exception], str] = {
    jwt.ExpiredSignatureError: EXPIRED,
    jwt.ImmatureSignatureError: "nbf or iat: it is not valid yet",
    jwt.InvalidAudienceError: "aud: it is for another audience",
    jwt.InvalidIssuerError: "iss: it is from another issuer",
    jwt.InvalidIssuedAtError: "iat: it is no time",
    InvalidSubjectError: "sub: it is no text",
    InvalidJTIError: "jti: it is no text",
    jwt.InvalidSignatureError: "the signature is wrong",
    jwt.InvalidAlgorithmError: "alg: it does not fit the key",
    jwt.InvalidKeyError: "alg: it does not fit the key",
}


def header_of(token: str, *, holds_key: bool = False) -> dict[str, Any]:
    """
    The header of a token whose signature is not verified yet.

    Args:
        token: As it came.
        holds_key: Whether it may hold a `jwk`, as a proof does.

    Raises:
        Unfit: It is no token, or its header asks for something that is never done.
    """
    if len(token) > MAX_CREDENTIALS:
        raise Unfit(f"it is longer than {MAX_CREDENTIALS} characters")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise Unfit("it is no JSON Web Token") from None
    allowed = {"jwk"} if holds_key else set()
    if found := sorted(header.keys() & _FORBIDDEN - allowed):
        raise Unfit(f"{found[0]}: a token with it in its header is refused")
    return header


def algorithm_of(header: dict[str, Any], possible: Collection[str]) -> str:
    """
    The algorithm that a header names.

    Raises:
        Unfit: It is not one of those that are possible, such as "none" or HS256.
    """
    name = header.get("alg")
    if not isinstance(name, str) or name not in possible:
        raise Unfit("alg: it is not one of " + ", ".join(possible))
    return name


def check_type(header: dict[str, Any]) -> None:
    """
    Check the type of a token: an issuer signs others with the same key, such as logout tokens (RFC 8725 3.11).

    Raises:
        Unfit: It is another type.
    """
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in _TYPES:
        raise Unfit("typ: it is a token for another purpose")


def claims_of(token: str, key: Any, algorithm: str, **rules: Any) -> dict[str, Any]:
    """
    The claims of a token, verified.

    Args:
        token: As it came.
        key: Verifies it.
        algorithm: That of the header, which fits the key.
        rules: More arguments of `jwt.decode`.

    Raises:
        Unfit: The signature or a claim is wrong.
    """
    try:
        claims: dict[str, Any] = jwt.decode(token, key, algorithms=[algorithm], **rules)
    except jwt.MissingRequiredClaimError as error:
        raise Unfit(f"{error.claim}: it is missing") from None
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise Unfit(_WORDS.get(type(error), "it is damaged")) from None
    for name in _TIMES:  # PyJWT takes texts and booleans too
        if name in claims and (
            isinstance(claims[name], bool) or not isinstance(claims[name], int | float)
        ):
            raise Unfit(f"{name}: it is no number")
    return claims
