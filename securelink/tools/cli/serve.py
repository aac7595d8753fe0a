"""`securelink serve`: an echo server, to try connections, options and the console with."""

from __future__ import annotations

import contextlib
import shlex
from contextlib import AbstractContextManager
from pathlib import Path

import click

from ...app.declared import CLIENT_KEYS, ENCRYPTION
from ...app.received import Received
from ...auth import JoinTokens
from ...keys.files import absolute
from ...server import Server
from ...session import Session
from ..console import Console, Operators
from .inviting import add_invites
from .operate import OPERATORS, run_console, running, state_options, wait_for_the_end
from .program import ask_passphrase, keys_option, passphrase_option, tell
from .target import application_options


@click.command("serve")
@click.option("--host", default="", metavar="ADDRESS", help="Listen here only.  [default: all]")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=5050,
    show_default=True,
    help="0 takes a free one.",
)
@click.option(
    "--encryption",
    type=click.Choice(list(ENCRYPTION)),
    default="required",
    show_default=True,
    help="What is asked of clients.",
)
@click.option("--plaintext", is_flag=True, help="The same as --encryption off.")
@click.option("--tokens", is_flag=True, help="Let in only who has a join token.")
@click.option(
    "--client-keys",
    type=click.Choice(list(CLIENT_KEYS)),
    default="welcome",
    show_default=True,
    help="Whether clients need keys; 'known' wants authorized ones.",
)
@application_options
@click.option(
    "--metrics",
    metavar="HOST:PORT",
    help="Serve /metrics (for Prometheus) and /healthz there, without a login.",
)
@click.option("--console", "with_console", is_flag=True, help="Take the operator's commands here.")
@state_options
@keys_option
@passphrase_option
def serve(
    host: str,
    port: int,
    encryption: str,
    plaintext: bool,
    tokens: bool,
    client_keys: str,
    application: str,
    app_version: str,
    metrics: str | None,
    state: Path | None,
    state_sync: str,
    directory: str,
    with_passphrase: bool,
    with_console: bool,
) -> None:
    """
    Run an echo server: a packet named "echo" comes back to the client that sent it.

    Use it to try a connection, an option or the console; `securelink chat` is for talking with people. The first start
    makes a key. Ctrl-C stops the server. With --state its sessions go on in the next one.

    \b
    $ securelink serve --port 5050
    [Server INFO] Server IP: 192.168.1.40
    [Server INFO] Server PORT: 5050
    [Server INFO] Key: SHA256:9Y0kX... (/home/ann/keys/server_private.pem)
    $ securelink connect 192.168.1.40 5050            on another machine
    """
    if plaintext:
        source = click.get_current_context().get_parameter_source("encryption")
        if source is click.core.ParameterSource.COMMANDLINE and encryption != "off":
            raise click.UsageError(f"--plaintext contradicts --encryption {encryption}")
        encryption = "off"
    folder = Path(directory)
    operators = Operators(folder / OPERATORS)
    server = Server(
        host,
        port,
        keys=folder,
        encryption=encryption,
        authenticate=operators.admit(JoinTokens(folder / "join_tokens.json")) if tokens else None,
        client_keys=client_keys,
        application=application,
        version=app_version,
        passphrase=ask_passphrase(with_passphrase),
        state=state,
        state_sync=state_sync,
    )
    server.on("echo", echo)
    console = Console(server)
    operators.serve(server, console)
    with contextlib.ExitStack() as stack:
        if metrics is not None:
            stack.enter_context(_metrics(server, metrics))
        stack.enter_context(running(server, state))
        if tokens:
            host_shown = server.host or server.lan_address
            add_invites(console, server, JoinTokens(folder / "join_tokens.json"), host_shown)
        _explain(server, directory, tokens, application, app_version)
        if with_console:
            run_console(server, console, state)
        else:
            tell("Ctrl-C stops it")
            wait_for_the_end(server)


def _metrics(server: Server, where: str) -> AbstractContextManager[object]:
    host, _, port = where.rpartition(":")
    if not host or not port.isdecimal():  # no host would be all addresses
        raise click.UsageError(f"--metrics {where}: write HOST:PORT, such as 127.0.0.1:9100")
    from ...metrics import serve_metrics  # an extra: a server without metrics does not need it

    return serve_metrics(server, host.strip("[]"), int(port))


def _explain(server: Server, directory: str, tokens: bool, application: str, version: str) -> None:
    host, port = server.host or server.lan_address, server.address[1]
    if tokens:
        command = f"securelink token create --keys {shlex.quote(str(absolute(directory)))}"
        tell(f"invite somebody with: {command} --host {host} --port {port}")
    else:
        words = ["securelink", "connect", host, str(port)]
        words += ["--plaintext"] * (server.fingerprint is None)
        words += ["--application", application] * bool(application)
        words += ["--app-version", version] * bool(version)
        tell(f"connect with: {shlex.join(words)}")


def echo(session: Session, packet: Received) -> None:
    """Send a packet's data back."""
    session.send("echo", packet.data)
