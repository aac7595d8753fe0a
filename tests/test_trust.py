"""Trust files: known servers and authorized clients, and updates that lose nothing."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securelink.errors import ConfigError, KeyFileError, LimitExceeded, NotTrusted
from securelink.keys import fingerprint_text
from securelink.limits import MAX_NAME, MAX_TRUST_FILE
from securelink.trust import AuthorizedClient, AuthorizedClients, KnownServer, KnownServers

Failing = Callable[[int], Callable[..., NoReturn]]

ONE = fingerprint_text(bytes(32))
TWO = fingerprint_text(bytes([1]) * 32)
BOM = b"\xef\xbb\xbf"  # what some editors put in front of UTF-8


@pytest.fixture
def servers(tmp_path: Path) -> KnownServers:
    """A file of known servers that does not exist yet."""
    return KnownServers(tmp_path / "known_servers")


@pytest.fixture
def clients(tmp_path: Path) -> AuthorizedClients:
    """A file of authorized clients that does not exist yet."""
    return AuthorizedClients(tmp_path / "authorized_clients")


# --- known servers --------------------------------------------------------------------------------


def test_first_use(servers: KnownServers) -> None:
    """Nobody is known at first, and asking creates no file."""
    assert servers.get("localhost", 5050) is None
    assert servers.entries() == []
    assert os.listdir(servers.path.parent) == []


def test_remember_and_forget(servers: KnownServers) -> None:
    """What is remembered is found by host and port, until it is forgotten."""
    servers.remember("Game.Example", 5050, ONE, comment="the club")
    servers.remember("game.example", 5051, TWO, comment="")
    servers.remember("fe80::1%eth0", 5050, TWO, comment="")
    assert servers.get("game.example", 5050) == servers.get("GAME.example", 5050) == ONE
    assert servers.get("game.example", 5051) == TWO
    assert servers.get("fe80::1%ETH0", 5050) == TWO
    assert servers.get("game.example", 5052) is None
    assert servers.get("game", 5050) is None
    assert servers.forget("GAME.EXAMPLE", 5050)
    assert not servers.forget("game.example", 5050)
    assert servers.get("game.example", 5050) is None
    assert servers.get("game.example", 5051) == TWO


def test_known_servers_file(servers: KnownServers) -> None:
    """The file is text that explains itself, 0600, one server a line."""
    servers.remember("Game.Example", 5050, ONE, comment="the club")
    servers.remember("::1", 5050, TWO, comment="")
    assert servers.path.read_text() == (
        "# Servers met before, and their keys.\n"
        f"game.example 5050 {ONE}  # the club\n"
        f"::1 5050 {TWO}\n"
    )
    assert stat.S_IMODE(servers.path.stat().st_mode) == 0o600
    assert servers.entries() == [
        KnownServer("game.example", 5050, ONE, "the club"),
        KnownServer("::1", 5050, TWO),
    ]


def test_date_by_default(servers: KnownServers, clients: AuthorizedClients) -> None:
    """Without a comment an entry says when it was added."""
    servers.remember("localhost", 5050, ONE)
    clients.authorize(ONE, "ana")
    for comment in (servers.entries()[0].comment, clients.entries()[0].comment):
        assert re.fullmatch(r"added \d{4}-\d\d-\d\d", comment)


def test_the_same_key_again_changes_nothing(servers: KnownServers) -> None:
    """Meeting a known server again does not write the file."""
    servers.remember("localhost", 5050, ONE, comment="first")
    before = servers.path.stat()
    servers.remember("LOCALHOST", 5050, ONE, comment="second")
    assert servers.path.stat().st_ino == before.st_ino
    assert servers.entries() == [KnownServer("localhost", 5050, ONE, "first")]


def test_another_key_is_never_written_over_a_known_one(servers: KnownServers) -> None:
    """A changed key is an error that names both keys; the old one stays."""
    servers.remember("localhost", 5050, ONE)
    with pytest.raises(NotTrusted, match=r"another key for .* 5050; .*forget") as caught:
        servers.remember("localhost", 5050, TWO)
    assert (caught.value.fingerprint, caught.value.expected) == (TWO, ONE)
    assert servers.get("localhost", 5050) == ONE
    servers.forget("localhost", 5050)
    servers.remember("localhost", 5050, TWO)
    assert servers.get("localhost", 5050) == TWO


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("", 1),
        ("a b", 1),
        ("a\tb", 1),
        ("a\nb", 1),
        ("a#b", 1),
        ("a\x1b[2J", 1),
        ("\ud800", 1),
        ("x" * (MAX_NAME + 1), 1),
        ("localhost", 0),
        ("localhost", 65536),
        ("localhost", -1),
        ("localhost", True),
        ("localhost", 5050.5),
        ("localhost", "5050"),
        (None, 1),
        (b"localhost", 1),
    ],
)
def test_hosts_and_ports_that_are_none(servers: KnownServers, host: Any, port: Any) -> None:
    """What could not be read back from the file is not written, asked for or removed."""
    uses: list[Callable[[], object]] = [
        lambda: servers.get(host, port),
        lambda: servers.remember(host, port, ONE),
        lambda: servers.forget(host, port),
    ]
    for use in uses:
        with pytest.raises(ConfigError):
            use()
    assert os.listdir(servers.path.parent) == []


def test_fingerprints_and_comments_are_checked(
    servers: KnownServers, clients: AuthorizedClients
) -> None:
    """Nothing gets into a file that is no fingerprint, or a comment of several lines."""
    adds: list[Callable[[], object]] = [
        lambda: servers.remember("localhost", 5050, "SHA256:short"),
        lambda: clients.authorize("SHA256:short", "ana"),
        lambda: servers.remember("localhost", 5050, ONE, comment="a\nb"),
        lambda: clients.authorize(ONE, "ana", comment="a\nb"),
        lambda: clients.authorize(ONE, "ana", comment=cast(Any, 5)),
        lambda: servers.remember("localhost", 5050, ONE, lifetime=float("nan")),
        lambda: servers.remember("localhost", 5050, ONE, lifetime=1e300),
        lambda: servers.remember("localhost", 5050, ONE, lifetime=cast(Any, "5")),
    ]
    for add in adds:
        with pytest.raises(ConfigError):
            add()
    assert os.listdir(servers.path.parent) == []


# --- authorized clients ---------------------------------------------------------------------------


def test_authorize_and_revoke(clients: AuthorizedClients) -> None:
    """An authorized key has its name until it is revoked by key or by name."""
    assert clients.allows(ONE) is None
    clients.authorize(ONE, " Ana María ", comment="")
    clients.authorize(TWO, "ben", comment="phone")
    assert clients.allows(ONE) == "Ana María"
    assert clients.path.read_text() == (
        f"# Clients that may enter, by key.\n{ONE} Ana María\n{TWO} ben  # phone\n"
    )
    assert clients.entries() == [
        AuthorizedClient(ONE, "Ana María"),
        AuthorizedClient(TWO, "ben", "phone"),
    ]
    assert clients.revoke(ONE)
    assert not clients.revoke(ONE)
    assert clients.allows(ONE) is None
    assert clients.revoke("ben")
    assert clients.allows(TWO) is None


def test_revoking_a_name_revokes_all_its_keys(clients: AuthorizedClients) -> None:
    """Somebody with two computers is locked out of both at once."""
    clients.authorize(ONE, "ana")
    clients.authorize(TWO, "ana")
    assert clients.revoke("ana")
    assert clients.entries() == []


def test_authorizing_twice(clients: AuthorizedClients) -> None:
    """The same name again is fine; another name for a key is an error that says what to do."""
    clients.authorize(ONE, "ana")
    clients.authorize(ONE, "ana")
    with pytest.raises(ConfigError, match=r"authorized already, as 'ana'; revoke it first"):
        clients.authorize(ONE, "ben")
    assert [entry.name for entry in clients.entries()] == ["ana"]


def test_another_program_revokes(clients: AuthorizedClients) -> None:
    """A change of the file works at once, without a new object."""
    clients.authorize(ONE, "ana")
    AuthorizedClients(clients.path).revoke("ana")
    assert clients.allows(ONE) is None


@pytest.mark.parametrize(
    "name", ["", "  ", "a#b", "a\nb", "a\x00", "x" * (MAX_NAME + 1), None, b"ana"]
)
def test_names_that_are_none(clients: AuthorizedClients, name: Any) -> None:
    """What could not be read back from the file as a name is refused."""
    with pytest.raises(ConfigError, match="name"):
        clients.authorize(ONE, name)


# --- files that people edit, and files that broke -------------------------------------------------


def test_what_people_wrote_is_kept(servers: KnownServers) -> None:
    """Comments, empty lines, order and a mark at the beginning are understood; lines are kept."""
    servers.path.write_bytes(
        BOM + f"# mine\r\n\r\n  Game.Example\t5050   {ONE}#no space\r\n::1 5050 {TWO}".encode()
    )
    servers.path.chmod(0o600)
    assert servers.entries() == [
        KnownServer("game.example", 5050, ONE, "no space"),
        KnownServer("::1", 5050, TWO),
    ]
    servers.remember("new", 1, ONE, comment="")
    assert servers.path.read_text() == (
        f"# mine\n\n  Game.Example\t5050   {ONE}#no space\n::1 5050 {TWO}\nnew 1 {ONE}\n"
    )
    servers.forget("game.example", 5050)
    assert servers.path.read_text() == f"# mine\n\n::1 5050 {TWO}\nnew 1 {ONE}\n"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("localhost", "a line is 'host port SHA256:...', not 1 words"),
        (f"localhost 5050 {ONE} extra", "not 4 words"),
        (f"localhost http {ONE}", "a port is a number from 1 to 65535"),
        (f"localhost 0 {ONE}", "a port is a number"),
        (f"localhost 65536 {ONE}", "a port is a number"),
        (f"localhost {'9' * 5000} {ONE}", "a port is a number"),
        (f"localhost \N{ARABIC-INDIC DIGIT ONE} {ONE}", "a port is a number"),
        (f"localhost 5050 {ONE[:-1]}", "is not a key fingerprint"),
        (f"localhost 5050 {ONE[:-1]}B", "is not a key fingerprint"),
        ("\0" * 60, "not 1 words"),
        (f"a\x1b[2J 5050 {ONE}", "is not the name or address of a host"),
        (f"known 5050 {TWO}", "it contradicts line 2"),
        (f"KNOWN 5050 {TWO}", "it contradicts line 2"),
        ("\udcff", "it is not UTF-8 text"),
    ],
)
def test_damaged_known_servers(servers: KnownServers, line: str, why: str) -> None:
    """A line that cannot be read is named with its number; nothing is read past it or written."""
    content = f"# head\nknown 5050 {ONE}\n{line}\n".encode("utf-8", "surrogateescape")
    servers.path.write_bytes(content)
    servers.path.chmod(0o600)
    uses: list[Callable[[], object]] = [
        lambda: servers.get("known", 5050),
        lambda: servers.get("unknown", 5050),
        servers.entries,
        lambda: servers.remember("new", 5050, ONE),
        lambda: servers.forget("known", 5050),
    ]
    for use in uses:
        with pytest.raises(KeyFileError) as caught:
            use()
        assert caught.value.message.startswith(f"{servers.path}:3: ")
        assert why in caught.value.message
        assert caught.value.hint.startswith("correct or delete that line")
        assert "\x1b" not in str(caught.value)
        assert len(str(caught.value)) < 400
    assert servers.path.read_bytes() == content


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("ana", "'ana' is not a key fingerprint"),
        (ONE, "a line is 'SHA256:... name', and the name is missing"),
        (f"{ONE} a\x1b[2J", "is not a name"),
        (f"{ONE} {'x' * (MAX_NAME + 1)}", "a name has at most"),
        (f"{TWO} ben\n{TWO} ana", "it contradicts line 1"),
    ],
)
def test_damaged_authorized_clients(clients: AuthorizedClients, line: str, why: str) -> None:
    """A damaged line admits nobody, not even the clients on good lines."""
    clients.path.write_text(f"{line}\n{ONE} ana\n")
    clients.path.chmod(0o600)
    uses: list[Callable[[], object]] = [
        lambda: clients.allows(ONE),
        lambda: clients.authorize(TWO, "ben"),
        lambda: clients.revoke("ana"),
    ]
    for use in uses:
        with pytest.raises(KeyFileError) as caught:
            use()
        assert re.match(rf"{clients.path}:[12]: ", caught.value.message)
        assert why in caught.value.message


@given(st.binary(max_size=120))
@settings(max_examples=200, deadline=None)
def test_any_bytes_as_trust_file(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """Arbitrary bytes give entries or the documented error, and never a forgotten server."""
    path = tmp_path_factory.getbasetemp() / "any_bytes"
    path.write_bytes(f"known 5050 {ONE}\n".encode() + data)
    path.chmod(0o600)
    try:
        outcome = KnownServers(path).get("known", 5050) or "forgotten"
    except KeyFileError as error:
        outcome = error.message
    assert outcome == ONE or re.match(rf"{path}:[0-9]+: ", outcome)


PRINTABLE = st.characters(exclude_categories=("C", "Z"), exclude_characters="#")


@given(
    host=st.text(PRINTABLE, min_size=1, max_size=20),
    port=st.integers(1, 65535),
    name=st.text(PRINTABLE | st.just(" "), min_size=1, max_size=20).filter(str.strip),
    comment=st.text(PRINTABLE | st.sampled_from("# "), max_size=20),
)
@settings(max_examples=200, deadline=None)
def test_lines_read_back(host: str, port: int, name: str, comment: str) -> None:
    """Every entry that may be written reads back as itself."""
    for entry in (
        KnownServer(host.lower(), port, ONE, comment.strip()),
        AuthorizedClient(ONE, name.strip(), comment.strip()),
    ):
        fields, _, rest = entry.line().partition("#")
        assert type(entry).parse(fields.strip(), rest.strip()) == entry


def test_size_limit(servers: KnownServers) -> None:
    """A file of the largest size is read; one byte more is refused, in reading and in writing."""
    line = f"localhost 5050 {ONE}\n"
    servers.path.write_text(line + "#" * (MAX_TRUST_FILE - len(line) - 1) + "\n")
    servers.path.chmod(0o600)
    assert servers.get("localhost", 5050) == ONE
    with pytest.raises(LimitExceeded, match="remove entries") as caught:
        servers.remember("new", 1, ONE)
    assert caught.value.limit == "MAX_TRUST_FILE"
    assert servers.path.stat().st_size == MAX_TRUST_FILE
    with servers.path.open("a") as file:
        file.write("\n")
    with pytest.raises(KeyFileError, match=f"is larger than {MAX_TRUST_FILE} bytes"):
        servers.get("localhost", 5050)


def test_file_that_others_can_change(clients: AuthorizedClients) -> None:
    """Whoever can write to the file decides who enters: more than its owner is refused."""
    clients.authorize(ONE, "ana")
    clients.path.chmod(0o644)
    assert clients.allows(ONE) == "ana"
    for mode in (0o664, 0o646):
        clients.path.chmod(mode)
        with pytest.raises(KeyFileError, match=r"other users can change .*run: chmod 600 "):
            clients.allows(ONE)


def test_unreadable_is_not_empty(
    servers: KnownServers, monkeypatch: pytest.MonkeyPatch, failing: Failing
) -> None:
    """A file that cannot be opened is an error: only a file that does not exist has no entries."""
    monkeypatch.setattr(os, "open", failing(errno.EACCES))
    with pytest.raises(KeyFileError, match="permission denied"):
        servers.get("localhost", 5050)
    monkeypatch.setattr(os, "open", failing(errno.ENOTDIR))
    with pytest.raises(KeyFileError, match="a part of the path is a file"):
        servers.get("localhost", 5050)
    monkeypatch.setattr(os, "open", failing(errno.ENOENT))
    assert servers.get("localhost", 5050) is None
