"""Faults of the handshake."""

from __future__ import annotations

from .fault import Fault

FAULTS = [
    Fault(
        "both directions have one key",
        "handshake/schedule.py",
        'server=crypto.derive_secret(master, b"s ap traffic", transcript_hash)',
        'server=crypto.derive_secret(master, b"c ap traffic", transcript_hash)',
        "test_schedule.py::test_application_secrets_rfc8448",
    ),
    Fault(
        "application keys leave out SERVER_AUTH",
        "handshake/schedule.py",
        'client=crypto.derive_secret(master, b"c ap traffic", transcript_hash)',
        'client=crypto.derive_secret(master, b"c ap traffic", _EMPTY_HASH)',
        "test_schedule.py::test_application_secrets_rfc8448",
    ),
    Fault(
        "the channel binding is the same in every session",
        "handshake/schedule.py",
        'binding=crypto.hkdf_expand_label(exported, b"exporter", _EMPTY_HASH, 32)',
        'binding=crypto.hkdf_expand_label(_ZERO, b"exporter", _EMPTY_HASH, 32)',
        "test_schedule.py::test_the_binding_is_the_exporter",
    ),
    Fault(
        "Finished is keyed by nothing",
        "handshake/schedule.py",
        ('key = crypto.hkdf_expand_label(secret, b"finished", b"", 32)\n    return'),
        ("key = bytes(32)\n    return"),
        "test_schedule.py::test_finished_rfc8448",
    ),
    Fault(
        "the next traffic secret is the last",
        "handshake/schedule.py",
        'return crypto.hkdf_expand_label(secret, b"traffic upd", b"", 32)',
        "return secret",
        "test_schedule.py::test_the_next_secret_has_its_own_label",
    ),
    Fault(
        "the handshake forgets the shared secret",
        "handshake/schedule.py",
        "handshake = crypto.hkdf_extract(derived, shared)",
        "handshake = crypto.hkdf_extract(derived, _ZERO)",
        "test_schedule.py::test_handshake_secrets_rfc8448",
    ),
    Fault(
        "REQUIRED takes an answer in plaintext",
        "handshake/client.py",
        "if self._mode == Mode.REQUIRED and not hello.encrypted:",
        "if False:",
        "test_handshake_attacks.py::test_a_stripped_key_share_does_not_fool_required",
    ),
    Fault(
        "OFF takes an encrypted answer",
        "handshake/client.py",
        "if self._mode == Mode.OFF and hello.encrypted:",
        "if False:",
        "test_handshake_attacks.py::test_off_takes_no_encrypted_answer",
    ),
    Fault(
        "the client does not verify the server's Finished",
        "handshake/client.py",
        "if not crypto.equal(expected, auth.finished):",
        "if False:",
        "test_handshake.py::test_every_bit_of_the_servers_proof",
    ),
    Fault(
        "the client's Finished check is not constant time",
        "handshake/client.py",
        "if not crypto.equal(expected, auth.finished):",
        "if expected != auth.finished:",
        "test_handshake.py::test_finished_is_compared_in_constant_time",
    ),
    Fault(
        "the server's hello is not in the transcript",
        "handshake/client.py",
        (
            "        self._transcript.update(header)\n"
            "        self._transcript.update(body)\n"
            "        shared"
        ),
        "        shared",
        "test_handshake.py::test_both_sides_know_each_other",
    ),
    Fault(
        "a client shows its key in plaintext",
        "handshake/client.py",
        "if self.encrypted and identity is not None:",
        "if identity is not None:",
        "test_handshake.py::test_plaintext_knows_nobody",
    ),
    Fault(
        "a server that requires encryption takes a client without",
        "handshake/server.py",
        "if self._policy == Mode.REQUIRED and hello.mode == Mode.OFF:",
        "if False:",
        "test_handshake_policies.py::test_policies_that_contradict",
    ),
    Fault(
        "a server without encryption takes a client that requires it",
        "handshake/server.py",
        "if self._policy == Mode.OFF and hello.mode == Mode.REQUIRED:",
        "if False:",
        "test_handshake_policies.py::test_policies_that_contradict",
    ),
    Fault(
        "optional against optional is plaintext",
        "handshake/server.py",
        "self.encrypted = hello.mode != Mode.OFF and self._policy != Mode.OFF",
        "self.encrypted = Mode.REQUIRED in (hello.mode, self._policy)",
        "test_handshake_attacks.py::test_a_changed_mode_is_noticed",
    ),
    Fault(
        "the server does not verify the client's Finished",
        "handshake/server.py",
        "if not crypto.equal(expected, auth.finished):",
        "if False:",
        "test_handshake.py::test_every_bit_of_the_clients_proof",
    ),
    Fault(
        "the client's signature is not verified",
        "handshake/server.py",
        "            key.verify(auth.signature, message)",
        "            pass",
        "test_handshake.py::test_a_signature_by_another_key",
    ),
    Fault(
        "the server's Finished does not cover its signature",
        "handshake/server.py",
        (
            "        proved = self._transcript.copy()\n"
            "        proved.update(record)\n"
            "        verify_data"
        ),
        ("        proved = self._transcript.copy()\n        verify_data"),
        "test_handshake.py::test_both_sides_know_each_other",
    ),
    Fault(
        "the client's hello is not in the transcript",
        "handshake/server.py",
        ("            self._transcript.update(header)\n            self._transcript.update(body)"),
        "            pass",
        "test_handshake.py::test_both_sides_know_each_other",
    ),
    Fault(
        "the binding shows in repr",
        "handshake/server.py",
        "    binding: bytes | None = field(repr=False)",
        "    binding: bytes | None",
        "test_handshake.py::test_no_secret_is_shown",
    ),
    Fault(
        "another version is taken for ours",
        "handshake/messages.py",
        "if body[at] != PROTOCOL_VERSION:",
        "if False:",
        "test_handshake_attacks.py::test_a_client_of_another_version",
    ),
    Fault(
        "an unknown mode is taken",
        "handshake/messages.py",
        "if mode not in (Mode.OFF, Mode.OPTIONAL, Mode.REQUIRED):",
        "if False:",
        "test_handshake_attacks.py::test_every_bit_of_the_client_hello",
    ),
    Fault(
        "a key share may be missing from an encrypted hello",
        "handshake/messages.py",
        "if (mode == Mode.OFF) == (3 in fields):",
        "if False:",
        "test_handshake_messages.py::test_bad_client_hellos",
    ),
    Fault(
        "an encrypted answer may lack its key share",
        "handshake/messages.py",
        "if encrypted > 1 or bool(encrypted) != (3 in fields):",
        "if encrypted > 1:",
        "test_handshake_messages.py::test_bad_server_hellos",
    ),
    Fault(
        "proofs are not padded",
        "handshake/messages.py",
        "return encode_field(number, bytes(-size % AUTH_PADDING))",
        'return encode_field(number, b"")',
        "test_handshake.py::test_both_sides_know_each_other",
    ),
    Fault(
        "padding is not looked at",
        "handshake/messages.py",
        "if len(body) % AUTH_PADDING or any(fields[number]):",
        "if len(body) % AUTH_PADDING:",
        "test_handshake_messages.py::test_padding_is_zero",
    ),
    Fault(
        "an unknown wish for client keys is taken",
        "handshake/messages.py",
        "if wanted > Wanted.REQUIRED:",
        "if False:",
        "test_handshake_messages.py::test_bad_server_auths",
    ),
    Fault(
        "a key may come without a signature",
        "handshake/messages.py",
        "if (f.KEY in fields) != (f.SIGNATURE in fields):",
        "if False:",
        "test_handshake_messages.py::test_bad_client_auths",
    ),
    Fault(
        "credentials have no bound",
        "handshake/messages.py",
        "if len(fields[f.CREDENTIALS]) > MAX_CREDENTIALS:",
        "if False:",
        "test_handshake_messages.py::test_bad_client_auths",
    ),
    Fault(
        "the signature does not cover the key",
        "handshake/messages.py",
        "signed=plaintext[: 1 + fields.offset(f.SIGNATURE)],",
        "signed=plaintext[:1],",
        "test_handshake.py::test_both_sides_know_each_other",
    ),
    Fault(
        "plaintext CLIENT_AUTH may carry a key",
        "handshake/messages.py",
        (
            "        if encrypted:\n"
            "            required |= {f.PADDING, f.FINISHED}\n"
            "            optional |= {f.KEY, f.SIGNATURE}"
        ),
        (
            "        optional |= {f.KEY, f.SIGNATURE}\n"
            "        if encrypted:\n"
            "            required |= {f.PADDING, f.FINISHED}"
        ),
        "test_handshake_messages.py::test_plaintext_carries_no_proof",
    ),
    Fault(
        "WELCOME may carry an empty token",
        "handshake/messages.py",
        "if not any(token):",
        "if False:",
        "test_handshake_messages.py::test_bad_welcomes",
    ),
    Fault(
        "WELCOME may announce any packet limit",
        "handshake/messages.py",
        "if not MIN_PACKET <= max_packet <= MAX_FRAME_BODY:",
        "if False:",
        "test_handshake_messages.py::test_bad_welcomes",
    ),
    Fault(
        "WELCOME may claim to resume",
        "handshake/messages.py",
        "if fields.integer(4, 1) != 0:",
        "if False:",
        "test_handshake_messages.py::test_bad_welcomes",
    ),
    Fault(
        "a CLOSE text has no bound",
        "handshake/messages.py",
        "if not 10 <= len(plaintext) <= 10 + MAX_CLOSE_TEXT:",
        "if len(plaintext) < 10:",
        "test_handshake_messages.py::test_bad_closes",
    ),
    Fault(
        "fields may come twice",
        "handshake/wire.py",
        "if number <= last:",
        "if number < last:",
        "test_wire.py::test_a_list_out_of_order_is_refused",
    ),
    Fault(
        "unknown fields are skipped",
        "handshake/wire.py",
        "if number not in required and number not in optional:",
        "if False:",
        "test_wire.py::test_a_list_out_of_order_is_refused",
    ),
    Fault(
        "a required field may be missing",
        "handshake/wire.py",
        ("            if number not in self._found:\n                raise"),
        ("            if False:\n                raise"),
        "test_wire.py::test_a_list_cut_short_is_refused",
    ),
    Fault(
        "a field may be cut short",
        "handshake/wire.py",
        "if end > len(data):",
        "if False:",
        "test_wire.py::test_a_list_cut_short_is_refused",
    ),
    Fault(
        "a field of fixed size may have another",
        "handshake/wire.py",
        "if len(value) != size:",
        "if len(value) > size:",
        "test_wire.py::test_sizes_and_texts_are_exact",
    ),
    Fault(
        "a name may have any length",
        "handshake/wire.py",
        "if len(value) > limit:",
        "if False:",
        "test_wire.py::test_sizes_and_texts_are_exact",
    ),
]
