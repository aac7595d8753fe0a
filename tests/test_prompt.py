"""The prompt at a real terminal: with prompt_toolkit, and with nothing but what Python has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from termios import ECHO, ICANON

import pytest
from programs import ROOT, WAIT
from terminal import Terminal

from securelink.tools.console.above import rows_above

#: A program that prints above the prompt, and ends it from another thread.
PROGRAM = """
import sys, threading
from pathlib import Path
from securelink.tools.console.prompt import Prompt

prompt = Prompt("> ", complete=lambda line: [w for w in ("kick", "kill") if w.startswith(line)], history=Path("h"))
print("comfortable", prompt.comfortable, flush=True)
for line in prompt.lines():
    print("got", repr(line))
    if line == "later":
        threading.Timer(0.3, lambda: print("\\x1b[2mfrom above\\x1b[0m")).start()
    if line == "end":
        threading.Timer(0.3, prompt.end).start()
    if line == "exit":
        break
print("over")
"""


@pytest.fixture(params=["prompt_toolkit", "readline"])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Variables of a process that has prompt_toolkit, or cannot import it."""
    if request.param == "prompt_toolkit":
        pytest.importorskip("prompt_toolkit")
        return {}
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/prompt_toolkit.py").write_text("raise ImportError\n")
    return {"PYTHONPATH": f"{tmp_path / 'hidden'}:{ROOT}"}


@pytest.fixture
def typist(environment: dict[str, str], tmp_path: Path) -> Terminal:
    """The program above at a terminal."""
    return Terminal("-c", PROGRAM, folder=tmp_path, environment=environment)


def test_lines_can_be_edited(typist: Terminal, tmp_path: Path) -> None:
    """The arrow keys, the history and Tab work; the history is private."""
    with typist:
        typist.shows("comfortable True")
        typist.shows(">")
        typist.types("hexlo\x1b[D\x1b[D\x7fl\r")  # left, left, backspace
        typist.shows(r"got 'hello'")
        typist.types("\x1b[A\r")  # up
        typist.shows(r"(?s)got 'hello'.*got 'hello'")
        seen = len(typist.output)
        typist.types("kic\t")
        typist.shows(r"(?s)kic.*k", after=seen)
        typist.types("\r")
        typist.shows(r"got 'kick ?'")
        typist.types("exit\r")
        assert typist.ends() == 0
    assert (tmp_path / "h").stat().st_mode & 0o777 == 0o600
    assert "hello" in (tmp_path / "h").read_text()


def test_what_arrives_stands_above_what_is_typed(typist: Terminal) -> None:
    """Half a line that is typed is there again below, and colours survive."""
    with typist:
        typist.shows(">")
        typist.types("later\r")
        typist.shows("got 'later'")
        typist.types("half a")
        typist.shows("\x1b\\[(0;)?2mfrom above", raw=True)
        above = typist.shows("from above").end()
        typist.shows(r"(?s).*> half a", after=above)
        typist.types(" line\r")
        typist.shows("got 'half a line'")
        typist.types("exit\r")
        typist.shows("over")
        assert typist.ends() == 0


def test_another_thread_ends_it_while_somebody_types(typist: Terminal) -> None:
    """Nobody has to press Enter, and the terminal is left as it was found."""
    with typist:
        typist.shows(">")
        typist.types("end\r")
        typist.shows("got 'end'")
        typist.types("unfinish")
        typist.shows("over")
        assert typist.ends() == 0
        assert typist.modes()[3] & (ECHO | ICANON) == ECHO | ICANON


@pytest.mark.parametrize("key", ["\x03", "\x04"], ids=["Ctrl-C", "Ctrl-D"])
def test_the_keys_that_end_it(typist: Terminal, key: str) -> None:
    """Ctrl-C and Ctrl-D are the end of the input, not of the program."""
    with typist:
        typist.shows(">")
        typist.types(key)
        typist.shows("over")
        assert typist.ends() == 0


def test_a_pipe_gives_lines_as_they_come(tmp_path: Path) -> None:
    """Without a terminal there is no prompt, and no waiting for more than a line."""
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=b"one\r\ntwo\nbad \xff\nlast",
        cwd=tmp_path,
        capture_output=True,
        timeout=WAIT,
        check=True,
    )
    lines = result.stdout.decode().splitlines()
    assert lines == [
        "comfortable False",
        "got 'one'",
        "got 'two'",
        "got 'bad \ufffd'",
        "got 'last'",
        "over",
    ]
    assert not (tmp_path / "h").exists()


def test_a_pipe_that_stays_open_does_not_hold_the_end_up(tmp_path: Path) -> None:
    """`end` ends it although nobody writes or closes the pipe."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        process.stdin.write(b"end\n")
        process.stdin.flush()
        assert process.wait(WAIT) == 0


@pytest.mark.parametrize(
    ("line", "rows"),
    [
        ("", 0),
        ("a" * 9, 0),
        ("a" * 10, 1),  # the cursor is in the next row already
        ("a" * 25, 2),
        ("\u4f60" * 4, 0),
        ("\u4f60" * 5, 1),
        ("\u4f60" * 7, 1),
        ("a" + "\u4f60" * 5, 1),  # the last one does not fit, and leaves a column empty
        ("a" + "\u4f60" * 9, 2),
        ("\U0001f600" * 12, 2),
        ("e\u0301" * 9, 0),  # marks take no column
    ],
)
def test_wide_letters_take_two_columns(line: str, rows: int) -> None:
    """The row in which a typed line ends, in a terminal of ten columns: there begins what is drawn again."""
    assert rows_above(line, 10) == rows
