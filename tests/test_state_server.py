"""Sessions outlive the process of their server: nothing is told before it is kept, and what was kept goes on."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from helpers import WAIT, until
from kept import Place, only
from together import channel_of as client_channel_of
from together import take, unread

from benchmarks.mortal import outlive
from securelink import ConfigError, Server, Session, StateError
from securelink.codes import Code
from securelink.session import channel_of
from securelink.state import Change, SqliteStore


def test_a_session_goes_on_in_the_next_process(place: Place) -> None:
    """With its token, user, rooms, data and packets, those too that were sent while there was no server."""
    with place.running(authenticate=lambda hello: {"name": "alice"}) as server:
        client = place.client()
        client.connect(WAIT)
        client.send("count", "a")
        assert take(client) == [["a", 1]]
        token = only(server).token
    client.send("count", "b")
    with place.running(authenticate=lambda hello: {"name": "alice"}) as server:
        assert list(server.sessions) == [token]
        session = only(server)
        assert session.user == {"name": "alice"}
        assert session.rooms == ["lobby"]
        assert session.data["count"] >= 1
        server.room("lobby").broadcast("counted", "all")
        client.send("count", "c")
        assert sorted(map(str, take(client, 3))) == sorted(["['b', 2]", "['c', 3]", "all"])
        assert client.token == token
        assert place.seen[:3] == ["connect", "restore", "resume"]
        client.close()
        assert client.unconfirmed == []
        until(lambda: not server.sessions)
        until(lambda: place.seen[-1].startswith("disconnect"))
    assert place.kept() == 0


def test_what_waits_for_a_client_that_is_away_is_kept(place: Place) -> None:
    """In order, and what replaces something replaces it there as well; nobody sees a part."""
    with place.running() as server:
        client = place.client(reconnect=False)
        client.connect(WAIT)
        client.send("count", "a")
        assert take(client) == [["a", 1]]
        session = only(server)
        channel = channel_of(session)
        link = channel.link
        assert link is not None
        link.loop.call(link.lost)
        until(lambda: not session.connected)
        for number in range(20):
            session.send("push", number)
            session.send("place", number, latest="place")
        until(lambda: channel.core.numbering.outgoing.sent < 5)
    with place.running() as server:
        session = only(server)
        waiting = [packet.data for packet in channel_of(session).core.unconfirmed()]
        assert [data for data in waiting if isinstance(data, int)] == [0, 19, *range(1, 20)]
    client.close()


class Gate:
    """Lets commits through when it is open."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = threading.Event()
        self.open.set()
        self.waits = threading.Event()
        self.commits: list[int] = []
        self.error: StateError | None = None
        commit = SqliteStore.commit

        def gated(store: SqliteStore, changes: Sequence[Change], now: float) -> None:
            if changes:
                self.waits.set()
                self.open.wait(WAIT)
            if self.error is not None:
                raise self.error
            commit(store, changes, now)
            self.commits.append(len(changes))

        monkeypatch.setattr(SqliteStore, "commit", gated)


def test_nothing_is_told_before_it_is_kept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither an answer, nor an acknowledgement, nor the ticket of a new session."""
    gate = Gate(monkeypatch)
    with place.running():
        client = place.client()
        client.connect(WAIT)
        client.send("count", "a")
        assert take(client) == [["a", 1]]
        gate.open.clear()
        client.send("count", "b")
        assert client.receive(0.3) is None
        assert "b" in [packet.data for packet in client_channel_of(client).core.unconfirmed()]
        gate.open.set()
        assert take(client) == [["b", 2]]
        until(
            lambda: (
                "b" not in [packet.data for packet in client_channel_of(client).core.unconfirmed()]
            )
        )
        gate.waits.clear()
        gate.open.clear()
        other = place.client()
        coming = threading.Thread(target=other.connect, args=(WAIT,))
        coming.start()
        assert gate.waits.wait(WAIT)  # all has happened that comes before the session's commit
        coming.join(0.3)
        assert not other.connected
        gate.open.set()
        coming.join(WAIT)
        assert other.connected
        other.close()
        client.close()


def test_a_handler_that_asks_its_client_lets_out_what_it_sent(place: Place) -> None:
    """Otherwise the client would never hear the question."""
    with place.running() as server:

        @server.on("sum")
        def add(session: Session, packet: Any) -> None:
            session.send("first", 1)
            session.send("total", session.request("value", timeout=WAIT) + packet.data)

        client = place.client()
        client.on("value", lambda packet: 40)
        client.connect(WAIT)
        client.send("sum", 2)
        found = [client.receive(WAIT), client.receive(WAIT)]
        assert [(packet.action, packet.data) for packet in found if packet] == [
            ("first", 1), ("total", 42),
        ]  # fmt: skip
        client.close()


def test_who_is_kicked_hears_all_before_and_is_forgotten(place: Place) -> None:
    """What the same handler sent before goes out first; afterwards nothing is kept."""
    with place.running() as server:

        @server.on("leave")
        def leave(session: Session, packet: Any) -> None:
            session.send("last", "x" * 100_000)
            session.kick("enough")

        client = place.client()
        client.connect(WAIT)
        client.send("leave")
        assert take(client) == ["x" * 100_000]
        until(lambda: client.code == Code.KICKED)
        assert client.text == "enough"
        until(lambda: "disconnect <Code.KICKED: 19>" in place.seen)
    assert place.kept() == 0


def test_nothing_is_numbered_behind_a_farewell(place: Place) -> None:
    """CLOSE counts records, and waits until the client takes them: what a handler sends meanwhile is none of them."""
    begun, over = threading.Event(), threading.Event()
    with place.running() as server:
        slow, other = place.client(), place.client()
        slow.connect(WAIT)
        session = only(server)

        @server.on("tell")
        def tell(teller: Session, packet: Any) -> None:
            session.send("last")
            begun.set()
            over.wait(WAIT)
            teller.send("told")

        other.connect(WAIT)
        channel = channel_of(session)
        link = channel.link
        assert link is not None
        with unread(client_channel_of(slow)):
            while not link.writer.buffer.tail:
                session.send("much", bytes(1_000_000), full="drop")
            other.send("tell")
            assert begun.wait(WAIT)
            session.kick("enough")
            until(lambda: link.closing is not None)
            sent = channel.core.numbering.outgoing.sent
            over.set()
            assert take(other) == [None]
            assert channel.core.numbering.outgoing.sent == sent
        until(lambda: slow.code is not None)
        assert slow.code == Code.KICKED
        other.close()


def test_a_file_that_went_back_in_time_ends_whose_client_is_ahead(place: Place) -> None:
    """Both sides are told once, and the client lists exactly what it had sent since."""
    ended: list[object] = []
    with place.running():
        client = place.client()
        client.on_disconnect(lambda: ended.append(client.code))
        client.connect(WAIT)
        client.send("count", "a")
        assert take(client) == [["a", 1]]
    shutil.copy(place.path, place.folder / "backup.db")
    with place.running():
        until(lambda: client.connected)
        client.send("count", "b")
        assert take(client) == [["b", 2]]
    for name in place.folder.glob("state.db*"):
        name.unlink()
    shutil.copy(place.folder / "backup.db", place.path)
    client.send("count", "c")
    with place.running(resume=2) as server:
        until(lambda: ended)
        assert [packet.data for packet in client.unconfirmed][-1:] == ["c"]
        until(lambda: not server.sessions)
        until(lambda: any(word.startswith("disconnect") for word in place.seen))
    assert len(ended) == 1


def test_a_file_that_is_lost_ends_its_sessions(place: Place) -> None:
    """The next server knows none of them; each client is told once, and has the list of what was not handled."""
    ended: list[object] = []
    with place.running():
        client = place.client()
        client.on_disconnect(lambda: ended.append(client.code))
        client.connect(WAIT)
        client.send("count", "a")
        assert take(client) == [["a", 1]]
    for name in place.folder.glob("state.db*"):
        name.unlink()
    client.send("count", "b")
    with place.running() as server:
        until(lambda: ended)
        assert ended == [Code.LOST]
        assert [packet.data for packet in client.unconfirmed][-1:] == ["b"]
        assert not server.sessions
        client.connect(WAIT)
        client.send("count", "c")
        assert take(client) == [["c", 1]]
        client.close()


def test_time_runs_while_there_is_no_server(place: Place) -> None:
    """A session whose time was over meanwhile ends at the start, with its event, and is not kept any more."""
    with place.running(resume=2):
        client = place.client()
        client.connect(WAIT)
        client.send("count", "a")
        assert take(client) == [["a", 1]]
    time.sleep(2.5)
    place.seen.clear()
    with place.running(resume=2) as server:
        until(lambda: not server.sessions)
        until(lambda: len(place.seen) == 2)
        assert place.seen == ["restore", f"disconnect {Code.EXPIRED!r}"]
        until(lambda: not client.connected)
    assert place.kept() == 0
    client.close()


def test_a_commit_that_fails_ends_the_server_as_if_killed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is told, no client's session ends, and all goes on when the server is started again with room."""
    gate = Gate(monkeypatch)
    server = place.server()
    raised: list[BaseException] = []

    def serve() -> None:
        try:
            server.serve_forever()
        except StateError as error:
            raised.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    until(lambda: server.running)
    place.port = server.address[1]
    client = place.client()
    client.connect(WAIT)
    client.send("count", "a")
    assert take(client) == [["a", 1]]
    gate.error = StateError("cannot write: the disk is full")
    client.send("count", "b")
    thread.join(WAIT)
    assert raised == [gate.error] == [server.failure]
    assert client.receive(0.2) is None
    assert not server.running
    assert not any(word.startswith("disconnect") for word in place.seen)
    gate.error = None
    with place.running():
        assert take(client) == [["b", 2]]
        client.close()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda place: place.path.write_bytes(b"not a database, but long enough" * 100), "damaged"),
        (lambda place: (place.keys / "state.key").unlink(), "which is not in"),
        (lambda place: (place.keys / "state.key").write_text("current"), "no key of a state file"),
    ],
)
def test_a_file_that_cannot_be_used_keeps_the_server_from_starting(
    place: Place, spoil: Callable[[Place], object], words: str
) -> None:
    """One clear error; nothing listens, and the file is not locked afterwards."""
    with place.running():
        client = place.client()
        client.connect(WAIT)
    spoil(place)
    for _ in range(2):
        with pytest.raises(StateError, match=words):
            place.server().start()
    client.close()


def test_two_servers_do_not_share_a_file(place: Place) -> None:
    """The second does not start, and says who is in its way; the first goes on."""
    with place.running(), pytest.raises(StateError, match="another server of this process"):
        Server("127.0.0.1", 0, keys=place.keys, state=place.path).start()


def test_options_that_do_not_go_together(place: Place) -> None:
    """A store without resume, or without a folder for its key, is an error at once."""
    with pytest.raises(ConfigError, match="resume=0"):
        Server(state=place.path, resume=0)
    with pytest.raises(ConfigError, match="keys folder"):
        Server(state=place.path, keys=place.identity)
    with pytest.raises(ConfigError, match="state_sync"):
        Server(state=place.path, state_sync="never")


def test_what_cannot_be_sent_is_not_kept(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Of `data` what cannot be sent is left out, with a word in the log; a session of such a user is as before."""
    with place.running() as server:

        @server.on("keep")
        def keep(session: Session, packet: Any) -> None:
            session.data["open file"] = threading.Lock()
            session.data["fine"] = [1, 2]
            session.send("kept")

        client = place.client()
        client.connect(WAIT)
        client.send("keep")
        assert take(client) == [None]
    assert "session.data['open file'] is a lock" in caplog.text
    with place.running() as server:
        assert only(server).data == {"count": 0, "fine": [1, 2]}
        client.close()
    with place.running(authenticate=lambda hello: object()):
        client = place.client()
        client.connect(WAIT)
        client.send("count", "a")
        assert take(client) == [["a", 1]]
        client.close()
    assert "cannot be kept" in caplog.text


def test_data_that_others_change_is_kept_within_seconds(place: Place) -> None:
    """The sweep sees what no handler of the session has changed."""
    with place.running() as server:
        client = place.client()
        client.connect(WAIT)
        session = only(server)
        until(lambda: "count" in session.data)
        session.data["score"] = 7
        channel = channel_of(session)
        until(lambda: b"score" in (getattr(channel, "_described", b"") or b""))
    with place.running() as server:
        assert only(server).data["score"] == 7
        client.close()


def test_a_game_loop_keeps_its_sessions_too(place: Place) -> None:
    """A server that `update()` drives."""
    server = place.server()
    server.update()
    place.port = server.address[1]
    client = place.client()
    coming = threading.Thread(target=client.connect, args=(WAIT,))
    coming.start()
    while coming.is_alive():
        server.update()
        time.sleep(0.005)
    client.send("count", "a")
    got: list[Any] = []
    while not got:
        server.update()
        got += client.poll()
        time.sleep(0.005)
    assert got[0].data == ["a", 1]
    server.drain()
    assert place.kept() == 1
    client.close()


@pytest.mark.parametrize("sync", ["turn", "10ms", "os"])
def test_killed_while_all_talk(sync: str) -> None:
    """A process that is killed at random moments: nothing is lost, doubled or out of order, for three who talk."""
    sent, wrong = outlive(guests=3, kills=3, seed=1, sync=sync)
    assert wrong == []
    assert sent > 30
