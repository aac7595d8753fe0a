"""The tree of errors: one root, the built-in bases that people catch, sentences with a hint."""

from __future__ import annotations

import copy
import importlib
import inspect
import multiprocessing
import pickle
import pkgutil
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest

import securelink
from securelink import (
    ANYONE,
    AuthorizedClients,
    Client,
    Identity,
    Invite,
    JoinTokens,
    KnownServers,
    Passwords,
    PublicKey,
    Server,
    createEncryptKeys,
    errors,
    seal,
    unseal,
)
from securelink.errors import ConfigError, SecureLinkError

FINGERPRINT = "SHA256:" + "A" * 43

MAKERS: dict[str, Callable[[str, str], SecureLinkError]] = {
    "SecureLinkError": lambda text, hint: errors.SecureLinkError(text, hint=hint),
    "ConfigError": lambda text, hint: errors.ConfigError(text, hint=hint),
    "LimitExceeded": lambda text, hint: errors.LimitExceeded(text, limit="MAX_PACKET", hint=hint),
    "CodecError": lambda text, hint: errors.CodecError(text, hint=hint),
    "ProtocolError": lambda text, hint: errors.ProtocolError(text, code=3, hint=hint),
    "RecordError": lambda text, hint: errors.RecordError(text, code=3, hint=hint),
    "HandshakeError": lambda text, hint: errors.HandshakeError(text, code=3, hint=hint),
    "PeerIncompatible": lambda text, hint: errors.PeerIncompatible(text, code=3, hint=hint),
    "NotTrusted": lambda text, hint: errors.NotTrusted(text, fingerprint=FINGERPRINT, hint=hint),
    "Refused": lambda text, hint: errors.Refused(text, hint=hint),
    "ConnectionClosed": lambda text, hint: errors.ConnectionClosed(text, hint=hint),
    "RequestFailed": lambda text, hint: errors.RequestFailed(text, hint=hint),
    "LinkTimeout": lambda text, hint: errors.LinkTimeout(text, hint=hint),
    "ConnectFailed": lambda text, hint: errors.ConnectFailed(text, hint=hint),
    "KeyFileError": lambda text, hint: errors.KeyFileError(text, hint=hint),
    "StateError": lambda text, hint: errors.StateError(text, hint=hint),
    "UnsealError": lambda text, hint: errors.UnsealError(text, hint=hint),
}

BASES: dict[str, tuple[type[BaseException], ...]] = {
    "ConfigError": (ValueError,),
    "CodecError": (ValueError,),
    "RecordError": (errors.ProtocolError,),
    "PeerIncompatible": (errors.HandshakeError,),
    "NotTrusted": (errors.HandshakeError,),
    "Refused": (errors.HandshakeError,),
    "LinkTimeout": (TimeoutError, OSError),
    "ConnectFailed": (OSError,),
}


def classes() -> dict[str, type[BaseException]]:
    return {
        name: value
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, BaseException)
    }


def test_every_error_is_listed_here() -> None:
    """A class added to the module is covered by these tables, or this fails."""
    assert set(classes()) == set(MAKERS)


@pytest.mark.parametrize("name", MAKERS)
def test_one_root_catches_everything(name: str) -> None:
    """`except SecureLinkError` catches whatever the library raises on purpose."""
    with pytest.raises(SecureLinkError):
        raise MAKERS[name]("it broke", "")


@pytest.mark.parametrize("name", BASES)
def test_bases_that_people_catch(name: str) -> None:
    """Each error is also the built-in error, or the group, that its docstring promises."""
    for base in BASES[name]:
        with pytest.raises(base):
            raise MAKERS[name]("it broke", "")


@pytest.mark.parametrize("name", sorted(set(MAKERS) - set(BASES)))
def test_the_others_have_no_further_base(name: str) -> None:
    """Errors outside that table are caught by the root only, not as a ValueError or OSError."""
    made = MAKERS[name]("it broke", "")
    assert not isinstance(made, ValueError | OSError)
    assert type(made) in (SecureLinkError, *SecureLinkError.__subclasses__())


@pytest.mark.parametrize("name", MAKERS)
def test_text_and_hint(name: str) -> None:
    """`str()` is the sentence, with what to do next behind it when there is something to do."""
    plain, hinted = MAKERS[name]("it broke", ""), MAKERS[name]("it broke", "mend it")
    assert (str(plain), plain.message, plain.hint) == ("it broke", "it broke", "")
    assert (str(hinted), hinted.message, hinted.hint) == (
        "it broke; mend it",
        "it broke",
        "mend it",
    )


def test_fields_of_their_own() -> None:
    """The errors that carry more than a sentence carry it as attributes."""
    assert errors.LimitExceeded("too long", limit="MAX_PACKET").limit == "MAX_PACKET"
    assert (errors.ProtocolError("odd").code, errors.ProtocolError("odd", code=7).code) == (1, 7)
    assert (errors.HandshakeError("odd").code, errors.RecordError("odd", code=9).code) == (1, 9)
    trust = errors.NotTrusted("changed", fingerprint=FINGERPRINT, expected="SHA256:B")
    assert (trust.fingerprint, trust.expected, trust.code) == (FINGERPRINT, "SHA256:B", 5)
    assert errors.NotTrusted("unknown", fingerprint=FINGERPRINT).expected is None
    failed = errors.RequestFailed("not you", reason="refused")
    assert (failed.text, failed.reason) == ("not you", "refused")
    assert "no handler" in str(errors.RequestFailed(reason="no handler"))
    closed = errors.ConnectionClosed("over", code=4, text="bye", clean=True)
    assert (closed.code, closed.text, closed.clean) == (4, "bye", True)


def test_a_refusal_without_words() -> None:
    """A refusal has a sentence even when the server gave none, and its own words are kept apart."""
    assert (str(errors.Refused()), errors.Refused().text) == (
        "the server refused this client",
        "",
    )
    assert (errors.Refused("closed today").text, errors.Refused().code) == ("closed today", 16)


def our_errors() -> list[type[SecureLinkError]]:
    """Every class of the library that is one of its errors, wherever it is defined."""
    for module in pkgutil.walk_packages(securelink.__path__, "securelink."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, more = [], [SecureLinkError]
    while more:
        found.append(kind := more.pop())
        more += kind.__subclasses__()
    return [kind for kind in found if kind.__module__.startswith("securelink")]


def example(kind: type[SecureLinkError]) -> SecureLinkError:
    """One of these, with every argument given a value of its own."""
    values: dict[str, object] = {"clean": True, "code": 19, "version": 7, "expected": None}
    arguments: dict[str, object] = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        value = values.get(name, f"the {name}")
        arguments[name] = value
        assert parameter.kind is not parameter.VAR_KEYWORD
    return kind(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", our_errors(), ids=lambda kind: kind.__name__)
def test_errors_survive_the_way_to_another_process(kind: type[SecureLinkError]) -> None:
    """Pickled, copied and deeply copied, an error is the same: class, text, hint and all of its fields, notes too."""
    error = example(kind)
    error.add_note("a note")
    ways: list[Callable[[SecureLinkError], SecureLinkError]] = [copy.copy, copy.deepcopy]
    ways += [
        lambda error, version=version: pickle.loads(pickle.dumps(error, version))  # type: ignore[misc]
        for version in range(pickle.HIGHEST_PROTOCOL + 1)
    ]
    for way in ways:
        again = way(error)
        assert type(again) is type(error)
        assert (str(again), repr(again), again.args) == (str(error), repr(error), error.args)
        assert vars(again) == vars(error)
        assert type(getattr(again, "code", None)) is type(getattr(error, "code", None))


def test_errors_come_out_of_a_pool_of_processes() -> None:
    """What a worker of a process pool raises arrives as it was."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        raised = pool.submit(_raise_in_a_worker)
        with pytest.raises(errors.LimitExceeded) as caught:
            raised.result(120)
    assert (caught.value.limit, caught.value.hint) == ("MAX_SEALED", "split it")


def _raise_in_a_worker() -> None:
    raise errors.LimitExceeded("too much", limit="MAX_SEALED", hint="split it")


TOKEN = "6e0d5a6c-1d2e-4f3a-8b4c-9d5e6f708192"  # made up
LINK = f"securelink://game.example:5050/SHA256:{'A' * 43}/{TOKEN}"
PEM = "-----BEGIN {0}-----\nMIIEvSECRETSECRET\n-----END {0}-----\n".format("PRIVATE KEY")


def in_the_wrong_place(secret: str, folder: Path) -> list[Callable[[], object]]:
    """Calls with a secret where something else belongs."""
    identity = Identity.load(folder / "keys" / "server_private.pem")
    anything = cast(Any, secret)
    authorized = AuthorizedClients(folder / "authorized_clients")
    return [
        lambda: Client("127.0.0.1", anything),
        lambda: Client("127.0.0.1", anything + "x"),
        lambda: Client("127.0.0.1", cast(Any, f"5/{secret}")),
        lambda: Client("127.0.0.1", cast(Any, [secret])),
        lambda: Client(secret, 5050).connect(1),
        lambda: Client(f"5/{secret}", 5050),
        lambda: Client(f"{secret}:5050", 5050),
        lambda: Client(f"{secret}@127.0.0.1", 5050),
        lambda: Client(secret[3:], 5050).connect(1),
        lambda: Client("127.0.0.1", 5050, pin=secret),
        lambda: Client("127.0.0.1", 5050, pin=f"SHA256:{'A' * 43}/{secret}"),
        lambda: Client("127.0.0.1", 5050, trust=secret),
        lambda: Client("127.0.0.1", 5050, encryption=secret),
        lambda: Client("127.0.0.1", 5050, token=cast(Any, [secret])),
        lambda: Client("127.0.0.1", 5050, application=cast(Any, [secret])),
        lambda: Server(secret, anything, keys=identity),
        lambda: Server("127.0.0.1", 0, keys=identity, authenticate=secret),
        lambda: Server("127.0.0.1", 0, keys=identity, workers=anything),
        lambda: Server("127.0.0.1", 0, keys=identity, heartbeat=anything),
        lambda: Server("127.0.0.1", 0, keys=identity, client_keys=secret),
        lambda: Server("127.0.0.1", 0, keys=identity, trusted_proxies=[secret]),
        lambda: Server("127.0.0.1", 0, keys=identity).stop(anything),
        lambda: Invite(f"{secret}/x", 5050, f"SHA256:{'A' * 43}"),
        lambda: Invite("127.0.0.1", anything, f"SHA256:{'A' * 43}"),
        lambda: Invite("127.0.0.1", 5050, secret),
        lambda: Invite("127.0.0.1", 5050, f"SHA256:{'A' * 43}", secret + "x"),
        lambda: Invite.parse(secret + "x y"),
        lambda: createEncryptKeys(folder, "server", anything),
        lambda: createEncryptKeys(folder, secret + "/"),
        lambda: Identity.load(PEM),
        lambda: Identity.load(cast(Any, PEM.encode())),
        lambda: PublicKey.load(PEM),
        lambda: Identity.from_pem(secret),
        lambda: Identity.from_pem(cast(Any, [secret])),
        lambda: authorized.authorize(secret, "ann"),
        lambda: authorized.authorize(f"SHA256:{'A' * 43}", f"{secret}#"),
        lambda: KnownServers(folder / "known_servers").remember(f"{secret} #", 5050, f"SHA256:{'A' * 43}"),
        lambda: JoinTokens(folder / "join_tokens.json").create(uses=anything),
        lambda: JoinTokens(folder / "join_tokens.json").create(lifetime=anything),
        lambda: Passwords(folder / "passwords.json", cost=anything),
        lambda: seal(("a", 1), identity.public, sender=anything),
        lambda: unseal(b"", identity, sender=ANYONE, max_age=anything),
    ]  # fmt: skip


@pytest.mark.parametrize("secret", [TOKEN, LINK])
def test_no_error_quotes_what_looks_like_a_secret(secret: str, tmp_path: Path) -> None:
    """A token, an invite or a key that came into the place of another argument is in no error that this causes."""
    createEncryptKeys(tmp_path / "keys", bits=2048)
    for number, call in enumerate(in_the_wrong_place(secret, tmp_path)):
        try:
            call()
        except SecureLinkError as error:
            told = "".join(traceback.format_exception(error, chain=True)).splitlines()
            lines = [line for line in told if not line.startswith("    ")]  # without our own source
            text = f"{error!r} {lines} {error.hint}"
            assert TOKEN not in text, number
            assert TOKEN[3:-1] not in text, number
            assert "SECRET" not in text, number


def test_no_error_quotes_a_password_in_the_place_of_a_number(tmp_path: Path) -> None:
    """A word where a number belongs is most likely the next argument: a passphrase."""
    for call in (
        lambda: createEncryptKeys(tmp_path, "server", "hunter2 hunter2"),  # type: ignore[arg-type]
        lambda: Client("127.0.0.1", "hunter2"),  # type: ignore[arg-type]
        lambda: Client("127.0.0.1", b"hunter2"),  # type: ignore[arg-type]
        lambda: Client("127.0.0.1", "5/hunter2"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ConfigError) as caught:
            call()
        assert "hunter2" not in str(caught.value)
