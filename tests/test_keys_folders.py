"""Folders that the library makes: private, and ignored by git."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from securelink.auth import JoinTokens, Passwords
from securelink.keys import fingerprint_text, load_or_create
from securelink.trust import KnownServers

ONE = fingerprint_text(bytes(32))


def test_a_new_folder_is_ignored_by_git(tmp_path: Path) -> None:
    """`git add .` in a repository adds nothing of a folder that the library made, whatever made it first."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True, timeout=60)
    makers: list[Callable[[Path], object]] = [
        lambda folder: load_or_create(folder, "server"),
        lambda folder: KnownServers(folder / "known_servers").remember("localhost", 1, ONE),
        lambda folder: JoinTokens(folder / "join_tokens.json").create(),
        lambda folder: Passwords(folder / "passwords.json", cost=2).add("ada", "correct horse"),
    ]
    for number, make in enumerate(makers):
        make(tmp_path / "deep" / f"keys{number}")
    command = ["git", "-C", str(tmp_path), "add", "--dry-run", "."]
    assert subprocess.run(command, check=True, timeout=60, capture_output=True).stdout == b""


def test_a_folder_that_was_there_gets_no_file(tmp_path: Path) -> None:
    """A folder of the user's own is left as it is."""
    KnownServers(tmp_path / "known_servers").remember("localhost", 1, ONE)
    assert ".gitignore" not in os.listdir(tmp_path)


def test_folders_before_a_new_one_are_private_too(tmp_path: Path) -> None:
    """Whatever the umask is, all folders that are made on the way can be entered by their owner only."""
    previous = os.umask(0)
    try:
        KnownServers(tmp_path / "a" / "b" / "known_servers").remember("localhost", 1, ONE)
    finally:
        os.umask(previous)
    for folder in (tmp_path / "a", tmp_path / "a" / "b"):
        assert folder.stat().st_mode & 0o7777 == 0o700
