"""The client's side of a token that is bound to its key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jwt

from ...errors import ConfigError
from ...keys.files import absolute, read_file
from ...limits import MAX_KEY_FILE
from ...signatures import checked
from ...text import kind_of
from .keys import PublicKey, Unfit, is_pem, jwk_of, loaded, public_part
from .proof import PROOF_TYPE, encoded, thumbprint, token_hash

_OTHERS = 0o077  # any permission of group and others


class BoundToken:
    """
    Credentials of a `Client`: a token, and for each connection a proof that the key is here that it is bound to.

        client = Client(host, 5050, credentials=BoundToken(token, key))

    Args:
        token: The token; or f() that returns it, called at each connect: one that has expired is refused.
        key: The private key that the issuer has named in the token (`cnf`): PEM, the path of a file that only its owner
            can read, or a key of the package `cryptography`. RSA, EC (P-256, P-384, P-521) or Ed25519.

    Attributes:
        thumbprint: Of the key, RFC 7638: what the issuer puts into `cnf.jkt`.

    Raises:
        ConfigError: One of the arguments is not valid.
        KeyFileError: The file cannot be read, or others could read it.
    """

    def __init__(self, token: str | Callable[[], str], key: Any) -> None:
        if not isinstance(token, str):
            checked("token", token, ())
        self._token = token
        try:
            self._key = _private_key(key)
            private = jwk_of(self._key)
            self._public = public_part(private)
            algorithms = PublicKey.of_jwk(self._public).algorithms
        except Unfit as error:
            raise ConfigError(f"key= cannot be used: {error}") from None
        if "d" not in private:
            raise ConfigError("key= is a public key", hint="a proof is signed by the private key")
        self._algorithm = algorithms[0]
        self._binding: bytes | None = None
        self.thumbprint = thumbprint(self._public)

    def __call__(self, binding: bytes | None, fingerprint: str | None) -> dict[str, str]:
        """
        The credentials for a connection.

        Args:
            binding: Of the channel.
            fingerprint: Of the server.

        Raises:
            ConfigError: The connection is not encrypted, or the function gives no token.
        """
        if binding is None:
            raise ConfigError(
                "a bound token cannot be sent without encryption", hint="drop encryption='off'"
            )
        self._binding = binding
        return self._credentials(binding)

    def again(self, packet: Any = None) -> dict[str, str]:
        """
        The credentials for the present connection, with the token of now: the answer to a server that asks for it.

            client.on("token", credentials.again)

        Args:
            packet: Not looked at; it lets this be a handler.

        Raises:
            ConfigError: There was no connection yet.
        """
        if self._binding is None:
            raise ConfigError("there was no connection yet", hint="give it to Client(credentials=)")
        return self._credentials(self._binding)

    def _credentials(self, binding: bytes) -> dict[str, str]:
        token = self._token if isinstance(self._token, str) else self._token()
        if not isinstance(token, str):
            raise ConfigError(f"token() returned {kind_of(token)}, not a text")
        proof = jwt.encode(
            {"nonce": encoded(binding), "ath": token_hash(token)},
            self._key,
            self._algorithm,
            headers={"typ": PROOF_TYPE, "jwk": self._public},
        )
        return {"jwt": token, "proof": proof}

    def __repr__(self) -> str:
        return f"<BoundToken of the key {self.thumbprint}>"


def _private_key(key: Any) -> Any:
    if isinstance(key, Mapping):
        raise Unfit("it is a dict; give PEM, a path or a key of the package cryptography")
    if is_pem(key):
        return loaded(key)
    if isinstance(key, str | Path):
        return loaded(read_file(absolute(key), MAX_KEY_FILE, forbidden=_OTHERS))
    return key
