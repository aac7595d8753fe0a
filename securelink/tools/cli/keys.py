"""`securelink keys ...`: make keys, look at them, and say whose keys are trusted."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ...errors import KeyFileError, SecureLinkError
from ...keys import Identity, PublicKey, createEncryptKeys
from ...keys.files import absolute, check_folder, read_file
from ...keys.identity import key_paths
from ...limits import DEFAULT_RSA_BITS, MAX_KEY_FILE, MAX_RSA_BITS, MIN_RSA_BITS
from ...trust import AuthorizedClients, KnownServers
from ...trust.rotation import rotate
from .operate import OPERATORS
from .program import (
    PORT,
    Command,
    Group,
    ask_passphrase,
    duration,
    keys_option,
    known_servers_file,
    passphrase_option,
    show_error,
    show_table,
    tell,
)

_PUBLIC, _PRIVATE = "_public.pem", "_private.pem"


@click.group("keys", cls=Group)
def keys() -> None:
    """
    Make and show keys, and say whose keys are trusted.

    \b
    securelink keys create                    keys/server_private.pem and keys/server_public.pem
    securelink keys show                      the fingerprint, as `ssh-keygen -lf` prints it
    securelink keys trust game.example 5050 SHA256:fQ3...
    """


def _create(name: str, directory: str, bits: int, with_passphrase: bool) -> None:
    passphrase = ask_passphrase(with_passphrase, new=True)
    identity = createEncryptKeys(directory, name, bits, passphrase)
    private_path, public_path = key_paths(directory, name)
    click.echo(f"private key  {private_path}  (secret: nobody else may read it)")
    click.echo(f"public key   {public_path}  (for anybody)")
    click.echo(f"fingerprint  {identity.fingerprint}")


def _create_options(command: Callable[..., Any]) -> Callable[..., Any]:
    decorators = (
        click.option(
            "--name",
            default="server",
            show_default=True,
            help="What the file names begin with: server, client, ...",
        ),
        keys_option,
        click.option(
            "--bits",
            type=click.IntRange(MIN_RSA_BITS, MAX_RSA_BITS),
            default=DEFAULT_RSA_BITS,
            show_default=True,
            help="Size of the RSA key.",
        ),
        click.option(
            "--passphrase",
            "with_passphrase",
            is_flag=True,
            help="Ask for a passphrase and encrypt the private key with it.",
        ),
    )
    for decorate in reversed(decorators):
        command = decorate(command)
    return command


@keys.command("create")
@_create_options
def create(name: str, directory: str, bits: int, with_passphrase: bool) -> None:
    """
    Make a key pair. Existing files are never overwritten.

    \b
    $ securelink keys create --name client
    private key  /home/ann/keys/client_private.pem  (secret: nobody else may read it)
    public key   /home/ann/keys/client_public.pem  (for anybody)
    fingerprint  SHA256:9Y0kXQ5f4nW1mB0Yw0cJ0oJ5s7m4oWZ2fZ1r0n6vT3s
    """
    _create(name, directory, bits, with_passphrase)


@click.command("createEncryptKeys", cls=Command)
@_create_options
def create_encrypt_keys_command(
    name: str, directory: str, bits: int, with_passphrase: bool
) -> None:
    """
    Make an RSA key pair: keys/server_private.pem and keys/server_public.pem.

    The same as `securelink keys create`. Existing files are never overwritten.

    \b
    createEncryptKeys
    createEncryptKeys --name client --directory ~/game/keys
    """
    _create(name, directory, bits, with_passphrase)


@keys.command("show")
@click.argument("key", default="server", metavar="[NAME|FILE]")
@keys_option
@passphrase_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "pem", "pkcs1", "openssh"]),
    default="text",
    show_default=True,
    help="Print the public key in this form instead: PEM, PKCS#1 PEM (python-rsa), OpenSSH.",
)
def show(key: str, directory: str, with_passphrase: bool, form: str) -> None:
    """
    Show the public part of a key: of a NAME in the folder, or in a FILE.

    \b
    securelink keys show                          the server's key
    securelink keys show client --format openssh
    securelink keys show ~/.ssh/id_rsa.pub
    """
    public, path = _find(key, directory, with_passphrase)
    if form == "pem":
        click.echo(public.to_pem(), nl=False)
    elif form == "pkcs1":
        click.echo(public.to_pkcs1_pem(), nl=False)
    elif form == "openssh":
        click.echo(public.to_openssh())
    else:
        click.echo(f"fingerprint  {public.fingerprint}")
        click.echo(f"size         {public.bits} bits, RSA")
        click.echo(f"file         {path}")


def _find(key: str, directory: str, with_passphrase: bool) -> tuple[PublicKey, Path]:
    """The public key of a name in the folder, or in a file, and where it was found."""
    folder = absolute(directory)
    names = _names(folder)
    if key in names:
        private_path, path = key_paths(folder, key)
        if not path.is_file():
            path = private_path
    elif "/" in key or "\\" in key or "." in key:
        path = absolute(key)
    else:
        raise KeyFileError(
            f"there is no key named {key!r} in {folder}",
            hint=f"there are: {', '.join(names)}"
            if names
            else "make one with: securelink keys create",
        )
    missing = "give a file, or the name of a key in --keys"
    # A key of the folder is ours: its fingerprint is told to others. A file that was named may be anybody's.
    data = read_file(path, MAX_KEY_FILE, missing=missing, believed=key in names)
    if b"PRIVATE KEY-----" in data:
        return Identity.load(path, ask_passphrase(with_passphrase)).public, path
    return PublicKey.from_pem(data, source=str(path)), path


def _names(folder: Path) -> list[str]:
    """Names of the keys in a folder; none when the folder does not exist."""
    try:
        files = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError:
        return []
    ends = (_PUBLIC, _PRIVATE)
    return sorted({name.removesuffix(end) for name in files for end in ends if name.endswith(end)})


@keys.command("rotate")
@click.option("--name", default="server", show_default=True, help="What its file names begin with.")
@keys_option
@click.option(
    "--bits",
    type=click.IntRange(MIN_RSA_BITS, MAX_RSA_BITS),
    default=DEFAULT_RSA_BITS,
    show_default=True,
    help="Size of the new key.",
)
@click.option(
    "--follow",
    "lifetime",
    default="90d",
    show_default=True,
    callback=duration,
    metavar="TIME",
    help="How long clients that know the old key may follow; at most a year.",
)
@passphrase_option
def rotate_key(
    name: str, directory: str, bits: int, lifetime: float, with_passphrase: bool
) -> None:
    """
    Put a new key in the place of a server's key, which signs it.

    Restart the server then. Clients that know the old key follow to the new one by themselves, once, with a line in
    their log; clients with a pin or an invite need the new fingerprint or a new invite. The old key stays in the folder
    under another name. If anything fails the old pair stays. A key file that is a symbolic link is refused.

    Not for a key that was stolen: its thief could sign a key of his own. Make a new one then, and tell the clients.

    \b
    $ securelink keys rotate
    old key      SHA256:9Y0kXQ5f4nW1mB0Yw0cJ0oJ5s7m4oWZ2fZ1r0n6vT3s  (keys/server-old-f58d2441_private.pem)
    new key      SHA256:2J1q2o0b3h0mC5sT4u8vW6xY7zA9bC1dE3fG5hI7jK8
    clients follow until 2026-05-01 12:00; restart the server to use the new key
    """
    passphrase = ask_passphrase(with_passphrase)
    done = rotate(directory, name, bits=bits, passphrase=passphrase, lifetime=lifetime)
    click.echo(f"old key      {done.old.fingerprint}  ({done.kept})")
    click.echo(f"new key      {done.new.fingerprint}")
    until = time.strftime("%Y-%m-%d %H:%M", time.localtime(done.expires))
    click.echo(f"clients follow until {until}; restart the server to use the new key")


@keys.command("list")
@keys_option
def list_keys(directory: str) -> None:
    """
    List the keys, the known servers and the authorized clients of a folder.
    """
    folder = absolute(directory)
    names = _names(folder)
    if names:
        check_folder(folder)
    known = KnownServers(known_servers_file(directory))
    authorized = AuthorizedClients(folder / "authorized_clients")
    parts = (
        (
            ("KEY", "BITS", "FINGERPRINT", "PRIVATE PART"),
            [_key_row(folder, name) for name in names],
        ),
        (
            ("KNOWN SERVER", "PORT", "FINGERPRINT", "NOTE"),
            [(e.host, str(e.port), e.fingerprint, e.comment) for e in known.entries()],
        ),
        (
            ("AUTHORIZED CLIENT", "FINGERPRINT", "NOTE"),
            [(e.name, e.fingerprint, e.comment) for e in authorized.entries()],
        ),
        (
            ("OPERATOR", "FINGERPRINT", "NOTE"),
            [(e.name, e.fingerprint, e.comment) for e in _authorized(directory, True).entries()],
        ),
    )
    shown = [(headers, rows) for headers, rows in parts if rows]
    for number, (headers, rows) in enumerate(shown):
        if number:
            click.echo()
        show_table(headers, rows)
    if not shown:
        tell(f"{folder} holds no keys; make one with: securelink keys create")


def _key_row(folder: Path, name: str) -> tuple[str, str, str, str]:
    private_path, public_path = key_paths(folder, name)
    private = "yes" if private_path.is_file() else "no"
    try:
        public = PublicKey.load(public_path)
    except SecureLinkError as error:
        # One bad file must not hide the others.
        show_error(error.message, error.hint)
        return name, "?", "?", private
    return name, str(public.bits), public.fingerprint, private


@keys.command("trust")
@click.argument("host")
@click.argument("port", type=PORT)
@click.argument("fingerprint")
@keys_option
def trust(host: str, port: int, fingerprint: str, directory: str) -> None:
    """
    Trust a server: write the FINGERPRINT of its key down.

    Get the fingerprint from whoever runs the server (it is printed at the start, and by `securelink keys show`), not
    over the connection that it is to protect.

    \b
    securelink keys trust game.example 5050 SHA256:9Y0kXQ5f4nW1mB0Yw0cJ0oJ5s7m4oWZ2fZ1r0n6vT3s
    """
    known = KnownServers(known_servers_file(directory))
    known.remember(host, port, fingerprint)
    click.echo(f"{host} port {port} is trusted with {fingerprint}  ({known.path})")


@keys.command("forget")
@click.argument("host")
@click.argument("port", type=PORT)
@keys_option
def forget(host: str, port: int, directory: str) -> None:
    """
    Forget the key of a server, because it really has a new one.

    \b
    securelink keys forget game.example 5050
    """
    known = KnownServers(known_servers_file(directory))
    if not known.forget(host, port):
        raise KeyFileError(
            f"{host} port {port} is not in {known.path}", hint="see: securelink keys list"
        )
    click.echo(f"{host} port {port} is forgotten  ({known.path})")


@keys.command("authorize")
@click.argument("key", metavar="FINGERPRINT|PUBLIC_KEY_FILE")
@click.option(
    "--as", "name", required=True, metavar="NAME", help="What the server calls the client."
)
@click.option("--operator", is_flag=True, help="Operators, who may attach to the server's console.")
@keys_option
def authorize(key: str, name: str, operator: bool, directory: str) -> None:
    """
    Let a client's key in, on a server that runs with `--client-keys known`; or, with --operator, to its console.

    The fingerprint is what `securelink keys create --name client` and `securelink keys show client` print where the
    client runs; a client that is refused is told it too.

    \b
    securelink keys authorize client_public.pem --as ann
    securelink keys authorize SHA256:9Y0kXQ5f4nW1mB0Yw0cJ0oJ5s7m4oWZ2fZ1r0n6vT3s --as ann
    """
    fingerprint = key if key.startswith("SHA256:") else _offered(key, directory)
    authorized = _authorized(directory, operator)
    authorized.authorize(fingerprint, name)
    click.echo(f"{name} is authorized with {fingerprint}  ({authorized.path})")
    if operator:
        tell("from the machine with that key: securelink attach HOST PORT")


def _offered(key: str, directory: str) -> str:
    """The fingerprint of a key that was given as a file, or by its name in the folder."""
    try:
        if key in _names(absolute(directory)):
            return _find(key, directory, with_passphrase=False)[0].fingerprint
        return PublicKey.load(key).fingerprint
    except KeyFileError as error:
        error.hint = (
            "give the fingerprint, SHA256:..., that 'securelink keys show client' prints where the "
            "key is; or the file of its public key"
        )
        raise


@keys.command("revoke")
@click.argument("client", metavar="FINGERPRINT|NAME")
@click.option("--operator", is_flag=True, help="Operators, who may attach to the server's console.")
@keys_option
def revoke(client: str, operator: bool, directory: str) -> None:
    """
    Let a client's key in no more: that FINGERPRINT, or all keys of that NAME.

    A server that runs with `--client-keys known`, or an operator's session, ends what that key has open within about
    two seconds.
    """
    authorized = _authorized(directory, operator)
    if not authorized.revoke(client):
        raise KeyFileError(
            f"{client} is not in {authorized.path}", hint="see: securelink keys list"
        )
    click.echo(f"{client} is revoked  ({authorized.path})")


def _authorized(directory: str, operator: bool) -> AuthorizedClients:
    return AuthorizedClients(
        absolute(directory) / (OPERATORS if operator else "authorized_clients")
    )
