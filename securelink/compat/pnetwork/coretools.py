"""`CLI`: a small console for a server or client."""
# ruff: noqa: N802  # the names are pnetwork's

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import click

from ...text import escaped


def _summary(connection: Any) -> str:
    return f"{connection.uuid} | {connection.ip}:{connection.port} | {connection.username}"


def _details(connection: Any) -> list[str]:
    return [f"{key}: {value}" for key, value in connection.GetRepersentation().items()]


def _ping(connection: Any) -> str:
    connection.sendPacket({"action": "PING"})
    return f"{connection.uuid} {'is alive' if connection.isAlive() else 'does not answer'}"


# By what `help` shows. Of what these give, texts are shown, line by line.
_COMMANDS: dict[str, Callable[[Any, str], Any]] = {
    "list": lambda core, _: map(_summary, core.clients.values()),
    "coninfo UUID": lambda core, uuid: _details(core.clients[uuid]),
    "ping UUID": lambda core, uuid: [_ping(core.clients[uuid])],
    "pingall": lambda core, _: map(_ping, core.clients.values()),
    "broadcast TEXT": lambda core, text: core.SendPacketForAll(
        {"action": "BROADCAST", "data": text}
    ),
    "disconnect UUID": lambda core, uuid: [core.clients[uuid].disconnect()],
    "dropall": lambda core, _: [one.disconnect() for one in core.clients.values()],
    "actions": lambda core, _: core.actions,
    "trigger NAME": lambda core, name: [core.actions[name].run()],
    "threads": lambda core, _: core.GetThreadInfo()["names"],
    "token": lambda core, _: [core.token],
    "start": lambda core, _: core.start(),
    "stop": lambda core, _: core.stop(),
    "clear": lambda *_: click.clear(),
    "help": lambda *_: _COMMANDS,
}
_BY_NAME = {usage.partition(" ")[0]: run for usage, run in _COMMANDS.items()}


class CLI:
    """Reads commands and runs them on a server or client: `CLI(core, "name").processCommand()`."""

    def __init__(self, core: Any, name: str = "", ostype: str = "windows") -> None:
        self.core, self.name, self.ostype = core, name, ostype
        click.echo(f"###### CoreTools CLI | {name} ######\nMode: {ostype}")

    def startThreaded(self) -> None:
        """`processCommand` in a thread."""
        threading.Thread(target=self.processCommand, name="CoreTools", daemon=True).start()

    def processCommand(self) -> None:
        """Read commands until `stop`, or the end of the input."""
        line = ""
        while line != "stop":
            try:
                line = input("Choose a command: ").strip()
                command, _, argument = line.partition(" ")
                run = _BY_NAME.get(command)
                answers = run(self.core, argument) if run else ["unknown command"]
                for answer in answers or ():
                    if isinstance(answer, str):
                        click.echo(escaped(answer))  # a peer chose some of it
            except EOFError:
                return
            except Exception as error:  # what is bound to a name may raise anything
                click.echo(f"Error occured in command check your typing: {escaped(repr(error))}")
