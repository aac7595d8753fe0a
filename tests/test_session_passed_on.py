"""
A client's session goes on in another client, which has its file: what each side is told, and where a new one begins.

The other client is one of the same process here, with a copy of the file: so nothing has to be killed. Processes that
are killed are in `test_session_processes.py`.
"""

from __future__ import annotations

import errno
import inspect
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from helpers import WAIT, failure, until
from kept import Place, only
from passed_on import Scene, is_free, scene
from together import serving, take

from securelink import (
    Client,
    ConfigError,
    ConnectionClosed,
    Identity,
    KeyFileError,
    NotTrusted,
    crypto,
)
from securelink.app.declared import ClientOptions
from securelink.app.introduction import introduce
from securelink.codes import Code
from securelink.keys import replacing
from securelink.session import channel_of
from securelink.threads.passing_on import PassingOn

ENCRYPTION = pytest.mark.parametrize("encryption", ["required", "off"])


@ENCRYPTION
def test_another_client_goes_on(identity: Identity, tmp_path: Path, encryption: str) -> None:
    """With token, data and rooms; what was not acknowledged comes again; each side is told that, and nothing else."""
    with scene(identity, tmp_path, encryption) as found:
        found.server.set_state("noon")
        first = found.client()
        first.connect(WAIT)
        assert not first.resumed
        session = found.session
        session.data["score"] = 7
        session.join("lobby")
        session.send("push", 1)
        session.send("push", 2)
        assert take(first, 2) == [1, 2]
        other = found.client(found.copy())
        events: list[str] = []
        other.on_connect(lambda: events.append("connect"))
        other.on_resume(lambda replayed: events.append(f"resume {replayed}"))
        other.connect(WAIT)
        assert other.resumed
        assert other.token == session.token == first.token
        session.send("push", 3)
        assert take(other, 3) == [1, 2, 3]  # it was not told in time that the first had had them
        until(lambda: events == ["resume 0"])
        until(lambda: other.server_state == "noon")
        until(lambda: found.seen[:2] == ["connect", "resume True"])
        assert session.restarted
        assert (session.data, session.rooms) == ({"score": 7}, ["lobby"])
        other.send("echo", "hello")
        assert take(other) == ["hello"]
        assert other.close(WAIT) == []
        until(lambda: "disconnect" in found.seen)


@ENCRYPTION
def test_what_it_knows_from_then_on(identity: Identity, tmp_path: Path, encryption: str) -> None:
    """When it loses its own connection it goes on with memory: the server says so, and nothing comes twice."""
    with scene(identity, tmp_path, encryption) as found:
        found.client().connect(WAIT)
        session = found.session
        other = found.client(found.copy())
        other.connect(WAIT)
        session.send("push", 1)
        assert take(other) == [1]
        link = channel_of(session).link
        assert link is not None
        link.stream.shutdown(2)
        until(lambda: "resume False" in found.seen)
        assert not session.restarted
        session.send("push", 2)
        assert take(other) == [2]
        assert other.resumed  # `connect()` did
        third = found.client(found.copy(1))
        third.connect(WAIT)  # the file had the ticket of that connection
        assert third.resumed


def test_two_clients_with_one_session(identity: Identity, tmp_path: Path) -> None:
    """A copy that is used while its owner lives takes the session over; the owner is told that it is gone."""
    with scene(identity, tmp_path) as found:
        first = found.client()
        first.connect(WAIT)
        other = found.client(found.copy())
        other.connect(WAIT)
        assert other.resumed
        until(lambda: first.code == Code.LOST)
        failure(ConnectionClosed, lambda: first.send("echo", 1), "session is over")
        until(lambda: not found.path.exists())  # nothing is left of it there
        other.send("echo", 1)
        assert take(other) == [1]


def test_an_old_copy_is_worth_nothing(identity: Identity, tmp_path: Path) -> None:
    """From a backup, or stolen, and used after its owner has gone on: a new session begins, and the owner's stays."""
    with scene(identity, tmp_path) as found:
        first = found.client()
        first.connect(WAIT)
        old = found.copy()
        link = channel_of(found.session).link
        assert link is not None
        link.stream.shutdown(2)
        until(lambda: "resume False" in found.seen)
        first.send("echo", 1)
        assert take(first) == [1]
        other = found.client(old)
        other.connect(WAIT)
        assert not other.resumed
        assert other.token != first.token
        assert first.connected


def test_requests_of_the_dead_are_not_answered_to_others(
    identity: Identity, tmp_path: Path
) -> None:
    """The answer to a request of the first client comes to the other one, which waits for that of its own."""
    with scene(identity, tmp_path) as found:
        go = threading.Event()
        found.server.on("slow", lambda session, packet: go.wait(WAIT) and "slow")
        found.server.on("quick", lambda session, packet: "quick")
        first = found.client()
        first.connect(WAIT)
        first.request_later("slow", timeout=WAIT)
        incoming = channel_of(found.session).core.numbering.incoming
        until(lambda: incoming.accepted == 1)
        other = found.client(found.copy())
        other.connect(WAIT)
        asked = other.request_later("quick", timeout=WAIT)
        until(lambda: incoming.accepted == 2)
        go.set()
        assert asked.result(WAIT) == "quick"


@pytest.mark.parametrize(
    "options",
    [
        {"application": "other"},
        {"version": "2"},
        {"keys": "client"},
        {"encryption": "off"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_other_options(identity: Identity, tmp_path: Path, options: dict[str, Any]) -> None:
    """A client that is not as the one that began the session begins a new one."""
    with serving(identity, encryption="optional", resume=60, max_packet=2**16) as server:
        found = Scene(server, tmp_path, "required")
        first = found.client()
        first.connect(WAIT)
        path = found.copy()
        if "keys" in options:
            options = {"keys": tmp_path / "keys"}
        other = found.client(path, **options)
        other.connect(WAIT)
        assert not other.resumed
        assert other.token != first.token
        other.close()
        first.close()


def test_a_session_with_larger_packets_than_it_takes(identity: Identity, tmp_path: Path) -> None:
    """It would be refused at each connect: a new one begins."""
    with scene(identity, tmp_path, max_packet=2**16) as found:
        found.client().connect(WAIT)
        path = found.copy()
        parameters = inspect.signature(Client.__init__).parameters
        given = {name: parameters[name].default for name in ClientOptions.__annotations__}
        for limit, fits in ((2**16, True), (2**15, False)):
            passing_on = PassingOn(path)
            options = ClientOptions.of(
                {**given, "max_packet": limit, "known_servers": tmp_path / "known"}
            )
            host, port, ours, _ = introduce("127.0.0.1", found.server.address[1], None, options)
            with passing_on.beginning():
                assert (passing_on.left_by_another(host, port, ours) is not None) is fits
            assert passing_on.file is not None
            passing_on.file.release()


def test_a_file_of_another_server(identity: Identity, tmp_path: Path) -> None:
    """It is an error, so that no session is lost by a wrong name; the file stays as it is."""
    with scene(identity, tmp_path) as found, serving(identity, resume=60) as server:
        found.client().connect(WAIT)
        path = found.copy()
        before = path.read_bytes()
        other = Client(
            "127.0.0.1", server.address[1], session=path, known_servers=tmp_path / "known"
        )
        failure(
            ConfigError, lambda: other.connect(WAIT), "is of a session with", "a file of its own"
        )
        assert path.read_bytes() == before
        assert not server.sessions
        third = found.client(path)
        third.connect(WAIT)  # the file is free again
        assert third.resumed


def test_a_damaged_file(identity: Identity, tmp_path: Path) -> None:
    """It is an error before anything is sent, and it stays."""
    with scene(identity, tmp_path) as found:
        found.path.write_bytes(b"# securelink: a session\n{}\n")
        found.path.chmod(0o600)
        failure(KeyFileError, lambda: found.client().connect(WAIT), "is damaged", "remove it")
        assert found.path.exists()
        assert not found.seen


def test_one_client_at_a_time(identity: Identity, tmp_path: Path) -> None:
    """A second client with the same file is refused, until the first one's session is over."""
    with scene(identity, tmp_path) as found:
        first, second = found.client(), found.client()
        first.connect(WAIT)
        failure(
            ConfigError, lambda: second.connect(WAIT), "another client of this process", "its own"
        )
        assert first.connected
        first.close(WAIT)
        until(lambda: is_free(second))  # a moment after the session is over
        second.connect(WAIT)
        assert not second.resumed


def test_an_attempt_that_fails_leaves_the_file(identity: Identity, tmp_path: Path) -> None:
    """When the server is not believed, nothing becomes of the session, and another attempt goes on with it."""
    with scene(identity, tmp_path) as found:
        found.client().connect(WAIT)
        path = found.copy()
        before = path.read_bytes()
        wrong = found.client(path, pin="SHA256:" + "A" * 43)
        failure(NotTrusted, lambda: wrong.connect(WAIT), "")
        assert path.read_bytes() == before
        right = found.client(path)
        right.connect(WAIT)
        assert right.resumed


@pytest.mark.parametrize("how", ["close", "kick", "forgotten"])
def test_a_session_that_ends_leaves_no_file(identity: Identity, tmp_path: Path, how: str) -> None:
    """Whoever ends it: nobody can go on with it, and its secrets are removed."""
    with scene(identity, tmp_path) as found:
        client = found.client()
        client.connect(WAIT)
        assert found.path.exists()
        if how == "close":
            client.close(WAIT)
        elif how == "kick":
            found.session.kick("out")
        else:
            found.clients.clear()
            with pytest.warns(ResourceWarning):
                del client
        until(lambda: not found.path.exists())
        until(lambda: found.seen == ["connect", "disconnect"])
        again = found.client()
        until(lambda: is_free(again))
        again.connect(WAIT)
        assert not again.resumed


def test_a_server_that_keeps_no_sessions(
    identity: Identity, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The client works, and the log says that no other will go on; an earlier file is gone."""
    with scene(identity, tmp_path, resume=0) as found:
        client = found.client()
        client.connect(WAIT)
        assert not client.resumed
        assert not found.path.exists()
        assert "keeps no sessions" in caplog.text
        client.send("echo", 1)
        assert take(client) == [1]


def test_a_server_that_has_forgotten(identity: Identity, tmp_path: Path) -> None:
    """Its process is another one, which keeps nothing, or its time was over: a new session begins, and says so."""
    with scene(identity, tmp_path) as found:
        found.client().connect(WAIT)
        path, port = found.copy(), found.server.address[1]
    with serving(identity, resume=60) as server:
        text = path.read_text().replace(f'"port":{port}', f'"port":{server.address[1]}')
        about, line, _ = text.encode().split(b"\n", 2)
        path.write_bytes(b"\n".join((about, line, crypto.sha256(line).hex().encode(), b"")))
        client = Client(
            "127.0.0.1", server.address[1], session=path, known_servers=tmp_path / "known"
        )
        events: list[str] = []
        client.on_connect(lambda: events.append("connect"))
        client.on_resume(lambda replayed: events.append("resume"))
        client.connect(WAIT)
        assert not client.resumed
        until(lambda: events == ["connect"])
        client.close(WAIT)


def test_a_file_that_cannot_be_written(
    identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`connect()` says so; the session of an earlier process is not lost by it, and can be tried again."""
    with scene(identity, tmp_path) as found:
        found.client().connect(WAIT)
        path = found.copy()
        with monkeypatch.context() as patch:
            patch.setattr(replacing, "write_temporary", _full_disk)
            other = found.client(path)
            failure(KeyFileError, lambda: other.connect(WAIT), "the disk is full")
            third = found.client(tmp_path / "new.session")
            failure(KeyFileError, lambda: third.connect(WAIT), "the disk is full")
        other.connect(
            WAIT, retry=True
        )  # the first client is still there, and may be coming back in this moment
        assert other.resumed


def test_a_session_is_not_given_up_for_its_file(
    identity: Identity,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """When its file cannot be written any more it goes on, and the log says that no other process will."""
    with scene(identity, tmp_path) as found:
        client = found.client()
        client.connect(WAIT)
        monkeypatch.setattr(replacing, "write_temporary", _full_disk)
        link = channel_of(found.session).link
        assert link is not None
        link.stream.shutdown(2)
        until(lambda: "resume False" in found.seen)
        client.send("echo", 1)
        assert take(client) == [1]
        assert "no other process can go on" in caplog.text


def _full_disk(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "full")


def test_reconnect_off_does_not_go_with_it(tmp_path: Path) -> None:
    """Such a session ends with its connection: nothing is left to go on with."""
    failure(
        ConfigError,
        lambda: Client("127.0.0.1", 5050, session=tmp_path / "x", reconnect=False),
        "session= keeps",
        "drop one",
    )


def test_both_processes_are_others(place: Place) -> None:
    """The server keeps its sessions in a file, too: when both have died, both go on, with what the server had sent."""
    path, copy = place.folder / "first.session", place.folder / "second.session"
    with place.running() as server:
        first = place.client(session=path)
        first.connect(WAIT)
        first.send("count", "a")
        assert take(first) == [["a", 1]]
        shutil.copyfile(path, copy)
        copy.chmod(0o600)
        only(server).send("push", 1)
        assert take(first) == [1]
        server.drain()
    first.close(0.0)  # nobody hears of it
    with place.running() as following:
        other = place.client(session=copy)
        other.connect(WAIT)
        assert other.resumed
        other.send("count", "b")
        came = take(other)
        while came[-1] != ["b", 2]:
            came += take(other)
        assert came in ([["a", 1], 1, ["b", 2]], [1, ["b", 2]], [["b", 2]])
        assert only(following).restarted
        assert place.seen == ["connect", "restore", "resume"]
        other.close(WAIT)
