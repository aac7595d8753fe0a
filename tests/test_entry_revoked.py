"""A join token that is revoked, and a password that is removed or changed: who is in stays, and comes in no more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import WAIT, echo, failure, scene, secrets, until

from securelink import Client, ConnectionClosed, Identity, JoinTokens, Passwords, Refused

pytestmark = pytest.mark.usefixtures("tidy")

Way = tuple[Any, dict[str, Any], Callable[[], object]]


def by_token(folder: Path) -> Way:
    """A token for any number of sessions, and what ends it."""
    tokens = JoinTokens(folder / "keys" / "join_tokens.json")
    token = tokens.create("ada", uses=None)
    secrets.add(token)
    return tokens, {"token": token}, lambda: JoinTokens(tokens.path).revoke(token)


def by_password(folder: Path) -> Way:
    """A password, and its removal."""
    passwords = Passwords(folder / "keys" / "passwords.json", cost=2)
    passwords.add("ada", "correct horse")
    credentials = {"credentials": {"user": "ada", "password": "correct horse"}}
    return passwords, credentials, lambda: passwords.remove("ada")


def by_old_password(folder: Path) -> Way:
    """A password, and another one in its place."""
    passwords, credentials, _ = by_password(folder)
    return passwords, credentials, lambda: passwords.add("ada", "battery staple", replace=True)


@pytest.mark.parametrize("way", [by_token, by_password, by_old_password])
def test_who_is_in_stays_until_kicked(
    identity: Identity, tmp_path: Path, way: Callable[[Path], Way]
) -> None:
    """An open session goes on, as is said; the next one is refused at once, and `kick()` ends the open one for good."""
    authenticate, credentials, end = way(tmp_path)
    with scene(identity, authenticate=authenticate, neighbour=credentials) as stage:
        with stage.client(**credentials) as client:
            session = stage.session(client)
            assert session.user == "ada"
            end()
            failure(Refused, stage.client(**credentials).connect, "")
            assert echo(client, "still here")
            session.kick("your entry was taken back")
            told(client, "your entry was taken back")
            failure(Refused, client.connect, "")
        until(stage.alone)


def told(client: Client, text: str) -> None:
    """The session ends with these words."""
    failure(ConnectionClosed, lambda: client.receive(WAIT), text)
