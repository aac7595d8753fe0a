"""A client process dies, and another one goes on in its session: processes that are really killed, and that end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from helpers import WAIT, failure, until
from kept import Place
from programs import ROOT, Program
from together import serving, take

from securelink import Client, ConfigError, Identity, Server, Session
from securelink.session import channel_of

KILLS = int(os.environ.get("SECURELINK_KILLS", "20"))
LONGEST_LIFE = 0.12  # seconds from fork() to the signal; connecting takes about 0.02


class Lives:
    """The program of `mortal_client.py`, which lives again for each line."""

    def __init__(self, port: int, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "mortal_client.py"), str(port), str(folder)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout

    def begin(self) -> int:
        """A life; the number of its process."""
        self._in.write("live\n")
        self._in.flush()
        return int(self._out.readline())

    def ended(self) -> int:
        """Wait for its end: its exit code."""
        return int(self._out.readline())

    def close(self) -> None:
        """No other life."""
        self._in.close()
        self._process.wait(WAIT)
        self._out.close()


class Watch:
    """What a server hears, and what it pushes, until it is told to end."""

    def __init__(self, server: Server) -> None:
        self.heard: dict[int, list[int]] = defaultdict(list)
        self.order: list[int] = []
        self.connects = 0
        self.pushed = 0
        self.reasons: list[Any] = []
        self._enough = threading.Event()
        self._pusher: threading.Thread | None = None
        server.on_connect(self._came)
        server.on_disconnect(lambda session: self.reasons.append(session.code))
        server.on("say", self._say)

    def _came(self, session: Session) -> None:
        self.connects += 1
        if self._pusher is None:
            self._pusher = threading.Thread(target=self._push, args=(session,))
            self._pusher.start()

    def _say(self, session: Session, packet: Any) -> None:
        life, number, _ = packet.data
        self.heard[life].append(number)
        self.order.append(life)

    def _push(self, session: Session) -> None:
        while not self._enough.wait(random.random() * 0.002):
            session.send("push", [self.pushed, bytes(random.randrange(1500))], timeout=WAIT)
            self.pushed += 1
        session.send("end", timeout=WAIT)

    def enough(self) -> None:
        """Push nothing more than the word that it is the end."""
        self._enough.set()
        assert self._pusher is not None
        self._pusher.join(WAIT)


def handled(folder: Path) -> dict[int, list[int]]:
    """What each life has written down; the last line of one that was killed is whole, for it is one write."""
    found: dict[int, list[int]] = defaultdict(list)
    for line in (folder / "handled").read_text().splitlines():
        life, begun, number = line.split()
        assert begun == ("resumed" if int(life) else "new")
        found[int(life)].append(int(number))
    return found


@pytest.mark.parametrize("stored", [False, True], ids=["memory", "state"])
def test_killed_again_and_again(place: Place, stored: bool) -> None:
    """
    `kill -9` at random moments under two-way traffic: one session, all that the server pushed is handled by one process
    or the next, in order and without a gap; of each process the server has what that had sent, from the first on.
    """
    folder = place.folder
    state: dict[str, Any] = {"state": folder / "state.db"} if stored else {}
    server = Server("127.0.0.1", 0, keys=place.keys, resume=120, **state)
    with server:
        watch = Watch(server)
        lives = Lives(server.address[1], folder)
        try:
            process = lives.begin()  # the first one lives until it has a session
            until(lambda: (folder / "session").exists() and watch.order and watch.pushed > 5)
            for number in range(KILLS):
                process = lives.begin() if number else process
                if number % 2:  # the others die wherever they are
                    until(lambda: number in watch.heard)  # noqa: B023
                time.sleep(random.random() * LONGEST_LIFE)
                os.kill(process, signal.SIGKILL)
                assert lives.ended() == -signal.SIGKILL
            watch.enough()
            lives.begin()
            assert lives.ended() == 0
        finally:
            lives.close()
        until(lambda: watch.reasons)
        assert watch.connects == 1
        assert not (folder / "session").exists()
    check_handled(handled(folder), watch)


def check_handled(found: dict[int, list[int]], watch: Watch) -> None:
    """Each process has a piece, which begins where the last one was, or before; all together have all."""
    came: set[int] = set()
    for life, numbers in sorted(found.items()):
        assert all(b == a + 1 for a, b in pairwise(numbers)), (life, numbers)
        assert numbers[0] <= max(came, default=-1) + 1, (life, numbers[0])
        came.update(numbers)
    assert came == set(range(watch.pushed))
    assert watch.order == sorted(watch.order)
    for life, said in watch.heard.items():
        assert said == list(range(len(said))), life
    assert len(watch.heard) > KILLS / 2


def client_program(folder: Path, *lines: str) -> Path:
    """A program with a client that has `session` for its file."""
    path = folder / f"program{len(list(folder.iterdir()))}.py"
    path.write_text(
        "import sys\n"
        "from securelink import Client\n"
        "client = Client('127.0.0.1', int(sys.argv[1]), session='session', known_servers='known')\n"
        "client.on_connect(lambda: print('it begins'))\n"
        "client.on_resume(lambda replayed: print('it goes on'))\n" + "\n".join(lines) + "\n"
    )
    return path


@pytest.mark.parametrize(
    ("last", "code"),
    [("pass", 0), ("sys.exit(3)", 3), ("1 / 0", 1), ("import os; os.kill(os.getpid(), 9)", -9)],
    ids=["end", "exit", "exception", "kill"],
)
def test_a_program_that_ends(identity: Identity, tmp_path: Path, last: str, code: int) -> None:
    """Without `close()`, in whatever way: the session stays, and the next process goes on with it."""
    with serving(identity, resume=60) as server:
        port = str(server.address[1])
        lines = ["client.connect()", "client.send('echo', 1)", "print(client.receive(60).data)"]
        with Program(client_program(tmp_path, *lines, last), port, folder=tmp_path) as program:
            assert program.ends() == code
            assert "it begins" in program.output
        (session,) = server.sessions.values()
        until(lambda: not session.connected)
        lines = ["client.connect()", "print(client.resumed)", "client.close()"]
        with Program(client_program(tmp_path, *lines), port, folder=tmp_path) as program:
            assert program.ends() == 0
        assert "it goes on\nTrue\n" in program.output
        until(lambda: session.ended)
        assert session.restarted


def test_what_it_had_handled_is_told_when_it_ends(identity: Identity, tmp_path: Path) -> None:
    """A program that ends in order acknowledges first: then nothing of it comes to the next one."""
    with serving(identity, resume=60) as server:
        port = str(server.address[1])
        lines = ["client.connect()", "client.send('echo', 1)", "print(client.receive(60).data)"]
        for _ in range(3):
            with Program(client_program(tmp_path, *lines), port, folder=tmp_path) as program:
                assert program.ends() == 0
            (session,) = server.sessions.values()
            until(lambda: not session.connected)  # noqa: B023
            assert channel_of(session).core.unconfirmed() == []


def test_another_process_has_it(identity: Identity, tmp_path: Path) -> None:
    """A second process is refused while the first one lives, with its number."""
    with serving(identity, resume=60) as server:
        port = server.address[1]
        lines = ["client.connect()", "print('in', flush=True)", "client.receive(600)"]
        with Program(client_program(tmp_path, *lines), str(port), folder=tmp_path) as program:
            program.prints("in\n")
            files: dict[str, Any] = {
                "session": tmp_path / "session",
                "known_servers": tmp_path / "known",
            }
            ours = Client("127.0.0.1", port, **files)
            words = r"another process \(pid \d+\) uses"
            failure(ConfigError, lambda: ours.connect(WAIT), words, "a file of its own")
        ours.connect(WAIT)
        assert ours.resumed
        ours.send("echo", 2)
        assert take(ours) == [2]
        ours.close()
