"""Files that are parsed once for each state: changes show at once, strangers cost nothing."""

from __future__ import annotations

import os
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
from logins import enter

from securelink import AuthorizedClients, KeyFileError, KnownServers
from securelink.auth import JoinTokens
from securelink.auth.book import Book
from securelink.keys import fingerprint_text, remembered
from securelink.keys.remembered import Remembered
from securelink.trust import AuthorizedClient
from securelink.trust.entries import TextFile


def fingerprint(number: int) -> str:
    """One of many."""
    return fingerprint_text(number.to_bytes(32))


def old(path: Path) -> None:
    """Let the last change of a file be long ago, as far as its own times say."""
    os.utime(path, ns=(10**18, 10**18))


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any change is taken for one of long ago."""
    monkeypatch.setattr(remembered, "_SETTLED", -(10**18))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A small file."""
    path = tmp_path / "file"
    path.write_bytes(b"one")
    path.chmod(0o600)
    return path


class Counted:
    """Remembers a file, and what was parsed."""

    def __init__(self, path: Path) -> None:
        self.parsed: list[bytes] = []
        self.file = Remembered(path, self.parse, limit=100, forbidden=0o022)

    def parse(self, data: bytes) -> bytes:
        """Count."""
        self.parsed.append(data)
        return data


def test_parsed_once(file: Path) -> None:
    """However often it is asked for, one state is parsed once, also just after it was written."""
    counted = Counted(file)
    first = counted.file.get()
    assert all(counted.file.get() is first for _ in range(100))
    assert counted.parsed == [b"one"]


@pytest.mark.usefixtures("settled")
def test_not_even_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was not touched lately is not read again."""
    counted = Counted(file)
    counted.file.get()

    def read(*_: object) -> bytes:
        raise AssertionError("it was read")

    monkeypatch.setattr("securelink.keys.files.os.read", read)
    assert counted.file.get() == b"one"


def test_every_change_shows_at_once(file: Path) -> None:
    """Replaced, written in place, with the same size, and with its old times: the next look sees it."""
    counted = Counted(file)
    new = file.with_name("new")
    for text, how in (
        (b"two", "in place"),
        (b"longer", "in place"),
        (b"abcdef", "times put back"),
        (b"fedcba", "times put back"),
        (b"ABCDEF", "replaced"),
    ):
        counted.file.get()
        (new if how == "replaced" else file).write_bytes(text)
        if how == "times put back":
            old(file)
        if how == "replaced":
            new.replace(file)
        file.chmod(0o600)
        assert counted.file.get() == text
    assert len(counted.parsed) == 6


def test_changes_within_one_tick_of_the_clock(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second change that leaves the same times and size is seen: near a change the content is compared."""
    counted = Counted(file)
    state = file.stat()

    def frozen(descriptor: int) -> os.stat_result:
        return state

    monkeypatch.setattr(os, "fstat", frozen)
    for text in (b"one", b"two", b"six"):
        file.write_bytes(text)
        assert counted.file.get() == text


@pytest.mark.usefixtures("settled")
def test_permissions_are_checked_each_time(file: Path) -> None:
    """What was read while nobody else could write it is not believed from memory."""
    counted = Counted(file)
    counted.file.get()
    file.chmod(0o666)
    with pytest.raises(KeyFileError, match="other users can change"):
        counted.file.get()
    file.chmod(0o600)
    file.parent.chmod(0o1777)
    with pytest.raises(KeyFileError, match="other users can write in the folder"):
        counted.file.get()
    file.parent.chmod(0o700)
    file.unlink()
    with pytest.raises(KeyFileError, match="does not exist"):
        counted.file.get()


def test_what_cannot_be_parsed_is_an_error_each_time(file: Path) -> None:
    """A damaged file does not leave what it said before in force."""
    clients = AuthorizedClients(file)
    file.write_text(f"{fingerprint(1)} ada\n")
    assert clients.allows(fingerprint(1)) == "ada"
    file.write_text("damaged\n")
    for _ in range(2):
        with pytest.raises(KeyFileError, match="file:1:"):
            clients.allows(fingerprint(1))


def test_ten_thousand_clients_cost_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand strangers at a server with many authorized clients: each line is parsed once, and a look is cheap."""
    path = tmp_path / "authorized_clients"
    path.write_text("".join(f"{fingerprint(number)} client {number}\n" for number in range(10_000)))
    path.chmod(0o600)
    lines = []
    parse = AuthorizedClient.parse

    def counting(fields: str, comment: str) -> AuthorizedClient:
        lines.append(fields)
        return parse(fields, comment)

    monkeypatch.setattr(AuthorizedClient, "parse", counting)
    clients = AuthorizedClients(path)
    started = time.process_time()
    assert clients.allows(fingerprint(9_999)) == "client 9999"
    once = time.process_time() - started
    old(path)
    started = time.process_time()
    assert all(clients.allows(fingerprint(10_000 + number)) is None for number in range(20))
    assert len(lines) == 10_000
    assert (time.process_time() - started) / 20 < once / 2


def test_a_book_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is with join tokens: looking and using decode a state of the file once."""
    decoded = []
    decode = Book._decode  # noqa: SLF001  # to count its calls

    def counting(book: Book, data: bytes) -> object:  # type: ignore[type-arg]
        decoded.append(data)
        return decode(book, data)

    monkeypatch.setattr(Book, "_decode", counting)
    tokens = JoinTokens(tmp_path / "join_tokens.json")
    token = tokens.create(uses=None)
    for _ in range(10):
        assert len(tokens.entries()) == 1
        assert tokens.accepts({"token": token})
    assert len(decoded) <= 2  # the missing file, and the first token
    other = JoinTokens(tmp_path / "join_tokens.json")
    other.revoke(token)
    assert tokens.entries()[0].revoked is not None


def test_what_was_written_is_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A login that uses a token, or a key that is written down, makes nobody parse the whole file anew."""
    parsed: list[str] = []
    decode = Book._decode  # noqa: SLF001  # to count its calls
    parse = TextFile._content  # noqa: SLF001  # likewise

    def decoding(book: Book[Any], data: bytes) -> object:
        parsed.append("tokens")
        return decode(book, data)

    def reading(file: TextFile[Any], data: bytes) -> object:
        parsed.append("text")
        return parse(file, data)

    monkeypatch.setattr(Book, "_decode", decoding)
    monkeypatch.setattr(TextFile, "_content", reading)
    tokens = JoinTokens(tmp_path / "join_tokens.json")
    servers = KnownServers(tmp_path / "known_servers")
    token = tokens.create("ada", uses=100, lifetime=1000.0, note="a note")
    servers.remember("localhost", 40_000, fingerprint(0), lifetime=12.345)
    del parsed[:]
    for number in range(1, 10):
        assert enter(tokens, token) == "ada"
        assert tokens.entries()[0].uses == 100 - number
        servers.remember(f"b\u00fccher{number}.example", 5050, fingerprint(number), comment="# x")
        assert servers.get(f"b\u00fccher{number}.example", 5050) == fingerprint(number)
    assert servers.forget("b\u00fccher1.example", 5050)
    assert parsed == []
    assert tokens.entries() == JoinTokens(tokens.path).entries()
    assert servers.entries() == KnownServers(servers.path).entries()
    assert parsed == ["tokens", "text"]


def test_what_one_changes_is_not_seen_by_who_looked_before(tmp_path: Path) -> None:
    """A list that was given out stays what it was."""
    servers = KnownServers(tmp_path / "known_servers")
    servers.remember("a", 1, fingerprint(1))
    before = servers.entries()
    servers.remember("b", 1, fingerprint(2))
    before.clear()
    assert [entry.host for entry in servers.entries()] == ["a", "b"]


def test_a_child_process_looks_for_itself(file: Path) -> None:
    """After a fork both processes see changes; nothing is locked."""
    clients = AuthorizedClients(file)
    file.write_text(f"{fingerprint(1)} ada\n")
    clients.allows(fingerprint(1))
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # threads of earlier tests may still end
        child = os.fork()
    if child == 0:
        file.write_text(f"{fingerprint(2)} bob\n")
        os._exit(0 if clients.allows(fingerprint(2)) == "bob" else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert clients.allows(fingerprint(2)) == "bob"
