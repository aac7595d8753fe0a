"""`CLI`: a small console for a server or client."""
# ruff: noqa: N802  # the names are pnetwork's

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import click

from ...text import escaped

_HELP = """\
list                the connections           actions        packet names that something is bound to
coninfo [UUID]      all about one             trigger NAME   run what is bound to a name
ping UUID, pingall  are they alive?           threads        of this process
broadcast TEXT      a packet BROADCAST to all token          the own one
disconnect UUID     end one connection        mode [NAME]    name the system
dropall             end all connections       clear          the screen
start, stop         stop also leaves here     help           this list"""


def _find(cli: CLI, uuid: str) -> Any:
    connection = cli.core.GetConnection(uuid)
    if connection is None:
        raise LookupError(f"no connection {uuid}")
    return connection


def _details(cli: CLI, uuid: str) -> list[str]:
    uuid = uuid or input("Give connection uuid e for exit: ")
    details = {} if uuid == "e" else _find(cli, uuid).GetRepersentation()
    return [f"{key}: {value}" for key, value in details.items()]


def _ping(connection: Any) -> str:
    connection.sendPacket({"action": "PING"})
    return f"{connection.uuid} {'is alive' if connection.isAlive() else 'does not answer'}"


def _mode(cli: CLI, name: str) -> list[str]:
    cli.ostype = name or cli.ostype
    return [f"Mode: {cli.ostype}"]


# Of what these give, texts are shown, line by line.
_COMMANDS: dict[str, Callable[[Any, str], Any]] = {
    "": lambda cli, _: None,
    "list": lambda cli, _: [
        f"{c.uuid} | {c.ip}:{c.port} | {c.username}" for c in cli.core.clients.values()
    ],
    "coninfo": _details,
    "ping": lambda cli, uuid: [_ping(_find(cli, uuid))],
    "pingall": lambda cli, _: map(_ping, cli.core.clients.values()),
    "broadcast": lambda cli, text: cli.core.SendPacketForAll({"action": "BROADCAST", "data": text}),
    "disconnect": lambda cli, uuid: [_find(cli, uuid).disconnect()],
    "dropall": lambda cli, _: [one.disconnect() for one in cli.core.clients.values()],
    "actions": lambda cli, _: cli.core.actions,
    "trigger": lambda cli, name: [cli.core.actions[name].run()],
    "threads": lambda cli, _: cli.core.GetThreadInfo()["names"],
    "token": lambda cli, _: [cli.core.token],
    "start": lambda cli, _: cli.core.start(),
    "stop": lambda cli, _: cli.core.stop(),
    "clear": lambda *_: click.clear(),
    "mode": _mode,
    "help": lambda *_: _HELP.splitlines(),
}


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
                run = _COMMANDS.get(command)
                for answer in (run(self, argument) or ()) if run else ["unknown command"]:
                    if isinstance(answer, str):
                        click.echo(escaped(answer))  # a peer chose some of it
            except EOFError:
                return
            except Exception as error:  # what is bound to a name may raise anything
                click.echo(f"Error occured in command check your typing: {escaped(repr(error))}")
