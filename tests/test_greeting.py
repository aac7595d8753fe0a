"""Until `on_connect` has let a session in, it gets what `on_connect` itself sends, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from helpers import WAIT, Scene, failure, scene, until
from linked import bench
from storm import interrupted, points
from together import Crew, channel_of

from securelink import (
    Client,
    Code,
    ConnectionClosed,
    EventHook,
    Identity,
    LinkTimeout,
    Refused,
    SecureLinkError,
    Server,
    Session,
)
from securelink.app.hooks import Decision
from securelink.protocol.bounds import Bounds
from securelink.session import outbox_of

pytestmark = pytest.mark.usefixtures("tidy")


class Door:
    """A listener of `on_connect` that stays in it until it is told how to leave."""

    def __init__(self, first: Callable[[Session], object] = lambda session: None) -> None:
        self.first = first
        self.inside: list[Session] = []
        self.leave = threading.Event()
        self.refusal: Refused | None = None

    def __call__(self, session: Session) -> None:
        self.first(session)
        self.inside.append(session)
        assert self.leave.wait(WAIT)
        if self.refusal is not None:
            raise self.refusal


@contextmanager
def at_the_door(stage: Scene, door: Door) -> Iterator[tuple[Client, Session]]:
    """A client whose `on_connect` is under way."""
    stage.check_neighbour()
    stage.server.on_connect.add_listener(door)
    client = stage.client().connect()
    try:
        until(lambda: door.inside)
        yield client, door.inside[0]
    finally:
        door.leave.set()
        client.close()


def heard(client: Client, last: str) -> list[tuple[str, Any]]:
    """What a client receives, up to a packet of that name."""
    packets = []
    while True:
        packet = client.receive(WAIT)
        assert packet is not None
        packets.append((packet.action, packet.data))
        if packet.action == last:
            return packets


def test_who_is_refused_gets_nothing(identity: Identity) -> None:
    """State, broadcasts and packets of other threads wait for on_connect; a client that it refuses never sees them."""
    with scene(identity) as stage:
        stage.server.set_state("secret")
        door = Door(lambda session: session.send("sorry", 1))
        door.refusal = Refused("full")
        with at_the_door(stage, door) as (client, session):
            stage.server.set_state("newer secret")
            stage.server.broadcast("secret", to=[session])
            session.send("secret")
            door.leave.set()
            assert heard(client, "sorry") == [("sorry", 1)]
            failure(ConnectionClosed, lambda: client.receive(WAIT), "full")
            assert client.server_state is None
            until(stage.alone)


def test_nothing_slips_out_between_a_refusal_and_the_end(identity: Identity) -> None:
    """A thread that sends without a pause while on_connect refuses gets nothing through."""
    over = threading.Event()

    def chatter(session: Session) -> None:
        while not over.is_set():
            try:
                session.send("secret", timeout=0.0)
            except (ConnectionClosed, LinkTimeout):
                return

    with scene(identity) as stage:
        for _ in range(10):
            door = Door()
            door.refusal = Refused("full")
            with at_the_door(stage, door) as (client, session):
                thread = threading.Thread(target=chatter, args=[session])
                thread.start()
                door.leave.set()
                failure(ConnectionClosed, lambda client=client: client.receive(WAIT), "full")  # type: ignore[misc]
                thread.join(WAIT)
            stage.server.on_connect.remove_listener(door)
            until(stage.alone)
        over.set()


def test_what_on_connect_sends_comes_first(identity: Identity) -> None:
    """Then follows in order what others have sent meanwhile; nobody has waited."""
    with scene(identity) as stage:
        door = Door(lambda session: session.send("welcome"))
        with at_the_door(stage, door) as (client, session):
            for number in range(5):
                stage.server.broadcast("news", number, to=[session])
                session.send("place", number, latest="place")
            assert channel_of(session).unsent
            assert heard(client, "welcome") == [("welcome", None)]
            door.leave.set()
            until(lambda: not channel_of(session).unsent)
            session.send("done")
            news = [("news", number) for number in range(5)]
            assert heard(client, "done") == [news[0], ("place", 4), *news[1:], ("done", None)]


def test_a_state_of_on_connect_is_newer_than_the_one_before(identity: Identity) -> None:
    """What on_connect sends with a key takes the place of what was held back with that key."""
    with scene(identity) as stage:
        stage.server.set_state("old")
        door = Door(lambda session: stage.server.set_state("new"))
        with at_the_door(stage, door) as (client, session):
            door.leave.set()
            until(lambda: client.poll() == [] and client.server_state is not None)
            session.send("done")
            assert heard(client, "done") == [("done", None)]
            assert client.server_state == "new"


def test_on_connect_may_ask(identity: Identity) -> None:
    """A request of on_connect is not held back, and neither is what it sends; a thread's request waits."""
    answers: list[Any] = []
    with scene(identity) as stage:
        stage.check_neighbour()
        stage.server.on_connect(
            lambda session: answers.append(session.request("name", timeout=WAIT))
        )
        client = stage.client()
        client.on("name", lambda packet: "ada")
        with client.connect():
            until(lambda: answers == ["ada"])


def test_an_error_in_on_connect_lets_in(identity: Identity) -> None:
    """As before: a listener that fails does not refuse, and what was held back goes out."""
    with scene(identity) as stage:
        door = Door()
        with at_the_door(stage, door) as (client, session):
            session.send("news")
            door.leave.set()
            assert heard(client, "news") == [("news", None)]
        stage.server.on_connect.remove_listener(door)

        @stage.server.on_connect
        def broken(session: Session) -> None:
            raise ValueError("a fault of the program")

        with stage.client().connect() as other:
            stage.session(other).send("news")
            assert heard(other, "news") == [("news", None)]


def test_without_a_listener_nothing_is_held_back(identity: Identity) -> None:
    """A server without on_connect sends the state with the first records, as ever."""
    with scene(identity) as stage:
        stage.server.set_state("s")
        with stage.client().connect() as client:
            assert not outbox_of(stage.session(client)).apart
            until(lambda: client.poll() == [] and client.server_state == "s")


def test_what_is_held_back_is_counted(identity: Identity) -> None:
    """A send waits for room as ever, and beyond the hard limit the session ends."""
    with scene(identity) as stage:
        door = Door()
        with at_the_door(stage, door) as (client, session):
            channel_of(session).bounds = Bounds(unsent=40_000, hard_unsent=500_000)
            session.send("news", bytes(30_000))
            failure(
                LinkTimeout,
                lambda: session.send("news", bytes(30_000), timeout=0.1),
                "bytes wait to be sent",
            )
            assert 30_000 < channel_of(session).unsent < 31_000
            for _ in range(20):
                stage.server.broadcast("news", bytes(30_000), to=[session])
            door.leave.set()
            error = failure(ConnectionClosed, lambda: [client.receive(WAIT) for _ in range(99)], "")
            assert error.code == Code.TOO_SLOW


def test_a_muted_session_stays_muted(identity: Identity) -> None:
    """`deaf` of the console holds over the end of on_connect."""
    with scene(identity) as stage:
        door = Door()
        with at_the_door(stage, door) as (client, session):
            session.send("news")
            session.mute()
            session.send("lost")
            door.leave.set()
            until(lambda: not channel_of(session).unsent)
            assert outbox_of(session).apart
            session.send("lost")
            session.unmute()
            session.send("done")
            assert heard(client, "done") == [("news", None), ("done", None)]


# --- Ctrl-C in update() ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["first", "second"])
def test_ctrl_c_amid_on_connect_lets_nobody_in(where: str) -> None:
    """The check has not run to its end: the session ends, its packets reach no handler, and nothing goes out."""
    server = Server("127.0.0.1", 0, encryption="off")
    handled: list[Any] = []
    left: list[Session] = []
    asked: list[str] = []

    def check(name: str) -> Callable[[Session], None]:
        def listener(session: Session) -> None:
            asked.append(name)
            if name == where:
                raise KeyboardInterrupt

        return listener

    server.set_state("secret")
    server.on_connect(check("first"))
    server.on_connect(check("second"))
    server.on_disconnect(left.append)
    server.on("say", lambda session, packet: handled.append(packet.data))
    server.update()
    heard: list[BaseException] = []

    def come() -> None:
        client = Client(*server.address, encryption="off")
        try:
            client.connect(WAIT)
            client.send("say", "hello")
            while client.receive(WAIT) is not None:
                pass
        except SecureLinkError as error:
            heard.append(error)
        assert client.server_state is None

    def turned() -> bool:
        server.update()
        return bool(left and heard)

    with Crew() as crew:
        crew.start(come)
        with pytest.raises(KeyboardInterrupt):
            until(turned)
        until(turned)
        server.stop()
    assert asked == ["first", "second"][: 1 + (where == "second")]
    assert left[0].code == Code.REFUSED
    assert not handled
    assert "could not check" in str(heard[0])


@pytest.mark.cost
def test_a_decision_interrupted_at_every_point() -> None:
    """Wherever Ctrl-C comes, the listeners have had the event to their end, or the session is refused."""
    for at in points():
        refused: list[Refused] = []
        hook: EventHook[[]] = EventHook("on_connect", may_refuse=True)
        checks: list[str] = []
        hook.add_listener(partial(checks.append, "first"))
        hook.add_listener(partial(checks.append, "second"))
        with bench() as stage:
            channel = stage.channel
            channel.note(Decision(hook.fire, refused.append))
            storm = interrupted(at, channel.inbox.run)
            channel.inbox.run()
            assert refused or checks == ["first", "second"], storm.where
            assert not channel.core.receiving.items
        if not storm.where:
            break
    assert not refused
