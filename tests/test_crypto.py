"""Hashes, key schedule, AES-GCM and scrypt of `crypto.py` against vectors of the standards."""

from __future__ import annotations

import hashlib
import hmac
import importlib.util
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors import load, unhex

from securelink import crypto
from securelink.errors import ConfigError
from securelink.keys import stretching

TLS = b"tls13 "


# --- hashes ---------------------------------------------------------------------------------------


def test_sha256_and_hmac() -> None:
    """The hash is SHA-256 (FIPS 180-2, B.1) and the MAC is HMAC-SHA-256 (RFC 4231, case 2)."""
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    mac = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert crypto.sha256(b"abc").hex() == digest
    assert crypto.hmac_sha256(b"Jefe", b"what do ya want for nothing?").hex() == mac


def test_equal() -> None:
    """Bytes are equal only to the same bytes, whatever buffer holds them."""
    assert crypto.equal(b"abc", bytearray(b"abc"))
    assert crypto.equal(memoryview(b"abc"), b"abc")
    assert not crypto.equal(b"abc", b"abd")
    assert not crypto.equal(b"abc", b"ab")


@given(st.lists(st.binary(max_size=40), max_size=5))
@settings(max_examples=30, deadline=None)
def test_transcript_does_not_depend_on_the_split(parts: list[bytes]) -> None:
    """The transcript hash is that of all bytes in order; taking it does not end it."""
    transcript = crypto.Transcript()
    for index, part in enumerate(parts):
        transcript.update(memoryview(part))
        assert transcript.digest() == hashlib.sha256(b"".join(parts[: index + 1])).digest()


def test_transcript_copy_is_independent() -> None:
    """A copy begins with the same past and goes its own way."""
    transcript = crypto.Transcript()
    transcript.update(b"a")
    twin = transcript.copy()
    twin.update(b"b")
    assert transcript.digest() == crypto.sha256(b"a")
    assert twin.digest() == crypto.sha256(b"ab")


# --- key schedule ---------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", load("hkdf_rfc5869.json"))
def test_hkdf_rfc5869(entry: dict[str, Any]) -> None:
    """Extract and Expand are HKDF-SHA-256 of RFC 5869."""
    v = unhex(entry)
    prk = crypto.hkdf_extract(v["salt"], v["ikm"])
    assert prk == v["prk"]
    assert crypto.hkdf_expand(prk, v["info"], entry["length"]) == v["okm"]


def test_hkdf_length_is_bounded() -> None:
    """Expand gives 0 to 255 hash values; anything else is an error, not a short key."""
    longest = crypto.hkdf_expand(b"k" * 32, b"", 8160)
    assert len(longest) == 8160
    assert crypto.hkdf_expand(b"k" * 32, b"", 0) == b""
    for length in (-1, 8161, 65536):
        with pytest.raises(ConfigError, match=f"not {length}"):
            crypto.hkdf_expand(b"k" * 32, b"", length)
        with pytest.raises(ConfigError, match=f"not {length}"):
            crypto.hkdf_expand_label(b"k" * 32, b"key", b"", length)


def test_expand_label_rfc9001() -> None:
    """Key, iv and the update of a secret are those of the key update example in RFC 9001 A.5."""
    v = unhex(load("expand_label_rfc9001.json"))
    for name in ("key", "iv", "hp", "ku"):
        label, size = b"quic " + name.encode(), len(v[name])
        assert crypto.hkdf_expand_label(v["secret"], label, b"", size, TLS) == v[name]


@pytest.mark.parametrize("entry", load("expand_label_openssl.json"))
def test_expand_label_openssl(entry: dict[str, Any]) -> None:
    """Under TLS's prefix and ours (the default) each label gives what OpenSSL's KDF gives."""
    v = unhex({k: entry[k] for k in ("secret", "context", "output")})
    prefix, label = entry["prefix"].encode(), entry["label"].encode()
    options = {"prefix": TLS} if prefix == TLS else {}
    got = crypto.hkdf_expand_label(v["secret"], label, v["context"], entry["length"], **options)
    assert got == v["output"]


def test_label_and_context_fit_their_length_byte() -> None:
    """255 bytes of label or context are accepted, one more is an error and never wraps around."""
    room = 255 - len(crypto.LABEL_PREFIX)
    crypto.hkdf_expand_label(b"s" * 32, b"l" * room, b"c" * 255, 32)
    with pytest.raises(ConfigError, match="at most 255"):
        crypto.hkdf_expand_label(b"s" * 32, b"l" * (room + 1), b"", 32)
    with pytest.raises(ConfigError, match="at most 255"):
        crypto.derive_secret(b"s" * 32, b"l", b"c" * 256)


def test_key_schedule_rfc8448() -> None:
    """From the hello messages to the resumption PSK every value of the trace comes out."""
    trace = load("tls13_rfc8448.json")["simple_1rtt"]
    v, messages = unhex(trace), unhex(trace["messages"])
    zeros, empty = bytes(32), crypto.sha256(b"")
    transcript = crypto.Transcript()
    transcript.update(messages["client_hello"])
    transcript.update(messages["server_hello"])
    hellos = transcript.digest()
    assert hellos == v["hash_client_hello_to_server_hello"]

    early = crypto.hkdf_extract(b"", zeros)
    assert early == v["early_secret"]
    derived = crypto.derive_secret(early, b"derived", empty, TLS)
    assert derived == v["derived_from_early"]
    handshake = crypto.hkdf_extract(derived, v["x25519_shared"])
    assert handshake == v["handshake_secret"]
    assert crypto.derive_secret(handshake, b"c hs traffic", hellos, TLS) == v["c_hs_traffic"]
    assert crypto.derive_secret(handshake, b"s hs traffic", hellos, TLS) == v["s_hs_traffic"]

    for name in ("encrypted_extensions", "certificate", "certificate_verify"):
        transcript.update(messages[name])
    for side in ("server", "client"):
        finished = crypto.hkdf_expand_label(v[f"{side[0]}_hs_traffic"], b"finished", b"", 32, TLS)
        assert finished == v[f"{side}_finished_key"]
        verify_data = crypto.hmac_sha256(finished, transcript.digest())
        assert verify_data == messages[f"{side}_finished"][4:]
        transcript.update(messages[f"{side}_finished"])
        assert transcript.digest() == v[f"hash_client_hello_to_{side}_finished"]

    to_server_finished = v["hash_client_hello_to_server_finished"]
    derived = crypto.derive_secret(handshake, b"derived", empty, TLS)
    assert derived == v["derived_from_handshake"]
    master = crypto.hkdf_extract(derived, zeros)
    assert master == v["master_secret"]
    for label in (b"c ap traffic", b"s ap traffic", b"exp master"):
        secret = crypto.derive_secret(master, label, to_server_finished, TLS)
        assert secret == v[label.decode().replace(" ", "_")]
    resumption = crypto.derive_secret(master, b"res master", transcript.digest(), TLS)
    assert resumption == v["res_master"]
    psk = crypto.hkdf_expand_label(resumption, b"resumption", v["ticket_nonce"], 32, TLS)
    assert psk == v["resumption_psk"]


@pytest.mark.parametrize("entry", load("tls13_rfc8448.json")["simple_1rtt"]["keys"])
def test_traffic_keys_rfc8448(entry: dict[str, Any]) -> None:
    """Key and iv of each direction and phase are those of the trace."""
    secret = bytes.fromhex(load("tls13_rfc8448.json")["simple_1rtt"][entry["secret"]])
    assert crypto.hkdf_expand_label(secret, b"key", b"", 16, TLS).hex() == entry["key"]
    assert crypto.hkdf_expand_label(secret, b"iv", b"", 12, TLS).hex() == entry["iv"]


def test_psk_binder_rfc8448() -> None:
    """The binder that proves possession of a PSK is that of the resumed handshake."""
    traces = load("tls13_rfc8448.json")
    v = unhex(traces["resumed_0rtt"])
    early = crypto.hkdf_extract(b"", bytes.fromhex(traces["simple_1rtt"]["resumption_psk"]))
    assert early == v["early_secret"]
    binder_key = crypto.derive_secret(early, b"res binder", crypto.sha256(b""), TLS)
    assert binder_key == v["binder_key"]
    finished = crypto.hkdf_expand_label(binder_key, b"finished", b"", 32, TLS)
    assert finished == v["binder_finished_key"]
    assert crypto.hmac_sha256(finished, v["binder_hash"]) == v["binder"]


# --- AES-256-GCM, scrypt --------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["encrypt", "decrypt"])
def test_aead_nist(group: str) -> None:
    """The AEAD is AES-256-GCM, and refuses all that NIST marks FAIL."""
    outcomes = set()
    for entry in load("aes256gcm_nist.json")[group]:
        v = unhex(entry)
        aead = crypto.new_aead(v["key"])
        outcomes.add("pt" in v)
        if "pt" in v:
            assert aead.encrypt(v["iv"], v["pt"], v["aad"]) == v["ct"] + v["tag"]
            assert aead.decrypt(v["iv"], v["ct"] + v["tag"], v["aad"]) == v["pt"]
        else:
            with pytest.raises(crypto.InvalidTag):
                aead.decrypt(v["iv"], v["ct"] + v["tag"], v["aad"])
    assert outcomes == ({True} if group == "encrypt" else {True, False})


@pytest.mark.parametrize("size", [0, 16, 24, 31, 33, 64])
def test_aead_key_has_32_bytes(size: int) -> None:
    """A key of another size is refused, also where AES knows such a size."""
    with pytest.raises(ConfigError, match=f"32 bytes, not {size}"):
        crypto.new_aead(b"k" * size)


@pytest.mark.parametrize("entry", load("scrypt_rfc7914.json")[:3])
def test_scrypt_rfc7914(entry: dict[str, Any]) -> None:
    """The 32 bytes are the first of the 64 that RFC 7914 gives."""
    password, salt = entry["password"].encode(), entry["salt"].encode()
    derived = stretching.scrypt(password, salt, n=entry["n"], r=entry["r"], p=entry["p"])
    assert derived.hex() == entry["derived"][:64]


def test_scrypt_defaults() -> None:
    """A password costs 32 MiB unless told otherwise: n = 2^15, r = 8, p = 1."""
    expected = hashlib.scrypt(b"pw", salt=b"salt", n=2**15, r=8, p=1, maxmem=2**26, dklen=32)
    assert stretching.scrypt(b"pw", b"salt") == expected


@pytest.mark.parametrize("n", [-2, 0, 1, 3, 2**18 + 1, 2**20, 2**62])
def test_scrypt_refuses_impossible_costs(n: int) -> None:
    """A cost that is no power of two, or needs more than 256 MiB, is an error that names it."""
    with pytest.raises(ConfigError, match=f"n={n}, r=8"):
        stretching.scrypt(b"pw", b"salt", n=n)


@pytest.mark.parametrize(("r", "p"), [(0, 1), (8, 0), (-8, 1), (8, -1), (1, 2**40)])
def test_scrypt_refuses_impossible_sizes(r: int, p: int) -> None:
    """Block size and parallelism out of range are errors of ours as well."""
    with pytest.raises(ConfigError, match=f"r={r}, p={p}"):
        stretching.scrypt(b"pw", b"salt", n=16, r=r, p=p)


# --- what the import needs ------------------------------------------------------------------------


def refuse(_seed: bytes) -> None:
    """Behave like a build of `cryptography` whose OpenSSL has no ML-KEM."""
    raise UnsupportedAlgorithm("ML-KEM-768 is not supported by this backend.")


WITHOUT_MLKEM = SimpleNamespace(
    MLKEM768PrivateKey=SimpleNamespace(from_seed_bytes=refuse), MLKEM768PublicKey=None
)


@pytest.mark.parametrize("mlkem", [None, WITHOUT_MLKEM])
def test_import_without_mlkem_names_the_wheel(
    mlkem: ModuleType | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where ML-KEM is missing the import fails at once and says what to install."""
    name = "cryptography.hazmat.primitives.asymmetric.mlkem"
    monkeypatch.setitem(sys.modules, name, mlkem)
    spec = importlib.util.find_spec("securelink.crypto")
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(ImportError, match=r"pip install 'cryptography>=48'"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_equal_takes_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one comparison of secrets is the constant-time one of the standard library."""
    asked: list[tuple[object, object]] = []

    def compare(a: object, b: object) -> bool:
        asked.append((a, b))
        return True

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert crypto.equal(b"abc", b"abd")
    assert asked == [(b"abc", b"abd")]
