"""Which server a command talks to: an invite or host and port, from the command line, a file, or a question."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from ...errors import ConfigError
from ...invite import SCHEME, Invite, is_invite
from ...keys.files import absolute, read_file
from ...limits import CONNECT_SECONDS, MAX_INVITE
from ...streams.addresses import is_loopback_host
from ...text import escaped, quoted, without_secrets
from .program import PORT, tell

try:
    import fcntl
    import termios
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]  # looked at before each use


class _Port(click.IntRange):
    """The second word, a port; usually what is no port is a word of an invite that was not quoted."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As that of click, with an error for people."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            if str(value).strip("-").isdecimal():  # a number that no port has
                error.param_hint = "PORT"
                raise
            raise click.UsageError(
                f"{quoted(value)} is no port: write HOST PORT, or an invite in quotes, or nothing "
                "and paste it when you are asked",
                ctx,
            ) from None


Decorated = TypeVar("Decorated", bound=Callable[..., Any])

TOKEN_VARIABLE = "SECURELINK_TOKEN"  # noqa: S105  # its name
_MAX_LINES = 8  # of one invite that was pasted with line breaks in it
_MAX_WORDS = 64  # of one line in which an invite stands
_PASTE_SECONDS = 0.3  # between two lines of one paste
_ASK = "paste the invite, or type host and port"
_PART = "that looks like a token alone, or a key"


@dataclass(frozen=True)
class Target:
    """
    A server, and how to enter it.

    Attributes:
        host, port: Where it is.
        pin: The fingerprint that its key must have, or None.
        token: A join token, or None.
        plaintext: Whether encryption is off.
    """

    host: str
    port: int
    pin: str | None = None
    token: str | None = None
    plaintext: bool = False


def where_arguments(command: Decorated) -> Decorated:
    """`HOST PORT | INVITE`, or nothing: then it is asked for; and `--invite-file`."""
    for decorate in (
        click.option(
            "--invite-file",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            metavar="FILE",
            help="Read the invite from a file.",
        ),
        click.argument("port", type=_Port(PORT.min, PORT.max), required=False, metavar=""),
        click.argument("host", metavar="[HOST PORT | INVITE]", required=False),
    ):
        command = decorate(command)
    return command


def token_option(command: Decorated) -> Decorated:
    """`--token`, also from the environment."""
    return click.option(
        "--token",
        envvar=TOKEN_VARIABLE,
        metavar="TOKEN|-",
        help=f"A join token; '-' asks for it.  [also: the variable {TOKEN_VARIABLE}]",
    )(command)


def application_options(command: Decorated) -> Decorated:
    """`--application` and `--app-version`."""
    for decorate in (
        click.option("--app-version", default="", metavar="TEXT", help="The version of it."),
        click.option(
            "--application",
            default="",
            metavar="NAME",
            help="The application; both sides must say the same.",
        ),
    ):
        command = decorate(command)
    return command


def timeout_option(command: Decorated) -> Decorated:
    """`--timeout`: how long to try to connect."""
    return click.option(
        "--timeout",
        type=click.FloatRange(0.1, 3600),
        default=CONNECT_SECONDS,
        metavar="SECONDS",
        show_default=True,
        help="How long to try.",
    )(command)


def target(
    host: str | None,
    port: int | None,
    invite_file: Path | None,
    token: str | None = None,
    *,
    plaintext: bool = False,
) -> Target:
    """
    The target of the command line, after asking for missing parts.

    Raises:
        ConfigError: The invite is none.
        click.UsageError: The arguments contradict each other.
    """
    argument = False  # whether the invite stands on the command line
    if invite_file is not None:
        if host is not None:
            raise click.UsageError("--invite-file says where the server is; leave the rest out")
        data = read_file(
            absolute(invite_file), 4 * MAX_INVITE, missing="give the file that holds the invite"
        )
        host = _without_words(data.decode(errors="replace").strip())
        if not is_invite(host) and _split(host)[1] is None:
            raise ConfigError(
                f"{escaped(str(invite_file))} holds no invite", hint=f"it begins with {SCHEME}://"
            )
    elif host is None or host == "-":
        host, port = _asked()
    else:
        host, argument = _without_words(host), True
    if token not in (None, "", "-") and _is_argument("token"):
        _warn_of_arguments(
            "join token", f"use --token - to be asked, or the variable {TOKEN_VARIABLE}"
        )
    if is_invite(host):
        if port is not None:
            raise click.UsageError("an invite already says the port")
        if plaintext:
            raise click.UsageError("an invite is for encrypted sessions; leave --plaintext out")
        invite = Invite.parse(host)
        if argument and invite.token is not None:
            _warn_of_arguments(
                "token in the invite", "leave the invite out and paste it, or use --invite-file"
            )
        chosen = _token(token, invite.token, invite.host, plaintext=False)
        return Target(invite.host, invite.port, invite.fingerprint, chosen)
    if port is None:
        host, port = _split(host)
    if port is None:
        if _is_part(host):
            raise click.UsageError(f"{_PART}; --token - asks for the token")
        path = click.get_current_context().command_path
        raise click.UsageError(f"the port is missing: {path} HOST PORT")
    return Target(host, port, None, _token(token, None, host, plaintext=plaintext), plaintext)


def _is_argument(name: str) -> bool:
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.COMMANDLINE


def _warn_of_arguments(what: str, instead: str) -> None:
    """Others see the arguments of every process (ps), and shells keep them: nothing here can take that back."""
    tell(f"note: the {what} on the command line is seen by other users of this machine; {instead}")


def _split(host: str) -> tuple[str, int | None]:
    """`host:port`, as people write it too. An IPv6 address has colons of its own, so it stands in brackets then."""
    name, colon, port = host.rpartition(":")
    bare = ":" not in name or (name.startswith("[") and name.endswith("]"))
    if name and colon and bare and port.isascii() and port.isdecimal() and 1 <= int(port) <= 65535:
        return name.strip("[]"), int(port)
    return host, None


def _is_part(text: str) -> bool:
    """Whether it is most likely a part of an invite that says no place to connect to."""
    return text.startswith("SHA256:") or without_secrets(text) == "(hidden)"


def _token(given: str | None, invited: str | None, host: str, *, plaintext: bool) -> str | None:
    """The join token to send. An argument takes precedence over the environment."""
    source = click.get_current_context().get_parameter_source("token")
    if given and source is click.core.ParameterSource.ENVIRONMENT:
        if invited is not None:
            return invited
        if plaintext:
            tell(f"{TOKEN_VARIABLE} is ignored: --plaintext would send it in clear")
            return None
        tell(f"using the join token in {TOKEN_VARIABLE}")
        return given
    if given and plaintext and host != "localhost" and not is_loopback_host(host):
        raise click.UsageError("--plaintext would send the token in clear; leave one of them out")
    if given == "-":
        answer: str = click.prompt("join token", hide_input=True, err=True)
        return answer.strip()
    return given or invited


def _asked() -> tuple[str, int | None]:
    """An invite or host and port, from the user or from the first line of the input."""
    person = sys.stdin.isatty()
    if person:
        tell(f"{_ASK}:")
    text = _typed_line()
    if not text:
        raise ConfigError("no invite was given", hint=_ASK)
    if is_invite(text):
        return _whole(text, person), None
    host, _, port = text.partition(" ")
    if not port:
        host, number = _split(host)
        if number is None and _is_part(text):
            raise ConfigError(_PART, hint=f"{_ASK}; --token - asks for the token")
        if number is None:
            raise ConfigError(f"{quoted(text)} is no invite, and no host with a port", hint=_ASK)
        return host, number
    if not (port.strip().isdecimal() and 1 <= int(port) <= 65535):
        raise ConfigError(f"{quoted(port.strip())} is no port", hint=_ASK)
    return host, int(port)


def _whole(text: str, person: bool) -> str:
    """The invite from its first line on: one that was pasted with line breaks comes as several."""
    text = _without_words(text)
    if not text.lower().startswith(f"{SCHEME}://"):
        return text  # its beginning is missing: no rest could mend that
    for _ in range(_MAX_LINES):
        try:
            invite = Invite.parse(text)
        except ConfigError as error:
            waits = person and _more_is_there()
            if person and not waits:
                tell(f"{error.message}; paste the rest, or press Enter to give up")
            more = _typed_line()
            if not more and not waits:  # in a paste CR and LF may be two ends of a line
                break
            text += more
        else:
            if person and invite.token is None:
                return _with_token(text)
            break
    return text


def _with_token(text: str) -> str:
    """The invite with the token that was pasted with it on lines of its own, if there is one."""
    rest = ""
    for _ in range(_MAX_LINES):
        if not _more_is_there():
            break
        rest += _typed_line()
        with contextlib.suppress(ConfigError):
            if Invite.parse(text + rest).token is not None:
                return text + rest
    if termios is not None:
        # What may be a part of a token must not be said aloud as the first thing that is typed.
        with contextlib.suppress(termios.error, OSError):
            termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
    return text


def _without_words(text: str) -> str:
    """
    The invite alone, of a message or a command that was pasted with it.

    White space may also be a part of what was torn, so as many words are kept as make an invite. Without one the text
    is given back from the beginning of its link on.
    """
    text = text[max(text.lower().find(f"{SCHEME}://"), 0) :]
    words = text.split()[:_MAX_WORDS]
    for count in range(len(words), 0, -1):
        with contextlib.suppress(ConfigError):
            return str(Invite.parse(" ".join(words[:count])))
    return text


def _more_is_there() -> bool:
    """Whether a line waits at the terminal: the lines of one paste come together, those of a person do not."""
    if termios is None:
        return False
    time.sleep(_PASTE_SECONDS)
    try:
        return any(fcntl.ioctl(sys.stdin.fileno(), termios.FIONREAD, bytes(4)))
    except (OSError, ValueError):
        return False


def _typed_line() -> str:
    """One line of standard input, and not a byte more: the rest is for the next reader."""
    try:
        descriptor = sys.stdin.fileno()
    except (OSError, io.UnsupportedOperation, ValueError):
        return sys.stdin.readline(4 * MAX_INVITE).strip()
    line = bytearray()
    while len(line) < 4 * MAX_INVITE:
        byte = os.read(descriptor, 1)
        if byte in (b"", b"\n"):
            break
        line += byte
    return line.decode(errors="replace").strip()
