"""What many tests share: keys (making one takes longer than most tests) and broken systems."""

from __future__ import annotations

import inspect
import itertools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from helpers import nothing_left
from hypothesis import HealthCheck, settings
from kept import Place
from together import PATIENCE

from securelink.keys import Identity, load_or_create
from securelink.protocol import records
from securelink.server import Server
from securelink.threads import client_channel, client_link, pool

# A job started in the background ignores Ctrl-C, one started by nohup the end of its terminal, and so would every
# program that the tests start: an ignored signal is inherited, a handler is not.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)

# How long an example takes says something about the machine, and nothing about what is tested.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

_NUMBERS = itertools.count()

COMPILED = not (records.__file__ or "").endswith(".py")


def pytest_report_header() -> str:
    """Which build is tested: one that was compiled and forgotten would hide every change of the source."""
    return f"securelink: {'compiled' if COMPILED else 'pure Python'}, {Path(records.__file__ or '').parent}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What cannot be tested on this machine is named, however short the report: a run that left it out proves less."""
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        terminalreporter.write_line(f"NOT TESTED HERE: {report.nodeid}: {reason}", yellow=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that subclass or replace what is inside a module cannot do so when it is compiled."""
    if COMPILED:
        inside = [item for item in items if item.get_closest_marker("pure")]
        config.hook.pytest_deselected(items=inside)
        items[:] = [item for item in items if item not in inside]


@pytest.fixture(scope="session")
def key_pool() -> list[Identity]:
    """Three identities of 2048 bits, made once a run."""
    return [Identity.generate(2048) for _ in range(3)]


@pytest.fixture(scope="session")
def identity(key_pool: list[Identity]) -> Identity:
    """An identity for a test that needs one."""
    return key_pool[0]


@pytest.fixture(scope="session")
def other_identity(key_pool: list[Identity]) -> Identity:
    """Another identity, for a test that needs two."""
    return key_pool[1]


@pytest.fixture(scope="session")
def made_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A keys folder of a server, to be copied."""
    folder = tmp_path_factory.mktemp("made") / "keys"
    load_or_create(folder, "server")
    return folder


@pytest.fixture
def place(tmp_path: Path, made_keys: Path) -> Place:
    """Where servers keep their sessions."""
    folder = tmp_path / "kept"
    folder.mkdir(mode=0o700)
    return Place(folder, made_keys)


@pytest.fixture
def failing() -> Callable[[int], Callable[..., NoReturn]]:
    """`failing(errno.ENOSPC)` is a function to put in the place of a system call that must fail."""

    def build(code: int) -> Callable[..., NoReturn]:
        def fail(*_: object, **__: object) -> NoReturn:
            raise OSError(code, os.strerror(code))

        return fail

    return build


@pytest.fixture(autouse=True)
def _home_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No test, and no program that it starts, reads or writes what belongs to the user who runs the tests."""
    homes = tmp_path_factory.getbasetemp() / "homes"
    monkeypatch.setenv("SECURELINK_HOME", str(homes / str(next(_NUMBERS))))


@pytest.fixture(autouse=True)
def _threads_start_when_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on CPython 3.12.0 and 3.12.1, where programs start some early: tests count threads."""
    monkeypatch.setattr(pool, "EARLY_THREADS", 1)


@pytest.fixture
def tidy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    """The test runs in a folder of its own; no thread, socket or open file is left, and no secret in the log."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECURELINK_HOME", str(tmp_path / "home"))
    with nothing_left(monkeypatch, caplog):
        yield


@pytest.fixture
def not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session ends with its connection, unless a test says otherwise: for tests whose subject is that end."""
    defaults = inspect.unwrap(Server.__init__).__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "resume", 0)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits looks up by itself so seldom that everybody must be woken by what it waits for."""
    for module in (client_channel, client_link):
        monkeypatch.setattr(module, "PATIENCE_SECONDS", PATIENCE)
