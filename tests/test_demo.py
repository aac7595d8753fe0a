"""The demonstration, run as a user runs it, and what it says when something does not hold."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from demo import main as demo_main
from demo.report import CheckFailed, Reporter, Step
from demo.stage import Missing, Stage
from helpers import until
from programs import EXAMPLES, Program
from rich.console import Console

from securelink import ConfigError


@pytest.fixture
def report() -> Reporter:
    """A reporter that prints to memory; see `printed`."""
    return Reporter(console=Console(file=io.StringIO(), width=100, highlight=False))


def printed(report: Reporter) -> str:
    """What it has printed."""
    file = report.console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A stage, cleaned up."""
    with Stage() as stage:
        yield stage


def alive(number: int) -> bool:
    """Whether a process runs; one that has ended and waits to be noticed does not."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def started_by(demo: Program) -> list[int]:
    """The four processes that the demonstration says it has started."""
    names = demo.prints(r"four processes run besides this one  \((.*)\)")[1]
    numbers = [int(name.split()[1]) for name in names.split(", ")]
    assert len(numbers) == 4
    assert all(alive(number) for number in numbers)
    return numbers


def test_every_check_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demonstration ends with 0, shows real errors and dumps, and leaves nothing behind."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with Program(EXAMPLES / "demo", "--seed", "7", folder=tmp_path) as demo:
        assert demo.ends() == 0, demo.output
    text = demo.output
    held = re.search(r"All (\d+) checks held", text)
    assert held is not None
    assert int(held[1]) == text.count("\n   ok  ") > 40
    for words in (
        r"celeste raised ConnectionClosed: the session is over: no marked cards",
        r"bogdan raised RecordError: ",
        r"the server raised RecordError: ",
        r"annika, whose invite says the key, raised NotTrusted: ",
        r"bogdan, who was there before, raised NotTrusted: THE KEY OF \S+ HAS CHANGED",
        r"\n       0000  03 00 [0-9a-f ]{41}  .{16}\n",
        r"\n       0000  04 00 [0-9a-f ]{41}  .{16}\n",
        r"ok  annika saw annika make 20 steps, each once and in order\n",
        r"  5\. The server is killed +8 of 8 +\S+ +ok ",
        r"  13\. Nothing is left behind +\d of \d +\S+ +ok ",
    ):
        assert re.search(words, text), words
    assert "\x1b" not in text
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_every_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of it, Ctrl-C exits with 130, and processes and keys are gone."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with Program(EXAMPLES / "demo", folder=tmp_path) as demo:
        started = started_by(demo)
        demo.interrupt()
        assert demo.ends() == 130
        assert "Traceback" not in demo.output
    assert not any(alive(number) for number in started)
    assert list(tmp_path.iterdir()) == []


def test_the_processes_end_with_the_one_that_started_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even when that one is killed and can clean up nothing."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with Program(EXAMPLES / "demo", folder=tmp_path) as demo:
        started = started_by(demo)
    # Leaving the block has killed it.
    until(lambda: not any(alive(number) for number in started))


def steps_with(broken: Callable[[Reporter], None], report: Reporter) -> list[Step]:
    """Three steps, of which the second does not hold."""
    return [
        ("The first", lambda: report.check("water is wet", True, "seen")),
        ("The second", lambda: broken(report)),
        ("The third", lambda: report.check("never asked", True)),
    ]


def fail_a_check(report: Reporter) -> None:
    report.check("fire is cold", False, "it burns")


def fail_to_be_equal(report: Reporter) -> None:
    report.equal("fire is cold", 900, 4)


def miss_a_report(report: Reporter) -> None:
    raise Missing("the server did not report ready")


def raise_ours(report: Reporter) -> None:
    raise ConfigError("it cannot be")


def make_a_mistake(report: Reporter) -> None:
    raise KeyError("mistake")


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (fail_a_check, "FAILED  fire is cold  (it burns)"),
        (fail_to_be_equal, "FAILED  fire is cold  (found 900, wanted 4)"),
        (miss_a_report, "(Missing: the server did not report ready)"),
        (raise_ours, "(ConfigError: it cannot be)"),
        (make_a_mistake, "(KeyError: 'mistake')"),
    ],
)
def test_a_step_that_does_not_hold_ends_the_run(
    report: Reporter, broken: Callable[[Reporter], None], words: str
) -> None:
    """The run stops there, says what did not hold and where, and is no success."""
    steps = steps_with(broken, report)
    assert not report.run(steps)
    report.summary(steps)
    text = printed(report)
    assert "ok  water is wet  (seen)" in text
    assert words in text
    assert "never asked" not in text
    assert re.search(r"2\. The second +0 of 1 +\S+ +FAILED", text)
    assert re.search(r"3\. The third +not reached", text)
    assert "in the step 'The second'" in text.splitlines()[-1]
    assert text.splitlines()[-1].startswith("FAILED after ")


def test_a_failed_step_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`run()` gives 1 when a check of its script fails, and 0 when all hold."""
    monkeypatch.setattr(demo_main, "script", lambda cast: steps_with(fail_a_check, cast.report))
    assert demo_main.run() == 1
    assert "in the step 'The second': fire is cold" in capsys.readouterr().out
    monkeypatch.setattr(demo_main, "script", lambda cast: steps_with(fail_a_check, cast.report)[:1])
    assert demo_main.run() == 0
    assert "All 1 checks held" in capsys.readouterr().out


def test_colour_is_for_terminals() -> None:
    """A terminal sees colours; --plain, and whatever is no terminal, does not."""
    file = io.StringIO()
    report = Reporter(console=Console(file=file, force_terminal=True, color_system="standard"))
    assert report.run([("The first", lambda: report.check("water is wet", True))])
    assert "\x1b[32mok" in file.getvalue()
    plain = Reporter(plain=True)
    assert not plain.console.is_terminal
    assert plain.console.color_system is None


def test_a_process_that_ends_is_reported_with_its_last_words(stage: Stage) -> None:
    """Neither waiting for a dead process nor an order to it hangs; its last line of errors is shown."""
    puppet = stage.start("ghost", "no_such_program", {})
    with pytest.raises(
        Missing, match=r"ghost did not report ready, but: nothing \(.*no_such_program"
    ):
        puppet.expect("ready")
    while puppet.exit_code is None:
        time.sleep(0.01)
    with pytest.raises(Missing, match="has ended"):
        puppet.order(do="nothing")
    assert stage.close() == [("ghost", 1)]
    assert not stage.folder.exists()


def test_a_report_that_does_not_come_is_named(stage: Stage) -> None:
    """Waiting ends in time, and says what came instead; a report is taken once."""
    server = stage.serve("server", encryption="off")
    server.order(do="broadcast", action="x", data=None)
    assert server.expect("broadcast")["count"] == 0
    with pytest.raises(Missing, match="server did not report broadcast count=0, but: ready"):
        server.expect("broadcast", timeout=0.1, count=0)
    assert len(server.take("ready")) == 1
    assert server.take("ready") == []
    assert stage.close() == [("server", 0)]


def test_a_failed_check_says_so_to_its_step(report: Reporter) -> None:
    """What follows a failed check in a step is not run."""
    with pytest.raises(CheckFailed, match="fire is cold"):
        fail_a_check(report)
