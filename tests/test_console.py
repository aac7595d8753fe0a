"""The operator console: its commands on a real server with real clients, and attaching from afar."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import WAIT, failure, until

from securelink import (
    AuthorizedClients,
    Client,
    ConnectionClosed,
    Identity,
    JoinTokens,
    Refused,
    RequestFailed,
    Server,
)
from securelink.auth import Hello
from securelink.testing import Relay
from securelink.tools.console import Console, Operators, attach


@pytest.fixture
def server(identity: Identity) -> Iterator[Server]:
    """A running server whose users are named by their credentials."""
    server = Server("127.0.0.1", 0, keys=identity, authenticate=lambda hello: hello.credentials)
    with server:
        yield server


@pytest.fixture
def console(server: Server) -> Console:
    return Console(server)


def enter(server: Server, name: str, tmp_path: Path) -> Client:
    """A client called `name`, known to the server."""
    client = Client(
        "127.0.0.1", server.address[1], credentials=name, known_servers=tmp_path / "known"
    ).connect(WAIT)
    until(lambda: client.token in server.sessions)
    return client


def test_the_list_names_every_session(server: Server, console: Console, tmp_path: Path) -> None:
    """`list` shows token, name and address of each session, and how many there are."""
    assert console.execute("list") == "no sessions"
    with enter(server, "ann", tmp_path) as ann, enter(server, "bob", tmp_path) as bob:
        listed = console.execute("list")
        for client, name in ((ann, "ann"), (bob, "bob")):
            assert any(client.token in line and name in line for line in listed.splitlines())
        assert "2 sessions" in listed


def test_the_list_says_who_is_away(server: Server, console: Console, tmp_path: Path) -> None:
    """A session that has lost its connection, and waits for its client, is marked."""
    with Relay("127.0.0.1", server.address[1]) as relay:
        client = Client(
            "127.0.0.1", relay.port, credentials="ann", known_servers=tmp_path / "known"
        ).connect(WAIT)
        (session,) = server.sessions.values()
        assert "away" not in console.execute("list")
        relay.to_server.hook = lambda chunk: b""  # no other connection comes through
        relay.cut()
        until(lambda: not session.connected)
        assert re.search(r"ann .* away$", console.execute("list"), re.MULTILINE)
        client.close()


def test_info_ping_and_stats(server: Server, console: Console, tmp_path: Path) -> None:
    """`info`, `ping` and `stats` tell what is true of the session and of the server."""
    with enter(server, "ann", tmp_path) as ann:
        info = console.execute("info ann")
        assert ann.token in info
        assert "127.0.0.1" in info
        assert console.execute(f"ping {ann.token[:8]}").endswith(" ms")
        stats = dict(line.split("  ", 1) for line in console.execute("stats").splitlines())
        assert stats["sessions"].strip() == "1"
        assert stats["limits_reached_total"].strip() == "0"
        session = server.sessions[ann.token]
        session.kick()
        until(lambda: not server.sessions)
        until(lambda: "kicked 1" in console.execute("stats"))  # it is counted a moment later
        shown = console.execute("stats")
        assert "sessions_ended_total" in shown
        assert "{" not in shown
    with enter(server, "ann", tmp_path):
        assert "leader" not in console.execute("threads")
        # A busy machine may make it start another one between two looks.
        until(lambda: f"{len(server.threads)} threads" in console.execute("threads"))


def test_send_and_broadcast(server: Server, console: Console, tmp_path: Path) -> None:
    """`send` reaches one session, `broadcast` all, `packet` sends any action with JSON data."""
    with enter(server, "ann", tmp_path) as ann, enter(server, "bob", tmp_path) as bob:
        assert console.execute("send ann only for you") == "sent"
        assert console.execute("broadcast for all") == "sent to 2"
        assert console.execute("packet bob move '{\"x\": 1}'") == "sent to 1"
        assert [ann.receive(WAIT).data, ann.receive(WAIT).data] == ["only for you", "for all"]  # type: ignore[union-attr]
        assert bob.receive(WAIT).data == "for all"  # type: ignore[union-attr]
        move = bob.receive(WAIT)
        assert move is not None
        assert (move.action, move.data) == ("move", {"x": 1})
        assert ann.receive(0.05) is None


def test_kick_mute_and_rooms(server: Server, console: Console, tmp_path: Path) -> None:
    """`mute` stops what goes to a session, `rooms` lists who is where, `kick` ends one with the reason."""
    with enter(server, "ann", tmp_path) as ann:
        session = server.sessions[ann.token]
        session.join("lobby")
        assert console.execute("rooms").split() == ["lobby", "1"]
        assert ann.token in console.execute("rooms lobby")
        console.execute("mute ann")
        session.send("lost")
        console.execute("unmute ann")
        session.send("heard")
        assert ann.receive(WAIT).action == "heard"  # type: ignore[union-attr]
        console.execute("kick ann enough of that")
        error = failure(ConnectionClosed, lambda: ann.receive(WAIT), "enough of that")
        assert error.text == "enough of that"
    until(lambda: not server.rooms)


def test_pause_resume_and_drain(server: Server, console: Console, tmp_path: Path) -> None:
    """`pause` lets new connections wait, `resume` lets them in, `drain` stops when all have left."""
    with enter(server, "ann", tmp_path) as ann:
        console.execute("pause")
        assert server.paused
        console.execute("resume")
        enter(server, "bob", tmp_path).close()
        assert "draining" in console.execute("drain 30")
        time.sleep(0.1)
        assert server.running  # ann is still here
        ann.close()
    until(lambda: not server.running)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("nonsense", "unknown command 'nonsense'"),
        ("kick", "say who"),
        ("kick nobody", "nobody is called 'nobody'"),
        ("send ann", "say what"),
        ("packet all", "say which action"),
        ("packet all move {x}", "no JSON"),
        ("drain soon", "no number"),
        ("drain -1", "0 to 86,400"),
        ('send "ann', "cannot read that line"),
        ("help nonsense", "unknown command"),
        ("", ""),
        ("   ", ""),
    ],
)
def test_misuse_is_answered_in_words(
    server: Server, console: Console, tmp_path: Path, line: str, says: str
) -> None:
    """A wrong line gets a sentence, never an exception."""
    with enter(server, "ann", tmp_path):
        assert says in console.execute(line)


def test_an_ambiguous_name_is_not_guessed(server: Server, console: Console, tmp_path: Path) -> None:
    """Two sessions of one name: the operator must say which."""
    with enter(server, "ann", tmp_path), enter(server, "ann", tmp_path):
        assert "fits 2 sessions" in console.execute("kick ann")
        assert len(server.sessions) == 2


def test_completion(server: Server, console: Console, tmp_path: Path) -> None:
    """The first word completes to commands, the second to names, tokens, rooms or commands."""
    with enter(server, "ann", tmp_path) as ann:
        server.sessions[ann.token].join("lobby")
        assert console.complete("ki") == ["kick"]
        assert "ann" in console.complete("kick a")
        assert ann.token in console.complete(f"kick {ann.token[:4]}")
        assert console.complete("rooms l") == ["lobby"]
        assert console.complete("help unm") == ["unmute"]
        assert console.complete("stats x") == []
        server.sessions[ann.token].join("l\x1b]0;owned\x07")
        assert console.complete("rooms l") == ["lobby"]


def test_credentials_and_deep_json_on_the_console(
    console: Console, server: Server, tmp_path: Path
) -> None:
    """`info` shows no more of a user than the list does, and whatever JSON is typed is an answer, no exception."""
    with enter(server, "ann", tmp_path) as ann:
        server.sessions[ann.token].user = {"user": "ann", "password": "hunter2"}
        assert "hunter2" not in console.execute(f"info {ann.token}")
        assert "no JSON" in console.execute("packet all a " + "[" * 100_000)


def test_help_lists_every_command(console: Console) -> None:
    """`help` has a line for each command, and each command that it names exists."""
    for line in console.execute("help").splitlines():
        assert "unknown" not in console.execute(f"help {line.split()[0]}")


def test_names_from_the_wire_are_escaped(server: Server, console: Console, tmp_path: Path) -> None:
    """A user name with terminal codes does not reach the operator's terminal as such."""
    with enter(server, "evil\x1b[2J", tmp_path):
        assert "\x1b" not in console.execute("list") + console.execute("stats")


# --- attaching -----------------------------------------------------------------------------------------


@pytest.fixture
def operated(
    identity: Identity, other_identity: Identity, tmp_path: Path
) -> Iterator[tuple[Server, AuthorizedClients, JoinTokens]]:
    """A server that asks for join tokens, and one authorised operator."""
    authorized = AuthorizedClients(tmp_path / "authorized_operators")
    authorized.authorize(other_identity.fingerprint, "root")
    operators, tokens = Operators(authorized), JoinTokens()
    server = Server("127.0.0.1", 0, keys=identity, authenticate=operators.admit(tokens))
    operators.serve(server, Console(server))
    with server:
        yield server, authorized, tokens


def operator(
    server: Server, key: Identity | None, tmp_path: Path, token: str | None = None
) -> Client:
    return Client(
        "127.0.0.1", server.address[1], keys=key, token=token, known_servers=tmp_path / "known"
    )


def test_an_authorised_key_operates_the_server(
    operated: tuple[Server, AuthorizedClients, JoinTokens], other_identity: Identity, tmp_path: Path
) -> None:
    """It needs no join token, runs commands, and sees the server's log lines."""
    server, _, tokens = operated
    attachment = attach(operator(server, other_identity, tmp_path), WAIT)
    lines: list[str] = []
    attachment.on_line(lines.append)
    assert "operator:root" in attachment.execute("list")
    guest = operator(server, None, tmp_path, tokens.create("ann")).connect(WAIT)
    assert "ann" in attachment.execute("list")
    until(lambda: any("connected" in line and "ann" in line for line in lines))
    attachment.execute("kick ann")
    failure(ConnectionClosed, lambda: guest.receive(WAIT), "kicked")
    attachment.close()
    guest.close()


def test_a_guest_is_no_operator(
    operated: tuple[Server, AuthorizedClients, JoinTokens], key_pool: list[Identity], tmp_path: Path
) -> None:
    """A session with a valid token, with or without a key of its own, cannot run a command."""
    server, _, tokens = operated
    for key in (None, key_pool[2]):
        client = operator(server, key, tmp_path, tokens.create("ann"))
        failure(Refused, lambda: attach(client, WAIT), "not authorised", "keys authorize")  # noqa: B023
        client.close()
    assert server.running


def test_revoking_an_operator_holds_at_once(
    operated: tuple[Server, AuthorizedClients, JoinTokens], other_identity: Identity, tmp_path: Path
) -> None:
    """The right is checked at each command, not only when attaching."""
    server, authorized, _ = operated
    attachment = attach(operator(server, other_identity, tmp_path), WAIT)
    authorized.revoke("root")
    failure(RequestFailed, lambda: attachment.execute("stop"), "not authorised")
    assert server.running
    attachment.close()


def test_operators_do_not_open_the_door_to_others() -> None:
    """The hook for operators asks the server's own hook about everybody else."""
    operators = Operators(Path("no such file"))
    asked: list[Hello] = []

    def otherwise(hello: Hello) -> str:
        asked.append(hello)
        raise Refused("not today")

    hello = Hello(None, "SHA256:" + "A" * 43, ("127.0.0.1", 1), "x", "", "", None, None, True)
    failure(Refused, lambda: operators.admit(otherwise)(hello), "not today")
    assert asked == [hello]


# --- at a terminal ---------------------------------------------------------------------------------------


def test_the_console_of_serve_at_a_real_terminal(tmp_path: Path) -> None:
    """`securelink serve --console` under a pseudo-terminal: completes with Tab, answers, and `stop` stops it."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "securelink",
            "serve",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--console",
        ],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=tmp_path,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(slave)
    seen = b""

    def wait_for(text: bytes, seconds: float = 2 * WAIT, after: bytes = b"") -> None:
        nonlocal seen
        deadline = time.monotonic() + seconds
        while text not in seen.partition(after)[2] if after else text not in seen:
            assert time.monotonic() < deadline, seen
            if select.select([master], [], [], 0.1)[0]:
                seen += os.read(master, 65536)

    try:
        wait_for(b"\x1b[?25h")  # the prompt is drawn and the cursor shown
        os.write(master, b"lis\t")
        wait_for(b"lis")
        wait_for(b"t", after=b"lis")
        os.write(master, b"\r")
        wait_for(b"no sessions")
        os.write(master, b"stop\r")
        deadline = time.monotonic() + WAIT
        while process.poll() is None and time.monotonic() < deadline:
            if select.select([master], [], [], 0.1)[0]:
                try:
                    os.read(master, 65536)
                except OSError:
                    break
        assert process.wait(WAIT) == 0
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
        os.close(master)
