"""`securelink passwords ...`: who may log in by name and password."""

from __future__ import annotations

import sys

import click

from ...auth import Passwords
from ...errors import ConfigError
from ...keys.files import absolute
from ...limits import MAX_PASSWORD
from ...text import escaped
from .program import Group, keys_option, tell


@click.group("passwords", cls=Group)
def passwords() -> None:
    """
    Add, list and remove users with a password, for a server with `authenticate=Passwords("keys/passwords.json")`.

    Only a slow hash of each password is kept. A running server sees changes at once.

    \b
    securelink passwords add ada                     asks for the password
    securelink passwords list
    """


def _passwords(directory: str) -> Passwords:
    return Passwords(absolute(directory) / "passwords.json")


@passwords.command("add")
@click.argument("user")
@click.option("--replace", is_flag=True, help="Give a user who exists another password.")
@keys_option
def add(user: str, replace: bool, directory: str) -> None:
    """
    Let USER in from now on. The password is asked for, or is the first line of standard input; never an argument, which
    others could read in the list of processes and in the shell's history.

    \b
    securelink passwords add ada < password.txt
    """
    known = _passwords(directory)
    if not replace and user in known.users():
        raise ConfigError(
            f"the user {escaped(user)!r} exists already", hint="--replace changes the password"
        )
    known.add(user, _password(), replace=replace)
    tell(f"{escaped(user)} may log in; kept in {known.path}")


def _password() -> str:
    if sys.stdin.isatty():
        answer: str = click.prompt("password", hide_input=True, confirmation_prompt=True, err=True)
        return answer
    line = sys.stdin.readline(2 * MAX_PASSWORD)
    if not line:
        raise ConfigError(
            "no password came on standard input", hint="write it there, in a line of its own"
        )
    return line.rstrip("\r\n")


@passwords.command("list")
@keys_option
def list_users(directory: str) -> None:
    """
    List the names of all users, one a line.
    """
    known = _passwords(directory)
    users = known.users()
    for user in users:
        click.echo(escaped(user))
    if not users:
        tell(f"there are no users in {known.path}")


@passwords.command("remove")
@click.argument("user")
@keys_option
def remove(user: str, directory: str) -> None:
    """
    Let USER in no longer. Sessions that are open stay open, until the server kicks them.
    """
    known = _passwords(directory)
    if not known.remove(user):
        raise ConfigError(
            f"there is no user {escaped(user)!r} in {known.path}",
            hint="see: securelink passwords list",
        )
    tell(f"{escaped(user)} may not log in any more")
