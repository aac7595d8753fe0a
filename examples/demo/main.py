"""The demonstration's steps in order, its command, and its exit code."""

from __future__ import annotations

import sys

import click

from securelink.signals import ends_by_exit

from . import attacks, game
from .cast import Cast
from .report import Reporter, Step
from .stage import Stage


def run(*, plain: bool = False, seed: int = 1) -> int:
    """
    Run the demonstration and print it.

    Args:
        plain: Without colours, spinner and boxes.
        seed: What is played.

    Returns:
        The exit code: 0 when every check held, 1 when one did not.
    """
    report = Reporter(plain=plain)
    report.title("securelink: one server, three players, and somebody in between")
    with ends_by_exit(), Stage() as stage:
        steps = script(Cast(stage, report, seed))
        held = report.run(steps)
    report.summary(steps)
    return 0 if held else 1


def script(cast: Cast) -> list[Step]:
    """The steps, in order."""
    return [
        ("Fresh keys and four processes", lambda: game.open_up(cast)),
        ("Three players enter with join tokens", lambda: game.enter(cast)),
        ("They play", lambda: game.play(cast)),
        ("A cable is pulled", lambda: game.pull_cable(cast)),
        ("The server is killed", lambda: game.kill(cast)),
        ("One is kicked", lambda: game.kick(cast)),
        ("The server restarts", lambda: game.restart(cast)),
        ("Listening to encrypted sessions", lambda: attacks.listen(cast)),
        ("Listening to plaintext sessions", lambda: attacks.listen_in_plaintext(cast)),
        ("Attack: one bit is flipped", lambda: attacks.flip_a_bit(cast)),
        ("Attack: a record is sent twice", lambda: attacks.repeat_a_record(cast)),
        ("Attack: an impostor answers", lambda: attacks.impersonate(cast)),
        ("Nothing is left behind", lambda: attacks.clean_up(cast)),
    ]


@click.command("demo")
@click.option("--plain", is_flag=True, help="Without colours and moving parts.")
@click.option("--seed", type=int, default=1, show_default=True, help="Another game.")
def main(plain: bool, seed: int) -> None:
    """
    Watch real processes play, and an attacker fail.

    It starts a server and three clients with fresh keys in a temporary folder, puts a relay between them that sees
    and changes bytes, and checks what happens. Takes about ten seconds; the exit code tells whether every check held.
    """
    try:
        code = run(plain=plain, seed=seed)
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
