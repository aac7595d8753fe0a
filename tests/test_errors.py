"""The tree of errors: one root, the built-in bases that people catch, sentences with a hint."""

from __future__ import annotations

import copy
import importlib
import inspect
import multiprocessing
import pickle
import pkgutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import pytest

import securelink
from securelink import errors
from securelink.errors import SecureLinkError

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
