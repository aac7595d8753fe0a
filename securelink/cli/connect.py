"""`securelink connect`: talk to `securelink serve`, line by line."""

from __future__ import annotations

import contextlib
import io
import os
import queue
import sys
import threading
from collections.abc import Iterator
from typing import Any, TextIO

import click

from ..client import Client
from ..errors import NotTrusted
from ..invite import is_invite
from ..keys import Identity
from ..keys.identity import key_paths
from ..received import Received
from ..text import escaped
from ..transport.sockets import shown
from ..trust import KnownServers
from .program import PORT, ask_passphrase, keys_option, known_servers_file, passphrase_option, tell

MAX_SHOWN = 2000  # characters of one packet; the server may be anybody
_LOOK = 0.1  # seconds between two looks at what was typed


@click.command("connect")
@click.argument("host", metavar="HOST PORT | INVITE")
@click.argument("port", type=PORT, required=False, metavar="")
@click.option(
    "--plaintext", is_flag=True, help="Without encryption; anyone on the path can listen."
)
@click.option(
    "--token",
    envvar="SECURELINK_TOKEN",
    help="A join token.  [also: the variable SECURELINK_TOKEN]",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 3600),
    default=10.0,
    metavar="SECONDS",
    show_default=True,
    help="How long to try.",
)
@keys_option
@passphrase_option
def connect(
    host: str,
    port: int | None,
    plaintext: bool,
    token: str | None,
    timeout: float,
    directory: str,
    with_passphrase: bool,
) -> None:
    """
    Talk to a server that `securelink serve` runs. Type a line and press Enter; `exit` leaves.

    A server that is not known yet is asked for its fingerprint first, and you are asked whether to trust it; no token
    is sent before. If the folder holds a key named client, the server may see it.

    \b
    securelink connect 192.168.1.40 5050
    securelink connect 'securelink://192.168.1.40:5050/?key=SHA256:...&token=...'
    """
    if is_invite(host):
        if port is not None:
            raise click.UsageError("an invite already says the port")
        if plaintext:
            raise click.UsageError("an invite is for encrypted sessions; leave --plaintext out")
    elif port is None:
        raise click.UsageError("the port is missing: securelink connect HOST PORT")
    known = KnownServers(known_servers_file(directory))
    client = Client(
        host,
        port,
        keys=None if plaintext else client_key(directory, with_passphrase),
        encryption="off" if plaintext else "required",
        token=token,
        trust=None if plaintext else "known",
        known_servers=known.path,
    )
    try:
        enter(client, known, timeout)
        tell(f"connected to {shown(client.host, client.port)}, {_protection(client)}")
        tell("type a line and press Enter; /echo TEXT comes back; exit leaves")
        _talk(client, Typed(sys.stdin))
    finally:
        client.close()


def client_key(directory: str, with_passphrase: bool) -> Identity | None:
    """The client's key, if it has one: a first try should not have to make any."""
    private_path, _ = key_paths(directory, "client")
    if not private_path.is_file():
        return None
    return Identity.load(private_path, ask_passphrase(with_passphrase))


def _protection(client: Client) -> str:
    return "encrypted" if client.encrypted else "in PLAINTEXT"


def enter(client: Client, known: KnownServers, timeout: float) -> None:
    """Connect; the first time ask whether the key is the right one, and connect only then."""
    try:
        client.connect(timeout)
    except NotTrusted as error:
        # A changed key is never a question: who asks gets a yes.
        if error.expected is not None or not can_ask():
            raise
        # That attempt ended when the key was seen, before anything of ours was sent.
        where = shown(client.host, client.port)
        tell(f"{where} is not known here. It showed the key\n  {error.fingerprint}")
        tell("Compare it with the one that the server printed when it started.")
        if not click.confirm("Trust it from now on?", err=True):
            raise NotTrusted(
                f"{where} is not trusted; nothing was sent to it", fingerprint=error.fingerprint
            ) from None
        known.remember(client.host, client.port, error.fingerprint)
        client.connect(timeout)


def can_ask() -> bool:
    """Whether a person sits there."""
    return sys.stdin.isatty() and sys.stderr.isatty()


class Typed:
    """
    What is typed, line by line, read in the background.

    Args:
        stream: Standard input.
    """

    def __init__(self, stream: TextIO) -> None:
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._stream = stream
        # A daemon: nothing wakes a thread that reads a terminal, and nobody waits for it at the end.
        threading.Thread(target=self._read, name="typed lines", daemon=True).start()

    def __iter__(self) -> Iterator[str | None]:
        """The lines that came since the last look; None at the end of the input. Never waits."""
        with contextlib.suppress(queue.Empty):
            while True:
                yield self._lines.get_nowait()

    def _read(self) -> None:
        try:
            descriptor = self._stream.fileno()
        except (OSError, io.UnsupportedOperation):
            lines = iter(self._stream)
        else:
            lines = _lines_of(descriptor)
        for line in lines:
            self._lines.put(line.rstrip("\r\n"))
        self._lines.put(None)


def _lines_of(descriptor: int) -> Iterator[str]:
    # Not through sys.stdin: a thread that waits there holds a lock that Python wants when it exits.
    rest = b""
    while True:
        try:
            data = os.read(descriptor, 4096)
        except OSError:
            data = b""
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")
        if not data:
            if rest:
                yield rest.decode(errors="replace")
            return


def _talk(client: Client, typed: Typed) -> None:
    """Until one side leaves. Raises `ConnectionClosed` when the server ends it."""
    while True:
        packet = client.receive(timeout=_LOOK)
        if packet is not None:
            click.echo(described(packet))
        for line in typed:
            if line is None or line.strip() == "exit":
                return
            if line.startswith("/echo "):
                client.send("echo", line.removeprefix("/echo "))
            elif line.strip():
                client.send("say", line)


def described(packet: Received) -> str:
    """A packet as a line. What is in it comes from others: it is escaped, and cut when it is long."""
    match packet.action, packet.data:
        case "notice", str(text):
            return f"* operator: {escaped(text)}"
        case "said", {"from": name, "text": text}:
            line = f"{_shown(name)}: {_shown(text)}"
        case "joined" | "left", name:
            line = f"* {_shown(name)} {packet.action}"
        case "welcome", {"you": name, "others": [*others]}:
            with_whom = ", ".join(map(_shown, others)) or "nobody else yet"
            line = f"* you are {_shown(name)}; here: {with_whom}"
        case action, data:
            line = f"{_shown(action)}: {_shown(data)}"
    return line if len(line) <= MAX_SHOWN else f"{line[:MAX_SHOWN]}..."


def _shown(value: Any) -> str:
    return escaped(value if isinstance(value, str) else repr(value))
