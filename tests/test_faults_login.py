"""Clients that may not enter: tokens, passwords, keys, and hooks that fail, hang or are left alone."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from helpers import WAIT, Hostile, Scene, echo, failure, scene, secrets, until

from securelink import (
    AuthorizedClients,
    Client,
    ConfigError,
    HandshakeError,
    Hello,
    Identity,
    JoinTokens,
    LinkTimeout,
    NotTrusted,
    Passwords,
    Refused,
    SecureLinkError,
    first_of,
)
from securelink.codes import Code

pytestmark = pytest.mark.usefixtures("tidy")

STRANGER = "c56a4180-65aa-42ec-a945-5fd21dec0538"  # a token that nobody made


def refused(client: Client, says: str, code: int = Code.REFUSED) -> Refused:
    """The refusal that a client gets; nothing of what it sent is in it or in the log."""
    error = failure(Refused, client.connect, says)
    assert error.code == code
    assert error.text
    return error


# --- join tokens --------------------------------------------------------------------------------------


def test_every_bad_token_has_its_own_answer(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """Wrong, used up, expired, revoked, mangled and missing tokens: the client is told which, and what to do."""
    now = [1_700_000_000.0]
    tokens = JoinTokens(now=lambda: now[0])
    mine = tokens.create("neighbour")
    once, brief, withdrawn = (
        tokens.create("ada"), tokens.create(lifetime=60), tokens.create(),
    )  # fmt: skip
    for token in (mine, once, brief, withdrawn, STRANGER):
        secrets.add(token)
    with scene(identity, authenticate=tokens, neighbour={"token": mine}) as stage:
        with stage.client(token=once) as first:
            assert stage.session(first).user == "ada"
            refused(stage.client(token=once), "is used up; ask for a new invite")
            assert echo(first, "still in")
        now[0] += 61
        tokens.revoke(withdrawn)
        refused(stage.client(token=brief), "has expired; ask for a new invite")
        refused(stage.client(token=withdrawn), "was revoked; ask for a new invite")
        refused(stage.client(token=STRANGER), "is not valid here; ask for a new invite")
        refused(stage.client(token=once[:-1]), "not a whole join token; paste the invite again")
        refused(stage.client(), "this server asks for a join token")
        refused(stage.client(credentials={"token": 7}), "this server asks for a join token")
        until(stage.alone)
    assert caplog.text.count("failed: this join token") == 4


def test_two_clients_and_one_token(identity: Identity) -> None:
    """Of clients that bring the same token at the same time exactly as many enter as it has uses."""
    tokens = JoinTokens()
    token = tokens.create(uses=2)
    secrets.add(token)
    mine = tokens.create()
    with (
        scene(identity, authenticate=tokens, neighbour={"token": mine}) as stage,
        ExitStack() as stack,
    ):
        outcomes: list[str] = []

        def enter() -> None:
            try:
                client = stage.client(token=token).connect()
            except Refused as refusal:
                outcomes.append(refusal.text)
            else:
                stack.callback(client.close)
                outcomes.append("entered")

        threads = [threading.Thread(target=enter) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
    assert sorted(outcomes) == ["entered"] * 2 + [
        "this join token is used up; ask for a new invite"
    ] * 4  # fmt: skip


# --- passwords ------------------------------------------------------------------------------------------


def test_wrong_passwords_are_all_the_same(identity: Identity) -> None:
    """A wrong password and an unknown name give one answer; other kinds of credentials are told what is asked for."""
    passwords = Passwords(cost=2**5)
    passwords.add("ada", "correct horse")
    mine = {"user": "ada", "password": "correct horse"}
    for secret in ("correct horse", "battery staple"):
        secrets.add(secret)
    with scene(identity, authenticate=passwords, neighbour={"credentials": mine}) as stage:
        wrong = [
            {"user": "ada", "password": "battery staple"},
            {"user": "eve", "password": "correct horse"},
            {"user": "ADA", "password": "correct horse"},
        ]
        texts = {refused(stage.client(credentials=login), "").text for login in wrong}
        assert len(texts) == 1
        for login in (None, "correct horse", {"user": "ada"}, [mine], {"token": STRANGER}):
            refused(stage.client(credentials=login), "this server asks for a .*password")
        until(stage.alone)


def test_two_kinds_of_credentials(identity: Identity) -> None:
    """A server that takes either says so to whoever brings neither."""
    tokens, passwords = JoinTokens(), Passwords(cost=2**5)
    mine = tokens.create()
    secrets.add(mine)
    entrance = first_of(tokens, passwords)
    with scene(identity, authenticate=entrance, neighbour={"token": mine}) as stage:
        refused(stage.client(), "asks for a join token, .*password")


# --- credentials ------------------------------------------------------------------------------------------


def test_credentials_that_cannot_be_sent(identity: Identity) -> None:
    """What does not fit is a mistake of the caller, named without the secret itself."""
    secrets.add("my secret")
    with scene(identity) as stage:
        deep: Any = "my secret"
        for _ in range(9):
            deep = [deep]
        for credentials, says in (
            ("my secret" * 500, "cannot be sent: .*4,500 bytes|4,503 bytes"),
            (deep, "cannot be sent: .*nested deeper than 8"),
            ({"password": object()}, "cannot be sent"),
        ):
            client = stage.client(credentials=credentials)
            failure(ConfigError, client.connect, says, "4,096 bytes.*8 levels")
        until(stage.alone)


def test_credentials_that_cannot_be_made(identity: Identity) -> None:
    """A function that raises ends the attempt with its own error, and the server forgets the attempt."""

    def ask(binding: bytes | None, fingerprint: str | None) -> str:
        raise EOFError("nobody is there to ask")

    with scene(identity) as stage:
        client = stage.client(credentials=ask)
        failure(EOFError, client.connect, "")
        until(stage.alone)
        failure(ConfigError, lambda: client.send("echo"), "not connected", "connect")


def test_credentials_stay_home_when_the_server_is_a_stranger(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another machine an unknown server gets no credentials; each way that the error names works."""
    monkeypatch.setattr("securelink.threads.connecting.is_loopback_host", lambda sock: False)
    tokens = JoinTokens()
    asked: list[object] = []

    def authenticate(hello: Hello) -> str:
        asked.append(hello.credentials)
        return tokens(hello)

    mine = tokens.create()
    with scene(identity, authenticate=authenticate, neighbour={"token": mine}) as stage:
        token = tokens.create(uses=None)
        secrets.add(token)
        asked.clear()
        stranger = Client("127.0.0.1", stage.port, token=token)
        error = failure(
            NotTrusted, stranger.connect, "the credentials would go to whoever answers; its key is SHA256:",
            "use an invite, or check the fingerprint and pass pin=, or accept any key with trust='first-use'",
        )  # fmt: skip
        assert error.fingerprint == identity.fingerprint
        until(stage.alone)
        assert asked == []
        invite = f"securelink://127.0.0.1:{stage.port}/?key=" + identity.fingerprint.replace(
            "+", "-"
        ).replace("/", "_")
        for client in (
            Client(f"{invite}&token={token}"),
            Client("127.0.0.1", stage.port, token=token, pin=error.fingerprint),
            Client("127.0.0.1", stage.port, token=token, trust="first-use"),
            Client("127.0.0.1", stage.port, token=token),  # known by now
        ):
            with client:
                assert echo(client, 1)
        assert asked == [{"token": token}] * 4


# --- client keys ------------------------------------------------------------------------------------------


def test_a_client_without_a_key_is_told_how_to_get_one(
    identity: Identity, other_identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that requires client keys refuses a client without one; the client knows before it says anything."""
    with scene(identity, client_keys="required", neighbour={"keys": other_identity}) as stage:
        error = failure(
            Refused, stage.client().connect, "the server wants a client key",
            "securelink keys create --name client.* pass keys=",
        )  # fmt: skip
        assert error.code == Code.CLIENT_KEY_REQUIRED
        until(stage.alone)
        with Hostile(stage.port) as stubborn:  # one that goes on all the same
            stubborn.hello()
            stubborn.authenticate()
            stubborn.flush()
            assert stubborn.ending()[0] == Code.CLIENT_KEY_REQUIRED
        until(stage.alone)
    assert "requires a client key, and the client showed none" in caplog.text


def test_an_unknown_client_key_is_told_whom_to_ask(
    identity: Identity, key_pool: list[Identity], caplog: pytest.LogCaptureFixture
) -> None:
    """With client_keys="known" a stranger is refused, and the log has the fingerprint to authorize."""
    _, friend, stranger = key_pool
    clients = AuthorizedClients(Path("keys/authorized_clients"))
    clients.authorize(friend.fingerprint, "a friend")
    with scene(identity, client_keys="known", neighbour={"keys": friend}) as stage:
        client = stage.client(keys=stranger)
        error = failure(
            Refused, client.connect, "the server does not know this client's key",
            "securelink keys authorize",
        )  # fmt: skip
        assert error.code == Code.CLIENT_KEY_UNKNOWN
        assert f"refused the unknown client key {stranger.fingerprint}" in caplog.text
        clients.authorize(stranger.fingerprint, "a stranger no longer")
        with client:
            assert stage.session(client).fingerprint == stranger.fingerprint
        clients.revoke(stranger.fingerprint)
        failure(Refused, client.connect, "does not know this client's key", "keys authorize")


# --- the hook itself ------------------------------------------------------------------------------------------


class Door:
    """An `authenticate` that takes its time with everybody but the neighbour."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.waiting = 0

    def __call__(self, hello: Hello) -> str:
        if hello.credentials != "neighbour":
            self.waiting += 1
            self.open.wait(WAIT)
        return str(hello.credentials)


def enter_in_background(stage: Scene, outcomes: list[object]) -> threading.Thread:
    """Connect in a thread; what became of it is appended."""

    def enter() -> None:
        try:
            with stage.client(credentials="somebody") as client:
                outcomes.append(echo(client, 1))
        except SecureLinkError as error:
            outcomes.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    return thread


def test_a_slow_hook_holds_up_only_those_who_wait_for_it(identity: Identity) -> None:
    """While every place for a decision is taken, sessions go on; then everybody comes in."""
    door, outcomes = Door(), list[object]()
    with scene(identity, authenticate=door, neighbour={"credentials": "neighbour"}) as stage:
        threads = [enter_in_background(stage, outcomes) for _ in range(8)]
        until(lambda: door.waiting == 4)
        for _ in range(20):
            stage.check_neighbour()
        assert outcomes == []
        door.open.set()
        for thread in threads:
            thread.join(WAIT)
        assert outcomes == [True] * 8


def test_a_hook_that_hangs_meets_the_deadline(
    identity: Identity, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Decisions that take too long are given up: no session appears when they end after all."""
    monkeypatch.setattr("securelink.threads.sweeper.SWEEP_SECONDS", 0.05)
    door, outcomes = Door(), list[object]()
    with scene(identity, authenticate=door, neighbour={"credentials": "neighbour"}) as stage:
        stage.check_neighbour()  # its own events are over
        appeared: list[object] = []
        stage.server.on_connect(appeared.append)
        thread = enter_in_background(stage, outcomes)
        until(lambda: door.waiting)
        stage.overdue()
        thread.join(WAIT)
        (error,) = outcomes
        assert type(error) is HandshakeError
        assert "closed the connection during the handshake" in error.message
        until(stage.alone)
        door.open.set()
        time.sleep(0.05)
        assert stage.alone()
        assert appeared == []
    assert "did not finish its handshake in time (while server: deciding)" in caplog.text


def test_a_client_that_does_not_wait_for_the_decision(identity: Identity) -> None:
    """A client whose own patience ends first gets its timeout; the session that it is given late ends at once."""
    door = Door()
    with scene(identity, authenticate=door, neighbour={"credentials": "neighbour"}) as stage:
        events: list[tuple[str, object]] = []
        stage.check_neighbour()  # its own events are over
        stage.server.on_connect(lambda session: events.append(("comes", session)))
        stage.server.on_disconnect(lambda session: events.append(("goes", session)))
        client = stage.client(credentials="somebody")
        # Time enough to be asked about, on a busy machine too.
        failure(LinkTimeout, lambda: client.connect(1.5), "within 1.5 s", "overloaded")
        with Hostile(stage.port, credentials=b"\xa1x") as rude:
            rude.hello()
            rude.authenticate()
            rude.flush()
            until(lambda: door.waiting == 2)
        door.open.set()
        until(lambda: len(events) == 4)
        assert stage.alone()
        came, went = ([who for what, who in events if what == word] for word in ("comes", "goes"))
        assert set(came) == set(went)


def test_what_a_hook_says_is_shown_escaped(identity: Identity) -> None:
    """A refusal is in the application's words, and cannot move the cursor of whoever reads it."""

    def authenticate(hello: Hello) -> str:
        if hello.credentials == "neighbour":
            return "neighbour"
        raise Refused("closed today\x1b[2J\r\nopen tomorrow" + "!" * 2000)

    neighbour = {"credentials": "neighbour"}
    with scene(identity, authenticate=authenticate, neighbour=neighbour) as stage:
        error = refused(stage.client(), r"closed today\\x1b\[2J\\r\\nopen tomorrow!+$")
        assert error.text.isprintable()
        assert len(error.text) < 1100
