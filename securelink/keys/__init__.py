"""
RSA keys: identities. The only package that knows key files, PEM and python-rsa.

`PublicKey` is the part that others may see, `Identity` the private key; `createEncryptKeys()` makes a pair and stores
it. Sessions only sign with these keys; encryption to a key is for sealed packets.
"""

from .identity import Identity, createEncryptKeys, load_or_create
from .public import PublicKey, fingerprint_digest, fingerprint_text

__all__ = [
    "Identity",
    "PublicKey",
    "createEncryptKeys",
    "fingerprint_digest",
    "fingerprint_text",
    "load_or_create",
]
