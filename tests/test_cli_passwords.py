"""`securelink passwords ...`, as its users type it."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import fails, run, succeeds
from helpers import secrets

from securelink import Client, Identity, Passwords, Refused, Server

SECRET = "correct horse battery"


def test_who_was_added_may_log_in(tmp_path: Path, identity: Identity) -> None:
    """A password comes from standard input, is in no file and no output, and admits at once, until it is removed."""
    file = tmp_path / "passwords.json"
    with Server("127.0.0.1", 0, keys=identity, authenticate=Passwords(file)) as server:

        def log_in() -> None:
            login = {"user": "ada", "password": SECRET}
            with Client("127.0.0.1", server.address[1], pin=server.fingerprint, credentials=login):
                pass

        with pytest.raises(Refused):
            log_in()
        result = run("passwords", "add", "ada", "--keys", tmp_path, typed=SECRET + "\n")
        assert result.exit_code == 0
        assert SECRET not in result.output + file.read_text()
        log_in()
        assert succeeds("passwords", "list", "--keys", tmp_path) == "ada\n"
        succeeds("passwords", "remove", "ada", "--keys", tmp_path)
        with pytest.raises(Refused):
            log_in()
        assert "there are no users" in run("passwords", "list", "--keys", tmp_path).stderr
    secrets.add(SECRET)


def test_what_cannot_be_done_is_said(tmp_path: Path) -> None:
    """A second add, no password, a short one and an unknown name are errors that say what to do."""
    add = ("passwords", "add", "ada", "--keys", tmp_path)
    assert "8 to 1024 characters" in run(*add, typed="short\n").stderr
    assert "no password came" in run(*add, typed="").stderr
    assert run(*add, typed=SECRET + "\n").exit_code == 0
    again = run(*add, typed="another password\n")
    assert again.exit_code != 0
    assert "--replace" in again.stderr
    assert Passwords(tmp_path / "passwords.json").users() == ["ada"]
    assert run(*add, "--replace", typed="another password\n").exit_code == 0
    assert "no user 'bert'" in fails("passwords", "remove", "bert", "--keys", tmp_path)


def test_a_password_is_no_argument(tmp_path: Path) -> None:
    """One that is typed behind the name is refused, not taken: the list of processes would show it."""
    result = run("passwords", "add", "ada", SECRET, "--keys", tmp_path)
    assert result.exit_code == 2
    assert not (tmp_path / "passwords.json").exists()
