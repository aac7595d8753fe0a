"""`securelink chat serve | join`: chat for people."""

from __future__ import annotations

from pathlib import Path

import click

from ..auth import JoinTokens
from ..chat import ChatClient, ChatServer
from ..client import Client
from ..console import Console, Operators
from ..console.prompt import Prompt
from ..errors import ConnectionClosed, RequestFailed
from ..invite import Invite
from ..server import Server
from .operate import OPERATORS, run_console, wait_for_the_end
from .program import Group, ask_passphrase, keys_option, known_servers_file, passphrase_option, tell


@click.group("chat", cls=Group)
def chat() -> None:
    """
    Chat with people: names, rooms, history.

    \b
    securelink chat serve                        prints an invite; give it to your friends
    securelink chat join 'securelink://...'      enter with it
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
@click.option("--console", "with_console", is_flag=True, help="Take the operator's commands here.")
@keys_option
@passphrase_option
def serve_chat(
    host: str,
    port: int,
    public: str | None,
    everybody: bool,
    with_console: bool,
    directory: str,
    with_passphrase: bool,
) -> None:
    """
    Run a chat server and print an invite to it. Ctrl-C ends it.

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
        application="securelink chat",
        passphrase=ask_passphrase(with_passphrase),
    )
    people = ChatServer(server)
    console = Console(server, say=people.announce)
    operators.serve(server, console)
    with server:
        address = public or server.host or server.lan_address
        token = None if everybody else tokens.create(uses=None, note="chat serve")
        assert server.fingerprint is not None
        link = Invite(address, server.address[1], server.fingerprint, token)
        tell("your friends enter with (add --name to be called something):")
        click.echo(f"securelink chat join '{link}'")
        if with_console:
            run_console(server, console)
        else:
            tell("Ctrl-C ends it")
            wait_for_the_end(server)
        if token is not None:
            tokens.revoke(token)


@chat.command("join")
@click.argument("invite")
@click.argument("port", type=click.IntRange(1, 65535), required=False)
@click.option("--name", help="What you want to be called.")
@keys_option
def join_chat(invite: str, port: int | None, name: str | None, directory: str) -> None:
    """
    Enter a chat by its INVITE (or host and port, if it is open). `exit` leaves, `/help` helps.

    \b
    securelink chat join 'securelink://203.0.113.7:5050/?key=SHA256:...&token=...' --name ann
    """
    client = Client(
        invite,
        port,
        known_servers=known_servers_file(directory),
        application="securelink chat",
    )
    client.on_disconnect.add_listener(lambda: click.echo("* the chat has ended; Enter leaves"))
    with client:
        try:
            person = ChatClient(client, click.echo, name)
            for line in Prompt("").lines():
                if not person.line(line):
                    break
        except RequestFailed as error:
            raise click.ClickException(error.message) from None
        except ConnectionClosed as error:
            raise click.ClickException(error.message) from None
    tell("you have left")
