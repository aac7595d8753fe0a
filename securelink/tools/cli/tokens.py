"""`securelink token ...`: join tokens and invites, for a server that runs with `--tokens`."""

from __future__ import annotations

import math
import time

import click

from ...auth import JoinTokens
from ...errors import ConfigError, KeyFileError
from ...invite import Invite
from ...keys import PublicKey
from ...keys.files import absolute
from ...keys.identity import key_paths
from ...limits import INVITE_SECONDS
from ...trust import read_trust_file
from .program import PORT, Group, keys_option, lifetime, number_of_uses, show_table, span, tell


@click.group("token", cls=Group)
def token() -> None:
    """
    Make, list and revoke join tokens.

    A join token is a uuid4 that lets its holder into a server that runs with `--tokens`. Only its hash is kept; a
    running server sees new and revoked tokens at once.

    \b
    securelink token create --user ann --lifetime 2h
    securelink token create --user ann --host 192.168.1.40 --port 5050      a whole invite
    """


def _join_tokens(directory: str) -> JoinTokens:
    return JoinTokens(absolute(directory) / "join_tokens.json")


@token.command("create")
@click.option("--user", help="Whom it admits.  [default: a guest]")
@click.option(
    "--uses",
    callback=number_of_uses,
    default="1",
    show_default=True,
    metavar="NUMBER",
    help="How often; 'any' for any number.",
)
@click.option(
    "--lifetime",
    "wished",
    callback=lifetime,
    metavar="TIME",
    help="How long: 90s, 30m, 2h, 7d, ever.  [default: 7d]",
)
@click.option("--note", default="", help="What it is for; seen in the list.")
@click.option("--host", help="Print an invite to the server at this name or address.")
@click.option("--port", type=PORT, help="The server's port, for the invite.  [default: 5050]")
@keys_option
def create(
    user: str | None,
    uses: int | None,
    wished: float | None,
    note: str,
    host: str | None,
    port: int | None,
    directory: str,
) -> None:
    """
    Make a join token, or an invite that holds one, and print it. It is never shown again. An invite needs no quotes.

    \b
    $ securelink token create --user ann --host game.example --port 5050
    securelink://game.example:5050/SHA256:9Y0kX.../6e0d5a6c-...
    $ securelink connect                                            asks for it
    """
    if host is None and port is not None:
        raise click.UsageError("--port goes with --host")
    tokens = _join_tokens(directory)
    # Checked before the token exists: one that could not be printed would be lost.
    invite = _invite(host, port or 5050, directory) if host is not None else None
    seconds = INVITE_SECONDS if wished is None else wished
    ends = None if seconds == math.inf else seconds
    made = tokens.create(user, uses=uses, lifetime=ends, note=note)
    tell(f"for {_terms(user, uses, ends)}; it is shown only now")
    if invite is None:
        click.echo(made)
    else:
        click.echo(str(Invite(invite.host, invite.port, invite.fingerprint, made)))


def _invite(host: str, port: int, directory: str) -> Invite:
    _, public_path = key_paths(directory, "server")
    if not public_path.is_file():
        raise KeyFileError(
            f"an invite holds the fingerprint of the server's key, and there is no {public_path}",
            hint="name the server's folder with --keys, or make its key with: securelink keys create",
        )
    # An attacker who could write this file would make all invited people trust another key.
    key = PublicKey.from_pem(read_trust_file(public_path), source=str(public_path))
    return Invite(host, port, key.fingerprint)


def _terms(user: str | None, uses: int | None, lifetime: float | None) -> str:
    often = {None: "any number of uses", 1: "one use"}.get(uses, f"{uses} uses")
    until = f", for {span(lifetime)}" if lifetime is not None else ", without an end"
    return f"{user or 'a guest'}, {often}{until}"


@token.command("list")
@keys_option
def list_tokens(directory: str) -> None:
    """
    List the join tokens: what they are for, never the tokens themselves.
    """
    tokens = _join_tokens(directory)
    now = time.time()
    rows = [
        (
            entry.id,
            entry.admits,
            entry.state(now),
            "any" if entry.uses is None else str(entry.uses),
            "never" if entry.expires is None else _ends(entry.expires - now),
            entry.note,
        )
        for entry in tokens.entries()
    ]
    if rows:
        show_table(("ID", "USER", "STATE", "USES LEFT", "ENDS", "NOTE"), rows)
    else:
        tell(f"there are no join tokens in {tokens.path}")


def _ends(seconds: float) -> str:
    return f"in {span(seconds)}" if seconds > 0 else "ended"


@token.command("revoke")
@click.argument("token_or_id", metavar="TOKEN|ID")
@keys_option
def revoke(token_or_id: str, directory: str) -> None:
    """
    End a join token, named by itself or by its ID from the list.

    Who is in stays in, until the server kicks.
    """
    tokens = _join_tokens(directory)
    if not tokens.revoke(token_or_id):
        raise ConfigError(
            f"there is no valid join token of that name in {tokens.path}",
            hint="see: securelink token list",
        )
    click.echo("revoked")
