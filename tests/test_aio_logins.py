"""Logins that hold for a time, in the asyncio shell: they end, and are renewed by coroutines and plain functions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from helpers import WAIT, admitting
from inside import listener_of
from issuer import AUDIENCE, ISSUER, REFUSED, pem_of, private_key, token
from looping import client_of, run, serving, until
from test_leases import LONG, OVER, Hook

from securelink import (
    Client,
    Code,
    ConnectionClosed,
    HandshakeError,
    Identity,
    Refused,
    SecureLinkError,
    aio,
)
from securelink.auth import JWT, BoundToken, Hello

pytestmark = pytest.mark.usefixtures("tidy")

KEY = private_key("ES256", 2)


@pytest.fixture
def far_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients seem to be somewhere else: whoever is on this machine cannot fail too often."""
    monkeypatch.setattr("securelink.threads.gate.is_loopback_host", lambda host: False)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers look for logins that are over more often."""
    monkeypatch.setattr("securelink.app.leases.SWEEP_SECONDS", 0.02)


def test_a_session_ends_with_its_login(identity: Identity) -> None:
    """As in threads."""

    async def main() -> None:
        async with serving(identity, authenticate=Hook(0.5)) as server, client_of(server) as client:
            with pytest.raises(ConnectionClosed, match=OVER):
                await client.receive(WAIT)
            assert client.code == Code.REFUSED

    run(main)


async def of_the_client(session: aio.Session) -> float:
    return time.time() + float(await session.request("more", timeout=WAIT))


async def refuses(session: aio.Session) -> float:
    await asyncio.sleep(0)
    raise Refused("banned meanwhile")


async def fails(session: aio.Session) -> float:
    await asyncio.sleep(0)
    raise ValueError("a fault")


async def forgets(session: aio.Session) -> Any:
    await asyncio.sleep(0)


async def takes_long(session: aio.Session) -> float:
    await asyncio.sleep(2.0)
    return time.time() + LONG


@pytest.mark.parametrize(
    ("renew", "text"),
    [
        (of_the_client, ""),
        (lambda session: time.time() + LONG, ""),
        (refuses, "banned meanwhile"),
        (fails, OVER),
        (forgets, OVER),
        (takes_long, OVER),
    ],
)
def test_renewals(identity: Identity, renew: Callable[[Any], Any], text: str) -> None:
    """A coroutine may ask the client; one that refuses ends the session, one that fails or is late prolongs nothing."""
    hook = Hook(1.0 if text else 3.0, renew)  # time for one that is in time, on a busy machine too

    async def main() -> None:
        async with serving(identity, authenticate=hook) as server:
            client = client_of(server)
            client.on("more", lambda packet: LONG)
            async with client:
                await until(lambda: client.ended or (not text and hook.passed()))
                assert client.text == text
                assert client.ended == bool(text)

    run(main)


def door(**options: Any) -> JWT:
    return JWT(pem_of(private_key("EdDSA")), audience=AUDIENCE, issuer=ISSUER, leeway=0, **options)


@pytest.mark.parametrize("sub", ["ada", "bob"])
def test_the_next_token(identity: Identity, sub: str) -> None:
    """The server asks for it in a coroutine; the client proves its key anew; another user's ends the session."""

    async def another(session: aio.Session) -> Any:
        return await session.request("token", timeout=WAIT)

    cnf = {"jkt": BoundToken("", KEY).thumbprint}
    tokens = [token(cnf=cnf, exp=int(time.time()) + 3)]
    credentials = BoundToken(lambda: tokens[-1], KEY)

    async def main() -> None:
        hook = door(on_expiry=another, require_binding=True)
        async with serving(identity, authenticate=hook) as server:
            client = client_of(server, credentials=credentials)

            @client.on("token")
            async def answer(packet: Any) -> Any:
                tokens.append(token(cnf=cnf, sub=sub))
                return credentials.again()

            async with client:
                expires = time.time() + 3
                assert server.sessions[client.token].user == "ada"
                await until(lambda: client.ended or time.time() > expires)
                assert client.text == ("" if sub == "ada" else REFUSED)
        assert len(tokens) == 2

    run(main)


def test_a_client_with_threads(identity: Identity) -> None:
    """The two shells are one to each other: a plain function that gives a coroutine asks it as well."""
    answered: list[Any] = []

    async def main() -> None:
        hook = door(on_expiry=lambda session: session.request("token", timeout=WAIT))
        async with serving(identity, authenticate=hook) as server:
            given = {"jwt": token(exp=int(time.time()) + 3)}
            client = Client(
                "127.0.0.1", server.address[1], pin=server.fingerprint, credentials=given
            )

            @client.on("token")
            def answer(packet: Any) -> str:
                answered.append(packet)
                return token()

            await asyncio.to_thread(client.connect)
            expires = time.time() + 3
            await until(lambda: time.time() > expires)
            assert client.connected
            await asyncio.to_thread(client.close)

    run(main)
    assert len(answered) == 1


class Desk:
    """
    An `authenticate` that lets in "quick" at once, and others when it is told to.

    Attributes:
        asked: How many it was asked about that are not quick.
        cancelled: How many of those it did not answer.
        given_back: How many charges.
    """

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.asked = self.cancelled = self.given_back = 0

    def give_back(self) -> None:
        """The client did not get in."""
        self.given_back += 1

    async def __call__(self, hello: Hello) -> Any:
        """Answer when it is time."""
        if hello.credentials != "quick":
            self.asked += 1
            hello.hold(self.give_back)
            try:
                await self.open.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            if hello.credentials == "wrong":
                raise Refused("wrong")
        return "ann"


def test_logins_that_wait_hold_up_nobody(identity: Identity) -> None:
    """However many coroutines wait for something: others log in meanwhile, and they do when they go on."""

    async def main() -> None:
        desk = Desk()
        async with serving(identity, authenticate=desk) as server, asyncio.TaskGroup() as group:
            slow = [client_of(server, credentials="slow") for _ in range(12)]
            for client in slow:
                group.create_task(client.connect(WAIT))
            await until(lambda: desk.asked == 12)
            for _ in range(3):
                async with client_of(server, credentials="quick") as client:
                    assert await client.request("echo", 1, timeout=WAIT) == 1
            assert not server.sessions
            desk.open.set()
            await until(lambda: len(server.sessions) == 12)
            for client in slow:
                await client.close()

    run(main)


@pytest.mark.usefixtures("far_away")
def test_a_login_that_takes_longer_than_a_handshake_may(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the handshake's deadline it is cancelled. Its client hears that, has not failed, and paid nothing."""
    monkeypatch.setattr("securelink.threads.sweeper.SWEEP_SECONDS", 0.05)
    admitting(monkeypatch, handshake_seconds=2.0)

    async def main() -> None:
        desk = Desk()
        async with serving(identity, authenticate=desk) as server:
            with pytest.raises(HandshakeError) as caught:
                await client_of(server, credentials="slow").connect(WAIT)
            assert caught.value.code == Code.TIMEOUT
            assert (desk.asked, desk.cancelled, desk.given_back) == (1, 1, 1)
            async with client_of(server, credentials="quick") as client:
                assert await client.request("echo", 1, timeout=WAIT) == 1
            assert listener_of(server).gate.budget.failures("127.0.0.1") == 0

    run(main)


@pytest.mark.usefixtures("far_away")
def test_a_guess_counts_also_when_its_client_has_gone(identity: Identity) -> None:
    """Otherwise guesses would cost nothing: the answer counts, and what was taken is given back."""

    async def main() -> None:
        desk = Desk()
        async with serving(identity, authenticate=desk) as server:
            task = asyncio.create_task(client_of(server, credentials="wrong").connect(WAIT))
            await until(lambda: desk.asked)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            desk.open.set()
            await until(lambda: not listener_of(server).links)
            assert desk.given_back == 1
            assert listener_of(server).gate.budget.failures("127.0.0.1") == 1

    run(main)


def test_a_server_that_stops_asks_no_further(identity: Identity) -> None:
    """Logins under way are cancelled, and nothing of them is kept."""

    async def main() -> None:
        desk = Desk()
        async with serving(identity, authenticate=desk) as server:
            client = client_of(server, credentials="slow")
            task = asyncio.create_task(client.connect(WAIT))
            await until(lambda: desk.asked)
        assert (desk.cancelled, desk.given_back) == (1, 1)
        with pytest.raises(SecureLinkError):
            await task

    run(main)


def test_what_a_coroutine_answers(identity: Identity) -> None:
    """As of a plain function: refusals have their words, and what is no user refuses."""

    async def login(hello: Hello) -> Any:
        await asyncio.sleep(0)
        if hello.credentials == "no":
            raise Refused("not you")
        if hello.credentials == "fault":
            raise ValueError("inside")
        return {"none": None, "lambda": lambda: 1, "zero": 0}[hello.credentials]

    async def main() -> None:
        async with serving(identity, authenticate=login) as server:
            for credentials, text in (
                ("no", "not you"),
                ("fault", "could not check"),
                ("none", "did not accept"),
                ("lambda", "could not check"),
            ):
                with pytest.raises(Refused, match=text):
                    await client_of(server, credentials=credentials).connect(WAIT)
            async with client_of(server, credentials="zero") as client:
                assert server.sessions[client.token].user == 0

    run(main)
