"""Faults of the short way that a lone record takes, and a packet that waits alone."""

from __future__ import annotations

from .fault import Fault

FAULTS = [
    Fault(
        "what waits alone is written before the rest of what came before it",
        "threads/writing.py",
        "lone = self._packets and not (others or ends or buffer.tail)",
        "lone = self._packets and not (others or ends)",
        "test_link.py::test_what_the_kernel_does_not_take_goes_out_later",
    ),
    Fault(
        "what waits alone is sealed in a forked child",
        "threads/writing.py",
        "self.choked or self._fork != forks[0]\n",
        "self.choked\n",
        "test_link.py::test_what_is_queued_is_not_sealed_in_the_child",
    ),
    Fault(
        "what waits alone is sealed though the peer takes nothing more",
        "threads/writing.py",
        "ends = self.end or self.choked",
        "ends = self.choked",
        "test_link.py::test_nothing_is_sealed_for_a_peer_that_takes_nothing_more",
    ),
    Fault(
        "a lone packet is counted with no rate",
        "threads/inbox.py",
        "if grown > loop.look_after or queue.is_over_rate:",
        "if grown > loop.look_after:",
        "test_bounds.py::test_a_session_over_its_rate_is_slowed_not_ended",
    ),
    Fault(
        "nobody looks at what lone records keep in memory",
        "threads/inbox.py",
        "if grown > loop.look_after or queue.is_over_rate:",
        "if queue.is_over_rate:",
        "test_channel.py::test_what_is_decoded_is_more_than_what_came",
    ),
    Fault(
        "a lone record that fills the inbox does not stop reading",
        "threads/reading.py",
        "        link.delivered()\n        if core.receiving.full:\n            link.update_interest()\n",
        "        link.delivered()\n",
        "test_channel.py::test_a_full_inbox_stops_reading_and_goes_on",
    ),
    Fault(
        "an acknowledgement in a lone record wakes nobody who waits for room",
        "threads/reading.py",
        "if self.connection.wants_write or writer.waiters:\n            writer.flush()\n        link",
        "if self.connection.wants_write:\n            writer.flush()\n        link",
        "test_channel.py::test_a_lone_record_wakes_a_send_that_waits",
    ),
    Fault(
        "a lone record starts no clock for its acknowledgement",
        "protocol/connection.py",
        "if (asks or acks.due_at == inf) and",
        "if asks and",
        "test_link_acknowledgements.py::test_a_late_acknowledgement",
    ),
    Fault(
        "a lone record is decoded though its session drops what comes",
        "protocol/receive_queue.py",
        "if size > MAX_AT_ONCE or self.dropping:",
        "if size > MAX_AT_ONCE:",
        "test_handled.py::test_what_is_dropped_is_not_decoded",
    ),
    Fault(
        "a lone record that cannot be read is taken for an empty one",
        "protocol/receive_queue.py",
        "        except CodecError:\n            return None  # which meets it again\n",
        "        except CodecError:\n            found = []\n",
        "test_channel.py::test_a_record_that_cannot_be_read_ends_the_session",
    ),
    Fault(
        "a turn that began with one inbox never ends",
        "threads/ready.py",
        "                deadline = deadline or now + TURN_SECONDS\n",
        "                deadline = deadline or now + 1000 * TURN_SECONDS\n",
        "test_fairness.py::test_a_turn_that_began_with_one_inbox_is_bounded",
    ),
]
