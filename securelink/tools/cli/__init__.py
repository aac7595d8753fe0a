"""The command line: `securelink keys | token | passwords | serve | connect | attach | chat | load`."""

from __future__ import annotations

import click

from ... import __version__
from ...protocol import records
from .chat import chat
from .connect import connect
from .keys import keys
from .load import load
from .operate import attach_console
from .passwords import passwords
from .program import Group
from .serve import serve
from .tokens import token

BUILD = "pure Python" if (records.__file__ or "").endswith(".py") else "compiled"


@click.group("securelink", cls=Group)
@click.version_option(__version__, message=f"securelink %(version)s ({BUILD})")
def main() -> None:
    """
    Secure sessions for games, chat and small networked tools.

    \b
    securelink serve                                 an echo server on port 5050
    securelink connect 192.168.1.40 5050             send it lines
    securelink chat serve                            a chat with names and rooms
    securelink keys create                           make a key
    securelink token create --user ann --lifetime 2h
    """


main.add_command(keys)
main.add_command(token)
main.add_command(passwords)
main.add_command(serve)
main.add_command(connect)
main.add_command(attach_console)
main.add_command(chat)
main.add_command(load)
