"""Faults of sessions that go on in another process of their client."""

from __future__ import annotations

from .fault import Fault

FAULTS = [
    Fault(
        "a client without memory is sent only what no process had",
        "protocol/numbering.py",
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
        "protocol/numbering.py",
        "islice(self._kept, len(self._kept) - (self.sent - count), None)",
        "islice(self._kept, count - self.acknowledged, None)",
        "test_resume_forgotten.py::test_it_goes_on_where_the_server_is",
    ),
]
