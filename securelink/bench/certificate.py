"""A self-signed certificate for one address, so that TLS can be measured with the same kind of key (RFC 5280)."""

from __future__ import annotations

import base64
import ipaddress
import textwrap
import time
import uuid

from ..keys import Identity

DAY = 86_400.0  # seconds

_INTEGER, _BITS, _OCTETS, _NULL, _OBJECT, _UTF8, _UTC = 0x02, 0x03, 0x04, 0x05, 0x06, 0x0C, 0x17
_SEQUENCE, _SET = 0x30, 0x31
_ADDRESS = 0x87  # [7], an IP address as a subject alternative name
_SHA256 = bytes.fromhex("608648016503040201")  # 2.16.840.1.101.3.4.2.1
_MGF1 = bytes.fromhex("2a864886f70d010108")  # 1.2.840.113549.1.1.8
_PSS = bytes.fromhex("2a864886f70d01010a")  # 1.2.840.113549.1.1.10
_COMMON_NAME = bytes.fromhex("550403")  # 2.5.4.3
_ALTERNATIVE_NAMES = bytes.fromhex("551d11")  # 2.5.29.17


def self_signed(identity: Identity, address: str) -> bytes:
    """
    A certificate, PEM, for the key of `identity`: valid for the address, today, signed with RSA-PSS (RFC 4055).

    Args:
        address: An IP address.
    """
    name = _sequence(_der(_SET, _sequence(_der(_OBJECT, _COMMON_NAME), _der(_UTF8, b"bench"))))
    now = time.time()
    names = _sequence(_der(_ADDRESS, ipaddress.ip_address(address).packed))
    extension = _sequence(_der(_OBJECT, _ALTERNATIVE_NAMES), _der(_OCTETS, names))
    algorithm = _pss()
    body = _sequence(
        _tagged(0, _der(_INTEGER, b"\x02")),  # version 3
        _der(_INTEGER, b"\x01" + uuid.uuid4().bytes),
        algorithm,
        name,
        _sequence(_moment(now - DAY), _moment(now + DAY)),
        name,
        identity.public.spki,
        _tagged(3, _sequence(extension)),
    )
    signature = _der(_BITS, b"\x00" + identity.sign(body))
    text = base64.b64encode(_sequence(body, algorithm, signature)).decode()
    lines = ["-----BEGIN CERTIFICATE-----", *textwrap.wrap(text, 64), "-----END CERTIFICATE-----"]
    return "\n".join([*lines, ""]).encode()


def _pss() -> bytes:
    """AlgorithmIdentifier of RSA-PSS with SHA-256, MGF1 with SHA-256 and a salt of 32 bytes."""
    sha256 = _sequence(_der(_OBJECT, _SHA256), _der(_NULL, b""))
    parameters = _sequence(
        _tagged(0, sha256),
        _tagged(1, _sequence(_der(_OBJECT, _MGF1), sha256)),
        _tagged(2, _der(_INTEGER, b"\x20")),
    )
    return _sequence(_der(_OBJECT, _PSS), parameters)


def _moment(seconds: float) -> bytes:
    return _der(_UTC, time.strftime("%y%m%d%H%M%SZ", time.gmtime(seconds)).encode())


def _tagged(number: int, element: bytes) -> bytes:
    return _der(0xA0 | number, element)


def _sequence(*elements: bytes) -> bytes:
    return _der(_SEQUENCE, b"".join(elements))


def _der(tag: int, body: bytes) -> bytes:
    """One element: tag, length in the shortest form, body (X.690 8.1, 10.1)."""
    size = len(body)
    if size < 0x80:
        return bytes((tag, size)) + body
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(length))) + length + body
