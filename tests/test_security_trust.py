"""Whose key is believed, what is said before that, and what is written down."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers import Hostile, failure

from securelink import (
    AuthorizedClients,
    Client,
    ConfigError,
    Hello,
    Identity,
    Invite,
    KeyFileError,
    KnownServers,
    NotTrusted,
    PeerIncompatible,
    Refused,
    Server,
)
from securelink.codes import Code
from securelink.trust import locked_update

pytestmark = pytest.mark.usefixtures("tidy")

KNOWN = Path("home/known_servers")  # where clients without keys keep it
PASSWORD = {"user": "ada", "password": "correct horse"}


@pytest.fixture
def far_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers count as being on another machine."""
    monkeypatch.setattr("securelink.threads.connecting.is_loopback_host", lambda host: False)


@contextmanager
def serving(identity: Identity, **options: Any) -> Iterator[Server]:
    """A running server."""
    with Server("127.0.0.1", 0, keys=identity, **options) as server:
        yield server


def connect(server: Server, **options: Any) -> None:
    """Open a session and close it."""
    with Client("127.0.0.1", server.address[1], **options):
        pass


def test_the_first_meeting_is_remembered(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """The key of a server that is met for the first time is accepted, written down and logged."""
    with serving(identity) as server:
        connect(server)
        assert KnownServers(KNOWN).get("127.0.0.1", server.address[1]) == identity.fingerprint
        assert f"its key is {identity.fingerprint}, remembered in" in caplog.text
        caplog.clear()
        connect(server)
    assert "first connection" not in caplog.text


@pytest.mark.parametrize("credentials", [None, PASSWORD])
def test_a_connection_does_not_wait_for_the_file(
    identity: Identity, caplog: pytest.LogCaptureFixture, credentials: object
) -> None:
    """Who holds the lock of known_servers holds up nobody beyond the time-out; what could not be stored is logged."""
    with serving(identity) as server, locked_update(KNOWN):
        client = Client("127.0.0.1", server.address[1], credentials=credentials, trust="first-use")
        began = time.monotonic()
        with client.connect(4.0):
            assert time.monotonic() - began < 4.0  # half of it is for the lock
        assert "could not be written down" in caplog.text
        assert KnownServers(KNOWN).entries() == []


def test_a_changed_key_is_refused(identity: Identity, other_identity: Identity) -> None:
    """Another key than the one known is an error with both fingerprints and the way on; the file stays as it was."""
    with serving(other_identity) as server:
        known = KnownServers(KNOWN)
        known.remember("127.0.0.1", server.address[1], identity.fingerprint)
        before = KNOWN.read_bytes()
        for trust in (None, "known", "first-use"):
            client = Client("127.0.0.1", server.address[1], trust=trust)
            error = failure(NotTrusted, client.connect, "HAS CHANGED", "securelink keys forget 127")
            assert (error.fingerprint, error.expected) == (
                other_identity.fingerprint,
                identity.fingerprint,
            )
        assert KNOWN.read_bytes() == before
        assert not server.sessions


def test_a_pin_that_contradicts_what_is_known(identity: Identity, other_identity: Identity) -> None:
    """Whichever of the two is right, one is wrong: no connection is tried."""
    KnownServers(KNOWN).remember("127.0.0.1", 1, identity.fingerprint)
    client = Client("127.0.0.1", 1, pin=other_identity.fingerprint)
    failure(NotTrusted, client.connect, "contradicts", "keys forget")


@pytest.mark.usefixtures("far_away")
def test_credentials_are_not_for_whoever_answers(identity: Identity) -> None:
    """On first use of a server on another machine no credentials are sent; the error has the fingerprint."""
    seen: list[object] = []

    def authenticate(hello: Hello) -> str:
        seen.append(hello.credentials)
        return "ada"

    with serving(identity, authenticate=authenticate) as server:
        for options in (
            {"credentials": PASSWORD},
            {"token": "4b2f6e4e-6f0c-4a53-9a5e-0d8f6f2f1c11"},
        ):
            client = Client("127.0.0.1", server.address[1], **options)
            error = failure(NotTrusted, client.connect, "not known here", "use an invite, or check")
            assert error.fingerprint == identity.fingerprint
        assert not seen
        assert not KNOWN.exists()
        # Each of these is a decision of the user.
        connect(server, credentials=PASSWORD, pin=identity.fingerprint)
        connect(server, credentials=PASSWORD, trust="first-use")
        connect(server, credentials=PASSWORD)  # known by now
        assert seen == [PASSWORD] * 3


@pytest.mark.usefixtures("far_away")
def test_without_credentials_a_first_use_is_allowed(identity: Identity) -> None:
    """Nothing can be stolen then; the key is remembered."""
    with serving(identity) as server:
        connect(server)
        assert KNOWN.exists()


def test_known_servers_only(identity: Identity) -> None:
    """With trust="known" there is no first use."""
    with serving(identity) as server:
        client = Client("127.0.0.1", server.address[1], trust="known")
        failure(NotTrusted, client.connect, "not known here", "securelink keys trust 127")
        assert not KNOWN.exists()


def test_a_failed_attempt_writes_nothing(identity: Identity) -> None:
    """A first use is written down only after WELCOME: a refusal leaves no trace of the key."""

    def refuse(hello: object) -> None:
        raise Refused("not today")

    with serving(identity, authenticate=refuse) as server:
        client = Client("127.0.0.1", server.address[1], credentials=PASSWORD)
        failure(Refused, client.connect, "not today")
    assert not KNOWN.exists()


def test_a_damaged_file_is_never_a_first_use(identity: Identity) -> None:
    """A `known_servers` that cannot be read stops every connection, and is left as it is."""
    KNOWN.parent.mkdir(mode=0o700)
    KNOWN.write_text("this is no entry\n")
    KNOWN.chmod(0o600)
    with serving(identity) as server:
        failure(KeyFileError, lambda: connect(server), "known_servers:1: ", "line")
        pinned = Client("127.0.0.1", server.address[1], pin=identity.fingerprint)
        failure(KeyFileError, pinned.connect, "known_servers:1: ", "line")
        assert not server.sessions
    assert KNOWN.read_text() == "this is no entry\n"


def test_optional_is_required_where_a_key_is_expected(identity: Identity) -> None:
    """A client that knows the server's key, or has a pin, takes no plaintext although it says "optional"."""
    with serving(identity, encryption="off") as server:
        port = server.address[1]
        pinned = Client("127.0.0.1", port, encryption="optional", pin=identity.fingerprint)
        failure(PeerIncompatible, pinned.connect, "switched off", "anyone on the path")
        KnownServers(KNOWN).remember("127.0.0.1", port, identity.fingerprint)
        known = Client("127.0.0.1", port, encryption="optional")
        failure(PeerIncompatible, known.connect, "switched off", "anyone on the path")
        assert not server.sessions


def test_off_is_the_users_word(identity: Identity, caplog: pytest.LogCaptureFixture) -> None:
    """encryption="off" towards a known server works, with a warning; with a pin or an invite it is an error."""
    invite = Invite("127.0.0.1", 5050, identity.fingerprint)
    why = "cannot be checked without encryption"
    failure(ConfigError, lambda: Client(str(invite), encryption="off"), why, "drop")
    pin = identity.fingerprint
    failure(ConfigError, lambda: Client("host", 5050, pin=pin, encryption="off"), why, "drop")
    with serving(identity, encryption="optional") as server:
        KnownServers(KNOWN).remember("127.0.0.1", server.address[1], identity.fingerprint)
        connect(server, encryption="off")
    assert "has a known key, but encryption is off here" in caplog.text
    assert "PLAINTEXT session" in caplog.text


def test_known_and_off_contradict() -> None:
    """trust="known" with encryption="off" is an error, as a pin is: there is no key to look at."""
    options: list[dict[str, Any]] = [{}, {"credentials": PASSWORD}, {"plaintext_credentials": True}]
    for more in options:
        failure(
            ConfigError,
            partial(Client, "host", 5050, trust="known", encryption="off", **more),
            "cannot be checked without encryption",
            "drop encryption='off'",
        )


@pytest.mark.usefixtures("far_away")
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("trust", [None, "first-use"])
def test_credentials_in_clear_need_a_word_of_their_own(
    trust: str | None, known: bool, identity: Identity
) -> None:
    """Without encryption no credentials go to another machine, known or not, unless plaintext_credentials says so."""
    seen: list[object] = []

    def authenticate(hello: Hello) -> str:
        seen.append(hello.credentials)
        return "ada"

    with serving(identity, encryption="off", authenticate=authenticate) as server:
        port = server.address[1]
        if known:
            KnownServers(KNOWN).remember("127.0.0.1", port, identity.fingerprint)
        secrets: list[dict[str, Any]] = [
            {"credentials": PASSWORD},
            {"credentials": lambda binding, fingerprint: PASSWORD},
            {"token": "4b2f6e4e-6f0c-4a53-9a5e-0d8f6f2f1c11"},
        ]
        for secret in secrets:
            off = Client("127.0.0.1", port, trust=trust, encryption="off", **secret)
            failure(ConfigError, off.connect, "could read the credentials", "plaintext_credentials")
            # Whoever answers "I have no encryption" gets nothing either.
            optional = Client("127.0.0.1", port, trust=trust, encryption="optional", **secret)
            failure(PeerIncompatible, optional.connect, "switched off", "anyone on the path")
        assert not seen
        connect(server, encryption="off", trust=trust)  # nothing that could be read
        options: dict[str, Any] = {
            "encryption": "off",
            "plaintext_credentials": True,
            "trust": trust,
        }
        connect(server, credentials=PASSWORD, **options)
        assert seen == [None, PASSWORD]


@pytest.mark.usefixtures("far_away")
def test_a_word_for_plaintext_credentials_is_none_for_unknown_keys(identity: Identity) -> None:
    """plaintext_credentials allows "optional" to end in plaintext only where any key would have been accepted."""
    seen: list[object] = []

    def authenticate(hello: Hello) -> str:
        seen.append(hello.credentials)
        return "ada"

    with serving(identity, encryption="off", authenticate=authenticate) as server:
        options: dict[str, Any] = {
            "credentials": PASSWORD,
            "encryption": "optional",
            "plaintext_credentials": True,
        }
        for trust in (None, "known"):
            client = Client("127.0.0.1", server.address[1], trust=trust, **options)
            failure(PeerIncompatible, client.connect, "switched off", "anyone on the path")
        assert not seen
        connect(server, trust="first-use", **options)
        assert seen == [PASSWORD]


def test_loopback_may_be_asked_for_its_key(identity: Identity) -> None:
    """A port forward makes loopback another machine: with trust="known" an unknown one gets no credentials either."""
    with serving(identity) as server:
        client = Client("127.0.0.1", server.address[1], trust="known", credentials=PASSWORD)
        failure(NotTrusted, client.connect, "not known here", "securelink keys trust")
        assert not server.sessions


@pytest.mark.parametrize("side", ["server", "client"])
def test_plaintext_is_announced(
    side: str, identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """Both ends warn, once, that anyone on the path can read and change everything."""
    with serving(identity, encryption="off") as server:
        connect(server, encryption="off")
    warnings = [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.WARNING and record.name == f"securelink.{side}"
    ]
    assert len(warnings) == 1
    assert "anyone on the path can read and change everything" in warnings[0]


# --- clients' keys ---------------------------------------------------------------------------------------


class Liar:
    """Shows one key and signs with another."""

    def __init__(self, shown: Identity, held: Identity) -> None:
        self.public = shown.public
        self.sign = held.sign


def test_a_client_key_is_looked_up_after_its_signature(
    identity: Identity, other_identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who shows an authorized key without holding it is refused for the signature; the list is not even asked."""
    AuthorizedClients("keys/authorized_clients").authorize(other_identity.fingerprint, "ada")
    asked: list[str] = []
    allows = AuthorizedClients.allows

    def spy(clients: AuthorizedClients, fingerprint: str) -> str | None:
        asked.append(fingerprint)
        return allows(clients, fingerprint)

    monkeypatch.setattr(AuthorizedClients, "allows", spy)
    with serving(identity, client_keys="known") as server:
        with Hostile(server.address[1], identity=Liar(other_identity, identity)) as liar:
            liar.hello()
            liar.authenticate()
            liar.flush()
            assert liar.ending()[0] == Code.PROTOCOL
        assert not asked
        connect(server, keys=other_identity)
        assert asked == [other_identity.fingerprint]


def test_an_unknown_client_key_is_refused(identity: Identity, key_pool: list[Identity]) -> None:
    """With client_keys="known" a key that nobody authorized does not enter, and nor does a client without one."""
    AuthorizedClients("keys/authorized_clients").authorize(key_pool[1].fingerprint, "ada")
    with serving(identity, client_keys="known") as server:
        stranger = Client("127.0.0.1", server.address[1], keys=key_pool[2])
        failure(Refused, stranger.connect, "does not know this client's key", "keys authorize")
        nobody = Client("127.0.0.1", server.address[1])
        failure(Refused, nobody.connect, "wants a client key", "keys create")
        plain = Client("127.0.0.1", server.address[1], encryption="off")
        failure(PeerIncompatible, plain.connect, "requires encryption", "required")
        assert not server.sessions


def test_a_client_without_keys_shows_none(identity: Identity) -> None:
    """A client stays anonymous unless it was given a key, whatever lies in its keys folder."""
    identity.save("keys", "client")
    seen: list[str | None] = []

    def authenticate(hello: Hello) -> str:
        seen.append(hello.fingerprint)
        return "somebody"

    with serving(identity, authenticate=authenticate) as server:
        connect(server)
        connect(server, keys="keys")
    assert seen == [None, identity.fingerprint]
