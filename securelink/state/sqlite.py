"""
Sessions in one SQLite file, in WAL mode: what was committed is there after `kill -9`, and a commit that was not
finished never happened.

Every row is sealed (vault.py). A start reads them all, and seals them anew under its own key.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sqlite3
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from ..errors import StateError
from ..keys.files import NewFile, absolute, create_files, exists, make_folder, opened
from ..keys.strict import believed_path
from .lock import FileLock
from .ring import StateKeys
from .rows import Change, Loaded, Numbered, decode, encode
from .vault import Kind, Vault, fresh_salt

#: How sure a commit is: `PRAGMA synchronous`, and the least seconds between two.
SYNC = {"turn": ("FULL", 0.0), "10ms": ("FULL", 0.01), "os": ("NORMAL", 0.0)}

_APPLICATION = 0x5EC11A6B
_VERSION = 1
_MOST_STARTS = 1 << 62
_JOURNAL_BYTES = 16 * 1024 * 1024  # it is cut to that when it begins anew
_FREE_PAGES = 1024
_OTHERS = 0o077
_BESIDE = ("-wal", "-journal")
_SCHEMA = """
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1), key BLOB, salt BLOB, mark BLOB, fence INTEGER, written REAL
);
CREATE TABLE sessions (id INTEGER PRIMARY KEY, saved BLOB NOT NULL, counts BLOB NOT NULL);
CREATE TABLE packets (
    session INTEGER, kind INTEGER, number INTEGER, body BLOB NOT NULL, PRIMARY KEY (session, kind, number)
) WITHOUT ROWID;
"""
_OF_SESSIONS = ("sessions", "packets")
_MARK = b"securelink state"
_PACKETS = (Kind.RECEIVED, Kind.SENT, Kind.QUEUED)
_open: weakref.WeakSet[SqliteStore] = weakref.WeakSet()
_DAMAGED = "restore it from a backup, or move it away: then sessions begin anew"


def _leave_to_parent() -> None:
    """In a child of fork(): closing the database would write and unlink files of the parent."""
    for store in tuple(_open):
        store.orphaned()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


class SqliteStore:
    """
    A store in a file. One process has it at a time.

    Args:
        path: The file; made if it does not exist. Beside it lie `<path>-wal` and `<path>.lock`.
        keys: What its rows are sealed under.
        sync: "turn": a commit has come back when it is on the disk. "10ms": likewise, but what happens in 10 ms has
            one commit. "os": a commit is the system's to write, so that it survives the process and not the machine.
        wait: Seconds to wait for another process to let go of the file.

    Raises:
        StateError: Another process uses it, or it is damaged, or no state file.
        KeyFileError: It cannot be opened, or others can read or change it.
    """

    def __init__(self, path: Path, keys: StateKeys, sync: str = "turn", wait: float = 0.0) -> None:
        self._path = absolute(path)
        self._keys = keys
        self._level, self.interval = SYNC[sync]
        self._ids: dict[bytes, int] = {}
        self._last_id = 0
        self._fence = 0
        self._written_at = 0.0
        self._vault = Vault(bytes(32), bytes(32))  # until `take_over`
        make_folder(self._path.parent)
        real = believed_path(self._path)
        self._lock = FileLock(real, wait)
        try:
            if not exists(real):
                create_files([NewFile(real, b"")])  # so that it is 0600, and its journal likewise
            beside = (real.with_name(real.name + ending) for ending in _BESIDE)
            # SQLite would follow links, and wait for a pipe.
            for file in (real, *filter(exists, beside)):
                with opened(file, 0, forbidden=_OTHERS):
                    pass
            with self._mapped():
                self._db = self._connected(real)
        except BaseException:
            self._lock.release()
            raise
        _open.add(self)

    def _connected(self, real: Path) -> sqlite3.Connection:
        db = sqlite3.connect(real, isolation_level=None, check_same_thread=False, timeout=1.0)
        try:
            run = db.execute
            run("PRAGMA locking_mode = EXCLUSIVE")  # no file of shared memory, and no other process
            run("PRAGMA trusted_schema = OFF")
            run("PRAGMA journal_mode = WAL")
            run(f"PRAGMA synchronous = {self._level}")
            run(f"PRAGMA journal_size_limit = {_JOURNAL_BYTES}")
            found = run("PRAGMA application_id").fetchone()[0]
            version = run("PRAGMA user_version").fetchone()[0]
            if not run("SELECT count(*) FROM sqlite_master").fetchone()[0] and not found:
                db.executescript(
                    f"BEGIN; {_SCHEMA} PRAGMA application_id = {_APPLICATION};"
                    f"PRAGMA user_version = {_VERSION}; COMMIT;"
                )
            elif (found, version) != (_APPLICATION, _VERSION):
                raise StateError(
                    f"{self._path} is no state file of this version", hint="name another file"
                )
        except BaseException:
            db.close()
            raise
        return db

    @property
    def written_at(self) -> float:
        """See `Store`."""
        return self._written_at

    def take_over(self) -> list[Loaded]:
        """See `Store`."""
        with self._mapped(), self._rolled_back(0):
            self._db.execute("BEGIN IMMEDIATE")
            row = self._db.execute("SELECT key, salt, mark, fence, written FROM meta").fetchone()
            sessions: dict[int, Loaded] = {}
            if row is not None:
                key, salt, mark, self._fence, self._written_at = _checked(row)
                sessions = self._read(self._vault_of(key, salt, mark))
            elif self._has_sessions():  # it would be sealed anew as an empty one
                raise StateError("its sessions are there, and what they are sealed under is not")
            self._fence += 1
            self._seal_anew(sessions)
            self._db.execute("COMMIT")
        self._shrink()
        return list(sessions.values())

    def _shrink(self) -> None:
        """Give back what a crowd has left: SQLite keeps free pages for ever, and clients could make it keep many."""
        with contextlib.suppress(sqlite3.Error):  # no room for a copy: at another start
            (free,) = self._db.execute("PRAGMA freelist_count").fetchone()
            (pages,) = self._db.execute("PRAGMA page_count").fetchone()
            if free > _FREE_PAGES and free > pages // 2:
                self._db.execute("VACUUM")

    def _has_sessions(self) -> bool:
        run = self._db.execute
        return any(run(f"SELECT 1 FROM {table} LIMIT 1").fetchone() for table in _OF_SESSIONS)  # noqa: S608

    def _vault_of(self, identity: bytes, salt: bytes, mark: bytes) -> Vault:
        key = self._keys.key(identity)
        if key is None:
            raise StateError(
                f"{self._path} is sealed under the key {identity.hex()}, which is not in {self._keys.path}",
                hint="restore that file from a backup, or name a new state file: sessions begin anew",
            )
        vault = Vault(key, salt)
        vault.open(Kind.CHECK, 0, 0, mark)
        return vault

    def _read(self, vault: Vault) -> dict[int, Loaded]:
        run, sessions = self._db.execute, {}
        for session, saved, counts in run("SELECT id, saved, counts FROM sessions ORDER BY id"):
            loaded = sessions[session] = decode(
                vault.open(Kind.SESSION, session, 0, saved),
                vault.open(Kind.COUNTS, session, 0, counts),
            )
            self._ids[loaded.saved.token] = session
            self._last_id = session
        packets = run(
            "SELECT session, kind, number, body FROM packets ORDER BY session, kind, number"
        )
        for session, kind, number, body in packets:
            one = sessions.get(session)
            if one is None or kind not in _PACKETS:
                raise StateError("a row of the state file belongs to no session")
            where = (one.received, one.sent, one.queued)[_PACKETS.index(kind)]
            where.append((number, vault.open(Kind(kind), session, number, body)))
        return sessions

    def _seal_anew(self, sessions: dict[int, Loaded]) -> None:
        salt = fresh_salt()
        key = self._keys.key(self._keys.current)
        assert key is not None
        vault = self._vault = Vault(key, salt)
        run = self._db.execute
        for table in ("meta", *_OF_SESSIONS):
            run(f"DELETE FROM {table}")  # noqa: S608
        run(
            "INSERT INTO meta VALUES (1, ?, ?, ?, ?, ?)",
            (
                self._keys.current,
                salt,
                vault.seal(Kind.CHECK, 0, 0, _MARK),
                self._fence,
                self._written_at,
            ),
        )
        for session, loaded in sessions.items():
            run(
                "INSERT INTO sessions VALUES (?, ?, ?)",
                (
                    session,
                    vault.seal(Kind.SESSION, session, 0, encode(loaded.saved)),
                    vault.seal(Kind.COUNTS, session, 0, encode(loaded.counts)),
                ),
            )
            for kind, rows in zip(
                _PACKETS, (loaded.received, loaded.sent, loaded.queued), strict=True
            ):
                self._put(session, kind, rows)

    def commit(self, changes: Sequence[Change], now: float) -> None:
        """See `Store`."""
        self.write(changes, now)()

    def write(self, changes: Sequence[Change], now: float) -> Callable[[], None]:
        """See `Store`."""
        last = self._last_id
        with self._mapped(), self._rolled_back(last):
            self._db.execute("BEGIN IMMEDIATE")
            ours = self._db.execute(
                "UPDATE meta SET written = ? WHERE fence = ?", (now, self._fence)
            )
            if ours.rowcount != 1:
                raise StateError(
                    f"another process has taken {self._path} over", hint="stop one of the two"
                )
            for change in changes:
                self._write(change)
        return partial(self._finish, changes, last)

    def _finish(self, changes: Sequence[Change], last: int) -> None:
        with self._mapped(), self._rolled_back(last):
            self._db.execute("COMMIT")
        # Only now, for what was rolled back has not happened.
        for change in changes:
            if change.gone:
                self._ids.pop(change.token, None)

    def _write(self, change: Change) -> None:
        run, vault = self._db.execute, self._vault
        session = self._ids.get(change.token)
        if change.gone:
            if session is not None:
                run("DELETE FROM sessions WHERE id = ?", (session,))
                run("DELETE FROM packets WHERE session = ?", (session,))
            return
        if session is None:
            assert change.saved is not None
            assert change.counts is not None
            self._last_id += 1
            session = self._ids[change.token] = self._last_id
            saved = vault.seal(Kind.SESSION, session, 0, change.saved)
            counts = vault.seal(Kind.COUNTS, session, 0, change.counts)
            run("INSERT OR REPLACE INTO sessions VALUES (?, ?, ?)", (session, saved, counts))
        else:
            if change.saved is not None:
                saved = vault.seal(Kind.SESSION, session, 0, change.saved)
                run("UPDATE sessions SET saved = ? WHERE id = ?", (saved, session))
            if change.counts is not None:
                counts = vault.seal(Kind.COUNTS, session, 0, change.counts)
                run("UPDATE sessions SET counts = ? WHERE id = ?", (counts, session))
        for kind, rows, below in (
            (Kind.RECEIVED, change.received, change.received_below),
            (Kind.SENT, change.sent, change.sent_below),
            (Kind.QUEUED, change.queued, change.queued_below),
        ):
            if below:
                run(
                    "DELETE FROM packets WHERE session = ? AND kind = ? AND number < ?",
                    (session, kind, below),
                )
            if rows:
                self._put(session, kind, rows)

    def _put(self, session: int, kind: Kind, rows: Numbered) -> None:
        seal = self._vault.seal
        self._db.executemany(
            "INSERT OR REPLACE INTO packets VALUES (?, ?, ?, ?)",
            [(session, kind, number, seal(kind, session, number, body)) for number, body in rows],
        )

    @contextlib.contextmanager
    def _rolled_back(self, last: int) -> Iterator[None]:
        """Undo the transaction if something goes wrong; sessions that it has begun never were."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # it may be rolled back already
                self._db.execute("ROLLBACK")
            self._ids = {token: one for token, one in self._ids.items() if one <= last}
            raise

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        """Say what is wrong with the file, and what to do."""
        try:
            yield
        except StateError as error:
            if error.hint:
                raise
            raise StateError(f"{self._path} is damaged: {error.message}", hint=_DAMAGED) from error
        except sqlite3.Error as error:
            raise self._said(error) from error

    def _said(self, error: sqlite3.Error) -> StateError:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_TOOBIG")):
            return StateError(
                f"cannot write {self._path}: {error}", hint="free some space on that disk"
            )
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return StateError(
                f"another program has {self._path} open", hint="copy a state file, do not open it"
            )
        if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
            return StateError(f"cannot open {self._path}: {error}", hint="look at its permissions")
        return StateError(f"{self._path} is damaged: {error}", hint=_DAMAGED)

    def close(self) -> None:
        """See `Store`."""
        with contextlib.suppress(sqlite3.Error):
            self._db.close()
        self._lock.release()

    def orphaned(self) -> None:
        """In a child of fork(): it is the parent's."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._db))  # never closed here


def _checked(row: tuple[object, ...]) -> tuple[bytes, bytes, bytes, int, float]:
    """What stands in `meta`, which is not sealed. SQLite keeps a value of any type in any column."""
    key, salt, mark, fence, written = row
    if not (
        isinstance(key, bytes)
        and isinstance(salt, bytes)
        and isinstance(mark, bytes)
        and isinstance(fence, int)
        and 0 <= fence < _MOST_STARTS
        and isinstance(written, int | float)
    ):
        raise StateError("its first row does not hold what it should")
    return key, salt, mark, fence, float(written)
