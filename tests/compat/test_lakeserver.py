"""The Lakeserver adapter: what its users relied on, and beside each its old defect."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import SOON, WAIT, failure, until
from sources import port_in, program, stopped_client, user_folder

from securelink import Client as CoreClient
from securelink import ConfigError, Identity, PeerIncompatible
from securelink.compat import lakeserver
from securelink.compat.lakeserver import Client, Server, SockStreamConnection


class Stage:
    """A server and its clients, all shut down at the end."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.clients: list[Client] = []
        self.server = Server(port)

    def client(self, **options: Any) -> Client:
        """A connected client."""
        client = Client("127.0.0.1", self.port, **options)
        self.clients.append(client)
        client.connect()
        assert client.active
        return client

    def core_client(self) -> CoreClient:
        """A client that is none of ours, but speaks securelink."""
        return CoreClient("127.0.0.1", self.port, trust="first-use").connect()

    def close(self) -> None:
        """End all."""
        for client in self.clients:
            client.disconnect()
        if self.server.active:
            self.server.shutdown()
        until(lambda: not self.server.active)
        until(lambda: not any(client.active for client in self.clients))


@pytest.fixture
def port(tmp_path: Path, identity: Identity, tidy: None, monkeypatch: pytest.MonkeyPatch) -> int:
    """A free port; keys for it; a test that must leave nothing behind."""
    monkeypatch.delenv("SECURELINK_KEYS", raising=False)
    return port_in(user_folder(tmp_path, identity), identity, "127.0.0.1")


@pytest.fixture
def stage(port: int) -> Iterator[Stage]:
    """A running server."""
    with contextlib.closing(Stage(port)) as stage:
        stage.server.start()
        yield stage


def printed(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    """All lines printed from now on, whenever it is called."""
    capsys.readouterr()
    lines: list[str] = []

    def so_far() -> list[str]:
        lines.extend(capsys.readouterr().out.splitlines())
        return lines

    return so_far


# --- values -------------------------------------------------------------------------------------------


def test_values_arrive_promptly(stage: Stage) -> None:
    """A value is there after a round or two, in both directions."""
    client = stage.client()
    for number in range(10):
        client.set_data(number)
        until(lambda: [*stage.server.get_client_data().values()] == [client.get_data()])
        stage.server.set_data(number)
        until(lambda: client.get_server_data() == int(stage.server.get_data()))


def test_the_latest_value_wins(stage: Stage) -> None:
    """Of values set at once only the last is sent, and everybody has it, also who comes later."""
    seen: list[Any] = []
    client = stage.client()

    def look(_: Any, message: dict[str, Any]) -> dict[str, Any]:
        seen.append(message["data"])
        return message

    client.set_post_recieve_func(look)
    for number in range(1000):
        stage.server.set_data(number)
    until(lambda: client.get_server_data() == 999)
    assert len(seen) < 500
    late = stage.client()
    until(lambda: late.get_server_data() == 999)


def test_a_server_value_arrives_as_it_was(stage: Stage) -> None:
    """Clients get values, not text; text that is no literal ended the old client's thread."""
    client = stage.client()
    values = [
        5, -2.5, "hello", "hello world", {"a": [1, (2, None)]}, {("127.0.0.1", 5): "1"}, "it's", 10**40, (), "1 + 1",
    ]  # fmt: skip
    for value in values:
        stage.server.set_data(value)
        until(lambda value=value: client.get_server_data() == value)  # type: ignore[misc]


def test_the_server_sees_text(stage: Stage) -> None:
    """What clients set is text on the server, as the document shows; before, it is empty."""
    client = stage.client()
    assert [*stage.server.get_client_data().values()] == [""]
    client.set_data({"x": 1})
    until(lambda: [*stage.server.get_client_data().values()] == ["{'x': 1}"])
    ((host, port),) = stage.server.get_client_data()
    assert host == "127.0.0.1"
    assert port != stage.port


def test_big_values_arrive_whole(stage: Stage) -> None:
    """3,000,000 characters were cut and ended the old server's thread."""
    client = stage.client()
    client.set_data("x" * 3_000_000)
    until(lambda: [*map(len, stage.server.get_client_data().values())] == [3_000_000])
    stage.server.set_data("é" * 3_000_000)
    until(lambda: client.get_server_data() == "é" * 3_000_000)


def test_a_value_that_fits_nowhere_is_a_warning(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    """More than a packet holds is not sent, is said, and harms nobody."""
    client = stage.client()
    lines = printed(capsys)
    stage.server.set_data("x" * 17_000_000)
    client.set_data("x" * 17_000_000)
    failed = "WARNING] Error: Message send failed - "
    until(lambda: sum(failed in line for line in lines()) == 2)
    stage.server.set_data("fits")
    client.set_data("fits")
    until(lambda: client.get_server_data() == "fits")
    until(lambda: [*stage.server.get_client_data().values()] == ["fits"])


def test_what_a_function_failed_with_is_shown_escaped(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    """The words of the peer in an exception move no cursor and make no lines of their own."""

    def fails(server: object, message: dict[str, Any]) -> None:
        raise ValueError("bad value " + message["data"])

    stage.server.set_post_recieve_func(fails)
    client = stage.client()
    lines = printed(capsys)
    client.set_data("\x1b]0;owned\x07\x1b[2J\n[Server INFO] forged")
    until(lambda: any("bad value" in line for line in lines()))
    assert not [
        line for line in lines() if "\x1b" in line or line.startswith("[Server INFO] forged")
    ]


def test_nobody_spins(stage: Stage) -> None:
    """The old pair, freed of its delay, exchanged forever; idle sides use no processor."""
    client = stage.client()
    client.set_data(1)
    until(lambda: [*stage.server.get_client_data().values()] == ["1"])
    time.sleep(0.1)
    began = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - began < 0.1


# --- who comes and goes --------------------------------------------------------------------------------


def test_quiet_and_noisy_strangers_freeze_nobody(stage: Stage) -> None:
    """Connections that say nothing, or nonsense, and a session without goodbye: the others go on."""
    client = stage.client()
    with socket.create_connection(("127.0.0.1", stage.port)) as quiet, stage.core_client() as other:
        with socket.create_connection(("127.0.0.1", stage.port)) as noisy:
            noisy.sendall(b"28" + b" " * 62 + b"{'commands': [], 'data': ''}")
            client.set_data("here")
            until(lambda: [*stage.server.get_client_data().values()] == ["here"], SOON)
        assert stage.server.get_number_of_active_clients() == 1
        assert other.connected
        quiet.close()


def test_shutdown_does_not_wait_for_the_quiet(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One client that does not answer blocked the old shutdown forever."""
    monkeypatch.setattr(lakeserver.sides, "GOODBYE_SECONDS", 0.1)
    with stage.core_client():
        stage.server.shutdown()
        until(lambda: not stage.server.active, SOON)
    assert "Status: Shutdown\n[Server INFO] New Connections: Deny" in capsys.readouterr().out


def test_shutdown_waits_three_seconds_at_most(stage: Stage) -> None:
    """A client whose process stands still answers nothing: its server waited 3 s, and then 5 s more."""
    with stopped_client(stage.port):
        began = time.monotonic()
        stage.server.shutdown()
        until(lambda: not stage.server.active)
        assert 1.5 < time.monotonic() - began < 6


def test_a_client_that_vanishes_is_noticed_once(
    port: int, tmp_path: Path, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    """A killed client cost the old server a processor and 250,000 warnings a second; now two lines."""
    source = """
from securelink.compat.lakeserver import *
client = Client("127.0.0.1", 5050)
client.connect()
input()
"""
    with program(source, tmp_path, {"5050": str(port)}) as client:
        client.prints("Connected")
        until(lambda: stage.server.get_number_of_active_clients() == 1)
    until(lambda: not stage.server.get_client_data())
    time.sleep(0.05)
    printed = capsys.readouterr().out
    assert printed.count("Client disconnected without commanding disconnect.") == 1
    assert printed.count("Client Event: Disconnected") == 1


def test_a_clean_goodbye_is_noticed_once(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """A client that disconnects costs one line and no warning, on both sides."""
    client = stage.client()
    capsys.readouterr()
    client.disconnect()
    until(lambda: not client.active and not stage.server.get_client_data())
    time.sleep(0.05)
    assert capsys.readouterr().out.splitlines() == [
        "[Client INFO] Status: Disconnecting",
        "[Client INFO] Status: Disconnected",
        "[Server INFO] Client Event: Disconnected",
    ]


def test_a_server_that_vanishes_is_noticed_once_and_found_again(
    port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The old client stayed "connected" forever; now it says so, and connects to the next server on the port."""
    source = """
from securelink.compat.lakeserver import *
server = Server(5050)
server.start()
"""
    client = Client("127.0.0.1", port)
    with program(source, tmp_path, {"5050": str(port)}) as server:
        server.prints("Allow")
        client.connect()
    until(lambda: not client.active)
    warning = "[Client WARNING] Error: Server disconnected without commanding disconnect. Disconnecting client."
    assert capsys.readouterr().out.count(warning) == 1
    with contextlib.closing(Stage(port)) as stage:
        stage.server.start()
        client.connect()
        assert client.active
        stage.clients.append(client)


def test_restart_on_the_same_port(stage: Stage) -> None:
    """The old port kept a dead thread; now shutdown and start follow each other, with clients connected."""
    client = stage.client()
    for number in range(3):
        client.set_data(number)
        stage.server.shutdown()
        stage.server.start()  # waits for the end of the shutdown
        assert stage.server.active
        assert stage.server.get_client_data() == {}
        client.connect()
        assert client.active
        assert [*stage.server.get_client_data().values()] == [""]


def test_disconnect_and_connect_at_once(stage: Stage) -> None:
    """connect() waits for a disconnect that is under way."""
    client = stage.client()
    client.disconnect()
    client.connect()
    assert client.active
    until(lambda: stage.server.get_number_of_active_clients() == 1)


# --- what goes wrong -----------------------------------------------------------------------------------


def test_connecting_in_vain_is_a_warning(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing there, a wrong name: texts instead of exceptions."""
    for host in ("127.0.0.1", "nobody.invalid"):
        client = Client(host, port)
        client.connect()
        assert not client.active
        warning = rf"\[Client WARNING\] Error: Could not connect to server: .*{host}.*\n\Z"
        assert re.search(warning, capsys.readouterr().out)


def test_two_servers_on_one_port(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """The second does not start, and says which case it is."""
    other = Server(stage.port)
    other.start()
    assert "[Server WARNING] Error: cannot listen on" in capsys.readouterr().out
    assert not other.active
    other.shutdown()
    assert "Error: Could not shutdown server as it is not online" in capsys.readouterr().out


def test_connecting_twice_is_a_warning(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """The first connection stays."""
    client = stage.client()
    client.connect()
    assert "because client already connected" in capsys.readouterr().out
    assert stage.server.get_number_of_active_clients() == 1


def test_malformed_messages_cost_a_warning(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nonsense ended the old thread and left its entry behind; now it is said, and the others go on."""
    client = stage.client()
    warning = "[Server WARNING] Error: Unable to eval message recieved"
    states: list[Any] = [
        None,
        "28",
        [],
        {"data": "x"},
        {"commands": "x"},
        {"commands": {}, "data": ""},
    ]
    with stage.core_client() as other:
        other.request("lakeserver connect")
        for state in states:
            lines = printed(capsys)
            other.set_state(state)
            until(lambda lines=lines: warning in lines())  # type: ignore[misc]
        client.set_data("on")
        until(lambda: sorted(stage.server.get_client_data().values()) == ["", "on"])
    until(lambda: stage.server.get_number_of_active_clients() == 1)


def test_who_is_no_client_has_no_value(stage: Stage) -> None:
    """A session that did not say that it is one of ours is not listed, whatever it sends."""
    with stage.core_client() as other:
        other.set_state({"commands": [], "data": "x"})
        other.ping()
        assert stage.server.get_client_data() == {}


# --- hooks and commands ----------------------------------------------------------------------------------


def test_hooks_may_rewrite(stage: Stage) -> None:
    """A pre-send hook sets the data of each round; a post-receive hook gives another message."""
    client = stage.client()
    client.set_pre_send_func(lambda self: self.set_data("from the hook"))
    stage.server.set_post_recieve_func(
        lambda self, message: {**message, "data": message["data"].upper()}
    )
    until(lambda: [*stage.server.get_client_data().values()] == ["FROM THE HOOK"])
    client.remove_pre_send_func()
    stage.server.remove_post_recieve_func()
    client.set_data("plain")
    until(lambda: [*stage.server.get_client_data().values()] == ["plain"])


def test_raising_hooks_are_warnings(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """The old pre-send hook ended the thread with another error; now both are said, and values go on."""

    def broken(*_: Any) -> None:
        raise RuntimeError("oops")

    client = stage.client()
    client.set_pre_send_func(broken)
    stage.server.set_post_recieve_func(broken)
    client.set_data("here")
    until(lambda: [*stage.server.get_client_data().values()] == ["here"])
    client.remove_pre_send_func()
    printed = capsys.readouterr().out
    assert "[Client WARNING] Error: Pre send function broken returned the error oops" in printed
    assert (
        "[Server WARNING] Error: Post recieve function 'broken' returned the error 'oops'"
        in printed
    )
    stage.server.set_post_recieve_func(lambda self, message: None)
    client.set_data("still")
    until(lambda: [*stage.server.get_client_data().values()] == ["still"])
    client.set_pre_send_func(None)
    assert "Error: Variable supplied for was not a function" in capsys.readouterr().out


def test_commands_reach_the_hook(stage: Stage) -> None:
    """Commands go with the value until they are removed."""
    seen: list[list[str]] = []

    def look(_: Any, message: dict[str, Any]) -> dict[str, Any]:
        seen.append(message["commands"])
        return message

    stage.server.set_post_recieve_func(look)
    client = stage.client()
    client.add_command("jump")
    client.add_command(7)
    until(lambda: seen and seen[-1] == ["jump", "7"])
    assert client.get_commands() == ["jump", "7"]
    client.remove_all_commands()
    until(lambda: seen[-1] == [])


def test_the_command_disconnect(stage: Stage) -> None:
    """Either side may end the session by it."""
    first, second = stage.client(), stage.client()
    first.add_command("disconnect")
    until(lambda: stage.server.get_number_of_active_clients() == 1 and not first.active)
    stage.server.add_command("disconnect")
    until(lambda: stage.server.get_number_of_active_clients() == 0 and not second.active)
    assert stage.server.active


# --- direct mode -----------------------------------------------------------------------------------------


def test_there_is_no_direct_mode(port: int) -> None:
    """Who asks for it learns at once what to use instead."""
    with pytest.raises(ConfigError, match=r"no direct mode.*securelink\.Server"):
        Server(port, direct=True)


# --- output ----------------------------------------------------------------------------------------------


def test_switches(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    """INFO and WARNING lines go together or apart; what is no bool changes nothing."""
    server = Server(port, outputs_enabled=False)
    server.shutdown()
    server.info("unseen")
    assert capsys.readouterr().out == ""
    server.enable_warnings(True)
    assert (server.get_info_enabled(), server.get_warnings_enabled()) == (False, True)
    assert not server.get_all_outputs_enabled()
    server.info("unseen")
    server.warn("seen")
    server.enable_info("yes")  # type: ignore[arg-type]
    assert capsys.readouterr().out.splitlines() == [
        "[Server WARNING] seen",
        "[Server WARNING] Error: Bool yes not valid for setting enable_info",
    ]
    server.enable_outputs(True)
    assert server.get_all_outputs_enabled()
    server.info("seen")
    assert capsys.readouterr().out == "[Server INFO] seen\n"


def test_getters(stage: Stage) -> None:
    """All of them, with the old constructor's arguments in their old places."""
    client = Client("127.0.0.1", stage.port, False, False, 64, "utf-8", None, None)
    assert client.get_address() == ("127.0.0.1", stage.port) == client.ADDR
    assert (client.get_server_ip(), client.get_server_port()) == ("127.0.0.1", stage.port)
    assert client.get_ip() == stage.server.get_ip() == stage.server.SERVER_IP
    assert stage.server.get_port() == stage.port == stage.server.PORT
    client.set_data(7)
    assert client.get_data() == "7"
    assert isinstance(client, SockStreamConnection)
    assert lakeserver.__all__ == ["Client", "Server", "SockStreamConnection"]


# --- what is new -----------------------------------------------------------------------------------------


def test_it_is_encrypted(stage: Stage) -> None:
    """The old wire was text; nothing of the program's changes."""
    stage.client()
    plain = CoreClient("127.0.0.1", stage.port, encryption="off")
    failure(PeerIncompatible, plain.connect, "encryption")


def test_encryption_can_be_switched_off_loudly(
    port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """SECURELINK_ENCRYPTION=off is plaintext, and says so."""
    monkeypatch.setenv("SECURELINK_ENCRYPTION", "off")
    with contextlib.closing(Stage(port)) as stage, caplog.at_level(logging.WARNING):
        stage.server.start()
        client = stage.client()
        client.set_data("plain")
        until(lambda: [*stage.server.get_client_data().values()] == ["plain"], WAIT)
    assert re.search("anyone on the path can read and change everything", caplog.text)
