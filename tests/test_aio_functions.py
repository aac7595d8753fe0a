"""Functions that a program gives the library: a coroutine is refused wherever the shell would never run it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from helpers import WAIT, failure
from issuer import AUDIENCE, ISSUER, pem_of, private_key
from logins import hello
from shells import door, of_servers, visitor

from securelink import Client, ConfigError, Identity, Passwords, Server, aio
from securelink.auth import JWT, BoundToken, first_of
from securelink.trust import AuthorizedClients

SHELLS = {"threads": (Server, Client), "asyncio": (aio.Server, aio.Client)}


async def _later(*arguments: Any, **more: Any) -> Any:
    """A coroutine that takes what it gets."""


later: Any = _later  # for type checkers: they see as well that it is refused


def jwt(**options: Any) -> JWT:
    """A hook of ours that is given functions."""
    options = {
        "keys": pem_of(private_key("EdDSA")),
        "audience": AUDIENCE,
        "issuer": ISSUER,
        **options,
    }
    return JWT(options.pop("keys"), **options)


#: Where no shell runs a coroutine: (server, client) to a call that gives one.
NOWHERE: dict[str, Callable[[Any, Any, Any], object]] = {
    "admit_operators": lambda server, client, tmp_path: server.admit_operators(later),
    "after_receive": lambda server, client, tmp_path: setattr(server, "after_receive", later),
    "after_receive, client": lambda server, client, tmp_path: setattr(
        client, "after_receive", later
    ),
    "before_send": lambda server, client, tmp_path: setattr(server, "before_send", later),
    "before_send, client": lambda server, client, tmp_path: setattr(client, "before_send", later),
    "policy": lambda server, client, tmp_path: server.policy("move", "latest", key=later),
    "policy, client": lambda server, client, tmp_path: client.policy("move", "latest", key=later),
    "end_when_revoked": lambda server, client, tmp_path: server.end_when_revoked(
        AuthorizedClients(tmp_path / "keys"), later, "revoked"
    ),
    "hold": lambda server, client, tmp_path: hello().hold(later),
    "credentials": lambda server, client, tmp_path: type(client)("h", 1, credentials=later),
    "token of BoundToken": lambda server, client, tmp_path: BoundToken(
        later, private_key("ES256", 2)
    ),
    "keys of JWT": lambda server, client, tmp_path: jwt(keys=later),
    "user of JWT": lambda server, client, tmp_path: jwt(user=later),
    "first_of": lambda server, client, tmp_path: first_of(later),
}


def listen(name: str, server: Any, client: Any) -> None:
    """Add a listener to an event of the server."""
    getattr(server, name).add_listener(later)


def listen_there(name: str, server: Any, client: Any) -> None:
    """Add one to an event of the client."""
    getattr(client, name).add_listener(later)


#: Where asyncio does.
THERE: dict[str, Callable[[Any, Any], object]] = {
    "authenticate": lambda server, client: type(server)(authenticate=later),
    "on_expiry of JWT": lambda server, client: type(server)(authenticate=jwt(on_expiry=later)),
    "on_expiry in first_of": lambda server, client: type(server)(
        authenticate=first_of(jwt(on_expiry=later), Passwords())
    ),
    "handler": lambda server, client: server.on("move", later),
    "handler, client": lambda server, client: client.on("move", later),
    **{
        name: partial(listen, name)
        for name in (
            "on_connect", "on_disconnect", "on_suspend", "on_resume", "on_restore", "on_hangup", "on_message",
            "on_state", "on_tick", "on_start", "on_stop",
        )
    },
    **{
        f"{name}, client": partial(listen_there, name)
        for name in (
            "on_connect", "on_disconnect", "on_suspend", "on_resume", "on_message", "on_state"
        )
    },
}  # fmt: skip


def both(ours: str, identity: Identity) -> tuple[Any, Any]:
    """A server and a client of a shell, which do not run."""
    server, client = SHELLS[ours]
    return server(keys=identity), client("localhost", 1)


@of_servers
@pytest.mark.parametrize("place", NOWHERE)
def test_coroutines_that_no_shell_runs(
    place: str, ours: str, identity: Identity, tmp_path: Any
) -> None:
    """They are refused when they are given, by each shell."""
    with pytest.raises(ConfigError, match=r"async def"):
        NOWHERE[place](*both(ours, identity), tmp_path)


@of_servers
@pytest.mark.parametrize("place", THERE)
def test_coroutines_that_asyncio_runs(place: str, ours: str, identity: Identity) -> None:
    """With threads they are refused when they are given, and not when they are to be run."""
    given = both(ours, identity)
    if ours == "asyncio":
        THERE[place](*given)
    else:
        with pytest.raises(ConfigError, match=r"async def"):
            THERE[place](*given)


@of_servers
@pytest.mark.filterwarnings("error")
def test_credentials_that_give_a_coroutine(ours: str, identity: Identity) -> None:
    """It is closed, and told as what it is."""

    def hidden(binding: Any, fingerprint: Any) -> Any:
        return later()

    with (
        door(identity, "threads") as server,
        visitor(ours, server, credentials=hidden) as client,
        pytest.raises(ConfigError, match="a coroutine, which is never run"),
    ):
        client.connect()


def test_callbacks_of_requests(identity: Identity, caplog: pytest.LogCaptureFixture) -> None:
    """A coroutine is refused, and one that a plain function gives is told in the log."""
    with Server("127.0.0.1", 0, keys=identity) as server:
        server.on("echo", lambda session, packet: packet.data)
        with Client("127.0.0.1", server.address[1], pin=server.fingerprint) as client:
            future = client.request_later("echo", 1)
            failure(ConfigError, lambda: future.add_done_callback(later), "async def")
            future.add_done_callback(lambda done: later(done))
            assert future.result(WAIT) == 1
            assert client.request("echo", 2) == 2
    assert "a coroutine, which is never run" in caplog.text
