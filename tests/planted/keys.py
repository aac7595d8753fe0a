"""Faults of keys, trust, and the files they lie in."""

from __future__ import annotations

from .fault import Fault

FAULTS = [
    Fault(
        "a private key file where a public one belongs is read",
        "keys/public.py",
        'if b"PRIVATE KEY-----" in data:',
        "if False:",
        "test_keys.py::test_private_key_is_no_public_key",
    ),
    Fault(
        "a fingerprint has several spellings",
        "keys/public.py",
        "if fingerprint_text(digest) == text:",
        "if digest:",
        "test_keys.py::test_other_texts_are_no_fingerprint",
    ),
    Fault(
        "an identity can be pickled",
        "keys/identity.py",
        'raise TypeError("an Identity holds a private key and cannot be pickled or copied")',
        "return Identity.generate, ()  # type: ignore",
        "test_keys.py::test_identity_is_not_copied_or_pickled",
    ),
    Fault(
        "a public key without its private key is replaced",
        "keys/identity.py",
        ("    if exists(public_path):\n        raise KeyFileError("),
        ("    if False:\n        raise KeyFileError("),
        "test_keys_files.py::test_public_key_without_private_key",
    ),
    Fault(
        "a key is made anew where one exists",
        "keys/identity.py",
        ("    if exists(private_path):\n        raise KeyFileError("),
        ("    if False:\n        raise KeyFileError("),
        "test_keys_files.py::test_keys_are_never_overwritten",
    ),
    Fault(
        "private keys are readable while they are written",
        "keys/files.py",
        "descriptor = os.open(path, _CREATE, mode)",
        "descriptor = os.open(path, _CREATE, 0o644)",
        "test_keys_files.py::test_files_folder_and_modes",
    ),
    Fault(
        "a key file is written over another",
        "keys/files.py",
        "os.O_WRONLY | os.O_CREAT | os.O_EXCL |",
        "os.O_WRONLY | os.O_CREAT | os.O_TRUNC |",
        "test_keys_files.py::test_late_arrival_is_not_overwritten",
    ),
    Fault(
        "a named pipe is read",
        "keys/files.py",
        "    if not stat.S_ISREG(mode):\n",
        "    if False:\n",
        "test_keys_loading.py::test_named_pipe_does_not_hang",
    ),
    Fault(
        "the guess at a passphrase costs nothing",
        "keys/pkcs8.py",
        "n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P)\n",
        "n=2, r=SCRYPT_R, p=SCRYPT_P)\n",
        "test_keys_interop.py::test_openssl_reads_our_encrypted_key",
    ),
    Fault(
        "a damaged line of known_servers is skipped",
        "trust/entries.py",
        (
            "            except ConfigError as error:\n"
            "                raise self._damaged(number, error.message) from None"
        ),
        ("            except ConfigError:\n                entry = None"),
        "test_trust.py::test_damaged_known_servers",
    ),
    Fault(
        "lines may contradict each other",
        "trust/entries.py",
        "if value != entry.value:",
        "if False:",
        "test_trust.py::test_damaged_known_servers",
    ),
    Fault(
        "updates of a trust file do not lock",
        "trust/locking.py",
        "            if _try_lock(descriptor, path):\n",
        "            if True:\n",
        "test_trust_locking.py::test_lock_that_stays_taken",
    ),
    Fault(
        "a trust file is written in place",
        "keys/replacing.py",
        "            _rename_over(source, path)",
        "            path.write_bytes(source.read_bytes())",
        "test_trust.py::test_known_servers_file",
    ),
    Fault(
        "a pin does not hold",
        "trust/policy.py",
        "expected = self._pin or self._known",
        "expected = self._known",
        "test_security_trust.py::test_credentials_are_not_for_whoever_answers",
    ),
    Fault(
        "trust='known' accepts an unknown server",
        "trust/policy.py",
        ('        if self._trust == "known":\n            raise NotTrusted('),
        ("        if False:\n            raise NotTrusted("),
        "test_security_trust.py::test_known_servers_only",
    ),
    Fault(
        "credentials go to whoever answers first",
        "trust/policy.py",
        (
            "        if credentials and self._trust is None and not loopback:\n"
            "            raise NotTrusted("
        ),
        ("        if False:\n            raise NotTrusted("),
        "test_security_trust.py::test_credentials_are_not_for_whoever_answers",
    ),
    Fault(
        "optional is plaintext though the key is known",
        "trust/policy.py",
        "return Mode.REQUIRED if mode == Mode.OPTIONAL else mode",
        "return mode",
        "test_security_trust.py::test_optional_is_required_where_a_key_is_expected",
    ),
    Fault(
        "small keys are taken",
        "keys/shapes.py",
        "if not MIN_RSA_BITS <= bits <= MAX_RSA_BITS:",
        "if bits > MAX_RSA_BITS:",
        "test_keys.py::test_policy_refuses_what_lies_beyond",
    ),
    Fault(
        "huge keys are taken",
        "keys/shapes.py",
        "if not MIN_RSA_BITS <= bits <= MAX_RSA_BITS:",
        "if bits < MIN_RSA_BITS:",
        "test_keys.py::test_policy_refuses_what_lies_beyond",
    ),
    Fault(
        "any public exponent is taken",
        "keys/shapes.py",
        "if not MIN_RSA_EXPONENT <= self.e <= MAX_RSA_EXPONENT or self.e % 2 == 0:",
        "if False:",
        "test_keys.py::test_policy_refuses_what_lies_beyond",
    ),
    Fault(
        "an even modulus is taken",
        "keys/shapes.py",
        "if self.n % 2 == 0:",
        "if False:",
        "test_keys.py::test_even_numbers_are_refused",
    ),
    Fault(
        "a key of another type than RSA is looked into",
        "keys/shapes.py",
        "    if kind != _RSA:\n",
        "    if False:\n",
        "test_keys.py::test_other_kinds_of_keys_are_refused",
    ),
    Fault(
        "parameters of a key's algorithm may be anything",
        "keys/shapes.py",
        "    if algorithm.read(NULL):\n",
        "    if False:\n",
        "test_keys.py::test_policy_accepts_its_edges",
    ),
    Fault(
        "private keys that others can read are loaded",
        "keys/loaded.py",
        "limit=MAX_KEY_FILE, forbidden=_OTHERS, missing=_MISSING",
        "limit=MAX_KEY_FILE, forbidden=0, missing=_MISSING",
        "test_keys_loading.py::test_private_key_readable_by_others_is_refused",
    ),
    Fault(
        "a file of any size is read",
        "keys/files.py",
        "data = _read_up_to(self._descriptor, self._limit + 1)",
        "data = _read_up_to(self._descriptor, 2**62)",
        "test_faults_files.py::test_a_first_use_cannot_be_written_down",
    ),
    Fault(
        "a file too large is used",
        "keys/files.py",
        "        if len(data) > self._limit:\n",
        "        if False:\n",
        "test_faults_files.py::test_a_damaged_key_is_named",
    ),
    Fault(
        "files of other users are believed",
        "keys/strict.py",
        "    if POSIX and not _ours(info):\n",
        "    if False:\n",
        "test_keys_strict.py::test_a_file_of_somebody_else",
    ),
    Fault(
        "folders that others can write are believed",
        "keys/strict.py",
        ("    if info.st_mode & stat.S_IWOTH:\n        return True\n"),
        "",
        "test_keys_strict.py::test_a_folder_on_the_way_that_others_write",
    ),
    Fault(
        "a way that was in order stays so",
        "keys/strict.py",
        "        if looked != (info.st_mode, info.st_uid, info.st_gid):\n",
        "        if False:\n",
        "test_keys_remembered.py::test_permissions_are_checked_each_time",
    ),
    Fault(
        "a link on the way is read once",
        "keys/strict.py",
        ") -> None:\n        self.by_looks = False\n",
        ") -> None:\n",
        "test_keys_strict.py::test_a_way_is_judged_once_as_long_as_it_looks_the_same",
    ),
    Fault(
        "the sticky bit makes a shared folder good enough",
        "keys/strict.py",
        "    if not POSIX:\n        return _without_checks(path)\n    name = str(path)\n",
        (
            "    if not POSIX or os.lstat(path.parent).st_mode & stat.S_ISVTX:\n"
            "        return _without_checks(path)\n"
            "    name = str(path)\n"
        ),
        "test_keys_strict.py::test_what_is_in_order_is_believed",
    ),
    Fault(
        "a file directly in /tmp is believed",
        "keys/strict.py",
        "            if self._temporary is not None and not stat.S_ISDIR(info.st_mode):\n",
        "            if False:\n",
        "test_keys_strict.py::test_the_systems_temporary_folder",
    ),
    Fault(
        "a link of another user is followed",
        "keys/strict.py",
        (
            "        if not _ours(info):\n"
            "            raise KeyFileError(\n"
            '                f"the link'
        ),
        ('        if False:\n            raise KeyFileError(\n                f"the link'),
        "test_keys_strict.py::test_a_link_of_somebody_else",
    ),
    Fault(
        "a dangling link is a file that is not there yet",
        "keys/strict.py",
        "            if len(self._rest) >= after:",
        "            if False:",
        "test_keys_strict.py::test_a_link_that_leads_nowhere",
    ),
    Fault(
        "a folder of another user is believed",
        "keys/strict.py",
        (
            "        if not _ours(info):\n"
            "            raise KeyFileError(\n"
            '                f"the folder'
        ),
        ('        if False:\n            raise KeyFileError(\n                f"the folder'),
        "test_keys_strict.py::test_a_folder_of_somebody_else",
    ),
    Fault(
        "a server met under its letters is new under its IDNA name",
        "trust/places.py",
        '    if "xn--" in text:\n',
        "    if False:\n",
        "test_trust_places.py::test_foreign_letters_have_many_spellings",
    ),
    Fault(
        "hosts that are similar are one server",
        "trust/places.py",
        "return similar == self._similar and same_server(host) == self.host",
        "return similar == self._similar",
        "test_trust_places.py::test_what_looks_alike_is_not_the_same",
    ),
    Fault(
        "known_servers replaces a key",
        "trust/servers.py",
        "        if known.fingerprint != new.fingerprint:\n",
        "        if False:\n",
        "test_trust_places.py::test_this_machine_is_one_server",
    ),
    Fault(
        "a changed key of a known server is accepted",
        "trust/policy.py",
        ("            if fingerprint != expected:\n                named"),
        ("            if False:\n                named"),
        "test_trust_places.py::test_a_changed_key_is_refused_from_every_folder",
    ),
    Fault(
        "a pin follows a rotation",
        "trust/policy.py",
        "if self._pin is not None or not named:",
        "if not named:",
        "test_trust_rotation.py::test_a_pin_is_exact",
    ),
    Fault(
        "whoever loses a first-use race goes on",
        "trust/policy.py",
        '            raise self._wrong_key(fingerprint, error.expected or "another") from None',
        "            pass",
        "test_trust_places.py::test_the_loser_of_a_race_does_not_go_on",
    ),
    Fault(
        "credentials go in clear to another machine",
        "trust/policy.py",
        "if exposed and mode == Mode.OFF:",
        "if False:",
        "test_security_trust.py::test_credentials_in_clear_need_a_word_of_their_own",
    ),
    Fault(
        "optional sends credentials in clear",
        "trust/policy.py",
        "return Mode.REQUIRED if (untrusted or exposed) and mode == Mode.OPTIONAL else mode",
        "return mode",
        "test_security_trust.py::test_credentials_in_clear_need_a_word_of_their_own",
    ),
    Fault(
        "a statement of succession lasts forever",
        "keys/succession.py",
        "if not now < statement.expires <= now + MAX_ROTATION_SECONDS:",
        "if not now < statement.expires:",
        "test_keys_succession.py::test_it_ends",
    ),
    Fault(
        "an expired statement of succession holds",
        "keys/succession.py",
        "if not now < statement.expires <= now + MAX_ROTATION_SECONDS:",
        "if statement.expires > now + MAX_ROTATION_SECONDS:",
        "test_keys_succession.py::test_it_ends",
    ),
    Fault(
        "a statement of succession is not verified",
        "keys/succession.py",
        "        old.verify(self.signature, _signed(self.old, new.spki, self.expires))\n",
        "",
        "test_keys_succession.py::test_a_chain",
    ),
    Fault(
        "a succession may have any length",
        "keys/succession.py",
        "    if len(data) > MAX_SUCCESSION:\n",
        "    if False:\n",
        "test_keys_succession.py::test_reading_and_writing",
    ),
    Fault(
        "folders that a group can write are believed",
        "keys/strict.py",
        "    return _has_acl(folder) or not _private_group(info.st_uid, info.st_gid)",
        "    return False",
        "test_keys_strict.py::test_private_groups",
    ),
    Fault(
        "the numbers of a private key need not fit",
        "keys/shapes.py",
        (
            "        if p * q != self.public.n or not 1 < self.d < self.public.n:\n"
            "            return False\n"
        ),
        "",
        "test_keys_der.py::test_private_numbers_belong_together",
    ),
    Fault(
        "lengths in DER may be long ones",
        "keys/der.py",
        "if not 1 <= width <= 4 or len(digits) != width or size < 0x80 or digits[0] == 0:",
        "if not 1 <= width <= 4 or len(digits) != width:",
        "test_keys_der.py::test_lengths_have_one_spelling",
    ),
    Fault(
        "numbers in DER may be negative",
        "keys/der.py",
        "if not body or body[0] >= 0x80 or (",
        "if not body or (",
        "test_keys_der.py::test_numbers_have_one_spelling",
    ),
    Fault(
        "a key file may ask for any number of rounds",
        "keys/pkcs8.py",
        "    if rounds > MAX_KDF_ROUNDS:\n",
        "    if False:\n",
        "test_keys_interop.py::test_bounds_of_stretching",
    ),
    Fault(
        "a key file may ask for any amount of scrypt",
        "keys/pkcs8.py",
        "    if table > MAX_SCRYPT_MEMORY or lanes > MAX_SCRYPT_LANES or work > MAX_SCRYPT_WORK:\n",
        "    if False:\n",
        "test_keys_interop.py::test_bounds_of_stretching",
    ),
    Fault(
        "a link that came after the look is followed",
        "keys/files.py",
        "descriptor = os.open(real, _READ | (NO_LINK if believed else 0))",
        "descriptor = os.open(real, _READ)",
        "test_keys_strict.py::test_a_link_that_comes_after_the_look_is_not_followed",
    ),
]
