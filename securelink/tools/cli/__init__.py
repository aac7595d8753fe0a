"""The command line: `securelink keys | token | passwords | serve | connect | attach | chat | load | bench | demo`."""

from __future__ import annotations

import sys

import click

from ... import __version__
from .bench import bench
from .chat import chat
from .connect import connect
from .keys import keys
from .load import load
from .operate import attach_console
from .passwords import passwords
from .program import Group
from .serve import serve
from .tokens import token


@click.group("securelink", cls=Group)
@click.version_option(__version__, message="securelink %(version)s")
def main() -> None:
    """
    Secure sessions for games, chat and small networked tools.

    \b
    securelink demo                                  see all of it work, and an attacker fail
    securelink serve                                 a chat server on port 5050
    securelink connect 192.168.1.40 5050             talk to it
    securelink chat serve                            a chat with names and rooms
    securelink keys create                           make a key
    securelink token create --user ann --lifetime 2h
    """


@main.command("demo")
@click.option("--plain", is_flag=True, help="Without colours and moving parts.")
@click.option("--seed", type=int, default=1, show_default=True, help="Another game.")
def demo(plain: bool, seed: int) -> None:
    """
    Watch real processes play, and an attacker fail.

    It starts a server and three clients with fresh keys in a temporary folder, puts a relay between them that sees
    and changes bytes, and checks what happens. Takes about ten seconds; the exit code tells whether every check held.
    """
    from ...demo.main import run

    sys.exit(run(plain=plain, seed=seed))


main.add_command(keys)
main.add_command(token)
main.add_command(passwords)
main.add_command(serve)
main.add_command(connect)
main.add_command(attach_console)
main.add_command(chat)
main.add_command(load)
main.add_command(bench)
