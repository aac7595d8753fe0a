"""Faults of records, frames, packets and sealed packets."""

from __future__ import annotations

from .fault import Fault

FAULTS = [
    Fault(
        "the nonce does not move",
        "protocol/records.py",
        "        self._counter = after = counter + 1",
        "        after = counter + 1",
        "test_records.py::test_a_sealed_record_is_pinned",
    ),
    Fault(
        "the header of a record is not authenticated (sealing)",
        "protocol/records.py",
        "plaintext, header)",
        "plaintext, None)",
        "test_records.py::test_a_sealed_record_is_pinned",
    ),
    Fault(
        "the header of a record is not authenticated (opening)",
        "protocol/records.py",
        ("body, header)\n        except"),
        ("body, None)\n        except"),
        "test_records.py::test_records_come_back_in_order",
    ),
    Fault(
        "a key seals forever",
        "protocol/records.py",
        "if self.due and key_update.is_overdue(self._counter, self._bytes):",
        "if False:",
        "test_records.py::test_a_missed_update_is_refused",
    ),
    Fault(
        "a key update is never due",
        "protocol/records.py",
        "if after >= UPDATE_RECORDS or sealed >= UPDATE_BYTES:",
        "if False:",
        "test_records.py::test_no_nonce_is_used_twice",
    ),
    Fault(
        "bytes do not make a key update due",
        "protocol/records.py",
        "if after >= UPDATE_RECORDS or sealed >= UPDATE_BYTES:",
        "if after >= UPDATE_RECORDS:",
        "test_records.py::test_when_an_update_is_due",
    ),
    Fault(
        "the hour does not make a key update due",
        "protocol/records.py",
        ("        if self._asked and self._counter:\n            self.due = True"),
        ("        if self._asked and self._counter:\n            pass"),
        "test_records.py::test_a_timer_may_ask_for_an_update",
    ),
    Fault(
        "KEY_UPDATE is sealed under the new key",
        "protocol/records.py",
        (
            "        frame = self.seal(_KEY_UPDATE)\n"
            "        self._install(key_schedule.next_traffic_secret(self._secret))\n"
            "        return frame"
        ),
        (
            "        self._install(key_schedule.next_traffic_secret(self._secret))\n"
            "        return self.seal(_KEY_UPDATE)"
        ),
        "test_records.py::test_an_update_takes_the_next_key",
    ),
    Fault(
        "a key update installs the same key",
        "protocol/records.py",
        (
            "        frame = self.seal(_KEY_UPDATE)\n"
            "        self._install(key_schedule.next_traffic_secret(self._secret))"
        ),
        ("        frame = self.seal(_KEY_UPDATE)\n        self._install(self._secret)"),
        "test_records.py::test_an_update_takes_the_next_key",
    ),
    Fault(
        "a bad tag does not end the connection",
        "protocol/records.py",
        ("        except crypto.InvalidTag:\n            self._dead = True"),
        "        except crypto.InvalidTag:",
        "test_records.py::test_the_first_bad_tag_ends_it",
    ),
    Fault(
        "a record that fails advances the counter",
        "protocol/records.py",
        ("        except crypto.InvalidTag:\n            self._dead = True"),
        ("        except crypto.InvalidTag:\n            self._counter += 1"),
        "test_records.py::test_the_first_bad_tag_ends_it",
    ),
    Fault(
        "the receiver does not count",
        "protocol/records.py",
        ("        self._counter = counter + 1\n        self._bytes += len(body)"),
        "        self._bytes += len(body)",
        "test_records.py::test_records_come_back_in_order",
    ),
    Fault(
        "key updates may come as a flood",
        "protocol/key_update.py",
        "return records < UPDATE_FLOOD_RECORDS and size < UPDATE_BYTES and seconds < UPDATE_FLOOD_SECONDS",
        "return False",
        "test_records.py::test_which_update_needs_no_excuse",
    ),
    Fault(
        "plaintext takes any token",
        "protocol/records.py",
        "not crypto.equal(body[:TOKEN_SIZE], self.token)",
        "False",
        "test_records.py::test_every_wrong_token_is_refused",
    ),
    Fault(
        "plaintext tokens are compared by ==",
        "protocol/records.py",
        "not crypto.equal(body[:TOKEN_SIZE], self.token)",
        "body[:TOKEN_SIZE] != self.token",
        "test_records.py::test_tokens_are_compared_in_constant_time",
    ),
    Fault(
        "a key update in plaintext is ignored",
        "protocol/records.py",
        '        raise ProtocolError("a key update in plaintext mode", code=Code.PROTOCOL)',
        "        return True",
        "test_records.py::test_plaintext_has_no_key_to_update",
    ),
    Fault(
        "a record too long for a frame is sealed",
        "protocol/records.py",
        "if size > _MAX_SEALED:",
        "if False:",
        "test_records.py::test_sizes_end_where_the_header_ends",
    ),
    Fault(
        "a body longer than the limit is stored",
        "wire/frames.py",
        ("        if size > self.limit:\n            raise self._too_long(size)"),
        ("        if False:\n            raise self._too_long(size)"),
        "test_frames.py::test_the_announced_length_is_checked_first",
    ),
    Fault(
        "a whole frame passes its limit",
        "wire/frames.py",
        "if self._now or not 0 <= size <= self.limit:",
        "if self._now or size < 0:",
        "test_frames.py::test_whole_only_when_nothing_waits",
    ),
    Fault(
        "a frame takes the bytes of the next",
        "wire/frames.py",
        "return header, now[start:end]",
        "return header, now[start:]",
        "test_frames.py::test_any_split_gives_the_same_frames",
    ),
    Fault(
        "the commitment is not compared",
        "sealed.py",
        "if not crypto.equal(commitment, expected):",
        "if False:",
        "test_sealed.py::test_a_flipped_bit_in_each_region",
    ),
    Fault(
        "the commitment is compared by ==",
        "sealed.py",
        "if not crypto.equal(commitment, expected):",
        "if commitment != expected:",
        "test_sealed.py::test_the_commitment_is_compared_in_constant_time",
    ),
    Fault(
        "sealed packets are accepted from anybody",
        "sealed.py",
        "if senders is not None and public.fingerprint not in senders:",
        "if False:",
        "test_sealed.py::test_another_sender",
    ),
    Fault(
        "the signature of a sealed packet is not verified",
        "sealed.py",
        "    public.verify(inner.rest(), _signed(outside, body))\n",
        "",
        "test_sealed_forgeries.py::test_forgeries",
    ),
    Fault(
        "the signature leaves out the recipient",
        "sealed.py",
        "    transcript.update(outside)  # contains its own size, so the two cannot be divided differently\n",
        "",
        "test_sealed.py::test_the_layout",
    ),
    Fault(
        "sealed packets of any age are accepted",
        "sealed.py",
        'return max_age is None or -SEALED_SKEW <= moment("now", now) - created <= max_age',
        "return True",
        "test_sealed.py::test_age",
    ),
    Fault(
        "a sealed packet from the future is accepted",
        "sealed.py",
        'return max_age is None or -SEALED_SKEW <= moment("now", now) - created <= max_age',
        'return max_age is None or moment("now", now) - created <= max_age',
        "test_sealed.py::test_age",
    ),
    Fault(
        "the reason of a failed unseal is told",
        "sealed.py",
        "        pass  # raised below, outside this block, so that the cause is not chained to the error",
        "        raise",
        "test_sealed.py::test_a_flipped_bit_in_each_region",
    ),
    Fault(
        "the key of a sealed packet does not depend on its outside",
        "sealed.py",
        "crypto.hkdf_expand(secret, KEY_LABEL + outside, size + crypto.HASH_SIZE)",
        "crypto.hkdf_expand(secret, KEY_LABEL, size + crypto.HASH_SIZE)",
        "test_sealed.py::test_the_layout",
    ),
    Fault(
        "a sealed packet for another recipient is tried",
        "sealed.py",
        (
            "    if (magic, version, digest) != expected:\n"
            "        raise UnsealError(_NOT_ACCEPTED)\n"
        ),
        "",
        "test_sealed_forgeries.py::test_forgeries",
    ),
    Fault(
        "nesting is not counted",
        "wire/scan.py",
        "if len(outer) > self._deepest:",
        "if False:",
        "test_walk.py::test_the_walk_counts_as_one_would_by_hand",
    ),
    Fault(
        "extensions pass where they must not",
        "wire/scan.py",
        "    if not allow_extensions:\n",
        "    if False:\n",
        "test_walk.py::test_extensions_can_be_forbidden",
    ),
    Fault(
        "credentials of any size are decoded",
        "wire/packets.py",
        ("    if len(data) > max_size:\n        raise CodecError"),
        ("    if False:\n        raise CodecError"),
        "test_codec.py::test_values_are_bounded_in_size_and_depth",
    ),
    Fault(
        "the id of a packet may be anything",
        "wire/packets.py",
        "if number is not None and (type(number) is not int or not 0 <= number <= _MAX_ID):",
        "if False:",
        "test_codec.py::test_what_cannot_be_sent_is_refused_with_the_way_out",
    ),
    Fault(
        "elements are not counted",
        "wire/scan.py",
        "                    elements += 1\n",
        "                    elements += 0\n",
        "test_walk.py::test_the_walk_counts_as_one_would_by_hand",
    ),
    Fault(
        "light items are not counted at all",
        "wire/scan.py",
        "                            light += run\n",
        "",
        "test_walk.py::test_items_without_memory_count_an_eighth",
    ),
    Fault(
        "arrays may be map keys",
        "wire/scan.py",
        "if kind == _MAP and left & 1 and step != _SIZED:",
        "if kind == _MAP and left & 1 and step == _EXTENSION:",
        "test_walk.py::test_arrays_and_maps_are_no_keys",
    ),
    Fault(
        "timestamps may be map keys",
        "wire/scan.py",
        "if kind == _MAP and left & 1 and step != _SIZED:",
        "if kind == _MAP and left & 1 and step == _CONTAINER:",
        "test_walk.py::test_timestamps_are_no_keys",
    ),
    Fault(
        "large maps may have numbers as keys",
        "wire/scan.py",
        "if kind == _LARGE_MAP and left & 1 and first not in _KEYED:",
        "if False:",
        "test_walk.py::test_a_large_map_has_keys_of_text_and_bytes",
    ),
    Fault(
        "a large record is decoded without a look",
        "wire/packets.py",
        "    walk(data, max_elements, MAX_DEPTH, framing=_RECORD_FRAMING)\n    return _decode_walked(data)\n",
        "    return _decode_walked(data)\n",
        "test_codec_hostile.py::test_hostile_values_are_refused",
    ),
    Fault(
        "a record of many containers is decoded by one call",
        "wire/packets.py",
        "if size <= MAX_WALK_FREE and is_quick(data):",
        "if size <= MAX_WALK_FREE:",
        "test_steps.py::test_a_session_gives_way_while_its_record_is_decoded",
    ),
    Fault(
        "a record that is decoded in steps may end anywhere",
        "wire/steps.py",
        "elif self._walk.at != len(self._data):",
        "elif False:",
        "test_steps.py::test_the_end_of_a_record_is_where_its_packets_end",
    ),
    Fault(
        "headers that are decoded in steps have keys of any type",
        "wire/steps.py",
        "{str}.issuperset(map(type, inner.value))",
        "True",
        "test_steps.py::test_what_is_no_packet_is_refused_in_steps_too",
    ),
    Fault(
        "what is decoded in steps is not counted",
        "protocol/session_core.py",
        "return held + receiving.held_in_steps +",
        "return held +",
        "test_steps.py::test_what_is_decoded_counts_before_its_end",
    ),
    Fault(
        "a sender sends what a receiver refuses",
        "wire/packets.py",
        "    walk(encoded, max_elements - 1, MAX_DEPTH, framing=_PACKET_FRAMING)\n",
        "",
        "test_codec.py::test_what_cannot_be_sent_is_refused_with_the_way_out",
    ),
    Fault(
        "data may silently become something else",
        "wire/sendable.py",
        '    return "send str(value), list(value)',
        ('    return None\n    return "send str(value), list(value)'),
        "test_payloads.py::test_what_would_become_something_else_is_refused",
    ),
    Fault(
        "undeclared dataclasses are sent",
        "wire/sendable.py",
        ("        if type(value) in _declared:\n            return None\n"),
        "        return None\n",
        "test_payloads.py::test_what_would_become_something_else_is_refused",
    ),
    Fault(
        "text of a peer is shown raw",
        "text.py",
        (
            '    return "".join(\n'
            '        c if c.isprintable() or _joins(text, i) else c.encode("unicode_escape").decode()\n'
            "        for i, c in enumerate(text)\n"
            "    )"
        ),
        "    return text",
        "test_security_entry.py::test_words_of_a_server_are_escaped",
    ),
    Fault(
        "joiners stay anywhere",
        "text.py",
        (
            "    if text[place] not in (_JOINER, _NON_JOINER) or not 0 < place < len(text) - 1:\n"
            "        return False\n"
        ),
        "    return text[place] in (_JOINER, _NON_JOINER)\n",
        "test_text.py::test_a_joiner_that_joins_nothing_is_visible",
    ),
    Fault(
        "tracebacks show notes of a peer raw",
        "logs/tracebacks.py",
        (
            '        text = f"{text[:_MAX_WORDS]}… ({len(text):,} characters)"\n'
            "    return escaped(text)"
        ),
        ('        text = f"{text[:_MAX_WORDS]}… ({len(text):,} characters)"\n    return text'),
        "test_tracebacks.py::test_a_traceback_is_safe_to_show",
    ),
    Fault(
        "log lines of a peer have no bound",
        "logs/floods.py",
        "            if kind.allowed < 1.0:\n",
        "            if False:\n",
        "test_floods.py::test_a_kind_of_lines_is_bounded",
    ),
]
