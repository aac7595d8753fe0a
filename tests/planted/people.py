"""Faults of the chat and of the adapters."""

from __future__ import annotations

from .fault import Fault

FAULTS = [
    Fault(
        "a mute of a guest is by name alone",
        "tools/console/marks.py",
        "if (addresses or not known) and host",
        "if addresses and host",
        "test_chat_crowds.py::test_a_mute_holds_under_another_name",
    ),
    Fault(
        "a mute of one person is for the whole household",
        "tools/console/marks.py",
        "if (addresses or not known) and host",
        "if host",
        "test_chat_crowds.py::test_a_mute_of_a_key_spares_the_neighbours",
    ),
    Fault(
        "a new key makes a muted guest heard",
        "tools/console/marks.py",
        "return self._any(self._marks(session, True))",
        "return self._any(self._marks(session, self._addresses))",
        "test_chat_crowds.py::test_a_mute_holds_under_another_name",
    ),
    Fault(
        "a mute of this machine's address is for all behind it",
        "tools/console/marks.py",
        "and host and not is_loopback_host(host):",
        "and host:",
        "test_chat_crowds.py::test_on_this_machine_a_mute_is_by_name",
    ),
    Fault(
        "the list of names has no bound",
        "tools/chat/server.py",
        "heapq.nsmallest(MAX_LISTED - 1, found)",
        "sorted(found)",
        "test_chat_crowds.py::test_who_has_a_bounded_answer",
    ),
    Fault(
        "values of Lakeserver's clients have no bound together",
        "compat/lakeserver/sides.py",
        "            if self._held > limits.MAX_MAILROOM:\n",
        "            if False:\n",
        "compat/test_growth.py::test_values_of_lakeserver_clients_are_bounded_together",
    ),
    Fault(
        "exceptions of simplesockets have no bound but their number",
        "compat/simplesockets/simplesockets.py",
        "len(sizes) - surplus > _MAX_EXCEPTIONS or sum(sizes[surplus:]) > limits.MAX_CAUGHT_TEXT",
        "len(sizes) - surplus > _MAX_EXCEPTIONS",
        "compat/test_growth.py::test_exceptions_of_simplesockets_are_bounded_by_what_they_keep",
    ),
]
