"""Sessions of clients with JSON Web Tokens: real servers and clients, from the login to the end of the token."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from cut_lines import line
from helpers import WAIT, Hostile, Scene, echo, failure, scene, until
from issuer import AUDIENCE, ISSUER, REFUSED, RUN_OUT, pem_of, private_key, token

from securelink import Client, Code, ConnectionClosed, Identity, Refused, Session
from securelink.auth import JWT, BoundToken
from securelink.errors import ConfigError
from securelink.wire.packets import encode_value

pytestmark = pytest.mark.usefixtures("tidy")

KEY = private_key("ES256", 2)
OVER = "this login has expired; log in again"
Credentials = Callable[[bytes | None, str | None], dict[str, str]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers look for logins that are over more often."""
    monkeypatch.setattr("securelink.app.leases.SWEEP_SECONDS", 0.02)


def hook(**options: Any) -> JWT:
    return JWT(
        pem_of(private_key("EdDSA")), audience=AUDIENCE, issuer=ISSUER, **{"leeway": 0, **options}
    )


def soon(seconds: int = 3) -> int:
    """An `exp`, which is in whole seconds: at least two and at most three from now."""
    return int(time.time()) + seconds


def bound(**claims: Any) -> str:
    return token(cnf={"jkt": BoundToken("", KEY).thumbprint}, **claims)


def door(identity: Identity, **options: Any) -> Any:
    """A server with a neighbour who has a token."""
    return scene(
        identity, authenticate=hook(**options), neighbour={"credentials": BoundToken(bound(), KEY)}
    )


def turned_away(stage: Scene, credentials: Any, text: str = REFUSED) -> None:
    """A client with these does not get in, and hears that."""
    client = stage.client(credentials=credentials)
    error = failure(Refused, client.connect, text)
    assert error.code == Code.REFUSED
    until(stage.alone)


def test_who_has_a_token_is_in(identity: Identity, caplog: pytest.LogCaptureFixture) -> None:
    """With the user of the token; who has none, or a bad one, is told so, and the log says why."""
    with door(identity) as stage:
        with stage.client(credentials={"jwt": token()}) as client:
            assert stage.session(client).user == "ada"
            assert echo(client, 1)
        until(stage.alone)
        turned_away(stage, None, "this server asks for a JSON Web Token")
        turned_away(stage, {"jwt": token(aud="another")})
        turned_away(stage, {"jwt": token(exp=1)}, RUN_OUT)
        turned_away(stage, {"jwt": bound()})
        assert "aud: it is for another audience" in caplog.text
        assert "has not proved" in caplog.text


def test_what_was_seen_on_one_connection(identity: Identity) -> None:
    """Credentials that a server has seen, or somebody between, do not open another connection with it."""
    seen: list[dict[str, str]] = []
    honest = BoundToken(bound(), KEY)

    def credentials(binding: bytes | None, fingerprint: str | None) -> dict[str, str]:
        seen.append(honest(binding, fingerprint))
        return seen[-1]

    with door(identity, require_binding=True) as stage:
        with stage.client(credentials=credentials) as client:
            assert echo(client, 1)
        until(stage.alone)
        turned_away(stage, seen[0])
        turned_away(stage, {"jwt": seen[0]["jwt"]})
        turned_away(stage, {"jwt": token()})


def test_garbage(identity: Identity) -> None:
    """Bytes that are no text, tokens without an end, proofs of other types: one client less, nobody else notices."""
    huge = {"jwt": "x" * 5000}
    with door(identity) as stage:
        with pytest.raises(ConfigError, match="cannot be sent"):
            stage.client(credentials=huge).connect()
        for credentials in (
            b"\x81\xa3jwt\xa2\xff\xfe",
            b"\x81\xa3jwt\xdb\xff\xff\xff\xff",
            encode_value({"jwt": "\0" * 4000}),
            encode_value({"jwt": "a.b.c", "proof": ["x"] * 1000}),
            encode_value({"jwt": b"\xff" * 4000}),
        ):
            with Hostile(stage.port, credentials=credentials) as client:
                client.hello()
                client.authenticate()
                client.flush()
                assert client.ending()[0] in (Code.REFUSED, Code.PROTOCOL)
        until(stage.alone)


def test_not_in_plaintext(identity: Identity) -> None:
    """A server takes none that came so, though it takes plaintext sessions; and a bound one is not even sent."""
    bearer, bound_one = {"jwt": token()}, BoundToken(bound(), KEY)
    neighbour = {"credentials": bearer, "encryption": "required"}
    with scene(identity, encryption="optional", authenticate=hook(), neighbour=neighbour) as stage:
        exposed = Client("127.0.0.1", stage.port, encryption="off", credentials=bearer)
        failure(Refused, exposed.connect, REFUSED)
        exposed = Client("127.0.0.1", stage.port, encryption="off", credentials=bound_one)
        failure(ConfigError, exposed.connect, "without encryption")


def test_the_end_of_a_token(identity: Identity) -> None:
    """The session ends with it, and both sides know why."""
    with door(identity) as stage:
        expires = soon()
        with stage.client(credentials={"jwt": token(exp=expires)}) as client:
            session = stage.session(client)
            error = failure(ConnectionClosed, lambda: client.receive(WAIT), OVER)
            assert time.time() >= expires
            assert (error.code, client.code) == (Code.REFUSED, Code.REFUSED)
            until(lambda: session.ended)
            assert (session.code, session.text) == (Code.REFUSED, OVER)


def again(session: Session) -> Any:
    """Asks a client for another token."""
    return session.request("token", timeout=WAIT)


def test_a_token_that_is_renewed(identity: Identity) -> None:
    """The client is asked before the end, and proves its key anew; the session goes on."""
    tokens = [bound(exp=soon())]
    credentials = BoundToken(lambda: tokens[-1], KEY)
    asked: list[float] = []

    def answer(packet: Any) -> dict[str, str]:
        asked.append(time.time())
        tokens.append(bound())
        return credentials.again(packet)

    with door(identity, on_expiry=again, require_binding=True) as stage:
        client = stage.client(credentials=credentials)
        client.on("token", answer)
        expires = time.time() + 3
        with client:
            until(lambda: asked)
            assert asked[0] < expires
            until(lambda: time.time() > expires + 0.2)
            assert client.connected
        assert len(asked) == 1


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (lambda: token(sub="bob"), REFUSED),
        (lambda: token(exp=1), RUN_OUT),
        (lambda: {"jwt": bound()}, REFUSED),
        (lambda: "nothing", REFUSED),
        (lambda: "x" * 100_000, REFUSED),
        (lambda: None, "this server asks for a JSON Web Token"),
        (lambda: {"user": "ada", "password": "x"}, "this server asks for a JSON Web Token"),
    ],
)
def test_a_renewal_that_will_not_do(
    identity: Identity, answer: Callable[[], Any], text: str
) -> None:
    """Another user's token, an expired one, a stolen one: the session ends at once, like a login with them."""
    with door(identity, on_expiry=again) as stage:
        client = stage.client(credentials={"jwt": token(exp=soon())})
        client.on("token", lambda packet: answer())
        with client:
            until(lambda: client.ended)
            assert (client.code, client.text) == (Code.REFUSED, text)


def test_a_client_that_does_not_answer(identity: Identity) -> None:
    """Its session ends with its token."""
    with door(identity, on_expiry=again) as stage:
        expires = soon()
        client = stage.client(credentials={"jwt": token(exp=expires)})
        with client:
            until(lambda: client.ended)
            assert time.time() >= expires
            assert client.text == OVER


def test_resumed_with_the_next_token(identity: Identity) -> None:
    """A client that comes back has a token of now, and a proof for this connection: the session is the same."""
    tokens = [bound()]
    credentials = BoundToken(lambda: tokens[-1], KEY)
    server = {"authenticate": hook(require_binding=True), "resume": 60}
    with line(identity, credentials=credentials, server=server) as stage:
        session = stage.session
        tokens.append(bound())
        stage.refuse()
        until(lambda: not stage.client.connected and not session.connected)
        stage.admit()
        until(lambda: stage.client.connected)
        assert stage.session is session
        assert session.user == "ada"


def test_resumed_with_an_expired_token(identity: Identity) -> None:
    """Who was away when the token expired is refused with words, and its session does not go on."""
    tokens = [token(exp=soon())]
    server = {"authenticate": hook(on_expiry=again), "resume": 60}
    credentials = lambda binding, fingerprint: {"jwt": tokens[-1]}  # noqa: E731  # as users write it
    with line(identity, credentials=credentials, server=server) as stage:
        session = stage.session
        stage.refuse()
        until(lambda: not stage.client.connected and not session.connected)
        tokens.append(token(exp=1))
        stage.admit()
        failure(ConnectionClosed, lambda: stage.client.receive(WAIT), RUN_OUT)
        assert stage.client.code == Code.REFUSED
        assert not session.connected


def test_resumed_with_another_user_s_token(identity: Identity) -> None:
    """The session is ada's, and bob's token does not give it to him."""
    tokens = [token()]
    server = {"authenticate": hook(), "resume": 60}
    credentials = lambda binding, fingerprint: {"jwt": tokens[-1]}  # noqa: E731
    with line(identity, credentials=credentials, server=server) as stage:
        session = stage.session
        session.data["secret"] = "ada's"
        stage.refuse()
        until(lambda: not stage.client.connected and not session.connected)
        tokens.append(token(sub="bob"))
        stage.admit()
        until(lambda: stage.client.ended or stage.client.connected)
        assert not session.connected
        for other in stage.server.sessions.values():
            assert other is session or not other.data
