"""Faults of the handshake."""

from __future__ import annotations

from .fault import Fault

FAULTS = [
    Fault(
        "both directions have one key",
        "protocol/schedule.py",
        'server=crypto.derive_secret(master, b"s ap traffic", transcript_hash)',
        'server=crypto.derive_secret(master, b"c ap traffic", transcript_hash)',
        "test_schedule.py::test_application_secrets_rfc8448",
    ),
    Fault(
        "application keys leave out SERVER_AUTH",
        "protocol/schedule.py",
        'client=crypto.derive_secret(master, b"c ap traffic", transcript_hash)',
        'client=crypto.derive_secret(master, b"c ap traffic", _EMPTY_HASH)',
        "test_schedule.py::test_application_secrets_rfc8448",
    ),
    Fault(
        "the channel binding is the same in every session",
        "protocol/schedule.py",
        'binding=crypto.hkdf_expand_label(exported, b"exporter", _EMPTY_HASH, 32)',
        'binding=crypto.hkdf_expand_label(_ZERO, b"exporter", _EMPTY_HASH, 32)',
        "test_schedule.py::test_the_binding_is_the_exporter",
    ),
    Fault(
        "Finished is keyed by nothing",
        "protocol/schedule.py",
        ('key = crypto.hkdf_expand_label(secret, b"finished", b"", 32)\n    return'),
        ("key = bytes(32)\n    return"),
        "test_schedule.py::test_finished_rfc8448",
    ),
    Fault(
        "the next traffic secret is the last",
        "protocol/schedule.py",
        'return crypto.hkdf_expand_label(secret, b"traffic upd", b"", 32)',
        "return secret",
        "test_schedule.py::test_the_next_secret_has_its_own_label",
    ),
    Fault(
        "the handshake forgets the shared secret",
        "protocol/schedule.py",
        "handshake = crypto.hkdf_extract(derived, shared)",
        "handshake = crypto.hkdf_extract(derived, _ZERO)",
        "test_schedule.py::test_handshake_secrets_rfc8448",
    ),
    Fault(
        "REQUIRED takes an answer in plaintext",
        "protocol/handshake_client.py",
        "if self._mode == Mode.REQUIRED and not hello.encrypted:",
        "if False:",
        "test_handshake_attacks.py::test_a_stripped_key_share_does_not_fool_required",
    ),
    Fault(
        "OFF takes an encrypted answer",
        "protocol/handshake_client.py",
        "if self._mode == Mode.OFF and hello.encrypted:",
        "if False:",
        "test_handshake_attacks.py::test_off_takes_no_encrypted_answer",
    ),
    Fault(
        "the client does not verify the server's Finished",
        "protocol/handshake_client.py",
        "if not crypto.equal(expected, auth.finished):",
        "if False:",
        "test_handshake.py::test_every_bit_of_the_servers_proof",
    ),
    Fault(
        "the client's Finished check is not constant time",
        "protocol/handshake_client.py",
        "if not crypto.equal(expected, auth.finished):",
        "if expected != auth.finished:",
        "test_handshake.py::test_finished_is_compared_in_constant_time",
    ),
    Fault(
        "the server's hello is not in the transcript",
        "protocol/handshake_client.py",
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
        "protocol/handshake_client.py",
        "if self.encrypted and identity is not None:",
        "if identity is not None:",
        "test_handshake.py::test_plaintext_knows_nobody",
    ),
    Fault(
        "a server that requires encryption takes a client without",
        "protocol/handshake_server.py",
        "if self._policy == Mode.REQUIRED and hello.mode == Mode.OFF:",
        "if False:",
        "test_handshake_policies.py::test_policies_that_contradict",
    ),
    Fault(
        "a server without encryption takes a client that requires it",
        "protocol/handshake_server.py",
        "if self._policy == Mode.OFF and hello.mode == Mode.REQUIRED:",
        "if False:",
        "test_handshake_policies.py::test_policies_that_contradict",
    ),
    Fault(
        "optional against optional is plaintext",
        "protocol/handshake_server.py",
        "self.encrypted = hello.mode != Mode.OFF and self._policy != Mode.OFF",
        "self.encrypted = Mode.REQUIRED in (hello.mode, self._policy)",
        "test_handshake_attacks.py::test_a_changed_mode_is_noticed",
    ),
    Fault(
        "the server does not verify the client's Finished",
        "protocol/handshake_server.py",
        "if not crypto.equal(expected, auth.finished):",
        "if False:",
        "test_handshake.py::test_every_bit_of_the_clients_proof",
    ),
    Fault(
        "the client's signature is not verified",
        "protocol/handshake_server.py",
        "            key.verify(auth.signature, message)",
        "            pass",
        "test_handshake.py::test_a_signature_by_another_key",
    ),
    Fault(
        "the server's Finished does not cover its signature",
        "protocol/handshake_server.py",
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
        "protocol/handshake_server.py",
        ("            self._transcript.update(header)\n            self._transcript.update(body)"),
        "            pass",
        "test_handshake.py::test_both_sides_know_each_other",
    ),
    Fault(
        "the binding shows in repr",
        "protocol/handshake_server.py",
        "    binding: bytes | None = field(repr=False)",
        "    binding: bytes | None",
        "test_handshake.py::test_no_secret_is_shown",
    ),
    Fault(
        "another version is taken for ours",
        "wire/messages.py",
        "if body[at] != PROTOCOL_VERSION:",
        "if False:",
        "test_handshake_attacks.py::test_a_client_of_another_version",
    ),
    Fault(
        "an unknown mode is taken",
        "wire/messages.py",
        "if mode not in (Mode.OFF, Mode.OPTIONAL, Mode.REQUIRED):",
        "if False:",
        "test_handshake_attacks.py::test_every_bit_of_the_client_hello",
    ),
    Fault(
        "a key share may be missing from an encrypted hello",
        "wire/messages.py",
        "if (mode == Mode.OFF) == (3 in fields):",
        "if False:",
        "test_handshake_messages.py::test_bad_client_hellos",
    ),
    Fault(
        "an encrypted answer may lack its key share",
        "wire/messages.py",
        "if encrypted > 1 or bool(encrypted) != (3 in fields):",
        "if encrypted > 1:",
        "test_handshake_messages.py::test_bad_server_hellos",
    ),
    Fault(
        "proofs are not padded",
        "wire/messages.py",
        "return encode_field(number, bytes(-size % AUTH_PADDING))",
        'return encode_field(number, b"")',
        "test_handshake.py::test_both_sides_know_each_other",
    ),
    Fault(
        "padding is not looked at",
        "wire/messages.py",
        "if len(body) % AUTH_PADDING or any(fields[number]):",
        "if len(body) % AUTH_PADDING:",
        "test_handshake_messages.py::test_padding_is_zero",
    ),
    Fault(
        "an unknown wish for client keys is taken",
        "wire/messages.py",
        "if wanted > Wanted.REQUIRED:",
        "if False:",
        "test_handshake_messages.py::test_bad_server_auths",
    ),
    Fault(
        "a key may come without a signature",
        "wire/messages.py",
        "if (f.KEY in fields) != (f.SIGNATURE in fields):",
        "if False:",
        "test_handshake_messages.py::test_bad_client_auths",
    ),
    Fault(
        "credentials have no bound",
        "wire/messages.py",
        "if len(fields[f.CREDENTIALS]) > MAX_CREDENTIALS:",
        "if False:",
        "test_handshake_messages.py::test_bad_client_auths",
    ),
    Fault(
        "the signature does not cover the key",
        "wire/messages.py",
        "signed=plaintext[: 1 + fields.offset(f.SIGNATURE)],",
        "signed=plaintext[:1],",
        "test_handshake.py::test_both_sides_know_each_other",
    ),
    Fault(
        "plaintext CLIENT_AUTH may carry a key",
        "wire/messages.py",
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
        "wire/messages.py",
        "if not any(token):",
        "if False:",
        "test_handshake_messages.py::test_bad_welcomes",
    ),
    Fault(
        "WELCOME may announce any packet limit",
        "wire/messages.py",
        "if not MIN_PACKET <= max_packet <= MAX_FRAME_BODY:",
        "if False:",
        "test_handshake_messages.py::test_bad_welcomes",
    ),
    Fault(
        "WELCOME may claim to resume",
        "wire/messages.py",
        "if fields.integer(4, 1) != 0:",
        "if False:",
        "test_handshake_messages.py::test_bad_welcomes",
    ),
    Fault(
        "a CLOSE text has no bound",
        "wire/messages.py",
        "if not 10 <= len(plaintext) <= 10 + MAX_CLOSE_TEXT:",
        "if len(plaintext) < 10:",
        "test_handshake_messages.py::test_bad_closes",
    ),
    Fault(
        "fields may come twice",
        "wire/fields.py",
        "if number <= last:",
        "if number < last:",
        "test_wire.py::test_a_list_out_of_order_is_refused",
    ),
    Fault(
        "unknown fields are skipped",
        "wire/fields.py",
        "if number not in required and number not in optional:",
        "if False:",
        "test_wire.py::test_a_list_out_of_order_is_refused",
    ),
    Fault(
        "a required field may be missing",
        "wire/fields.py",
        ("            if number not in self._found:\n                raise"),
        ("            if False:\n                raise"),
        "test_wire.py::test_a_list_cut_short_is_refused",
    ),
    Fault(
        "a field may be cut short",
        "wire/fields.py",
        "if end > len(data):",
        "if False:",
        "test_wire.py::test_a_list_cut_short_is_refused",
    ),
    Fault(
        "a field of fixed size may have another",
        "wire/fields.py",
        "if len(value) != size:",
        "if len(value) > size:",
        "test_wire.py::test_sizes_and_texts_are_exact",
    ),
    Fault(
        "a name may have any length",
        "wire/fields.py",
        "if len(value) > limit:",
        "if False:",
        "test_wire.py::test_sizes_and_texts_are_exact",
    ),
]
