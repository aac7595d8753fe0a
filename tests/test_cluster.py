"""The cluster of the examples: a hub and several servers, which are one to those who send."""

from __future__ import annotations

import ast
import contextlib
import io
import logging
import re
import signal
import tokenize
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cluster import Clustered, hub
from helpers import until
from programs import EXAMPLES, Program
from together import joined, shows

from securelink import Client, ConfigError, Identity, Invite, NotTrusted, Refused, Server, Session

pytestmark = pytest.mark.usefixtures("tidy")
LONG = 30  # seconds that a packet may take over two servers and a hub, on a busy machine

#: A server as its user writes it. Its clients make it send.
SERVER = """
import os, sys
sys.path.insert(0, sys.argv[1])
from contextlib import closing
from cluster import Clustered
from securelink import Server

with closing(Clustered(os.environ["CLUSTER"])) as cluster:
    server = Server("127.0.0.1", 0, fanout=cluster)
    server.on("enter", lambda session, packet: session.join(packet.data).name)
    server.on("all", lambda session, packet: server.broadcast("said", packet.data))
    server.on("others", lambda session, packet: server.broadcast("said", packet.data, exclude=[session]))
    server.on("but", lambda session, packet: server.broadcast("said", packet.data[1], exclude=packet.data[0]))
    server.on("room", lambda session, packet: server.room(packet.data[0]).broadcast("said", packet.data[1]))
    server.on("to", lambda session, packet: server.broadcast("said", packet.data[1], to=packet.data[0]))
    server.on("state", lambda session, packet: server.set_state(packet.data))
    server.on("find", lambda session, packet: [one.token for one in server.find(packet.data)])
    server.on("tell", lambda session, packet: server.find(packet.data[0])[0].send("said", packet.data[1]))
    server.on("kick", lambda session, packet: server.find(packet.data[0])[0].kick(packet.data[1]))
    server.on_start(lambda: print("at", server.address[1], server.fingerprint, flush=True))
    server.serve_forever()
"""


@pytest.fixture
def folder(tmp_path: Path, identity: Identity) -> Path:
    """Where hub and servers run: they have keys already, because making them takes longer than the rest."""
    identity.save(tmp_path / "hub", "server")
    identity.save(tmp_path / "keys", "server")
    return tmp_path


@contextlib.contextmanager
def hub_process(folder: Path, port: str = "0") -> Iterator[tuple[Program, str, str]]:
    """The hub in a process of its own; its port and its invite."""
    with Program(EXAMPLES / "cluster.py", "hub", port, folder=folder) as program:
        invite = program.prints(r"CLUSTER=(\S+)")[1]
        found = re.search(r":(\d+)/", invite)
        assert found is not None
        yield program, found[1], invite


@contextlib.contextmanager
def one_of_it(invite: str, identity: Identity, **options: Any) -> Iterator[Server]:
    """A server of the cluster, in this process."""
    with (
        contextlib.closing(Clustered(invite)) as cluster,
        Server("127.0.0.1", 0, keys=identity, fanout=cluster, **options) as server,
    ):
        yield server


@contextlib.contextmanager
def two_of_it(
    invite: str, identity: Identity
) -> Iterator[tuple[Clustered, Server, Server, Client, Client]]:
    """Two servers, with what the first was given, and a client of each."""
    with (
        contextlib.closing(Clustered(invite)) as cluster,
        Server("127.0.0.1", 0, keys=identity, fanout=cluster) as first,
        one_of_it(invite, identity) as second,
        joined(first) as (ada,),
        joined(second) as (bob,),
    ):
        yield cluster, first, second, ada, bob


def heard(client: Client, count: int = 1) -> list[Any]:
    """What the next packets say."""
    return [client.wait_for("said", LONG).data for _ in range(count)]


def session_of(server: Server, client: Client) -> Session:
    """The server's side of a session, which is public a moment after its client is connected."""
    until(lambda: client.token in server.sessions)
    return server.sessions[client.token]


def knows(server: Server, *clients: Client) -> None:
    """Wait until a server has heard of these sessions."""
    until(lambda: all(server.find(client.token) for client in clients))


def test_two_servers_and_a_hub_in_processes_of_their_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All, all but, a room, tokens, state, find, send and kick reach a client of the other process."""
    with hub_process(folder) as (_, _, invite), contextlib.ExitStack() as stack:
        monkeypatch.setenv("CLUSTER", invite)
        clients = []
        for _ in range(2):
            server = stack.enter_context(Program("-c", SERVER, EXAMPLES, folder=folder))
            port, pin = server.prints(r"at (\d+) (\S+)").groups()
            clients.append(stack.enter_context(Client("127.0.0.1", int(port), pin=pin)))
        ada, bob = clients
        until(lambda: ada.request("find", bob.token) == [bob.token])
        until(lambda: bob.request("find", ada.token) == [ada.token])
        ada.send("all", 1)
        assert heard(ada) == heard(bob) == [1]
        ada.send("others", 2)
        ada.send("but", [bob.token, 3])
        ada.send("to", [[bob.token, "nobody"], 4])
        assert heard(bob, 2) == [2, 4]
        assert heard(ada) == [3]
        assert bob.request("enter", "red") == "red"
        ada.send("room", ["red", 5])
        ada.send("room", ["blue", 6])
        ada.send("tell", [bob.token, 7])
        assert heard(bob, 2) == [5, 7]
        bob.send("state", "night")
        for client in clients:
            shows(client, "night")
        ada.send("kick", [bob.token, "it is late"])
        until(lambda: bob.ended)
        assert bob.text == "it is late"
        until(lambda: ada.request("find", bob.token) == [])
        assert ada.poll() == []


def test_the_chat_of_a_cluster(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers of the example run the chat: who is at one hears who is at the other; Ctrl-C ends all three."""
    script, client = EXAMPLES / "cluster.py", EXAMPLES / "chat_client.py"
    with Program(script, "server", "0", folder=folder) as lonely:
        assert lonely.ends() == 1
        assert "set CLUSTER to what the hub has printed" in lonely.output
    with hub_process(folder) as (middle, _, invite):
        monkeypatch.setenv("CLUSTER", invite)
        with (
            Program(script, "server", "0", folder=folder) as first,
            Program(script, "server", "0", folder=folder) as second,
        ):
            ports = [one.prints(r"Server PORT: (\d+)")[1] for one in (first, second)]
            with (
                Program(client, "ada", "--port", ports[0], folder=folder) as ada,
                Program(client, "bob", "--port", ports[1], folder=folder) as bob,
            ):
                ada.prints("here are")
                bob.prints("here are")
                bob.types("hello\n")
                ada.prints("bob: hello")
                ada.types("hi\n")
                bob.prints("ada: hi")
                assert "bob: hello" not in bob.output
                bob.types("exit\n")
                ada.prints("bob left")
            for program in (first, second, middle):
                program.interrupt()
                assert program.ends() == 0
                assert "Traceback" not in program.output


def test_who_is_where(folder: Path, identity: Identity) -> None:
    """A server that comes later knows who is elsewhere, by token, address and user, and the state; who goes is gone."""
    users = {"a": "ada", "b": "bob", "c": [1], "d": 2**70}
    options: dict[str, Any] = {"authenticate": lambda hello: users[hello.credentials]}
    with hub("127.0.0.1", 0) as middle, contextlib.ExitStack() as stack:
        invite = middle.invite(uses=None)
        first = stack.enter_context(one_of_it(invite, identity, **options))
        (ada,) = stack.enter_context(joined(first, credentials="a"))
        first.set_state("night")
        shows(ada, "night")
        with (
            one_of_it(invite, identity, **options) as second,
            joined(second, credentials="b") as (bob,),
            joined(second, credentials="c") as (eve,),
        ):
            shows(bob, "night")
            knows(first, bob, eve)
            knows(second, ada)
            (found,) = second.find(user="ada")
            here = session_of(first, ada)
            assert (found.token, found.user, found.address) == (ada.token, "ada", here.address)
            assert second.find(address=here.address) == second.find(ada.token) == [found]
            assert second.find(ada.token, user="bob") == []
            assert {one.token for one in second.find()} == {ada.token, bob.token, eve.token}
            assert [one.user for one in first.find(eve.token)] == [None]  # no text or number
            assert list(second.sessions) == [bob.token, eve.token]
            with joined(second, credentials="d") as (huge,):
                first.broadcast("said", 0, to=[huge.token])
                assert heard(huge) == [0]
                assert first.find(huge.token) == []  # its user cannot be sent
            until(lambda: len(second.sessions) == 2)
            found.send("said", 1)
            assert second.broadcast("said", 2, to=[found, session_of(second, bob)]) == 1
            assert second.broadcast("said", 3, to=[found.token]) == 0
            assert second.broadcast("said", 4, exclude=[found]) == 2
            assert heard(ada, 3) == [1, 2, 3]
            assert heard(bob, 2) == [2, 4]
            for wrong in (5, [found, 5]):
                with pytest.raises(ConfigError, match="sessions or their tokens"):
                    second.broadcast("said", to=wrong)  # type: ignore[arg-type]
        until(lambda: [one.token for one in first.find()] == [ada.token])


def test_rooms_have_members_of_all_servers(folder: Path, identity: Identity) -> None:
    """A room is one by its name, also where nobody of it is; those of another room can be left out."""
    with hub("127.0.0.1", 0) as middle:
        invite = middle.invite(uses=None)
        with (
            one_of_it(invite, identity) as first,
            one_of_it(invite, identity) as second,
            joined(first) as (ada,),
            joined(second, 2) as (bob, eve),
        ):
            session_of(first, ada)
            session_of(second, bob).join("red")
            session_of(second, eve).join("red")
            session_of(second, eve).join("quiet")
            assert first.room("red").broadcast("said", 1) == 0
            assert (
                first.broadcast("said", 2, to=first.room("red"), exclude=first.room("quiet")) == 0
            )
            assert first.broadcast("said", 3, exclude=first.room("red")) == 1
            first.broadcast("said", 4)
            assert heard(bob, 3) == [1, 2, 4]
            assert heard(eve, 2) == [1, 4]
            assert heard(ada, 2) == [3, 4]
            session_of(second, bob).leave("red")
            first.room("red").broadcast("said", 5)
            first.room("red").broadcast("said", 6, exclude=[eve.token])
            first.broadcast("said", 7)
            assert heard(bob) == [7]
            assert heard(eve, 2) == [5, 7]


def test_only_who_has_the_invite_is_one_of_them(folder: Path, other_identity: Identity) -> None:
    """A server without a join token is refused by the hub, and a hub with another key by the server."""
    with hub("127.0.0.1", 0) as middle:
        invite = Invite.parse(middle.invite())
        with pytest.raises(Refused):
            Clustered(str(replace(invite, token=None)))
        with pytest.raises(NotTrusted):
            Clustered(str(replace(invite, fingerprint=other_identity.public.fingerprint)))


def test_a_hub_that_is_killed_loses_nothing(folder: Path, identity: Identity) -> None:
    """What is sent meanwhile comes when it is back, in order; of what replaces one another only the newest."""
    with contextlib.ExitStack() as stack:
        with hub_process(folder) as (middle, port, invite):
            cluster, first, second, ada, bob = stack.enter_context(two_of_it(invite, identity))
            knows(second, ada)
            middle.signals(signal.SIGKILL)
            until(lambda: not cluster.hub.connected)
            for number in range(5):
                assert first.broadcast("said", number) == 1
                first.broadcast("said", f"board {number}", latest="board")
                first.broadcast("said", f"to bob {number}", to=[bob.token], latest="board")
            second.set_state("night")
        with hub_process(folder, port):
            assert heard(bob, 7) == [0, "board 4", "to bob 4", 1, 2, 3, 4]
            for client in (ada, bob):
                shows(client, "night")
            (late,) = stack.enter_context(joined(second))  # another one that comes later
            shows(late, "night")
            knows(first, late)


def test_a_hub_that_is_away_for_too_long(
    folder: Path, identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """Servers go on alone, never wait, keep no more than a bound, and say what others miss; then they meet again."""
    caplog.set_level(logging.ERROR, logger="securelink.cluster")
    with contextlib.ExitStack() as stack:
        with hub_process(folder) as (middle, port, invite):
            cluster, first, second, ada, bob = stack.enter_context(two_of_it(invite, identity))
            ada.on("large", lambda packet: None)
            second.set_state("day")
            shows(ada, "day")
            middle.signals(signal.SIGKILL)
            middle.ends()
            for _ in range(40):
                first.broadcast("large", bytes(2**20), full="drop")
                assert sum(cluster.hub.pressure[:2]) < 17 * 2**20
            until(lambda: "no hub" in caplog.text)
            first.broadcast("said", 1)
            assert heard(ada) == [1]
            first.set_state("night")
            shows(ada, "night")
            (folder / "hub.db").unlink()  # this hub knows nobody
        with hub_process(folder, port):
            until(lambda: re.search(r"other servers have missed \d\d packets", caplog.text))
            until(lambda: first.broadcast("said", 2) and bob.poll())
            knows(first, bob)
            knows(second, ada)
            shows(bob, "day")


def test_it_has_as_many_lines_as_the_design_says() -> None:
    """Lines of code, without blank lines, comments and docstrings."""
    text = (EXAMPLES / "cluster.py").read_text()
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.string.strip() and token.type != tokenize.COMMENT:
            code.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):  # a docstring
            code.difference_update(range(node.lineno, (node.end_lineno or 0) + 1))
    design = (EXAMPLES.parent / "docs/DESIGN.md").read_text()
    assert f"| a cluster of servers | 350 lines | built: 1 new file, {len(code)} lines" in design
