"""The chat: what people see, on a real server with real clients, and the two commands."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers import WAIT, failure, until

from securelink import Client, Identity, RequestFailed, Server
from securelink.chat import ChatClient, ChatServer
from securelink.chat.server import MAX_TEXT


@pytest.fixture
def server(identity: Identity) -> Iterator[Server]:
    """A running chat."""
    server = Server("127.0.0.1", 0, keys=identity)
    ChatServer(server)
    with server:
        yield server


class Person:
    """A chatter, and the lines on their screen."""

    def __init__(self, client: Client, name: str | None) -> None:
        self.screen: list[str] = []
        self.client = client
        self.chat = ChatClient(client, self.screen.append, name)

    def sees(self, text: str) -> None:
        """Wait for a line with this text."""
        until(lambda: any(text in line for line in self.screen))

    def says(self, line: str) -> bool:
        return self.chat.line(line)


@pytest.fixture
def enter(server: Server, tmp_path: Path) -> Iterator[Callable[[str | None], Person]]:
    clients: list[Client] = []

    def enter(name: str | None = None) -> Person:
        client = Client("127.0.0.1", server.address[1], known_servers=tmp_path / "known")
        clients.append(client.connect(WAIT))
        return Person(client, name)

    yield enter
    for client in clients:
        client.close()


def test_people_hear_each_other(enter: Callable[[str | None], Person]) -> None:
    """What one says the others of the room see with name and time; the speaker gets no echo."""
    ann, bob = enter("ann"), enter("bob")
    ann.sees("bob came in")
    ann.says("hello")
    bob.sees("ann: hello")
    assert re.fullmatch(r"\d\d:\d\d ann: hello", bob.screen[-1])
    assert not any("ann: hello" in line for line in ann.screen)


def test_rooms_and_history(enter: Callable[[str | None], Person]) -> None:
    """A room's talk stays in it; who comes later sees what was said there."""
    ann, bob = enter("ann"), enter("bob")
    ann.says("in the lobby")
    bob.sees("in the lobby")
    ann.says("/join den")
    bob.sees("ann went to another room")
    ann.says("in the den")
    carl = enter("carl")
    carl.sees("in the lobby")
    carl.says("/join den")
    carl.sees("in the den")
    assert not any("in the den" in line for line in bob.screen)
    carl.says("/rooms")
    carl.sees("den (2)")
    carl.says("/who")
    carl.sees("ann, carl")
    carl.says("/history")
    assert sum("in the den" in line for line in carl.screen) == 2


def test_names(enter: Callable[[str | None], Person]) -> None:
    """A name belongs to one person, in any spelling of case; it can be changed, and is free after leaving."""
    ann = enter("Ann")
    failure(RequestFailed, lambda: enter("ANN"), "taken")
    bob = enter(None)
    assert bob.chat.name.startswith("guest-")
    bob.says("/name ann")
    bob.sees("! the name ann is taken")
    bob.says("/name bob")
    ann.sees("is now called bob")
    assert bob.chat.name == "bob"
    ann.client.close()
    bob.sees("Ann left")
    bob.says("/name ann")
    assert bob.chat.name == "ann"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("/name", "! a name has 1 to 24"),
        ("/name \x07bell", "! a name has 1 to 24 printable"),
        ("/join", "! a room's name"),
        ("/join lobby", "! you are in that room"),
        ("/dance", "! there is no /dance; try /help"),
        ("x" * (MAX_TEXT + 1), "! that is longer than"),
        ("/help", "/join ROOM"),
    ],
)
def test_what_is_wrong_is_said(enter: Callable[[str | None], Person], line: str, says: str) -> None:
    """A wrong line gets a sentence; the chat goes on."""
    ann = enter("ann")
    assert ann.says(line)
    ann.sees(says)
    assert ann.says("still here")


def test_leaving_words(enter: Callable[[str | None], Person]) -> None:
    """`exit`, in any case, leaves; an empty line does nothing."""
    ann = enter("ann")
    assert ann.says("")
    assert not ann.says("EXIT")
    assert not ann.says("/quit")


def test_peer_text_cannot_draw_on_a_terminal(enter: Callable[[str | None], Person]) -> None:
    """Control characters in what others say arrive as visible escapes."""
    ann, bob = enter("ann"), enter("bob")
    ann.says("\x1b[2Jgone\x07")
    bob.sees("gone")
    assert not any("\x1b" in line or "\x07" in line for line in bob.screen)


def test_without_a_name_nothing_is_said(server: Server, tmp_path: Path) -> None:
    """A client that speaks the packets by itself must enter first, and cannot crash the chat with odd data."""
    with Client("127.0.0.1", server.address[1], known_servers=tmp_path / "known") as client:
        for action in (
            "chat.say",
            "chat.name",
            "chat.join",
            "chat.who",
            "chat.rooms",
            "chat.history",
        ):
            failure(RequestFailed, lambda: client.request(action, "x"), "enter first")  # noqa: B023
        client.request("chat.enter", "ann")
        for action in ("chat.say", "chat.name", "chat.join"):
            failure(RequestFailed, lambda: client.request(action, {"a": [1]}), "")  # noqa: B023
        failure(RequestFailed, lambda: client.request("chat.enter", "ann"), "in already")


def test_serve_and_join_as_two_commands(tmp_path: Path) -> None:
    """`chat serve` prints a command that lets a friend in; `exit` leaves; without the invite nobody enters."""
    run = [sys.executable, "-m", "securelink", "chat"]
    server = subprocess.Popen(
        [*run, "serve", "--host", "127.0.0.1", "--port", "0"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        link = re.search(r"'(securelink://[^']+)'", server.stdout.readline())
        assert link is not None

        def join(invite: str, typed: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [*run, "join", invite, "--name", "ann", "--keys", "mine"],
                cwd=tmp_path,
                input=typed,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )

        entered = join(link[1], "hello\n/who\nexit\n")
        assert entered.returncode == 0, entered.stderr
        assert "you are ann, in the room lobby" in entered.stdout
        assert "  ann\n" in entered.stdout
        stranger = join(link[1].partition("&token=")[0], "")
        assert stranger.returncode == 1
        assert "join token" in stranger.stderr
    finally:
        server.terminate()
        server.wait(120)
        if server.stdout is not None:
            server.stdout.close()


def test_one_invite_serves_many(enter: Callable[[str | None], Person], server: Server) -> None:
    """Who wishes no name gets one that is free, also when all come with the same join token."""
    for session in server.sessions.values():
        session.user = "guest-x"
    server.on_connect.add_listener(lambda session: setattr(session, "user", "guest-x"))
    first, second = enter(None), enter(None)
    assert first.chat.name != second.chat.name
