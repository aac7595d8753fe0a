"""The chat with many people, at narrow terminals, and with people who are not wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chatting import Person
from helpers import WAIT, until

from securelink import Client, Identity, Server
from securelink.text import columns_of
from securelink.tools.chat import ChatServer
from securelink.tools.chat.history import MAX_LISTED
from securelink.tools.chat.wrapping import wrapped
from securelink.tools.console import Console

WIDE = "\u4f60\u597d\u4f60\u597d"  # four letters, eight columns
Enter = Callable[..., Person]


@pytest.fixture
def server(identity: Identity) -> Iterator[Server]:
    """A running chat."""
    with Server("127.0.0.1", 0, keys=identity) as server:
        yield server


@pytest.fixture
def console(server: Server) -> Console:
    """Its operator's console, as the command makes it."""
    people = ChatServer(server)
    console = Console(server, people.announce, people.silence)
    people.banned = console.banned
    return console


@pytest.fixture
def enter(server: Server, console: Console, tmp_path: Path) -> Iterator[Enter]:
    """Lets somebody in; gives what they see."""
    clients: list[Client] = []

    def enter(name: str | None = None, keys: Identity | None = None) -> Person:
        client = Client("127.0.0.1", server.address[1], known_servers=tmp_path / "known", keys=keys)
        clients.append(client.connect(WAIT))
        return Person(client, name)

    yield enter
    for client in clients:
        client.close()


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody comes from one address of another machine."""
    monkeypatch.setattr("securelink.tools.console.marks.is_loopback_host", lambda host: False)


# --- few people -------------------------------------------------------------------------------------------------------


def test_an_answer_without_anything_in_it(enter: Enter) -> None:
    """A person who asks for what there is none of is told so: an empty line looks like a program that hangs."""
    ann = enter("ann")
    ann.chat.line("/history")
    assert ann.screen[-1] == "* nothing was said here yet"
    ann.chat.line("/who bob")
    assert ann.screen[-1] == "* nobody here has such a name"
    ann.chat.line("hello")
    ann.chat.line("/history")
    assert ann.screen[-1].endswith("ann: hello")


# --- many people ------------------------------------------------------------------------------------------------------


def test_who_has_a_bounded_answer(enter: Enter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some names and the number of the others; a beginning narrows them down, in any case of its letters."""
    monkeypatch.setattr("securelink.tools.chat.server.MAX_LISTED", 4)
    ann = enter("ann")
    for number in range(6):
        enter(f"guest {number}")
    ann.sees("guest 5 came in")  # no line is still to come
    ann.chat.line("/who")
    more = "... and 4 more: /who AN shows those that begin so"
    assert ann.screen[-1] == f"  ann, guest 0, guest 1, {more}"
    ann.chat.line("/who GUEST 5")
    assert ann.screen[-1] == "  guest 5"
    ann.chat.line("/who a")
    assert ann.screen[-1] == "  ann"


def test_a_server_cannot_fill_the_screen(
    enter: Enter, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that answers with more than a chat's does is shown up to the same bounds."""
    ann = enter("ann")
    server.off("chat.who")
    server.off("chat.rooms")
    server.on("chat.who", lambda session, packet: ["x" * 20] * 50_000)
    server.on("chat.rooms", lambda session, packet: [["x" * 20, 1]] * 50_000)
    before = len(ann.screen)
    ann.chat.line("/who")
    ann.chat.line("/rooms")
    assert len(ann.screen) - before <= 1 + MAX_LISTED
    assert max(map(len, ann.screen)) < 4100


def test_rooms_have_a_bounded_answer(enter: Enter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those with most people come first, and a line says how many others there are."""
    monkeypatch.setattr("securelink.tools.chat.server.MAX_LISTED", 3)
    ann, bob, carl = enter("ann"), enter("bob"), enter("carl")
    for person, room in ((ann, "den"), (bob, "den"), (carl, "attic")):
        person.chat.line(f"/join {room}")
    dan, eve = enter("dan"), enter("eve")
    eve.chat.line("/join cellar")
    dan.sees("eve went to another room")  # no line is still to come
    dan.chat.line("/rooms")
    assert dan.screen[-3] == "  den (2)"
    assert dan.screen[-1] == "  ... and other rooms (2)"


# --- terminals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "rows"),
    [
        ("short", ["short"]),
        (
            "12:30 ann: one two three four five",
            ["12:30 ann: one two three", "      four five"],
        ),
        ("* ann is now called annabelle", ["* ann is now called", "  annabelle"]),
        ("  ann, bob, carl, dan, eve, fred", ["  ann, bob, carl, dan,", "  eve, fred"]),
        (f"12:30 ann: {WIDE} {WIDE}", [f"12:30 ann: {WIDE}", f"      {WIDE}"]),
        (
            "12:30 ann: https://host.example/a/long/way to it",
            ["12:30 ann:", "      https://host.example/a/long/way", "      to it"],
        ),
    ],
)  # fmt: skip
def test_long_lines_hang(line: str, rows: list[str]) -> None:
    """What somebody said goes on below what they said, not below the time; no word is broken."""
    assert wrapped(line, 25) == "\n".join(rows)
    assert wrapped(f"{line}\n{line}", 25) == "\n".join(rows + rows)
    assert wrapped(line, 10) == line  # no room for anything
    assert wrapped(line, 200) == line


def test_widths() -> None:
    """East Asian letters take two columns, marks above others none."""
    assert [columns_of(text) for text in ("", "abc", "\u00e9", "e\u0301", "\u4f60\u597d", "\u200b")] == [
        0, 3, 1, 1, 4, 0,
    ]  # fmt: skip


# --- who is not wanted ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("far")
def test_a_mute_holds_under_another_name(
    enter: Enter, console: Console, other_identity: Identity
) -> None:
    """A guest is known by the address: neither a new name nor a new key makes him heard."""
    ann = enter("ann", keys=other_identity)
    bob = enter("bob")
    assert console.execute("mute bob").endswith(" by address, name")
    bob.client.close()
    ann.sees("bob left")
    for again in (enter("rob"), enter("bert", keys=Identity.generate(2048))):
        again.chat.line("hello")
        again.sees("! you are muted")
        again.client.close()
    assert not any("hello" in line for line in ann.screen)
    back = enter("ron")
    console.execute("unmute ron")  # under whatever name he is there now
    back.chat.line("thanks")
    ann.sees("ron: thanks")


@pytest.mark.usefixtures("far")
def test_a_mute_of_a_key_spares_the_neighbours(
    enter: Enter, console: Console, other_identity: Identity
) -> None:
    """Who has a key is known by it, under any name; others of the same address are heard."""
    ann, bob = enter("ann"), enter("bob", keys=other_identity)
    assert console.execute("mute bob").endswith(" by key, name")
    ann.chat.line("good evening")
    bob.sees("ann: good evening")
    bob.client.close()
    ann.sees("bob left")
    again = enter("rob", keys=other_identity)
    again.chat.line("hello")
    again.sees("! you are muted")


def test_on_this_machine_a_mute_is_by_name(enter: Enter, console: Console) -> None:
    """The address of this machine is nobody's: whatever tunnel ends here brings everybody from it."""
    ann, bob = enter("ann"), enter("bob")
    assert console.execute("mute bob").endswith(" by name")
    ann.chat.line("good evening")
    bob.sees("ann: good evening")


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("ban bob", "you are banned here"),
        ("ban bob that's enough", "you are banned here: that's enough"),
    ],
)
def test_who_is_banned_is_told_so(enter: Enter, console: Console, command: str, told: str) -> None:
    """Not "kicked: banned"; and the others see that he was banned, not that he left."""
    ann, bob = enter("ann"), enter("bob")
    console.execute(command)
    until(lambda: bob.over)
    assert bob.over == [told]
    ann.sees("* bob was banned")
    assert not any("bob left" in line for line in ann.screen)
    carl = enter("carl")
    carl.client.close()
    ann.sees("* carl left")
