"""What becomes of sessions that a file has kept while there was no server: time and rights may have gone."""

from __future__ import annotations

import time
from typing import Any

import pytest
from helpers import WAIT, until
from kept import Place
from together import take

from securelink import AuthorizedClients, Identity, Refused, Session
from securelink.codes import Code
from securelink.state import Change, Counts, Saved, SavedTicket, SqliteStore, StateKeys
from securelink.state.rows import encode


def keep(place: Place, *sessions: tuple[bytes, float]) -> None:
    """A file with sessions of these names, that lost their connections so many seconds ago."""
    now = time.time()
    store = SqliteStore(place.path, StateKeys.load_or_make(place.keys))
    store.take_over()
    rows = []
    for name, away in sessions:
        token = (name * 16)[:16]
        ticket = SavedTicket(token * 2, 1 << 20, b"p" * 32, None, None, "", "")
        saved = Saved(
            token, b"\xc0", False, ("192.0.2.1", 5), None, now, True, "", [ticket], now - away, True, False,
            [], encode({"name": name, "count": 0}), None, 600,
        )  # fmt: skip
        change = Change(token, saved=encode(saved), counts=encode(Counts(0, 1, 0, 0, 0, 0)))
        change.received = [(1, encode([["count", "kept"]]))]
        rows.append(change)
    store.commit(rows, now)
    store.close()


def test_who_has_waited_longest_ends_first(place: Place) -> None:
    """Sessions have the time that each of them has left, in whatever order they began."""
    keep(place, (b"young", 0.0), (b"older", 1000.0))
    server = place.server(resume=600)
    ended: list[bytes] = []
    server.on_disconnect(lambda session: ended.append(session.data["name"]))
    server.start()
    try:
        until(lambda: ended)
        assert ended == [b"older"]
        assert [session.data["name"] for session in server.sessions.values()] == [b"young"]
    finally:
        server.stop()


@pytest.mark.parametrize("how", ["raised", "returned", "has not run"])
def test_on_restore_may_refuse(place: Place, how: str) -> None:
    """As on_connect may: the session ends, and what has waited in it reaches no handler."""
    keep(place, (b"alice", 1.0), (b"bob", 1.0))
    server = place.server(resume=600)
    ended: list[Session] = []
    counted: list[bytes] = []
    server.on_disconnect(ended.append)
    server.on("count", lambda session, packet: counted.append(session.data["name"]))

    async def later() -> None:
        """Is never run."""

    @server.on_restore
    def look(session: Session) -> Any:
        if session.data["name"] == b"bob":
            return None
        if how == "raised":
            raise Refused("not any more")
        return Refused("not any more") if how == "returned" else later()

    server.start()
    try:
        until(lambda: ended and counted)
        assert [(one.data["name"], one.code) for one in ended] == [(b"alice", Code.REFUSED)]
        words = "could not check" if how == "has not run" else "not any more"
        assert words in (ended[0].text or "")
        assert counted == [b"bob"]
    finally:
        server.stop()


def test_a_key_that_was_revoked_while_there_was_no_server(
    place: Place, other_identity: Identity
) -> None:
    """Its session ends at the start, not when its time is over."""
    clients = AuthorizedClients(place.keys / "authorized_clients")
    clients.authorize(other_identity.fingerprint, "ada")
    given: dict[str, Any] = {"resume": 600, "client_keys": "known"}
    with place.running(**given):
        client = place.client(keys=other_identity, reconnect=False)
        client.connect(WAIT)
        client.send("count", "a")
        assert take(client) == [["a", 1]]
    clients.revoke("ada")
    with place.running(**given) as server:
        until(lambda: not server.sessions)
        until(lambda: place.seen[-1:] == [f"disconnect {Code.KICKED!r}"])
    assert place.kept() == 0
    client.close()
