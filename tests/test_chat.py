"""The chat: what people see, on a real server with real clients, and the two commands."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chatting import Person
from helpers import WAIT, failure, until
from together import link_of

from securelink import Client, ConnectionClosed, Identity, RequestFailed, Server
from securelink.limits import MAX_CHAT_BYTES, MAX_CHAT_ROOM_BYTES
from securelink.streams.base import BREAK
from securelink.testing import Relay
from securelink.tools.chat import ChatServer
from securelink.tools.chat.client import free_name
from securelink.tools.chat.history import History
from securelink.tools.chat.server import MAX_TEXT
from securelink.tools.console import Console


@pytest.fixture
def server(identity: Identity) -> Iterator[Server]:
    """A running chat."""
    with Server("127.0.0.1", 0, keys=identity) as server:
        yield server


@pytest.fixture
def people(server: Server) -> ChatServer:
    """The chat of that server."""
    return ChatServer(server)


@pytest.fixture
def enter(
    server: Server, people: ChatServer, tmp_path: Path
) -> Iterator[Callable[[str | None], Person]]:
    clients: list[Client] = []

    def enter(name: str | None = None) -> Person:
        client = Client("127.0.0.1", server.address[1], known_servers=tmp_path / "known")
        clients.append(client.connect(WAIT))
        return Person(client, name)

    yield enter
    for client in clients:
        client.close()  # first: nobody comes back to a server that is gone


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
    assert [line for line in bob.screen if "now called" in line] == ["* you are now called bob"]
    ann.client.close()
    bob.sees("Ann left")
    bob.says("/name ann")
    assert bob.chat.name == "ann"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("/name", "! a name has 1 to 24"),
        ("/name *ann", "! a name begins with a letter"),
        ("/name operator", "! nobody can be called that"),
        ("/whisper", "! say something"),
        ("/whisper bob hello", "! nobody is called that"),
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


def test_without_a_name_nothing_is_said(server: Server, people: ChatServer, tmp_path: Path) -> None:
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
        entered = client.request("chat.enter", "ann")
        for action in ("chat.say", "chat.name", "chat.join"):
            failure(RequestFailed, lambda: client.request(action, {"a": [1]}), "")  # noqa: B023
        for again in ("ann", "bob", None):  # the answer came too late, say
            assert client.request("chat.enter", again) == entered


def test_one_invite_serves_many(enter: Callable[[str | None], Person], server: Server) -> None:
    """Who wishes no name gets one that is free, also when all come with the same join token."""
    for session in server.sessions.values():
        session.user = "guest-x"
    server.on_connect.add_listener(lambda session: setattr(session, "user", "guest-x"))
    first, second = enter(None), enter(None)
    assert first.chat.name != second.chat.name


def test_a_taken_name_suggests_another(enter: Callable[[str | None], Person]) -> None:
    """The suggestion is free, also when the first one is not, and fits."""
    ann, _ = enter("ann"), enter("Ann2")
    error = failure(RequestFailed, lambda: enter("\uff21NN"), "ANN3 is free")
    assert free_name(error.text) == "ANN3"
    assert enter("ANN3").chat.name == "ANN3"
    enter("x" * 24)
    assert free_name(failure(RequestFailed, lambda: enter("x" * 24), "").text) == "x" * 23 + "2"
    assert ann.chat.name == "ann"
    assert free_name("enter first") is None


def test_the_hosts_log_has_the_names(
    enter: Callable[[str | None], Person], caplog: pytest.LogCaptureFixture
) -> None:
    """Who came, who is called what now, who left; a flood of new names does not fill it."""
    caplog.set_level(logging.INFO, "securelink")
    ann = enter("ann")
    assert f"session {ann.client.token} is ann in the chat" in caplog.text
    for number in range(40):
        ann.says(f"/name ann{number}")
    assert "ann is now called ann0 in the chat" in caplog.text
    assert caplog.text.count("is now called") < 20
    ann.client.close()
    until(lambda: "ann39 has left the chat" in caplog.text)


def test_emoji_of_several_parts_arrive_whole(enter: Callable[[str | None], Person]) -> None:
    """A family stays a family."""
    ann, bob = enter("ann"), enter("bob")
    family = "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
    ann.says(f"look: {family}")
    bob.sees(f"look: {family}")


def test_whispers(enter: Callable[[str | None], Person]) -> None:
    """Only the one who is meant sees them; names may have spaces."""
    ann, bob, carl = enter("ann"), enter("Bob Lee"), enter("carl")
    ann.says('/whisper "bob lee" it\'s me')
    bob.sees("ann whispers: it's me")
    ann.sees("* you whisper to Bob Lee: it's me")
    for number, quotes in enumerate(("''", "\u201c\u201d", "\u201e\u201c", "\u2018\u2019")):
        ann.says(f"/w {quotes[0]}Bob Lee{quotes[1]} in quotes {number}")
        bob.sees(f"ann whispers: in quotes {number}")
    ann.says("/w Bob Lee hello")
    ann.sees('! nobody is called that: see /who; names with spaces stand in "quotes"')
    ann.says("/w carl \x1b[2J")
    carl.sees("ann whispers: \\x1b[2J")
    assert not any("it's me" in line for line in carl.screen)
    bob.says("/history")
    assert not any("ann: " in line for line in bob.screen)


@pytest.fixture
def console(server: Server, people: ChatServer) -> Console:
    """The host's console, as the command makes it."""
    console = Console(server, people.announce, people.silence)
    people.banned = console.banned
    return console


def test_mute_means_that_nobody_hears(
    enter: Callable[[str | None], Person], console: Console
) -> None:
    """Who is muted is told so, hears the others, and cannot whisper, shout by a new name or come back louder."""
    ann, bob = enter("ann"), enter("bob")
    assert console.execute("mute bob").startswith("muted ")
    bob.sees("* you are muted")
    for line in ("hello", "/whisper ann hello", "/name loud"):
        bob.says(line)
    assert sum("! you are muted" in line for line in bob.screen) == 3
    assert "muted" in console.execute("list")
    ann.says("still here")
    bob.sees("ann: still here")
    bob.client.close()
    ann.sees("bob left")
    again = enter("bob")
    again.says("hello again")
    again.sees("! you are muted")
    assert not any("hello" in line or "loud" in line for line in ann.screen)
    console.execute("unmute bob")
    again.sees("* you can be heard again")
    again.says("thanks")
    ann.sees("bob: thanks")


def test_who_is_banned_does_not_come_back(
    enter: Callable[[str | None], Person], console: Console, server: Server
) -> None:
    """Neither under the name, in any spelling, nor before somebody unbans them; others come as before."""
    enter("ann")
    bob = enter("bob")
    assert "banned bob by name" in console.execute("ban bob that's enough")
    failure(ConnectionClosed, lambda: bob.client.request("chat.who"), "that's enough")
    until(lambda: len(server.sessions) == 1)
    failure(RequestFailed, lambda: enter("BOB"), "the name BOB is banned here")
    enter("carl")
    assert console.execute("bans") == "bob"
    assert "may come again" in console.execute("unban Bob")
    assert enter("bob").chat.name == "bob"
    assert console.execute("bans") == "nobody is banned"


def test_a_whisper_of_the_operator(enter: Callable[[str | None], Person], console: Console) -> None:
    """What follows the name is sent as it was typed."""
    ann, bob = enter("ann"), enter("bob lee")
    assert console.execute('send "bob lee" it\'s me') == "sent"
    bob.sees("* operator, to you alone: it's me")
    assert console.execute('whisper Ann "quoted"') == "sent"
    ann.sees('* operator, to you alone: "quoted"')
    console.execute("broadcast don't  panic")
    ann.sees("* operator: don't  panic")


def test_who_comes_back_gets_the_name_back(
    enter: Callable[[str | None], Person], server: Server
) -> None:
    """A connection that broke unseen does not keep the name; only its own person can take it back."""
    ann, bob = enter("ann"), enter("bob")
    bob.says("/join den")
    ann.sees("bob went to another room")
    ghost = server.sessions[bob.client.token]
    thief = Client("127.0.0.1", server.address[1]).connect(WAIT)
    for again in (None, "", "x" * 32, 7):
        wish = {"name": "bob", "again": again}
        failure(RequestFailed, lambda: thief.request("chat.enter", wish), "is taken")  # noqa: B023
    thief.close()
    heir = Client("127.0.0.1", server.address[1]).connect(WAIT)
    wish = {"name": "bob", "room": "den", "again": ghost.data["again"]}
    answer = heir.request("chat.enter", wish)
    assert (answer["name"], answer["room"]) == ("bob", "den")
    until(lambda: not ghost.connected)
    ann.says("/whisper bob welcome")
    assert heir.wait_for("chat.whispered", WAIT).data["text"] == "welcome"
    assert not any("bob left" in line for line in ann.screen)
    heir.close()


def cut(server: Server, token: str) -> None:
    """Break the connection of a session."""
    link = link_of(server.sessions[token])
    assert link is not None
    link.stream.shutdown(BREAK)


def test_a_broken_connection_is_replaced(
    enter: Callable[[str | None], Person], server: Server
) -> None:
    """Whoever types stays in the same session, and is told of the break; others hear nothing of it."""
    ann, bob = enter("ann"), enter("bob")
    ann.sees("* bob came in")
    heard = len(ann.screen)
    old = bob.client.token
    cut(server, old)
    bob.sees("* connection lost, trying again")
    bob.sees("* back")
    bob.says("here again")
    ann.sees("bob: here again")
    assert bob.client.token == old
    assert len(ann.screen) == heard + 1


def test_the_name_of_one_who_is_away_stays_taken(
    enter: Callable[[str | None], Person], server: Server, tmp_path: Path
) -> None:
    """Until the session ends; the refusal says why nobody is seen who has the name."""
    with Relay("127.0.0.1", server.address[1]) as relay:
        bob = Client("127.0.0.1", relay.port, known_servers=tmp_path / "known").connect(WAIT)
        Person(bob, "bob")
        session = server.sessions[bob.token]
        relay.to_server.hook = lambda chunk: b""  # no connection comes after this one
        relay.cut()
        until(lambda: not session.connected)
        error = failure(RequestFailed, lambda: enter("bob"), "taken by somebody who is away")
        assert free_name(error.text) == "bob2"
        session.kick()
        until(lambda: session.ended)
        until(lambda: enter_somehow(enter))
        bob.close()


def enter_somehow(enter: Callable[[str | None], Person]) -> bool:
    """Whether the name bob is free."""
    try:
        enter("bob")
    except RequestFailed:
        return False
    return True


@pytest.mark.usefixtures("not_kept")
def test_a_lost_session_is_made_anew(enter: Callable[[str | None], Person], server: Server) -> None:
    """Whoever types is not thrown out: the client comes back under the same name and in the same room."""
    ann, bob = enter("ann"), enter("bob")
    bob.says("/join den")
    old = bob.client.token
    cut(server, old)
    bob.sees("* the session is lost; trying to come back")
    until(lambda: bob.client.token != old and bob.chat.room == "den" and len(server.sessions) == 2)
    until(lambda: sum("you are bob, in the room den" in line for line in bob.screen) == 2)
    bob.says("/join lobby")
    bob.says("here again")
    ann.sees("bob: here again")
    assert bob.over == []


@pytest.mark.parametrize("end", ["kick", "stop"])
def test_an_end_that_is_meant_is_the_end(
    enter: Callable[[str | None], Person], server: Server, end: str
) -> None:
    """The reason of a kick or of a stop is there at once, and nobody comes back."""
    ann = enter("ann")
    if end == "kick":
        server.sessions[ann.client.token].kick("enough")
    else:
        server.stop()
    until(lambda: ann.over)
    assert ann.over == [
        "you were kicked: enough" if end == "kick" else "the server is shutting down"
    ]
    assert not any("come back" in line for line in ann.screen)


def test_a_server_that_stands_still_throws_nobody_out(
    server: Server, people: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that gets no answer in time is reported, and the chat goes on."""
    with Client("127.0.0.1", server.address[1], known_servers=tmp_path / "known") as client:
        person = Person(client, "ann")
        go_on = threading.Event()
        server.on("chat.say", lambda session, packet: go_on.wait(WAIT))
        request = client.request
        monkeypatch.setattr(client, "request", lambda *given: request(*given, timeout=0.2))
        assert person.says("are you there?")
        go_on.set()
        person.sees("! the server does not answer just now")
        monkeypatch.undo()
        assert person.says("/who")
        person.sees("  ann")
        person.chat.leave()


def test_a_guest_cannot_fill_the_memory(
    server: Server, people: ChatServer, enter: Callable[[str | None], Person]
) -> None:
    """Whatever is said in however many rooms, what is kept is bounded in bytes, and the lobby is not forgotten."""
    ann, flood = enter("ann"), enter("flood")
    ann.says("the first word")
    with flood.client.batch():
        for number in range(60):
            flood.client.send("chat.join", f"room {number}")
            for _ in range(60):
                flood.client.send("chat.say", "\U0001f438" * MAX_TEXT)
    flood.client.request("chat.who", timeout=WAIT)
    kept = people._history.size  # noqa: SLF001  # as the server counts it
    assert MAX_CHAT_BYTES // 2 < kept <= MAX_CHAT_BYTES
    ann.says("/history")
    ann.sees("ann: the first word")
    ann.says("/rooms")
    ann.sees("room 59")
    flood.says("/history")
    assert flood.screen


def test_the_history_keeps_to_its_bounds() -> None:
    """A room keeps 100 messages and `MAX_CHAT_ROOM_BYTES`; where nobody is is forgotten first."""
    history = History(lambda room: room == "lobby")
    for number in range(150):
        history.add("lobby", {"text": str(number)})
    assert [said["text"] for said in history.of("lobby")] == [str(n) for n in range(50, 150)]
    kept = history.size
    for number in range(400):
        history.add(f"room {number}", {"text": "x" * 20_000})
    assert history.size <= MAX_CHAT_BYTES
    assert len(history.of("lobby")) == 100
    assert not history.of("room 0")
    assert history.of("room 399")
    for _ in range(40):
        history.add("big", {"text": "x" * 20_000})
    assert 20_000 * len(history.of("big")) <= MAX_CHAT_ROOM_BYTES
    assert kept < history.size


@pytest.mark.parametrize(
    "answer",
    [None, 7, "x", [], {}, {"name": "x"}, {"name": "x", "room": "y"}, [1], [[1]], {"history": 1}]
    + [{"name": "x", "room": "y", "history": [nonsense]} for nonsense in (1, {}, {"time": 1e300})],
)
def test_a_server_that_is_no_chat_is_an_error_in_words(
    server: Server, tmp_path: Path, answer: object
) -> None:
    """Whatever it answers: no traceback, when entering and later."""

    def nonsense(session: object, packet: object) -> Any:
        return answer

    def enter(session: object, packet: object) -> Any:
        return {"name": "x" * 10_000, "room": "\x1b[2J", "history": [], "again": 7}

    server.on("chat.enter", nonsense)
    with Client("127.0.0.1", server.address[1], known_servers=tmp_path / "known") as client:
        failure(RequestFailed, lambda: Person(client, "ann"), "no chat answers")
    server.on("chat.enter", enter)
    for action in (
        "chat.who",
        "chat.rooms",
        "chat.history",
        "chat.join",
        "chat.whisper",
        "chat.name",
    ):
        server.on(action, nonsense)
    with Client("127.0.0.1", server.address[1], known_servers=tmp_path / "known") as client:
        person = Person(client, "ann")
        for line in ("/who", "/rooms", "/history", "/join x", "/whisper x y", "/name z", "hello"):
            assert person.says(line)
        for data in (answer, {"from": "a"}, {"from": "\x1b", "text": "\x1b" * 2000, "time": 0}):
            server.broadcast("chat.said", data)
            server.broadcast("chat.whispered", data)
        server.broadcast("chat.note", "the end")
        person.sees("* the end")
        assert not client.caught
        assert not any("\x1b" in line or len(line) > 17_000 for line in person.screen)
        person.chat.leave()
