"""pnetwork: packets, actions, handshakes, connections and the console of its document."""

from __future__ import annotations

import io
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers import WAIT, until
from running import SETTINGS, keys_for

from securelink import Identity, Session
from securelink.compat.pnetwork import coreclient, coreserver, coretools
from securelink.compat.pnetwork.core import Bind, Connection

pytestmark = pytest.mark.usefixtures("tidy", "keys")


@pytest.fixture
def keys(
    tidy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key_pool: list[Identity]
) -> None:
    """Keys of server and client are there: making them takes long."""
    for setting in SETTINGS:
        monkeypatch.delenv(setting, raising=False)
    keys_for(tmp_path, key_pool[0])
    key_pool[1].save(tmp_path / "keys", "client")


class Note(Bind):
    """Keeps what it was run with."""

    def __init__(self, name: str, *args: Any) -> None:
        super().__init__(name, *args)
        self.seen: list[tuple[Any, Any, Any]] = []

    def run(self, data: Any = None, packet: Any = None, socket: Any = None) -> None:
        self.seen.append((data, packet, socket))


@contextmanager
def serving(port: int = 0) -> Iterator[coreserver.Server]:
    """A server, on a port of its own unless one is given."""
    server = coreserver.Server(port=port)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def connected(server: coreserver.Server) -> Iterator[coreclient.Client]:
    """A client of it that has shaken hands."""
    client = coreclient.Client(port=port_of(server))
    client.start()
    try:
        yield client
    finally:
        client.stop()


def port_of(server: coreserver.Server) -> int:
    """Where it listens."""
    assert server.core is not None
    return server.core.address[1]


def at_server(server: coreserver.Server, client: coreclient.Client) -> Connection:
    """The server's Connection of a client."""
    return server.clients[client.token]


def at_client(client: coreclient.Client) -> Connection:
    """The client's Connection of its server."""
    (connection,) = client.clients.values()
    return connection


# --- handshake and actions ---------------------------------------------------------------------------


def test_the_handshake_registers_both_sides() -> None:
    """The client gets a uuid4 token, each side has a Connection to the other in `clients`, by the other's token."""
    with serving() as server, connected(server) as client:
        assert server.connected
        assert client.connected
        assert re.fullmatch(
            r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", str(client.token)
        )
        assert list(server.clients) == [client.token]
        assert list(client.clients) == [server.token]
        here = at_server(server, client)
        assert here.uuid == client.token
        assert client.token not in repr(here)
        assert isinstance(here.session, Session)
        assert here.session.address[0] == "127.0.0.1"
        assert at_client(client).session is client.core
    until(lambda: not server.clients)
    assert not client.clients


def test_packets_both_ways() -> None:
    """Actions get the data, the full packet and the Connection, which answers."""
    with serving() as server, connected(server) as client:
        question, answer = Note("QUESTION", "more", 2), Note("ANSWER")
        assert (question.name, question.args) == ("QUESTION", ("more", 2))
        server.bindAction("QUESTION", question)
        client.bindAction("ANSWER", answer)
        assert server.actions == {"QUESTION": question}
        sent = client.createPacket("QUESTION", {"n": 1})
        assert at_client(client).sendPacket(sent)
        until(lambda: question.seen)
        ((data, packet, connection),) = question.seen
        assert data == packet["data"] == {"n": 1}
        assert list(packet) == ["action", "data", "packet-created", "token"]
        assert packet == client.decodePacket(sent)
        assert packet["token"] == client.token
        assert connection is at_server(server, client)
        assert connection.sendPacket(server.createPacket("ANSWER", 42))
        assert connection.sendPacket(server.createPacket("ANSWER", 43, asbytes=False))
        began = time.time()
        assert connection.sendPacket({"action": "ANSWER", "data": 44})
        server.SendPacketForAll(server.createPacket("ANSWER", 45))
        until(lambda: len(answer.seen) == 4)
        assert [entry[0] for entry in answer.seen] == [42, 43, 44, 45]
        assert {entry[1]["token"] for entry in answer.seen} == {server.token}
        assert answer.seen[2][1]["packet-created"] >= began - 1


def test_run_takes_as_many_arguments_as_it_has() -> None:
    """`run(self, data="yeet")` is in the document, `run(self, data, packet, socket)` in the code: all work."""
    seen: list[Any] = []

    class Nothing(Bind):
        def run(self) -> None:
            seen.append("none")

    class One(Bind):
        def run(self, data: Any = "yeet") -> None:
            seen.append(data)

    class All(Bind):
        def run(self, *args: Any) -> None:
            seen.append(len(args))

    with serving() as server, connected(server) as client:
        for name, bind in {"0": Nothing("0"), "1": One("1"), "*": All("*")}.items():
            server.bindAction(name, bind)
            client.SendPacketForAll(client.createPacket(name, "data"))
        until(lambda: len(seen) == 3)
        assert seen == ["none", "data", 3]
    with pytest.raises(NotImplementedError):
        Bind("x").run()


def test_a_handshake_of_ones_own_is_not_needed() -> None:
    """The old client kept token and server only in a Bind that its user wrote; here that has nothing to do."""
    with serving() as server:
        client = coreclient.Client(port=port_of(server))
        own, note = Note("h"), Note("X")
        client.bindAction("handShake", own)
        server.bindAction("X", note)
        client.start()
        client.connect()  # the old programs called both; harmless
        client.SendPacketForAll(client.createPacket("X"))
        until(lambda: note.seen)
        assert own.seen == []
        client.stop()


def test_suspended_and_disconnect() -> None:
    """A suspended connection gets nothing; a disconnected one is told why."""
    with serving() as server, connected(server) as client:
        note, reason = Note("X"), Note("disconnect")
        client.bindAction("X", note)
        client.bindAction("disconnect", reason)
        here = at_server(server, client)
        here.startListen()
        here.startlisten()
        here.suspended = True
        assert here.sendPacket(server.createPacket("X", 1)) is False
        here.suspended = False
        assert here.sendPacket(server.createPacket("X", 2)) is True
        until(lambda: note.seen)
        assert [entry[0] for entry in note.seen] == [2]
        here.disconnect()
        until(lambda: reason.seen and not client.connected and not server.clients)
        assert reason.seen[0][0] == {"reason": "disconnected"}
        assert here.sendPacket(server.createPacket("X")) is False


def test_a_client_may_disconnect_in_an_action() -> None:
    """The connection object works inside `run`, also for ending itself."""

    class Leave(Bind):
        def run(self, data: Any, packet: Any, socket: Connection) -> None:
            socket.disconnect()

    with serving() as server, connected(server) as client:
        client.bindAction("LEAVE", Leave("LEAVE"))
        server.SendPacketForAll(server.createPacket("LEAVE"))
        until(lambda: not server.clients and not client.connected)


def test_starting_in_the_callers_thread() -> None:
    """`start(useThreading=False)` returns when it is over."""
    server = coreserver.Server(port=0)
    thread = threading.Thread(target=server.start, kwargs={"useThreading": False})
    thread.start()
    until(lambda: server.connected)
    client = coreclient.Client(port=port_of(server))
    listening = threading.Thread(target=client.start, args=(False,))
    listening.start()
    until(lambda: server.clients)
    server.stop()
    thread.join(WAIT)
    listening.join(WAIT)
    assert not thread.is_alive()
    assert not listening.is_alive()
    assert not server.connected


# --- the console ---------------------------------------------------------------------------------------


def entered(
    core: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *lines: str
) -> str:
    """What the console prints for some input."""
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
    coretools.CLI(core, "test").processCommand()
    return capsys.readouterr().out


def test_the_commands_of_the_console(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command does what its help says."""
    with serving() as server, connected(server) as client, connected(server) as second:
        heard, bound = Note("BROADCAST"), Note("TRIGGERED")
        client.bindAction("BROADCAST", heard)
        server.bindAction("TRIGGERED", bound)
        server.bindAction("a\x1b[2Jb", bound)
        out = entered(
            server, monkeypatch, capsys, "help", "list", f"ping {second.token}", "broadcast hello", "actions",
            "trigger TRIGGERED", "threads", "token", "ping nobody", "", "nonsense", "start",
            f"disconnect {second.token}",
        )  # fmt: skip
        assert "###### CoreTools CLI | test ######\n" in out
        commands = (
            "list", "ping UUID", "broadcast TEXT", "disconnect UUID", "actions", "trigger NAME", "threads", "token",
            "start", "stop", "help",
        )  # fmt: skip
        for command in commands:
            assert re.search(rf"(?m)(^|: ){command}$", out)
        for one in (client, second):
            assert re.search(rf"(?m)(^|: ){one.token} \| <Session .*127\.0\.0\.1", out)
        assert f"{second.token} is alive: " in out
        assert r"a\x1b[2Jb" in out
        assert "\x1b" not in out
        assert "RegisterNewConnections" in out
        assert str(server.token) in out
        assert "unknown command" in out
        assert "check your typing: KeyError" in out
        until(lambda: heard.seen and bound.seen)
        assert heard.seen[0][0] == "hello"
        until(lambda: list(server.clients) == [client.token])
        assert server.connected


def test_stop_ends_server_and_console(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`stop` printed an error and went on: it ends both, and what is typed after it is not read."""
    with serving() as server, connected(server) as client:
        out = entered(server, monkeypatch, capsys, "stop", "token")
        assert out.count("Choose a command") == 1
        assert not server.connected
        until(lambda: not client.connected)


@pytest.mark.parametrize("source", ["", "unfinished", "closed", "none", "unreadable", "no text"])
def test_the_console_ends_with_its_input(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the end looks like: no input at all, a closed one, one that cannot be read. It prompted forever."""
    file = tmp_path / "typed"
    file.write_bytes(b"\xff\xfe\n" if source == "no text" else b"help" * (source == "unfinished"))
    mode = "w" if source == "unreadable" else "r"
    with file.open(mode, encoding="utf-8") as typed:
        monkeypatch.setattr("sys.stdin", None if source == "none" else typed)
        if source == "closed":
            typed.close()
        coretools.CLI(
            coreserver.Server(), "ends"
        ).processCommand()  # a loop would be ended by its timeout only
    out = capsys.readouterr().out
    assert out.count("Choose a command: ") <= 2
    assert ("broadcast TEXT" in out) is (source == "unfinished")
    assert "check your typing" not in out


def test_a_command_that_meets_the_end_of_a_file_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An EOFError of what a command runs is not the end of the console's own input."""

    class Reads(Bind):
        def run(self, *_: Any, **__: Any) -> None:
            raise EOFError("the file that it reads")

    server = coreserver.Server()
    server.bindAction("READ", Reads("READ"))
    monkeypatch.setattr("sys.stdin", io.StringIO("trigger READ\ntoken\n"))
    coretools.CLI(server, "reads").processCommand()
    out = capsys.readouterr().out
    assert "check your typing: EOFError" in out
    assert str(server.token) in out


def test_the_console_in_a_thread_and_of_a_client(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`startThreaded` returns at once; a client has the same commands."""
    with serving() as server, connected(server) as client:
        monkeypatch.setattr("sys.stdin", io.StringIO("list\nstop\n"))
        coretools.CLI(client, "thread").startThreaded()
        until(lambda: not client.connected)
        assert str(server.token) in capsys.readouterr().out
