"""`--state FILE`: the sessions of a command that serves go on when it is started again, however it ended."""

from __future__ import annotations

import contextlib
import signal
from contextlib import closing
from pathlib import Path

import pytest
from commands import fails
from helpers import WAIT, until
from ports import free_port
from programs import Program
from together import take

from securelink import AuthorizedClients, Client, Identity, JoinTokens
from securelink.tools.console import attach

JOIN = ("-m", "securelink", "chat", "join", "--keys", "mine", "--invite-file", "invite.txt")


class Host:
    """A command that serves, started again and again on one port with one file."""

    def __init__(self, folder: Path, *command: str) -> None:
        self.folder = folder
        self.port = free_port()
        where = ("--host", "127.0.0.1", "--port", str(self.port))
        self._command = ("-m", "securelink", *command, *where, "--state", "kept.db")

    def start(self) -> Program:
        """The next one."""
        program = Program(*self._command, "--state-sync", "os", folder=self.folder)
        program.prints("Status: Ready")
        return program


@pytest.fixture
def folder(tmp_path: Path, identity: Identity) -> Path:
    """Where the host's key is made already."""
    identity.save(tmp_path / "keys", "server")
    return tmp_path


def end(program: Program, way: int) -> None:
    """End a command; it has nothing to complain of."""
    program.signals(way)
    program.ends()
    assert "Traceback" not in program.output


@pytest.mark.parametrize(
    "way", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda s: s.name
)
def test_an_echo_server_is_started_again(folder: Path, identity: Identity, way: int) -> None:
    """Its client goes on in the same session, and what it sends meanwhile comes back."""
    host = Host(folder, "serve")
    client = Client("127.0.0.1", host.port, pin=identity.fingerprint)
    told: list[str] = []
    client.on_resume(lambda replayed: told.append("resume"))
    client.on_disconnect(lambda: told.append("disconnect"))
    with host.start() as program:
        client.connect(WAIT)
        token = client.token
        client.send("echo", 1)
        assert take(client) == [1]
        end(program, way)
    client.send("echo", 2)
    with host.start(), closing(client):
        assert take(client) == [2]
        assert client.token == token
        assert told == ["resume"]


@pytest.mark.parametrize("word", ["stop", None], ids=["stop", "end of input"])
def test_only_stop_ends_the_sessions(folder: Path, identity: Identity, word: str | None) -> None:
    """At the console, too: the end of its input is that of the process only."""
    host = Host(folder, "serve", "--console")
    client = Client("127.0.0.1", host.port, pin=identity.fingerprint)
    with host.start() as program:
        program.prints("Ctrl-D stops the server and keeps the sessions; 'stop' ends them")
        client.connect(WAIT)
        if word is not None:
            program.types(f"{word}\n")
        else:
            program.ends_input()
        assert program.ends() == 0
    with host.start(), closing(client):
        until(lambda: client.ended if word is not None else client.connected)


def test_a_chat_is_started_again(folder: Path, identity: Identity) -> None:
    """People have their names and rooms, by the invite that they have; and what was said meanwhile arrives."""
    host = Host(folder, "chat", "serve")
    with contextlib.ExitStack() as started:
        program = started.enter_context(host.start())
        (folder / "invite.txt").write_text(program.prints(r"securelink://\S+")[0])
        program.prints("for 7 d; as long they can come back after a restart")
        ann = started.enter_context(Program(*JOIN, "--name", "ann", folder=folder))
        bob = started.enter_context(Program(*JOIN, "--name", "bob", folder=folder))
        ann.prints("you are ann")
        bob.prints("you are bob")
        for way in (signal.SIGKILL, signal.SIGTERM):
            end(program, way)
            program = started.enter_context(host.start())
            ann.types(f"said after {way}\n")
            bob.prints(f"ann: said after {way}")
        ann.types("/who\n")
        ann.prints("ann, bob")
        assert ann.output.count("you are ann") == 1
        other = started.enter_context(Program(*JOIN, "--name", "bob", folder=folder))
        assert other.ends() == 1
        assert "the name bob is taken" in other.output
    tokens = JoinTokens(folder / "keys/join_tokens.json").entries()
    assert [entry.state(0.0) for entry in tokens] == ["valid"] * 3


def test_an_operator_stays_attached(
    folder: Path, identity: Identity, other_identity: Identity
) -> None:
    """The log of the next process reaches an operator without another command."""
    AuthorizedClients(folder / "keys/authorized_operators").authorize(
        other_identity.fingerprint, "ann"
    )
    host = Host(folder, "serve")
    operator = Client("127.0.0.1", host.port, pin=identity.fingerprint, keys=other_identity)
    lines: list[str] = []
    with host.start() as program:
        attach(operator, WAIT).on_line(lines.append)
        end(program, signal.SIGKILL)
    lines.clear()
    with host.start(), closing(operator):
        until(lambda: lines)


def test_a_file_that_cannot_be_used_is_an_error(folder: Path) -> None:
    """In a sentence, with the exit code of a failure."""
    (folder / "kept.db").write_bytes(b"no database" * 1000)
    (folder / "kept.db").chmod(0o600)
    where = ("--host", "127.0.0.1", "--port", "0", "--keys", folder / "keys")
    assert "damaged" in fails("serve", *where, "--state", folder / "kept.db")
