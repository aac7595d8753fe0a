"""
The common part of all commands: errors, output and questions.

Results go to standard output, so that they can be piped; everything else goes to standard error. An error is
`securelink: error: ...`, lower case and without a full stop, and may be followed by `hint: ...`. Exit codes: 0 done,
1 it failed, 2 the command line is wrong, 130 Ctrl-C. Passphrases are asked for, never taken from the command line.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from ...errors import SecureLinkError
from ...keys.files import absolute
from ...text import without_secrets
from ...trust.home import KNOWN_SERVERS, user_known_servers

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

INTERRUPTED = 130  # what shells report for a program that Ctrl-C ended

# Hints of the library speak of Python. These are the ones that commands meet, in the words of commands.
_IN_COMMANDS = {
    "load it with Identity.load(), or choose another name": "choose another name with --name",
    "createEncryptKeys()": "'securelink keys create'",
    "use the same application and version on both sides": "say --application and --app-version as the "
    "server does; a chat is entered with: securelink chat join",
    "leave host= out": "leave --host out",
    "give its passphrase": "add --passphrase to be asked for it",
}


def coloured() -> bool:
    """Whether colours are wanted: not with NO_COLOR (no-color.org), nor on a terminal that has none."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def dimmed(text: str) -> str:
    """Text that steps back, where there are colours."""
    return click.style(text, dim=True) if coloured() else text


def show_error(message: str, hint: str = "") -> None:
    """Print an error and its hint to standard error."""
    word = click.style("error:", fg="red") if coloured() else "error:"
    click.echo(f"securelink: {word} {message}", err=True)
    if hint:
        for ours, theirs in _IN_COMMANDS.items():
            hint = hint.replace(ours, theirs)
        click.echo(f"hint: {hint}", err=True)


def tell(text: str) -> None:
    """Print a remark to standard error."""
    click.echo(text, err=True)


class Command(click.Command):
    """A command: every documented error ends in a sentence, not in a traceback."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Run the command with the arguments of the process (or those given), then exit."""
        code: object = 1
        try:
            code = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.UsageError as error:
            code = error.exit_code
            path = error.ctx.command_path if error.ctx is not None else "securelink"
            show_error(_sentence(error.format_message()), f"see: {path} --help")
        except click.ClickException as error:
            code = error.exit_code
            show_error(_sentence(error.format_message()))
        except click.Abort as error:
            # Both end a question: Ctrl-C, which needs no words, and the end of the input.
            ended = isinstance(error.__cause__ or error.__context__, EOFError)
            code = 1 if ended else INTERRUPTED
            if ended:
                show_error("there is nobody to answer: the input has ended")
        except SecureLinkError as error:
            show_error(error.message, error.hint)
        except OSError as error:
            show_error(_sentence(error.strerror or str(error)))
        sys.exit(code if isinstance(code, int) else 0)


class Group(Command, click.Group):
    """A group of commands that fails as described above. Without a command it prints its help."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Find the command."""
        if not args and not ctx.resilient_parsing:  # a shell asks what could follow
            click.echo(ctx.get_help())
            ctx.exit(2)
        return super().parse_args(ctx, args)


def _sentence(text: str) -> str:
    """Click's sentences in our style."""
    text = (
        without_secrets(text.strip()).rstrip(".").replace("a valid integer range", "a whole number")
    )
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


def duration(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Option callback: `90s`, `30m`, `2h`, `7d` in seconds."""
    if value is None:
        return None
    found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)([smhdw])", value.strip())
    if found is None or float(found[1]) == 0:
        raise click.BadParameter(f"{value!r} is no duration; write 90s, 30m, 2h or 7d")
    return float(found[1]) * _UNITS[found[2]]


def lifetime(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Option callback: as `duration`; `ever` is infinity."""
    return math.inf if value == "ever" else duration(ctx, param, value)


def span(seconds: float) -> str:
    """A duration for people, in its largest unit."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{max(seconds, 0):.3g} s"


def number_of_uses(ctx: click.Context, param: click.Parameter, value: str) -> int | None:
    """Option callback: a number from 1, or `any`, which is None."""
    if value == "any":
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,8}", value):
        raise click.BadParameter(f"{value!r} is no number of uses; write 1, 2, ... or any")
    return int(value)


PORT = click.IntRange(1, 65535)


def keys_option(command: Decorated) -> Decorated:
    """`--keys`, alias `--directory`: where keys, trust files and tokens are."""
    return click.option(
        "--keys",
        "--directory",
        "directory",
        default="keys",
        show_default=True,
        metavar="FOLDER",
        shell_complete=lambda context, parameter, begun: [CompletionItem(begun, type="dir")],
        help="Folder of keys, trust files and join tokens. Without it, known servers are those of the user.",
    )(command)


def known_servers_file(directory: str) -> Path:
    """
    The file of known servers: in the folder that `--keys` names, without it the user's own.

    Args:
        directory: The value of `--keys`, said or not.
    """
    context = click.get_current_context(silent=True)
    said = context is None or context.get_parameter_source("directory") not in (
        ParameterSource.DEFAULT,
        ParameterSource.DEFAULT_MAP,
    )
    return absolute(directory) / KNOWN_SERVERS if said else user_known_servers()


def passphrase_option(command: Decorated) -> Decorated:
    """`--passphrase`: ask for one."""
    return click.option(
        "--passphrase",
        "with_passphrase",
        is_flag=True,
        help="Ask for the passphrase of the private key.",
    )(command)


def ask_passphrase(wanted: bool, *, new: bool = False) -> str | None:
    """Ask for a passphrase, twice for a new one; None when none is wanted."""
    if not wanted:
        return None
    text = "new passphrase" if new else "passphrase"
    answer: str = click.prompt(text, hide_input=True, confirmation_prompt=new, err=True)
    return answer


def show_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """
    Print columns, one row a line and nothing cut off or folded: a fingerprint must stay one word.

    Where a terminal is too narrow for that, each cell has a line of its own.
    """
    terminal = sys.stdout.isatty()
    bold = terminal and coloured()
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    if terminal and sum(widths) + 2 * (len(widths) - 1) > shutil.get_terminal_size().columns:
        left = max(map(len, headers))
        for number, row in enumerate(rows):
            if number:
                click.echo()
            for header, cell in zip(headers, row, strict=True):
                name = header.ljust(left)
                click.echo(f"{click.style(name, bold=True) if bold else name}  {cell}".rstrip())
        return
    for number, row in enumerate((headers, *rows)):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(click.style(line.rstrip(), bold=True) if bold and not number else line.rstrip())
