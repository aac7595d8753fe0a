"""Faults of bounds, turns and forks."""

from __future__ import annotations

from .fault import Fault

FAULTS = [
    Fault(
        "each session's look for a reply has a turn of its own",
        "threads/inbox.py",
        "look if network is None else partial(look, network=network)",
        "look",
        "test_rotation.py::test_looks_of_a_network_delay_others_as_one_does",
    ),
    Fault(
        "inboxes take turns, and not networks",
        "threads/ready.py",
        'return getattr(runnable, "network", None)',
        "return None",
        "test_rotation.py::test_many_sessions_of_a_network_delay_others_as_one_does",
    ),
    Fault(
        "a network may have two turns in a round",
        "threads/rotation.py",
        "        self._done[network] = lane  #",
        "        if len(lane) > 1:\n            self._done[network] = lane  #",
        "test_rotation.py::test_who_always_has_more_keeps_nobody_out",
    ),
    Fault(
        "a record is decoded to its end in one turn",
        "threads/inbox.py",
        "for_others = self.loop.manual or get_ident() in worker_threads",
        "for_others = False",
        "test_steps.py::test_a_session_gives_way_while_its_record_is_decoded",
    ),
    Fault(
        "timers that are due have all the time they want",
        "threads/timers.py",
        "if heap and heap[0][0] <= now and time.monotonic() > deadline:",
        "if False:",
        "test_fairness.py::test_what_is_due_at_once_is_done_in_turns",
    ),
    Fault(
        "a handshake has no deadline",
        "threads/server_link.py",
        "deadline=entrance.loop.now + settings.handshake_seconds,",
        "",
        "test_security_bounds.py::test_the_handshake_has_one_deadline",
    ),
    Fault(
        "half-open connections have no bound",
        "threads/gate.py",
        "room = self.half_open < self.settings.max_half_open and not self.waiting",
        "room = True",
        "test_security_bounds.py::test_at_the_cap_the_busiest_address_loses_its_oldest",
    ),
    Fault(
        "each newcomer costs another one its handshake",
        "threads/gate.py",
        "if link is not None and self._owed_for(link) >= self._patience(link):",
        "if link is not None:",
        "test_crowding_in.py::test_who_has_a_place_and_owes_a_message_loses_it",
    ),
    Fault(
        "who fills the places of half-open connections keeps others out",
        "threads/gate.py",
        "if hog and hog != network:",
        "if False:",
        "test_crowding_in.py::test_an_address_that_fills_the_places_keeps_no_other_one_out",
    ),
    Fault(
        "patience with a network that lets handshakes go does not end",
        "threads/gate.py",
        "return PLACE_SECONDS * 0.5 ** self.budget.lately(link.address[0])",
        "return PLACE_SECONDS",
        "test_crowding_in.py::test_patience_ends_with_failures",
    ),
    Fault(
        "connections wait for a place without a bound",
        "threads/admission_queue.py",
        "if self._size >= self._limit and not self._make_room(len(lane or ())):",
        "if False:",
        "test_crowding_in.py::test_the_queue_is_bounded",
    ),
    Fault(
        "connections have no bound",
        "threads/gate.py",
        "return there + more > self.settings.max_connections",
        "return False",
        "test_security_bounds.py::test_more_connections_than_allowed_are_turned_away",
    ),
    Fault(
        "our own lateness is a failure of the client's address",
        "threads/errand.py",
        "        self._kept = math.inf\n",
        "        pass\n",
        "test_admission.py::test_who_was_late_in_our_queue_has_not_failed",
    ),
    Fault(
        "memory of all sessions has no bound",
        "threads/holdings.py",
        "                if total <= self.most:\n",
        "                if True:\n",
        "test_attacks.py::test_partial_frames_of_all_sessions_are_bounded_together",
    ),
    Fault(
        "answers that nobody looks at are not counted",
        "protocol/session_core.py",
        "receiving.held_in_steps + self.requests.replies.held\n",
        "receiving.held_in_steps\n",
        "test_later.py::test_answers_count_until_they_are_taken_or_dropped",
    ),
    Fault(
        "answers of a session that has ended are not counted",
        "protocol/session_core.py",
        "return bool(receiving.items or receiving.opened or self.requests.replies.held)",
        "return bool(receiving.items or receiving.opened)",
        "test_later.py::test_answers_of_all_sessions_are_bounded_together",
    ),
    Fault(
        "answers are kept beyond the bound of all sessions",
        "threads/holdings.py",
        "                channel.core.requests.replies.drop()\n",
        "",
        "test_later.py::test_answers_of_all_sessions_are_bounded_together",
    ),
    Fault(
        "a timeout keeps a session that has ended",
        "threads/channel.py",
        "            alarm.of = None\n",
        "            pass\n",
        "test_later.py::test_a_session_that_has_ended_goes_though_it_asked",
    ),
    Fault(
        "many sessions of one address outlive an honest one",
        "threads/suspensions.py",
        "return (session,) if is_loopback_host(host) else networks(host)",
        "return (session,)",
        "test_admission.py::test_at_the_bound_of_memory_the_greediest_address_gives_way",
    ),
    Fault(
        "a link of a forked child seals",
        "threads/writing.py",
        (
            "        if self._fork != forks[0]:\n"
            '            raise SecureLinkError("this connection belongs to the parent process")\n'
        ),
        "",
        "test_link.py::test_what_is_queued_is_not_sealed_in_the_child",
    ),
    Fault(
        "a lone packet of a forked child is sealed",
        "threads/writing.py",
        "connection.closing or self._fork != forks[0]\n",
        "connection.closing\n",
        "test_link.py::test_a_lone_packet_is_not_sealed_in_the_child",
    ),
    Fault(
        "a link of a forked child reads",
        "threads/reading.py",
        (
            "        if self._fork != forks[0]:\n"
            "            link.orphaned_late()\n"
            "            return  # what arrives is the parent's\n"
        ),
        "",
        "test_link.py::test_nothing_is_opened_in_the_child",
    ),
    Fault(
        "an orphaned session does not say so",
        "threads/writing.py",
        (
            "        if self._fork != forks[0] and self._session is not None:\n"
            "            self._session.orphaned()"
        ),
        ("        if False:\n            self._session.orphaned()"),
        "test_link.py::test_what_is_queued_is_not_sealed_in_the_child",
    ),
    Fault(
        "addresses do not take turns",
        "threads/jobs.py",
        "key, jobs = turns.popitem(last=False)",
        "key, jobs = turns.popitem(last=True)",
        "test_jobs.py::test_addresses_take_turns",
    ),
    Fault(
        "addresses that failed often come first",
        "threads/jobs.py",
        "        for standing in range(LATE + 1):\n",
        "        for standing in range(LATE, -1, -1):\n",
        "test_jobs.py::test_who_has_failed_waits_behind_others",
    ),
    Fault(
        "a flood keeps the place that it had before it failed",
        "threads/jobs.py",
        "            if now <= standing:\n",
        "            if True:\n",
        "test_jobs.py::test_a_standing_is_that_of_the_moment",
    ),
    Fault(
        "addresses that failed often may have every place",
        "threads/jobs.py",
        "if standing == LATE and self._late >= max(1, self.places // 4):",
        "if False:",
        "test_jobs.py::test_late_jobs_have_few_places",
    ),
    Fault(
        "who has a hello waits behind everybody's password",
        "threads/jobs.py",
        "                    self._order = (others, lanes)\n",
        "                    self._order = (self._slow, self._quick)\n",
        "test_jobs.py::test_quick_and_slow_jobs_take_turns",
    ),
    Fault(
        "who was let in before is a stranger",
        "app/budget.py",
        "return far in self._known and",
        "return False and",
        "test_admission.py::test_how_an_address_stands",
    ),
    Fault(
        "an address that has failed is new again in the next window",
        "app/budget.py",
        "WindowCounts[str](LATE_WINDOW, MAX",
        "WindowCounts[str](FAILED_WINDOW, MAX",
        "test_admission.py::test_how_an_address_stands",
    ),
    Fault(
        "an address may fail forever",
        "app/budget.py",
        ("            if left:\n                return left\n"),
        ("            if False:\n                return left\n"),
        "test_admission.py::test_guesses_at_once_are_bounded_too",
    ),
    Fault(
        "a customer's network has no budget",
        "app/budget.py",
        "SHARES = (1, 4, 16)",
        "SHARES = (1,)",
        "test_admission.py::test_networks_of_ipv6_have_budgets",
    ),
    Fault(
        "a PROXY header is believed from anybody",
        "streams/proxy.py",
        "    return any(address in network for network in proxies)",
        "    return bool(proxies)",
        "test_admission.py::test_a_header_of_a_stranger_is_not_believed",
    ),
    Fault(
        "a PROXY header has no bound",
        "streams/proxy.py",
        "            if self._size > MAX_PROXY_HEADER:\n",
        "            if False:\n",
        "test_proxy.py::test_a_long_header_is_refused_by_its_length",
    ),
    Fault(
        "any bytes are a PROXY header",
        "streams/proxy.py",
        "        if start != SIGNATURE[: len(start)]:\n",
        "        if False:\n",
        "test_proxy.py::test_other_bytes_are_no_header",
    ),
    Fault(
        "the queue of expensive work has no bound",
        "threads/jobs.py",
        "        if self._size >= self._limit and not self._make_room(key, standing):\n",
        "        if False:\n",
        "test_jobs.py::test_a_full_queue_takes_no_more",
    ),
    Fault(
        "a flood of one address keeps others out of the queue",
        "threads/jobs.py",
        "        if self._size >= self._limit and not self._make_room(key, standing):\n",
        "        if self._size >= self._limit:\n",
        "test_jobs.py::test_a_flood_does_not_fill_the_queue_for_others",
    ),
]
