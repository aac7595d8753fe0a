"""What clients sent and a program has not taken: bounded, and no reason for others to wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from helpers import WAIT, until

from securelink import limits
from securelink.compat.mailbox import Mailbox, Mailroom
from securelink.compat.simplesockets import TCPServer


class Storing(TCPServer):
    """A server to which a test brings what a client's handler would."""

    def store(self, data: bytes) -> None:
        """A client has sent this."""
        self._store("client", "address", data)


@contextmanager
def waiting(boxes: list[Mailbox]) -> Iterator[None]:
    """Full boxes, with a handler each that waits for room; all have ended afterwards."""
    threads = [threading.Thread(target=box.put, args=(b"more",)) for box in boxes]
    for box in boxes:
        for _ in range(limits.MAX_MAILBOX_MESSAGES):
            box.put(b"x")
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for box in boxes:
            box.end()
        for thread in threads:
            thread.join(WAIT)


def test_messages_come_in_order_and_then_the_end() -> None:
    """What was put can still be taken when the client has gone; then there is the end, again and again."""
    box = Mailroom().box(lambda: None)
    for message in (b"one", b"two"):
        box.put(message)
    box.end()
    assert [box.first(), box.get(), box.get(), box.get(), box.first()] == [
        b"one",
        b"one",
        b"two",
        b"",
        b"",
    ]


def test_few_handlers_wait_for_programs_that_do_not_read() -> None:
    """One more than the allowed number of waiting handlers ends its connection at once, and others are heard."""
    room, refused = Mailroom(), list[str]()
    boxes = [room.box(lambda: None) for _ in range(limits.MAX_MAILBOX_WAITERS)]
    with waiting(boxes):
        until(lambda: room.waiters == limits.MAX_MAILBOX_WAITERS)
        late = room.box(lambda: refused.append("late"))
        for _ in range(limits.MAX_MAILBOX_MESSAGES + 1):
            late.put(b"x")
        assert refused == ["late"]
        served = room.box(lambda: refused.append("served"))
        served.put(b"hello")
        assert served.get() == b"hello"
        assert refused == ["late"]
    assert room.waiters == 0


def test_a_client_that_waited_goes_on_when_the_program_reads() -> None:
    """A full box slows its client down; nothing is lost."""
    room = Mailroom()
    box = room.box(lambda: None)
    with waiting([box]):
        until(lambda: room.waiters == 1)
        got = [box.get() for _ in range(limits.MAX_MAILBOX_MESSAGES + 1)]
    assert got[-1] == b"more"
    assert room.held == 0


def test_who_holds_most_of_too_much_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    """All boxes together have a bound; it costs the client that holds most, not the one that came last."""
    monkeypatch.setattr(limits, "MAX_MAILROOM", 1000)
    room, refused = Mailroom(), list[str]()
    big = room.box(lambda: refused.append("big"))
    small = room.box(lambda: refused.append("small"))
    big.put(b"x" * 900)
    small.put(b"y" * 200)
    assert refused == ["big"]
    assert room.held == 200
    assert (small.get(), big.get()) == (b"y" * 200, b"")


@pytest.mark.parametrize("seen", [True, False], ids=["with on_receive", "without"])
def test_received_data_is_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch, seen: bool) -> None:
    """`recved_data` has no more bytes than a collector; a message that does not fit waits until some is taken."""
    monkeypatch.setattr(limits, "MAX_COLLECTED_BYTES", 1000)
    server = Storing()
    server.on_receive = (lambda *_: None) if seen else None
    server.socket = object()  # as if it were listening

    def store() -> None:
        for _ in range(3):
            server.store(b"x" * 400)

    thread = threading.Thread(target=store)
    thread.start()
    try:
        if seen:
            thread.join(WAIT)
        until(lambda: len(server.recved_data) == 2)
        assert thread.is_alive() is not seen
        assert len(server.return_recved_data()) == 2
        until(lambda: len(server.recved_data) == (0 if seen else 1))
    finally:
        server.socket = None
        thread.join(WAIT)
    assert not thread.is_alive()
