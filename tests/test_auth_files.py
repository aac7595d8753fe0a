"""Join tokens shared by threads and processes, and the file they are kept in."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import pytest
from inside import book_of
from logins import REVOKED, USED_UP, enter, refusal

from securelink.auth import JoinToken, JoinTokens
from securelink.errors import KeyFileError, LimitExceeded, Refused


@pytest.fixture(params=["memory", "file"])
def tokens(request: pytest.FixtureRequest, tmp_path: Path) -> JoinTokens:
    return JoinTokens(tmp_path / "join_tokens.json" if request.param == "file" else None)


def test_the_last_use_goes_to_one_thread(tokens: JoinTokens) -> None:
    """However many clients come with one token at once, it opens exactly its number of sessions."""
    token = tokens.create("anna", uses=5)
    results: list[str] = []
    barrier = threading.Barrier(8)

    def client() -> None:
        barrier.wait(120)
        for _ in range(2):
            try:
                results.append(enter(tokens, token))
            except Refused as refused:
                results.append(refused.text)

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(results) == sorted(["anna"] * 5 + [USED_UP] * 11)


def test_one_change_at_a_time(tokens: JoinTokens) -> None:
    """While one thread changes the tokens another waits, and then adds to that change."""
    done = threading.Event()

    def other() -> None:
        tokens.create("bert")
        done.set()

    with book_of(tokens).update() as entries:
        thread = threading.Thread(target=other)
        thread.start()
        assert not done.wait(0.1)
        entries["00000000"] = JoinToken(hash="0" * 64, created=0.0, uses=None, user="anna")
    thread.join(120)
    assert [entry.user for entry in tokens.entries()] == ["anna", "bert"]


def test_what_fails_changes_nothing(tokens: JoinTokens) -> None:
    """After an error in the middle of a change everything is as it was."""
    tokens.create("anna")
    before = tokens.entries()

    def clear_and_fail() -> None:
        with book_of(tokens).update() as entries:
            entries.clear()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        clear_and_fail()
    assert tokens.entries() == before


def test_looking_writes_nothing(tmp_path: Path) -> None:
    """A login or a revocation that finds nothing leaves no file behind."""
    path = tmp_path / "join_tokens.json"
    tokens = JoinTokens(path)
    assert tokens.entries() == []
    assert not tokens.revoke("00000000")
    refusal(lambda: enter(tokens, str(uuid.uuid4())))
    assert not path.exists()


def test_a_use_that_was_lost_while_waiting(
    tokens: JoinTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the first look and the lock somebody else may have had the last use."""
    token = tokens.create("anna")
    before = book_of(tokens).read()
    enter(tokens, token)
    monkeypatch.setattr(book_of(tokens), "read", lambda: before)
    assert refusal(lambda: enter(tokens, token)) == USED_UP


PROCESS = """
import sys
from securelink.auth import Hello, JoinTokens
from securelink.errors import Refused
path, token = sys.argv[1:]
admitted = 0
for _ in range(10):
    hello = Hello({"token": token}, None, ("::1", 1), "", "", "", None, None, True)
    try:
        JoinTokens(path)(hello)
        admitted += 1
    except Refused:
        pass
print(admitted)
"""


def test_the_last_use_goes_to_one_process(tmp_path: Path) -> None:
    """Servers that share a file count one token together."""
    path = tmp_path / "join_tokens.json"
    token = JoinTokens(path).create(uses=12)
    command = [sys.executable, "-c", PROCESS, str(path), token]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert sum(map(int, outputs)) == 12


def test_a_running_server_sees_what_a_command_changes(tmp_path: Path) -> None:
    """Tokens made, used and revoked through the file by one object are known to the other."""
    path = tmp_path / "join_tokens.json"
    server, command = JoinTokens(path), JoinTokens(path)
    token = command.create("anna", uses=2)
    assert enter(server, token) == "anna"
    assert command.entries()[0].uses == 1
    command.revoke(token)
    assert refusal(lambda: enter(server, token)) == REVOKED
    assert server.path == path


def test_a_thief_of_the_file_finds_no_token(tmp_path: Path) -> None:
    """The file holds hashes, is readable by its owner only, and no repr shows a token."""
    path = tmp_path / "join_tokens.json"
    tokens = JoinTokens(path)
    token = tokens.create("anna", note="phone")
    enter(tokens, token)
    # Four digits of a token may stand in its hash, and in a moment, by chance.
    text = re.sub(r"\d+\.\d+", "", path.read_text().replace(tokens.entries()[0].hash, ""))
    for fragment in (token, *token.split("-"), uuid.UUID(token).hex):
        assert fragment not in text
    assert json.loads(path.read_text())[0]["user"] == "anna"
    assert path.stat().st_mode & 0o777 == 0o600
    assert token not in repr(tokens) + repr(tokens.entries()) + repr(tokens.__dict__)


def test_a_token_that_admits_any_number_is_written_once(tmp_path: Path) -> None:
    """The second session of an unlimited token changes nothing on disk."""
    path = tmp_path / "join_tokens.json"
    tokens = JoinTokens(path)
    token = tokens.create(uses=None)
    enter(tokens, token)
    before = path.stat()
    enter(tokens, token)
    assert path.stat().st_ino == before.st_ino
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_a_full_file_still_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no more tokens fit into the file, those in it can all be used and revoked."""
    for module in ("securelink.limits", "securelink.trust.locking"):
        monkeypatch.setattr(f"{module}.MAX_TRUST_FILE", 4096)
    tokens = JoinTokens(tmp_path / "join_tokens.json")
    made: list[str] = []

    def fill() -> None:
        while len(made) < 100:
            made.append(tokens.create())

    with pytest.raises(LimitExceeded) as caught:
        fill()
    assert caught.value.limit == "MAX_TRUST_FILE"
    assert len(made) == len(tokens.entries()) > 10
    for token in made:
        enter(tokens, token)
        assert tokens.revoke(token)


HASH = "0" * 64
GOOD = {"hash": HASH, "created": 1.0, "uses": 1}


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        "[",
        "[1]",
        "[{}]",
        "\udcff",
        json.dumps([GOOD, GOOD]),
        json.dumps([GOOD | {"hash": "0" * 63}]),
        json.dumps([GOOD | {"hash": HASH + "\n"}]),
        json.dumps([GOOD | {"uses": -1}]),
        json.dumps([GOOD | {"uses": "many"}]),
        json.dumps([GOOD | {"expires": "never"}]),
        json.dumps([GOOD | {"more": 1}]),
        "[" * 100_000,
    ],
)
def test_a_damaged_file_admits_nobody(tmp_path: Path, content: str) -> None:
    """A file that cannot be read as a whole is an error and stays as it is, never an empty list."""
    path = tmp_path / "join_tokens.json"
    path.write_text(content, errors="surrogateescape")
    path.chmod(0o600)
    tokens = JoinTokens(path)
    for call in (
        tokens.entries,
        tokens.create,
        lambda: tokens.revoke("00000000"),
        lambda: enter(tokens, str(uuid.uuid4())),
    ):
        with pytest.raises(KeyFileError) as caught:
            call()
        assert str(path) in str(caught.value)
        assert caught.value.hint
    assert path.read_text(errors="surrogateescape") == content
