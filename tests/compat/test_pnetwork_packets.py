"""pnetwork: packets as bytes and dicts, and packets sealed to a key."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import rsa
from helpers import WAIT, until
from test_pnetwork import Note, connected, keys, serving

from securelink import CodecError, ConfigError, Identity, PublicKey, UnsealError
from securelink.compat.pnetwork import coreclient, coreserver, onlineUtilities
from securelink.compat.pnetwork.core import Bind, Connection

__all__ = ["keys"]
pytestmark = pytest.mark.usefixtures("tidy", "keys")

# --- packets ---------------------------------------------------------------------------------------


def test_packets_as_bytes_and_as_dicts() -> None:
    """`createPacket` and `decodePacket` are inverse, in both forms."""
    core = coreclient.Client()
    core.token = "a token"
    packet = core.decodePacket(core.createPacket("NAME", {"a": [1, None]}))
    assert list(packet) == ["action", "data", "packet-created", "token"]
    assert (packet["action"], packet["data"]) == ("NAME", {"a": [1, None]})
    assert packet["token"] == "a token"
    assert abs(time.time() - packet["packet-created"]) < WAIT
    assert set(core.createPacket("NAME", asbytes=False)) == set(packet)
    assert (
        json.loads(core.decodePacket(core.createPacket("NAME"), asdict=False))["action"] == "NAME"
    )


@pytest.mark.parametrize(
    "junk", [b"", b"{", b"\xff\xfe", b"[]", b"{}", b'{"action": 1}', "text", None, 5, b"[" * 10_000]
)
def test_what_is_no_packet_decodes_to_false(junk: Any) -> None:
    """Bad UTF-8, bad JSON and other JSON are False, never an exception; and nothing that can be sent."""
    core = coreserver.Server()
    assert core.decodePacket(junk) is False
    with pytest.raises(CodecError, match="no packet"):
        Connection(core, None, "x").sendPacket(junk)


# --- sealing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 118, 5_000, 1_000_000])
def test_any_packet_can_be_encrypted_and_survives_json(size: int) -> None:
    """117 bytes was the most, and nobody but the sender could read it: now the holder of the key does."""
    alice, bob = coreclient.Client(), coreserver.Server()
    data = {"text": "é" * size, "list": [1, 2.5, None, True]}
    packet = alice.createPacket("SECRET", data, asbytes=False)
    created = packet["packet-created"]
    encrypted = alice.encryptPacket(packet, bob.createEncryptKeys())
    assert encrypted is packet  # changed in place: who forgets the result still sends no plaintext
    text = json.dumps(encrypted)
    assert "é" * 100 not in text
    assert isinstance(encrypted["data"], str)
    decrypted = bob.decryptPacket(json.loads(text))
    assert (decrypted["action"], decrypted["data"]) == ("SECRET", data)
    assert decrypted["packet-created"] == created


def test_bytes_stay_bytes() -> None:
    """`encryptPacket(createPacket(...))` gives bytes that can be sent; `decryptPacket` takes them and gives a dict."""
    alice, bob = coreclient.Client(), coreserver.Server()
    encrypted = alice.encryptPacket(alice.createPacket("SECRET", "x"), bob.createEncryptKeys())
    assert isinstance(encrypted, bytes)
    assert bob.decodePacket(encrypted)["action"] == "SECRET"
    decrypted = bob.decryptPacket(encrypted)
    assert decrypted["data"] == "x"
    assert bob.decodePacket(decrypted) is decrypted


def test_keys_of_python_rsa_and_of_ours(other_identity: Identity) -> None:
    """`createEncryptKeys` gives an `rsa.PublicKey` of a real size; python-rsa's objects and ours work."""
    alice = coreclient.Client()
    key = alice.createEncryptKeys()
    assert isinstance(key, rsa.PublicKey)
    assert key == alice.createEncryptKeys(save=False)
    assert key.n.bit_length() >= 2048
    private: Any = other_identity.to_rsa()
    assert isinstance(private, rsa.PrivateKey)
    for form in (other_identity.public, other_identity.public.to_rsa()):
        encrypted = alice.encryptPacket(alice.createPacket("A", [1]), form)
        assert alice.decryptPacket(encrypted, privateKey=private)["data"] == [1]
        assert alice.decryptPacket(encrypted, ["data"], other_identity)["data"] == [1]


def test_keys_are_kept(tmp_path: Path) -> None:
    """The key is a file in the keys folder, the same next time; the module has the function too."""
    key = coreserver.Server().createEncryptKeys()
    assert onlineUtilities.createEncryptKeys() == key
    assert onlineUtilities.Utilities().createEncryptKeys() == key
    assert (tmp_path / "keys" / "server_private.pem").exists()
    assert coreclient.Client().createEncryptKeys() != key


def test_only_the_holder_of_the_key_decrypts(tmp_path: Path) -> None:
    """Another key, a changed byte, another sender and plaintext are an `UnsealError`."""
    alice, bob = coreclient.Client(), coreserver.Server()
    packet = alice.encryptPacket(
        alice.createPacket("A", "x", asbytes=False), bob.createEncryptKeys()
    )
    public = {
        name: PublicKey.load(tmp_path / "keys" / f"{name}_public.pem")
        for name in ("client", "server")
    }
    with pytest.raises(UnsealError):
        alice.decryptPacket(dict(packet))
    middle = len(packet["data"]) // 2
    swapped = "A" if packet["data"][middle] != "A" else "B"
    changed = packet["data"][:middle] + swapped + packet["data"][middle + 1 :]
    for data in (changed, packet["data"] + "!", "plain", None, 5):
        with pytest.raises(UnsealError):
            bob.decryptPacket({**packet, "data": data})
    with pytest.raises(UnsealError):
        bob.decryptPacket(b"no packet")
    with pytest.raises(UnsealError):
        bob.decryptPacket(dict(packet), sender=public["server"])
    packets = [dict(packet) for _ in range(3)]
    assert bob.decryptPacket(packet, sender=public["client"])["data"] == "x"
    # What `createEncryptKeys` gives is an rsa.PublicKey: alone, or among others.
    ours, theirs = bob.createEncryptKeys(), alice.createEncryptKeys()
    with pytest.raises(UnsealError):
        bob.decryptPacket(dict(packets[0]), sender=ours)
    assert bob.decryptPacket(packets[0], sender=theirs)["data"] == "x"
    assert bob.decryptPacket(packets[1], sender=[ours, theirs])["data"] == "x"
    assert bob.decryptPacket(packets[2], sender=(public["client"].fingerprint,))["data"] == "x"
    with pytest.raises(ConfigError, match=r"takes an rsa\.PublicKey"):
        bob.decryptPacket(dict(packets[0]), sender=5)


def test_an_encrypted_packet_over_a_server() -> None:
    """A client seals a packet to another one; the server passes it on and cannot read it, nor does a token leak."""
    with serving() as server, connected(server) as alice, connected(server) as bob:

        class PassOn(Bind):
            def run(self, data: Any, packet: Any, socket: Any) -> None:
                relayed.append(json.dumps(packet))
                with pytest.raises(UnsealError):
                    server.decryptPacket(dict(packet))
                server.clients[bob.token].sendPacket(packet)

        relayed: list[str] = []
        letter = Note("LETTER")
        server.bindAction("LETTER", PassOn("LETTER"))
        bob.bindAction("LETTER", letter)
        alice.SendPacketForAll(
            alice.encryptPacket(alice.createPacket("LETTER", "for bob"), bob.createEncryptKeys())
        )
        until(lambda: letter.seen)
        ((_, packet, _),) = letter.seen
        assert "for bob" not in relayed[0]
        assert alice.token not in json.dumps(packet)
        assert bob.decryptPacket(packet)["data"] == "for bob"
