"""Faults of the bridge to the crypto library."""

from __future__ import annotations

from .fault import Fault

FAULTS = [
    Fault(
        "secrets are compared by ==",
        "crypto.py",
        "return hmac.compare_digest(a, b)",
        "return bytes(a) == bytes(b)",
        "test_crypto.py::test_equal_takes_constant_time",
    ),
    Fault(
        "HKDF-Expand forgets its counter",
        "crypto.py",
        "block = hmac_sha256(prk, block + info + counter.to_bytes(1))",
        'block = hmac_sha256(prk, block + info + b"\\x01")',
        "test_crypto.py::test_hkdf_rfc5869",
    ),
    Fault(
        "HKDF-Expand-Label leaves out the context",
        "crypto.py",
        "info = _before_context(prefix, label, length, len(context)) + context",
        "info = _before_context(prefix, label, length, len(context))",
        "test_crypto.py::test_expand_label_openssl",
    ),
    Fault(
        "labels of derived keys have no prefix of their own",
        "crypto.py",
        'LABEL_PREFIX = b"securelink 1 "',
        'LABEL_PREFIX = b"tls13 "',
        "test_crypto.py::test_expand_label_openssl",
    ),
    Fault(
        "a short random source is accepted",
        "crypto.py",
        "if len(drawn) != size:",
        "if not drawn:",
        "test_crypto_asymmetric.py::test_short_random_is_refused",
    ),
    Fault(
        "a key share completes two exchanges",
        "crypto.py",
        ("        kem, ecdh = self._keys\n        self._keys = None"),
        "        kem, ecdh = self._keys",
        "test_crypto_asymmetric.py::test_a_share_is_used_once",
    ),
    Fault(
        "the session key leaves out ML-KEM (client)",
        "crypto.py",
        "return kem.decapsulate(ciphertext) + _x25519(ecdh, point)",
        "return bytes(32) + _x25519(ecdh, point)",
        "test_crypto_asymmetric.py::test_both_sides_get_the_same_fresh_secret",
    ),
    Fault(
        "the session key leaves out X25519 (server)",
        "crypto.py",
        "kem_secret + ecdh_secret",
        "kem_secret + bytes(32)",
        "test_crypto_asymmetric.py::test_both_sides_get_the_same_fresh_secret",
    ),
    Fault(
        "an ML-KEM key that is not valid is another kind of error",
        "crypto.py",
        '        raise ProtocolError("the peer\'s ML-KEM key is not valid") from None',
        "        raise",
        "test_crypto_asymmetric.py::test_coefficients_that_are_not_reduced_are_refused",
    ),
    Fault(
        "a point of small order is another kind of error",
        "crypto.py",
        '        raise ProtocolError("the peer\'s X25519 key is not valid") from None',
        "        raise",
        "test_crypto_asymmetric.py::test_points_of_small_order_are_refused",
    ),
    Fault(
        "signatures have no context",
        "crypto.py",
        'return b" " * 64 + context + b"\\0" + transcript_hash',
        'return b" " * 64 + b"\\0" + transcript_hash',
        "test_crypto_asymmetric.py::test_signature_input",
    ),
    Fault(
        "a wrong signature is accepted",
        "crypto.py",
        ("    except InvalidSignature:\n        raise ProtocolError("),
        ("    except InvalidSignature:\n        return\n        raise ProtocolError("),
        "test_crypto_asymmetric.py::test_certificate_verify_rfc8448",
    ),
    Fault(
        "PSS salts are as long as they can be",
        "crypto.py",
        "PSS_SALT_SIZE = 32",
        "PSS_SALT_SIZE = 20",
        "test_crypto_asymmetric.py::test_certificate_verify_rfc8448",
    ),
    Fault(
        "a signature may lack its leading zeros",
        "crypto.py",
        "if len(signature) != (public_key.key_size + 7) // 8:",
        "if False:",
        "test_crypto_asymmetric.py::test_a_signature_has_its_leading_zeros",
    ),
    Fault(
        "an AES-128 key passes",
        "crypto.py",
        "if len(key) != AEAD_KEY_SIZE:",
        "if len(key) not in (16, AEAD_KEY_SIZE):",
        "test_crypto.py::test_aead_key_has_32_bytes",
    ),
    Fault(
        "OAEP forgets its label",
        "crypto.py",
        "algorithm=hashes.SHA256(), label=label or None",
        "algorithm=hashes.SHA256(), label=None",
        "test_crypto_asymmetric.py::test_oaep_openssl",
    ),
    Fault(
        "OAEP tells why",
        "crypto.py",
        'raise UnsealError("this cannot be decrypted with this key") from None',
        "raise",
        "test_crypto_asymmetric.py::test_oaep_has_one_error",
    ),
    Fault(
        "scrypt takes any amount of memory",
        "keys/stretching.py",
        "if 128 * n * r > MAX_SCRYPT_MEMORY:",
        "if False:",
        "test_crypto.py::test_scrypt_refuses_impossible_costs",
    ),
]
