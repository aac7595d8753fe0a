"""
RSA keys: identities. The only package that knows key files, PEM and python-rsa.

`PublicKey` is the part that others may see, `Identity` the private key; `createEncryptKeys()` makes a pair and stores
it. Sessions only sign with these keys; encryption to a key is for sealed packets.

    identity.py, public.py   the two objects
    succession.py     an old key names its successor
    shapes.py         the formats in which keys are sent and stored
    private.py        reads private keys from all of them, and checks them
    pkcs8.py          private keys under a passphrase
    traditional.py    the same, as OpenSSL wrote them before
    stretching.py     keys from passwords
    pem.py, der.py    blocks and elements of these formats
    failures.py       what the system says of files, in sentences
    files.py          files that hold keys or trust: read within bounds, written completely or not at all
    replacing.py      files that are replaced in one step
    strict.py         who could change a file
    loaded.py, remembered.py   caches: of private keys, and of files that change seldom
    leftovers.py      new keys that a killed process has left
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
