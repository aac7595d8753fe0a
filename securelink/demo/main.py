"""The demonstration's steps in order, and its exit code."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

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
    with _cleaning_up_on_sigterm(), Stage() as stage:
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


@contextmanager
def _cleaning_up_on_sigterm() -> Iterator[None]:
    """The signal that ends services leaves as little behind as Ctrl-C does."""

    def terminated(number: int, frame: FrameType | None) -> NoReturn:
        sys.exit(128 + number)

    # Only the main thread may ask for signals.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


__all__ = ["run"]
