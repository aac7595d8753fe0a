"""How invites and tokens reach the commands: pasted, asked for, from a file or the environment, and never in clear."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import fails, run, succeeds

from securelink import (
    Hello,
    Identity,
    Invite,
    KnownServers,
    Server,
)


@pytest.fixture
def credentials(identity: Identity) -> Iterator[tuple[Server, list[Any]]]:
    """A server that takes plaintext and encrypted sessions, and what it was shown."""
    shown: list[Any] = []

    def authenticate(hello: Hello) -> str:
        shown.append(hello.credentials)
        return "ann"

    with Server(
        "127.0.0.1", 0, keys=identity, authenticate=authenticate, encryption="optional"
    ) as server:
        server.on("echo", lambda session, packet: session.send("echo", packet.data))
        yield server, shown


@pytest.mark.parametrize(
    "command",
    [["connect"], ["load", "--clients", "1", "--duration", "1s", "--ramp", "0"]],
    ids=["connect", "load"],
)
def test_plaintext_ignores_the_token_of_the_environment(
    tmp_path: Path,
    credentials: tuple[Server, list[Any]],
    command: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody said for this call that the token may be read on the way; the command says that it left it out."""
    server, shown = credentials
    monkeypatch.setenv("SECURELINK_TOKEN", "a secret")
    to = (command[0], "127.0.0.1", server.address[1], *command[1:], "--keys", tmp_path)
    result = run(*to, "--plaintext", typed="exit\n")
    assert result.exit_code == 0, result.output
    assert shown == [None]
    assert "SECURELINK_TOKEN is ignored: --plaintext would send it in clear" in result.stderr
    KnownServers(tmp_path / "known_servers").remember(*server.address, str(server.fingerprint))
    result = run(*to, typed="exit\n")
    assert shown[1:] == [{"token": "a secret"}]
    assert "using the join token in SECURELINK_TOKEN" in result.stderr


@pytest.mark.parametrize("command", ["connect", "load"])
@pytest.mark.parametrize("token", ["a secret", "-"])
def test_a_token_is_not_sent_in_clear_to_another_machine(command: str, token: str) -> None:
    """Not even when it is given on the command line; to this machine it may go."""
    errors = fails(command, "192.0.2.7", 5050, "--plaintext", "--token", token, code=2)
    assert "--plaintext would send the token in clear" in errors
    assert "a secret" not in errors


def test_an_invite_goes_before_the_environment(
    tmp_path: Path, credentials: tuple[Server, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that lies around for one server is not sent to another."""
    server, shown = credentials
    monkeypatch.setenv("SECURELINK_TOKEN", "of another server")
    token = "3d6f4f9e-8f5c-4f0e-9d39-0c8f6f2f7a11"
    link = str(Invite(*server.address, str(server.fingerprint), token))
    succeeds("connect", link, "--keys", tmp_path, typed="exit\n")
    assert shown == [{"token": token}]


def test_a_token_can_be_asked_for(tmp_path: Path, credentials: tuple[Server, list[Any]]) -> None:
    """`--token -` keeps it out of the list of processes."""
    server, shown = credentials
    KnownServers(tmp_path / "known_servers").remember(*server.address, str(server.fingerprint))
    to = ("connect", *server.address, "--keys", tmp_path, "--token", "-")
    assert run(*to, typed="a secret\nexit\n").exit_code == 0
    assert shown == [{"token": "a secret"}]


def invited(server: Server, *, token: bool = True) -> str:
    """An invite to a server of the fixture above."""
    made = "3d6f4f9e-8f5c-4f0e-9d39-0c8f6f2f7a11" if token else None
    return str(Invite(*server.address, str(server.fingerprint), made))


@pytest.mark.parametrize(
    "pasted",
    [
        "{}",
        "<{}>.",
        "securelink connect '{}'",
        "{0:.40}\n{1}",
        "$ securelink connect {}",
        "here is the invite: {} see you at eight!",
        "come: \u201c{0:.40} {1}\u201d, all of you",
        "[the game]({})",
    ],
)
def test_without_arguments_the_invite_is_asked_for(
    tmp_path: Path, credentials: tuple[Server, list[Any]], pasted: str
) -> None:
    """It is the first line of the input, or several when it was broken; the next one is for the server."""
    server, _ = credentials
    link = invited(server)
    text = pasted.format(link, link[40:])
    result = run("connect", "--keys", tmp_path, typed=f"{text}\n/echo hello\nexit\n")
    assert result.exit_code == 0, result.output
    assert "connected to 127.0.0.1" in result.stderr


def test_an_invite_from_a_file(tmp_path: Path, credentials: tuple[Server, list[Any]]) -> None:
    """It need not be on the command line; a file that is none, or too large, is an error in words."""
    server, shown = credentials
    (tmp_path / "invite.txt").write_text(f"\ufeff{invited(server)}\r\n")
    to = ("connect", "--keys", tmp_path, "--invite-file", tmp_path / "invite.txt")
    succeeds(*to, typed="exit\n")
    assert len(shown) == 1
    (tmp_path / "invite.txt").write_text(f"Hello Ada,\n\n{invited(server)}\n\nSee you at eight\n")
    succeeds(*to, typed="exit\n")
    assert len(shown) == 2
    assert "says where the server is" in fails(*to, "localhost", code=2)
    (tmp_path / "invite.txt").write_bytes(b"\xff" * 100_000)
    assert "is larger than" in fails(*to)
    assert "does not exist" in fails("connect", "--invite-file", tmp_path / "x", code=2)
    for held in ("", "hello\n"):
        (tmp_path / "none.txt").write_text(held)
        assert "none.txt holds no invite" in fails(
            "connect", "--invite-file", tmp_path / "none.txt"
        )


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", "no invite was given"),
        ("\n", "no invite was given"),
        ("host abc\n", "'abc' is no port"),
        ("hello\n", "'hello' is no invite, and no host with a port"),
        ("6e0d5a6c-1d2e-4f3a-8b4c-9d5e6f708192\n", "that looks like a token alone, or a key"),
        (f"SHA256:{'A' * 43}\n", "that looks like a token alone, or a key"),
        ("game.example:99999\n", "is no invite, and no host with a port"),
        ("game.example:5050/SHA256:abc/def\n", "an invite begins with securelink://"),
    ],
)
def test_what_is_asked_for_and_not_given(typed: str, words: str) -> None:
    """The end of the input, an empty line and nonsense are errors in words."""
    assert words in fails("connect", typed=typed)


NOBODY = "127.0.0.1"  # nothing listens there at port 1


LINK = f"securelink://{NOBODY}:1/SHA256:{'A' * 43}"


@pytest.mark.parametrize(
    ("words", "typed", "warned"),
    [
        ((f"{LINK}/6e0d5a6c-1d2e-4f3a-8b4c-9d5e6f708192",), None, "leave the invite out"),
        ((NOBODY, "1", "--token", "6e0d5a6c-1d2e-4f3a-8b4c-9d5e6f708192"), None, "--token -"),
        ((LINK,), None, ""),  # holds no secret
        ((), f"{LINK}/6e0d5a6c-1d2e-4f3a-8b4c-9d5e6f708192\n", ""),
        ((NOBODY, "1", "--token", "-"), "6e0d5a6c-1d2e-4f3a-8b4c-9d5e6f708192\n", ""),
        ((NOBODY, "1"), None, ""),
    ],
)  # fmt: skip
def test_a_token_on_the_command_line_is_remarked_on(
    words: tuple[str, ...], typed: str | None, warned: str, tmp_path: Path
) -> None:
    """Who gives a token or an invite with one as an argument reads once that others see it, and what to do instead."""
    errors = fails("connect", *words, "--keys", tmp_path, "--timeout", "5", typed=typed)
    seen = [line for line in errors.splitlines() if "seen by other users of this machine" in line]
    assert len(seen) == bool(warned)
    assert warned in "".join(seen)
    assert "6e0d5a6c" not in errors


def test_other_words_and_parts_as_an_argument(tmp_path: Path) -> None:
    """Words that were pasted with an invite are left out here too, and a key alone is called one."""
    errors = fails("connect", f"Hi: {LINK} bye", "--keys", tmp_path, "--timeout", "5")
    assert f"{NOBODY}:1" in errors
    assert "looks like a token alone, or a key" in fails("connect", f"SHA256:{'A' * 43}", code=2)


def test_no_complaint_about_the_command_line_shows_a_token() -> None:
    """What looks like a token is in no error of a command, wherever on its line it was put."""
    token = "6e0d5a6c-1d2e-4f3a-8b4c-9d5e6f708192"
    for words in (
        ("127.0.0.1", f"5/{token}"),
        ("127.0.0.1", "5050", token),
        (token, "5050", token),
        ("127.0.0.1", "5050", f"--{token}"),
        (f"127.0.0.1:5/{token}",),
    ):
        assert token not in fails("connect", *words, code=2)
    for typed in (f"127.0.0.1 5/{token}\n", f"{token}\n", f"x {token}\n"):
        assert token not in fails("connect", typed=typed)
