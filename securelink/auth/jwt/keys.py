"""The public keys that verify tokens: each with the algorithms that fit it, and found by its `kid`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from jwt.algorithms import get_default_algorithms
from jwt.utils import base64url_decode

from ...errors import ConfigError, KeyFileError
from ...keys.files import absolute
from ...keys.remembered import Remembered
from ...keys.shapes import PublicNumbers, UnfitKeyError
from ...limits import MAX_KEY_ID, MAX_TRUST_FILE
from ...signatures import checked, did_run
from ...text import escaped, kind_of
from ...trust.locking import OTHERS_WRITE

# By type and curve of the key. HS256 and the like are missing: who checks such a token could make one. `none` is too.
_FITTING = {
    ("RSA", None): ("PS256", "PS384", "PS512", "RS256", "RS384", "RS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
ALGORITHMS = tuple(sorted(name for names in _FITTING.values() for name in names))
_SECRETS = frozenset(
    ("d", "p", "q", "dp", "dq", "qi", "oth", "k")
)  # members of private JWKs, RFC 7518 6
_ARMOUR = "-----BEGIN "
_IMPORTS = get_default_algorithms()

Source = str | bytes | Path | Mapping[str, Any] | Callable[[str | None], Any] | Any
"""See `JWT`."""


class Unfit(Exception):
    """A token, or a key for it, will not do. The text is for the log of this side and has nothing of the token."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """
    One key that verifies.

    Attributes:
        key: As the library has it.
        kid: Its name; None: it has none.
        algorithms: Those that fit it.
    """

    key: Any = field(repr=False)
    kid: str | None
    algorithms: tuple[str, ...]

    @classmethod
    def of_jwk(cls, jwk: Mapping[str, Any]) -> PublicKey:
        """
        Read a JSON Web Key.

        Raises:
            Unfit: It is not a public key for signatures of one of our algorithms.
        """
        if not jwk.keys().isdisjoint(_SECRETS):
            raise Unfit("it is a private or a symmetric key")
        algorithms = _fitting(jwk)
        if jwk.get("kty") == "RSA":
            _check_rsa(jwk)
        try:
            key = _IMPORTS[algorithms[0]].from_jwk(dict(jwk))
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            raise Unfit("its numbers are no key") from None
        kid = jwk.get("kid")
        return cls(key, kid if isinstance(kid, str) else None, algorithms)


def _fitting(jwk: Mapping[str, Any]) -> tuple[str, ...]:
    kind = jwk.get("kty")
    curve = jwk.get("crv") if kind != "RSA" else None
    algorithms: tuple[str, ...] = ()
    if isinstance(kind, str) and isinstance(curve, str | None):
        algorithms = _FITTING.get((kind, curve), ())
    if "alg" in jwk:
        algorithms = tuple(name for name in algorithms if name == jwk["alg"])
    operations = jwk.get("key_ops", ["verify"])
    verifies = isinstance(operations, list) and "verify" in operations
    if not algorithms or jwk.get("use", "sig") != "sig" or not verifies:
        raise Unfit(f"it is not for signatures by {', '.join(ALGORITHMS)}")
    return algorithms


def _check_rsa(jwk: Mapping[str, Any]) -> None:
    """The bounds of all our RSA keys: with an enormous exponent one check could take seconds."""
    try:
        n, e = (int.from_bytes(base64url_decode(jwk[name])) for name in ("n", "e"))
        PublicNumbers(n, e).check()
    except UnfitKeyError as error:
        raise Unfit(str(error)) from None
    except (ValueError, TypeError, KeyError):
        raise Unfit("its numbers are no key") from None


@dataclass(frozen=True, slots=True)
class KeySet:
    """Keys of one issuer."""

    keys: tuple[PublicKey, ...]

    def choose(self, kid: str | None, algorithm: str) -> Any:
        """
        The one key for a token.

        Raises:
            Unfit: There is none, or more than one.
        """
        named = [key for key in self.keys if kid is None or key.kid in (None, kid)]
        if not named:
            raise Unfit("kid: no key has this name")
        fitting = [key for key in named if algorithm in key.algorithms]
        if len(fitting) != 1:
            raise Unfit(
                f"alg: {algorithm} does not fit the key"
                if not fitting
                else "kid: it is missing, and more than one key fits"
            )
        return fitting[0].key


def key_set(source: Any) -> KeySet:
    """
    Keys from what an application has.

    Args:
        source: PEM of a public key, a JWK, a JWKS, a `jwt.PyJWK`, or a key of the package cryptography.

    Raises:
        Unfit: None of them can be used, two have the same name, or one is a private key.
    """
    if isinstance(source, str | bytes):
        return KeySet((PublicKey.of_jwk(jwk_of(loaded(source))),))
    if isinstance(source, jwt.PyJWK):
        found = PublicKey.of_jwk(source.Algorithm.to_jwk(source.key, as_dict=True))
        return KeySet((found,))  # whoever gives it has looked for the name
    if not isinstance(source, Mapping):
        return KeySet((PublicKey.of_jwk(jwk_of(source)),))
    if "keys" not in source:
        return KeySet((PublicKey.of_jwk(source),))
    members = source["keys"]
    if not isinstance(members, list) or not all(isinstance(jwk, Mapping) for jwk in members):
        raise Unfit('the "keys" of a JWKS are a list of JWKs')
    return _of_members(members)


def _of_members(members: Iterable[Mapping[str, Any]]) -> KeySet:
    """Keys of a kind that we do not know are passed over (RFC 7517 5); secrets are a mistake of who published them."""
    keys: list[PublicKey] = []
    for jwk in members:
        if not jwk.keys().isdisjoint(_SECRETS):
            raise Unfit("one of the keys is a private or a symmetric key")
        try:
            keys.append(PublicKey.of_jwk(jwk))
        except Unfit:
            continue
    if not keys:
        raise Unfit("none of the keys can be used")
    names = [key.kid for key in keys if key.kid is not None]
    if len(set(names)) != len(names):
        raise Unfit("two keys have the same kid")
    return KeySet(tuple(keys))


def loaded(pem: str | bytes) -> Any:
    """
    A key from PEM: of an RSA, EC or Ed25519 key, public or private.

    Raises:
        Unfit: It is none of these.
    """
    for names in _FITTING.values():
        try:
            return _IMPORTS[names[0]].prepare_key(pem)
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
    raise Unfit("it is no PEM of an RSA, EC or Ed25519 key")


def jwk_of(key: Any) -> dict[str, Any]:
    """
    The JWK of a key, private members included.

    Raises:
        Unfit: It is no key of a kind that is known here.
    """
    for names in _FITTING.values():
        try:
            algorithm = _IMPORTS[names[0]]
            found: dict[str, Any] = algorithm.to_jwk(algorithm.prepare_key(key), as_dict=True)
            return found
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
    raise Unfit(f"{kind_of(key)} is no RSA, EC or Ed25519 key")


def public_part(jwk: Mapping[str, Any]) -> dict[str, Any]:
    """The members that make the public key, and no others."""
    return {name: jwk[name] for name in ("kty", "crv", "n", "e", "x", "y") if name in jwk}


def is_pem(source: object) -> bool:
    """Whether this is the text of a key and not the path of a file."""
    if isinstance(source, bytes):
        return True
    return isinstance(source, str) and source.lstrip().startswith(_ARMOUR)


class Keys:
    """
    Finds the key for a token.

    Args:
        source: See `JWT`.

    Raises:
        ConfigError: It has no key that can be used.
        KeyFileError: The file cannot be read, or others can change it.
    """

    def __init__(self, source: Source) -> None:
        self._ask: Callable[[str | None], Any] | None = None
        self._file: Remembered[KeySet] | None = None
        self._keys: KeySet | None = None
        if callable(source):
            self._ask = checked("keys", source, ("kid",))
        elif isinstance(source, str | Path) and not is_pem(source):
            path = absolute(source)
            self._file = Remembered(
                path,
                lambda data: _parsed(data, path),
                limit=MAX_TRUST_FILE,
                forbidden=OTHERS_WRITE,
                missing="put the issuer's public key there, as PEM or JWKS",
            )
            self._file.get()
        else:
            try:
                self._keys = key_set(source)
            except Unfit as error:
                raise ConfigError(f"keys= cannot be used: {error}") from None

    def find(self, kid: object, algorithm: str) -> Any:
        """
        The key for a token.

        Args:
            kid: The name that the token gives; None: none. Untrusted.
            algorithm: One of `ALGORITHMS`.

        Raises:
            Unfit: There is none.
            KeyFileError: The file is damaged or cannot be read.
            Exception: Any exception of the application's function.
        """
        if kid is not None and not (
            isinstance(kid, str) and 1 <= len(kid) <= MAX_KEY_ID and kid.isprintable()
        ):
            raise Unfit(f"kid: it is no text of 1 to {MAX_KEY_ID} printable characters")
        if self._ask is not None:
            return self._asked(self._ask, kid, algorithm)
        keys = self._file.get() if self._file is not None else self._keys
        if keys is None:
            raise Unfit("there are no keys")
        return keys.choose(kid, algorithm)

    def _asked(self, ask: Callable[[str | None], Any], kid: str | None, algorithm: str) -> Any:
        try:
            answer = ask(kid)
        except jwt.PyJWKClientConnectionError:
            raise  # the issuer cannot be reached: no fault of the client
        except jwt.PyJWTError as error:  # as PyJWKClient says that there is no such key
            raise Unfit(f"kid: keys() raised {type(error).__name__}") from None
        if answer is None:
            raise Unfit("kid: keys() knows no such key")
        did_run(answer)
        return key_set(answer).choose(kid, algorithm)


def _parsed(data: bytes, path: Path) -> KeySet:
    try:
        text = data.decode()
        return key_set(text if is_pem(text) else json.loads(text))
    except Unfit as error:
        reason = str(error)
    except (ValueError, RecursionError):
        reason = "it is neither PEM nor JSON"
    raise KeyFileError(
        f"{path} has no keys for tokens: {escaped(reason)}",
        hint="it holds the issuer's public key as PEM, or its JWKS as JSON",
    )
