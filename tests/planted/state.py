"""Faults of what is kept beyond the process of a server."""

from __future__ import annotations

from .fault import Fault

_STORE = "test_state_store.py::"
_CHANGED = _STORE + "test_a_row_that_was_changed_is_an_error"

FAULTS = [
    Fault(
        "a row of a state file opens in any place",
        "state/vault.py",
        "return kind.to_bytes(1) + session.to_bytes(8) + number.to_bytes(8)",
        'return b""',
        _CHANGED,
    ),
    Fault(
        "two starts seal under one key",
        "state/vault.py",
        "    return os.urandom(SALT_SIZE)",
        "    return bytes(SALT_SIZE)",
        _STORE + "test_each_start_seals_under_another_key",
    ),
    Fault(
        "sessions without what they are sealed under are none",
        "state/sqlite.py",
        "            elif self._has_sessions():",
        "            elif False:",
        _CHANGED,
    ),
    Fault(
        "the row of a state file that is not sealed may hold anything",
        "state/sqlite.py",
        "key, salt, mark, self._fence, self._written_at = _checked(row)",
        "key, salt, mark, self._fence, self._written_at = row",
        _CHANGED,
    ),
    Fault(
        "a state file that others can read is used",
        "state/sqlite.py",
        "with opened(file, 0, forbidden=_OTHERS):",
        "with opened(file, 0):",
        _STORE + "test_files_are_for_their_owner_alone",
    ),
    Fault(
        "who was taken over goes on writing",
        "state/sqlite.py",
        "            if ours.rowcount != 1:",
        "            if False:",
        _STORE + "test_who_was_taken_over_commits_nothing",
    ),
    Fault(
        "two processes use one state file",
        "state/lock.py",
        "                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "                pass",
        _STORE + "test_one_process_has_it",
    ),
    Fault(
        "two servers of a process use one state file",
        "state/lock.py",
        "            if self._name in _ours:",
        "            if False:",
        _STORE + "test_one_server_of_a_process_has_it",
    ),
    Fault(
        "the PSK of a kept ticket is shown",
        "state/rows.py",
        'return f"<SavedTicket of {self.application!r}>"',
        'return f"<SavedTicket of {self.application!r} {self.psk!r}>"',
        _STORE + "test_rows_are_sealed",
    ),
    Fault(
        "kept sessions end in the order in which they began",
        "threads/listener.py",
        "for loaded in sorted(sessions, key=lost_at):",
        "for loaded in sessions:",
        "test_state_restored.py::test_who_has_waited_longest_ends_first",
    ),
    Fault(
        "a ticket leaves before it is kept",
        "threads/durable_channel.py",
        "        self.book.when_kept(self, partial(_let_out, link))",
        "        _let_out(link)",
        "test_state_server.py::test_nothing_is_told_before_it_is_kept",
    ),
    Fault(
        "a refusal of on_restore is ignored",
        "app/session_events.py",
        'self.on_restore: EventHook[[Member]] = event("on_restore", caught, one, may_refuse=True)',
        'self.on_restore: EventHook[[Member]] = event("on_restore", caught, one)',
        "test_state_restored.py::test_on_restore_may_refuse",
    ),
    Fault(
        "a key that was revoked while no server ran keeps its session",
        "app/revocation.py",
        "            watch.until = loop.now + _LATE\n",
        "            pass\n",
        "test_state_restored.py::test_a_key_that_was_revoked_while_there_was_no_server",
    ),
    Fault(
        "a rule that fails for one session spares those behind it",
        "app/revocation.py",
        "            except Exception as error:\n",
        "            except ZeroDivisionError as error:\n",
        "test_server_revocation.py::test_a_rule_that_fails_spares_nobody_else",
    ),
    Fault(
        "the journal of a state file may be anybody's",
        "state/sqlite.py",
        "for file in (real, *filter(exists, beside)):",
        "for file in (real,):",
        "test_keys_strict.py::test_what_lies_beside_a_state_file",
    ),
    Fault(
        "the lock of a state file may be anybody's",
        "state/lock.py",
        "                check_owner(lock, os.fstat(self._descriptor))",
        "                pass",
        "test_keys_strict.py::test_what_lies_beside_a_state_file",
    ),
    Fault(
        "a link leads to a key of somebody else",
        "keys/files.py",
        "            check_owner(path, info)",
        "            check_owner(path, os.lstat(path))",
        "test_keys_strict.py::test_a_link_to_a_file_of_somebody_else",
    ),
    Fault(
        "a state file never becomes smaller",
        "state/sqlite.py",
        "if free > _FREE_PAGES and free > pages // 2:",
        "if False:",
        _STORE + "test_a_start_gives_back_what_a_crowd_has_left",
    ),
    Fault(
        "the journal of a state file never becomes smaller",
        "state/sqlite.py",
        'run(f"PRAGMA journal_size_limit = {_JOURNAL_BYTES}")',
        "pass",
        _STORE + "test_a_start_gives_back_what_a_crowd_has_left",
    ),
]
