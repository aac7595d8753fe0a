"""`securelink attach`, and the common part of commands with `--console`."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from ...client import Client
from ...codes import Code
from ...errors import ConnectionClosed, LinkTimeout, PeerIncompatible, Refused, RequestFailed
from ...keys import load_or_create
from ...keys.files import absolute
from ...server import Server
from ...signals import ends_by_exit, is_restart
from ...state import SYNC
from ...text import escaped_lines
from ...trust import KnownServers
from ..console import Attachment, Console, attach
from ..console.prompt import Prompt
from .connect import enter, tell_of_breaks
from .program import (
    Decorated,
    ask_passphrase,
    dimmed,
    keys_option,
    known_servers_file,
    passphrase_option,
    tell,
)
from .target import application_options, target, timeout_option, where_arguments

OPERATORS = "authorized_operators"  # file in the keys folder: whose keys may attach
HISTORY = "console_history"
MAX_ANSWER = 100_000  # characters of one answer that are shown; the server may be anybody
_LOOK = 0.2  # seconds; a wait without end keeps Ctrl-C from being seen on some platforms


def state_options(command: Decorated) -> Decorated:
    """`--state` and `--state-sync`."""
    for decorate in (
        click.option(
            "--state-sync",
            type=click.Choice(list(SYNC)),
            default="turn",
            show_default=True,
            help="When it is on the disk: before anybody is told, once in 10 ms, or some time.",
        ),
        click.option(
            "--state",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            help="Keep the sessions in FILE: they go on when this command is started again, however it ended.",
        ),
    ):
        command = decorate(command)
    return command


@contextlib.contextmanager
def running(server: Server, state: Path | None) -> Iterator[None]:
    """
    Serve in the background during the block, which SIGTERM and SIGHUP leave.

    The sessions that `state` keeps are handed over then to whoever has the file next, unless `stop` was typed; others
    end. When a service manager asks for the end, their clients hear when to come back.

    Raises:
        StateError: `state` cannot be used, or could be written no more.
    """
    with ends_by_exit():
        hands_over = state is not None
        try:
            server.start()
            yield
        except SystemExit as ending:
            hands_over = hands_over or is_restart(ending)
            raise
        finally:
            if hands_over:
                server.drain()
            server.stop()
    if server.failure is not None:
        raise server.failure


def wait_for_the_end(server: Server) -> None:
    """Until the server stops."""
    while server.running:
        time.sleep(_LOOK)


def run_console(server: Server, console: Console, state: Path | None) -> None:
    """Take commands from the terminal until the server stops or the input ends."""
    kept = " and keeps the sessions; 'stop' ends them" if state is not None else ""
    tell(f"type 'help' for the commands; Ctrl-D stops the server{kept}")
    prompt = Prompt("> ", complete=console.complete)
    server.on_stop.add_listener(prompt.end)
    with contextlib.closing(prompt.lines()) as lines:
        _execute(server, console, lines)


def _execute(server: Server, console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        answer = console.execute(line)
        if answer:
            click.echo(answer)
        if line.split()[:1] == ["stop"]:
            server.stop()  # before anything else ends it: sessions are not handed over then
        if not server.running:
            return


@click.command("attach")
@where_arguments
@application_options
@timeout_option
@keys_option
@passphrase_option
def attach_console(
    host: str | None,
    port: int | None,
    invite_file: Path | None,
    application: str,
    app_version: str,
    timeout: float,
    directory: str,
    with_passphrase: bool,
) -> None:
    """
    Operate a running server from afar: HOST and PORT, or an invite; without arguments it asks for it.

    Your key (client_private.pem in --keys, made when it is missing) must be authorized there; it needs no token and
    no application. A server that is not known yet is not trusted before you have compared its fingerprint.

    \b
    securelink keys create --name client                           on your machine: prints the fingerprint
    securelink keys authorize --operator SHA256:... --as ann       at the server, in the folder where it runs
    securelink attach game.example 5050                            on your machine
    """
    where = target(host, port, invite_file)
    folder = absolute(directory)
    identity, _ = load_or_create(folder, "client", ask_passphrase(with_passphrase))
    known = KnownServers(known_servers_file(directory))
    client = Client(
        where.host,
        where.port,
        keys=identity,
        pin=where.pin,
        trust="known",
        known_servers=known.path,
        application=application,
        version=app_version,
    )
    try:
        _enter(client, known, timeout)
        _operate(attach(client, timeout), client, folder)
    finally:
        client.close()


def _enter(client: Client, known: KnownServers, timeout: float) -> None:
    """
    Connect. Operators need no token, no password and no application: whatever a server asks others for, what is missing
    is that their key is authorized.
    """
    try:
        enter(client, known, timeout)
    except (Refused, PeerIncompatible) as error:
        if error.code in (Code.REFUSED, Code.CLIENT_KEY_UNKNOWN, Code.APPLICATION):
            error.hint = (
                "operators are let in by their key: at the server, in the folder where it runs, somebody must run: "
                f"securelink keys authorize --operator {client.fingerprint} --as NAME"
            )
        raise


def _operate(attachment: Attachment, client: Client, folder: Path) -> None:
    history = folder / HISTORY if sys.stdin.isatty() else None
    prompt = Prompt("> ", history=history)
    attachment.on_line(lambda text: click.echo(dimmed(text)))
    # Broadcasts of the application are not for the console, and must not pile up unread.
    client.on_message.add_listener(lambda packet: None)
    client.on_disconnect.add_listener(prompt.end)
    tell_of_breaks(client)
    tell("attached; 'help' lists the commands, 'exit' detaches and leaves the server running")
    with contextlib.closing(prompt.lines()) as lines:
        _execute_there(attachment, lines)
    if client.ended:
        try:
            client.poll()
        except ConnectionClosed as error:
            tell(f"detached: {error.message}")


def _execute_there(attachment: Attachment, lines: Iterable[str]) -> None:
    for line in lines:
        if line.strip().lower() in ("exit", "quit"):
            return
        try:
            answer = attachment.execute(line)
        except (RequestFailed, LinkTimeout) as error:
            answer = f"error: {error.message}"
        except ConnectionClosed:
            return
        if answer:
            click.echo(shortened(answer))


def shortened(answer: str) -> str:
    """An answer of a server, harmless in a terminal and not endless."""
    shown = escaped_lines(answer[:MAX_ANSWER])
    return shown if len(answer) <= MAX_ANSWER else f"{shown}..."
