"""What holds for every command: help, errors, exit codes."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from commands import fails, run, securelink, succeeds
from conftest import COMPILED
from programs import ROOT, WAIT

from securelink import ConfigError, __version__
from securelink.tools.cli import main
from securelink.tools.cli.keys import create_encrypt_keys_command
from securelink.tools.cli.program import Command


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every command."""
    for name, command in group.commands.items():
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize("path", [(), *commands(main)], ids=" ".join)
def test_every_command_has_a_help_text(path: tuple[str, ...]) -> None:
    """`--help` says what a command does in a sentence that is not cut off by its first line."""
    text = succeeds(*path, "--help")
    assert text.startswith(f"Usage: {' '.join(('securelink', *path))} ")
    assert len(text.splitlines()[2]) > 20


@pytest.mark.parametrize("path", [(), ("keys",), ("token",)], ids=" ".join)
def test_a_group_alone_prints_its_help(path: tuple[str, ...]) -> None:
    """Without a command there is nothing to do: help, and the exit code of a wrong command line."""
    result = run(*path)
    assert result.exit_code == 2
    assert "Commands:" in result.output


@pytest.mark.parametrize("path", [(), *commands(main)], ids=" ".join)
def test_every_command_can_be_completed(path: tuple[str, ...]) -> None:
    """A shell that asks what could follow gets the commands of a group and the options of a command."""
    complete = ShellComplete(main, {}, "securelink", "_SECURELINK_COMPLETE").get_completions
    found = {item.value for item in complete(list(path), "-")}
    assert "--help" in found
    group = main
    for name in path:
        group = group.commands[name]  # type: ignore[assignment]  # the last may be none
    if isinstance(group, click.Group):
        assert {item.value for item in complete(list(path), "")} == set(group.commands)
    if "--keys" in found:
        assert [item.type for item in complete([*path, "--keys"], "ke")] == ["dir"]


def test_bash_completes(tmp_path: Path) -> None:
    """The line of docs/COMMANDS.md for ~/.bashrc makes a real bash complete commands, without a word of an error."""
    line = 'eval "$(_SECURELINK_COMPLETE=bash_source securelink)"'
    assert line in (ROOT / "docs/COMMANDS.md").read_text()
    press = 'COMPREPLY=(); _securelink_completion securelink && echo "${COMPREPLY[*]}"'
    words = "COMP_WORDS=(securelink {}) COMP_CWORD={}"
    script = f"{line}\n{words.format('ke', 1)}; {press}\n{words.format('keys cr', 2)}; {press}"
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "securelink").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m securelink "$@"\n')
    (folder / "securelink").chmod(0o755)
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    shell = subprocess.run(
        ["bash", "--norc", "-c", script],
        env=environment, capture_output=True, text=True, timeout=WAIT, check=False,
    )  # fmt: skip
    assert shell.stderr == ""
    assert shell.stdout.split() == ["keys", "create"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["kyes"], "no such command 'kyes'"),
        (["--bogus"], "no such option"),
        (["keys", "shwo"], "no such command 'shwo'"),
        (["keys", "create", "--bits", "many"], "is not a whole number"),
        (["keys", "create", "--bits", "1024"], "1024 is not in the range"),
        (
            ["connect", "this", "is", "it"],
            "'is' is no port: write HOST PORT, or an invite in quotes",
        ),
        (["attach", "localhost", "99999"], "invalid value for PORT: 99999 is not in the range"),
        (["chat", "join", "SHA256:x", "SHA256:" + "x" * 43], "that may hold a secret is no port"),
        (["keys", "trust", "localhost"], "missing argument 'PORT'"),
        (["keys", "trust", "localhost", "0", "SHA256:x"], "0 is not in the range"),
    ],
)
def test_a_wrong_command_line_is_explained(arguments: list[str], words: str) -> None:
    """Misuse exits with 2, says what is wrong in lower case, and where help is."""
    errors = fails(*arguments, code=2)
    assert words in errors
    assert "hint: see: securelink" in errors


def test_the_version_is_that_of_the_package() -> None:
    """`securelink --version` is what `import securelink` says, and which build it is."""
    assert (
        succeeds("--version")
        == f"securelink {__version__} ({'compiled' if COMPILED else 'pure Python'})\n"
    )


def test_the_declared_scripts_exist() -> None:
    """Both console scripts of pyproject.toml lead to commands."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert set(scripts) >= {"securelink", "createEncryptKeys"}
    for target in scripts.values():
        module, _, name = target.partition(":")
        assert isinstance(getattr(importlib.import_module(module), name), click.Command)


def test_create_encrypt_keys_is_a_program_of_its_own(tmp_path: Path) -> None:
    """`createEncryptKeys` makes a key, and fails as `securelink` does."""
    arguments = ["--directory", str(tmp_path), "--bits", "2048"]
    for code, words in ((0, "fingerprint  SHA256:"), (1, "securelink: error: ")):
        result = CliRunner().invoke(create_encrypt_keys_command, arguments)
        assert (result.exit_code, words in result.output) == (code, True)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, ""),
        (PermissionError(13, "Permission denied"), 1, "securelink: error: permission denied\n"),
        (ConfigError("it cannot", hint="do not"), 1, "error: it cannot\nhint: do not\n"),
    ],
)
def test_what_a_command_raises_becomes_words(error: BaseException, code: int, words: str) -> None:
    """Errors end in a sentence and 1, Ctrl-C in 130 without words."""

    @click.command(cls=Command)
    def broken() -> None:
        raise error

    result = CliRunner().invoke(broken)
    assert result.exit_code == code
    assert result.stderr.strip("\n").endswith(words.strip("\n"))
    assert bool(words) == ("error" in result.stderr)


def test_a_question_without_an_answer_is_an_error() -> None:
    """The end of the input is told from Ctrl-C: somebody forgot that the command asks."""
    errors = fails("keys", "create", "--passphrase", typed="")
    assert "there is nobody to answer" in errors


def test_it_runs_as_a_module_of_its_own_process(tmp_path: Path) -> None:
    """`python -m securelink` is the command, down to the exit code."""
    with securelink("keys", "show", folder=tmp_path) as process:
        assert process.ends() == 1
        assert process.output.startswith("securelink: error: there is no key named 'server'")
        assert "hint: make one with: securelink keys create" in process.output
