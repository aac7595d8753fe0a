"""`securelink chat serve | join`: chat for people."""

from __future__ import annotations

import contextlib
import math
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import click

from ...auth import JoinTokens
from ...client import Client
from ...errors import ConnectionClosed, RequestFailed
from ...invite import Invite
from ...limits import CONNECT_SECONDS
from ...server import Server
from ...trust import KnownServers
from ..chat import ChatClient, ChatServer
from ..chat.client import free_name
from ..chat.names import checked_name
from ..chat.wrapping import wrapped
from ..console import Console, Operators
from ..console.prompt import Prompt
from .connect import can_ask, enter
from .inviting import add_invites, passing_token
from .operate import OPERATORS, run_console, running, state_options, wait_for_the_end
from .program import (
    Group,
    ask_passphrase,
    keys_option,
    known_servers_file,
    lifetime,
    passphrase_option,
    span,
    tell,
)
from .target import application_options, target, token_option, where_arguments

APPLICATION = "securelink chat"


@click.group("chat", cls=Group)
def chat() -> None:
    """
    Chat with people: names, rooms, history.

    \b
    securelink chat serve             prints an invite; give it to your friends
    securelink chat join              asks for the invite
    """


@chat.command("serve")
@click.option("--host", default="", metavar="ADDRESS", help="Listen here only.  [default: all]")
@click.option("--port", type=click.IntRange(0, 65535), default=5050, show_default=True)
@click.option(
    "--as",
    "public",
    metavar="ADDRESS",
    help="What the invite says: how friends reach this machine.",
)
@click.option(
    "--open", "everybody", is_flag=True, help="Let in everybody, not only who has the invite."
)
@click.option(
    "--lifetime",
    "seconds",
    callback=lifetime,
    default="7d",
    show_default=True,
    metavar="TIME",
    help="How long the invite is good at most: 90s, 30m, 2h, 7d, ever. Without --state it ends with the server, when "
    "that ends in order.",
)
@click.option("--console", "with_console", is_flag=True, help="Take the operator's commands here.")
@state_options
@keys_option
@passphrase_option
def serve_chat(
    host: str,
    port: int,
    public: str | None,
    everybody: bool,
    seconds: float,
    with_console: bool,
    state: Path | None,
    state_sync: str,
    directory: str,
    with_passphrase: bool,
) -> None:
    """
    Run a chat server and print an invite to it. Ctrl-C ends it, and with it the invite, but for --state: then people
    are where they were when it is started again, by the invite that they have.

    An invite that outlives the server: securelink token create --uses any --host ADDRESS, or `invite NAME` in the
    console.

    \b
    securelink chat serve --as 203.0.113.7 --console
    """
    folder = Path(directory)
    operators = Operators(folder / OPERATORS)
    tokens = JoinTokens(folder / "join_tokens.json")
    server = Server(
        host,
        port,
        keys=folder,
        authenticate=None if everybody else operators.admit(tokens),
        application=APPLICATION,
        passphrase=ask_passphrase(with_passphrase),
        state=state,
        state_sync=state_sync,
    )
    people = ChatServer(server)
    console = Console(server, say=people.announce, silence=people.silence)
    people.banned = console.banned
    operators.serve(server, console)
    with contextlib.ExitStack() as ends, running(server, state):
        address = public or server.host or server.lan_address
        token = None
        if not everybody:
            ending = None if seconds == math.inf else seconds
            made = passing_token(tokens, ending, "chat serve", outlives=state is not None)
            token = ends.enter_context(made)
            add_invites(console, server, tokens, address)
        _explain(server, address, token, seconds, outlives=state is not None)
        if with_console:
            run_console(server, console, state)
        else:
            tell("Ctrl-C ends it")
            wait_for_the_end(server)


def _explain(
    server: Server, address: str, token: str | None, seconds: float, *, outlives: bool
) -> None:
    assert server.fingerprint is not None
    link = Invite(address, server.address[1], server.fingerprint, token)
    tell("your friends run: securelink chat join --name NAME     and paste this invite:")
    click.echo(str(link))
    if token is not None and outlives:
        ends = "and does not end" if seconds == math.inf else f"for {span(seconds)}"
        tell(f"it lets in everybody who has it, {ends}; as long they can come back after a restart")
    elif token is not None:
        at_most = "" if seconds == math.inf else f", and after {span(seconds)} at the latest"
        tell(f"it lets in everybody who has it, and ends with this server{at_most}")


@chat.command("join")
@where_arguments
@token_option
@click.option("--name", help="What you want to be called.")
@application_options
@keys_option
def join_chat(
    host: str | None,
    port: int | None,
    invite_file: Path | None,
    token: str | None,
    name: str | None,
    application: str,
    app_version: str,
    directory: str,
) -> None:
    """
    Enter a chat by its INVITE (or host and port, if it is open). `exit` leaves, `/help` helps.

    Without arguments it asks for the invite, which so stays out of the list of processes and the shell's history. When
    the connection breaks it comes back by itself, under the same name.

    \b
    securelink chat join --name ann
    securelink chat join --name ann --invite-file invite.txt
    """
    if name is not None:
        _name(name)  # before anybody pastes an invite for nothing
    where = target(host, port, invite_file, token)
    known = KnownServers(known_servers_file(directory))
    client = Client(
        where.host,
        where.port,
        pin=where.pin,
        token=where.token,
        trust="known",
        known_servers=known.path,
        application=application or APPLICATION,
        version=app_version,
    )
    prompt = Prompt("")
    over: list[str] = []

    def ended(reason: str) -> None:
        over.append(reason)
        prompt.end()

    person = None
    try:
        enter(client, known, CONNECT_SECONDS, where)
        person = _entered(client, name, ended)
        with contextlib.closing(prompt.lines()) as lines:
            _talk(person, lines)
    except (RequestFailed, ConnectionClosed) as error:
        raise click.ClickException(error.message) from None
    finally:
        if person is not None:
            person.leave()
        client.close()
    if over:
        raise click.ClickException(over[0])
    tell("you have left")


def _talk(person: ChatClient, lines: Iterable[str]) -> None:
    for line in lines:
        if not person.line(line):
            return


def _entered(client: Client, name: str | None, ended: Callable[[str], None]) -> ChatClient:
    """Enter; if the wished name is taken, ask for another one."""
    while True:
        try:
            return ChatClient(client, _show, name, ended)
        except RequestFailed as error:
            free = free_name(error.text)
            if free is None:
                raise
            if not can_ask():
                raise RequestFailed(f"{error.text}: add --name {shlex.quote(free)}") from None
            tell(error.text)
            name = click.prompt("another name, or exit", default=free, value_proc=_name, err=True)
            if name == "exit":
                raise click.exceptions.Exit from None


def _show(text: str) -> None:
    """A line, or more, as the terminal has room for them; in a pipe as they are."""
    if sys.stdout.isatty():
        text = wrapped(text, shutil.get_terminal_size().columns)
    click.echo(text)


def _name(wished: str) -> str:
    """A name that the chat accepts unless it is taken; otherwise the error that click shows before it asks again."""
    try:
        return checked_name(wished)
    except RequestFailed as error:
        raise click.BadParameter(error.message, param_hint="--name") from None
