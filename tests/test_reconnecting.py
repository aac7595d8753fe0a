"""A client's session survives broken connections: nothing is lost or doubled, and the program need not do anything."""

from __future__ import annotations

import gc
import random
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from cut_lines import line
from helpers import WAIT, failure, until
from together import serving

from securelink import Client, ConfigError, ConnectionClosed, LinkTimeout, Refused, Session
from securelink.codes import Code
from securelink.keys import Identity
from securelink.testing import Relay
from securelink.threads.caretaker import caretaker
from securelink.wire.fields import Kind

MODES = pytest.mark.parametrize("encryption", ["required", "off"])


@MODES
def test_a_cut_is_not_the_end(identity: Identity, encryption: str) -> None:
    """What both say while the line is dead arrives once and in order; the session is the same."""
    with line(identity, encryption) as stage:
        client, session = stage.client, stage.session
        token = client.token
        for number in range(5):
            client.send("say", number)
            session.send("told", number)
            stage.relay.cut()
            client.send("say", number + 0.5)
        for number in range(5):
            packet = client.receive(WAIT)
            assert packet is not None
            assert packet.data == number
        until(lambda: len(stage.heard) == 10)
        assert stage.heard == [number / 2 for number in range(10)]
        assert client.token == token == session.token
        assert client.receive(0.05) is None
        assert stage.seen[0] == "connect"
        assert "disconnect" not in stage.seen


def test_a_seeded_program_keeps_its_random_numbers(identity: Identity) -> None:
    """The pauses of clients and the order of a drain are left to chance, but not to that of the module `random`."""
    random.seed(5)
    before = random.getstate()
    with line(identity) as stage:
        stage.relay.cut()
        assert stage.client.ping(WAIT) >= 0
        stage.server.drain(0.1)
    assert random.getstate() == before


def test_a_request_waits_for_the_next_connection(identity: Identity) -> None:
    """Both for its way and for its answer."""
    with line(identity) as stage:
        asked = threading.Event()
        go = threading.Event()

        @stage.server.on("what")
        def what(session: Session, packet: Any) -> int:
            asked.set()
            go.wait(WAIT)
            return 42

        def cut() -> None:
            asked.wait(WAIT)
            stage.relay.cut()
            go.set()

        thread = threading.Thread(target=cut)
        thread.start()
        assert stage.client.request("what", timeout=WAIT) == 42
        thread.join()
        stage.relay.cut()
        assert stage.client.request("what", timeout=WAIT) == 42


def test_a_connection_that_breaks_while_it_is_welcomed(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that brought it has not come to its end: the session waits for the next one all the same."""
    let_go, late = caretaker.let_go, list[object]()

    def breaks_first(session: Any, **how: Any) -> None:
        if not late:
            late.append(session)
            stage.relay.cut()
            until(lambda: session.is_suspended)
        let_go(session, **how)

    with line(identity) as stage:
        monkeypatch.setattr(caretaker, "let_go", breaks_first)
        stage.relay.cut()
        until(lambda: late)
        assert stage.client.ping(WAIT) >= 0
        assert stage.client.connected


def test_what_comes_over_the_next_connection_waits_for_nobody(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read at once, though no thread waits for it: its packets are handled, and its end is noticed."""
    told: list[Any] = []

    def last(word: object) -> Callable[[], bool]:
        return lambda: told[-1] == word

    def suspended(times: int) -> Callable[[], bool]:
        return lambda: told.count("suspend") == times  # it may have resumed already

    with line(identity) as stage:
        client = stage.client
        monkeypatch.setattr("securelink.threads.caretaker.TICK_SECONDS", 10 * WAIT)
        monkeypatch.setattr(
            "securelink.threads.reconnecting.jitter.uniform", lambda low, high: 10 * high
        )
        client.on("told", lambda packet: told.append(packet.data))
        client.on_suspend(lambda: told.append("suspend"))
        client.on_resume(lambda replayed: told.append("resume"))
        stage.relay.cut()
        until(lambda: told[:1] == ["suspend"], meanwhile=client.poll)
        # From now on no thread of the program does anything for the client.
        for number in range(3):
            until(last("resume"))
            stage.session.send("told", number)
            until(last(number))
            stage.relay.cut()
            until(suspended(number + 2))


def test_events_in_order(identity: Identity) -> None:
    """Suspend and resume are told on both sides, in order with packets, and the state of the connection with them."""
    told: list[Any] = []
    with line(identity) as stage:
        client = stage.client
        client.on_suspend(lambda: told.append("suspend"))
        client.on_resume(lambda replayed: told.append("resume"))
        client.on_disconnect(lambda: told.append("disconnect"))
        client.on("told", lambda packet: told.append(packet.data))
        stage.session.send("told", 1)
        until(lambda: told == [1])
        stage.refuse()
        until(lambda: not client.connected)
        stage.session.send("told", 2)
        time.sleep(0.2)
        assert not client.connected
        assert not client.ended
        stage.admit()
        until(lambda: 2 in told)
        assert client.connected
        assert told == [1, "suspend", "resume", 2]
        until(lambda: stage.session.connected)
    assert told == [1, "suspend", "resume", 2, "disconnect"]


def test_waiting_calls_keep_their_timeouts(identity: Identity) -> None:
    """While there is no connection `receive` and `request` end when they said, and `connect` waits for it."""
    with line(identity) as stage:
        client = stage.client
        stage.refuse()
        until(lambda: not client.connected)
        used = time.process_time()
        assert client.receive(0.3) is None
        assert client.poll() == []
        failure(LinkTimeout, lambda: client.request("echo", timeout=0.2), "did not answer")
        failure(LinkTimeout, lambda: client.connect(0.2), "waits for one")
        assert time.process_time() - used < 0.5  # nobody turns in circles
        threading.Timer(0.2, stage.admit).start()
        assert client.connect(WAIT) is client
        assert client.connected


def test_close_while_away(identity: Identity) -> None:
    """It ends at once, says what is not confirmed, and nothing tries any more."""
    with line(identity) as stage:
        client = stage.client
        client.send("say", 1)
        until(lambda: stage.heard == [1])
        stage.refuse()
        until(lambda: not client.connected)
        client.send("say", 2)
        left = client.close()
        assert [packet.data for packet in left if packet.action == "say"][-1] == 2
        assert [packet.data for packet in client.unconfirmed][-1] == 2
        failure(ConnectionClosed, lambda: client.send("say", 3), "closed by this side")
        until(
            lambda: (
                not any(thread.name == "securelink-reconnect" for thread in threading.enumerate())
            )
        )
        stage.admit()
        client.connect(WAIT)
        client.send("say", 4)
        until(lambda: stage.heard[-1] == 4)
        assert 2 not in stage.heard


def test_reconnect_off(identity: Identity) -> None:
    """Then a cut is the end, as the program wanted it."""
    with line(identity, reconnect=False) as stage:
        stage.relay.cut()
        failure(ConnectionClosed, lambda: stage.client.receive(WAIT), "broke")
        assert stage.client.code == Code.BROKEN


def test_a_server_that_keeps_nothing(identity: Identity) -> None:
    """Nor can a client go on with what its server does not keep."""
    with line(identity, server={"resume": 0}) as stage:
        stage.relay.cut()
        failure(ConnectionClosed, lambda: stage.client.receive(WAIT), "broke")


@MODES
def test_the_server_has_lost_it(identity: Identity, encryption: str) -> None:
    """It was kicked while away, say: the session ends with a reason of its own, and says what is not confirmed."""
    ended: list[Any] = []
    with line(identity, encryption) as stage:
        client = stage.client
        client.on_disconnect(lambda: ended.append(client.code))
        session = stage.session
        stage.refuse()
        until(lambda: not client.connected and not session.connected)
        client.send("say", "lost")
        session.kick()
        until(lambda: "disconnect" in stage.seen)
        stage.admit()
        failure(
            ConnectionClosed, lambda: client.receive(WAIT), "does not have the session any more"
        )
        assert client.code == Code.LOST
        assert [packet.data for packet in client.unconfirmed] == ["lost"]
        until(lambda: ended == [Code.LOST])
        assert stage.seen.count("connect") == 1  # nobody has come in for a moment
        client.connect(WAIT)
        until(lambda: stage.seen.count("connect") == 2)


def test_no_connection_in_time(identity: Identity) -> None:
    """After the server's time the client gives up too, once."""
    ended: list[Any] = []
    with line(identity, server={"resume": 1}) as stage:
        client = stage.client
        client.on_disconnect(lambda: ended.append(client.code))
        stage.refuse()
        failure(ConnectionClosed, lambda: client.receive(WAIT), "no other one in time")
        until(lambda: ended == [Code.EXPIRED])
        until(lambda: stage.seen == ["connect", "suspend", "disconnect"])


def test_a_refusal_ends_it(identity: Identity) -> None:
    """The application decides again, and its no is the end; credentials are fresh each time."""
    given: list[int] = []
    willing = [True]

    def credentials(binding: Any, fingerprint: Any) -> int:
        given.append(len(given))
        return given[-1]

    def authenticate(hello: Any) -> str:
        if not willing[0]:
            raise Refused("banned")
        return "ann"

    with line(identity, credentials=credentials, server={"authenticate": authenticate}) as stage:
        stage.relay.cut()
        stage.client.send("say", 1)
        until(lambda: stage.heard == [1])
        assert len(given) >= 2
        willing[0] = False
        stage.relay.cut()
        error = failure(ConnectionClosed, lambda: stage.client.receive(WAIT), "banned")
        assert error.code == Code.REFUSED
        assert stage.client.text == "banned"


def test_a_stranger_s_no_ends_nothing(identity: Identity) -> None:
    """Who answers in the server's place has proved nothing: whatever it says, the client tries again."""
    kicked = bytes((Kind.ALERT, 0, 0, 1, Code.KICKED))
    said: list[int] = []

    def answer(chunk: bytes) -> bytes:
        said.append(len(chunk))
        return kicked

    with line(identity) as stage:
        stage.relay.to_client.hook = answer
        stage.relay.cut()
        until(lambda: len(said) > 2)
        assert not stage.client.ended
        stage.admit()
        stage.client.send("say", 1)
        until(lambda: stage.heard == [1])


def test_a_failing_credentials_function_ends_nothing(identity: Identity) -> None:
    """It is called again with the next attempt."""
    calls: list[int] = []

    def credentials(binding: Any, fingerprint: Any) -> str:
        calls.append(1)
        if len(calls) == 2:
            raise ZeroDivisionError
        return "x"

    with line(
        identity, credentials=credentials, server={"authenticate": lambda hello: "ann"}
    ) as stage:
        stage.relay.cut()
        stage.client.send("say", 1)
        until(lambda: stage.heard == [1])
        assert len(calls) >= 3


def test_a_function_that_waits_holds_up_nobody(identity: Identity) -> None:
    """While one client's credentials take their time, another client of the process comes back."""
    calls, go = list[int](), threading.Event()

    def credentials(binding: Any, fingerprint: Any) -> str:
        calls.append(1)
        assert len(calls) == 1 or go.wait(WAIT)
        return "x"

    server = {"authenticate": lambda hello: "ann"}
    with (
        line(identity, credentials=credentials, server=server) as slow,
        line(identity, credentials="x", server=server) as stage,
    ):
        slow.relay.cut()
        until(lambda: len(calls) == 2, meanwhile=slow.client.poll)
        for _ in range(3):
            stage.relay.cut()
            assert stage.client.ping(WAIT) >= 0
        assert not slow.client.connected
        go.set()
        assert slow.client.ping(WAIT) >= 0


@MODES
def test_cut_at_many_places(identity: Identity, encryption: str) -> None:
    """In the middle of handshakes, resumes and large packets, in both directions, again and again: nothing is lost."""
    places = (1, 30, 700, 1500, 2600, 3300, 4000, 5000, 40_000, 90_000)
    with line(identity, encryption) as stage:
        client, session = stage.client, stage.session
        told: list[Any] = []
        client.on("told", lambda packet: told.append(packet.data[0]))
        for number, place in enumerate(places):
            flow = (stage.relay.to_server, stage.relay.to_client)[number % 2]
            client.send("say", number)
            session.send("told", [number, bytes(60_000)])
            flow.cut_after = place
            stage.relay.cut()
            time.sleep(0.15)
            flow.cut_after = None
            client.send("say", number + 0.5)
        until(lambda: len(stage.heard) == 2 * len(places) and len(told) == len(places))
        assert stage.heard == [number / 2 for number in range(2 * len(places))]
        assert told == list(range(len(places)))


def test_many_senders_while_the_line_breaks(identity: Identity) -> None:
    """Threads send all the time, in both directions; each one's packets arrive in order and once."""
    with line(identity) as stage:
        client, session = stage.client, stage.session
        told: list[Any] = []
        client.on("told", lambda packet: told.append(packet.data))

        cuts = 0

        def talk(who: int) -> None:
            for number in range(150):
                if number == 100:
                    until(lambda: cuts > 2)  # however long the pauses of the other thread are
                client.send("say", (who, number), timeout=WAIT)
                session.send("told", (who, number), timeout=WAIT)
                time.sleep(0.002)

        threads = [threading.Thread(target=talk, args=(who,)) for who in range(3)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            stage.relay.cut()
            cuts += 1
            time.sleep(0.1)
        for thread in threads:
            thread.join()
        until(lambda: len(stage.heard) == len(told) == 450)
        for seen in (stage.heard, told):
            for who in range(3):
                assert [n for w, n in seen if w == who] == list(range(150))
        assert cuts > 2


def test_a_half_open_connection_is_found(identity: Identity) -> None:
    """Nothing arrives and nobody hears of it: both give the connection up in bounded time, and the session goes on."""
    with line(identity, server={"heartbeat": 1.0}) as stage:
        client = stage.client
        client.on("told", lambda packet: None)
        stage.relay.to_server.hold()
        stage.relay.to_client.hold()
        stage.session.send("told", 1)
        client.send("say", 1)
        until(lambda: not client.connected)
        stage.relay.to_server.release()
        stage.relay.to_client.release()
        until(lambda: stage.heard == [1])
        assert "disconnect" not in stage.seen


def test_update_mode(identity: Identity) -> None:
    """Events and handlers run in the game's thread only, while the connection comes back in the background."""
    threads: set[int] = set()
    told: list[Any] = []

    def note(what: Any) -> None:
        threads.add(threading.get_ident())
        told.append(what)

    with line(identity, handlers="update") as stage:
        client = stage.client
        client.on_suspend(lambda: note("suspend"))
        client.on_resume(lambda replayed: note("resume"))
        client.on("told", lambda packet: note(packet.data))
        stage.relay.cut()
        stage.session.send("told", 1)
        deadline = time.monotonic() + WAIT
        while 1 not in told:
            assert client.update()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        assert told == ["suspend", "resume", 1]
        assert threads == {threading.get_ident()}


def test_a_forgotten_client_is_closed_though_it_is_away(identity: Identity) -> None:
    """Nothing that tries to connect keeps it alive, or goes on trying for nobody."""
    with serving(identity, resume=60) as server, Relay("127.0.0.1", server.address[1]) as relay:
        clients = [Client("127.0.0.1", relay.port, pin=server.fingerprint).connect()]
        relay.to_server.hook = lambda chunk: b""
        relay.cut()
        until(lambda: not clients[0].connected)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            clients.clear()
            until(lambda: gc.collect() >= 0 and caught)
        assert issubclass(caught[0].category, ResourceWarning)
        until(lambda: not any(t.name == "securelink-reconnect" for t in threading.enumerate()))


def test_reconnect_is_true_or_false() -> None:
    """Nothing else is made to fit."""
    failure(ConfigError, lambda: Client("127.0.0.1", 1, reconnect=None), "reconnect")  # type: ignore[arg-type]
