"""A server with a state file makes room for the next one: sessions wait in the file, and clients come back to them."""

from __future__ import annotations

import signal
import threading
import time

import pytest
from engines import Pair
from helpers import WAIT, until
from kept import Place, only
from together import channel_of, take, unread

from benchmarks.mortal import outlive
from securelink import Client, Code, ConnectionClosed, Identity
from securelink.limits import RETURNS_PER_SECOND
from securelink.protocol import Closed


def told(client: Client) -> list[str]:
    """What the client tells its program from now on, in order."""
    words: list[str] = []
    client.on_suspend(lambda: words.append("suspend"))
    client.on_resume(lambda replayed: words.append("resume"))
    client.on_disconnect(lambda: words.append(f"disconnect {client.code!r}"))
    return words


def test_a_drain_hands_the_sessions_over(place: Place) -> None:
    """No session ends, on either side; what waits goes on, and the next server tells that it has them."""
    server = place.server()
    server.on_suspend(lambda session: place.seen.append("suspend"))
    with server:
        place.port = server.address[1]
        client = place.client()
        words = told(client)
        client.connect(WAIT)
        client.send("count", "a")
        assert take(client) == [["a", 1]]
        session = only(server)
        assert not server.drain()
        assert not server.running
        assert place.seen == ["connect", "suspend"]
        assert (session.ended, session.code) == (True, Code.HANDOVER)  # in this process
    client.send("count", "b")
    with place.running() as following:
        assert take(client) == [["b", 2]]
        assert only(following).token == client.token == session.token
        assert words == ["suspend", "resume"]
        assert place.seen[2:] == ["restore", "resume"]
        client.close()


def test_stop_ends_them(place: Place) -> None:
    """It is a decision, and the file does not outvote it: also of those that are away."""
    with place.server() as server:
        place.port = server.address[1]
        client, away = place.client(), place.client()
        words = told(client)
        for one in (client, away):
            one.connect(WAIT)
            one.send("count", "a")
            assert take(one) == [["a", 1]]
        lost = channel_of(server.sessions[away.token])
        assert lost.link is not None
        server.pause()
        lost.loop.call(lost.link.lost)
        until(lambda: lost.is_suspended)
        assert server.stop()
        until(lambda: words)
        assert words == [f"disconnect {Code.SHUTDOWN!r}"]
        assert place.seen.count(f"disconnect {Code.SHUTDOWN!r}") == 2
    assert place.kept() == 0
    with place.running():
        until(lambda: away.code is not None)
        assert away.code == Code.LOST


def test_each_client_stays_away_as_long_as_it_was_asked_to(place: Place) -> None:
    """Not all come at once, and none before its time."""
    with place.running() as server:
        clients = [place.client() for _ in range(5)]
        for client in clients:
            client.connect(WAIT)
            client.send("count", "a")
            assert take(client) == [["a", 1]]
        server.drain(back_in=1.0)
        times = sorted(channel_of(client).back_at for client in clients)
        assert times[-1] - times[0] >= 3.5 / RETURNS_PER_SECOND
    with place.running() as server:
        back: dict[str, float] = {}
        server.on_resume(lambda session, _: back.setdefault(session.token, time.monotonic()))
        until(lambda: len(back) == len(clients))
        for client in clients:
            assert back[client.token] >= channel_of(client).back_at
            client.close()


def test_nobody_is_sent_away_for_ever(place: Place) -> None:
    """A server that says months is believed for five minutes, and for half of the time that the session has."""
    with place.running(resume=4) as server:
        client = place.client()
        client.connect(WAIT)
        client.send("count", "a")
        assert take(client) == [["a", 1]]
        server.drain(back_in=10_000_000)
    with place.running(resume=4):
        client.send("count", "b")
        assert take(client) == [["b", 2]]
        client.close()


def test_a_client_that_does_not_come_back_is_told_when_it_could(place: Place) -> None:
    """Without `reconnect` it is an end like RESTART: announced, and `connect(retry=True)` waits."""
    with place.running() as server:
        client = place.client(reconnect=False)
        client.connect(WAIT)
        client.send("count", "a")
        assert take(client) == [["a", 1]]
        server.drain(back_in=0.5)
        with pytest.raises(ConnectionClosed) as caught:
            client.receive(WAIT)
        assert (caught.value.code, caught.value.clean) == (Code.HANDOVER, True)
        assert "retry=True" in caught.value.hint
    with place.running() as server:
        back_at = channel_of(client).back_at
        client.connect(WAIT, retry=True)
        assert time.monotonic() >= back_at
        client.close()


def test_close_gives_up_the_waiting(place: Place) -> None:
    """A client that was asked to stay away can be closed at once."""
    with place.running() as server:
        client = place.client()
        client.connect(WAIT)
        server.drain(back_in=100)
    began = time.monotonic()
    client.close()
    assert time.monotonic() - began < WAIT / 2
    assert client.code == Code.NORMAL


def test_a_session_that_cannot_be_kept_ends_as_before(place: Place) -> None:
    """Its client hears RESTART, and both sides are told that it is over."""
    with place.running(authenticate=lambda hello: object()) as server:
        client = place.client()
        words = told(client)
        client.connect(WAIT)
        client.send("count", "a")
        assert take(client) == [["a", 1]]
        server.drain()
        until(lambda: words)
        assert words == [f"disconnect {Code.RESTART!r}"]
        assert place.seen[-1] == f"disconnect {Code.RESTART!r}"
    assert place.kept() == 0


def test_who_is_kicked_meanwhile_is_out(place: Place) -> None:
    """The connection is being handed over, and the application ends the session: that counts."""
    with place.running() as server:

        @server.on_suspend
        def kick(session: object) -> None:
            only(server).kick("enough")

        client = place.client()
        words = told(client)
        client.connect(WAIT)
        client.send("count", "a")
        assert take(client) == [["a", 1]]
        server.drain()
        assert place.seen[-1] == f"disconnect {Code.KICKED!r}"
    assert place.kept() == 0
    with place.running():
        until(lambda: f"disconnect {Code.LOST!r}" in words)


def test_a_client_that_hangs_holds_nobody_up(place: Place) -> None:
    """It is hung up on after a second; what is sent to it until then, and afterwards, waits in the file."""
    with place.running() as server:
        client = place.client()
        client.connect(WAIT)
        client.send("count", "a")
        assert take(client) == [["a", 1]]
        session = only(server)
        link = channel_of(session).link
        assert link is not None
        with unread(channel_of(client)):
            drain = threading.Thread(target=server.drain)
            drain.start()
            until(lambda: link.closing == (Code.HANDOVER, ""))
            session.send("count", "while it hangs")
            drain.join(WAIT)
            assert not server.running
    with place.running():
        assert take(client) == ["while it hangs"]
        client.close()


def test_an_answer_would_be_an_end(identity: Identity) -> None:
    """The client's side of the protocol says nothing to HANDOVER, and the session of both sides goes on."""
    pair = Pair(identity).run()
    client, server = pair.client, pair.server
    server.close(Code.HANDOVER, now=0.0, delay=2.5)
    assert (server.closing, server.asked) == ((Code.HANDOVER, ""), None)
    (closed,) = client.receive_data(server.data_to_send(), 0.0)
    assert isinstance(closed, Closed)
    assert (closed.code, closed.delay) == (Code.HANDOVER, 2.5)
    assert client.closing is None
    assert client.data_to_send() == b""
    # What ends the session comes too late to be said, and counts.
    server.close(Code.KICKED, "out", now=0.0)
    assert server.asked == (Code.KICKED, "out")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_handed_over_while_all_talk(how: signal.Signals) -> None:
    """A process that a signal ends again and again: nothing is lost, doubled or out of order, and no session ends."""
    sent, wrong = outlive(guests=3, kills=3, seed=2, how=how)
    assert wrong == []
    assert sent > 30
