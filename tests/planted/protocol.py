"""Faults of the state machine, and of numbering."""

from __future__ import annotations

from .fault import Fault

FAULTS = [
    Fault(
        "the client takes a larger packet limit than its own",
        "protocol/client.py",
        "if welcome.max_packet > self._max_packet:",
        "if False:",
        "test_protocol.py::test_a_client_has_a_limit_of_its_own",
    ),
    Fault(
        "a client keeps the handshake's secrets",
        "protocol/client.py",
        "        del self._handshake\n",
        "",
        "test_protocol_attacks.py::test_the_handshake_is_forgotten",
    ),
    Fault(
        "a server keeps the handshake's secrets",
        "protocol/server.py",
        "        del self._handshake\n",
        "",
        "test_protocol_attacks.py::test_the_handshake_is_forgotten",
    ),
    Fault(
        "a client goes on after WELCOME with the handshake key",
        "protocol/client.py",
        "            self._send = Sealer(secrets.client)\n            self._receive = Opener(secrets.server)\n",
        "",
        "test_protocol.py::test_packets_arrive_in_order",
    ),
    Fault(
        "a client key that nobody asked for is taken",
        "protocol/server.py",
        "if self._wanted == Wanted.NO and client.key is not None:",
        "if False:",
        "test_handshake_policies.py::test_a_key_that_nobody_asked_for",
    ),
    Fault(
        "a required client key may be missing",
        "protocol/server.py",
        "if self._wanted == Wanted.REQUIRED and client.key is None:",
        "if False:",
        "test_handshake_policies.py::test_a_missing_client_key_is_refused",
    ),
    Fault(
        "plaintext passes a server that demands client keys",
        "protocol/server.py",
        "if self._wanted == Wanted.REQUIRED and not self.encrypted:",
        "if False:",
        "test_handshake_policies.py::test_a_server_that_demands_client_keys_refuses_plaintext",
    ),
    Fault(
        "strangers are taken for clients",
        "protocol/server.py",
        "if data[0] != Kind.CLIENT_HELLO or data[4:12] != MAGIC:",
        "if data[0] != Kind.CLIENT_HELLO:",
        "test_protocol_attacks.py::test_strangers_are_recognised",
    ),
    Fault(
        "strangers get an answer",
        "protocol/strangers.py",
        '    "noise": b"",',
        '    "noise": b"what?",',
        "test_protocol_states.py::test_the_first_frame_of_a_client",
    ),
    Fault(
        "a server says why a stranger's handshake is late",
        "protocol/server.py",
        'return word if self._recognised else b""',
        "return word",
        "test_protocol.py::test_a_late_stranger_learns_nothing",
    ),
    Fault(
        "DATA is taken before WELCOME",
        "protocol/states.py",
        "    (State.AUTH_SENT, Input.CLOSE): Move(State.CLOSED, Take.CLOSE),",
        (
            "    (State.AUTH_SENT, Input.CLOSE): Move(State.CLOSED, Take.CLOSE),\n"
            "    (State.AUTH_SENT, Input.DATA): Move(State.AUTH_SENT, Take.DATA),"
        ),
        "test_protocol_states.py::test_the_table_is_that_of_the_document",
    ),
    Fault(
        "CLIENT_AUTH is taken in an open session",
        "protocol/states.py",
        "    (State.WAIT_CLIENT, Input.CLIENT_AUTH): Move(State.AUTH_RECEIVED, Take.CLIENT_AUTH),",
        (
            "    (State.WAIT_CLIENT, Input.CLIENT_AUTH): Move(State.AUTH_RECEIVED, Take.CLIENT_AUTH),\n"
            "    (State.OPEN, Input.CLIENT_AUTH): Move(State.OPEN, Take.CLIENT_AUTH),"
        ),
        "test_protocol_states.py::test_the_table_is_that_of_the_document",
    ),
    Fault(
        "an ALERT ends an open session",
        "protocol/states.py",
        "    (State.WAIT_CLIENT, Input.ALERT): Move(State.FAILED, Take.ALERT),",
        (
            "    (State.WAIT_CLIENT, Input.ALERT): Move(State.FAILED, Take.ALERT),\n"
            "    (State.OPEN, Input.ALERT): Move(State.FAILED, Take.ALERT),"
        ),
        "test_protocol_states.py::test_the_table_is_that_of_the_document",
    ),
    Fault(
        "a failed engine reads on",
        "protocol/connection.py",
        "            self.leave(self.now)\n        self._go(Input.FAULT)\n",
        "            self.leave(self.now)\n",
        "test_protocol.py::test_wrong_acknowledgements",
    ),
    Fault(
        "a PING of any size is answered",
        "protocol/contents.py",
        'raise ProtocolError("a PING record of the wrong size")',
        "pass",
        "test_protocol.py::test_records_of_the_wrong_size",
    ),
    Fault(
        "an ACK of any size is taken",
        "protocol/contents.py",
        'raise ProtocolError("an ACK record of the wrong size")',
        "pass",
        "test_protocol.py::test_records_of_the_wrong_size",
    ),
    Fault(
        "a KEY_UPDATE of any size is taken",
        "protocol/connection.py",
        'raise ProtocolError("a KEY_UPDATE record of the wrong size")',
        "pass",
        "test_protocol.py::test_records_of_the_wrong_size",
    ),
    Fault(
        "a flood of key updates is taken",
        "protocol/records.py",
        "if key_update.is_flood(self._counter, self._bytes, now - self._updated):",
        "if False:",
        "test_protocol_attacks.py::test_a_flood_of_updates",
    ),
    Fault(
        "accepted records are not counted",
        "protocol/connection.py",
        "        numbering.incoming.accepted += 1\n",
        "",
        "test_protocol.py::test_packets_arrive_in_order",
    ),
    Fault(
        "what has arrived counts as handled",
        "protocol/acknowledgements.py",
        "        done = self.done + self.early\n        return self._before",
        "        done = self.accepted\n        return self._before",
        "test_handled.py::test_a_server_that_is_killed",
    ),
    Fault(
        "what waits for receive() counts as handled",
        "protocol/acknowledgements.py",
        "        return self._before_kept(done) if self.kept else done\n",
        "        return done\n",
        "test_handled.py::test_what_is_kept_is_not_handled",
    ),
    Fault(
        "what is dropped counts as handled",
        "protocol/receive_queue.py",
        "        self.incoming.stop()\n        self.dropping = True\n",
        "        self.dropping = True\n",
        "test_handled.py::test_what_is_dropped_is_not_handled",
    ),
    Fault(
        "CLOSE is answered before what came is handled",
        "protocol/contents.py",
        "        elif connection.closing is None and incoming.handled() != incoming.accepted:\n",
        "        elif False:\n",
        "test_handled.py::test_close_waits_for_handlers",
    ),
    Fault(
        "the end drops what nobody was told of",
        "threads/listener.py",
        "        if link.channel is not None and not link.told:\n",
        "        if link.channel is not None:\n",
        "test_handled.py::test_a_client_that_is_killed",
    ),
    Fault(
        "records can be sealed after CLOSE",
        "protocol/sender.py",
        ("        if self.closed:\n            raise _after_close()\n        records"),
        "        records",
        "test_protocol.py::test_close_is_the_last_word",
    ),
    Fault(
        "acknowledgements may fall",
        "protocol/acknowledgements.py",
        "if not self.acknowledged <= count <= sent:",
        "if count > sent:",
        "test_session.py::test_an_acknowledgement_neither_falls_nor_runs_ahead",
    ),
    Fault(
        "acknowledgements may exceed what was sent",
        "protocol/acknowledgements.py",
        "if not self.acknowledged <= count <= sent:",
        "if count < self.acknowledged:",
        "test_session.py::test_an_acknowledgement_neither_falls_nor_runs_ahead",
    ),
    Fault(
        "what is acknowledged is kept",
        "protocol/acknowledgements.py",
        (
            "    def release(self) -> None:\n"
            '        """Drop what the peer has acknowledged. Only the sending half calls this."""\n'
        ),
        (
            "    def release(self) -> None:\n"
            '        """Drop what the peer has acknowledged. Only the sending half calls this."""\n'
            "        return\n"
        ),
        "test_session.py::test_a_record_is_kept_until_it_is_acknowledged",
    ),
    Fault(
        "credentials go to a server that has proved nothing",
        "protocol/client.py",
        "        if server is not self._server:\n",
        "        if False:\n",
        "test_protocol_order.py::test_wrong_order",
    ),
    Fault(
        "a client is welcome unverified",
        "protocol/server.py",
        "        if verified is not self._client:\n",
        "        if False:\n",
        "test_protocol_order.py::test_wrong_order",
    ),
    Fault(
        "steps of the handshake may come in any order",
        "protocol/connection.py",
        "        if (self.state, given) not in MOVES:\n",
        "        if False:\n",
        "test_protocol_order.py::test_wrong_order",
    ),
    Fault(
        "an early end of the peer is believed",
        "protocol/states.py",
        "(State.WAIT_CLIENT, Input.CLOSE): Move(State.FAILED, Take.CLOSE_UNPROVED)",
        "(State.WAIT_CLIENT, Input.CLOSE): Move(State.CLOSED, Take.CLOSE)",
        "test_protocol_states.py::test_a_farewell_of_somebody_unproved",
    ),
    Fault(
        "a server admits before it has checked the proof",
        "protocol/states.py",
        "(State.WAIT_CLIENT, Input.CLIENT_AUTH): Move(State.AUTH_RECEIVED, Take.CLIENT_AUTH)",
        "(State.WAIT_CLIENT, Input.CLIENT_AUTH): Move(State.AUTHORIZING, Take.CLIENT_AUTH)",
        "test_protocol_tables.py::test_transitions",
    ),
    Fault(
        "anybody can make a proof of a client",
        "protocol/handshake_server.py",
        "        if maker is not _MAKER:\n",
        "        if False:\n",
        "test_protocol_order.py::test_wrong_order",
    ),
    Fault(
        "anybody can make a proof of a server",
        "protocol/handshake_client.py",
        "    if maker is not _MAKER:\n",
        "    if False:\n",
        "test_protocol_order.py::test_wrong_order",
    ),
    Fault(
        "a handshake computes what is not its turn",
        "protocol/call_order.py",
        "    if value is None:\n",
        "    if False:\n",
        "test_protocol_order.py::test_wrong_order",
    ),
    Fault(
        "an ALERT of any size is taken",
        "protocol/contents.py",
        "if len(body) != 1 and not (len(body) == 2 and body[0] == Code.BLOCKED):",
        "if not body:",
        "test_protocol_states.py::test_an_alert_has_one_byte",
    ),
    Fault(
        "what follows an ALERT counts",
        "protocol/connection.py",
        ("        self._takes[move.take](self, header, body, out)\n        self._go(given)\n"),
        (
            "        self._takes[move.take](self, header, body, out)\n"
            "        if given is not Input.ALERT:\n"
            "            self._go(given)\n"
        ),
        "test_protocol_states.py::test_an_alert_is_final",
    ),
    Fault(
        "an ALERT ends the tries of a client",
        "threads/dial.py",
        "alert.final = False",
        "alert.final = True",
        "test_attacks.py::test_a_forged_alert_ends_no_retrying",
    ),
    Fault(
        "a function of the program holds up all that come back",
        "threads/dial.py",
        "                if self._deciding_waits:\n",
        "                if False:\n",
        "test_reconnecting.py::test_a_function_that_waits_holds_up_nobody",
    ),
]
