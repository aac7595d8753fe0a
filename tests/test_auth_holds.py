"""A use of a join token belongs to who got in: a cut before that spends nothing, and nothing is ever used twice."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers import WAIT, Hostile, Scene, failure, scene, secrets, until
from inside import jobs_of
from logins import USED_UP, hello, refusal

from securelink import Client, Hello, Identity, Refused, Server, Session
from securelink.auth import Hold, JoinTokens
from securelink.codes import Code
from securelink.protocol import Opened
from securelink.wire.fields import Content, Mode
from securelink.wire.packets import Packet, encode_packet, encode_value, join_packets

pytestmark = pytest.mark.usefixtures("tidy")


@contextmanager
def door(
    identity: Identity, tmp_path: Path, uses: int = 1, **options: Any
) -> Iterator[tuple[Scene, JoinTokens, str]]:
    """A server that asks for join tokens, its tokens in a file, and a token."""
    tokens = JoinTokens(tmp_path / "keys" / "join_tokens.json")
    mine, token = tokens.create("neighbour"), tokens.create("ada", uses=uses)
    secrets.add(token)
    with scene(identity, authenticate=tokens, neighbour={"token": mine}, **options) as stage:
        stage.check_neighbour()  # its on_connect is behind us
        yield stage, tokens, token


def left(tokens: JoinTokens) -> int | None:
    """How many uses ada's token has."""
    (entry,) = (entry for entry in tokens.entries() if entry.user == "ada")
    return entry.uses


def asking(stage: Scene, token: str, mode: Mode = Mode.REQUIRED) -> Hostile:
    """A client that has asked to enter by this token, and read nothing since."""
    client = Hostile(stage.port, mode, credentials=encode_value({"token": token}))
    client.hello()
    client.authenticate()
    client.flush()
    return client


@pytest.mark.parametrize("reads", [False, True], ids=["before WELCOME", "after WELCOME"])
@pytest.mark.parametrize("mode", [Mode.REQUIRED, Mode.OFF])
def test_a_cut_spends_nothing(reads: bool, mode: Mode, identity: Identity, tmp_path: Path) -> None:
    """A connection that breaks before its client is known to be in leaves the token as it was; nobody was there."""
    seen: list[Session] = []
    encryption = "off" if mode == Mode.OFF else "required"
    with door(identity, tmp_path, encryption=encryption) as (stage, tokens, token):
        stage.server.on_connect(seen.append)
        stage.server.on_disconnect(seen.append)
        for _ in range(3):
            with asking(stage, token, mode) as client:
                until(lambda: left(tokens) == 0)
                if reads:
                    client.read_until(Opened)  # WELCOME
                assert len(stage.server.sessions) == 1
            until(lambda: left(tokens) == 1)
            until(stage.alone)
        assert not seen
        assert [entry.used for entry in tokens.entries() if entry.user == "ada"] == [None]
        with stage.client(token=token, encryption=encryption) as entered:
            assert stage.session(entered).user == "ada"
        until(stage.alone)
        again = stage.client(token=token, encryption=encryption)
        assert failure(Refused, again.connect, "").text == USED_UP
        assert left(tokens) == 0


def test_a_farewell_is_no_sign(identity: Identity, tmp_path: Path) -> None:
    """A client that had given up may have said CLOSE before WELCOME came: it was not in."""
    with door(identity, tmp_path) as (stage, tokens, token), asking(stage, token) as client:
        client.read_until(Opened)
        client.sock.sendall(client.engine.sender.close(Code.NORMAL))  # type: ignore[union-attr]
        until(lambda: left(tokens) == 1)


@pytest.mark.parametrize("first", [Content.PING, Content.ACK, Content.DATA])
def test_the_first_record_spends(first: Content, identity: Identity, tmp_path: Path) -> None:
    """Whatever comes first shows that the client is in: it was greeted before that, and its use is spent."""
    order: list[str] = []
    body = {
        Content.PING: bytes(8),
        Content.ACK: bytes(8),
        Content.DATA: join_packets([encode_packet(Packet("say", 1))]),
    }
    with door(identity, tmp_path) as (stage, tokens, token):
        stage.server.on_connect(lambda session: order.append(f"connect {session.user}"))
        stage.server.on_disconnect(lambda session: order.append(f"disconnect {session.user}"))
        stage.server.on("say", lambda session, packet: order.append("say"))
        with asking(stage, token) as client:
            client.read_until(Opened)
            # Sign and farewell in one piece.
            sign = client.seal(first, body[first])
            client.sock.sendall(sign + client.engine.sender.close(Code.NORMAL))  # type: ignore[union-attr]
            until(lambda: "disconnect ada" in order)
        assert order == ["connect ada", *["say"] * (first == Content.DATA), "disconnect ada"]
        assert left(tokens) == 0


def test_who_shows_no_sign_hears_nothing(identity: Identity, tmp_path: Path) -> None:
    """Until its sign a client is no session: broadcasts do not reach it, so nothing was used without being spent."""
    with door(identity, tmp_path) as (stage, _tokens, token), asking(stage, token) as client:
        client.read_until(Opened)
        assert stage.server.broadcast("secret", 1) == 1
        client.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.sock.recv(1)
        client.sock.settimeout(WAIT)
        client.send(Content.PING, bytes(8))
        until(lambda: len(stage.server.sessions) == 2)
        assert stage.server.broadcast("public", 1) == 2
        for action in ("secret", "public"):
            assert stage.neighbour.wait_for(action, WAIT).data == 1


def test_who_shows_no_sign_in_time_is_out(identity: Identity, tmp_path: Path) -> None:
    """Without its sign a connection lasts as long as a handshake may, also one that sends a record byte by byte."""
    with door(identity, tmp_path) as (stage, tokens, token):
        stage.hurry(5.0)
        with asking(stage, token) as client:
            client.read_until(Opened)
            sign = client.seal(Content.PING, bytes(8))
            with contextlib.suppress(OSError):
                for byte in sign[:-1] + bytes(100):
                    client.sock.sendall(bytes((byte,)))
                    time.sleep(0.1)
            until(lambda: left(tokens) == 1)
            assert len(stage.server.sessions) == 1
            stage.check_neighbour()


def test_the_same_client_takes_over(
    identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client whose cut the server has not noticed comes in by its second attempt, and by no third."""
    monkeypatch.setattr("securelink.limits.SIGN_SECONDS", -1.0)
    with door(identity, tmp_path) as (stage, tokens, token), asking(stage, token) as lost:
        lost.read_until(Opened)
        with stage.client(token=token) as client:
            assert stage.session(client).user == "ada"
            assert left(tokens) == 0
            # The first one comes back to life: it has no use any more.
            lost.send(Content.PING, bytes(8))
            assert lost.ending()[0] == Code.REFUSED
            assert [session.user for session in stage.server.sessions.values()].count("ada") == 1
            third = stage.client(token=token)
            assert failure(Refused, third.connect, "").text == USED_UP
        assert left(tokens) == 0


def test_somebody_else_takes_nothing_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """From another address, with another key, or before the first has had its time, the token is used up."""
    monkeypatch.setattr("securelink.limits.SIGN_SECONDS", -1.0)
    tokens = JoinTokens()
    token = tokens.create("ada")

    def ask(**fields: Any) -> str:
        asked = hello({"token": token})
        return tokens(Hello(**{**plain(asked), **fields, "_holds": []}))

    assert ask() == "ada"
    assert refusal(lambda: ask(address=("192.0.2.7", 1))) == USED_UP
    assert refusal(lambda: ask(fingerprint="SHA256:x")) == USED_UP
    monkeypatch.setattr("securelink.limits.SIGN_SECONDS", 3600.0)
    assert refusal(ask) == USED_UP
    monkeypatch.setattr("securelink.limits.SIGN_SECONDS", -1.0)
    assert ask() == "ada"


def plain(asked: Hello) -> dict[str, Any]:
    """The fields of a hello."""
    return {name: getattr(asked, name) for name in asked.__slots__}


def test_two_servers_on_one_file(tmp_path: Path) -> None:
    """What waits for its sign on one server is spent for the other; given back, it is there for either, once."""
    path = tmp_path / "keys" / "join_tokens.json"
    ours, theirs = JoinTokens(path), JoinTokens(path)
    token = ours.create("ada")
    asked = Hello(**{**plain(hello({"token": token})), "_holds": []})
    assert ours(asked) == "ada"
    assert refusal(lambda: theirs(hello({"token": token}))) == USED_UP
    (hold,) = asked.holds
    assert hold.release()
    assert not hold.confirm()
    assert theirs(hello({"token": token})) == "ada"
    assert refusal(lambda: ours(hello({"token": token}))) == USED_UP
    assert not hold.release()
    assert left(ours) == 0


def test_revoked_meanwhile(tmp_path: Path) -> None:
    """A token that is revoked while a login waits stays revoked when the use is given back."""
    tokens = JoinTokens(tmp_path / "tokens.json")
    token = tokens.create("ada")
    asked = Hello(**{**plain(hello({"token": token})), "_holds": []})
    tokens(asked)
    tokens.revoke(token)
    assert asked.holds[0].release()
    assert "revoked" in refusal(lambda: tokens(hello({"token": token})))


def test_either_used_or_given_back() -> None:
    """Of a sign and a cut that come at once exactly one counts, however often each is said."""
    for _ in range(200):
        given: list[int] = []
        hold = Hold(lambda given=given: given.append(1))  # type: ignore[misc]
        won: list[bool] = []
        start = threading.Barrier(4)

        def settle(act: Any, start: threading.Barrier = start, won: list[bool] = won) -> None:
            start.wait(WAIT)
            won.append(act())

        acts = [hold.confirm, hold.release, hold.release, hold.confirm]
        threads = [threading.Thread(target=settle, args=(act,)) for act in acts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
        assert sum(won) == (1 if given else 2)
        assert len(given) <= 1


def test_a_hook_that_refuses_after_all(identity: Identity, tmp_path: Path) -> None:
    """A rule of one's own around the tokens may still refuse, or fail: that spends nothing either."""
    tokens = JoinTokens(tmp_path / "tokens.json")
    token = tokens.create("ada")
    answers: list[Any] = [Refused("not tonight"), ValueError("a bug"), None]

    def authenticate(asked: Hello) -> Any:
        user = tokens(asked)
        answer = answers.pop(0) if answers else user
        if isinstance(answer, Exception):
            raise answer
        return answer

    with Server("127.0.0.1", 0, keys=identity, authenticate=authenticate) as server:
        for _ in range(3):
            client = Client("127.0.0.1", server.address[1], pin=server.fingerprint, token=token)
            failure(Refused, client.connect, "")
            assert left(tokens) == 1
        with Client("127.0.0.1", server.address[1], pin=server.fingerprint, token=token):
            until(lambda: server.sessions)
            assert left(tokens) == 0


def test_a_stop_gives_back(identity: Identity, tmp_path: Path) -> None:
    """A server that is stopped while a client has not shown itself keeps nothing of it."""
    tokens = JoinTokens(tmp_path / "tokens.json")
    token = tokens.create("ada")
    with Server("127.0.0.1", 0, keys=identity, authenticate=tokens) as server:
        client = Hostile(server.address[1], credentials=encode_value({"token": token}))
        with client.open():
            assert left(tokens) == 0
            client.sock.settimeout(0.1)
            assert server.stop(WAIT)
            until(lambda: left(tokens) == 1)


@pytest.mark.parametrize("uses", [1, 5])
def test_a_stop_in_the_moment_of_a_login(identity: Identity, tmp_path: Path, uses: int) -> None:
    """A hook that has taken a use when the server is stopped, and answers when all is over, has let nobody in."""
    tokens = JoinTokens(tmp_path / "tokens.json")
    token = tokens.create("ada", uses=uses)
    taken, go_on = threading.Event(), threading.Event()

    def authenticate(asked: Hello) -> Any:
        user = tokens(asked)
        taken.set()
        assert go_on.wait(WAIT)
        return user

    with Server("127.0.0.1", 0, keys=identity, authenticate=authenticate) as server:
        with Hostile(server.address[1], credentials=encode_value({"token": token})) as client:
            client.hello()
            client.authenticate()
            client.flush()
            assert taken.wait(WAIT)
            assert left(tokens) == uses - 1
            assert not server.stop(0.1)  # a thread is still in the hook
        go_on.set()
        until(lambda: left(tokens) == uses)


def test_a_stop_before_anybody_came_to_give_back(identity: Identity, tmp_path: Path) -> None:
    """What waits to be given back when the server stops, because all places for that were taken, is given back too."""
    tokens = JoinTokens(tmp_path / "tokens.json")
    token = tokens.create("ada")
    go_on, inside = threading.Event(), [0]

    def authenticate(asked: Hello) -> Any:
        if tokens.accepts(asked.credentials):
            return tokens(asked)
        inside[0] += 1
        assert go_on.wait(WAIT)
        return "somebody"

    server = Server("127.0.0.1", 0, keys=identity, authenticate=authenticate)
    with server, contextlib.ExitStack() as stack:
        jobs = jobs_of(server)
        client = Hostile(server.address[1], credentials=encode_value({"token": token})).open()
        for _ in range(jobs.places):
            slow = stack.enter_context(Hostile(server.address[1]))
            slow.hello()
            slow.authenticate()
            slow.flush()
        until(lambda: inside[0] == jobs.places)
        client.sock.close()
        until(lambda: len(jobs) == 1)
        stack.callback(go_on.set)
        assert not server.stop(0.1)
        until(lambda: left(tokens) == 1, WAIT / 2)  # before any of them gives up its place


def test_who_lets_logins_go_counts_as_who_fails(
    identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each costs the server a signature and two writes of the file: they are bounded as wrong tokens are."""
    for module in ("gate", "suspensions"):
        monkeypatch.setattr(f"securelink.threads.{module}.is_loopback_host", lambda host: False)
    with door(identity, tmp_path, max_failures=3) as (stage, tokens, token):
        stage.hold_window()
        for number in range(3):
            with asking(stage, token) as client:
                client.read_until(Opened)
            until(lambda: left(tokens) == 1)
            until(stage.alone)
            assert stage.listener.gate.budget.failures("127.0.0.1") == number + 1
        with Hostile(stage.port) as client:
            assert client.ending()[0] == Code.BLOCKED
        assert left(tokens) == 1


def test_a_hold_ends_once() -> None:
    """What was confirmed is not given back, and what was given back is not confirmed; giving back happens once."""
    given: list[str] = []
    used, unused = Hold(lambda: given.append("used")), Hold(lambda: given.append("unused"))
    assert used.open
    assert used.confirm()
    assert used.confirm()
    assert not used.release()
    assert unused.release()
    assert not unused.release()
    assert not unused.confirm()
    assert not used.open
    assert not unused.open
    assert given == ["unused"]
