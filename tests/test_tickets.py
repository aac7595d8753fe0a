"""A server's tickets: which are valid, for how long, and how many sessions wait for their owners."""

from __future__ import annotations

import threading
from collections.abc import Callable
from math import inf
from typing import Any

import pytest
from inside import grants_of

from securelink.limits import MAX_SUSPENDED, RESUME_SECONDS
from securelink.protocol import Grant, Issued, TicketTable
from securelink.protocol.tickets import ticket_digest

A, B, C, D = (ticket_digest(letter.encode()) for letter in "abcd")


def grant(name: str) -> Grant:
    """What a ticket of a session of that name gives."""
    return Grant(
        session=name, token=name.encode(), max_packet=4096, psk=bytes(32), server=None, client=None,
        application="", version="",
    )  # fmt: skip


def table_with(*names: str, **options: Any) -> TicketTable:
    """A table of these sessions; the ticket of each is known by its name."""
    table = TicketTable(**options)
    for name in names:
        table.begin(name.encode(), grant(name), table.attempt())
    return table


def valid(table: TicketTable, *digests: bytes, now: float = 0.0) -> list[bool]:
    """Which of these tickets are good."""
    return [table.find(digest, now) is not None for digest in digests]


def test_a_ticket_and_the_next() -> None:
    """The one that was used and the next are valid, until the client has shown that it has the next."""
    table = TicketTable()
    table.begin(A, grant("x"), table.attempt())
    assert table.renew(B, grant("x"), table.attempt(), A, 0.0) is Issued.DONE
    assert valid(table, A, B) == [True, True]
    table.confirm(B)
    assert valid(table, A, B) == [False, True]
    assert table.renew(C, grant("x"), table.attempt(), B, 0.0) is Issued.DONE
    assert valid(table, A, B, C) == [False, True, True]
    assert len(table) == 1


def test_the_older_of_two_may_be_used_again() -> None:
    """Then the client never got the newer one, which goes; a late sign of it says nothing any more."""
    table = TicketTable()
    table.begin(A, grant("x"), table.attempt())
    table.renew(B, grant("x"), table.attempt(), A, 0.0)
    table.renew(C, grant("x"), table.attempt(), A, 0.0)
    assert valid(table, A, B, C) == [True, False, True]
    table.confirm(B)
    assert valid(table, A, B, C) == [True, False, True]
    table.confirm(A)  # the one that is used shows nothing either
    assert valid(table, A, B, C) == [True, False, True]
    table.confirm(C)
    table.confirm(C)
    assert valid(table, A, B, C) == [False, False, True]


def test_a_ticket_that_is_gone_renews_nothing() -> None:
    """Used up, unknown, expired, or of a session that has ended meanwhile: nothing changes."""
    table = TicketTable()
    table.begin(A, grant("x"), table.attempt())
    table.renew(B, grant("x"), table.attempt(), A, 0.0)
    table.confirm(B)
    for used in (A, D):
        assert table.renew(C, grant("x"), table.attempt(), used, 0.0) is Issued.GONE
    table.suspend(b"x", 0.0)
    assert table.renew(C, grant("x"), table.attempt(), B, 1000.0) is Issued.GONE
    assert valid(table, A, B, C) == [False, True, False]
    table.forget(b"x")
    assert table.renew(C, grant("x"), table.attempt(), B, 0.0) is Issued.GONE
    assert valid(table, A, B, C) == [False, False, False]


def test_an_earlier_attempt_does_not_take_over() -> None:
    """A hello that came before that of the connection which has the session now is one that its client gave up."""
    table = TicketTable()
    table.begin(A, grant("x"), table.attempt())
    early, late = table.attempt(), table.attempt()
    assert table.renew(B, grant("x"), late, A, 0.0) is Issued.DONE
    assert table.renew(C, grant("x"), early, A, 0.0) is Issued.OVERTAKEN
    assert valid(table, A, B, C) == [True, True, False]


def test_the_time_runs_without_a_connection() -> None:
    """A connected session has no limit; from the loss of its connection it has its lifetime, once."""
    table = table_with("x", lifetime=10)
    assert valid(table, b"x", now=1e9) == [True]
    assert table.next_deadline() == inf
    assert table.suspend(b"x", 100.0) == []
    assert table.suspend(b"x", 105.0) == []  # its time runs already
    assert table.next_deadline() == 110.0
    assert valid(table, b"x", now=109.9) == [True]
    assert valid(table, b"x", now=110.0) == [False]
    assert table.expire(109.9) == []
    assert table.expire(110.0) == ["x"]
    assert table.expire(110.0) == []
    assert (len(table), table.suspended, table.next_deadline()) == (0, 0, inf)


def test_a_resumed_session_has_no_limit_again() -> None:
    """Its time stops with the resume, and begins anew with the next loss."""
    table = table_with("x", lifetime=10)
    table.suspend(b"x", 0.0)
    assert table.renew(B, grant("x"), table.attempt(), b"x", 9.0) is Issued.DONE
    assert (table.suspended, table.next_deadline()) == (0, inf)
    assert table.expire(1000.0) == []
    table.suspend(b"x", 1000.0)
    assert table.expire(1009.0) == []
    assert table.expire(1010.0) == ["x"]


def test_suspended_sessions_are_bounded() -> None:
    """Beyond the bound those go that nobody would miss, then the oldest; connected ones are not counted."""
    table = table_with(*"abcdefgh", most=3)
    for name, missed in (("a", True), ("b", False), ("c", True)):
        assert table.suspend(name.encode(), 0.0, missed=missed) == []
    assert table.suspend(b"d", 0.0) == ["b"]
    assert table.suspend(b"e", 0.0) == ["a"]
    assert table.suspend(b"f", 0.0, missed=False) == ["f"]
    assert table.suspended == 3
    assert valid(table, *(name.encode() for name in "abcdefgh")) == [
        False, False, True, True, True, False, True, True
    ]  # fmt: skip
    assert table_with("x").suspend(b"x", 0.0) == []
    assert MAX_SUSPENDED > 1000
    assert TicketTable().lifetime == RESUME_SECONDS


def test_nothing_is_left_of_a_session_that_ended() -> None:
    """Neither of its tickets, nor its place among those that wait; unknown names are no error."""
    table = table_with("x")
    table.renew(B, grant("x"), table.attempt(), b"x", 0.0)
    table.suspend(b"x", 0.0)
    table.forget(b"x")
    table.forget(b"x")
    assert table.suspend(b"x", 0.0) == []
    assert table.expire(inf) == []
    assert (len(table), table.suspended, grants_of(table)) == (0, 0, {})
    table.confirm(B)


def test_a_session_begins_once() -> None:
    """A token that begins again leaves nothing of the one before."""
    table = table_with("x")
    table.begin(B, grant("x"), table.attempt())
    assert valid(table, b"x", B) == [False, True]


def test_the_table_holds_its_guard() -> None:
    """Every look and every change is made under the guard that it was given."""
    entered = []

    class Guard:
        """A lock that tells."""

        def __enter__(self) -> None:
            entered.append(True)

        def __exit__(self, *_: object) -> None:
            pass

    table = TicketTable(guard=Guard())
    calls: list[Callable[[], object]] = [
        lambda: table.begin(A, grant("x"), 1),
        lambda: table.attempt(),
        lambda: table.find(A, 0.0),
        lambda: table.renew(B, grant("x"), 2, A, 0.0),
        lambda: table.confirm(B),
        lambda: table.suspend(b"x", 0.0),
        lambda: table.next_deadline(),
        lambda: table.expire(0.0),
        lambda: table.forget(b"x"),
    ]
    for number, call in enumerate(calls, 1):
        call()
        assert len(entered) == number


@pytest.mark.parametrize("workers", [4])
def test_one_ticket_many_attempts(workers: int) -> None:
    """Attempts of several threads with one ticket: all come through one after the other, and two tickets are left."""
    table = TicketTable(guard=threading.Lock())
    table.begin(A, grant("x"), table.attempt())
    done: list[Issued] = []

    def attempts(number: int) -> None:
        for round_ in range(200):
            digest = ticket_digest(f"{number} {round_}".encode())
            done.append(table.renew(digest, grant("x"), table.attempt(), A, 0.0))

    threads = [threading.Thread(target=attempts, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(done) == workers * 200
    assert set(done) <= {Issued.DONE, Issued.OVERTAKEN}
    assert len(grants_of(table)) == 2
