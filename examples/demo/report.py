"""
Steps, checks and what is printed about them.

Every line that claims something comes from a check of what was observed. The first check that fails ends the run.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from securelink.errors import SecureLinkError

from .puppet import Report as Observed
from .stage import Missing

Step = tuple[str, Callable[[], None]]


class CheckFailed(Exception):
    """Something was not as it should be."""


@dataclass(frozen=True)
class Result:
    """One check."""

    step: str
    what: str
    held: bool


class Reporter:
    """
    Runs steps, keeps what their checks found, and prints.

    Args:
        plain: Without colours, spinner and boxes, also in a terminal.
        console: Where to print.
    """

    def __init__(self, *, plain: bool = False, console: Console | None = None) -> None:
        if console is None:
            console = Console(
                highlight=False,
                force_terminal=False if plain else None,
                color_system=None if plain else "auto",
            )
        self.console = console
        self.results: list[Result] = []
        self._seconds: dict[str, float] = {}
        self._step = ""
        self._began = time.monotonic()

    def run(self, steps: Sequence[Step]) -> bool:
        """Run the steps until one fails. Returns whether all of them held."""
        for number, (title, action) in enumerate(steps, 1):
            self._step = title
            self.console.print()
            self._print(Text(f"{number}. {title}", "bold"))
            began = time.monotonic()
            try:
                # A spinner in a terminal, nothing elsewhere.
                with self.console.status(Text(title), spinner="line"):
                    action()
            except CheckFailed:
                return False
            except (Missing, SecureLinkError, OSError) as error:
                self._failed("it went to its end", f"{type(error).__name__}: {error}")
                return False
            except Exception as error:
                # A mistake of ours, but still a step that did not hold.
                self._failed("it went to its end", f"{type(error).__name__}: {error}")
                traceback.print_exc()
                return False
            finally:
                self._seconds[title] = time.monotonic() - began
        return True

    def check(self, what: str, held: object, seen: object = "") -> None:
        """
        Record and print one check.

        Args:
            what: What is claimed, as a sentence that is true if the check holds.
            held: Whether it does.
            seen: What was observed.

        Raises:
            CheckFailed: It does not hold.
        """
        if not held:
            self._failed(what, str(seen))
            raise CheckFailed(what)
        self.results.append(Result(self._step, what, True))
        line = Text.assemble(("ok", "green"), f"  {what}")
        if seen != "":
            line.append(f"  ({seen})", style="dim")
        self._print(line, indent=3)

    def equal(self, what: str, found: object, wanted: object) -> None:
        """Check that what was observed is what is wanted, and show both if not."""
        held = found == wanted
        self.check(what, held, "" if held else f"found {found!r}, wanted {wanted!r}")

    def title(self, text: str) -> None:
        """Print what comes."""
        self._print(Text(text, "bold"))

    def say(self, text: str) -> None:
        """Print a remark."""
        self._print(Text(text), indent=3)

    def block(self, lines: Sequence[str], style: str = "") -> None:
        """Print lines as they are, such as a dump."""
        for line in lines:
            self._print(Text(line, style=style), indent=7)

    def raised(self, whose: str, error: Observed) -> None:
        """Show an error as the attacked program raised it."""
        name = (str(error["error"]), "bold red")
        self._print(Text.assemble(f"{whose} raised ", name, f": {error['message']}"), indent=3)
        if error["hint"]:
            self._print(Text(f"hint: {error['hint']}"), indent=3)

    def summary(self, steps: Sequence[Step]) -> None:
        """Print how the steps went, and the verdict."""
        table = Table(box=box.SIMPLE_HEAD, title="What was checked", title_style="bold")
        for header in ("step", "checks", "seconds", "result"):
            table.add_column(header, justify="right" if header == "seconds" else "left")
        for number, (title, _) in enumerate(steps, 1):
            results = [result for result in self.results if result.step == title]
            held = sum(result.held for result in results)
            if held < len(results):
                verdict = Text("FAILED", "bold red")
            else:
                verdict = Text("ok", "green") if results else Text("not reached", "yellow")
            count = f"{held} of {len(results)}" if results else ""
            seconds = f"{self._seconds[title]:.1f}" if title in self._seconds else ""
            table.add_row(Text(f"{number}. {title}"), count, seconds, verdict)
        self.console.print()
        self.console.print(table)
        self._print(self._verdict())

    def _verdict(self) -> Text:
        seconds = time.monotonic() - self._began
        failed = [result for result in self.results if not result.held]
        if failed:
            return Text(
                f"FAILED after {seconds:.1f} s, in the step '{failed[0].step}': {failed[0].what}",
                "bold red",
            )
        return Text(f"All {len(self.results)} checks held, in {seconds:.1f} s.", "bold green")

    def _failed(self, what: str, seen: str = "") -> None:
        self.results.append(Result(self._step, what, False))
        line = Text.assemble(("FAILED", "bold red"), f"  {what}")
        if seen:
            line.append(f"  ({seen})")
        self._print(line, indent=3)

    def _print(self, text: Text, indent: int = 0) -> None:
        if self.console.is_terminal:
            self.console.print(Padding(text, (0, 0, 0, indent)))
        else:
            # Lines are not cut at the width of a terminal that is none.
            self.console.print(Text(" " * indent) + text, soft_wrap=True)
