"""Faults of sessions that go on in another process of their client."""

from __future__ import annotations

from .fault import Fault

FAULTS = [
    Fault(
        "a client without memory is sent only what no process had",
        "protocol/acknowledgements.py",
        "        self._stated = self.acknowledged\n        return self.acknowledged\n",
        "        self.acknowledged = max(self.acknowledged, self._stated)\n        return self.acknowledged\n",
        "test_resume_forgotten.py::test_more_was_stated_than_is_acknowledged",
    ),
    Fault(
        "a client without memory believes any count",
        "protocol/client.py",
        "        if max(welcome.count or 0, welcome.acknowledged or 0) > MAX_COUNT:\n",
        "        if False:\n",
        "test_resume_forgotten.py::test_counts_that_do_not_fit",
    ),
    Fault(
        "a server answers a question of memory that was not asked",
        "protocol/client.py",
        "        if self._remembers != (welcome.acknowledged is None):\n",
        "        if False:\n",
        "test_resume_forgotten.py::test_counts_that_do_not_fit",
    ),
    Fault(
        "the second process sends its records again in the wrong place",
        "protocol/acknowledgements.py",
        "islice(reversed(self._kept), self.sent - count)",
        "islice(self._kept, count - self.acknowledged, None)",
        "test_resume_forgotten.py::test_it_goes_on_where_the_server_is",
    ),
    Fault(
        "others may read the file of a session",
        "state/session_file.py",
        "read_file(self._real, MAX_KEY_FILE, forbidden=_OTHERS)",
        "read_file(self._real, MAX_KEY_FILE)",
        "test_session_file.py::test_only_its_owner_can_read_it",
    ),
    Fault(
        "a damaged file of a session is taken for whole",
        "state/session_file.py",
        'if not data.startswith(b"#") or told.strip() != _digest(line):',
        'if not data.startswith(b"#"):',
        "test_session_file.py::test_a_damaged_file_is_an_error",
    ),
    Fault(
        "a fork removes its parent's session",
        "state/session_file.py",
        "        return self._lock is not None and self._pid != os.getpid()\n",
        "        return False\n",
        "test_session_file.py::test_a_fork_does_not_have_it",
    ),
    Fault(
        "a ticket is shown to another server than its own",
        "threads/passing_on.py",
        "        if (kept.host, kept.port) != (host, port):\n",
        "        if False:\n",
        "test_session_passed_on.py::test_a_file_of_another_server",
    ),
    Fault(
        "a client with other options goes on with a session",
        "threads/passing_on.py",
        "        if not fits or resumption.max_packet",
        "        if resumption.max_packet",
        "test_session_passed_on.py::test_other_options",
    ),
    Fault(
        "two clients use one file",
        "threads/passing_on.py",
        "        file.take()\n        try:\n",
        "        try:\n            file.take()\n        except ConfigError:\n            pass\n        try:\n",
        "test_session_passed_on.py::test_one_client_at_a_time",
    ),
    Fault(
        "the file keeps the ticket of the first connection",
        "threads/passing_on.py",
        "        if file is None:\n            return\n        if resumption is None:\n",
        "        if file is None or goes_on:\n            return\n        if resumption is None:\n",
        "test_session_passed_on.py::test_what_it_knows_from_then_on",
    ),
    Fault(
        "a session that is over leaves its file",
        "threads/client_channel.py",
        "        if self.file is not None:\n            self.file.over()\n",
        "",
        "test_session_passed_on.py::test_a_session_that_ends_leaves_no_file",
    ),
    Fault(
        "a full disk ends the session of an earlier process",
        "threads/dial.py",
        "if sender is not None and not opened.resumed:",
        "if sender is not None:",
        "test_session_passed_on.py::test_a_file_that_cannot_be_written",
    ),
    Fault(
        "the answers to a dead process reach another one's requests",
        "threads/connecting.py",
        "core.requests.go_on_from(secrets.randbelow(_ANY_REQUEST))",
        "pass",
        "test_session_passed_on.py::test_requests_of_the_dead_are_not_answered_to_others",
    ),
    Fault(
        "a program that ends takes its session along",
        "threads/client_link.py",
        "if channel is None or file is None or not file.holds_one:",
        "if channel is None or file is None or True:",
        "test_session_processes.py::test_a_program_that_ends",
    ),
    Fault(
        "a program that ends does not say what it has handled",
        "threads/client_link.py",
        "        channel.core.look()\n        self.writer.flush()\n",
        "        self.writer.flush()\n",
        "test_session_processes.py::test_what_it_had_handled_is_told_when_it_ends",
    ),
    Fault(
        "a server's application does not learn that its client knows nothing",
        "app/session_manager.py",
        "        session.restarted = restarted\n",
        "        session.restarted = False\n",
        "test_session_passed_on.py::test_another_client_goes_on",
    ),
]
