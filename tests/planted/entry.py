"""Faults of who may enter."""

from __future__ import annotations

from .fault import Fault

FAULTS = [
    Fault(
        "a check in on_connect that has not run lets in",
        "app/hooks.py",
        "if self._may_refuse and returned:",
        "if False:",
        "test_auth_hooks.py::test_a_check_in_on_connect_that_has_not_run_refuses",
    ),
    Fault(
        "a join token is kept as it is",
        "auth/tokens.py",
        "return crypto.sha256(token.encode()).hex()",
        'return token.replace("-", "") * 2',
        "test_auth_tokens.py::test_a_token_whose_id_is_taken",
    ),
    Fault(
        "an expired token admits",
        "auth/tokens.py",
        "if self.expires is not None and now >= self.expires:",
        "if False:",
        "test_auth_tokens.py::test_lifetime",
    ),
    Fault(
        "a revoked token admits",
        "auth/tokens.py",
        ('if self.revoked is not None:\n            return "revoked"'),
        ('if False:\n            return "revoked"'),
        "test_auth_tokens.py::test_revoking",
    ),
    Fault(
        "a token that shares only its id admits",
        "auth/tokens.py",
        "if not crypto.equal(known_hash.encode(), token_hash.encode()) or entry is None:",
        "if entry is None:",
        "test_auth_tokens.py::test_a_token_that_shares_only_the_id",
    ),
    Fault(
        "hashes of tokens are compared by ==",
        "auth/tokens.py",
        "if not crypto.equal(known_hash.encode(), token_hash.encode()) or entry is None:",
        "if known_hash != token_hash or entry is None:",
        "test_auth_tokens.py::test_hashes_are_compared_in_constant_time",
    ),
    Fault(
        "password hashes are compared by ==",
        "auth/passwords.py",
        "return crypto.equal(computed, self.hash)",
        "return computed == self.hash",
        "test_auth_passwords.py::test_hashes_are_compared_in_constant_time",
    ),
    Fault(
        "passwords are hashed without salt",
        "auth/passwords.py",
        ("        salt = os.urandom(_SALT_SIZE)\n        secret"),
        ("        salt = bytes(_SALT_SIZE)\n        secret"),
        "test_auth_passwords.py::test_a_thief_of_the_file_finds_no_password",
    ),
    Fault(
        "an unknown name costs nothing",
        "auth/passwords.py",
        "if not (account or self._nobody).matches(_password_bytes(password)) or account is None:",
        "if account is None or not account.matches(_password_bytes(password)):",
        "test_auth_passwords.py::test_equal_work_for_an_unknown_name",
    ),
    Fault(
        "short passwords are taken",
        "auth/passwords.py",
        "limits.MIN_PASSWORD <= len(password) <= limits.MAX_PASSWORD",
        "len(password) <= limits.MAX_PASSWORD",
        "test_auth_passwords.py::test_impossible_users",
    ),
    Fault(
        "a damaged file of entries is an empty one",
        "auth/book.py",
        "            raise self._damaged(str(error)) from None",
        "            return {}",
        "test_auth_files.py::test_a_damaged_file_admits_nobody",
    ),
    Fault(
        "entries may have one name twice",
        "auth/book.py",
        "if len(entries) != len(found):",
        "if False:",
        "test_auth_files.py::test_a_damaged_file_admits_nobody",
    ),
    Fault(
        "a user's name may hold anything",
        "auth/hello.py",
        "if 1 <= len(name) <= MAX_USER_NAME and name.isprintable() and name == name.strip():",
        "if name:",
        "test_auth_tokens.py::test_impossible_tokens",
    ),
    Fault(
        "credentials may have further fields",
        "auth/hello.py",
        "if not isinstance(credentials, dict) or credentials.keys() != set(names):",
        "if not isinstance(credentials, dict) or not credentials.keys() >= set(names):",
        "test_auth_tokens.py::test_credentials_of_another_shape",
    ),
    Fault(
        "credentials show in a hello",
        "auth/hello.py",
        "    credentials: Any = field(repr=False)",
        "    credentials: Any",
        "test_auth.py::test_hello_hides_credentials_and_binding",
    ),
    Fault(
        "another application is let in",
        "app/admission.py",
        "if own and own != other:",
        "if False:",
        "test_security_entry.py::test_words_of_a_client_are_escaped",
    ),
    Fault(
        "a client key is admitted though it is unknown",
        "app/admission.py",
        "            fingerprint is None or self._known_clients.allows(fingerprint) is None",
        "            fingerprint is None",
        "test_security_trust.py::test_a_client_key_is_looked_up_after_its_signature",
    ),
    Fault(
        "sessions share a token",
        "app/session_manager.py",
        "link.token = uuid.uuid4().bytes",
        "link.token = uuid.UUID(int=4 << 76 | 8 << 60 | 1).bytes",
        "test_security_entry.py::test_tokens_name_and_do_not_repeat",
    ),
    Fault(
        "hello.encrypted is always true",
        "app/admission.py",
        "            encrypted=encrypted,\n            _holds",
        "            encrypted=True,\n            _holds",
        "test_security_entry.py::test_a_hook_is_told_whether_it_is_encrypted",
    ),
    Fault(
        "a hook sees no binding",
        "app/admission.py",
        "binding=client.binding,",
        "binding=None,",
        "test_security_wire.py::test_joined_sessions_do_not_fool_bound_credentials",
    ),
    Fault(
        "applications see our own actions",
        "app/handlers.py",
        "if listeners and not packet.action.startswith(RESERVED):",
        "if listeners:",
        "test_dispatch.py::test_our_own_packets_are_not_shown",
    ),
    Fault(
        "a client shows its key unasked",
        "client.py",
        ("            if server.wanted != Wanted.NO:\n                identity"),
        ("            if True:\n                identity"),
        "test_security_entry.py::test_a_client_key_is_shown_only_when_asked_for",
    ),
    Fault(
        "a returned refusal is a user",
        "auth/hook.py",
        "    if isinstance(answer, BaseException):\n",
        "    if False:\n",
        "test_auth_hooks.py::test_what_is_no_answer_refuses",
    ),
    Fault(
        "None and False are users",
        "auth/hook.py",
        ("    if answer is None or answer is False:\n        raise Refused(_NO_USER)\n"),
        "",
        "test_auth_hooks.py::test_none_and_false_refuse",
    ),
    Fault(
        "NotImplemented is a user",
        "auth/hook.py",
        "    if answer is NotImplemented or answer is ...:\n",
        "    if False:\n",
        "test_auth_hooks.py::test_what_is_no_answer_refuses",
    ),
    Fault(
        "an exception of authenticate is told to the client",
        "app/admission.py",
        '        return Refused("the server could not check the credentials")\n\n',
        "        return Refused(str(error))\n\n",
        "test_security_entry.py::test_who_is_not_let_in_is_out",
    ),
    Fault(
        "a use of a token is not given back",
        "auth/hold.py",
        "        self._give_back()\n",
        "",
        "test_auth_holds.py::test_a_hold_ends_once",
    ),
    Fault(
        "a use is both confirmed and given back",
        "auth/hold.py",
        (
            "            if self._confirmed is not None:\n"
            "                return False\n"
            "            self._confirmed = False"
        ),
        "            self._confirmed = False",
        "test_auth_holds.py::test_a_hold_ends_once",
    ),
    Fault(
        "applications may bind our own actions",
        "app/handlers.py",
        "    if isinstance(action, str) and action.startswith(RESERVED):  # the codec",
        "    if False:  # the codec",
        "test_dispatch.py::test_our_own_actions_cannot_be_bound",
    ),
    Fault(
        "a token may have any lifetime",
        "auth/tokens.py",
        '        number("lifetime", lifetime, 0, unit="seconds, or None for ever")',
        "        pass",
        "test_auth_tokens.py::test_impossible_tokens",
    ),
    Fault(
        "an async authenticate lets in",
        "signatures.py",
        (
            "        if inspect.iscoroutinefunction(tried):\n"
            '            return "a coroutine function (async def)"\n'
        ),
        "",
        "test_handlers.py::test_what_would_never_run_is_refused",
    ),
    Fault(
        "an answer that must be awaited is a user",
        "signatures.py",
        '    return "an awaitable" if hasattr(type(result), "__await__") else ""',
        '    return ""',
        "test_auth_hooks.py::test_what_is_no_answer_refuses",
    ),
    Fault(
        "passwords of one name are guessed without end",
        "auth/throttle.py",
        (
            "            if self._tries.count(key) >= MAX_NAME_FAILURES:\n"
            "                return None\n"
        ),
        "",
        "test_floods.py::test_a_name_is_not_guessed_from_everywhere",
    ),
    Fault(
        "the table of failures has no bound",
        "rates.py",
        "            while len(self._counts) >= self._most:",
        "            while False:",
        "test_admission.py::test_the_table_of_failures_is_bounded",
    ),
    Fault(
        "a window never ends",
        "rates.py",
        "        if now - since >= self.seconds:",
        "        if False:",
        "test_admission.py::test_a_budget_of_failures",
    ),
    Fault(
        "a generator is a user",
        "auth/hook.py",
        '    if any(hasattr(kind, name) for name in ("__next__", "__anext__", "__aiter__")):\n',
        "    if False:\n",
        "test_auth_hooks.py::test_what_is_no_answer_refuses",
    ),
    Fault(
        "a name is guessed by everybody at one count",
        "auth/throttle.py",
        ("            key = self._key(name, host)\n            if self._tries"),
        ("            key = name\n            if self._tries"),
        "test_floods.py::test_a_name_is_not_guessed_from_everywhere",
    ),
]
