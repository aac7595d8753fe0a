"""A key that is revoked while a server runs loses the sessions that it has open."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from commands import succeeds
from helpers import WAIT, Hostile, failure, secrets, until

from securelink import (
    AuthorizedClients,
    Client,
    Code,
    ConnectionClosed,
    HandshakeError,
    Identity,
    JoinTokens,
    KeyFileError,
    Refused,
    Server,
)
from securelink.limits import SWEEP_SECONDS
from securelink.protocol import Closed
from securelink.tools.console import Console, Operators, attach
from securelink.wire.fields import Content
from securelink.wire.packets import encode_value

pytestmark = pytest.mark.usefixtures("tidy")

REASON = "this client's key was revoked"


@pytest.fixture
def clients(key_pool: list[Identity]) -> AuthorizedClients:
    """The file of a server that lets ada and bob in."""
    clients = AuthorizedClients("keys/authorized_clients")
    clients.authorize(key_pool[1].fingerprint, "ada")
    clients.authorize(key_pool[2].fingerprint, "bob")
    return clients


@contextmanager
def serving(identity: Identity, **options: Any) -> Iterator[Server]:
    """A running server that knows its clients by their keys."""
    with Server("127.0.0.1", 0, keys=identity, client_keys="known", **options) as server:
        yield server


def enter(server: Server, key: Identity, **options: Any) -> Client:
    """A client with a session that is listed."""
    client = Client("127.0.0.1", server.address[1], keys=key, **options).connect(WAIT)
    until(lambda: client.token in server.sessions)
    return client


def ended(client: Client) -> ConnectionClosed:
    """Why a session ended."""
    try:
        while client.receive(timeout=WAIT) is not None:  # an operator gets log lines, too
            pass
    except ConnectionClosed as error:
        return error
    raise AssertionError("the session goes on")


def test_a_revoked_client_is_out(
    identity: Identity, key_pool: list[Identity], clients: AuthorizedClients
) -> None:
    """Its session ends with a reason, it does not enter again, and others never notice."""
    with serving(identity) as server, enter(server, key_pool[2]) as bob:
        with enter(server, key_pool[1]) as ada:
            clients.revoke("ada")
            error = ended(ada)
            assert (error.code, error.text) == (Code.KICKED, REASON)
        again = Client("127.0.0.1", server.address[1], keys=key_pool[1])
        failure(Refused, again.connect, "does not know this client's key")
        until(lambda: list(server.sessions) == [bob.token])
        assert bob.ping(WAIT) >= 0


def test_the_command_ends_it(
    identity: Identity, key_pool: list[Identity], clients: AuthorizedClients
) -> None:
    """`securelink keys revoke` in another process is as good."""
    with serving(identity) as server, enter(server, key_pool[1]) as ada:
        succeeds("keys", "revoke", "ada")
        assert ended(ada).text == REASON


def test_what_stays_authorized_stays(
    identity: Identity, key_pool: list[Identity], clients: AuthorizedClients
) -> None:
    """Any other change of the file ends nothing, and nor does another name for a key."""
    with serving(identity) as server, enter(server, key_pool[2]) as bob:
        clients.authorize("SHA256:" + "A" * 43, "eve")
        text = clients.path.read_text().replace(" bob", " robert")
        clients.path.write_text(text)
        clients.revoke("ada")
        time.sleep(2.5 * SWEEP_SECONDS)
        assert bob.ping(WAIT) >= 0


def test_a_damaged_file_ends_nothing(
    identity: Identity,
    key_pool: list[Identity],
    clients: AuthorizedClients,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """While the file cannot be read nobody new enters, and nobody is thrown out; the log says so. Then it counts."""
    with serving(identity) as server, enter(server, key_pool[1]) as ada:
        content = clients.path.read_text()
        clients.path.write_text("damaged\n")
        until(lambda: "whose key was revoked cannot be seen yet, sessions stay" in caplog.text)
        assert ada.ping(WAIT) >= 0
        with pytest.raises(HandshakeError):
            Client("127.0.0.1", server.address[1], keys=key_pool[2]).connect(WAIT)
        clients.path.write_text(content.replace(key_pool[1].fingerprint, "SHA256:" + "A" * 43))
        assert ended(ada).text == REASON


def test_a_look_that_failed_is_repeated(
    identity: Identity,
    key_pool: list[Identity],
    clients: AuthorizedClients,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process without a free descriptor cannot read the file; once it can, whoever was revoked is out."""
    starved = threading.Event()
    names = AuthorizedClients.names

    def reading(file: AuthorizedClients) -> Mapping[str, str]:
        if starved.is_set():
            raise KeyFileError("the file cannot be read: Too many open files")
        return names(file)

    monkeypatch.setattr(AuthorizedClients, "names", reading)
    with serving(identity) as server, enter(server, key_pool[1]) as ada:
        starved.set()
        clients.revoke("ada")
        until(lambda: "cannot be seen yet" in caplog.text)
        time.sleep(2.5 * SWEEP_SECONDS)  # looks that fail
        assert ada.ping(WAIT) >= 0
        starved.clear()
        assert ended(ada).text == REASON
        assert caplog.text.count("cannot be seen yet") == 1


def test_revoked_between_welcome_and_the_first_record(
    identity: Identity, key_pool: list[Identity], clients: AuthorizedClients
) -> None:
    """A client that waits with its first record until its key was revoked is no session at any time."""
    tokens = JoinTokens()
    token = tokens.create(user="ada", uses=1)
    secrets.add(token)
    seen: list[object] = []
    with serving(identity, authenticate=tokens) as server:
        server.on_connect(seen.append)
        with Hostile(
            server.address[1], identity=key_pool[1], credentials=encode_value({"token": token})
        ) as client:
            client.open()
            clients.revoke("ada")
            client.send(Content.PING, bytes(8))
            end = client.read_until(Closed)
            assert isinstance(end, Closed)
            assert end.code == Code.REFUSED
            until(lambda: tokens.entries()[0].uses == 1)
        assert not server.sessions
        assert not seen


def test_a_removed_file_ends_all(
    identity: Identity, key_pool: list[Identity], clients: AuthorizedClients
) -> None:
    """A file that is gone authorizes nobody."""
    with serving(identity) as server, enter(server, key_pool[1]) as ada:
        clients.path.unlink()
        assert ended(ada).text == REASON


def test_who_was_just_entering(
    identity: Identity, key_pool: list[Identity], clients: AuthorizedClients
) -> None:
    """A client that was let in before the change and became a session after the first look is found, too."""
    asked, go_on = threading.Event(), threading.Event()

    def slow(hello: object) -> str:
        asked.set()
        assert go_on.wait(WAIT)
        return "ada"

    with serving(identity, authenticate=slow) as server:
        client = Client("127.0.0.1", server.address[1], keys=key_pool[1])
        connecting = threading.Thread(target=client.connect, args=(WAIT,))
        connecting.start()
        try:
            assert asked.wait(WAIT)
            clients.revoke("ada")
            time.sleep(2.5 * SWEEP_SECONDS)  # the look that sees the change has passed
        finally:
            go_on.set()
            connecting.join(WAIT)
        assert ended(client).text == REASON
        client.close()


def test_in_a_game_loop(
    identity: Identity, key_pool: list[Identity], clients: AuthorizedClients
) -> None:
    """A server that `update()` drives looks as well."""
    server = Server("127.0.0.1", 0, keys=identity, client_keys="known")
    server.update()
    client = Client("127.0.0.1", server.address[1], keys=key_pool[1])
    connecting = threading.Thread(target=client.connect, args=(WAIT,))
    connecting.start()
    try:
        until(lambda: len(server.sessions), meanwhile=server.update)
        connecting.join(WAIT)
        clients.revoke("ada")
        until(lambda: not server.sessions, meanwhile=server.update)
    finally:
        connecting.join(WAIT)
        server.stop()
        client.close()


def test_a_server_that_starts_again(
    identity: Identity, key_pool: list[Identity], clients: AuthorizedClients
) -> None:
    """The second run looks as the first one did."""
    server = Server("127.0.0.1", 0, keys=identity, client_keys="known")
    for name, key in (("ada", key_pool[1]), ("bob", key_pool[2])):
        with server, enter(server, key) as client:
            clients.revoke(name)
            assert ended(client).text == REASON


def test_a_revoked_operator_is_out(identity: Identity, key_pool: list[Identity]) -> None:
    """An operator's session ends when its key is revoked, whether it has attached or not; an ordinary one stays."""
    file = AuthorizedClients("keys/authorized_operators")
    operators = Operators(file)
    file.authorize(key_pool[1].fingerprint, "ada")
    file.authorize(key_pool[2].fingerprint, "bob")
    with Server("127.0.0.1", 0, keys=identity) as server:
        operators.serve(server, Console(server))
        with (
            Client("127.0.0.1", server.address[1]) as guest,
            Client("127.0.0.1", server.address[1], keys=key_pool[1]) as attached,
            enter(server, key_pool[2]) as silent,
        ):
            attach(attached, WAIT)
            for name, client in (("ada", attached), ("bob", silent)):
                file.revoke(name)
                assert ended(client).text == "this operator's key was revoked"
            assert guest.ping(WAIT) >= 0


def test_operators_are_no_clients_of_the_list(
    identity: Identity, key_pool: list[Identity], clients: AuthorizedClients
) -> None:
    """An operator enters by another file: a change of the clients' file does not end its session."""
    file = AuthorizedClients("keys/authorized_operators")
    operators = Operators(file)
    operator = Identity.generate(2048)
    file.authorize(operator.fingerprint, "eve")
    with serving(identity) as server:
        operators.serve(server, Console(server))
        with enter(server, operator) as eve, enter(server, key_pool[1]) as ada:
            assert [session.operator for session in server.find(user="operator:eve")] == [True]
            clients.revoke("ada")
            assert ended(ada).text == REASON
            assert eve.ping(WAIT) >= 0


def test_a_file_of_ones_own(identity: Identity, key_pool: list[Identity]) -> None:
    """`end_when_revoked` does the same for a file and a rule of the application, also while the server runs."""
    file = AuthorizedClients(Path("keys/friends"))
    file.authorize(key_pool[1].fingerprint, "ada")
    with Server("127.0.0.1", 0, keys=identity, client_keys="required") as server:
        server.end_when_revoked(file, lambda session: session.user is None, "no friend any more")
        with enter(server, key_pool[1]) as ada:
            file.revoke("ada")
            assert ended(ada).text == "no friend any more"


def test_a_rule_that_fails_spares_nobody_else(
    identity: Identity, key_pool: list[Identity], caplog: pytest.LogCaptureFixture
) -> None:
    """Where the rule of the application fails for one session the others end, and it is asked again for that one."""
    file = AuthorizedClients(Path("keys/friends"))
    file.authorize(key_pool[1].fingerprint, "ada")
    file.authorize(key_pool[2].fingerprint, "bob")
    works = threading.Event()

    async def later() -> bool:
        return True

    def concerns(session: Any) -> Any:
        if session.fingerprint == key_pool[1].fingerprint and not works.is_set():
            if len(caplog.records) % 2:
                raise RuntimeError("no answer")
            return later()
        return True

    with Server("127.0.0.1", 0, keys=identity, client_keys="required") as server:
        server.end_when_revoked(file, concerns, "no friend any more")
        with enter(server, key_pool[1]) as ada, enter(server, key_pool[2]) as bob:
            file.revoke("ada")
            file.revoke("bob")
            assert ended(bob).text == "no friend any more"
            assert ada.connected
            works.set()
            assert ended(ada).text == "no friend any more"
    assert "cannot be seen yet, it stays" in caplog.text
