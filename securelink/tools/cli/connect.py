"""`securelink connect`: send typed lines to a server as packets, and show the packets that arrive."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import click

from ...app.received import Received
from ...client import Client
from ...codes import Code
from ...errors import CodecError, NotTrusted, Refused
from ...interrupts import Sign
from ...keys import Identity
from ...keys.identity import key_paths
from ...streams.addresses import shown
from ...text import escaped, shortened
from ...trust import KnownServers
from ..console.prompt import Prompt
from .program import ask_passphrase, keys_option, known_servers_file, passphrase_option, tell
from .target import (
    Target,
    application_options,
    target,
    timeout_option,
    token_option,
    where_arguments,
)

MAX_SHOWN = 2000  # characters of one packet; the server may be anybody


@click.command("connect")
@where_arguments
@click.option(
    "--plaintext", is_flag=True, help="Without encryption; anyone on the path can listen."
)
@token_option
@click.option(
    "--action",
    default="echo",
    show_default=True,
    metavar="NAME",
    help="The name of the packets that carry the lines.",
)
@application_options
@click.option(
    "--session",
    metavar="FILE",
    help="Go on with the session of a run with the same file that was killed. The file is a secret.",
)
@timeout_option
@click.option(
    "--wait",
    type=click.FloatRange(0, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How long answers are still shown after the end of a piped input.",
)
@keys_option
@passphrase_option
def connect(
    host: str | None,
    port: int | None,
    invite_file: Path | None,
    plaintext: bool,
    token: str | None,
    action: str,
    application: str,
    app_version: str,
    session: str | None,
    timeout: float,
    wait: float,
    directory: str,
    with_passphrase: bool,
) -> None:
    """
    Send typed lines to a server, and show the packets that arrive. `exit` leaves.

    Each line is the data of a packet named "echo", which `securelink serve` sends back; --action sets another name
    for all lines, and a line `/NAME TEXT` for itself.

    Without arguments the command asks for the invite, which keeps it out of the list of processes and the shell's
    history. If the server is not known yet, the command shows its fingerprint and asks whether to trust it; no token
    is sent before that. If the folder holds a key named client, the server may see it. With --plaintext a token from
    the environment is not used.

    \b
    securelink connect                                 asks for the invite
    securelink connect 192.168.1.40 5050
    securelink connect --invite-file invite.txt
    echo hello | securelink connect localhost 5050 --wait 5
    """
    where = target(host, port, invite_file, token, plaintext=plaintext)
    known = KnownServers(known_servers_file(directory))
    client = Client(
        where.host,
        where.port,
        keys=None if plaintext else client_key(directory, with_passphrase),
        encryption="off" if plaintext else "required",
        token=where.token,
        pin=where.pin,
        trust=None if plaintext else "known",
        known_servers=known.path,
        application=application,
        version=app_version,
        session=session,
    )
    try:
        enter(client, known, timeout, where)
        if client.resumed:
            tell("the session of an earlier run goes on")
        tell(f"connected to {shown(client.host, client.port)}, {_protection(client)}")
        tell(f"each line is sent as {action!r}, and /NAME TEXT as NAME; exit leaves")
        _talk(client, action, wait)
    finally:
        client.close()


def client_key(directory: str | Path, with_passphrase: bool) -> Identity | None:
    """The client's key, if it has one: a first try should not have to make any."""
    private_path, _ = key_paths(directory, "client")
    if not private_path.is_file():
        return None
    return Identity.load(private_path, ask_passphrase(with_passphrase))


def _protection(client: Client) -> str:
    return "encrypted" if client.encrypted else "in PLAINTEXT"


def enter(client: Client, known: KnownServers, timeout: float, where: Target | None = None) -> None:
    """Connect; the first time ask whether the key is the right one, and connect only then."""
    try:
        _meet(client, known, timeout)
    except Refused as error:
        if error.code == Code.CLIENT_KEY_UNKNOWN and client.fingerprint is not None:
            error.hint = (
                "at the server, in the folder where it runs, somebody must run: "
                f"securelink keys authorize {client.fingerprint} --as NAME"
            )
        elif where is not None and where.pin is not None and where.token is None:
            error.hint = (
                "the invite has a key and no token: was it in quotes? Paste the whole invite when "
                "you are asked for it"
            )
        elif where is not None and where.token is None and "join token" in error.text:
            error.hint = (
                "ask its operator for an invite (made by: securelink token create), and paste it when "
                "you are asked for it"
            )
        raise


def _meet(client: Client, known: KnownServers, timeout: float) -> None:
    try:
        client.connect(timeout)
    except NotTrusted as error:
        # A changed key is never a question: people say yes to questions.
        if error.expected is not None or not can_ask():
            raise
        # That attempt ended when the key was seen, before anything of ours was sent.
        place = shown(client.host, client.port)
        tell(f"{place} is not known here. It showed the key\n  {error.fingerprint}")
        tell("Compare it with the one that the server printed when it started.")
        if not click.confirm("Trust it from now on?", err=True):
            raise NotTrusted(
                f"{place} is not trusted; nothing was sent to it", fingerprint=error.fingerprint
            ) from None
        known.remember(client.host, client.port, error.fingerprint)
        client.connect(timeout)


def can_ask() -> bool:
    """Whether a person sits there."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _talk(client: Client, action: str, wait: float) -> None:
    """Run until one side leaves. Raises `ConnectionClosed` when the server ends the session."""
    prompt, over = Prompt("> "), Sign()
    client.on_message.add_listener(lambda packet: click.echo(described(packet)))
    client.on_disconnect.add_listener(prompt.end)
    client.on_disconnect.add_listener(over.set)
    tell_of_breaks(client)
    for packet in client.poll():  # what came before there was a listener
        click.echo(described(packet))
    with contextlib.closing(prompt.lines()) as lines:
        for line in lines:
            if line.strip() == "exit":
                return
            if not line.strip():
                continue
            name, _, text = line[1:].partition(" ") if line.startswith("/") else (action, "", line)
            try:
                client.send(name, text)
            except CodecError as error:  # such as a name that is too long
                tell(error.message)
    if not sys.stdin.isatty():  # answers come later than the end of a file
        over.wait(wait)
    if client.ended:
        client.poll()  # raises the reason


def tell_of_breaks(client: Client) -> None:
    """Say when the connection is lost, and when the session goes on over another one."""
    client.on_suspend.add_listener(lambda: tell("connection lost, trying again"))
    client.on_resume.add_listener(lambda replayed: tell("back"))


def described(packet: Received) -> str:
    """A packet as one line; its contents come from the peer, so they are escaped, and cut when they are long."""
    line = f"{_shown(packet.action)}: {_shown(packet.data)}"
    return line if len(line) <= MAX_SHOWN else f"{line[:MAX_SHOWN]}..."


def _shown(value: Any) -> str:
    return escaped(shortened(value if isinstance(value, str) else repr(value), MAX_SHOWN))
