"""
Login by JSON Web Tokens (RFC 7519) of an issuer that the server trusts. Needs the extra `jwt` (PyJWT).

    keys.py     the issuer's public keys, and what each may verify
    checks.py   from the text of a token to its claims
    proof.py    tokens that are bound to a key of the client, and the proof of that key for one connection
    hook.py     the `authenticate` hook
    bound.py    the client's side of a bound token

Only asymmetric algorithms: a server that can check a token cannot make one. A key is never taken from a token, except
the one of a proof, which the issuer has named in the token by its hash.
"""

from ...errors import ConfigError

try:
    import jwt as _jwt  # noqa: F401  # the modules below need it
except ImportError:
    raise ConfigError(
        "securelink.auth.jwt needs the package PyJWT",
        hint="install it here: pip install 'PyJWT>=2.13,<3' (the extra `jwt` does so)",
    ) from None

from .bound import BoundToken
from .hook import JWT

__all__ = ["JWT", "BoundToken"]
