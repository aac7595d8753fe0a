"""A program that serves ends when the system asks it to, as it does at Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

import pytest
from helpers import WAIT, failure, until
from programs import ROOT
from together import joined, serving

from securelink import Client, Code, ConfigError, ConnectionClosed, Identity, Server
from securelink.signals import Terminated, ends_by_exit, ends_like_interrupts

SERVE = """
import signal, sys
from securelink import Server
server = Server("127.0.0.1", 0, encryption="off")
server.on_start(lambda: print(server.address[1], flush=True))
server.on_disconnect(lambda session: print("left", flush=True))
server.on_stop(lambda: print("stopped", flush=True))
server.serve_forever({options})
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, flush=True)
"""


class Process(subprocess.Popen[str]):
    """A process that a test that fails does not wait for."""

    def __exit__(self, kind: type[BaseException] | None, *more: Any) -> None:
        if kind is not None:
            self.kill()
        super().__exit__(kind, *more)


def started(folder: Path, *command: str, stderr: IO[bytes] | None = None) -> tuple[Process, int]:
    """A process and the port that it prints first."""
    process = Process(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=stderr, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def said(number: signal.Signals) -> Code:
    """What clients hear: a service manager asks by SIGTERM, and starts the server again."""
    return Code.RESTART if number == signal.SIGTERM else Code.SHUTDOWN


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_a_server_cleanly(number: signal.Signals, tmp_path: Path) -> None:
    """Clients see a clean end with its reason, hooks run, the program goes on behind `serve_forever()`."""
    log = tmp_path / "log"
    with log.open("wb") as errors:
        process, port = started(
            tmp_path, sys.executable, "-c", SERVE.format(options=""), stderr=errors
        )
    with process, Client("127.0.0.1", port, encryption="off") as client:
        process.send_signal(number)
        with pytest.raises(ConnectionClosed) as caught:
            client.receive(WAIT)
        assert caught.value.code == said(number)
        assert caught.value.clean
        out, _ = process.communicate(timeout=120)
    assert out.split() == ["left", "stopped", "True"]
    assert process.returncode == 0
    cause = "interrupted" if number == signal.SIGINT else number.name
    assert f" {cause}; shutting down\n" in log.read_text()


def test_sessions_may_go_on_while_it_drains(tmp_path: Path) -> None:
    """With `drain=` who is in finishes, nobody new gets in, and the server ends when the last one has left."""
    process, port = started(tmp_path, sys.executable, "-c", SERVE.format(options="drain=300"))
    with process:
        with Client("127.0.0.1", port, encryption="off") as client:
            process.send_signal(signal.SIGTERM)
            assert client.ping(WAIT) >= 0
            assert process.poll() is None
            assert client.ping(WAIT) >= 0
        out, _ = process.communicate(timeout=120)  # far less than 300 s
    assert out.split() == ["left", "stopped", "True"]
    assert process.returncode == 0


def test_the_second_signal_ends_the_patience(tmp_path: Path) -> None:
    """Another signal while it drains ends all sessions at once, still cleanly."""
    process, port = started(tmp_path, sys.executable, "-c", SERVE.format(options="drain=300"))
    with process, Client("127.0.0.1", port, encryption="off") as client:
        done = threading.Event()

        def insist() -> None:
            while not done.wait(0.2):
                process.send_signal(signal.SIGTERM)

        insisting = threading.Thread(target=insist)
        insisting.start()
        try:
            with pytest.raises(ConnectionClosed):
                client.receive(WAIT)
        finally:
            done.set()
            insisting.join()
        process.communicate(timeout=120)


def test_a_programs_own_handler_stays(identity: Identity) -> None:
    """A signal that the program handles or ignores is left to it; afterwards everything is as before."""
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        own = signal.getsignal(signal.SIGTERM)
        with ends_like_interrupts():
            assert signal.getsignal(signal.SIGTERM) is own
            os.kill(os.getpid(), signal.SIGTERM)
        assert seen == [signal.SIGTERM]
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with pytest.raises(Terminated) as caught, ends_like_interrupts():
            signal.raise_signal(signal.SIGTERM)
        assert str(caught.value) == "SIGTERM"
        with pytest.raises(SystemExit) as ended, ends_by_exit():
            signal.raise_signal(signal.SIGTERM)
        assert ended.value.code == 128 + signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_in_another_thread_signals_are_left_alone(identity: Identity) -> None:
    """`serve_forever()` in a thread of its own works, and touches no handler."""
    server = Server("127.0.0.1", 0, keys=identity)
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    until(lambda: server.running)
    assert signal.getsignal(signal.SIGTERM) is before
    server.stop()
    thread.join(WAIT)
    assert not thread.is_alive()


def test_a_wrong_deadline_is_refused(identity: Identity) -> None:
    """`drain=` is a number of seconds."""
    server = Server("127.0.0.1", 0, keys=identity)
    failure(ConfigError, lambda: server.serve_forever(drain="5"), "drain='5'")  # type: ignore[arg-type]
    assert not server.running
    with serving(identity) as other, joined(other):
        failure(ConfigError, lambda: other.drain("5"), "timeout='5'")  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    "command",
    [("serve", "--plaintext"), ("serve", "--plaintext", "--console"), ("chat", "serve", "--open")],
)
def test_the_commands_end_cleanly_too(
    command: tuple[str, ...], number: signal.Signals, tmp_path: Path, identity: Identity
) -> None:
    """`securelink serve` and `chat serve`, also with a console, tell their clients; the exit code names the signal."""
    identity.save(tmp_path / "keys", "server")
    process = subprocess.Popen(
        [sys.executable, "-m", "securelink", *command, "--host", "127.0.0.1", "--port", "0"],
        cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    with process:
        assert process.stderr is not None
        port, lines = 0, [""]
        while not port or not any(word in lines[-1] for word in ("Ctrl-C", "Ctrl-D")):
            lines.append(process.stderr.readline())
            assert lines[-1], lines
            if "Server PORT:" in lines[-1]:
                port = int(lines[-1].rsplit(":", 1)[1])
        plain: dict[str, Any] = {"encryption": "off"}
        options = plain if "--plaintext" in command else {"pin": identity.fingerprint}
        application = "securelink chat" if command[0] == "chat" else ""
        with Client("127.0.0.1", port, application=application, **options) as client:
            process.send_signal(number)
            with pytest.raises(ConnectionClosed) as caught:
                list(client)
            assert caught.value.clean
            assert caught.value.code == said(number)
        process.communicate(timeout=120)
    # A console takes the signal for the end of its input.
    assert process.returncode in ((0, 128 + number) if "--console" in command else (128 + number,))
