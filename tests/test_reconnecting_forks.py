"""A process that forks while a client's session has no connection: the session stays with the parent."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable

import pytest
from cut_lines import line
from helpers import until

from securelink.keys import Identity
from securelink.threads.client_channel import ClientChannel


def in_a_child(ask: Callable[[], object]) -> str:
    """What a child of fork() says to a question, as text."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: threads and fork()
        child = os.fork()
    if not child:
        try:
            os.write(writer, repr(ask()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return said


@pytest.mark.pure  # it replaces a method of the session
def test_a_fork_in_the_moment_of_the_loss(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child of fork() finds the session between its link, which has let it go, and the attempts to reconnect."""
    seen: list[str] = []
    suspended = ClientChannel.suspended

    def fork_first(channel: ClientChannel) -> None:
        seen.append(in_a_child(lambda: channel.ended))
        suspended(channel)

    with line(identity) as stage:
        monkeypatch.setattr(ClientChannel, "suspended", fork_first)
        stage.relay.cut()
        until(lambda: seen)
        assert seen[0] == "True"
        stage.client.send("say", 1)
        until(lambda: stage.heard == [1])


def test_a_fork_does_not_go_on_with_it(identity: Identity) -> None:
    """The session of a client that is away is the parent's: in the child it is over, and the parent's goes on."""
    with line(identity) as stage:
        client = stage.client
        stage.refuse()
        until(lambda: not client.connected)
        assert in_a_child(lambda: (client.ended, client.connected)) == "(True, False)"
        stage.admit()
        client.send("say", 1)
        until(lambda: stage.heard == [1])
