"""`securelink attach`, and what commands with `--console` share."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from ..client import Client
from ..console import Console, attach
from ..console.prompt import Prompt
from ..errors import ConnectionClosed, LinkTimeout, RequestFailed
from ..keys.files import absolute
from ..server import Server
from .program import keys_option, known_servers_file, tell

OPERATORS = "authorized_operators"  # file in the keys folder: whose keys may attach
HISTORY = "console_history"


def wait_for_the_end(server: Server) -> None:
    """Until the server stops, Ctrl-C, or the signal by which systems stop services."""

    def terminated(number: int, frame: FrameType | None) -> NoReturn:
        sys.exit(128 + number)

    # Signals reach the main thread only; elsewhere (in a test) the caller ends us.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, terminated)
    while server.running:
        # Slices: a wait without end would keep Ctrl-C from being seen on some platforms.
        threading.Event().wait(0.2)


def run_console(server: Server, console: Console) -> None:
    """Take commands from the terminal until the server stops or the input ends."""
    tell("type 'help' for the commands; Ctrl-D stops the server")
    for line in Prompt("> ", complete=console.complete).lines():
        answer = console.execute(line)
        if answer:
            click.echo(answer)
        if not server.running or line.split()[:1] == ["stop"]:
            return


@click.command("attach")
@click.argument("host")
@click.argument("port", type=click.IntRange(1, 65535), required=False)
@keys_option
@click.option(
    "--passphrase", "passphrase", is_flag=True, help="Ask for the passphrase of your key."
)
def attach_console(host: str, port: int | None, directory: str, passphrase: bool) -> None:
    """
    Operate a running server from afar: HOST and PORT, or an invite.

    Your key (client_private.pem in --keys, made when it is missing) must be authorised there:

    \b
    securelink keys show client                                    on your machine
    securelink keys authorize --operator SHA256:... --as ann       at the server
    securelink attach game.example 5050
    """
    folder = absolute(directory)
    secret = click.prompt("passphrase", hide_input=True, err=True) if passphrase else None
    client = Client(
        host, port, keys=folder, passphrase=secret, known_servers=known_servers_file(directory)
    )
    attachment = attach(client)
    attachment.on_line(lambda text: click.echo(click.style(text, dim=True)))
    tell("attached; 'help' lists the commands, 'exit' detaches and leaves the server running")
    client.on_disconnect.add_listener(lambda: tell("the session is over; press Enter"))
    history = folder / HISTORY if sys.stdin.isatty() else None
    try:
        for line in Prompt("> ", history=_private(history)).lines():
            if line.strip().lower() in ("exit", "quit") or not client.connected:
                break
            _run(attachment.execute, line)
    except ConnectionClosed as error:
        tell(f"detached: {error.message}")
    finally:
        attachment.close()


def _run(execute: object, line: str) -> None:
    assert callable(execute)
    try:
        answer = execute(line)
    except (RequestFailed, LinkTimeout) as error:
        answer = f"error: {error.message}"
    if answer:
        click.echo(answer)


def _private(history: Path | None) -> Path | None:
    """What an operator typed may be nobody else's business."""
    if history is not None:
        history.touch(mode=0o600, exist_ok=True)
    return history
