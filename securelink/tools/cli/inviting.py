"""Invites that a running server makes: one that ends with it, and those that its operator asks for."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import click

from ...auth import JoinTokens
from ...errors import ConfigError
from ...invite import Invite
from ...limits import INVITE_SECONDS
from ...server import Server
from ..console import Console
from .program import duration, span


@contextlib.contextmanager
def passing_token(
    tokens: JoinTokens, lifetime: float | None, note: str, *, outlives: bool
) -> Iterator[str]:
    """
    A token for any number of people, that ends with the block, however that ends, or after its lifetime.

    The lifetime is for a process that is killed, and could take nothing back; and for one whose sessions outlive it:
    nobody could resume without the token.

    Args:
        outlives: It does not end with the block.
    """
    token = tokens.create(uses=None, lifetime=lifetime, note=note)
    try:
        yield token
    finally:
        if not outlives:
            tokens.revoke(token)


def add_invites(console: Console, server: Server, tokens: JoinTokens, host: str) -> None:
    """Give a console the command `invite`."""

    def invite(rest: str) -> str:
        *words, last = rest.split() or [""]
        seconds = INVITE_SECONDS
        if last[:1].isdecimal():
            seconds = _seconds(last)
        else:
            words.append(last)
        name = " ".join(words).strip('"') or None
        if server.fingerprint is None:
            raise ConfigError("a server without encryption has no key to invite to")
        # Any number of uses: a client that loses its connection comes back with it.
        token = tokens.create(name, uses=None, lifetime=seconds, note="console")
        link = Invite(host, server.address[1], server.fingerprint, token)
        return f"{link}\nfor {name or 'a guest'}, as often as they come, for {span(seconds)}"

    console.add(
        "invite", invite, "[NAME] [TIME]", "an invite for somebody: ann 2h; without a time 7d"
    )


def _seconds(text: str) -> float:
    try:
        seconds = duration(click.Context(click.Command("invite")), click.Option(["--time"]), text)
    except click.BadParameter as error:
        raise ConfigError(error.message) from None
    return seconds if seconds is not None else math.inf
