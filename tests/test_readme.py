"""The README: its code runs as printed, its commands exist, its links lead somewhere."""

from __future__ import annotations

import contextlib
import re
import shlex
import socket
import textwrap
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from ports import free_port
from programs import EXAMPLES, ROOT, Program, finished

from securelink import Identity
from securelink.tools.cli import main as command
from securelink.tools.cli.keys import create_encrypt_keys_command

README = (ROOT / "README.md").read_text()


@dataclass(frozen=True)
class Block:
    """A block of code: what it is, under which heading, and what it says."""

    language: str
    section: str
    text: str


def blocks() -> list[Block]:
    """All blocks of code, in order."""
    found, section = [], ""
    for heading, language, text in re.findall(
        r"^## ([^\n]*)$|^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL
    ):
        section = heading or section
        if language:
            found.append(Block(language, section, text))
    return found


BLOCKS = blocks()
PYTHON = [block for block in BLOCKS if block.language == "python"]
#: These are programs of their own; the others are parts that need a server and a client.
WHOLE = {"", "A session in ten lines", "Two terminals"}


@pytest.fixture
def folder(tmp_path: Path, identity: Identity) -> Path:
    """A user's folder that has a server key already: making one takes longer than the rest."""
    identity.save(tmp_path / "keys", "server")
    return tmp_path


def test_it_is_short() -> None:
    """The README is read in ten minutes, and no line is wider than a terminal."""
    assert len(README.splitlines()) < 430
    assert max(map(len, README.splitlines())) <= 120


def test_links_lead_somewhere() -> None:
    """Every file that the README links to, or names with its folder, exists."""
    targets = re.findall(r"\]\(([^)#]+)\)", README) + re.findall(r"\bexamples/\w+\.py", README)
    assert len(targets) > 5
    missing = [target for target in targets if not (ROOT / target).exists()]
    assert not missing


def test_three_lines_start_a_server_and_two_connect_a_client(folder: Path) -> None:
    """The first two blocks, from two terminals, with nothing changed but the port."""
    server, client = PYTHON[0].text, PYTHON[1].text
    assert len(server.splitlines()) == 3
    assert len(client.splitlines()) == 2
    with Program("-c", server.replace("5050", "0"), folder=folder) as host:
        port = host.prints(r"Server PORT: (\d+)")[1]
        output = finished("-c", client.replace("5050", port), folder=folder)
        assert "first connection to 127.0.0.1" in output
        host.prints("connected from 127.0.0.1")
        host.interrupt()
        assert host.ends() == 0
        assert host.output.endswith("[Server INFO] Status: Shutdown\n")


def test_the_session_in_ten_lines(folder: Path) -> None:
    """It has ten lines and prints what stands below it."""
    program, output = (block for block in BLOCKS if block.section == "A session in ten lines")
    lines = [line for line in program.text.splitlines() if line]
    assert len(lines) <= 10
    printed = finished("-c", program.text, folder=folder).splitlines()
    assert [line for line in printed if not line.startswith("[")] == output.text.splitlines()


def test_the_two_terminals(folder: Path) -> None:
    """The two blocks are the two files, and the files do what the README says, with nothing changed but the port."""
    printed = [block.text for block in PYTHON if block.section == "Two terminals"]
    names = ["quickstart_server.py", "quickstart_client.py"]
    for name, text in zip(names, printed, strict=True):
        code = (EXAMPLES / name).read_text().split('"""\n', 2)[2]
        assert code.replace("\n\n\n", "\n\n").strip() == text.strip()
        assert f"`examples/{name}`" in README
        port = "0" if name == names[0] else "{port}"
        (folder / name).write_text(code.replace("5050", port))
    with Program(names[0], folder=folder) as host:
        port = host.prints(r"Server PORT: (\d+)")[1]
        client = folder / names[1]
        client.write_text(client.read_text().format(port=port))
        assert finished(client, folder=folder).endswith("\nhello\n")
        host.prints("disconnected: .*closed normally")


#: What the programs of a section print, in order, as regular expressions; servers end when the next one starts.
PRINTED = {
    "Packets and handlers": [
        "Ready",
        r"6\nthanks None\n",
        "Ready",
        r"(?s)moved: {'ada': 3}\n.*over: the server is shutting down",
        "Ready",
        r"6\n",
    ],
    "Keys and trust": ["Ready", "connected, and it is the right server"],
    "Login: tokens, passwords, your own rule": ["Ready", "Ready", r"in\n", "Ready"],
    "Sealed packets, for a recipient who is not connected": [r"see you at eight\n"],
    "Errors": [
        r"cannot connect to 127\.0\.0\.1:\d+: connection refused; nothing listens there: .*\n"
    ],
}


def test_every_block_is_a_whole_program() -> None:
    """What a reader pastes runs by itself: it imports what it uses, makes its own server or client, and is tried."""
    assert set(PRINTED) == {block.section for block in PYTHON} - WHOLE
    for block in PYTHON:
        assert "from securelink import" in block.text
        for name in ("server", "client"):
            if re.search(rf"(?<![.\w]){name}\.", block.text):
                assert re.search(
                    rf"^{name} = |\bas {name}\b|\bwith {name}\b", block.text, re.MULTILINE
                )


@pytest.mark.parametrize("section", sorted(PRINTED))
def test_the_programs_of_a_section(section: str, folder: Path) -> None:
    """As printed, in terminals of their own, with nothing changed but the port; servers start a second time, too."""
    programs = [block.text for block in PYTHON if block.section == section]
    with contextlib.ExitStack() as stack:
        unused = stack.enter_context(socket.socket())
        unused.bind(("127.0.0.1", 0))  # bound, not listening: nobody answers, nobody else takes it
        port = str(unused.getsockname()[1])
        running = stack.enter_context(contextlib.ExitStack())
        invite = ""
        for text, expected in zip(programs, PRINTED[section], strict=True):
            if "serve_forever()" not in text:
                with Program("-c", text.replace("5050", port), folder=folder) as client:
                    typed(client, text, invite)
                    assert client.ends() == 0, client.output
                assert re.search(expected, client.output), client.output
                continue
            for _ in "12":  # what a first start leaves behind must not stop the second
                running.close()
                port = str(free_port())
                server = running.enter_context(
                    Program("-c", text.replace("5050", port), folder=folder)
                )
                if not (folder / "keys" / "passwords.json").exists():
                    typed(server, text, invite)
                if "invite(" in text:
                    invite = server.prints(r"(?m)^securelink://\S+$").group(0)
                server.prints(expected)


def typed(program: Program, text: str, invite: str) -> None:
    """Answer what a program asks its user."""
    if "input(" in text:
        program.types(f"{invite}\n" if "Invite" in text else "correct horse battery\n")


def test_the_invite_enters_as_its_user(folder: Path) -> None:
    """The token server of the README admits its user once, with the program that takes an invite."""
    (host,) = (block.text for block in PYTHON if 'authenticate="tokens"' in block.text)
    (guest,) = (block.text for block in PYTHON if "Invite: " in block.text)
    host = host.replace("5050", str(free_port())).replace("print(", "server.start(); print(", 1)
    host = host.replace("server.serve_forever()", "input(); server.stop()")
    with Program("-c", host, folder=folder) as server:
        invite = server.prints(r"(?m)^securelink://127\.0\.0\.1:\d+/SHA256:\S+$").group(0)
        for enters in (True, False):
            with Program("-c", guest, folder=folder) as client:
                client.types(f"{invite}\n")
                assert (client.ends() == 0) is enters, client.output
        server.types("\n")
        assert server.ends() == 0
        assert "(ada)" in server.output


def test_the_log_lines(folder: Path) -> None:
    """A server's first lines look as printed, whatever address, port, key and folder it has."""
    (shown,) = (block.text for block in BLOCKS if block.section == "Log lines")
    with Program("-c", PYTHON[0].text.replace("5050", "0"), folder=folder) as host:
        host.prints("Status: Ready\n")
        actual = host.output.splitlines()

    def masked(line: str) -> str:
        line = re.sub(r"SHA256:[\w+/]{43}", "SHA256", line)
        return re.sub(r"(?<=IP: |RT: )[\d.]+|\(/.*/keys", "...", line)

    assert [masked(line) for line in shown.splitlines()] == [
        masked(line) for line in actual[: len(shown.splitlines())]
    ]


def test_commands_exist() -> None:
    """Every command of the README exists, with its options; every make target is one."""
    lines = [
        shlex.split(line, comments=True)
        for block in BLOCKS
        if block.language == "sh"
        for line in block.text.splitlines()
    ]
    inline = re.findall(r"`((?:securelink|python|make) [^`]+)`", README)
    for words in lines + [shlex.split(text) for text in inline]:
        check_command(words)
    assert {words[0] for words in lines} >= {"make", "securelink", "createEncryptKeys"}


def check_command(words: list[str]) -> None:
    """Fail unless there is such a command."""
    program, *arguments = words
    name = Path(program).name
    if name == "make":
        (target,) = arguments
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif name == "securelink":
        check_options(command, arguments)
    elif name == "createEncryptKeys":
        check_options(create_encrypt_keys_command, arguments)
    elif name == "python" and arguments[0] == "-m":
        main = (ROOT / arguments[1] / "__main__.py").read_text()
        assert all(f'"{option}"' in main for option in arguments[2:])
    elif name == "python":
        assert (ROOT / arguments[0]).is_file()
    else:
        assert words in (
            ["python3", "-m", "venv", ".venv"],
            [".venv/bin/pip", "install", "-e", "."],
            [".", ".venv/bin/activate"],
        )


def check_options(found: click.Command, arguments: list[str]) -> None:
    """Parse the arguments as the command would, without running it; a bare name need only exist."""
    while isinstance(found, click.Group):
        name, *arguments = arguments
        assert name in found.commands, name
        found = found.commands[name]
    if arguments:
        found.make_context(found.name, list(arguments)).close()


def test_the_other_commands_of_comments_exist() -> None:
    """ "also: list, revoke" is no promise without commands."""
    text = textwrap.dedent("\n".join(b.text for b in BLOCKS if b.language == "sh"))
    for group, others in re.findall(r"securelink (\w+) .*also: (.*)", text):
        parent = command.commands[group]
        assert isinstance(parent, click.Group)
        assert set(others.split(", ")) <= set(parent.commands)
