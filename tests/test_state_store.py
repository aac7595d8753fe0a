"""A store of sessions: what was committed is there, all of it or none, sealed, for one process at a time."""

import base64
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import WAIT, until

from securelink import KeyFileError, StateError
from securelink.state import Change, Counts, Loaded, Saved, SavedTicket, SqliteStore, StateKeys
from securelink.state.rows import encode

TOKEN, OTHER = bytes(range(16)), bytes(16)
PSK = b"the PSK, which must not be read!"


def saved(token: bytes = TOKEN, **other: object) -> Saved:
    ticket = SavedTicket(b"d" * 32, 1 << 20, PSK, b"server", None, "game", "1")
    values: dict[str, object] = {
        "token": token, "user": b"\xa5alice", "operator": False, "address": ("192.0.2.1", 5050),
        "fingerprint": None, "connected_at": 1.5, "encrypted": True, "dialled": "here", "tickets": [ticket],
        "lost_at": None, "greeted": True, "muted": False, "rooms": ["lobby"], "data": b"\x80", "state": None,
        "grace": 120,
    }  # fmt: skip
    return Saved(**{**values, **other})  # type: ignore[arg-type]


def counts(handled: int = 0, sent: int = 0) -> bytes:
    return encode(Counts(handled, handled, sent, 0, 0, 0))


def begun(token: bytes = TOKEN, **other: object) -> Change:
    return Change(token, saved=encode(saved(token, **other)), counts=counts())


class Place:
    """A state file, and the key that it is sealed under."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "state.db"
        self.keys = folder / "keys"

    def open(self, sync: str = "turn", wait: float = 0.0) -> SqliteStore:
        return SqliteStore(self.path, StateKeys.load_or_make(self.keys), sync, wait)

    def loaded(self) -> list[Loaded]:
        store = self.open()
        try:
            return store.take_over()
        finally:
            store.close()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    folder = tmp_path / "kept"
    folder.mkdir(mode=0o700)
    return Place(folder)


@pytest.mark.parametrize("sync", ["turn", "10ms", "os"])
def test_what_was_committed_is_there(place: Place, sync: str) -> None:
    """Sessions, counts and packets come back as they were, in order."""
    store = place.open(sync)
    assert store.take_over() == []
    store.commit([begun(), begun(OTHER)], 10.0)
    turn = Change(TOKEN, counts=counts(3, 2))
    turn.received = [(5, b"five"), (4, b"four")]
    turn.sent = [(1, b"one"), (2, b"\0" * 100_000)]
    turn.queued = [(7, b"seven"), (8, b"eight")]
    store.commit([turn], 11.0)
    store.close()
    first, second = place.loaded()
    assert first.saved == saved()
    assert first.counts == Counts(3, 3, 2, 0, 0, 0)
    assert first.received == [(4, b"four"), (5, b"five")]
    assert first.sent == [(1, b"one"), (2, b"\0" * 100_000)]
    assert first.queued == [(7, b"seven"), (8, b"eight")]
    assert second.saved.token == OTHER
    assert not second.sent


def test_what_is_through_goes(place: Place) -> None:
    """Handled, acknowledged and replaced packets go, and so does a session that is over, with all of it."""
    store = place.open()
    store.take_over()
    first, second = begun(), begun(OTHER)
    for one in (first, second):
        one.received = one.sent = one.queued = [(n, b"%d" % n) for n in range(1, 6)]
    store.commit([first, second], 1.0)
    turn = Change(TOKEN, received_below=3, sent_below=6, queued_below=5, queued=[(5, b"new")])
    store.commit([turn, Change(OTHER, gone=True)], 2.0)
    store.commit([Change(OTHER, gone=True)], 2.0)
    store.close()
    (left,) = place.loaded()
    assert [number for number, _ in left.received] == [3, 4, 5]
    assert left.sent == []
    assert left.queued == [(5, b"new")]


def test_a_start_gives_back_what_a_crowd_has_left(place: Place) -> None:
    """The file does not keep the size that it once had, and what is in it stays."""
    store = place.open("os")
    store.take_over()
    crowd = Change(TOKEN, received=[(n, bytes(1 << 20)) for n in range(1, 41)])
    crowd.saved, crowd.counts = encode(saved()), counts()
    store.commit([crowd, begun(OTHER)], 1.0)
    assert sum(path.stat().st_size for path in place.folder.glob("state.db*")) > 40 << 20
    through = Change(TOKEN, received_below=40, counts=counts(39))
    for _ in range(3):  # the journal begins anew, and is cut
        store.commit([through], 2.0)
    assert sum(path.stat().st_size for path in place.folder.glob("*-wal")) <= 17 << 20
    store.close()
    assert place.path.stat().st_size > 40 << 20
    first, second = place.loaded()
    assert place.path.stat().st_size < 4 << 20
    assert first.received == [(40, bytes(1 << 20))]
    assert second.saved.token == OTHER
    assert len(place.loaded()) == 2


def test_it_says_when_it_was_written(place: Place) -> None:
    """The time of the last commit is that of the process before."""
    store = place.open()
    store.take_over()
    assert store.written_at == 0
    store.commit([begun()], 1234.5)
    store.close()
    store = place.open()
    store.take_over()
    assert store.written_at == 1234.5
    store.close()


def test_a_commit_is_all_or_nothing(place: Place) -> None:
    """A change that cannot be written takes the others of its turn with it, and the next turn is written as usual."""
    store = place.open()
    store.take_over()
    store.commit([begun()], 1.0)
    bad = Change(TOKEN, counts=counts(9), sent=[(1, "no bytes")])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        store.commit([begun(OTHER), bad], 2.0)
    store.commit([Change(TOKEN, counts=counts(1)), begun(OTHER)], 3.0)
    store.close()
    first, second = place.loaded()
    assert first.counts.handled == 1
    assert second.saved.token == OTHER


def test_rows_are_sealed(place: Place) -> None:
    """The file has nothing of what is in its rows: neither packets, users, PSKs nor names."""
    store = place.open()
    store.take_over()
    turn = begun()
    turn.sent = [(1, b"a packet in clear")]
    store.commit([turn], 1.0)
    bytes_of = b"".join(path.read_bytes() for path in place.folder.glob("state.db*"))
    store.close()
    bytes_of += place.path.read_bytes()
    for secret in (b"a packet in clear", PSK, b"alice", b"192.0.2.1", TOKEN, b"lobby"):
        assert secret not in bytes_of
    assert PSK not in repr(saved()).encode() + repr(saved().tickets).encode()


def test_each_start_seals_under_another_key(place: Place) -> None:
    """The same rows, sealed at two starts, also of the same file put back, have nothing in common."""
    store = place.open()
    store.take_over()
    store.commit([begun()], 1.0)
    store.close()
    copy = place.path.read_bytes()
    seen = set()
    for _ in range(3):
        place.path.write_bytes(copy)
        place.open().close()  # a file that is only opened stays as it is
        store = place.open()
        store.take_over()
        store.close()
        db = sqlite3.connect(place.path)
        seen.add(db.execute("SELECT saved FROM sessions").fetchone()[0])
        seen.add(db.execute("SELECT salt FROM meta").fetchone()[0])
        db.close()
    assert len(seen) == 6


def _swap(db: sqlite3.Connection) -> None:
    one, two = (body for (body,) in db.execute("SELECT body FROM packets ORDER BY number"))
    db.execute("UPDATE packets SET body = ? WHERE number = 1", (two,))
    db.execute("UPDATE packets SET body = ? WHERE number = 2", (one,))


def _flip(db: sqlite3.Connection) -> None:
    (saved_,) = db.execute("SELECT saved FROM sessions").fetchone()
    db.execute("UPDATE sessions SET saved = ?", (saved_[:-1] + bytes([saved_[-1] ^ 1]),))


@pytest.mark.parametrize(
    "change",
    [
        _swap,
        _flip,
        lambda db: db.execute("UPDATE packets SET kind = 5"),
        lambda db: db.execute("UPDATE packets SET session = 2"),
        lambda db: db.execute("UPDATE sessions SET counts = x''"),
        lambda db: db.execute("UPDATE sessions SET counts = 'text'"),
        lambda db: db.execute("UPDATE meta SET mark = zeroblob(44)"),
        lambda db: db.execute("UPDATE meta SET salt = zeroblob(32)"),
        lambda db: db.execute("UPDATE meta SET key = NULL"),
        lambda db: db.execute("UPDATE meta SET salt = 'text'"),
        lambda db: db.execute("UPDATE meta SET fence = 'text'"),
        lambda db: db.execute("UPDATE meta SET fence = 9223372036854775807"),
        lambda db: db.execute("UPDATE meta SET written = NULL"),
        lambda db: db.execute("UPDATE sessions SET id = -1"),
        lambda db: db.execute("UPDATE packets SET number = -number"),
        lambda db: db.execute("UPDATE packets SET number = 'text' WHERE number = 1"),
        lambda db: db.execute("UPDATE packets SET number = 1.5 WHERE number = 1"),
        lambda db: db.execute("DELETE FROM meta"),
    ],
)
def test_a_row_that_was_changed_is_an_error(
    place: Place, change: Callable[[sqlite3.Connection], object]
) -> None:
    """A row that was changed or put elsewhere is one clear error, and the file stays as it is."""
    store = place.open()
    store.take_over()
    turn = begun()
    turn.sent = [(1, b"first"), (2, b"second")]
    store.commit([turn], 1.0)
    store.close()
    db = sqlite3.connect(place.path)
    change(db)
    db.commit()
    db.close()
    before = place.path.read_bytes()
    with pytest.raises(StateError, match=r"is damaged: .*restore it from a backup"):
        place.loaded()
    assert place.path.read_bytes() == before


@pytest.mark.parametrize("size", [10, 100, 5000])
def test_a_damaged_file_is_an_error(place: Place, size: int) -> None:
    """A file that is cut, or none of ours, is one clear error that names it."""
    store = place.open()
    store.take_over()
    store.commit([begun(), begun(OTHER)], 1.0)
    store.close()
    place.path.write_bytes(place.path.read_bytes()[:size])
    with pytest.raises(StateError, match=r"state\.db"):
        place.loaded()


def test_another_database_is_an_error(place: Place) -> None:
    """A file of another program is not touched."""
    db = sqlite3.connect(place.path)
    db.execute("CREATE TABLE theirs (a)")
    db.commit()
    db.close()
    place.path.chmod(0o600)
    with pytest.raises(StateError, match="no state file of this version"):
        place.open()
    db = sqlite3.connect(place.path)
    assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]
    db.close()


def test_the_wrong_key_is_an_error(place: Place) -> None:
    """The error names the key that is missing; the file is not changed, and opens when that is back."""
    store = place.open()
    store.take_over()
    store.commit([begun()], 1.0)
    store.close()
    ring = place.keys / "state.key"
    right = ring.read_bytes()
    ring.unlink()
    with pytest.raises(StateError, match=r"under the key [0-9a-f]{8}, which is not in"):
        place.loaded()
    ring.write_bytes(right)
    assert len(place.loaded()) == 1


def test_a_key_of_the_same_id_and_another_value_is_an_error(place: Place) -> None:
    """It does not open, and nothing is lost."""
    place.loaded()
    ring = place.keys / "state.key"
    role, identity, _ = ring.read_text().split("\n")[1].split()
    ring.write_text(f"{role} {identity} {base64.b64encode(bytes(32)).decode()}\n")
    with pytest.raises(StateError, match="does not open"):
        place.loaded()


def test_keys_follow_each_other(place: Place) -> None:
    """After a key was replaced, what the old one has sealed is read, and sealed under the current one."""
    store = place.open()
    store.take_over()
    store.commit([begun()], 1.0)
    store.close()
    ring = place.keys / "state.key"
    old = ring.read_text().replace("current", "old")
    ring.write_text(old + f"current 01020304 {base64.b64encode(b'k' * 32).decode()}\n")
    assert len(place.loaded()) == 1
    ring.write_text("\n".join(line for line in ring.read_text().split("\n") if "old" not in line))
    assert len(place.loaded()) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "current 01020304\n",
        "current 0102 " + base64.b64encode(bytes(32)).decode(),
        "current 01020304 " + base64.b64encode(bytes(31)).decode(),
        "spare 01020304 " + base64.b64encode(bytes(32)).decode(),
        "old 01020304 " + base64.b64encode(bytes(32)).decode(),
        "current zzzzzzzz SECRETSECRET",
        "current \xff\xff SECRETSECRET",
    ],
)
def test_a_damaged_ring_is_an_error(place: Place, text: str) -> None:
    """The error names file and line, and shows nothing of a key."""
    place.loaded()
    ring = place.keys / "state.key"
    ring.write_bytes(text.encode("latin-1"))
    with pytest.raises(StateError, match=r"state\.key") as caught:
        place.loaded()
    assert "SECRET" not in str(caught.value)
    assert "AAAA" not in str(caught.value)


def test_files_are_for_their_owner_alone(place: Place) -> None:
    """All files that appear are 0600, whatever the umask; one that others can read is refused."""
    before = os.umask(0)
    try:
        store = place.open()
        store.take_over()
        store.commit([begun()], 1.0)
        files = [*place.folder.glob("state.db*"), place.keys / "state.key"]
        assert len(files) >= 3
        assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
        store.close()
    finally:
        os.umask(before)
    for path in (place.path, place.keys / "state.key"):
        path.chmod(0o640)
        with pytest.raises(KeyFileError, match="chmod"):
            place.open()
        path.chmod(0o600)
    place.folder.chmod(0o777)
    with pytest.raises(KeyFileError, match="other users can write"):
        place.open()


def test_one_process_has_it(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """A second process waits, or gets an error that names the first; the file is free when that was killed."""
    caplog.set_level("INFO", "securelink.server")
    script = textwrap.dedent(f"""
        import sys, time
        from pathlib import Path
        from securelink.state import SqliteStore, StateKeys
        store = SqliteStore(Path({str(place.path)!r}), StateKeys.load_or_make(Path({str(place.keys)!r})))
        store.take_over()
        print("ready", flush=True)
        sys.stdin.read()
    """)
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"ready\n"
        with pytest.raises(StateError, match=rf"another process \(pid {first.pid}\) uses"):
            place.open()
        waiting = threading.Thread(target=lambda: place.open(wait=WAIT).close())
        waiting.start()
        until(lambda: "waiting up to" in caplog.text)
        first.kill()
        first.wait()
        waiting.join(WAIT)
        assert not waiting.is_alive()
    assert place.loaded() == []


def test_one_server_of_a_process_has_it(place: Place) -> None:
    """Locks of POSIX do not stand in the way of the process that has them; this one does."""
    store = place.open()
    for _ in range(2):
        with pytest.raises(StateError, match="another server of this process"):
            place.open()
    store.close()
    place.open().close()


def test_who_was_taken_over_commits_nothing(place: Place) -> None:
    """Should there be two all the same, the one that came first finds its fence broken."""
    store = place.open()
    store.take_over()
    store.commit([begun()], 1.0)
    store.take_over()  # as another process would
    store._fence -= 1  # noqa: SLF001  # what the first one has
    with pytest.raises(StateError, match="another process has taken"):
        store.commit([Change(TOKEN, gone=True)], 2.0)
    store.close()
    assert len(place.loaded()) == 1


def test_a_full_disk_is_an_error(place: Place) -> None:
    """A commit that has no room is an error that says so, and nothing of it is kept; with room it goes on."""
    store = place.open()
    store.take_over()
    store.commit([begun()], 1.0)
    turn = Change(TOKEN, counts=counts(7), sent=[(1, os.urandom(1 << 20))])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(StateError, match=r"cannot write .*state\.db.*free some space"):
            store.commit([turn], 2.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    store.commit([Change(TOKEN, counts=counts(1))], 3.0)
    store.close()
    (left,) = place.loaded()
    assert left.counts.handled == 1
    assert not left.sent


def test_a_fork_leaves_it_to_its_parent(place: Place) -> None:
    """A child that ends, with all that an interpreter does then, takes neither the lock nor the journal along."""
    store = place.open()
    store.take_over()
    child = os.fork()
    if not child:
        del store
        os._exit(0)
    os.waitpid(child, 0)
    store.commit([begun()], 1.0)
    store.close()
    assert len(place.loaded()) == 1


def test_killed_at_any_moment(place: Place) -> None:
    """After SIGKILL in the middle of commits the file has the turns up to some one, and no part of another."""
    script = textwrap.dedent(f"""
        import sys
        from pathlib import Path
        from securelink.state import Change, Counts, SqliteStore, StateKeys
        from securelink.state.rows import encode
        store = SqliteStore(Path({str(place.path)!r}), StateKeys.load_or_make(Path({str(place.keys)!r})), "os")
        (before,) = store.take_over()
        n = before.counts.sent
        print(n, flush=True)
        while True:
            n += 1
            turn = Change(before.saved.token, counts=encode(Counts(n, n, n, n, n, n)))
            turn.sent, turn.sent_below = [(n, b"%d" % n * 500)], n - 5
            store.commit([turn], float(n))
            print(n, flush=True)
    """)
    store = place.open()
    store.take_over()
    store.commit([begun()], 1.0)
    store.close()
    for _ in range(5):
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            said = 0
            for line in writer.stdout:
                said = int(line)
                if said % 97 == 96:
                    writer.kill()
                    break
            said = max([said, *map(int, writer.stdout.read().split(b"\n")[:-1])])
            writer.wait()
        (left,) = place.loaded()
        count = left.counts.sent
        assert said <= count <= said + 1
        assert [number for number, _ in left.sent] == list(range(max(1, count - 5), count + 1))
        assert all(body == b"%d" % number * 500 for number, body in left.sent)
