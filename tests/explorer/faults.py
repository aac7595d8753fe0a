"""Faults of the core that the explorer has to find, each planted while it looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast
from unittest import mock

from inside import grants_of
from resuming import Program
from resuming_server import Server

from securelink.protocol import (
    ClientConnection,
    Connection,
    ServerConnection,
    SessionCore,
    VerifiedClient,
)
from securelink.protocol.acknowledgements import Incoming, Outgoing
from securelink.protocol.tickets import Issued, TicketTable
from securelink.wire.fields import Mode

from .search import Bounds

OFF = Mode.OFF


@dataclass(frozen=True)
class Fault:
    """
    One fault.

    Attributes:
        name: What is wrong.
        on: The class.
        method: Of it, that is replaced.
        by: Makes the wrong one of the right one.
        bounds: Where it shows.
        calm: From each of so many states both sides are left alone.
        also: Other methods of the class that the fault needs, each with what makes the wrong one.
    """

    name: str
    on: Any
    method: str
    by: Callable[[Any], Any]
    bounds: Bounds
    calm: int = 16
    also: tuple[tuple[str, Callable[[Any], Any]], ...] = ()

    @contextmanager
    def planted(self) -> Iterator[None]:
        """A block in which it is there."""
        with ExitStack() as stack:
            for method, by in ((self.method, self.by), *self.also):
                wrong = by(getattr(self.on, method))
                stack.enter_context(mock.patch.object(self.on, method, wrong))
            yield


def _nothing(right: Any) -> Any:
    return lambda *_, **__: None


def _late_end(right: Any) -> Any:
    return lambda self, connection=None: right(self)


def _spent_by_hello(right: Any) -> Any:
    def look_at_ticket(self: Any, resuming: Any) -> None:
        right(self, resuming)
        if self._used:
            cast(dict[bytes, Any], grants_of(resuming.tickets)).pop(self._used)

    return look_at_ticket


def _used_ones_stay(right: Any) -> Any:
    def renew(
        self: Any, digest: bytes, grant: Any, attempt: int, used: bytes, now: float
    ) -> Issued:
        before = dict(self._grants)
        result: Issued = right(self, digest, grant, attempt, used, now)
        self._grants = {**before, **self._grants}
        return result

    return renew


def _used_one_goes_at_once(right: Any) -> Any:
    def renew(
        self: Any, digest: bytes, grant: Any, attempt: int, used: bytes, now: float
    ) -> Issued:
        result: Issued = right(self, digest, grant, attempt, used, now)
        if result is Issued.DONE:
            self.confirm(digest)
        return result

    return renew


def _any_attempt(right: Any) -> Any:
    def renew(
        self: Any, digest: bytes, grant: Any, attempt: int, used: bytes, now: float
    ) -> Issued:
        result: Issued = right(self, digest, grant, 10**6, used, now)
        return result

    return renew


def _count_before_detach(right: Any) -> Any:
    def look_at_ticket(self: Any, resuming: Any) -> None:
        right(self, resuming)
        grant = resuming.tickets.find(self._used, 0.0) if self._used else None
        if grant is not None:
            # A place that is free from here on.
            self._first = grant.session.core.numbering.incoming.accepted.to_bytes(8)

    return look_at_ticket


def _resume_with_early_count(right: Any) -> Any:
    def resume(self: Any, verified: Any, heartbeat: float) -> None:
        incoming = self.numbering.incoming
        accepted, incoming.accepted = incoming.accepted, int.from_bytes(self._first)
        right(self, verified, heartbeat)
        incoming.accepted = accepted

    return resume


def _all_handled(right: Any) -> Any:
    return lambda self: self.accepted


def _all_again(right: Any) -> Any:
    def rewind(self: Any, count: int) -> None:
        right(self, count)
        self.again = self.unconfirmed[::-1]

    return rewind


def _none_again(right: Any) -> Any:
    def rewind(self: Any, count: int) -> None:
        right(self, count)
        self.again.clear()

    return rewind


def _new_ones_first(right: Any) -> Any:
    def data_to_send(self: Any) -> bytes:
        connection = self.connection
        waiting = self.numbering.outgoing.again
        if (
            connection is None
            or connection.sender is None
            or not (waiting and self.sending.packets)
        ):
            return bytes(right(self))
        self.numbering.outgoing.again = []
        first = bytes(right(self))
        self.numbering.outgoing.again = waiting
        return first + bytes(right(self))

    return data_to_send


def _read_on(right: Any) -> Any:
    def let_go(self: Any) -> None:
        """The connection that is given up goes on counting."""

    return let_go


def _stale_count(right: Any) -> Any:
    def carry(self: Any, numbering: Any) -> None:
        right(self, numbering)
        if isinstance(self, ClientConnection) and numbering.incoming.accepted:
            numbering.incoming.accepted -= 1

    return carry


def _stated_is_kept(right: Any) -> Any:
    def forget_stated(self: Any) -> Any:
        right(self)
        return self.sent

    return forget_stated


def _begins_anew(right: Any) -> Any:
    def go_on_from(self: Any, count: int) -> None:
        """The process counts from 0."""

    return go_on_from


def _file_is_late(right: Any) -> Any:
    def keep(self: Any, resumption: Any) -> None:
        right(self, self.resumption)

    return keep


def _last_ticket_alone(right: Any) -> Any:
    def restore(self: Any, tickets: list[Any], until: float, *, missed: bool) -> None:
        right(self, tickets[-1:], until, missed=missed)

    return restore


def _ends_but_for_another(right: Any) -> Any:
    def end(self: Any, held: Any) -> None:
        if held.core.connection is not None or self.table.granted(held.token):
            held.core.detach()
        else:
            right(self, held)

    return end


def _goes_on(right: Any) -> Any:
    return property(lambda self: False)


def _as_if_resumed(right: Any) -> Any:
    return property(lambda self: self.numbering.incoming.accepted)


#: Connections alone: nothing is sent in the session.
_TICKETS = Bounds(OFF, up=0, down=0, cuts=0, dials=3)
_UP = Bounds(OFF, down=0)
#: A client that ends its session, and begins another behind it.
_ANOTHER = Bounds(OFF, up=2, down=0, cuts=0, parts=1, lazy=True)
#: A process that dies.
_DOWN = Bounds(OFF, up=0, cuts=0, deaths=1, dials=3)

FAULTS = [
    Fault(
        "a ticket is not spent when the next has come", TicketTable, "confirm", _nothing, _TICKETS
    ),
    Fault("tickets that were used stay good", TicketTable, "renew", _used_ones_stay, _TICKETS),
    Fault("a ticket is spent too early", TicketTable, "renew", _used_one_goes_at_once, _TICKETS),
    Fault(
        "a ticket is spent by a hello",
        ServerConnection,
        "_look_at_ticket",
        _spent_by_hello,
        _TICKETS,
    ),
    Fault("a late attempt takes over", TicketTable, "renew", _any_attempt, _TICKETS),
    Fault("a late end is the session's", SessionCore, "detach", _late_end, _TICKETS),
    Fault(
        "a count is taken before detach",
        ServerConnection,
        "_look_at_ticket",
        _count_before_detach,
        _UP,
        also=(("resume", _resume_with_early_count),),
    ),
    Fault("what was given up is read on", Connection, "let_go", _read_on, _UP),
    Fault(
        "what has come counts as handled",
        Incoming,
        "handled",
        _all_handled,
        replace(_UP, lazy=True),
    ),
    Fault(
        "all that is kept is sent again", Outgoing, "rewind", _all_again, replace(_UP, lazy=True)
    ),
    Fault("nothing is sent again", Outgoing, "rewind", _none_again, _UP),
    Fault("new packets go first", SessionCore, "data_to_send", _new_ones_first, replace(_UP, up=2)),
    Fault("a count is stated too low", Connection, "carry", _stale_count, Bounds(OFF, up=0)),
    Fault(
        "what a dead process had is not sent again",
        Outgoing,
        "forget_stated",
        _stated_is_kept,
        _DOWN,
    ),
    Fault(
        "another process counts anew",
        Incoming,
        "go_on_from",
        _begins_anew,
        replace(_DOWN, down=2, dials=2),
    ),
    Fault(
        "another process numbers anew",
        Outgoing,
        "go_on_from",
        _begins_anew,
        replace(_DOWN, up=2, down=0, dials=2),
    ),
    Fault(
        "a successor has only the last ticket of each session",
        TicketTable,
        "restore",
        _last_ticket_alone,
        replace(_TICKETS, dials=2, cuts=1, handovers=1),
        calm=8,
    ),
    Fault(
        "who wants another session gets the old one",
        VerifiedClient,
        "begins_another",
        _goes_on,
        _ANOTHER,
    ),
    Fault(
        "who wants another session does not say so",
        ClientConnection,
        "_count",
        _as_if_resumed,
        _ANOTHER,
    ),
    Fault(
        "another session begins beside the old one", Server, "end", _ends_but_for_another, _ANOTHER
    ),
    Fault(
        "the file is written after the first record",
        Program,
        "keep",
        _file_is_late,
        replace(_DOWN, down=0),
    ),
]
