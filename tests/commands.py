"""What the tests of the commands share: running one in this process, or as a process of its own."""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner, Result
from programs import Program

from securelink.tools.cli import main

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def run(*arguments: object, typed: str | None = None) -> Result:
    """Run a command in this process, with `typed` as its input."""
    return CliRunner().invoke(
        main, [str(a) for a in arguments], input=typed, prog_name="securelink"
    )


def succeeds(*arguments: object, typed: str | None = None) -> str:
    """Run a command that must succeed; its standard output."""
    result = run(*arguments, typed=typed)
    assert result.exit_code == 0, result.output
    return result.stdout


def fails(*arguments: object, code: int = 1, typed: str | None = None) -> str:
    """Run a command that must fail as documented; its standard error."""
    result = run(*arguments, typed=typed)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    errors = result.stderr
    assert errors.count("securelink: error: ") == 1
    assert "Traceback" not in errors
    sentence = errors.partition("securelink: error: ")[2].splitlines()[0]
    assert not sentence.endswith(".")
    return errors


def securelink(*arguments: object, folder: Path) -> Program:
    """The command as a process of its own."""
    return Program("-m", "securelink", *map(str, arguments), folder=folder)
