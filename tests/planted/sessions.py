"""Faults of sessions that go on over another connection, in the threaded shell."""

from __future__ import annotations

from .fault import Fault

FAULTS = [
    Fault(
        "a session that was never public leaves its ticket",
        "threads/suspensions.py",
        "        elif tickets is not None:\n            tickets.forget(token)\n",
        "        elif tickets is not None and place is not None:\n            tickets.forget(token)\n",
        "test_resume_strangers.py::test_who_gives_no_sign_leaves_no_ticket",
    ),
    Fault(
        "whoever is let in resumes, also as another user",
        "app/session_manager.py",
        "            if not _context(wanted).is_for(entry):\n",
        "            if False:\n",
        "test_resume_server.py::test_the_hook_decides_again",
    ),
    Fault(
        "users that cannot be compared are the same",
        "app/context.py",
        '            log.exception("users of %s cannot be compared", self.name)\n            return False\n',
        '            log.exception("users of %s cannot be compared", self.name)\n            return True\n',
        "test_resume_server.py::test_a_user_that_cannot_be_compared_resumes_nothing",
    ),
    Fault(
        "a session that is being ended goes on",
        "threads/channel.py",
        "            if self.ended or self.core.receiving.dropping or not resume():\n",
        "            if self.ended or not resume():\n",
        "test_suspending.py::test_a_session_that_is_being_ended_does_not_go_on",
    ),
    Fault(
        "the late end of an old connection ends the session",
        "threads/taking_over.py",
        "        carried.let_go()\n",
        "",
        "test_resume_server.py::test_a_connection_that_seems_alive_is_taken_over",
    ),
    Fault(
        "any number of sessions waits for their clients",
        "threads/suspensions.py",
        "TicketTable(lifetime, most, threading.Lock())",
        "TicketTable(lifetime, 10**9, threading.Lock())",
        "test_resume_server.py::test_bounds",
    ),
    Fault(
        "CLOSE SILENT ends the session",
        "threads/link.py",
        "        if spares_session(closed.code) and self._gives_way():",
        "        if False:",
        "test_suspending.py::test_a_farewell_for_silence_is_not",
    ),
    Fault(
        "a new session overtakes what the last one of its client has left",
        "threads/server_link.py",
        "        if self.before is not None:",
        "        if False:",
        "test_successors.py::test_behind_a_session_that_was_closed_in_order",
    ),
    Fault(
        "who knows a ticket ends the session of another user",
        "app/session_manager.py",
        "            if not _context(wanted).is_for(entry):",
        "            if goes_on and not _context(wanted).is_for(entry):",
        "test_successors.py::test_another_user_ends_nothing",
    ),
    Fault(
        "a server goes on with a session in whose place another one was asked for",
        "protocol/client.py",
        "        if asked is None or another or not self._handshake.resumed:",
        "        if asked is None or not self._handshake.resumed:",
        "test_successors.py::test_the_old_session_does_not_go_on",
    ),
    Fault(
        "a client answers HANDOVER, and so ends the session",
        "protocol/contents.py",
        "        if close.code == Code.HANDOVER:",
        "        if False:",
        "test_handover.py::test_an_answer_would_be_an_end",
    ),
    Fault(
        "a client stays away for as long as any server says",
        "threads/reconnecting.py",
        "min(channel.back_at - now, (self._until - now) / 2)",
        "min(channel.back_at - now, MOST_PAUSE * 1000)",
        "test_handover.py::test_nobody_is_sent_away_for_ever",
    ),
    Fault(
        "records are numbered behind a CLOSE that counts them",
        "threads/durable_channel.py",
        "        if sender is None or sender.closed or link.closing is not None:",
        "        if sender is None or sender.closed:",
        "test_state_server.py::test_nothing_is_numbered_behind_a_farewell",
    ),
    Fault(
        "damage on the way ends the session",
        "threads/link.py",
        "        if failed.spared and self._gives_way():",
        "        if False:",
        "test_resume_damage.py::test_a_noisy_line",
    ),
    Fault(
        "CLOSE is said after damage on the way",
        "protocol/connection.py",
        "            if not spared:\n",
        "            if True:\n",
        "test_resume_damage.py::test_a_noisy_line",
    ),
    Fault(
        "whoever breaks the protocol may come back",
        "protocol/connection.py",
        "spared = self._resumable and not self._proved and (self.encrypted or ours)",
        "spared = self._resumable",
        "test_resume_damage.py::test_a_peer_that_breaks_the_protocol",
    ),
    Fault(
        "a server that has lost the session learns who comes",
        "threads/connecting.py",
        "        if known is not None and not connection.resumes:\n",
        "        if False:\n",
        "test_connecting.py::test_a_server_that_has_lost_the_session_is_not_told_who_comes",
    ),
    Fault(
        "a stranger on the path ends a session for good",
        "threads/reconnecting.py",
        "            if error.final and is_final(error.code):\n",
        "            if is_final(error.code):\n",
        "test_reconnecting.py::test_a_stranger_s_no_ends_nothing",
    ),
]
