"""`CLI`: a small console for a server or client."""
# ruff: noqa: N802  # the names are pnetwork's

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

import click

from ...text import escaped
from ..lines import typed

# By what `help` shows: each gives the lines to print.
_COMMANDS: dict[str, Callable[[Any, str], Iterable[object] | None]] = {
    "list": lambda core, _: [f"{uuid} | {one.session}" for uuid, one in core.clients.items()],
    "ping UUID": lambda core, uuid: [f"{uuid} is alive: {core.clients[uuid].session.ping():.4f} s"],
    "broadcast TEXT": lambda core, text: core.SendPacketForAll(
        {"action": "BROADCAST", "data": text}
    ),
    "disconnect UUID": lambda core, uuid: core.clients[uuid].disconnect(),
    "actions": lambda core, _: core.actions,
    "trigger NAME": lambda core, name: [core.actions[name].run()],
    "threads": lambda *_: [thread.name for thread in threading.enumerate()],
    "token": lambda core, _: [core.token],
    "start": lambda core, _: core.start(),
    "stop": lambda core, _: core.stop(),
    "help": lambda *_: _COMMANDS,
}
_BY_NAME = {usage.partition(" ")[0]: run for usage, run in _COMMANDS.items()}


class CLI:
    """Reads commands and runs them on a server or client: `CLI(core, "name").processCommand()`."""

    def __init__(self, core: Any, name: str = "") -> None:
        self.core = core
        click.echo(f"###### CoreTools CLI | {name} ######")

    def startThreaded(self) -> None:
        """`processCommand` in a thread."""
        threading.Thread(target=self.processCommand, name="CoreTools", daemon=True).start()

    def processCommand(self) -> None:
        """Read commands until `stop`, or the end of the input."""
        while (line := typed("Choose a command: ")) is not None:
            command, _, argument = line.strip().partition(" ")
            try:
                run = _BY_NAME.get(command)
                answers = run(self.core, argument) if run else ["unknown command"]
                for answer in answers or ():
                    if isinstance(answer, str):
                        click.echo(escaped(answer))  # a peer chose some of it
            except Exception as error:  # what is bound to a name may raise anything
                click.echo(f"Error occured in command check your typing: {escaped(repr(error))}")
            if command == "stop":
                return
