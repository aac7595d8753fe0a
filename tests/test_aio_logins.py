"""Logins that hold for a time, in the asyncio shell: they end, and are renewed by coroutines and plain functions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from helpers import WAIT
from issuer import AUDIENCE, ISSUER, REFUSED, pem_of, private_key, token
from looping import client_of, run, serving, until
from test_leases import LONG, OVER, Hook

from securelink import Client, Code, ConnectionClosed, Identity, Refused, SecureLinkError, aio
from securelink.auth import JWT, BoundToken

pytestmark = pytest.mark.usefixtures("tidy")

KEY = private_key("ES256", 2)


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
    hook = Hook(1.0, renew)

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


def test_a_login_that_takes_longer_than_a_handshake_may(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is cancelled, so that the thread that waits for it serves others; its client does not get in."""
    monkeypatch.setattr("securelink.aio.driver.HANDSHAKE_SECONDS", 0.2)
    cancelled: list[object] = []

    async def login(hello: Any) -> str:
        if hello.credentials == "slow":
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                cancelled.append(hello)
                raise
        return "ann"

    async def slow(server: aio.Server) -> None:
        client = client_of(server, credentials="slow")
        with pytest.raises(SecureLinkError):
            await client.connect(WAIT)
        assert not client.connected

    async def main() -> None:
        async with serving(identity, authenticate=login) as server:
            async with asyncio.TaskGroup() as group:
                for _ in range(6):  # more than there are places
                    group.create_task(slow(server))
            assert len(cancelled) == 6
            async with client_of(server, credentials="quick") as client:
                assert await client.request("echo", 1, timeout=WAIT) == 1

    run(main)
