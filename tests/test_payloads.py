"""Data of a declared type: checked on arrival, and an error that names the field for what does not fit."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import logging
import uuid
from functools import partial
from typing import Any, NamedTuple, TypedDict

import msgspec
import pytest
from helpers import WAIT, failure, until
from together import joined, serving

from securelink import (
    Client,
    CodecError,
    ConfigError,
    Identity,
    Received,
    RequestFailed,
    Server,
    Session,
    Typed,
    payload,
    seal,
)
from securelink.app.payloads import converter
from securelink.limits import LOGGED_FAILURES, MAX_NUMBER_KEYS
from securelink.wire.packets import encode_value


class Colour(enum.Enum):
    """One of the types that travel as something else."""

    RED = "red"


class One(enum.IntEnum):
    """A number with a name."""

    ONE = 1


@dataclasses.dataclass
class Move:
    """A dataclass with what MessagePack has no types for."""

    x: int
    y: int = 0
    path: tuple[int, int] | None = None
    seen: set[int] = dataclasses.field(default_factory=set)
    price: decimal.Decimal = decimal.Decimal(0)
    colour: Colour = Colour.RED
    when: datetime.datetime | None = None
    name: uuid.UUID | None = None
    picture: bytes = b""


class Jump(msgspec.Struct):
    """A Struct inside of which is another type."""

    height: int
    then: Move | None = None


class Place(NamedTuple):
    """A named tuple."""

    x: int
    y: int


class Person(TypedDict):
    """A dict with known keys."""

    name: str


class Unknown:
    """A class of which nothing is known."""


@dataclasses.dataclass
class Hidden:
    """A dataclass with a part that nothing is known of."""

    parts: list[dict[str, Unknown]]


FULL = Move(
    1,
    2,
    (3, 4),
    {5},
    decimal.Decimal("1.10"),
    Colour.RED,
    datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
    uuid.UUID(int=6),
    b"\x00\xff",
)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Move, FULL),
        (Jump, Jump(3, Move(1))),
        (Place, Place(1, 2)),
        (Person, {"name": "ada"}),
        (list[int], [1, 2]),
        (int | None, None),
        (int, 5),
        (str, "text"),
    ],
)
def test_data_arrives_as_what_it_was(kind: Any, value: Any, identity: Identity) -> None:
    """A value of a declared type is the same value again in the handler of either side."""
    seen: list[Any] = []
    with serving(identity) as server, joined(server) as (client,):

        def give(session: Session, packet: Received) -> bool:
            seen.append(packet.data)
            session.send("take", packet.data)
            return True

        server.on("give", kind, give)
        client.on("take", kind, lambda packet: seen.append(packet.data))
        assert client.request("give", value, timeout=WAIT) is True
        until(lambda: len(seen) == 2)
    assert seen == [value, value]
    assert [type(one) for one in seen] == [type(value)] * 2


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"x": "1"}, r"int.*got.*str.*\$\.x"),
        ({"y": 1}, "required field `x`"),
        (None, "got `null`"),
        ([1, 2], "got `array`"),
        ({"x": True}, r"\$\.x"),
        ({"x": 1.5}, r"\$\.x"),
        ({"x": 2**63}, None),
        ({"x": 1, "path": [1]}, r"\$\.path"),
        ({"x": 1, "colour": "blue"}, r"blue.*\$\.colour"),
        ({"x": 1, "colour": "\x1b[2J\n\u202e"}, r"\\x1b.*\$\.colour"),
        ({"x": 1, "picture": "aGk="}, r"bytes.*\$\.picture"),
        ({"x": 1, "price": "much"}, r"\$\.price"),
    ],
)
def test_data_that_does_not_fit(
    data: Any, says: str | None, identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """The handler never sees it; who asked is told the field, the log has a line, and the session goes on."""
    called: list[Any] = []

    def handle(session: Session, packet: Received) -> bool:
        called.append(packet.data)
        return True

    with serving(identity) as server, joined(server) as (client,):
        server.on("move", Move, handle)
        if says is None:
            assert client.request("move", data, timeout=WAIT) is True
            return
        client.send("move", data)  # who does not ask is not answered
        with pytest.raises(RequestFailed, match=says) as caught:
            client.request("move", data, timeout=WAIT)
        assert caught.value.reason == "invalid"
        assert "data of 'move' does not fit" in caught.value.text
        assert client.request("move", {"x": 1}, timeout=WAIT) is True
        assert [move.x for move in called] == [1]
        assert len(server.caught) == 0
    lines = [record for record in caplog.records if "does not fit" in record.getMessage()]
    assert len(lines) == 2
    assert all(record.levelno == logging.WARNING and record.exc_info is None for record in lines)
    assert all(record.getMessage().isprintable() for record in lines)


def test_a_flood_of_misfits_is_a_few_lines(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """Who sends nothing but what does not fit cannot fill the log."""
    with serving(identity) as server, joined(server) as (client,):
        server.on("move", Move, lambda session, packet: None)
        for _ in range(5):
            for _ in range(200):
                client.send("move", "no")
            with pytest.raises(RequestFailed):
                client.request("move", "no", timeout=WAIT)
    seconds = 1 + int(caplog.records[-1].created - caplog.records[0].created)
    assert caplog.text.count("does not fit") <= LOGGED_FAILURES * (seconds + 1) < 1000


def test_listeners_see_the_data_as_it_came(identity: Identity) -> None:
    """`on_message` gets the plain data; deferring and answering in a typed handler count as in any other."""
    seen: list[Any] = []
    with serving(identity) as server, joined(server) as (client,):
        server.on_message(lambda session, packet: seen.append(packet.data))

        @server.on("later", Move)
        def later(session: Session, packet: Typed[Move]) -> str:
            packet.defer().reply(packet.data.x)
            return "not this"

        @server.on("now", Move)
        def now(session: Session, packet: Typed[Move]) -> str:
            packet.reply(packet.data.x)
            return "not this"

        assert client.request("later", Move(7), timeout=WAIT) == 7
        assert client.request("now", {"x": 8}, timeout=WAIT) == 8
    assert [one["x"] for one in seen] == [7, 8]


def test_a_handler_whose_own_check_fails_is_not_the_peers_fault(identity: Identity) -> None:
    """A `ValidationError` that the handler itself raises is its failure, not a misfit of the packet."""
    with serving(identity) as server, joined(server) as (client,):

        @server.on("move", Move)
        def move(session: Session, packet: Typed[Move]) -> None:
            msgspec.convert("x", int)

        with pytest.raises(RequestFailed) as caught:
            client.request("move", {"x": 1}, timeout=WAIT)
        assert caught.value.reason == "error"
        assert len(server.caught.take()) == 1


@pytest.mark.parametrize(
    "kind", [Unknown, Hidden, list[Unknown], type, set[Hidden], dict[str, object]]
)
def test_types_that_cannot_be_checked(kind: Any) -> None:
    """A type with a part that cannot be made out of data is refused when it is bound."""
    server: Any = Server(encryption="off")
    failure(
        ConfigError, lambda: server.on("move", kind), "the data of 'move' cannot be", "dataclass"
    )
    assert server.actions == []


def test_a_type_that_is_none() -> None:
    """Something that is no type in the place of one is an error that shows the order."""
    server: Any = Server(encryption="off")
    failure(
        ConfigError, lambda: server.on("move", 5, print), "cannot be an int", "a type, a handler"
    )
    failure(ConfigError, lambda: server.on("move", print, print), "", "a type, a handler")


# --- strict types ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        (1, 2), {1}, frozenset({1}), decimal.Decimal("1.1"), Colour.RED, Move(1), Jump(1), Place(1, 2),
        datetime.date(2024, 1, 1), datetime.time(1), datetime.datetime(2024, 1, 1), datetime.timedelta(1),
        uuid.UUID(int=1), bytearray(b"x"),
        datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=2))), memoryview(b"x"),
        One.ONE, collections.OrderedDict(a=1),
    ],
)  # fmt: skip
def test_strict_types_refuse_what_would_change(value: Any, identity: Identity) -> None:
    """With `strict_types=True` each way of sending refuses it, at any depth, and says where it is."""
    with serving(identity, strict_types=True) as server:
        server.on("give", lambda session, packet: value)
        client = Client("127.0.0.1", server.address[1], pin=identity.fingerprint, strict_types=True)
        with client:
            until(lambda: len(server.sessions) == 1)
            (session,) = server.sessions.values()
            for data, where in (
                (value, r"^an? \w+ would"),
                ([1, {"a": [value]}], r"\$\[1\]\['a'\]\[0\]"),
            ):
                for call in (
                    partial(client.send, "x", data),
                    partial(client.request, "x", data),
                    partial(client.request_later, "x", data),
                    partial(client.set_state, data),
                    partial(client.send, "x", headers={"h": data}),
                    partial(session.send, "x", data),
                    partial(session.request, "x", data),
                    partial(session.request_later, "x", data),
                    partial(server.broadcast, "x", data),
                    partial(server.set_state, data),
                ):
                    failure(CodecError, call, "would arrive as another type", "strict_types")
                failure(CodecError, partial(client.send, "x", data), where)
            with pytest.raises(RequestFailed):
                client.request("give", timeout=WAIT)


@dataclasses.dataclass
class Stranger:
    """A dataclass that nobody has declared."""

    x: int


@pytest.mark.parametrize(
    "value",
    [
        decimal.Decimal("1.10"),
        {1, 2},
        frozenset({3}),
        Colour.RED,
        uuid.UUID(int=5),
        datetime.date(2024, 2, 29),
        datetime.time(12, 30),
        datetime.timedelta(seconds=90),
        datetime.datetime(2024, 1, 1),  # without a zone is what is tested
        Stranger(1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_would_become_something_else_is_refused(value: Any, identity: Identity) -> None:
    """Without any option: no call sends a value that would arrive as text, a list or a dict, at any depth."""
    keyed = value if isinstance(value, collections.abc.Hashable) and value != Stranger(1) else "x"
    with serving(identity) as server, joined(server) as (client,):
        server.on("give", lambda session, packet: value)
        until(lambda: len(server.sessions) == 1)
        (session,) = server.sessions.values()
        for data in (value, [1, {"a": [value]}], {"deep": {"er": (1, value)}}):
            for call in (
                partial(client.send, "x", data),
                partial(client.request, "x", data),
                partial(client.set_state, data),
                partial(client.send, "x", headers={"h": data}),
                partial(session.send, "x", data),
                partial(server.broadcast, "x", data),
                partial(server.set_state, data),
                partial(seal, ("note", data), identity.public, sender=identity),
                partial(encode_value, data),
            ):
                failure(CodecError, call, "would arrive as another type", ".")
        if keyed != "x":
            failure(CodecError, partial(client.send, "x", {keyed: 1}), "the key .* of", ".")
        with pytest.raises(RequestFailed):
            client.request("give", timeout=WAIT)
        assert client.connected


def test_relatives_are_sent(identity: Identity) -> None:
    """What arrives as its nearest relative is sent as before: tuples, subclasses of dict, numbers with a name."""
    value = {
        "at": Place(1, 2),
        "both": (1, (2, 3)),
        "n": One.ONE,
        "b": bytearray(b"x"),
        "o": collections.OrderedDict(a=1),
    }
    with serving(identity) as server, joined(server) as (client,):
        server.on("echo", lambda session, packet: packet.data)
        answer = client.request("echo", value, timeout=WAIT)
    assert answer == {"at": [1, 2], "both": [1, [2, 3]], "n": 1, "b": b"x", "o": {"a": 1}}


def test_a_declared_dataclass_is_sent(identity: Identity) -> None:
    """`@payload` is what a program says that only sends; where a handler has the type it arrives as itself."""

    @payload
    @dataclasses.dataclass
    class Shot:
        x: int

    seen: list[Any] = []
    with serving(identity) as server, joined(server) as (client,):
        server.on("echo", lambda session, packet: packet.data)
        assert client.request("echo", Shot(3), timeout=WAIT) == {"x": 3}
        server.on("shot", Shot, lambda session, packet: seen.append(packet.data))
        assert client.request("shot", Shot(4), timeout=WAIT) is None
    assert seen == [Shot(4)]
    wrong: Any
    for wrong in (int, Jump, "Shot", Stranger(1)):
        failure(ConfigError, partial(payload, wrong), "is no dataclass", "@payload")


def test_strict_types_change_nothing_else(identity: Identity) -> None:
    """What they take arrives as it is."""
    now = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    value: Any = {"a": [None, True, 1, 1.5, "x", b"y", now, {}], 5: [], b"k": {"n": -(2**63)}}
    with serving(identity, strict_types=True) as server:
        server.on("echo", lambda session, packet: packet.data)
        client = Client("127.0.0.1", server.address[1], pin=identity.fingerprint, strict_types=True)
        with client:
            assert client.request("echo", value, timeout=WAIT) == value
            circle: list[Any] = []
            circle.append(circle)
            failure(CodecError, lambda: client.send("echo", circle), "contains itself")


class Tagged(msgspec.Struct, tag=True, array_like=True):
    """A Struct that travels as an array with its name in front."""

    points: frozenset[tuple[int, int]]
    path: list[int] = []


class Tree(msgspec.Struct):
    """A type that contains itself."""

    ids: set[int | None] = set()
    below: list[Tree] = []
    names: dict[uuid.UUID, int] = {}


MANY = MAX_NUMBER_KEYS + 1


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (set[int], list(range(MANY))),
        (frozenset[tuple[int, int]], [[n, n] for n in range(MANY)]),
        (Move, {"x": 1, "seen": list(range(MANY))}),
        (Jump, {"height": 1, "then": {"x": 1, "seen": list(range(MANY))}}),
        (Tagged, ["Tagged", [[n, n] for n in range(MANY)]]),
        (Tree, {"below": [{"below": [{"ids": list(range(MANY))}]}]}),
        (Tree, {"below": [{"names": {str(uuid.UUID(int=n)): n for n in range(MANY)}}]}),
        (dict[str, set[decimal.Decimal]], {"a": [str(n) for n in range(MANY)]}),
        (tuple[int, set[int]], [1, list(range(MANY))]),
        (set[int] | None, list(range(MANY))),
    ],
)
def test_a_set_of_numbers_has_few_members(kind: Any, data: Any) -> None:
    """Members whose hashes a peer can choose are counted before a set is made of them, wherever it is in a type."""
    failure(CodecError, lambda: converter("a", kind)(data), "513 members")


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (set[str], [str(n) for n in range(MANY)]),
        (set[str | None], [str(n) for n in range(MANY)]),
        (list[int], list(range(MANY))),
        (set[int], list(range(MANY - 1))),
        (Tree, {"below": [{"ids": [n]} for n in range(MANY)]}),
        (Tagged, ["Tagged", [[1, 2]], list(range(MANY))]),
        (dict[str, int], {str(n): n for n in range(MANY)}),
    ],
)
def test_other_data_has_as_many_as_it_likes(kind: Any, data: Any) -> None:
    """Lists, and sets of text, are bounded by the packet alone."""
    assert converter("a", kind)(data) == msgspec.convert(data, kind)
