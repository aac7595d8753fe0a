"""
Keys and certificates for one run, in a folder that is deleted afterwards; and the TLS contexts made from them.

TLS peers check certificate and host name of the server. "mutual" also demands a certificate of the client.
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from securelink import createEncryptKeys

from .target import HOST, Target

_Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def make(folder: Path, bits: int = 3072) -> None:
    """Make everything that any peer needs."""
    createEncryptKeys(str(folder), "server", bits)
    createEncryptKeys(str(folder), "client", bits)
    _write(folder, "ecdsa", ec.generate_private_key(ec.SECP256R1()))
    _write(folder, "rsa", rsa.generate_private_key(65537, bits))
    _write(folder, "client-rsa", rsa.generate_private_key(65537, bits))


def _write(folder: Path, name: str, key: _Key) -> None:
    """A key and its self-signed certificate."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"benchmark {name}")])
    now = datetime.datetime.now(datetime.UTC)
    addresses = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(HOST))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = folder / f"{name}.key"
    private.touch(mode=0o600)
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def server_certificate(target: Target) -> str:
    """Name of the server's key and certificate in the folder."""
    return "ecdsa" if target.identity == "ecdsa" else "rsa"


def server_context(target: Target) -> ssl.SSLContext:
    """TLS 1.3 as a server."""
    name = server_certificate(target)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(target.path(f"{name}.crt"), target.path(f"{name}.key"))
    if target.identity == "mutual":
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(target.path("client-rsa.crt"))
    return context


_contexts: dict[tuple[str, str], ssl.SSLContext] = {}


def client_context(target: Target) -> ssl.SSLContext:
    """TLS 1.3 as a client that trusts this server's certificate alone; made once, as a program would."""
    key = (target.folder, target.identity)
    if key not in _contexts:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(target.path(f"{server_certificate(target)}.crt"))
        if target.identity == "mutual":
            context.load_cert_chain(target.path("client-rsa.crt"), target.path("client-rsa.key"))
        _contexts[key] = context
    return _contexts[key]
