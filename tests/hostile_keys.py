"""Keys that somebody made to cost their reader time: DER, PEM and OpenSSH, public and private."""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from securelink.keys import stretching
from securelink.keys.der import BITS, OBJECT, OCTETS, SEQUENCE, element, integer
from securelink.keys.pem import write_block

_RSA = bytes.fromhex("2a864886f70d010101")
_PSS = bytes.fromhex("2a864886f70d01010a")
_DH = bytes.fromhex("2a864886f70d010301")
_X942 = bytes.fromhex("2a8648ce3e0201")
_DSA = bytes.fromhex("2a8648ce380401")
_EC = bytes.fromhex("2a8648ce3d0201")
_PRIME_FIELD = bytes.fromhex("2a8648ce3d0101")
_ED25519 = bytes.fromhex("2b6570")
_PBES2 = bytes.fromhex("2a864886f70d01050d")
_PBKDF2 = bytes.fromhex("2a864886f70d01050c")
_SCRYPT = bytes.fromhex("2b06010401da47040b")
_AES256_CBC = bytes.fromhex("60864801650304012a")
_PBE_SHA1_3DES = bytes.fromhex("2a864886f70d010c0103")
NULL = b"\x05\x00"


def arctan_inverse(x: int, bits: int) -> int:
    """atan(1/x), times 2**bits, by its series."""
    total, power, n = 0, (1 << bits) // x, 1
    while power:
        total += power // n if n % 4 == 1 else -(power // n)
        power //= x * x
        n += 2
    return total


def modp_prime(bits: int) -> int:
    """A prime of RFC 3526: 2^b - 2^(b-64) - 1 + 2^64 * ([2^(b-130) pi] + k). OpenSSL tests it for an odd generator."""
    k = {2048: 124476, 4096: 240904, 8192: 4743158}[bits]
    guard = 64
    places = bits - 130 + guard
    pi = 4 * (4 * arctan_inverse(5, places) - arctan_inverse(239, places))  # Machin
    return (1 << bits) - (1 << bits - 64) - 1 + 2**64 * ((pi >> guard) + k)


def sequence(*parts: bytes) -> bytes:
    """A SEQUENCE of elements."""
    return element(SEQUENCE, b"".join(parts))


def spki(kind: bytes, parameters: bytes, key: bytes) -> bytes:
    """A SubjectPublicKeyInfo of any type."""
    return sequence(sequence(element(OBJECT, kind), parameters), element(BITS, b"\0" + key))


def pkcs8(kind: bytes, parameters: bytes, key: bytes) -> bytes:
    """A PrivateKeyInfo of any type."""
    return sequence(integer(0), sequence(element(OBJECT, kind), parameters), element(OCTETS, key))


def rsa_spki(n: int, e: int, kind: bytes = _RSA, parameters: bytes = NULL) -> bytes:
    """An RSA key of any numbers."""
    return spki(kind, parameters, sequence(integer(n), integer(e)))


def odd(bits: int) -> int:
    """A number of that many bits that could be a modulus."""
    return (1 << bits) - 1 - (1 << bits // 2)


def ssh_string(data: bytes) -> bytes:
    """A string of RFC 4251."""
    return len(data).to_bytes(4) + data


def ssh_blob(n: int, e: int, kind: bytes = b"ssh-rsa") -> bytes:
    """The public key in the wire form of SSH."""
    return b"".join(
        [ssh_string(kind), *(ssh_string(v.to_bytes(v.bit_length() // 8 + 1)) for v in (e, n))]
    )


def ssh_line(blob: bytes) -> bytes:
    """A line of authorized_keys."""
    return b"ssh-rsa " + base64.b64encode(blob) + b" me@home\n"


def ssh_private(
    blob: bytes, kdf: bytes = b"none", options: bytes = b"", tail: bytes = b""
) -> bytes:
    """An OpenSSH private key file with this public key in front."""
    cipher = b"none" if kdf == b"none" else b"aes256-ctr"
    head = b"openssh-key-v1\0" + ssh_string(cipher) + ssh_string(kdf) + ssh_string(options)
    return write_block(
        "OPENSSH PRIVATE KEY", head + (1).to_bytes(4) + ssh_string(blob) + ssh_string(tail)
    )


def ssh_inside(*numbers: int) -> bytes:
    """The private part of an OpenSSH key: n, e, d, the coefficient, p, q."""
    fields = [ssh_string(v.to_bytes(v.bit_length() // 8 + 1)) for v in numbers]
    body = bytes(8) + ssh_string(b"ssh-rsa") + b"".join(fields) + ssh_string(b"me@home")
    return body + bytes(range(1, 1 + -len(body) % 8))


def encrypted(kdf: bytes, parameters: bytes) -> bytes:
    """An encrypted PKCS#8 file whose passphrase is stretched so."""
    cipher = sequence(element(OBJECT, _AES256_CBC), element(OCTETS, bytes(16)))
    scheme = sequence(sequence(element(OBJECT, kdf), parameters), cipher)
    return write_block(
        "ENCRYPTED PRIVATE KEY",
        sequence(sequence(element(OBJECT, _PBES2), scheme), element(OCTETS, bytes(64))),
    )


def locked(inside: bytes, passphrase: bytes = b"word") -> bytes:
    """An encrypted PKCS#8 file, made at no cost, with anything inside."""
    salt, iv = bytes(16), bytes(16)
    pad = 16 - len(inside) % 16
    key = stretching.pbkdf2(passphrase, salt, 1, "SHA1", 32)
    encryptor = Cipher(AES(key), CBC(iv)).encryptor()
    ciphertext = encryptor.update(inside + bytes([pad]) * pad) + encryptor.finalize()
    derivation = sequence(element(OBJECT, _PBKDF2), sequence(element(OCTETS, salt), integer(1)))
    cipher = sequence(element(OBJECT, _AES256_CBC), element(OCTETS, iv))
    scheme = sequence(element(OBJECT, _PBES2), sequence(derivation, cipher))
    return write_block("ENCRYPTED PRIVATE KEY", sequence(scheme, element(OCTETS, ciphertext)))


def private_infos() -> dict[str, bytes]:
    """PrivateKeyInfo by name: what a file may hold beneath its encryption."""
    dh = modp_prime(8192)
    field = sequence(element(OBJECT, _PRIME_FIELD), integer(odd(2048)))
    curve = sequence(element(OCTETS, bytes(256)), element(OCTETS, bytes(256)))
    explicit = sequence(integer(1), field, curve, element(OCTETS, b"\4" + bytes(512)), integer(7))
    big = rsa_private(odd(60_000) ** 2, 65537, odd(60_000), odd(60_000), odd(60_000))
    return {
        "Diffie-Hellman, 8,192 bits": pkcs8(_DH, sequence(integer(dh), integer(5)), integer(12345)),
        "Diffie-Hellman X9.42": pkcs8(
            _X942, sequence(integer(dh), integer(5), integer(dh // 2)), integer(4)
        ),
        "DSA": pkcs8(_DSA, sequence(integer(dh), integer(odd(256)), integer(5)), integer(4)),
        "explicit curve": pkcs8(_EC, explicit, element(OCTETS, bytes(256))),
        "Ed25519": pkcs8(_ED25519, b"", element(OCTETS, bytes(32))),
        "RSA-PSS": pkcs8(_PSS, b"", big),
        "120,000 bits": pkcs8(_RSA, NULL, big),
    }


def rsa_private(n: int, e: int, d: int, p: int, q: int) -> bytes:
    """An RSAPrivateKey whose numbers need not fit."""
    return sequence(*(integer(v) for v in (0, n, e, d, p, q, d % (p - 1), d % (q - 1), 1)))


def public_keys() -> dict[str, bytes]:
    """SubjectPublicKeyInfo by name. All fit into a handshake message, but for one."""
    dh = modp_prime(2048)
    field = sequence(element(OBJECT, _PRIME_FIELD), integer(odd(2048)))
    curve = sequence(element(OCTETS, bytes(256)), element(OCTETS, bytes(256)))
    explicit = sequence(integer(1), field, curve, element(OCTETS, b"\4" + bytes(512)), integer(7))
    return {
        "Diffie-Hellman, generator 5": spki(_DH, sequence(integer(dh), integer(5)), integer(4)),
        "Diffie-Hellman, generator 2": spki(_DH, sequence(integer(dh), integer(2)), integer(4)),
        "Diffie-Hellman X9.42": spki(
            _X942, sequence(integer(dh), integer(5), integer(dh // 2)), integer(4)
        ),
        "DSA": spki(_DSA, sequence(integer(dh), integer(odd(256)), integer(5)), integer(4)),
        "DSA, 6,000 bits": spki(
            _DSA, sequence(integer(odd(6000)), integer(odd(256)), integer(5)), integer(4)
        ),
        "explicit curve": spki(_EC, explicit, b"\4" + bytes(512)),
        "Ed25519": spki(_ED25519, b"", bytes(32)),
        "RSA-PSS, long salt": rsa_spki(
            odd(2048), 65537, _PSS, sequence(element(0xA2, integer(2**200)))
        ),
        "8,192 bits": rsa_spki(odd(8192), 2**32 - 1),
        "8,192 bits, even": rsa_spki(odd(8192) - 1, 65537),
        "8,192 bits, small factors": rsa_spki(3 * odd(8190), 65537),
        "8,192 bits, a power of 3": rsa_spki(3**5168, 65537),
        "8,192 bits, few bits set": rsa_spki(2**8191 + 1, 65537),
        "large exponent": rsa_spki(odd(4096), odd(4095)),
        "even exponent": rsa_spki(odd(2048), 65538),
        "exponent 1": rsa_spki(odd(2048), 1),
        "exponent above the modulus": rsa_spki(odd(2048), odd(6000)),
        "modulus 0": rsa_spki(0, 65537),
        "too large": rsa_spki(odd(60_000), 65537),
        "a length of 2**32 - 1": b"\x30\x84\xff\xff\xff\xff" + bytes(1000),
        "a length of 2**1000": b"\x30\xff" + b"\xff" * 1000,
        "nested": b"\x30\x82\x03\xe8" + b"\x30\x80" * 500,
    }


def public_files() -> dict[str, bytes]:
    """Public key files by name: every hostile key under both labels, and lines of OpenSSH."""
    files = {}
    for name, der in public_keys().items():
        files[name] = write_block("PUBLIC KEY", der)
        files[f"{name}, labelled as PKCS#1"] = write_block("RSA PUBLIC KEY", der)
    files |= {
        "PKCS#1, 300,000 bits": write_block(
            "RSA PUBLIC KEY", sequence(integer(odd(300_000)), integer(65537))
        ),
        "OpenSSH, 300,000 bits": ssh_line(ssh_blob(odd(300_000), 65537)),
        "OpenSSH, large exponent": ssh_line(ssh_blob(odd(2048), odd(200_000))),
        "OpenSSH, even": ssh_line(ssh_blob(odd(2048) - 1, 65537)),
        "OpenSSH, another type inside": ssh_line(ssh_blob(odd(2048), 65537, b"ssh-dss")),
        "60 KiB of begins": b"-----BEGIN PUBLIC KEY-----\n" * 2300,
        "60 KiB of other begins": b"-----BEGIN X-----\n" * 3400,
        "60 KiB of dashes": b"-" * 61_440,
        "60 KiB of spaces": b"-----BEGIN PUBLIC KEY-----" + b" " * 61_440,
        "60 KiB of headers": b"-----BEGIN PUBLIC KEY-----\n" + b"a: b\n" * 12_000,
    }
    return files


def private_files() -> dict[str, bytes]:
    """Private key files by name."""
    dh = modp_prime(2048)
    salt = element(OCTETS, bytes(16))
    n = odd(2048) * odd(2048)
    bad = rsa_private(n, 65537, 12345, odd(2048), odd(2048))
    big = rsa_private(odd(60_000) ** 2, 65537, odd(60_000), odd(60_000), odd(60_000))
    factors = rsa_private(odd(2048), 65537, odd(2047), odd(100_000), odd(100_000))
    even = rsa_private(odd(2048), 65537, odd(2047), 2**1024, odd(1024))
    ssh = ssh_blob(odd(2048), 65537)
    beneath = {f"{name}, encrypted": locked(info) for name, info in private_infos().items()}
    return beneath | {
        "Diffie-Hellman": write_block(
            "PRIVATE KEY", pkcs8(_DH, sequence(integer(dh), integer(5)), integer(12345))
        ),
        "DSA": write_block(
            "PRIVATE KEY",
            pkcs8(_DSA, sequence(integer(dh), integer(odd(256)), integer(5)), integer(4)),
        ),
        "DSA by label": write_block("DSA PRIVATE KEY", bad),
        "EC by label": write_block("EC PRIVATE KEY", bad),
        "factors that are no primes": write_block("RSA PRIVATE KEY", bad),
        "PKCS#8, factors that are no primes": write_block("PRIVATE KEY", pkcs8(_RSA, NULL, bad)),
        "120,000 bits": write_block("RSA PRIVATE KEY", big),
        "factors above the modulus": write_block("PRIVATE KEY", pkcs8(_RSA, NULL, factors)),
        "an even factor": write_block("RSA PRIVATE KEY", even),
        "PBKDF2, 2**31 rounds": encrypted(_PBKDF2, sequence(salt, integer(2**31 - 1))),
        "scrypt, 2**40 bytes": encrypted(
            _SCRYPT, sequence(salt, integer(2**30), integer(8), integer(1))
        ),
        "scrypt, 2**30 lanes": encrypted(
            _SCRYPT, sequence(salt, integer(2**14), integer(8), integer(2**30))
        ),
        "scrypt, wide blocks": encrypted(
            _SCRYPT, sequence(salt, integer(2), integer(2**20), integer(8))
        ),
        "DH in the place of a traditional key": (
            b"-----BEGIN RSA %s-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,%s\n\n"
            % (b"PRIVATE KEY", b"00" * 16)
            + base64.b64encode(bytes(3200))
            + b"\n-----END RSA %s-----\n" % b"PRIVATE KEY"
        ),
        "PBES1, 2**31 rounds": write_block(
            "ENCRYPTED PRIVATE KEY",
            sequence(
                sequence(element(OBJECT, _PBE_SHA1_3DES), sequence(salt, integer(2**31 - 1))),
                element(OCTETS, bytes(64)),
            ),
        ),
        "OpenSSH, 2**32 rounds": ssh_private(
            ssh, b"bcrypt", ssh_string(bytes(16)) + b"\xff" * 4, bytes(64)
        ),
        "OpenSSH, 200,000 bits": ssh_private(ssh_blob(odd(200_000), 65537)),
        "OpenSSH, numbers above the modulus": ssh_private(
            ssh, tail=ssh_inside(odd(2048), 65537, odd(250_000), 1, odd(120_000), 3)
        ),
        "OpenSSH, DSA": ssh_private(ssh_blob(odd(2048), 65537, b"ssh-dss")),
        "60 KiB of begins": b"-----BEGIN RSA %s-----\n" % b"PRIVATE KEY" * 1900,
    }
