"""The key schedule is that of TLS 1.3: under its label prefix it gives the values of RFC 8448."""

from __future__ import annotations

import hashlib

import pytest
from vectors import load, unhex

from securelink import crypto
from securelink.protocol import key_schedule

TRACE = load("tls13_rfc8448.json")["simple_1rtt"]
V = unhex(TRACE)
MESSAGES = unhex(TRACE["messages"])


@pytest.fixture
def _tls_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the labels the prefix that the published trace has."""
    for function in (crypto.hkdf_expand_label, crypto.derive_secret):
        assert function.__defaults__ == (b"securelink 1 ",)
        monkeypatch.setattr(function, "__defaults__", (b"tls13 ",))


def transcript(*names: str) -> bytes:
    """Hash of these messages, one after the other."""
    return hashlib.sha256(b"".join(MESSAGES[name] for name in names)).digest()


@pytest.mark.usefixtures("_tls_labels")
def test_handshake_secrets_rfc8448() -> None:
    """From the shared secret and both hellos come the handshake traffic secrets."""
    hellos = transcript("client_hello", "server_hello")
    secrets = key_schedule.handshake_secrets(V["x25519_shared"], hellos)
    assert secrets.handshake == V["handshake_secret"]
    assert secrets.client == V["c_hs_traffic"]
    assert secrets.server == V["s_hs_traffic"]


@pytest.mark.usefixtures("_tls_labels")
def test_application_secrets_rfc8448() -> None:
    """From the handshake secret and the transcript up to the server's Finished come the application secrets."""
    until_finished = V["hash_client_hello_to_server_finished"]
    secrets = key_schedule.application_secrets(V["handshake_secret"], until_finished)
    assert secrets.master == V["master_secret"]
    assert secrets.client == V["c_ap_traffic"]
    assert secrets.server == V["s_ap_traffic"]


@pytest.mark.usefixtures("_tls_labels")
def test_the_binding_is_the_exporter() -> None:
    """The channel binding is TLS-Exporter("channel binding", "", 32), worked out by hand from RFC 9846 7.5."""
    until_finished = V["hash_client_hello_to_server_finished"]
    empty = hashlib.sha256(b"").digest()
    step = crypto.hkdf_expand_label(V["exp_master"], b"channel binding", empty, 32)
    expected = crypto.hkdf_expand_label(step, b"exporter", empty, 32)
    secrets = key_schedule.application_secrets(V["handshake_secret"], until_finished)
    assert secrets.binding == expected


@pytest.mark.usefixtures("_tls_labels")
def test_finished_rfc8448() -> None:
    """Finished is the HMAC of the transcript so far under a key of the traffic secret."""
    before = [
        "client_hello",
        "server_hello",
        "encrypted_extensions",
        "certificate",
        "certificate_verify",
    ]
    server = key_schedule.finished(V["s_hs_traffic"], transcript(*before))
    assert server == MESSAGES["server_finished"][4:]
    client = key_schedule.finished(V["c_hs_traffic"], transcript(*before, "server_finished"))
    assert client == MESSAGES["client_finished"][4:]


@pytest.mark.usefixtures("_tls_labels")
@pytest.mark.parametrize("entry", TRACE["keys"])
def test_traffic_keys_rfc8448(entry: dict[str, str]) -> None:
    """The iv is that of the trace; the key, there of AES-128, is the one of 32 bytes by the same rule."""
    secret = V[entry["secret"]]
    key, iv = key_schedule.traffic_keys(secret)
    assert iv.hex() == entry["iv"]
    assert key == crypto.hkdf_expand_label(secret, b"key", b"", 32)


@pytest.mark.usefixtures("_tls_labels")
def test_the_next_secret_has_its_own_label() -> None:
    """A key update derives the next secret with "traffic upd" (RFC 9846 7.2)."""
    info = b"\x00\x20" + b"\x11" + b"tls13 traffic upd" + b"\x00"
    expected = crypto.hkdf_expand(V["c_ap_traffic"], info, 32)
    assert key_schedule.next_traffic_secret(V["c_ap_traffic"]) == expected


@pytest.mark.usefixtures("_tls_labels")
def test_resumption_rfc8448() -> None:
    """The PSK of a ticket, and the binder that proves it, are those of the trace's resumed handshake."""
    resumption = key_schedule.resumption_secret(
        V["master_secret"], V["hash_client_hello_to_client_finished"]
    )
    assert resumption == V["res_master"]
    # What is a nonce there is the whole ticket here.
    assert key_schedule.ticket_psk(resumption, V["ticket_nonce"]) == V["resumption_psk"]
    resumed = unhex(load("tls13_rfc8448.json")["resumed_0rtt"])
    assert key_schedule.binder(V["resumption_psk"], resumed["binder_hash"]) == resumed["binder"]


def test_a_psk_counts() -> None:
    """With a PSK the same exchange gives other secrets, with another PSK others again."""
    found = {
        key_schedule.handshake_secrets(bytes(64), bytes(32), psk).client
        for psk in (None, b"1" * 32, b"2" * 32)
    }
    assert len(found) == 3


def test_our_secrets_are_not_those_of_tls() -> None:
    """Under our prefix the same inputs give other secrets."""
    hellos = transcript("client_hello", "server_hello")
    secrets = key_schedule.handshake_secrets(V["x25519_shared"], hellos)
    assert secrets.client not in (V["c_hs_traffic"], V["s_hs_traffic"])
    assert len({secrets.client, secrets.server, secrets.handshake}) == 3


def test_every_input_counts() -> None:
    """Another shared secret or another transcript gives other secrets, all of them."""
    base = key_schedule.handshake_secrets(bytes(64), bytes(32))
    for shared, hashed in ((b"\1" + bytes(63), bytes(32)), (bytes(64), b"\1" + bytes(31))):
        changed = key_schedule.handshake_secrets(shared, hashed)
        assert changed.client != base.client
        assert changed.server != base.server
    late = key_schedule.application_secrets(bytes(32), bytes(32))
    for handshake, hashed in ((b"\1" + bytes(31), bytes(32)), (bytes(32), b"\1" + bytes(31))):
        other = key_schedule.application_secrets(handshake, hashed)
        for name in ("client", "server", "binding"):
            assert getattr(other, name) != getattr(late, name)


def test_secrets_are_not_shown() -> None:
    """The repr of a set of secrets has none of them."""
    for secrets in (
        key_schedule.HandshakeSecrets(b"c" * 32, b"s" * 32, b"h" * 32),
        key_schedule.ApplicationSecrets(b"c" * 32, b"s" * 32, b"b" * 32, b"m" * 32),
    ):
        assert not any(letter * 4 in f"{secrets!r} {secrets}" for letter in "cshbm")
