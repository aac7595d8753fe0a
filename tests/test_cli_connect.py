"""`securelink serve` and `securelink connect`, alone and talking to each other."""

from __future__ import annotations

import importlib
import os
import pty
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import fails, run, securelink, succeeds
from programs import ROOT, WAIT, Program

from securelink import (
    Hello,
    Identity,
    Invite,
    KnownServers,
    Packet,
    PublicKey,
    Received,
    Server,
    Session,
)
from securelink.testing import Relay
from securelink.tools.cli.connect import MAX_SHOWN, described

# The name of the module in its package is that of the command.
CONNECT = importlib.import_module("securelink.tools.cli.connect")


@pytest.fixture
def folder(tmp_path: Path, identity: Identity) -> Path:
    """Where a server runs whose key is made already."""
    identity.save(tmp_path / "keys", "server")
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    """A server in this process, with the key of `folder`; nobody has met it."""
    with Server("127.0.0.1", 0, keys=folder / "keys") as server:
        yield server


def port_of(program: Program) -> int:
    """The port that a server process prints."""
    return int(program.prints(r"Server PORT: (\d+)")[1])


def serve(folder: Path, *options: str) -> Program:
    """A server process on a free port of this machine."""
    return securelink("serve", "--host", "127.0.0.1", "--port", 0, *options, folder=folder)


def test_lines_come_back_from_the_echo_server(folder: Path, identity: Identity) -> None:
    """A line and `/echo TEXT` come back to their sender only; Ctrl-C ends the server and tells its clients."""
    with serve(folder) as server:
        port = port_of(server)
        server.prints(re.escape(f"{identity.fingerprint} ({folder}/keys/server_private.pem)"))
        server.prints(f"connect with: securelink connect 127.0.0.1 {port}")
        succeeds("keys", "trust", "localhost", port, identity.fingerprint, "--keys", folder / "c")
        to_server = ("connect", "localhost", port, "--keys", "c")
        with (
            securelink(*to_server, folder=folder) as one,
            securelink(*to_server, folder=folder) as two,
        ):
            for program in (one, two):
                program.prints(rf"connected to localhost:{port}, encrypted")
            two.types("hello there\n")
            two.prints("echo: hello there\n")
            one.types("/echo one two\n")
            one.prints("echo: one two\n")
            assert "hello" not in one.output
            two.types("exit\n")
            assert two.ends() == 0
            server.interrupt()
            assert server.ends() == 130
            assert one.ends() == 1
            one.prints("securelink: error: the session is over: the server is shutting down")
        for program in (server, one, two):
            assert "Traceback" not in program.output


def test_connect_talks_to_any_server(folder: Path, identity: Identity) -> None:
    """`--action` names the packets of plain lines, `/NAME TEXT` those of one line; a bad name is an error."""
    heard: list[tuple[str, Any]] = []
    with Server("127.0.0.1", 0, keys=identity) as server:
        for action in ("say", "jump"):
            server.on(action, lambda session, packet: heard.append((packet.action, packet.data)))
        KnownServers(folder / "c/known_servers").remember(*server.address, identity.fingerprint)
        command = ("connect", *server.address, "--keys", folder / "c", "--action", "say")
        typed = f"hello\n\n/jump 3 4\n/{'x' * 300} y\n/jump\nbye\nexit\n"
        result = run(*command, typed=typed)
    assert result.exit_code == 0, result.output
    assert "the action of a packet has 300 characters" in result.stderr
    assert heard == [("say", "hello"), ("jump", "3 4"), ("jump", ""), ("say", "bye")]


@pytest.mark.parametrize(("wait", "shown"), [((), True), (("--wait", 0.0), False)])
def test_answers_to_a_piped_input_are_shown(
    folder: Path, identity: Identity, wait: tuple[object, ...], shown: bool
) -> None:
    """They come after its end, so `connect` stays for a moment, or for as long as `--wait` says."""
    with Server("127.0.0.1", 0, keys=identity) as server:
        handled = threading.Event()

        @server.on("echo")
        def echo(session: Session, packet: Received) -> None:
            handled.set()
            time.sleep(0.3)
            session.send("echo", packet.data)

        KnownServers(folder / "c/known_servers").remember(*server.address, identity.fingerprint)
        result = run("connect", *server.address, "--keys", folder / "c", *wait, typed="hello\n")
        assert handled.wait(WAIT)
    assert result.exit_code == 0, result.output
    assert ("echo: hello" in result.stdout) == shown


def test_a_lost_connection_is_told(folder: Path, identity: Identity) -> None:
    """Who types is told when the connection is lost and when it is replaced; nothing is asked, nothing is lost."""
    with (
        Server("127.0.0.1", 0, keys=identity) as server,
        Relay("127.0.0.1", server.address[1]) as relay,
    ):
        server.on("echo", lambda session, packet: session.send("echo", packet.data))
        KnownServers(folder / "c/known_servers").remember(
            "127.0.0.1", relay.port, identity.fingerprint
        )
        to_server = ("connect", "127.0.0.1", relay.port, "--keys", "c")
        with securelink(*to_server, folder=folder) as program:
            program.prints("connected to")
            relay.cut()
            program.prints("connection lost, trying again\n")
            program.prints("back\n")
            program.types("here\n")
            program.prints("echo: here\n")
            program.types("exit\n")
            assert program.ends() == 0


def test_plaintext_is_said_on_both_sides(folder: Path) -> None:
    """With --plaintext both commands work the same, and both warn."""
    with serve(folder, "--plaintext") as server:
        server.prints(r"connect with: securelink connect 127.0.0.1 \d+ --plaintext")
        command = ("connect", "127.0.0.1", port_of(server), "--plaintext")
        with securelink(*command, folder=folder) as client:
            client.prints("in PLAINTEXT")
            client.types("/echo plain\n")
            client.prints("echo: plain")
            client.types("exit\n")
            assert client.ends() == 0
            client.prints("anyone on the path can read and change everything")
        server.prints("anyone on the path can read and change everything")


def test_an_invite_made_on_the_command_line_lets_in(folder: Path) -> None:
    """`serve --tokens`, `token create --host`, `connect INVITE`: three commands, and the user's name is known."""
    with serve(folder, "--tokens", "--console") as server:
        port = port_of(server)
        keys = re.escape(str(folder / "keys"))  # whole: another terminal may be in another folder
        server.prints(f"token create --keys {keys} --host 127.0.0.1 --port {port}")
        command = ("token", "create", "--user", "ann", "--host", "127.0.0.1", "--port", port)
        link = succeeds(*command, "--keys", folder / "keys").strip()
        with securelink("connect", link, folder=folder) as client:
            client.prints("connected to")
            server.types("list\n")
            server.prints(r"\bann\b")
            client.types("exit\n")
            assert client.ends() == 0
        errors = fails("connect", link, "--keys", folder / "c")
        assert "this join token is used up" in errors
        assert str(Invite.parse(link).token) not in errors


def test_a_person_at_a_terminal_is_asked_once(folder: Path, server: Server) -> None:
    """In a terminal an unknown key is shown before anything is sent; a yes is remembered."""
    where = ("127.0.0.1", server.address[1])
    command = [sys.executable, "-m", "securelink", "connect", *map(str, where), "--keys", "c"]
    controller, terminal = pty.openpty()
    with subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    ) as process:
        os.close(terminal)
        seen = _read_until(controller, b"[y/N]:")
        assert str(server.fingerprint).encode() in seen
        os.write(controller, b"y\n")
        _read_until(controller, b"connected to")
        os.write(controller, b"exit\n")
        assert process.wait(WAIT) == 0
    os.close(controller)
    assert KnownServers(folder / "c" / "known_servers").get(*where) == server.fingerprint


def _read_until(descriptor: int, wanted: bytes) -> bytes:
    seen = b""
    while wanted not in seen:
        seen += os.read(descriptor, 4096)
    return seen


def test_without_a_terminal_nobody_is_asked(tmp_path: Path, server: Server) -> None:
    """A script gets an error that says how to trust the key, and nothing is remembered."""
    port = server.address[1]
    errors = fails("connect", "127.0.0.1", port, "--keys", tmp_path / "c", typed="y\n")
    assert f"127.0.0.1:{port} is not known here; its key is {server.fingerprint}" in errors
    assert f"securelink keys trust 127.0.0.1 {port} {server.fingerprint}" in errors
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(("answer", "trusted"), [("y", True), ("n", False), ("", False)])
def test_the_answer_decides(
    tmp_path: Path,
    identity: Identity,
    answer: str,
    trusted: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only a yes connects; no token is sent before it, and none after a no."""
    monkeypatch.setattr(CONNECT, "can_ask", lambda: True)
    asked: list[Any] = []

    def authenticate(hello: Hello) -> str:
        asked.append(hello.credentials)
        return "ann"

    with Server("127.0.0.1", 0, keys=identity, authenticate=authenticate) as server:
        where = ("127.0.0.1", server.address[1])
        command = ("connect", *where, "--keys", tmp_path / "c", "--token", "a secret")
        result = run(*command, typed=f"{answer}\nexit\n")
    assert "Compare it with the one that the server printed" in result.stderr
    assert result.exit_code == (0 if trusted else 1)
    assert asked == ([{"token": "a secret"}] if trusted else [])
    known = KnownServers(tmp_path / "c" / "known_servers").get(*where)
    assert known == (identity.fingerprint if trusted else None)
    assert trusted or "is not trusted; nothing was sent to it" in result.stderr


def test_a_changed_key_is_never_a_question(
    tmp_path: Path, server: Server, other_identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A known server with another key is an error, also when somebody is there to say yes."""
    monkeypatch.setattr(CONNECT, "can_ask", lambda: True)
    where = ("127.0.0.1", server.address[1])
    known = KnownServers(tmp_path / "c" / "known_servers")
    known.path.parent.mkdir()
    known.remember(*where, other_identity.fingerprint)
    errors = fails("connect", *where, "--keys", tmp_path / "c", typed="y\n")
    assert "HAS CHANGED" in errors
    assert f"securelink keys forget 127.0.0.1 {where[1]}" in errors
    assert known.get(*where) == other_identity.fingerprint


def test_the_key_of_the_client_is_shown_if_there_is_one(
    tmp_path: Path, identity: Identity, other_identity: Identity
) -> None:
    """`keys create --name client`, `keys authorize`, `serve --client-keys known`: the known key enters."""
    other_identity.save(tmp_path, "client")
    command = ("keys", "authorize", tmp_path / "client_public.pem", "--as", "ann")
    succeeds(*command, "--keys", tmp_path)
    identity.save(tmp_path, "server")
    with Server("127.0.0.1", 0, keys=tmp_path, client_keys="known") as server:
        where = ("127.0.0.1", server.address[1])
        KnownServers(tmp_path / "known_servers").remember(*where, identity.fingerprint)
        succeeds("connect", *where, "--keys", tmp_path, typed="exit\n")
        (tmp_path / "client_private.pem").unlink()
        errors = fails("connect", *where, "--keys", tmp_path, typed="exit\n")
        assert "the server wants a client key" in errors


def test_an_encrypted_client_key_is_asked_for(tmp_path: Path, identity: Identity) -> None:
    """Without --passphrase the hint says so."""
    identity.save(tmp_path, "client", "open sesame")
    errors = fails("connect", "127.0.0.1", 9, "--keys", tmp_path)
    assert "hint: add --passphrase" in errors
    errors = fails(
        "connect", "127.0.0.1", 9, "--keys", tmp_path, "--passphrase", typed="open sesame\n"
    )
    assert "cannot connect to 127.0.0.1:9" in errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["localhost"], "the port is missing"),
        (["localhost", "99999"], "99999 is not in the range"),
        (["securelink://a:1/?key=SHA256:x", "1"], "an invite already says the port"),
        (["securelink://a:1/?key=SHA256:x", "--plaintext"], "an invite is for encrypted sessions"),
        (["securelink://a:1/SHA256:x", "--plaintext"], "an invite is for encrypted sessions"),
        (["localhost", "1", "--timeout", "0"], "0.0 is not in the range"),
    ],
)
def test_connect_explains_misuse(arguments: list[str], words: str) -> None:
    """What contradicts itself is refused before anything is sent."""
    assert words in fails("connect", *arguments, code=2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["127.0.0.1", "9"], "hint: nothing listens there"),
        (["no-such-host.invalid", "5050"], "the name 'no-such-host.invalid' is not known here"),
        (["securelink://a:1/?key=SHA256:x"], "the key of the invite is not a whole one"),
        (["https://a:1/"], "an invite begins with securelink://"),
    ],
)
def test_connect_explains_what_fails(tmp_path: Path, arguments: list[str], words: str) -> None:
    """A closed port, an unknown name, a torn invite: a sentence each, and exit code 1."""
    assert words in fails("connect", *arguments, "--keys", tmp_path)


def test_an_invite_that_lost_its_token_says_so(folder: Path) -> None:
    """What a shell cut off at `&` is asked back."""
    with Server("127.0.0.1", 0, keys=folder / "keys", authenticate="tokens") as server:
        link = server.invite()
        base, key, _ = link.rsplit("/", 2)
        for torn in (f"{base}/?key={key}", f"{base}/{key}"):
            errors = fails("connect", torn, "--keys", folder / "c")
            assert "hint: the invite has a key and no token: was it in quotes?" in errors
        KnownServers(folder / "c/known_servers").remember(*server.address, str(server.fingerprint))
        errors = fails("connect", *server.address, "--keys", folder / "c")
        assert "hint: ask its operator for an invite" in errors
        # One that is whole and refused is not asked about quotes.
        wrong = str(
            Invite(*server.address, str(server.fingerprint), "3d6f4f9e-8f5c-4f0e-9d39-0c8f6f2f7a11")
        )
        assert "quotes" not in fails("connect", wrong, "--keys", folder / "c")


def test_serve_explains_misuse(tmp_path: Path) -> None:
    """Contradicting options, and client keys without encryption."""
    command = ("serve", "--plaintext", "--encryption", "required")
    assert "--plaintext contradicts --encryption required" in fails(*command, code=2)
    keys = ("--client-keys", "known", "--keys", tmp_path)
    assert "needs encryption" in fails("serve", "--plaintext", *keys)


def test_serve_explains_a_port_in_use(folder: Path, server: Server) -> None:
    """The error names the port, the hint says what to do."""
    port = server.address[1]
    command = ("serve", "--host", "127.0.0.1", "--port", port, "--keys", folder / "keys")
    errors = fails(*command)
    assert f"error: cannot listen on 127.0.0.1:{port}: address already in use\n" in errors
    assert "hint: this very program has the port" in errors  # the server of this test
    errors = fails("serve", "--host", "192.0.2.77", "--port", 0, "--keys", folder / "keys")
    assert "hint: that is no address of this machine; leave --host out" in errors


def test_serve_explains_a_key_that_others_can_read(folder: Path) -> None:
    """The hint is the command that mends it."""
    (folder / "keys/server_private.pem").chmod(0o644)
    assert "hint: run: chmod 600" in fails("serve", "--port", 0, "--keys", folder / "keys")


def test_serve_makes_a_key_on_the_first_start(tmp_path: Path) -> None:
    """A beginner starts it in an empty folder; the key is there, and its fingerprint printed."""
    with serve(tmp_path) as server:
        shown = server.prints(r"Key: (SHA256:\S{43}) \((\S+)\)")
        assert shown[1] == PublicKey.load(tmp_path / "keys/server_public.pem").fingerprint
        assert shown[2] == str(tmp_path / "keys/server_private.pem")


@pytest.mark.parametrize(
    ("action", "data", "line"),
    [
        ("said", "hi", "said: hi"),
        ("said", "\x1b[2J\n", r"said: \x1b[2J\n"),
        ("left", ["\x07"], r"left: ['\x07']"),
        ("\x1b]0;x\x07", None, r"\x1b]0;x\x07: None"),
        ("notice", "x\n" * 2500, "notice: " + ("x\\n" * MAX_SHOWN)[: MAX_SHOWN - 8] + "..."),
        ("echo", "x" * 5000, "echo: " + "x" * (MAX_SHOWN - 6) + "..."),
    ],
)
def test_what_others_send_is_harmless_in_a_terminal(action: str, data: Any, line: str) -> None:
    """Whatever a server sends becomes one line without control characters."""
    assert described(Received(Packet(action, data), None)) == line


def test_a_client_that_is_not_known_is_told_the_command(
    tmp_path: Path, identity: Identity, other_identity: Identity
) -> None:
    """With its fingerprint, so that it can be sent to the operator as it is."""
    identity.save(tmp_path / "server", "server")
    other_identity.save(tmp_path / "mine", "client")
    with Server("127.0.0.1", 0, keys=tmp_path / "server", client_keys="known") as server:
        KnownServers(tmp_path / "mine/known_servers").remember(
            *server.address, identity.fingerprint
        )
        errors = fails("connect", *server.address, "--keys", tmp_path / "mine")
    assert f"securelink keys authorize {other_identity.fingerprint} --as NAME" in errors


def test_another_application_is_told_the_options(tmp_path: Path, identity: Identity) -> None:
    """And where a chat is entered."""
    with Server("127.0.0.1", 0, keys=identity, application="securelink chat") as server:
        KnownServers(tmp_path / "known_servers").remember(*server.address, identity.fingerprint)
        errors = fails("connect", *server.address, "--keys", tmp_path)
    assert "hint: say --application and --app-version as the server does" in errors
    assert "securelink chat join" in errors


def test_host_and_port_in_one_word(tmp_path: Path) -> None:
    """As people write them: with a colon, IPv6 in brackets."""
    for place in ("127.0.0.1:9", "[::1]:9", "localhost:9"):
        assert f"cannot connect to {place}" in fails("connect", place, "--keys", tmp_path)
    for wrong in ("::1:9", "127.0.0.1:", ":9", "127.0.0.1:99999", "a:b:9"):
        assert "the port is missing" in fails("connect", wrong, code=2)


def test_a_run_that_was_killed_goes_on(folder: Path, server: Server) -> None:
    """`--session`: the next run is in the same session, gets what came meanwhile, and ends it by `exit`."""
    server.on("echo", lambda session, packet: session.send("echo", packet.data))
    assert server.fingerprint is not None
    port = server.address[1]
    succeeds("keys", "trust", "127.0.0.1", port, server.fingerprint, "--keys", folder / "c")
    arguments = ("connect", "127.0.0.1", port, "--keys", "c", "--session", "mine")
    with securelink(*arguments, folder=folder) as program:
        program.prints("connected to")
        program.types("one\n")
        program.prints("echo: one")
        program.signals(9)
        program.ends()
    (session,) = server.sessions.values()
    session.send("news", "meanwhile")
    with securelink(*arguments, folder=folder) as program:
        program.prints("the session of an earlier run goes on")
        program.prints("news: meanwhile")
        program.types("two\n")
        program.prints("echo: two")
        program.types("exit\n")
        assert program.ends() == 0
    assert not (folder / "mine").exists()
