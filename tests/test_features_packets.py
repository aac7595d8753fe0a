"""Features of the predecessors under our own names: packets, state and events."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest
from helpers import WAIT, until
from kept import only
from together import joined, serving, take

from securelink import (
    CodecError,
    Collector,
    Identity,
    LimitExceeded,
    LinkTimeout,
    Packet,
    Received,
    RequestFailed,
    Server,
    Session,
)
from securelink.wire.packets import decode_packets, encode_packet, join_packets

pytestmark = pytest.mark.usefixtures("tidy")


# --- what is sent ----------------------------------------------------------------------------------------------


def test_text_bytes_and_structures(identity: Identity) -> None:
    """Any of them, of any size up to max_packet, arrives whole and as it was; more is refused where it is sent."""
    values: list[Any] = [
        None, True, -5, 2.5, "", "text", "é\x00\n\u202e", b"", bytes(range(256)), "x" * 1025, b"y" * 2048, b"z" * 4096,
        "w" * 1_000_000, [1, [2, []]], {"a": {"b": [None]}}, {1: "one"}, b"\x00" * 2_000_000,
    ]  # fmt: skip
    with serving(identity) as server, joined(server) as (client,):
        for value in values:
            client.send("echo", value)
        assert take(client, len(values)) == values
        with pytest.raises(LimitExceeded):
            client.send("echo", b"x" * 2 * 1024 * 1024)
        with pytest.raises(CodecError):
            client.send("echo", object())
        client.send("echo", "still here")
        assert take(client) == ["still here"]


def test_quick_packets_do_not_merge_or_split(identity: Identity) -> None:
    """A thousand at once, of many sizes, arrive one by one and in order."""
    sent = [b"x" * (number * 7 % 5000) for number in range(1000)]
    with serving(identity) as server, joined(server) as (client,):
        for data in sent:
            client.send("echo", data)
        assert take(client, len(sent)) == sent


def test_what_a_packet_carries(identity: Identity) -> None:
    """A name, a body, headers with and without value, when it was made, and whose it is: nobody can claim that."""
    with serving(identity) as server, joined(server) as (client,):
        seen: list[tuple[Session, Received]] = []
        server.on_message(lambda session, packet: seen.append((session, packet)))
        before = time.time()
        client.send("move", [1, 2], headers={"urgent": None, "colour": "red:1|%$", "size": 3})
        client.send("plain")
        until(lambda: len(seen) == 2)
        session, packet = seen[0]
        assert (packet.action, packet.data) == ("move", [1, 2])
        assert packet.headers == {"urgent": None, "colour": "red:1|%$", "size": 3}
        assert "urgent" in packet.headers
        assert "other" not in packet.headers
        assert packet.headers.get("other") is None
        assert before <= packet.created <= time.time()
        assert packet.token == session.token == client.token
        assert uuid.UUID(packet.token).version == 4
        assert packet.session is session
        assert (seen[1][1].data, seen[1][1].headers) == (None, {})


def test_encoding_and_decoding_by_hand() -> None:
    """A packet becomes bytes and back, several become one array; nothing in them is executed."""
    packets = [Packet("a", {"b": b"c"}, {"h": None}, 1.5), Packet("d")]
    encoded = [encode_packet(packet) for packet in packets]
    assert decode_packets(join_packets(encoded)) == packets
    with pytest.raises(CodecError):
        decode_packets(b"__import__('os')")


def test_requests(identity: Identity) -> None:
    """A question and its answer, either way; what goes wrong is one of three errors."""
    with serving(identity) as server, joined(server) as (client,):

        @server.on("add")
        def add(session: Session, packet: Received) -> int:
            if not packet.data:
                raise RequestFailed("nothing to add")
            return sum(packet.data)

        @server.on("later")
        def later(session: Session, packet: Received) -> None:
            packet.defer().reply("now")

        server.on("never", lambda session, packet: packet.defer() and None)
        client.on("name", lambda packet: "ada")
        assert client.request("add", [1, 2]) == 3
        assert client.request("later") == "now"
        assert only(server).request("name") == "ada"
        for action, data, reason in (
            ("add", [], "refused"),
            ("none", 0, "no handler"),
            ("add", ["x"], "error"),
        ):
            with pytest.raises(RequestFailed) as failed:
                client.request(action, data)
            assert failed.value.reason == reason
        with pytest.raises(LinkTimeout):
            client.request("never", timeout=0.02)


def test_a_failure_that_is_passed_on_is_a_failure(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """What a handler's own request ended with: a refusal goes on with its words, a failure is logged, not "refused"."""
    with serving(identity) as server, joined(server) as (client,):
        client.on("fails", lambda packet: 1 // 0)

        @client.on("refuses")
        def refuses(packet: Received) -> None:
            raise RequestFailed("not today")

        server.on("ask", lambda session, packet: session.request(packet.data))
        for action, reason, text in (
            ("refuses", "refused", "not today"),
            ("fails", "error", ""),
            ("nobody", "error", ""),
        ):
            caplog.clear()
            with pytest.raises(RequestFailed) as failed:
                client.request("ask", action)
            assert (failed.value.reason, failed.value.text) == (reason, text)
            said = "the handler of 'ask' raised an error" in caplog.text
            assert said == (reason == "error")


# --- state -------------------------------------------------------------------------------------------------------


def test_the_latest_state_wins(identity: Identity) -> None:
    """Both sides see the other's newest value, also who comes later; what nobody has seen is replaced, not queued."""
    with serving(identity) as server, joined(server) as (client,):
        changes: list[Any] = []
        client.on_state(changes.append)
        session = only(server)
        with server.batch():
            for number in range(1000):
                server.set_state({"turn": number})
        until(lambda: client.server_state == {"turn": 999})
        assert len(changes) < 100
        client.set_state("mine")
        until(lambda: session.state == "mine")
        session.set_state("for you alone")
        until(lambda: client.server_state == "for you alone")
        with joined(server) as (late,):
            late.set_state("too")
            until(lambda: late.poll() == [] and late.server_state == {"turn": 999})
            until(
                lambda: sorted(s.state or "" for s in server.sessions.values()) == ["mine", "too"]
            )


def test_the_largest_state(identity: Identity) -> None:
    """A state that fits into no packet is refused where it is set, not where somebody connects."""
    with serving(identity, max_packet=4096) as server:
        with pytest.raises(LimitExceeded):
            server.set_state(b"x" * 4096)
        size = next(n for n in range(4096, 0, -1) if fits(server, n))
        with joined(server) as (client,):
            until(lambda: client.poll() == [] and client.server_state is not None)
            assert client.server_state == bytes(size)
            assert size > 4000


def fits(server: Server, size: int) -> bool:
    """Whether a state of so many bytes is accepted."""
    try:
        server.set_state(bytes(size))
    except LimitExceeded:
        return False
    return True


def test_state_and_packets_stand_side_by_side(identity: Identity) -> None:
    """Commands go beside the state: each arrives once, and is not replaced."""
    with serving(identity) as server, joined(server) as (client,):
        commands: list[Any] = []
        server.on("command", lambda session, packet: commands.append(packet.data))
        for number in range(10):
            client.set_state(number)
            client.send("command", number)
        until(lambda: commands == list(range(10)))
        until(lambda: only(server).state == 9)


def test_hooks_may_rewrite(identity: Identity) -> None:
    """Before sending and after receiving, on both sides, packets, state and requests."""
    with serving(identity) as server, joined(server) as (client,):
        client.before_send = lambda action, data: [action, data]
        server.after_receive = lambda packet: [*packet.data, "server in"]
        server.before_send = lambda session, action, data: [*data, "server out"]
        client.after_receive = lambda packet: [*packet.data, "client in"]
        client.send("echo", 1)
        assert take(client) == [["echo", 1, "server in", "server out", "client in"]]
        client.set_state("s")
        until(lambda: only(server).state == ["~state", "s", "server in"])
        server.on("ask", lambda session, packet: packet.data)
        client.on("ask", lambda packet: packet.data)
        session = only(server)
        for ask in (client.request, lambda *asked: client.request_later(*asked).result(WAIT)):
            assert ask("ask", 3) == ["ask", 3, "server in"]
        for ask in (session.request, lambda *asked: session.request_later(*asked).result(WAIT)):
            assert ask("ask", [4]) == [4, "server out", "client in"]
        client.before_send = server.after_receive = server.before_send = client.after_receive = None
        client.send("echo", 2)
        assert take(client) == [2]


# --- events ------------------------------------------------------------------------------------------------------


def test_events_have_any_number_of_listeners(identity: Identity) -> None:
    """In order, by decorator or by call, removable while the server runs; each is told once."""
    with serving(identity) as server:
        told: list[tuple[str, Any]] = []
        server.on_connect(lambda session: told.append(("first", session)))

        @server.on_connect
        def second(session: Session) -> None:
            told.append(("second", session))

        @server.on_message
        def said(session: Session, packet: Received) -> None:
            told.append((packet.action, session))

        server.on_disconnect.add_listener(lambda session: told.append(("left", session)))
        with joined(server) as (client,):
            client.send("hello")
            until(lambda: len(told) == 3)
        until(lambda: len(told) == 4)
        session = told[0][1]
        assert told == [(name, session) for name in ("first", "second", "hello", "left")]
        assert server.on_connect.remove_listener(second)
        assert not server.on_connect.remove_listener(second)
        with joined(server):
            until(lambda: len(told) == 5)
        assert told[4][0] == "first"


class Counter:
    """A handler with a state of its own."""

    def __init__(self) -> None:
        self.count = 0

    def run(self, session: Session, packet: Received) -> int:
        """Count."""
        self.count += packet.data
        return self.count


def test_handlers_are_bound_to_names(identity: Identity) -> None:
    """Functions, or objects with run(); a later one replaces an earlier, also while the server runs."""
    with serving(identity) as server, joined(server) as (client,):
        counter = Counter()
        server.on("count", counter)
        assert [client.request("count", 2), client.request("count", 3)] == [2, 5]
        assert counter.count == 5
        server.on("count", lambda session, packet: "other")
        assert client.request("count", 1) == "other"
        assert server.actions == ["count", "echo"]
        assert server.off("count")
        with pytest.raises(RequestFailed):
            client.request("count", 1)


def test_a_raising_handler_harms_nobody_and_is_kept(identity: Identity) -> None:
    """The session and the other listeners go on; the exceptions can be taken, with their tracebacks, once."""
    with serving(identity) as server, joined(server) as (client,):
        heard: list[str] = []

        def broken(*_: Any) -> None:
            raise ValueError("oops")

        server.on("break", broken)
        server.on_message(broken)
        server.on_message(lambda session, packet: heard.append(packet.action))
        client.send("break")
        client.send("echo", 1)
        assert take(client) == [1]
        assert heard == ["break", "echo"]
        caught = server.caught.take()
        assert [error.what for error in caught] == ["on_message", "break", "on_message"]
        assert all(isinstance(error.error, ValueError) for error in caught)
        assert all("in broken" in error.traceback for error in caught)
        assert server.caught.take() == []
        client.on("hurt", broken)
        only(server).send("hurt")
        until(lambda: len(client.caught) == 1)


def test_packets_are_stored_until_taken(identity: Identity) -> None:
    """A collector answers "is there something new?" and gives all at once; it is bounded."""
    with serving(identity) as server, joined(server) as (client,):
        packets = Collector(server.on_message, limit=3)
        assert len(packets) == 0
        assert packets.take() == []
        for number in range(5):
            client.send("echo", number)
        take(client, 5)
        assert (len(packets), packets.dropped) == (3, 2)
        taken = packets.take()
        assert [packet.data for _, packet in taken] == [2, 3, 4]
        assert {session.token for session, _ in taken} == {client.token}
        client.send("echo", 5)
        assert [packet.data for _, packet in packets.take(timeout=WAIT)] == [5]
        packets.close()
        client.send("echo", 6)
        take(client)
        take(client)
        assert packets.take() == []
