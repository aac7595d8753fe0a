"""The demonstration's steps in order, and its exit code."""

from __future__ import annotations

from ..signals import ends_by_exit
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
        ("One is kicked", lambda: game.kick(cast)),
        ("The server restarts", lambda: game.restart(cast)),
        ("Listening to encrypted sessions", lambda: attacks.listen(cast)),
        ("Listening to plaintext sessions", lambda: attacks.listen_in_plaintext(cast)),
        ("Attack: one bit is flipped", lambda: attacks.flip_a_bit(cast)),
        ("Attack: a record is sent twice", lambda: attacks.repeat_a_record(cast)),
        ("Attack: an impostor answers", lambda: attacks.impersonate(cast)),
        ("Nothing is left behind", lambda: attacks.clean_up(cast)),
    ]


__all__ = ["run"]
