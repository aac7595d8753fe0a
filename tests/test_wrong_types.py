"""Every public callable, given values of wrong types in each place: one kind of error comes out, never a raw one."""

from __future__ import annotations

import inspect
import math
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from together import joined, serving

import securelink
from securelink import (
    ANYONE,
    AuthorizedClients,
    Client,
    Collector,
    EventHook,
    Identity,
    Invite,
    JoinTokens,
    KnownServers,
    Packet,
    Passwords,
    PublicKey,
    SecureLinkError,
    Session,
    createEncryptKeys,
    escaped,
    first_of,
    payload,
    seal,
    unseal,
)

pytestmark = pytest.mark.usefixtures("tidy")

FINGERPRINT = "SHA256:" + "A" * 43


class Odd:
    """Fails whatever is asked of it."""

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        raise OSError

    def __eq__(self, other: object) -> bool:
        raise OSError

    def __bool__(self) -> bool:
        raise OSError


WRONG: tuple[Any, ...] = (
    5, -5, 2.5, None, True, [], [[]], {}, {"a": set()}, (), b"", b"bytes", bytearray(b"x"), "", "a\0b", "\ud800",
    "x" * 70_000, math.nan, math.inf, -math.inf, 10**400, 1j, object(), object, len, set(), lambda: None,
    Odd(), range(3), memoryview(b"x"), iter(()),
)  # fmt: skip
RAW = (
    TypeError, AttributeError, KeyError, ValueError, OverflowError, IndexError, AssertionError, RecursionError,
)  # fmt: skip
#: What a caller may break by its own object: these come from the object, not from the library's body.
OWN = (OSError,)


class Case:
    """A callable, and arguments with which it works."""

    def __init__(self, name: str, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> None:
        self.name = name
        self.call = call
        self.args = args
        self.kwargs = kwargs

    def variants(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        """Each argument in turn replaced by each wrong value."""
        for place in range(len(self.args)):
            for value in WRONG:
                args = (*self.args[:place], value, *self.args[place + 1 :])
                yield (
                    f"{self.name}: argument {place}, a {type(value).__name__}",
                    lambda args=args: self.call(*args, **self.kwargs),  # type: ignore[misc]
                )
        for key in self.kwargs:
            for value in WRONG:
                kwargs = self.kwargs | {key: value}
                yield (
                    f"{self.name}: {key}=, a {type(value).__name__}",
                    lambda kwargs=kwargs: self.call(*self.args, **kwargs),  # type: ignore[misc]
                )


def raw_errors(cases: list[Case]) -> list[str]:
    """What came out that is no error of ours."""
    found = []
    for case in cases:
        for what, call in case.variants():
            try:
                call()
            except (SecureLinkError, *OWN):
                pass
            except RAW as error:
                last = traceback.extract_tb(error.__traceback__)[-1]
                where = f"{Path(last.filename).name}:{last.lineno}"
                found.append(f"{what}: {type(error).__name__}: {str(error)[:80]} ({where})")
    return found


def none(found: list[str]) -> None:
    """Nothing raw came out."""
    if found:
        pytest.fail("\n".join(["", *found]), pytrace=False)


def takes(*names: str) -> Callable[..., None]:
    """A function with these arguments."""
    scope: dict[str, Any] = {}
    exec(f"def f({', '.join(names)}): pass", scope)
    function: Callable[..., None] = scope["f"]
    return function


def test_keys(identity: Identity, tmp_path: Path) -> None:
    """Identities, public keys and sealed packets."""
    public = identity.public
    pem = identity.to_pkcs1_pem()
    blob = seal(("a", 1), public, sender=identity)
    none(raw_errors([
        Case("Identity.generate", lambda b: b == 2048 or Identity.generate(b), 2048),
        Case("Identity.load", Identity.load, tmp_path / "none", "word"),
        Case("Identity.from_pem", Identity.from_pem, pem, "word", source="it"),
        Case("Identity.from_rsa", Identity.from_rsa, identity.to_rsa()),
        Case("Identity.save", identity.save, tmp_path / "none", "server", "word"),
        Case("Identity.sign", identity.sign, b"m"),
        Case("Identity.decrypt", identity.decrypt, b"c", b"l"),
        Case("Identity.to_pkcs8_pem", identity.to_pkcs8_pem, "word"),
        Case("Identity", Identity, identity, path=tmp_path),
        Case("PublicKey", PublicKey, public),
        Case("PublicKey.load", PublicKey.load, tmp_path / "none"),
        Case("PublicKey.from_pem", PublicKey.from_pem, public.to_pem(), source="it"),
        Case("PublicKey.from_spki", PublicKey.from_spki, public.spki),
        Case("PublicKey.from_rsa", PublicKey.from_rsa, public.to_rsa()),
        Case("PublicKey.verify", public.verify, identity.sign(b"m"), b"m"),
        Case("PublicKey.encrypt", public.encrypt, b"m", b"l"),
        Case("seal", seal, ("a", 1), public, sender=identity, now=takes(), random=takes("n")),
        Case("unseal", unseal, blob, identity, sender=ANYONE, max_age=60, now=takes()),
        Case("unseal from", unseal, blob, identity, sender=public),
    ]))  # fmt: skip


def test_files(tmp_path: Path) -> None:
    """Files of trust, tokens and passwords, and invites."""
    known = KnownServers(tmp_path / "known_servers")
    authorized = AuthorizedClients(tmp_path / "authorized_clients")
    tokens = JoinTokens(tmp_path / "join_tokens.json")
    passwords = Passwords(tmp_path / "passwords.json", cost=2)
    cases = [
        Case("KnownServers", lambda p: KnownServers(p).entries(), tmp_path / "x"),
        Case("AuthorizedClients", lambda p: AuthorizedClients(p).entries(), tmp_path / "x"),
        Case("JoinTokens", lambda p: JoinTokens(p).entries(), tmp_path / "x"),
        Case("Passwords", lambda p, cost: Passwords(p, cost=cost), tmp_path / "x", cost=2),
        Case("createEncryptKeys", lambda d, n, b: createEncryptKeys(d, n, b), tmp_path, "-", 2048),
        Case("Invite", Invite, "localhost", 5, FINGERPRINT, None),
        Case("Invite.parse", Invite.parse, "x"),
        Case("escaped", escaped, "x"),
    ]
    arguments: dict[str, Any] = {
        "host": "localhost", "port": 5050, "fingerprint": FINGERPRINT, "name": "ann", "user": "ann",
        "password": "correct horse",
        "comment": "it", "note": "it", "uses": 1, "lifetime": 5.0, "token_or_id": "x", "fingerprint_or_name": "ann",
        "replace": False, "until": 1e10, "old": FINGERPRINT, "new": FINGERPRINT, "hello": None,
    }  # fmt: skip
    for thing in (known, authorized, tokens, passwords):
        for name, method in inspect.getmembers(thing, callable):
            if name.startswith("_"):
                continue
            given = {key: arguments.get(key) for key in inspect.signature(method).parameters}
            cases.append(
                Case(f"{type(thing).__name__}.{name}", lambda m=method, **kw: m(**kw), **given)
            )
    none(raw_errors(cases))


def test_functions(identity: Identity) -> None:
    """The other public functions and classes."""
    event: EventHook[[]] = EventHook("it", None, ())
    none(raw_errors([
        Case("first_of", first_of, takes("hello"), takes("hello")),
        Case("payload", payload, Odd),
        Case("Collector", Collector, event, 5),
        Case("EventHook.add_listener", event.add_listener, takes()),
        Case("EventHook.remove_listener", event.remove_listener, takes()),
        Case("Packet", Packet, "a", 1, None, 0.0),
    ]))  # fmt: skip


def test_servers_and_clients(identity: Identity) -> None:
    """Methods of both sides, connected, with every argument in turn."""
    with (
        serving(identity, authenticate="tokens") as server,
        joined(server, token=server.create_token()) as [client],
    ):
        (session,) = server.sessions.values()
        assert isinstance(client, Client)
        assert isinstance(session, Session)
        server.policy("moves", "latest")  # with one, each packet is looked up among them
        client.policy("moves", "latest")
        both = [
            ("server", server, ("start", "stop", "serve_forever", "drain", "update", "pause")),
            ("session", session, ("kick", "close", "request", "ping")),
            ("client", client, ("connect", "close", "receive", "poll", "update", "wait_for", "request", "ping")),
            ("room", server.room("r"), ()),
        ]  # fmt: skip
        values: dict[str, Any] = {
            "action": "a", "data": 1, "headers": None, "latest": None, "name": "r", "value": 1, "text": "x",
            "code": 7, "to": (), "exclude": (), "handler": takes("a", "b"), "data_type": int, "user": None,
            "address": None,
            "uses": 1, "lifetime": 5.0, "host": None, "authorized": AuthorizedClients("x"),
            "concerns": takes("session"),
            "reason": "x", "name_of": takes("fingerprint"), "session": session,
        }  # fmt: skip
        cases = []
        for where, thing, left_out in both:
            for name, method in inspect.getmembers(thing, inspect.ismethod):
                if name.startswith("_") or name in left_out:
                    continue
                given = {
                    key: values.get(key)
                    for key, parameter in inspect.signature(method).parameters.items()
                    if key != "timeout" and parameter.kind is not parameter.VAR_POSITIONAL
                }
                cases.append(Case(f"{where}.{name}", lambda m=method, **kw: m(**kw), **given))
        found = raw_errors(cases)
    none(found)


#: What the library makes, and a function without arguments.
MADE_FOR_USERS = (
    "CaughtError", "Code", "Hello", "Received", "Room", "Typed", "Unsealed", "show_status",
)  # fmt: skip


def test_every_public_name_is_tried() -> None:
    """What is new in the library's namespace belongs into this file."""
    text = Path(__file__).read_text()
    for name in securelink.__all__:
        thing = getattr(securelink, name)
        if not callable(thing) or (isinstance(thing, type) and issubclass(thing, Exception)):
            continue
        assert name in text or name in MADE_FOR_USERS, name
