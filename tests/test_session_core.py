"""The durable side of a session: what waits, what is kept, who waits for a reply. No socket, no thread."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from engines import TOKEN, opened
from hypothesis import given
from hypothesis import strategies as st

from securelink.codes import Code
from securelink.errors import CodecError, ConfigError, LimitExceeded
from securelink.keys import Identity
from securelink.limits import HANGUP_FACTOR, MAX_REQUESTS
from securelink.protocol import (
    AuthReceived,
    ClientConnection,
    Closed,
    Event,
    HelloReceived,
    PlaintextChosen,
    ServerConnection,
    SessionCore,
)
from securelink.protocol.acknowledgements import Numbering
from securelink.protocol.arrived import Rest
from securelink.protocol.bounds import Bounds
from securelink.protocol.replies import Reply
from securelink.protocol.send_queue import SendQueue
from securelink.wire.fields import Mode
from securelink.wire.messages import Wanted
from securelink.wire.packets import (
    Packet,
    decode_packets,
    encode_packet,
    encode_value,
    join_packets,
)


class Waiter:
    """Waits for a reply or a PONG."""

    def __init__(self, *, patient: bool = False) -> None:
        self.number = 0
        self.patient = patient
        self.told: list[Reply | str | None] = []

    def answered(self, reply: Reply | None) -> None:
        """Remember it."""
        self.told.append(reply)

    def over(self) -> None:
        """Remember it."""
        self.told.append("over")


class Both:
    """A client's and a server's session, carried by two connections in plaintext."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self._client = ClientConnection(Mode.OFF, max_packet=2**24 - 1)
        self._server = ServerConnection(Mode.OFF, Wanted.NO)
        self.client = SessionCore(bounds or Bounds())
        self.server = SessionCore(bounds or Bounds())
        self.client.attach(self._client)
        self.server.attach(self._server)
        self.events: list[Event] = []
        self.settle()

    def settle(self) -> None:
        """Carry everything that both have to say."""
        while True:
            up, down = self.client.data_to_send(), self.server.data_to_send()
            if not up and not down:
                return
            for core, data in (self.server, up), (self.client, down):
                for event in core.receive_data(data, 0.0) if data else []:
                    self._decide(event)

    def _decide(self, event: Event) -> None:
        match event:
            case HelloReceived():
                self._server.begin_answer()
                self._server.finish_answer(None)
            case AuthReceived():
                self._server.welcome(self._server.verify_client(), TOKEN, 64 * 1024, 20.0)
            case PlaintextChosen():
                self._client.authenticate(
                    event.server, identity=None, dialled="", application="", version="",
                    credentials=encode_value(None),
                )  # fmt: skip
            case _:
                self.events.append(event)


def packet(action: str, data: object = None, **fields: object) -> bytes:
    """An encoded packet."""
    return encode_packet(Packet(action, data, **fields))  # type: ignore[arg-type]


def arrived(core: SessionCore) -> list[str]:
    """The names of the packets that wait in a session, which takes them out."""
    names: list[str] = []
    while core.receiving.items:
        names += [packet.action for packet in core.receiving.take()]
    return names


# --- numbering ------------------------------------------------------------------------------------------------


def test_both_sides_own_their_numbering() -> None:
    """The session counts, in either role, from before its connection is open; the connection only carries."""
    both = Both()
    for core in (both.client, both.server):
        assert core.connection is not None
        assert core.connection.numbering is core.numbering
    both.client.sending.put(packet("a"))
    both.settle()
    assert arrived(both.server) == ["a"]
    assert both.client.numbering.outgoing.sent == both.server.numbering.incoming.accepted == 1


def test_an_open_connection_takes_no_other_session(identity: Identity) -> None:
    """What a connection counts is settled before it is open; a session is carried by one connection at a time."""
    pair = opened(identity)
    with pytest.raises(ConfigError, match="is open") as caught:
        SessionCore(Bounds()).attach(pair.client)
    assert caught.value.hint
    both = Both()
    with pytest.raises(ConfigError, match="another connection") as caught:
        both.client.attach(ClientConnection(Mode.OFF, max_packet=4096))
    assert caught.value.hint
    with pytest.raises(ConfigError, match="no connection"):
        SessionCore(Bounds()).receive_data(b"x", 0.0)


def test_a_session_outlives_its_connection() -> None:
    """What was not sent and not acknowledged stays with the session that has lost its connection, in order."""
    both = Both()
    both.client.sending.put(packet("kept"))
    assert both.client.data_to_send()  # and lost on the way
    both.client.sending.put(packet("waits"))
    both.client.detach()
    assert not both.client.wants_write
    assert both.client.data_to_send() == b""
    assert [packet.action for packet in both.client.unconfirmed()] == ["kept", "waits"]
    another = ClientConnection(Mode.OFF, max_packet=4096)
    both.client.attach(another)
    assert another.numbering.outgoing.sent == 1


def test_welcome_goes_before_the_first_packet() -> None:
    """A server that sends as soon as it has admitted: its client reads WELCOME, then the packet."""
    both = Both()
    both.server.sending.put(packet("hello"))
    both.settle()
    assert arrived(both.client) == ["hello"]


def test_close_goes_after_the_last_packet() -> None:
    """Packets that wait go out before CLOSE, more than one write takes of them too."""
    both = Both()
    for number in range(30):
        both.client.sending.put(packet("x", [number, bytes(30_000)]))
    assert both.client.connection is not None
    both.client.connection.close(Code.NORMAL, "bye", now=0.0)
    both.settle()
    assert len(arrived(both.server)) == 30
    assert Closed(Code.NORMAL, "bye") in both.events


# --- what waits to be sent ------------------------------------------------------------------------------------


def numbered(core: SessionCore, count: int) -> None:
    """So many packets of the queue are in a record."""
    core.numbering.outgoing.keep(b"", count)
    core.sending.trim()


def test_the_latest_takes_the_place_of_the_one_that_waits() -> None:
    """A packet with a key replaces the one that waits with the same key, in its place; what is sealed stays."""
    core = SessionCore(Bounds())
    queue = core.sending
    queue.put(packet("state", 1), "state")
    queue.put(packet("other"))
    assert queue.replaces("state")
    assert not queue.replaces(None)
    queue.put(packet("state", 22222222), "state")
    assert queue.waiting == [packet("state", 22222222), packet("other")]
    assert queue.size == sum(map(len, queue.waiting)) + len("state")
    assert queue.take() == [packet("state", 22222222), packet("other")]
    assert not queue.replaces("state")
    numbered(core, 2)
    assert queue.size == 0
    assert not queue.replaces("state")
    queue.put(packet("state", 3), "state")
    assert queue.waiting == [packet("state", 3)]


@given(st.lists(st.tuples(st.sampled_from([None, "a", "b"]), st.integers(1, 50)), max_size=40))
def test_what_waits_is_counted(puts: list[tuple[str | None, int]]) -> None:
    """However packets come and go: the size is that of what waits, and a key stands there once at most."""
    core = SessionCore(Bounds())
    queue = core.sending
    for number, (latest, size) in enumerate(puts):
        queue.put(bytes(size), latest)
        if number % 7 == 6:
            numbered(core, len(queue.take(60)))
        keys = sum(queue.replaces(key) for key in ("a", "b"))
        assert queue.size == sum(map(len, queue.waiting)) + keys
    keyed = sum(latest is not None for latest, _ in puts)
    assert len(queue.packets) <= len(puts) - keyed + 2


def test_when_a_packet_waits_for_room() -> None:
    """Either bound makes it wait; an empty session takes any; what the stream has not taken counts."""
    bounds = Bounds(unsent=100, unacked=1000, hard_unsent=300, hard_unacked=2000)
    core = SessionCore(bounds)
    queue = core.sending
    assert not queue.is_crowded(10_000)
    queue.put(bytes(60))
    assert not queue.is_crowded(40)
    assert queue.is_crowded(41)
    queue.tail = 30
    assert queue.is_crowded(11)
    assert not queue.is_over_hard_limit
    queue.tail = 300
    assert queue.is_over_hard_limit
    numbered(core, len(queue.take()))
    core.numbering.outgoing.drop()
    queue.tail = 0
    core.numbering.outgoing.keep(bytes(999))
    assert not queue.is_crowded(1)
    assert queue.is_crowded(2)
    core.numbering.outgoing.keep(bytes(1002))
    assert queue.is_over_hard_limit
    queue.drop()
    assert not queue.is_crowded(10_000)


# --- what has arrived -----------------------------------------------------------------------------------------


def test_a_full_session_is_not_read() -> None:
    """Full by bytes or by records; there is room again when half of both is free; flooded is many times as much."""
    core = SessionCore(Bounds(inbox_bytes=100, inbox_records=4))
    queue = core.receiving
    record = join_packets([packet("x", bytes(24))])
    queue.deliver(record)
    assert not queue.full
    while not queue.full:
        queue.deliver(record)
    assert queue.waiting > 100
    assert not queue.is_flooded
    while queue.waiting <= 100 * HANGUP_FACTOR:
        queue.deliver(record)
    assert queue.is_flooded
    while queue.waiting > 50:
        assert not queue.make_room()
        assert len(queue.take()) == 1
    assert not queue.full
    empty = join_packets([])
    for _ in range(5):
        queue.deliver(empty)
    assert queue.full


def test_what_is_not_wanted_is_not_kept() -> None:
    """A session that was ended from our side takes nothing more, and decodes nothing of what waits."""
    queue = SessionCore(Bounds()).receiving
    record = join_packets([packet("x")])
    queue.deliver(record)
    queue.dropping = True
    queue.deliver(record)
    assert len(queue.items) == 1
    assert queue.take() == []
    assert queue.waiting == 0


def test_a_shell_takes_whole_records() -> None:
    """In order and counted; of one that is half handled, what is left; calls that stand between them are made."""
    core = SessionCore(Bounds())
    called: list[str] = []
    queue = core.receiving
    queue.deliver(join_packets([packet("a"), packet("b")]))
    queue.items.append(lambda: called.append("event"))
    queue.deliver(join_packets([packet("c")]))
    assert [[one.action for one in queue.take()] for _ in range(3)] == [["a", "b"], [], ["c"]]
    assert called == ["event"]
    assert (queue.waiting, queue.handled) == (0, 3)
    rest = Rest(decode_packets(join_packets([packet("d"), packet("e")])), b"")
    rest.at = 1
    queue.items.append(rest)
    assert [one.action for one in queue.take()] == ["e"]


def test_an_unreadable_record_is_counted() -> None:
    """What cannot be decoded raises, and is counted as one that was handled."""
    queue = SessionCore(Bounds(rate=1)).receiving
    for _ in range(2):
        queue.deliver(b"\xc1")
        with pytest.raises(CodecError):
            queue.take()
    assert queue.waiting == 0
    assert queue.is_over_rate
    queue.pass_time(1.0)
    assert not queue.is_over_rate


def test_what_a_session_keeps_is_counted() -> None:
    """Bytes of both directions, with what each piece costs beside them."""
    core = SessionCore(Bounds())
    assert core.held == 0
    core.sending.put(bytes(100))
    core.sending.tail = 10
    core.numbering.outgoing.keep(bytes(1000))
    core.receiving.deliver(join_packets([packet("x", bytes(500))]))
    held = core.held
    assert held > 100 + 10 + 1000 + 500
    core.receiving.items.clear()
    assert core.held < held


# --- requests -------------------------------------------------------------------------------------------------


def test_a_reply_overtakes_what_waits() -> None:
    """The reply is given to who waits when its record arrives; the others of that record keep their turn."""
    core = SessionCore(Bounds())
    waiter = Waiter()
    number = core.requests.expect(waiter)
    core.receiving.deliver(join_packets([packet("first")]))
    core.receiving.deliver(
        join_packets([packet("second"), packet("reply", 42, reply_to=number), packet("third")])
    )
    (reply,) = waiter.told
    assert isinstance(reply, Reply)
    answer = reply.packet()
    assert answer is not None
    assert answer.data == 42
    names = []
    while core.receiving.items:
        names += [packet.action for packet in core.receiving.take()]
    assert names == ["first", "second", "third"]
    assert not core.requests.expected


def test_a_reply_alone_takes_no_place() -> None:
    """A record that is a reply and nothing else does not wait in the session."""
    core = SessionCore(Bounds())
    number = core.requests.expect(Waiter())
    core.receiving.deliver(join_packets([packet("reply", reply_to=number)]))
    assert not core.receiving.items
    core.receiving.deliver(
        join_packets([packet("reply", reply_to=number)])
    )  # nobody waits any more
    assert len(core.receiving.items) == 1


@pytest.mark.parametrize("alone", [True, False])
def test_a_reply_is_kept_as_bytes_and_counted(alone: bool) -> None:
    """Until somebody looks, a reply takes the bytes that it took on the wire; then, or when it is dropped, nothing."""
    core = SessionCore(Bounds())
    waiters = [Waiter() for _ in range(2)]
    others = [] if alone else [packet("other")]
    for waiter in waiters:
        number = core.requests.expect(waiter)
        record = join_packets([*others, packet("reply", [{}] * 10_000, reply_to=number)])
        core.receiving.deliver(
            memoryview(record)
        )  # it shares its bytes with others, as in plaintext
    core.receiving.drop()
    before = core.held
    assert 20_000 < before < 21_000
    looked_at, forgotten = (waiter.told.pop() for waiter in waiters)
    assert isinstance(looked_at, Reply)
    found = looked_at.packet()
    assert found is not None
    assert found.data == [{}] * 10_000
    assert core.held == before
    looked_at.drop()
    assert looked_at.packet() is None
    assert 10_000 < core.held < 11_000
    del forgotten
    assert core.held < 300


def test_a_pong_is_no_reply() -> None:
    """PONGs have numbers of their own: a reply does not answer a ping, nor the other way round."""
    core = SessionCore(Bounds())
    ping, request = Waiter(), Waiter()
    number = core.requests.expect(ping, pong=True)
    other = core.requests.expect(request)
    assert (ping.number, request.number) == (-number, other)
    core.requests.ponged(other)
    assert request.told == []
    assert not core.requests.resolve(Packet("x", reply_to=number), b"", alone=True)
    core.requests.ponged(number)
    assert ping.told == [None]
    assert core.requests.forget(ping.number)
    assert not core.requests.forget(ping.number)


def test_requests_are_bounded_and_end_with_the_session() -> None:
    """MAX_REQUESTS wait at a time; when the session is over, each of them is told once."""
    requests = SessionCore(Bounds()).requests
    waiters = [Waiter() for _ in range(MAX_REQUESTS)]
    for waiter in waiters:
        requests.expect(waiter)
    with pytest.raises(LimitExceeded):
        requests.expect(Waiter())
    requests.over()
    assert [waiter.told for waiter in waiters] == [["over"]] * MAX_REQUESTS
    requests.over()
    assert waiters[0].told == ["over"]
    requests.expect(Waiter())


def test_those_who_wait_without_a_thread_are_told_bit_by_bit() -> None:
    """When the session ends threads that wait hear it at once, the others some at a time and in order."""
    requests = SessionCore(Bounds()).requests
    waiters = [Waiter(patient=number % 3 > 0) for number in range(12)]
    for waiter in waiters:
        requests.expect(waiter)
    assert requests.over()
    patient = [waiter for waiter in waiters if waiter.patient]
    assert [waiter.told for waiter in waiters if not waiter.patient] == [["over"]] * 4
    assert [waiter.told for waiter in patient] == [[]] * 8
    assert requests.forget(patient[1].number)
    assert requests.end_some(3)
    assert [bool(waiter.told) for waiter in patient] == [1, 0, 1, 1, 0, 0, 0, 0]
    assert requests.end_some(3)
    assert not requests.end_some(3)
    assert [len(waiter.told) for waiter in patient] == [1, 0, 1, 1, 1, 1, 1, 1]
    assert not requests.over()
    assert not SessionCore(Bounds()).requests.expected


def test_requests_of_two_sessions_do_not_mix() -> None:
    """The empty table that sessions share stays empty."""
    one, two = SessionCore(Bounds()).requests, SessionCore(Bounds()).requests
    one.expect(Waiter())
    assert not two.expected
    one.over()
    assert not SessionCore(Bounds()).requests.expected
    assert decode_packets(join_packets([packet("x")]))[0].action == "x"


def test_what_is_held_back_is_counted_while_others_leave() -> None:
    """Bytes that are held back stay counted when what goes ahead of them is in a record, and go when they are sent."""
    numbering = Numbering()
    queue = SendQueue(Bounds(), numbering.outgoing, nullcontext())
    queue.hold_back()
    queue.put(b"ahead")
    assert queue.put_held(b"held", None)
    for count in (1, 0):
        taken = queue.take()
        numbering.outgoing.keep(b"".join(taken), len(taken))
        queue.trim()
        assert not queue.packets
        assert queue.size == count * len(b"held")
        queue.release()
    assert taken == [b"held"]


def test_a_queue_is_emptied_at_once() -> None:
    """Packets leave as they were put, by one call or one by one, with keys and without, and the size is right."""
    for latest, rest in ((None, 0), ("key", 0), (None, 3), ("key", 3)):
        numbering = Numbering()
        queue = SendQueue(Bounds(), numbering.outgoing, nullcontext())
        put = [bytes([number]) * 10 for number in range(20)]
        for number, packet in enumerate(put):
            queue.put(packet, None if latest is None else f"{latest}{number}")
        taken = queue.take()
        assert taken == put
        for number in range(rest):  # those that came while the others were sealed
            queue.put(bytes(number))
        numbering.outgoing.keep(b"".join(taken), len(taken))
        queue.trim()
        assert list(queue.packets) == [bytes(number) for number in range(rest)]
        assert queue.size == sum(range(rest))
