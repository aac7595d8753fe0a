"""`securelink chat serve` and `chat join`, as a host and friends have them in terminals."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import fails
from helpers import until
from ports import free_port
from programs import Program
from terminal import Terminal

from securelink import Identity, Invite, JoinTokens

JOIN = ("-m", "securelink", "chat", "join", "--keys", "mine")
SERVE = ("-m", "securelink", "chat", "serve", "--host", "127.0.0.1", "--port", "0")


@pytest.fixture
def folder(tmp_path: Path, identity: Identity) -> Path:
    """Where the host's key is made already."""
    identity.save(tmp_path / "keys", "server")
    return tmp_path


@pytest.fixture
def host(folder: Path) -> Iterator[Program]:
    """A chat in a process of its own, with the operator's console on a pipe."""
    with Program(*SERVE, "--console", folder=folder) as program:
        yield program


def invite_of(program: Program) -> str:
    """The invite that a host prints."""
    return program.prints(r"securelink://\S+")[0]


def states(folder: Path) -> list[str]:
    """Of the join tokens, the oldest first."""
    path = folder / "keys/join_tokens.json"
    return [entry.state(0.0) for entry in JoinTokens(path).entries()]


def test_friends_paste_the_invite_when_asked(host: Program, folder: Path) -> None:
    """It is on no command line; the token is in no list of processes; what is typed next is said."""
    link = invite_of(host)
    with Program(*JOIN, "--name", "ann", folder=folder) as ann:
        ann.types(f"<{link}>.\n/who\n")
        ann.prints("you are ann, in the room lobby")
        ann.prints("  ann\n")
        with Program(*JOIN, "--name", "bob", folder=folder) as bob:
            bob.types(f"securelink chat join '{link}'\n")
            bob.prints("you are bob")
            bob.types("it's me\n")
            ann.prints(r"\d\d:\d\d bob: it's me\n")
            token = str(Invite.parse(link).token)
            for command_line in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    assert token.encode() not in command_line.read_bytes(), command_line
                except OSError:
                    continue
            bob.types("exit\n")
            assert bob.ends() == 0
        ann.prints(r"\* bob left")
    host.prints(r"is bob in the chat")


def test_half_an_invite_is_asked_for_the_rest(host: Program, folder: Path) -> None:
    """Who pasted a part is told so, and not left in front of a screen on which nothing happens."""
    link = invite_of(host)
    with Terminal(*JOIN, "--name", "ann", folder=folder) as ann:
        ann.shows("paste the invite")
        ann.types(f"{link[:60]}\r")
        ann.shows(
            "the key of the invite is not a whole one; paste the rest, or press Enter to give up"
        )
        ann.types(f"{link[60:]}\r")
        ann.shows("you are ann")
        ann.types("exit\r")
        assert ann.ends() == 0


@pytest.mark.parametrize("end", ["\r", "\r\n"], ids=["CR", "CR LF"])
def test_a_line_break_before_the_token(host: Program, folder: Path, end: str) -> None:
    """What comes before it is an invite by itself, without a token; and CR LF is an empty line at a terminal."""
    link, slash, token = invite_of(host).rpartition("/")
    for lines in (
        [link, slash + token],
        [link + slash, token],
        [link[:60], link[60:], slash + token],
    ):
        with Terminal(*JOIN, "--name", "ann", folder=folder) as ann:
            ann.shows("paste the invite")
            ann.types(end.join([*lines, ""]))
            ann.shows("you are ann")
            ann.types("exit\r")
            assert ann.ends() == 0


def test_an_invite_without_its_beginning_is_refused_at_once(folder: Path) -> None:
    """No more input can mend it, so nobody is asked for more."""
    with Terminal(*JOIN, "--name", "ann", folder=folder) as ann:
        ann.shows("paste the invite")
        ann.types("game.example:5050/SHA256:abc/def\r")
        ann.shows("an invite begins with securelink://")
        assert ann.ends() == 1


def test_without_the_token_nobody_enters(host: Program, folder: Path) -> None:
    """And who lost it on the way is asked about quotes."""
    key_only = invite_of(host).rpartition("/")[0]
    (folder / "invite.txt").write_text(key_only)
    with Program(*JOIN, "--invite-file", "invite.txt", folder=folder) as stranger:
        assert stranger.ends() == 1
        assert "join token" in stranger.output
        assert "hint: the invite has a key and no token: was it in quotes?" in stranger.output


@pytest.mark.parametrize("console", [True, False], ids=["console", "alone"])
@pytest.mark.parametrize(
    "way", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda s: s.name
)
def test_the_invite_ends_with_the_server(folder: Path, way: int, console: bool) -> None:
    """However it is ended; and it says so when it prints the invite."""
    with Program(*SERVE, *["--console"] * console, folder=folder) as program:
        invite_of(program)
        program.prints("ends with this server, and after 7 d at the latest")
        program.prints("'help'|Ctrl-C ends it")
        assert states(folder) == ["valid"]
        program.signals(way)
        program.ends()
        assert "Traceback" not in program.output
    assert states(folder) == ["revoked"]


def test_an_invite_for_a_time(folder: Path) -> None:
    """A process that is killed takes nothing back, so the invite has a lifetime."""
    with Program(*SERVE, "--lifetime", "2h", folder=folder) as program:
        program.prints("after 2 h at the latest")
        program.signals(signal.SIGKILL)
        program.ends()
    (entry,) = JoinTokens(folder / "keys/join_tokens.json").entries()
    assert entry.expires is not None
    assert entry.expires - entry.created == 7200


def test_the_console_invites_bans_and_whispers(host: Program, folder: Path) -> None:
    """`invite NAME` gives an invite of somebody's own; `ban` takes the person, whoever comes with it."""
    invite_of(host)
    host.types("invite bob 2h\n")
    host.prints("for bob, as often as they come, for 2 h")
    links = re.findall(r"securelink://\S+", host.output)
    with Program(*JOIN, folder=folder) as bob:
        bob.types(f"{links[-1]}\n")
        bob.prints("you are bob")
        host.types("whisper bob it's me\n")
        bob.prints(r"\* operator, to you alone: it's me\n")
        host.types("ban bob that is enough\n")
        bob.prints("that is enough")
        assert bob.ends() == 1
    host.prints("banned bob by name, user")
    with Program(*JOIN, "--name", "carl", folder=folder) as bob:
        bob.types(f"{links[-1]}\n")
        assert bob.ends() == 1
        assert "you are banned here" in bob.output
    host.types("invite ann never\n")  # a name of two words
    host.prints("for ann never")
    host.types("invite 0h\n")
    host.prints("error: .*is no duration")


def test_long_lines_hang_in_a_terminal(host: Program, folder: Path) -> None:
    """In a narrow terminal a long line goes on below what was said; in a pipe it is one line."""
    (folder / "invite.txt").write_text(invite_of(host))
    join = (*JOIN, "--invite-file", "invite.txt", "--name")
    with (
        Terminal(*join, "ann", folder=folder, columns=40) as ann,
        Program(*join, "carl", folder=folder) as carl,
    ):
        ann.shows("you are ann")
        carl.prints("you are carl")
        with Program(*join, "bob", folder=folder) as bob:
            bob.types("one two three four five six seven eight nine ten\n")
            ann.shows(r"\d\d:\d\d bob: one two three four five six\n {6}seven eight nine ten\n")
            carl.prints("bob: one two three four five six seven eight nine ten\n")


@pytest.mark.parametrize("command", ["kick ann enough of that", "stop"])
def test_the_end_shows_at_once(host: Program, folder: Path, command: str) -> None:
    """Nobody has to press Enter to see the reason; the program is over, and half a line does not matter."""
    link = invite_of(host)
    (folder / "invite.txt").write_text(link)
    with Terminal(*JOIN, "--invite-file", "invite.txt", "--name", "ann", folder=folder) as ann:
        ann.shows("you are ann")
        ann.types("half a li")
        host.types(f"{command}\n")
        ann.shows("enough of that" if command.startswith("kick") else "shutting down")
        assert ann.ends() == 1
        assert "Enter" not in ann.output


def test_a_name_that_somebody_has(host: Program, folder: Path) -> None:
    """At a terminal another one is offered; a script is told which is free."""
    (folder / "invite.txt").write_text(invite_of(host))
    join = (*JOIN, "--invite-file", "invite.txt", "--name", "ann")
    with Program(*join, folder=folder) as ann:
        ann.prints("you are ann")
        with Program(*join, folder=folder) as script:
            assert script.ends() == 1
            assert "the name ann is taken; ann2 is free: add --name ann2" in script.output
        with Terminal(*join, folder=folder) as person:
            person.shows(r"another name, or exit \[ann2\]:")
            person.types("*ann*\r")
            person.shows(
                r"a name begins with a letter or a digit[^$]*another name, or exit \[ann2\]:"
            )
            person.types("\r")
            person.shows("you are ann2")
            person.types("exit\r")
            assert person.ends() == 0
        with Terminal(*join, folder=folder) as person:
            person.shows(r"another name, or exit \[ann2\]:")
            person.types("exit\r")
            assert person.ends() == 0
            assert "you are" not in person.output


def test_a_name_that_nobody_can_have_is_refused_before_the_invite_is_asked_for() -> None:
    """Whoever mistypes it has not pasted an invite for nothing."""
    for name in ("*ann", "operator", ""):
        errors = fails("chat", "join", "--name", name, code=2)
        assert "--name" in errors
        assert "paste" not in errors


def test_a_server_that_is_gone_for_a_while(folder: Path) -> None:
    """Started again at the same port with the same key, its friends are back by themselves."""
    port = str(free_port())
    serve = [*SERVE[:-1], port, "--open"]
    with Program(*serve, folder=folder) as host:
        link = invite_of(host)
        (folder / "invite.txt").write_text(link)
        ann = Program(*JOIN, "--invite-file", "invite.txt", "--name", "ann", folder=folder)
        ann.prints("you are ann")
        host.signals(signal.SIGKILL)
        host.ends()
    with ann:
        ann.prints("connection lost, trying again")
        with Program(*serve, folder=folder) as host:
            ann.prints("the session is lost; trying to come back")
            host.prints("is ann in the chat")
            until(lambda: ann.output.count("you are ann, in the room lobby") == 2)
            ann.types("/who\n")
            ann.prints("  ann\n")
            ann.types("exit\n")
            assert ann.ends() == 0
