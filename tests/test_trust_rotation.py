"""`securelink keys rotate`: the server's key changes, and clients that knew the old one follow once."""

from __future__ import annotations

import base64
import errno
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest
from commands import fails, succeeds
from helpers import failure

from securelink import (
    Client,
    ConfigError,
    Identity,
    KeyFileError,
    KnownServers,
    NotTrusted,
    Refused,
    Server,
)
from securelink.app.own_key import OwnKey
from securelink.keys import PublicKey
from securelink.keys.succession import Statement
from securelink.trust.rotation import Rotated, load_statements, rotate, statements_path

pytestmark = pytest.mark.usefixtures("tidy")

Failing = Callable[[int], Callable[..., NoReturn]]
KNOWN = "known"
GENERATE = Identity.generate


@pytest.fixture
def first(identity: Identity) -> Identity:
    """The key of a server in `keys/`."""
    identity.save("keys", "server")
    return identity


@pytest.fixture(autouse=True)
def _fast(key_pool: list[Identity], monkeypatch: pytest.MonkeyPatch) -> None:
    """New keys are there at once, in turn."""
    fresh = iter(key_pool[1:])
    monkeypatch.setattr("securelink.trust.rotation.Identity.generate", lambda bits: next(fresh))


def current() -> Identity:
    """The server's key on disk."""
    return Identity.load("keys/server_private.pem")


def meet(server: Server, **options: object) -> str | None:
    """Connect as a client that keeps what it knows; the key it met."""
    with Client("127.0.0.1", server.address[1], known_servers=KNOWN, **options) as client:  # type: ignore[arg-type]
        return client.server_fingerprint


def known(port: int) -> str | None:
    """The key that the client knows."""
    return KnownServers(KNOWN).get("127.0.0.1", port)


def test_the_files(first: Identity) -> None:
    """The new key has the name of the old one; the old one stays, private, under another name."""
    done = rotate("keys", bits=2048)
    assert done.old == first.public
    assert current().public == done.new != first.public
    assert PublicKey.load("keys/server_public.pem") == done.new
    assert Identity.load(done.kept).public == first.public
    assert done.kept.stat().st_mode & 0o777 == 0o600
    assert not [
        name
        for name in os.listdir("keys")
        if name.endswith(".tmp") or (name.count(".") > 1 and name[0] == ".")
    ]
    (statement,) = load_statements("keys", "server", done.new)
    assert statement.old == first.public.spki
    assert statement.expires == done.expires
    assert b"PRIVATE" not in statements_path("keys", "server").read_bytes()


def test_clients_follow_once(first: Identity, caplog: pytest.LogCaptureFixture) -> None:
    """Who knew the old key knows the new one afterwards, with one line in the log; nothing else is needed."""
    server = Server("127.0.0.1", 0)
    with server:
        port = server.address[1]
        assert meet(server) == first.fingerprint
    rotate("keys", bits=2048)
    with Server("127.0.0.1", port) as server:
        for trust in (None, "known"):
            assert meet(server, trust=trust) == current().fingerprint
        assert known(port) == current().fingerprint
    lines = [
        line
        for line in caplog.messages
        if "has a new key, signed by the one that was known" in line
    ]
    assert len(lines) == 1
    assert first.fingerprint in lines[0]
    assert current().fingerprint in lines[0]
    # Back to the old key is no rotation.
    with Server("127.0.0.1", port, keys=first) as server:
        failure(NotTrusted, lambda: meet(server), "HAS CHANGED")
    assert known(port) == current().fingerprint


def test_credentials_go_to_the_new_key(first: Identity) -> None:
    """Following is trusting: a client with a password enters as before."""
    seen = []

    def authenticate(hello: object) -> str:
        seen.append(hello)
        return "ada"

    with Server("127.0.0.1", 0) as server:
        port = server.address[1]
        meet(server)
    rotate("keys", bits=2048)
    with Server("127.0.0.1", port, authenticate=authenticate) as server:
        meet(server, credentials="secret", trust="known")
    assert len(seen) == 1


def test_a_server_object_that_starts_again(first: Identity) -> None:
    """The new key is used from the next start on, also of the same object."""
    server = Server("127.0.0.1", 0)
    with server:
        rotate("keys", bits=2048)
        assert meet(server) == first.fingerprint
    with server:
        assert server.fingerprint == current().fingerprint != first.fingerprint


def test_who_missed_one_follows_over_two(first: Identity) -> None:
    """A client that was away during two rotations follows both, with any of the keys between as well."""
    with Server("127.0.0.1", 0) as server:
        port = server.address[1]
        meet(server)
    middle = rotate("keys", bits=2048).new
    newest = rotate("keys", bits=2048).new
    with Server("127.0.0.1", port) as server:
        assert meet(server) == newest.fingerprint
        KnownServers(KNOWN).forget("127.0.0.1", port)
        KnownServers(KNOWN).remember("127.0.0.1", port, middle.fingerprint)
        assert meet(server) == newest.fingerprint


def test_a_pin_is_exact(first: Identity) -> None:
    """A pin and an invite do not follow; the error says that the pinned key has signed the new one."""
    with Server("127.0.0.1", 0) as server:
        port, invite = server.address[1], server.invite()
    rotate("keys", bits=2048)
    with Server("127.0.0.1", port) as server:
        for client in (
            Client("127.0.0.1", port, pin=first.fingerprint, known_servers=KNOWN),
            Client(invite, known_servers=KNOWN),
        ):
            error = failure(NotTrusted, client.connect, "not the pinned", "has signed this one")
            assert error.fingerprint == server.fingerprint


def test_without_a_statement_nobody_follows(
    first: Identity, other_identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new key that the old one did not sign, or not any more, is a changed key."""
    with Server("127.0.0.1", 0) as server:
        port = server.address[1]
        meet(server)
    done = rotate("keys", bits=2048, lifetime=1000)
    path = statements_path("keys", "server")
    content = path.read_bytes()
    impostor = Statement.sign(other_identity, done.new, done.expires)
    for other in (b"", content.replace(b'"expires":1', b'"expires":2')):
        path.write_bytes(other)
        with Server("127.0.0.1", port) as server:
            failure(NotTrusted, lambda server=server: meet(server), "HAS CHANGED")  # type: ignore[misc]
    path.write_bytes(content)
    with monkeypatch.context() as patch:
        patch.setattr(OwnKey, "succession", lambda key: impostor.encode())
        with Server("127.0.0.1", port) as server:
            failure(NotTrusted, lambda: meet(server), "HAS CHANGED")
    assert known(port) == first.fingerprint
    with Server("127.0.0.1", port) as server:
        assert meet(server) == done.new.fingerprint


def test_a_failed_attempt_moves_nobody(first: Identity) -> None:
    """The new key is written down after WELCOME only."""
    with Server("127.0.0.1", 0) as server:
        port = server.address[1]
        meet(server)
    rotate("keys", bits=2048)
    with Server("127.0.0.1", port, authenticate=lambda hello: None) as server:
        failure(Refused, lambda: meet(server), "did not accept")
    assert known(port) == first.fingerprint


def test_a_third_key_in_between(first: Identity, other_identity: Identity) -> None:
    """If the entry has changed since the client looked, its session ends and the entry stays."""
    with Server("127.0.0.1", 0) as server:
        port = server.address[1]
        meet(server)
    rotate("keys", bits=2048)

    def overtake(hello: object) -> str:
        KnownServers(KNOWN).forget("127.0.0.1", port)
        KnownServers(KNOWN).remember("127.0.0.1", port, "SHA256:" + "A" * 43)
        return "ada"

    with Server("127.0.0.1", port, authenticate=overtake) as server:
        failure(NotTrusted, lambda: meet(server), "HAS CHANGED")
    assert known(port) == "SHA256:" + "A" * 43


@pytest.mark.parametrize("step", ["os.link", "os.replace"])
def test_a_rotation_that_fails_leaves_the_old_key(
    first: Identity, monkeypatch: pytest.MonkeyPatch, failing: Failing, step: str
) -> None:
    """On a full disk the server goes on with its old key, nothing half done is shown, and it can be tried again."""
    with monkeypatch.context() as patch:
        if step == "os.link":
            patch.setattr("securelink.keys.files.os.link", failing(errno.ENOSPC))
            patch.setattr("securelink.keys.files._write_exclusively", failing(errno.ENOSPC))
        else:
            patch.setattr("securelink.trust.rotation.os.replace", failing(errno.ENOSPC))
        failure(KeyFileError, lambda: rotate("keys", bits=2048), "the disk is full")
    assert current().public == first.public
    assert not [name for name in os.listdir("keys") if name[0] == "." and name != ".gitignore"]
    with Server("127.0.0.1", 0) as server:
        assert meet(server) == first.fingerprint
    done = rotate("keys", bits=2048)
    assert current().public == done.new
    assert len(load_statements("keys", "server", done.new)) == 1


def test_what_is_damaged_is_said(first: Identity) -> None:
    """A damaged file stops the server; what cannot be rotated is an error that changes nothing."""
    for lifetime in (0, 400 * 86_400.0, float("nan")):
        with pytest.raises(ConfigError, match="clients may follow"):
            rotate("keys", bits=2048, lifetime=lifetime)
    failure(KeyFileError, lambda: rotate("nowhere"), "does not exist")
    statements_path("keys", "server").write_text("[")
    statements_path("keys", "server").chmod(0o600)
    failure(KeyFileError, Server("127.0.0.1", 0).start, "server_rotation.json is damaged")
    failure(KeyFileError, lambda: rotate("keys"), "server_rotation.json is damaged")
    assert current().public == first.public
    old = base64.b64encode(bytes(300)).decode()
    for expires in (-1, 2**63, 2**64):
        entry = {"old": old, "expires": expires, "signature": old}
        statements_path("keys", "server").write_text(json.dumps([entry]))
        failure(KeyFileError, Server("127.0.0.1", 0).start, "server_rotation.json is damaged")


def test_one_rotation_at_a_time(first: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of rotations that run at once some fail; each that reports a new key has put it into the file."""
    monkeypatch.setattr("securelink.trust.rotation.Identity.generate", GENERATE)
    for _ in range(2):
        with ThreadPoolExecutor(3) as pool:
            outcomes = list(pool.map(lambda _: attempt(), range(3)))
        done = [outcome for outcome in outcomes if isinstance(outcome, Rotated)]
        kept = {Identity.load(path).public for path in Path("keys").glob("server*_private.pem")}
        assert done
        assert {rotated.new for rotated in done} <= kept
        assert all(isinstance(outcome, Rotated | KeyFileError) for outcome in outcomes)


def attempt() -> Rotated | KeyFileError:
    """One rotation, or its error."""
    try:
        return rotate("keys", bits=2048)
    except KeyFileError as error:
        return error


def test_warnings(first: Identity, caplog: pytest.LogCaptureFixture) -> None:
    """A server warns of a key of more than two years, and when the time in which clients may follow is nearly over."""
    old = time.time() - 800 * 86_400
    with Server("127.0.0.1", 0):
        assert "days old" not in caplog.text
    os.utime("keys/server_private.pem", (old, old))
    with Server("127.0.0.1", 0):
        assert (
            "the server's key is 800 days old; 'securelink keys rotate' replaces it" in caplog.text
        )
    rotate("keys", bits=2048)
    caplog.clear()
    with Server("127.0.0.1", 0):
        assert "days old" not in caplog.text
        assert "can follow" not in caplog.text
    rotate("keys", "server", bits=2048, lifetime=3600)
    with Server("127.0.0.1", 0):
        assert (
            "clients that know only the server's former key can follow to the new one until"
            in caplog.text
        )


def test_the_command(first: Identity) -> None:
    """`securelink keys rotate` says what it did; what it cannot do is an error as of any command."""
    text = succeeds("keys", "rotate", "--bits", 2048, "--follow", "7d")
    assert f"old key      {first.fingerprint}  ({Path('keys').absolute()}/server-old-" in text
    assert f"new key      {current().fingerprint}" in text
    assert "restart the server" in text
    assert "does not exist" in fails("keys", "rotate", "--name", "nobody")
    assert "clients may follow" in fails("keys", "rotate", "--follow", "60w")
    assert "server-old-" in succeeds("keys", "list")
