"""What must hold in every state that the explorer meets, and after every step."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise


@dataclass(frozen=True)
class Half:
    """
    One side of a session.

    Attributes:
        said: Names of the packets that it has sent.
        handled: Of those that it has handled.
        open: Of those that it keeps: not known to be handled by the other side.
        counts: Accepted, handled, acknowledged by the other side.
        waiting: Whether something has come and waits to be handled.
        over: Whether it is over here.
        link: The connection that carries it; 0: none, or not yet.
        confirmed: Of a server: whether the client has shown that it has the ticket of that connection.
        tickets: Of a server: how many are good for it.
        deaths: Of a client: how many it had said, and handled, when its process died and another one went on.
        parted: Of a client: whether it has ended it itself.
    """

    said: tuple[str, ...] = ()
    handled: tuple[str, ...] = ()
    open: tuple[str, ...] = ()
    counts: tuple[int, int, int] = (0, 0, 0)
    waiting: bool = False
    over: bool = False
    link: int = 0
    confirmed: bool = False
    tickets: int = 0
    deaths: tuple[tuple[int, int], ...] = ()
    parted: bool = False

    @property
    def said_by_each(self) -> list[tuple[str, ...]]:
        """What each of its processes has said."""
        ends = [0, *(said for said, _ in self.deaths), len(self.said)]
        return [self.said[a:b] for a, b in pairwise(ends)]

    @property
    def handled_by_each(self) -> list[tuple[str, ...]]:
        """And handled."""
        ends = [0, *(handled for _, handled in self.deaths), len(self.handled)]
        return [self.handled[a:b] for a, b in pairwise(ends)]

    @property
    def all_handled(self) -> tuple[str, ...]:
        """What any of its processes has handled."""
        return tuple(dict.fromkeys(self.handled))


@dataclass(frozen=True)
class Facts:
    """
    What is known of one side.

    Attributes:
        halves: Its sessions, by token; b"" before a client knows it.
        current: The session that a client has.
        wants: Of a client: whether nothing carries it.
        closes_down: Of a server: whether it has said that its successor has the sessions.
    """

    halves: dict[bytes, Half]
    current: bytes = b""
    wants: bool = False
    closes_down: bool = False

    @property
    def waiting(self) -> bool:
        """Whether something has come and waits to be handled."""
        return any(half.waiting for half in self.halves.values())

    @property
    def alive(self) -> list[Half]:
        """Its sessions that are not over."""
        return [half for half in self.halves.values() if not half.over]


@dataclass(frozen=True)
class State:
    """Both sides, and whether the server may have forgotten a session."""

    client: Facts
    server: Facts
    forgot: bool


STRANGER = 100  # connections of the network's own have numbers from here on
_NOBODY = Half()


def broken_by(before: State, step: str, after: State) -> str | None:
    """The promise that this step breaks."""
    client, server = after.client, after.server
    return (
        _in_order(client, server)
        or _in_order(server, client)
        or _handled_is_handled(client, server)
        or _handled_is_handled(server, client)
        or _never_fall(before.client, client)
        or _never_fall(before.server, server)
        or _tickets(server)
        or _strangers(server)
        or _old_ends(before.server, after, step)
        or _in_turn(server)
        or _not_lost(after)
    )


def _in_order(one: Facts, other: Facts) -> str | None:
    """
    Each packet is handed over once to each process, and in order; of each process that died, those from the first on.
    """
    for token, half in one.halves.items():
        theirs = other.halves.get(token, other.halves.get(b"", _NOBODY))
        left = half.all_handled
        for said in theirs.said_by_each:
            while left and said and left[0] == said[0]:
                left, said = left[1:], said[1:]
        if left or not _without_gaps(half, theirs.said):
            return f"handled {half.handled_by_each} of {theirs.said_by_each}"
    return None


def _without_gaps(half: Half, said: tuple[str, ...]) -> bool:
    """Whether each process begins where the last one was, or before, and has a piece."""
    if not half.deaths:
        return True
    end = 0
    for handled in half.handled_by_each:
        if handled:
            begin = said.index(handled[0])
            if begin > end or handled != said[begin : begin + len(handled)]:
                return False
            end = max(end, begin + len(handled))
    return True


def _handled_is_handled(one: Facts, other: Facts) -> str | None:
    """What a side does not list as open is handled on the other."""
    for token, half in one.halves.items():
        said = half.said_by_each[-1]  # of the dead ones nobody keeps anything
        confirmed = len(said) - len(half.open)
        if half.open != said[confirmed:]:
            return f"open are {half.open} of {said}"
        if not set(said[:confirmed]) <= set(other.halves.get(token, _NOBODY).handled):
            return f"{confirmed} of {said} count as handled, and are not"
    return None


def _never_fall(before: Facts, after: Facts) -> str | None:
    """No count falls while a session lasts, and with it its process."""
    for token, half in after.halves.items():
        was = before.halves.get(token, _NOBODY)
        if half.deaths != was.deaths:
            continue
        if not half.over and any(a < b for a, b in zip(half.counts, was.counts, strict=True)):
            return f"counts fall from {was.counts} to {half.counts}"
    return None


def _tickets(server: Facts) -> str | None:
    """A ticket is used once: one is good when the client has shown that it has the next, and two at most."""
    for half in server.alive:
        if half.link and half.confirmed and half.tickets != 1:
            return f"{half.tickets} tickets are good, though the client has the last"
        if half.tickets > 2:
            return f"{half.tickets} tickets are good"
    return None


def _strangers(server: Facts) -> str | None:
    """Nobody gets into a session by what the network has seen."""
    return (
        "a stranger has a session" if any(half.link >= STRANGER for half in server.alive) else None
    )


def _old_ends(before: Facts, after: State, step: str) -> str | None:
    """
    What happens on another connection than that which carries a session does not end it, or loosen it; but for the one
    on which its client says that it has ended it.
    """
    if not step.startswith("up "):
        return None
    link = int(step.split()[1].rstrip(":"))
    for token, was in before.halves.items():
        half, theirs = after.server.halves[token], after.client.halves.get(token, _NOBODY)
        if was.link not in (0, link) and half.link not in (was.link, link) and not theirs.parted:
            return f"connection {link} has ended what connection {was.link} carries"
    return None


def _in_turn(server: Facts) -> str | None:
    """A session that a client begins in the place of another is handled behind what that one has left."""
    halves = list(server.halves.values())
    for one, later in combinations(halves, 2):
        if later.handled and one.waiting:
            return f"{later.handled} overtakes what a session before it has left"
    return None


def _not_lost(state: State) -> str | None:
    """While the server remembers, a client that has a session keeps it."""
    halves = state.client.halves.values()
    if not state.forgot and any(half.over and not half.parted for half in halves):
        return "the client has lost its session, and the server its memory not"
    return None


def missing_in(state: State) -> str:
    """When all has had its time: what did not come, or is not known to have come."""
    client, server = state.client, state.server
    if not client.current:
        return "no session begins"
    if wrong := _in_order(client, server) or _in_order(server, client):
        return f"left alone, {wrong}"
    ours, theirs = client.halves[client.current], server.halves.get(client.current, _NOBODY)
    lost = set().union(*ours.said_by_each[:-1]) - set(theirs.handled)  # with their process
    if ours.all_handled != theirs.said or theirs.handled != tuple(
        name for name in ours.said if name not in lost
    ):
        return f"left alone, {ours.said} became {theirs.handled}, and {theirs.said} {ours.handled}"
    if ours.open or theirs.open:
        return f"left alone, {ours.open} and {theirs.open} stay open"
    for token, half in client.halves.items():
        if half.parted and not server.halves.get(token, half).over:
            return "left alone, a session that its client has ended goes on"
    return _not_lost(state) or ""
