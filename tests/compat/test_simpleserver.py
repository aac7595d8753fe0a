"""The SimpleServer adapter: what its users relied on, and beside each its old defect. Its messages have a file."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from helpers import SOON, WAIT, failure, until
from messages import content, message
from sources import port_in, stopped_client, user_folder

from securelink import Client as CoreClient
from securelink import Identity, PeerIncompatible
from securelink.compat import simpleserver
from securelink.compat.simpleserver import ClientConnection, SimpleClient, SimpleServer
from securelink.compat.simpleserver.networking import Header, NetworkMessage


class Stage:
    """A server in the background, its clients, and what its events told."""

    def __init__(self, port: int, **options: Any) -> None:
        self.port = port
        self.events: list[tuple[str, ClientConnection]] = []
        self.messages: list[NetworkMessage] = []
        self.clients: list[SimpleClient] = []
        self.server = server = SimpleServer("localhost", port, **options)
        server.on_connection.add_listener(lambda client: self.events.append(("came", client)))
        server.on_disconnect.add_listener(lambda client: self.events.append(("went", client)))
        server.on_message.add_listener(self._message)

    def _message(self, client: ClientConnection, message: NetworkMessage) -> None:
        self.events.append(("said", client))
        self.messages.append(message)

    def client(self) -> SimpleClient:
        """A connected client."""
        client = SimpleClient()
        self.clients.append(client)
        assert client.connect("localhost", self.port) == (True, "Connection successful")
        return client

    @property
    def bodies(self) -> list[str]:
        """What was said."""
        return [message.body for message in self.messages]

    def close(self) -> None:
        """End all."""
        for client in self.clients:
            client.close()
        self.server.stop()


@pytest.fixture
def port(tmp_path: Path, identity: Identity, tidy: None, monkeypatch: pytest.MonkeyPatch) -> int:
    """A free port; keys for it; a test that must leave nothing behind."""
    monkeypatch.delenv("SECURELINK_KEYS", raising=False)
    return port_in(user_folder(tmp_path, identity), identity, "localhost")


@pytest.fixture
def stage(port: int) -> Iterator[Stage]:
    """A running server."""
    with contextlib.closing(Stage(port)) as stage:
        thread = stage.server.start_async()
        yield stage
    thread.join(SOON)
    assert not thread.is_alive()


def read(client: SimpleClient) -> NetworkMessage:
    """The next message."""
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        if found := client.read():
            return found
    raise AssertionError("no message came")


# --- the network ---------------------------------------------------------------------------------------


def test_headers_survive_the_network(stage: Stage) -> None:
    """Valueless headers could not be sent, and received ones not be looked up; both ways they can."""
    client = stage.client()
    sent = message("100% | $1: {'a'}\n", plain=None, valued="a:b|c%d$e", empty="")
    assert client.send(sent) == (True, "Message sent")
    until(lambda: stage.messages)
    assert content(stage.messages[0]) == content(sent)
    assert stage.messages[0].has_header("plain")
    assert stage.server.clients[0].send(stage.messages[0]) == (True, "Message sent")
    answer = read(client)
    assert content(answer) == content(sent)
    assert str(answer.get_header("valued")) == "valued:a:b|c%d$e"


def test_messages_do_not_merge_or_split(stage: Stage) -> None:
    """Quick sends arrived as one message, long ones were cut at 1,024 bytes."""
    client = stage.client()
    bodies = ["one", "two", "", "x" * 1024, "y" * 1025, "z" * 3_000_000, "é" * 5000]
    for body in bodies:
        assert client.send(message(body)) == (True, "Message sent")
    until(lambda: len(stage.messages) == len(bodies))
    assert stage.bodies == bodies
    for body in bodies:
        stage.server.clients[0].send(message(body))
    assert [read(client).body for _ in bodies] == bodies


def test_bytes_and_text_become_bodies(stage: Stage) -> None:
    """Raw bytes are promised and failed; a raw text ended the server. Also such that look like a message."""
    client = stage.client()
    for raw in (b"raw", "text", b"$a:1|%b", b"\xff", bytearray(b"array")):
        assert client.send(raw) == (True, "Message sent")  # type: ignore[arg-type]
    until(lambda: len(stage.messages) == 5)
    assert [content(m) for m in stage.messages] == [
        ([], body) for body in ("raw", "text", "$a:1|%b", "\ufffd", "array")
    ]


def test_what_cannot_be_sent_is_a_result(stage: Stage) -> None:
    """No exception: False and a text; the connection stays."""
    client = stage.client()
    for wrong in (
        None,
        object(),
        5,
        True,
        2**40,
        [1, 2],
        1.5,
        message("\ud800"),
        message("x" * 17_000_000),
    ):
        sent, text = client.send(wrong)  # type: ignore[arg-type]
        assert not sent
        assert text
    assert client.send(message("fits"))[0]
    until(lambda: stage.bodies == ["fits"])
    sent, text = stage.server.broadcast(5)  # type: ignore[arg-type]
    assert (sent, text) == (False, "a message is a NetworkMessage, bytes or text, not int")
    with pytest.raises(TypeError):
        NetworkMessage.decode(5)  # type: ignore[arg-type]


# --- who comes and goes ----------------------------------------------------------------------------------


def test_one_quiet_client_freezes_nobody(stage: Stage) -> None:
    """On Linux the whole old server waited for the first quiet client; ticks, accepts and messages go on."""
    ticks: list[float] = []
    stage.server.on_update.add_listener(lambda: ticks.append(time.monotonic()))
    quiet = stage.client()
    with socket.create_connection(("127.0.0.1", stage.port)) as dumb:
        talker = stage.client()
        talker.send(message("here"))
        until(lambda: stage.bodies == ["here"], SOON)
        count = len(ticks)
        until(lambda: len(ticks) > count + 5, SOON)
        dumb.sendall(b"$%malformed")
    assert quiet.connected


def test_a_clean_close_is_noticed_once(stage: Stage) -> None:
    """The events of one client are in order and come once; then it is in no list."""
    client = stage.client()
    client.send("bye")
    client.close()
    until(lambda: len(stage.events) == 3)
    time.sleep(0.05)
    assert [name for name, _ in stage.events] == ["came", "said", "went"]
    assert len({id(who) for _, who in stage.events}) == 1
    who = stage.events[0][1]
    assert stage.server.get_clients() == []
    assert who.send("late")[0] is False
    assert str(who) == str(who.address)


def test_the_client_can_tell_nothing_from_the_end(stage: Stage) -> None:
    """read() gives None for both, as it did; `connected` is new. Afterwards it may connect again."""
    client = stage.client()
    assert client.read() is None
    assert client.connected
    assert client.connect("localhost", stage.port)[0] is False
    until(lambda: stage.server.clients)
    stage.server.clients[0].send("last words")
    stage.server.clients[0].session.kick()
    assert read(client).body == "last words"
    until(lambda: client.read() is None and not client.connected)
    assert client.send("x")[0] is False
    assert client.connect("localhost", stage.port)[0]


def test_what_came_before_the_end_is_read(stage: Stage) -> None:
    """Messages that arrived before the server closed are not lost."""
    client = stage.client()
    until(lambda: stage.server.clients)
    for number in range(3):
        stage.server.clients[0].send(str(number))
    stage.server.clients[0].session.kick()
    assert [read(client).body for _ in range(3)] == ["0", "1", "2"]


def test_a_client_that_never_connected() -> None:
    """It reads nothing and says why it does not send."""
    client = SimpleClient()
    assert client.read() is None
    sent, text = client.send("x")
    assert not sent
    assert "not connected" in text
    client.close()


def test_a_loop_around_read_is_no_spin(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The document's loop took a whole processor; it looks 100 times a second, and who looks less never waits."""
    client = stage.client()
    began, used = time.monotonic(), time.process_time()
    looks = 0
    while time.monotonic() - began < 0.3:
        assert client.read() is None
        looks += 1
    assert looks <= 31
    assert time.process_time() - used < 0.2
    monkeypatch.setattr(simpleserver.client, "BREATH_SECONDS", 2.0)
    for pause, waits in ((0.3, False), (0.0, True)):
        time.sleep(pause)
        began = time.monotonic()
        assert client.read() is None
        assert (time.monotonic() - began >= 2.0) is waits


# --- listeners ---------------------------------------------------------------------------------------------


def test_a_raising_listener_stops_nobody(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """It stopped the old server; now it is shown, as errors are without verbose_logging, and the others go on."""

    def broken(*_: Any) -> None:
        raise OSError("oops")

    for event in (stage.server.on_connection, stage.server.on_message, stage.server.on_update):
        event.add_listener(broken)
    client = stage.client()
    client.send("one")
    client.send("two")
    until(lambda: stage.bodies == ["one", "two"])
    shown: list[str] = []

    def seen(event: str) -> bool:
        shown.append(capsys.readouterr().out)
        line = rf"\[ERROR\] \d\d:\d\d:\d\d a listener of {event} raised OSError\('oops'\)\n"
        return bool(re.search(line, "".join(shown)))

    until(lambda: all([seen("on_connection"), seen("on_message"), seen("on_update")]))
    stage.server.on_update.remove_listener(broken)


def test_listeners_come_and_go(stage: Stage) -> None:
    """Any number, in order; a removed one is not called; `invoke` calls them."""
    called: list[str] = []
    event = stage.server.on_update
    first, second = (lambda: called.append("1")), (lambda: called.append("2"))
    event.add_listener(first)
    event.add_listener(second)
    until(lambda: called[:4] == ["1", "2", "1", "2"])
    event.remove_listener(first)
    assert event.listeners == [second]
    until(lambda: called[-3:] == ["2", "2", "2"])
    event.invoke()


def test_events_are_as_they_were() -> None:
    """Keywords reach listeners, one that was added twice is called twice, removing a stranger is a ValueError."""
    called: list[object] = []
    event = SimpleServer("localhost", 0).on_message

    def listener(client: object, message: object = None) -> None:
        called.append((client, message))

    event.add_listener(listener)
    event.add_listener(listener)
    assert event.listeners == [listener, listener]
    event.invoke("ada", message="hello")
    assert called == [("ada", "hello")] * 2
    event.remove_listener(listener)
    event.invoke(client="bob")
    assert called[2:] == [("bob", None)]
    event.remove_listener(listener)
    with pytest.raises(ValueError, match="not in list"):
        event.remove_listener(listener)


def test_broadcasts_do_not_wait_for_a_client_that_does_not_read(stage: Stage) -> None:
    """One client stands still: broadcasts stopped for 30 s at a time, and those behind it missed packets."""
    with stopped_client(stage.port):
        until(lambda: len(stage.server.clients) == 1)
        reader = stage.client()
        until(lambda: len(stage.server.clients) == 2)
        slow, quick = stage.server.clients
        heard: list[int] = []
        began = time.monotonic()
        for number in range(100):  # far more than one that does not read may leave waiting
            if number % 2:
                stage.server.broadcast(message("x" * 1_000_000))
            else:
                stage.server.message_clients([slow, quick], message("x" * 1_000_000))
            heard.append(len(read(reader).body))
        assert heard == [1_000_000] * 100
        assert time.monotonic() - began < 30  # one wait alone took so long
        until(lambda: stage.server.clients == [quick])


def test_ticks_are_steady_and_changeable(port: int) -> None:
    """tick_rate is what it says, also when it is changed at run time."""
    with contextlib.closing(Stage(port, tick_rate=50)) as stage:
        ticks: list[float] = []
        stage.server.on_update.add_listener(lambda: ticks.append(time.monotonic()))
        assert stage.server.update_frequency == 0.02
        thread = stage.server.start_async()
        for rate in (50, 200):
            stage.server.set_tick_rate(rate)
            ticks.clear()
            began = time.monotonic()
            until(lambda: len(ticks) >= 20)
            # Late is the machine's affair; early would be ours.
            assert len(ticks) <= (time.monotonic() - began) * rate + 2
    thread.join()


# --- running -----------------------------------------------------------------------------------------------


def test_manual_update(port: int) -> None:
    """start() returns at once and clients may connect; everything happens in update(), in its thread."""
    with contextlib.closing(Stage(port, manual_update=True)) as stage:
        ticks: list[str] = []
        stage.server.start()
        stage.server.on_update.add_listener(lambda: ticks.append("tick"))
        stage.server.on_message.add_listener(lambda client, message: client.send(message))
        client = SimpleClient()
        connecting = Thread(target=client.connect, args=("localhost", port))
        connecting.start()
        until(lambda: client.connected, meanwhile=stage.server.update)
        connecting.join()
        count = len(ticks)
        client.send("hello")
        time.sleep(0.05)
        assert stage.messages == []
        assert len(ticks) == count
        until(lambda: stage.messages, meanwhile=stage.server.update)
        stage.server.update()
        assert read(client).body == "hello"
        stage.server.stop()
        client.close()


def test_stop_stops_and_the_port_can_be_used_again(port: int) -> None:
    """stop() closed no socket and could not be undone; now the same server starts again at once, clients and all."""
    with contextlib.closing(Stage(port)) as stage:
        for _ in range(3):
            thread = stage.server.start_async()
            assert not stage.server.stop_flag
            client = stage.client()
            stage.server.stop()
            thread.join(SOON)
            assert stage.server.stop_flag
            until(lambda client=client: client.read() is None and not client.connected)


def test_stop_from_a_listener(port: int) -> None:
    """A client may tell the server to stop."""
    with contextlib.closing(Stage(port)) as stage:
        stage.server.on_message.add_listener(lambda client, message: stage.server.stop())
        thread = stage.server.start_async()
        stage.client().send("stop")
        thread.join(WAIT)
        assert not thread.is_alive()


def test_sending_to_many(stage: Stage) -> None:
    """A list, all, all but some, by both spellings; results tell of those who are gone."""
    clients = []
    for count in range(1, 4):
        clients.append(stage.client())
        until(lambda count=count: len(stage.server.clients) == count)  # type: ignore[misc]
    first, second, third = stage.server.get_clients()
    assert stage.server.messsage_clients([first, second], "two") == (True, "Message sent")
    assert stage.server.message_clients([third], message("one")) == (True, "Message sent")
    assert stage.server.broadcast("most", exclusions=[first]) == (True, "Message sent")
    assert stage.server.broadcast(message("all")) == (True, "Message sent")
    assert [read(clients[0]).body for _ in range(2)] == ["two", "all"]
    assert [read(clients[1]).body for _ in range(3)] == ["two", "most", "all"]
    assert [read(clients[2]).body for _ in range(3)] == ["one", "most", "all"]
    clients[0].close()
    until(lambda: len(stage.server.clients) == 2)
    sent, text = stage.server.message_clients([first, second], "late")
    assert not sent
    assert "over" in text
    assert read(clients[1]).body == "late"


# --- output and names --------------------------------------------------------------------------------------


def test_what_a_peer_says_cannot_reach_the_terminal(
    port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Verbose lines show a body with its control characters escaped; use_timestamps=False leaves the time out."""
    with contextlib.closing(Stage(port, verbose_logging=True, use_timestamps=False)) as stage:
        stage.server.start_async()
        stage.client().send("\x1b[2Jgone\n[DEBUG] faked")
        until(lambda: stage.messages)
    assert re.search(
        rf"\A\[DEBUG\] localhost:{port} is listening\.\.\.\n"
        r"\[DEBUG\] New connection from \('127\.0\.0\.1', \d+\)\n"
        r"\[DEBUG\] Message from \('127\.0\.0\.1', \d+\): \\x1b\[2Jgone\\n\[DEBUG\] faked\n"
        r"\[DEBUG\] Client \('127\.0\.0\.1', \d+\) disconnected\n\Z",
        capsys.readouterr().out,
    )


def test_what_is_no_message_is_a_warning(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """Packets of a stranger that speaks securelink are shown and passed over."""
    with CoreClient("localhost", stage.port, trust="first-use") as stranger:
        for action, data in (("say", "x"), ("simpleserver message", {"a": 1})):
            stranger.send(action, data)
        until(lambda: len(stage.events) == 1)
        client = stage.client()
        client.send("hello")
        until(lambda: stage.bodies == ["hello"])
    assert capsys.readouterr().out.count("[WARNING]") == 2
    client.close()


def test_both_spellings() -> None:
    """Names of the document beside those of the code."""
    assert simpleserver.Server is SimpleServer
    assert simpleserver.ConnectionClient is ClientConnection
    assert simpleserver.NetworkMessage is NetworkMessage
    assert simpleserver.Header is Header


def test_it_is_encrypted(stage: Stage) -> None:
    """The old wire was text; nothing of the program's changes."""
    stage.client()
    until(lambda: stage.server.clients)
    plain = CoreClient("127.0.0.1", stage.port, encryption="off")
    failure(PeerIncompatible, plain.connect, "encryption")
