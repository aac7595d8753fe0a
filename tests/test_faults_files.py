"""Key files, trust files and token files that cannot be used: what server and client say, and that the hints work."""

from __future__ import annotations

import errno
import logging
import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from helpers import echo, failure, scene, until

from securelink import (
    AuthorizedClients,
    Client,
    HandshakeError,
    Identity,
    JoinTokens,
    KeyFileError,
    KnownServers,
    NotTrusted,
    Refused,
    Server,
)
from securelink.codes import Code
from securelink.tools.cli import main

pytestmark = pytest.mark.usefixtures("tidy")

Failing = Callable[[int], Callable[..., NoReturn]]
WRITE = "securelink.keys.files.os.write"
ROOM = "free some space and try again; nothing was changed"


def obey(hint: str) -> None:
    """Run the command that a hint ends with, as its reader would."""
    command, *words = shlex.split(hint.rpartition("run: ")[2])
    if command == "securelink":
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0
    else:
        subprocess.run([command, *words], check=True, timeout=120)


def files() -> list[str]:
    """Everything in the folder of the test."""
    beside = (".lock", ".gitignore")
    return sorted(str(path) for path in Path().rglob("*") if not path.name.endswith(beside))


# --- a full disk ----------------------------------------------------------------------------------------


def test_a_server_cannot_make_its_key(monkeypatch: pytest.MonkeyPatch, failing: Failing) -> None:
    """On a full disk a server does not start, says why, and leaves neither half a key nor a port taken."""
    server = Server("127.0.0.1", 0)
    with monkeypatch.context() as patch:
        patch.setattr(WRITE, failing(errno.ENOSPC))
        error = failure(KeyFileError, server.start, "cannot create .*the disk is full", ROOM)
    assert str(Path("keys/server_private.pem").absolute()) in error.message
    assert files() == ["keys"]
    assert not server.running
    with server, Client(server.invite()) as client:
        server.on("echo", lambda session, packet: session.send("echo", packet.data))
        assert echo(client, "there is room again")


def test_a_client_cannot_make_its_key(monkeypatch: pytest.MonkeyPatch, failing: Failing) -> None:
    """So it is with a client that is to show a key."""
    monkeypatch.setattr(WRITE, failing(errno.EDQUOT))
    error = failure(
        KeyFileError, lambda: Client("127.0.0.1", 5050, keys="mine"), "disk quota is used up", ROOM
    )
    assert "client_private.pem" in error.message
    assert files() == ["mine"]


def test_a_first_use_cannot_be_written_down(
    identity: Identity,
    monkeypatch: pytest.MonkeyPatch,
    failing: Failing,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A session that works is not given up because the server's key could not be remembered; the log warns."""
    with scene(identity) as stage:
        with monkeypatch.context() as patch:
            patch.setattr(WRITE, failing(errno.ENOSPC))
            with Client("127.0.0.1", stage.port) as client:
                assert echo(client, 1)
        assert "home/known_servers" not in files()
        assert f"the key of 127.0.0.1:{stage.port} could not be written down" in caplog.text
        assert f"the disk is full; {ROOM}" in caplog.text
        with Client("127.0.0.1", stage.port) as client:
            assert echo(client, 2)
        assert KnownServers("home/known_servers").entries()


def test_the_use_of_a_token_cannot_be_written_down(
    identity: Identity,
    monkeypatch: pytest.MonkeyPatch,
    failing: Failing,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A use that cannot be counted is no use: the client is refused, the log says why, the token stays good."""
    tokens = JoinTokens("keys/join_tokens.json")
    first, second = tokens.create("ada"), tokens.create("bob")
    with scene(identity, authenticate=tokens, neighbour={"token": first}) as stage:
        client = stage.client(token=second)
        with monkeypatch.context() as patch:
            patch.setattr(WRITE, failing(errno.ENOSPC))
            failure(KeyFileError, lambda: stage.server.create_token("eve"), "disk is full", ROOM)
            failure(Refused, client.connect, "the server could not check the credentials")
        assert "join_tokens.json: the disk is full" in caplog.text
        with client:
            assert echo(client, 1)


# --- private keys --------------------------------------------------------------------------------------------


def test_a_key_that_others_can_read_is_refused(identity: Identity) -> None:
    """A server does not use a key that others may have copied; the command in the error makes it usable."""
    path, _ = identity.save("keys", "server")
    path.chmod(0o644)
    server = Server("127.0.0.1", 0)
    error = failure(
        KeyFileError,
        server.start,
        "other users can read .*server_private.pem .mode 0644",
        "chmod 600",
    )
    obey(error.hint)
    with server:
        assert server.fingerprint == identity.fingerprint


def test_a_client_key_that_others_can_read_is_refused(identity: Identity) -> None:
    """Nor does a client."""
    path, _ = identity.save("my keys", "client")
    path.chmod(0o640)
    error = failure(
        KeyFileError,
        lambda: Client("127.0.0.1", 5050, keys="my keys"),
        "read .*mode 0640",
        "chmod 600 '",
    )
    obey(error.hint)
    Client("127.0.0.1", 5050, keys="my keys")


@pytest.mark.parametrize(
    ("code", "says", "hint"),
    [
        (errno.EACCES, "cannot .*: permission denied", "run as the user who owns it"),
        (errno.EIO, "cannot .*: Input/output error", ""),
    ],
)
def test_a_key_that_cannot_be_read_is_named(
    code: int,
    says: str,
    hint: str,
    identity: Identity,
    monkeypatch: pytest.MonkeyPatch,
    failing: Failing,
) -> None:
    """An unreadable key is an error, never a reason to make another one."""
    path, _ = identity.save("keys", "server")
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("securelink.keys.files.os.open", failing(code))
        error = failure(KeyFileError, Server("127.0.0.1", 0).start, says, hint)
        assert str(path) in error.message
    assert path.read_bytes() == before
    assert files() == ["keys", "keys/server_private.pem", "keys/server_public.pem"]


@pytest.mark.parametrize(
    ("damage", "says", "hint"),
    [
        (lambda data: b"", "server_private.pem is damaged", "backup"),
        (lambda data: data[:200], "server_private.pem is damaged", "backup"),
        (
            lambda data: b"-----BEGIN CERTIFICATE-----\n",
            "is damaged, or not a private key",
            "backup",
        ),
        (lambda data: b"x" * 70_000, "larger than 65536 bytes", "wrong file"),
    ],
    ids=["empty", "cut", "another kind", "huge"],
)
def test_a_damaged_key_is_named(
    damage: Callable[[bytes], bytes], says: str, hint: str, identity: Identity
) -> None:
    """A damaged key is an error, never a reason to make another one."""
    path, _ = identity.save("keys", "server")
    path.write_bytes(damaged := damage(path.read_bytes()))
    failure(KeyFileError, Server("127.0.0.1", 0).start, says, hint)
    assert path.read_bytes() == damaged


def test_half_a_key_pair_is_no_first_start(identity: Identity) -> None:
    """A public key whose private key is gone is not replaced by a new pair: clients know that key."""
    path, _ = identity.save("keys", "server")
    path.unlink()
    failure(
        KeyFileError, Server("127.0.0.1", 0).start, "private key server_private.pem is missing",
        "put the private key back",
    )  # fmt: skip
    assert files() == ["keys", "keys/server_public.pem"]


def test_a_keys_folder_that_is_a_file_is_named() -> None:
    """A file in the place of the folder is named."""
    Path("keys").write_text("")
    failure(KeyFileError, Server("127.0.0.1", 0).start, "keys", "name a folder|check the path")


# --- known_servers ----------------------------------------------------------------------------------------


def test_a_changed_key_is_an_alarm_until_its_command_is_run(
    identity: Identity, other_identity: Identity
) -> None:
    """A server with another key than before is refused, by name of both; the command in the error lets it in."""
    with scene(identity) as stage:
        KnownServers("home/known_servers").remember(
            "127.0.0.1", stage.port, other_identity.fingerprint
        )
        client = Client("127.0.0.1", stage.port, token="11111111-1111-4111-8111-111111111111")
        error = failure(
            NotTrusted, client.connect, f"THE KEY OF 127.0.0.1:{stage.port} HAS CHANGED",
            "if you started this one in another folder, that is all; "
            "otherwise somebody may be in between; if the operator confirms a new key, run: ",
        )  # fmt: skip
        assert (error.fingerprint, error.expected) == (
            identity.fingerprint, other_identity.fingerprint,
        )  # fmt: skip
        assert identity.fingerprint in error.message
        assert other_identity.fingerprint in error.message
        assert error.code == Code.NOT_TRUSTED
        obey(error.hint)
        with client:
            assert echo(client, 1)


def test_the_command_names_the_folder_of_keys(identity: Identity, other_identity: Identity) -> None:
    """A client whose keys are elsewhere gets a command that works there."""
    with scene(identity) as stage:
        folder = Path("of another game")
        KnownServers(folder / "known_servers").remember(
            "127.0.0.1", stage.port, other_identity.fingerprint
        )
        other_identity.save(folder, "client")
        client = Client("127.0.0.1", stage.port, keys=folder)
        error = failure(NotTrusted, client.connect, "HAS CHANGED", "--keys '.*of another game'")
        obey(error.hint)
        with client:
            assert echo(client, 1)


def test_an_unknown_server_is_let_in_by_the_command(identity: Identity) -> None:
    """With trust="known" the error has the fingerprint, and the command that trusts it."""
    with scene(identity) as stage:
        client = Client("127.0.0.1", stage.port, trust="known")
        error = failure(NotTrusted, client.connect, "not known here", "check the fingerprint with")
        obey(error.hint)
        with client:
            assert echo(client, 1)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"nonsense", ""),
        (b"localhost 5050", ""),
        (b"localhost 5050 SHA256:short", ""),
        (b"localhost 99999 SHA256:" + b"A" * 43, "port"),
        (b"\xff\xfe", "not UTF-8"),
        (b"\x00" * 10, ""),
    ],
)
def test_damaged_known_servers_are_never_a_first_use(
    line: bytes, says: str, identity: Identity
) -> None:
    """A line that cannot be read stops every connection, names itself, and stays; deleting it is enough."""
    path = Path("home/known_servers")
    with scene(identity) as stage:
        KnownServers(path).remember("example.org", 5050, identity.fingerprint)
        good = path.read_bytes()
        path.write_bytes(good + line + b"\n")
        number = len(good.splitlines()) + 1
        client = Client("127.0.0.1", stage.port)
        failure(
            KeyFileError, client.connect, f"known_servers:{number}: .*{says}",
            "correct or delete that line; until then this file is not used",
        )  # fmt: skip
        assert path.read_bytes() == good + line + b"\n"
        path.write_bytes(good)
        with client:
            assert echo(client, 1)
        assert len(KnownServers(path).entries()) == 2


def test_known_servers_that_others_can_change_are_not_believed(identity: Identity) -> None:
    """A trust file that everybody may write is refused with the command that mends it."""
    path = Path("home/known_servers")
    with scene(identity) as stage:
        KnownServers(path).remember("127.0.0.1", stage.port, identity.fingerprint)
        path.chmod(0o622)
        client = Client("127.0.0.1", stage.port)
        error = failure(KeyFileError, client.connect, "other users can change", "chmod 600")
        obey(error.hint)
        with client:
            assert echo(client, 1)


# --- files of a running server -----------------------------------------------------------------------------


def test_damaged_authorized_clients_let_nobody_in(
    identity: Identity, other_identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """A list of clients that cannot be read is an error of the server: its log names the line, the client knows."""
    path = Path("keys/authorized_clients")
    AuthorizedClients(path).authorize(other_identity.fingerprint, "ada")
    good = path.read_text()
    with scene(identity, client_keys="known", neighbour={"keys": other_identity}) as stage:
        path.write_text(good + "SHA256:damaged eve\n")
        client = stage.client(keys=other_identity)
        error = failure(HandshakeError, client.connect, "the peer had an internal error", "log")
        assert error.code == Code.INTERNAL
        until(stage.alone)
        path.write_text(good)
        with client:
            assert echo(client, 1)
    (record,) = [r for r in caplog.records if "authorized_clients:3: " in r.getMessage()]
    assert record.levelno >= logging.WARNING
    assert "correct or delete that line" in record.getMessage()


def test_damaged_join_tokens_let_nobody_in(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """So it is with tokens: nobody enters, the server's own program gets the error, nothing is overwritten."""
    path = Path("keys/join_tokens.json")
    tokens = JoinTokens(path)
    first, second = tokens.create("ada"), tokens.create("bob")
    good = path.read_bytes()
    with scene(identity, authenticate=tokens, neighbour={"token": first}) as stage:
        path.write_bytes(used := path.read_bytes()[:-20])
        client = stage.client(token=second)
        failure(Refused, client.connect, "the server could not check the credentials")
        failure(
            KeyFileError, stage.server.create_token, "join_tokens.json", "backup|restore|delete"
        )
        assert path.read_bytes() == used
        path.write_bytes(good)
        with client:
            assert echo(client, 1)
    assert re.search(r"authenticate raised an error.*\n(.*\n)*.*join_tokens\.json", caplog.text)


def test_a_folder_that_cannot_be_written_is_named(
    identity: Identity, monkeypatch: pytest.MonkeyPatch, failing: Failing
) -> None:
    """A read-only medium: a server that has its key runs, one that has none says what it lacks."""
    with monkeypatch.context() as patch:
        patch.setattr("securelink.keys.files.Path.mkdir", failing(errno.EROFS))
        failure(
            KeyFileError, Server("127.0.0.1", 0).start, "cannot create the folder .*read-only",
            "choose another folder",
        )  # fmt: skip
        with Server("127.0.0.1", 0, keys=identity) as server:
            assert server.running
    assert os.listdir() == []
