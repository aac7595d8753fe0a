"""`CLI`: a small console for a server or client."""
# ruff: noqa: N802  # the names are pnetwork's

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import click

from ...text import escaped

if TYPE_CHECKING:
    from .core import ComCore, Connection

_HELP = """\
list                the connections           actions        packet names that something is bound to
coninfo [UUID]      all about one             trigger NAME   run what is bound to a name
ping UUID, pingall  are they alive?           threads        of this process
broadcast TEXT      a packet BROADCAST to all token          the own one
disconnect UUID     end one connection        mode [NAME]    name the system
dropall             end all connections       clear          the screen
start, stop         stop also leaves here     help           this list"""


class CLI:
    """Reads commands and runs them on a server or client: `CLI(core, "name").processCommand()`."""

    def __init__(self, core: ComCore, name: str = "", ostype: str = "windows") -> None:
        self.core: Any = core
        self.name = name
        self.ostype = ostype
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
                self._run(*line.partition(" ")[::2])
            except EOFError:
                return
            except Exception as error:  # what is bound to a name may raise anything
                click.echo(f"Error occured in command check your typing: {escaped(repr(error))}")

    def _run(self, command: str, argument: str) -> None:
        core = self.core
        everybody = list(core.clients.values())
        match command:
            case "":
                return
            case "list":
                self._show(
                    f"{one.uuid} | {one.ip}:{one.port} | {one.username}" for one in everybody
                )
            case "coninfo":
                uuid = argument or input("Give connection uuid e for exit: ")
                if uuid != "e":
                    self._show(
                        f"{key}: {value}"
                        for key, value in self._one(uuid).GetRepersentation().items()
                    )
            case "ping" | "pingall":
                for one in everybody if command == "pingall" else [self._one(argument)]:
                    one.sendPacket(core.createPacket("PING"))
                    self._show([f"{one.uuid} {'is alive' if one.isAlive() else 'does not answer'}"])
            case "broadcast":
                core.SendPacketForAll(core.createPacket("BROADCAST", argument))
            case "disconnect":
                self._one(argument).disconnect()
            case "dropall":
                for one in everybody:
                    one.disconnect()
            case "actions":
                self._show(core.GetActions())
            case "trigger":
                core.GetActions()[argument].run()
            case "threads":
                self._show(core.GetThreadInfo()["names"])
            case "token":
                self._show([core.getToken()])
            case "start" | "stop":
                getattr(core, command)()
            case "clear":
                click.clear()
            case "mode":
                self.ostype = argument or self.ostype
                self._show([f"Mode: {self.ostype}"])
            case "help":
                click.echo(_HELP)
            case _:
                self._show(["unknown command"])

    def _one(self, uuid: str) -> Connection:
        connection: Connection | None = self.core.GetConnection(uuid)
        if connection is None:
            raise LookupError(f"no connection {uuid}")
        return connection

    def _show(self, lines: Any) -> None:
        for line in lines:
            click.echo(escaped(str(line)))  # a peer chose some of it
