"""
The search: breadth first, so the first way that is found to a broken promise is a shortest one.

A state is that of both sides and of what is on its way between them. Neither side sees the other but through frames, so
each is a component that is explored by itself: what it does with an input is computed once, with the real protocol code
and the real cryptography, and looked up from then on.

The network may deliver the next frame of a direction, cut a connection (what is under way is lost, and each side hears
of it when the network likes), drop a frame or deliver it twice, and open connections of its own with frames that it has
seen. The server may lose its memory, or hand its sessions over to the process that follows; the client's process may
die and another one go on with the file of its session, or the client end its session and begin another; and the time of
a session may end.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import Any, NamedTuple

from securelink.keys import Identity
from securelink.wire.fields import Mode

from .cloned import copied, digest
from .promises import STRANGER, Facts, State, broken_by, missing_in
from .sides import END, ClientSide, ServerSide, client_facts, server_facts

_CALM = 3  # connections of a client that is left alone


@dataclass(frozen=True)
class Bounds:
    """
    How far to go.

    Attributes:
        mode: Of encryption. In plaintext a frame is never dropped or repeated: the network could do anything there.
        up, down: Packets of the client, of the server.
        dials: Connections of the client.
        cuts: Of connections, in one direction or both.
        drops: Frames that vanish from a stream that goes on.
        doubles: Frames that come twice.
        replays: Connections that begin with old frames of the client.
        restarts: Of the server, which forgets everything.
        expiries: Of the time for which a server keeps a session.
        deaths: Of the client's process; the next one has the file of its session.
        handovers: Of the server to its successor.
        parts: Of the client from its session, in whose place it wants another one.
        lazy: Whether what has come is handled later than it comes.
        calm: From each of so many states, in the order in which they are met, both sides are left alone.
        most: States to look at; 0: all.
    """

    mode: Mode = Mode.REQUIRED
    up: int = 1
    down: int = 1
    dials: int = 2
    cuts: int = 1
    drops: int = 0
    doubles: int = 0
    replays: int = 0
    restarts: int = 0
    expiries: int = 0
    deaths: int = 0
    handovers: int = 0
    parts: int = 0
    lazy: bool = False
    calm: int = 1
    most: int = 0


class Wire(NamedTuple):
    """What is on its way on one connection: frames in each direction, oldest first; `END` is its end."""

    up: tuple[bytes, ...] = ()
    down: tuple[bytes, ...] = ()


class Spent(NamedTuple):
    """What has been done so far that the bounds allow only so often."""

    up: int = 0
    down: int = 0
    dials: int = 0
    cuts: int = 0
    drops: int = 0
    doubles: int = 0
    replays: int = 0
    restarts: int = 0
    expiries: int = 0
    deaths: int = 0
    handovers: int = 0
    parts: int = 0


class Node(NamedTuple):
    """A state: numbers of the states of both sides, what is between them, what the network has seen."""

    client: int
    server: int
    wires: tuple[tuple[int, Wire], ...] = ()
    seen: tuple[tuple[int, tuple[bytes, ...]], ...] = ()
    spent: Spent = Spent()


class Component:
    """
    All states of one side that were met.

    Args:
        side: In the first.
        facts: What is known of one.
    """

    def __init__(self, side: Any, facts: Any) -> None:
        self._facts = facts
        self._sides: list[Any] = []
        self.facts: list[Facts] = []
        self._numbers: dict[bytes, int] = {}
        self._known: dict[tuple[Any, ...], tuple[int, tuple[tuple[int, bytes], ...]]] = {}
        self.first = self._number(side)

    def _number(self, side: Any) -> int:
        name = digest(side)
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self._sides)
            self._sides.append(side)
            self.facts.append(self._facts(side))
        return number

    def act(self, number: int, *what: Any) -> tuple[int, tuple[tuple[int, bytes], ...]]:
        """What an input makes of a state: the next one, and what is sent."""
        key = (number, *what)
        known = self._known.get(key)
        if known is None:
            side = copied(self._sides[number])
            out = tuple(side.act(*what))
            known = self._known[key] = (self._number(side), out)
        return known

    def side(self, number: int) -> Any:
        """A state, to be looked at."""
        return self._sides[number]

    @property
    def steps(self) -> int:
        """How many were computed."""
        return len(self._known)


# --- the search -----------------------------------------------------------------------------------------------------


@dataclass
class Found:
    """
    What was found.

    Attributes:
        states: How many were looked at.
        steps: How many were computed of both sides.
        broken: What does not hold, and the way there; None if all does.
        way: The steps to it.
        complete: Whether there was nothing more to look at.
    """

    states: int = 0
    steps: int = 0
    broken: str | None = None
    way: tuple[str, ...] = ()
    complete: bool = False


class Explorer:
    """
    Explores one world.

    Args:
        bounds: How far.
        identity: Of the server; None in plaintext.
    """

    def __init__(self, bounds: Bounds, identity: Identity | None = None) -> None:
        self.bounds = bounds
        identity = identity if bounds.mode is not Mode.OFF else None
        self.client = Component(ClientSide(bounds.mode, lazy=bounds.lazy), client_facts)
        server = ServerSide(identity, bounds.mode, lazy=bounds.lazy)
        self.server = Component(server, server_facts)
        self._ways: dict[Node, tuple[Node | None, str]] = {}
        self._calm: dict[Node, str] = {}

    def explore(self, until: float = inf) -> Found:
        """Look at all states, or at so many, or until then."""
        start = Node(self.client.first, self.server.first)
        self._ways[start] = (None, "")
        queue = deque([start])
        found = Found()
        while queue:
            node = queue.popleft()
            found.states += 1
            for name, after in self._steps(node):
                if after in self._ways:
                    continue
                self._ways[after] = (node, name)
                found.broken = broken_by(self._state(node), name, self._state(after))
                if found.broken is None and len(self._ways) % self.bounds.calm == 0:
                    found.broken = self.calm(after)
                if found.broken is not None:
                    found.way = self._way(after)
                    return self._counted(found)
                queue.append(after)
            enough = self.bounds.most and found.states >= self.bounds.most
            if enough or time.monotonic() > until:
                return self._counted(found)
        found.complete = True
        return self._counted(found)

    def _counted(self, found: Found) -> Found:
        found.steps = self.client.steps + self.server.steps
        return found

    def _state(self, node: Node) -> State:
        spent = node.spent
        client, server = self.client.facts[node.client], self.server.facts[node.server]
        return State(client, server, bool(spent.restarts or spent.expiries))

    def _way(self, node: Node) -> tuple[str, ...]:
        steps: list[str] = []
        at: Node | None = node
        while at is not None:
            at, name = self._ways[at]
            steps.append(name)
        return tuple(reversed(steps[:-1]))

    # One step.

    def _steps(self, node: Node) -> Iterator[tuple[str, Node]]:
        yield from self._own(node)
        for link, wire in node.wires:
            yield from self._network(node, link, wire)
        bounds, spent = self.bounds, node.spent
        if spent.replays < bounds.replays:
            for link, frames in node.seen:
                number = STRANGER + spent.replays
                wires = _with(node.wires, number, Wire(up=(*frames, END)))
                yield (
                    f"the network replays connection {link}",
                    node._replace(wires=wires, spent=spent._replace(replays=spent.replays + 1)),
                )

    def _own(self, node: Node) -> Iterator[tuple[str, Node]]:
        bounds, spent = self.bounds, node.spent
        client, server = self.client.facts[node.client], self.server.facts[node.server]
        if spent.up < bounds.up:
            yield from self._counting(node, "up", "client", "say", f"c{spent.up}")
        if spent.down < bounds.down and server.alive:
            yield from self._counting(node, "down", "server", "say", f"s{spent.down}")
        if spent.dials < bounds.dials:
            yield from self._counting(node, "dials", "client", "dial", spent.dials + 1)
        if spent.deaths < bounds.deaths and spent.dials:
            yield from self._counting(node, "deaths", "client", "die")
        if spent.parts < bounds.parts and client.current:
            yield from self._counting(node, "parts", "client", "part")
        if client.waiting:
            yield "the client handles", self.do(node, "client", "handle")
        if server.waiting:
            yield "the server handles", self.do(node, "server", "handle")
        if spent.restarts < bounds.restarts and server.alive:
            for name, one in self._counting(node, "restarts", "server", "restart"):
                yield name, self._server_dies(one)
        if spent.handovers < bounds.handovers and server.alive and not server.closes_down:
            yield from self._counting(node, "handovers", "server", "hand_over")
        if server.closes_down:
            yield "the successor begins", self.succeed(node)
        if spent.expiries < bounds.expiries and any(not half.link for half in server.alive):
            yield from self._counting(node, "expiries", "server", "expire")

    def succeed(self, node: Node) -> Node:
        """The process that hands its sessions over has ended, and the next one has them."""
        return self._server_dies(self.do(node, "server", "succeed"))

    def _server_dies(self, node: Node) -> Node:
        """All connections end with its process."""
        link = node.spent.dials
        if not self._hears(node, link):
            return node
        wire = dict(node.wires).get(link, Wire())
        return _put(node, link, "down", (*wire.down, END))

    def _counting(
        self, node: Node, counter: str, who: str, *what: Any
    ) -> Iterator[tuple[str, Node]]:
        spent = node.spent._replace(**{counter: getattr(node.spent, counter) + 1})
        words = " ".join(map(str, what))
        yield f"{who}: {words}", self.do(node._replace(spent=spent), who, *what)

    def _network(self, node: Node, link: int, wire: Wire) -> Iterator[tuple[str, Node]]:
        bounds, spent = self.bounds, node.spent
        for way in ("up", "down"):
            frames: tuple[bytes, ...] = getattr(wire, way)
            if not frames:
                continue
            yield f"{way} {link}: {_shown(frames[0])}", self.deliver(node, link, way)
            if frames[0] is END or link >= STRANGER:
                continue
            if spent.drops < bounds.drops:
                rest = node._replace(spent=spent._replace(drops=spent.drops + 1))
                yield f"{way} {link}: a frame is dropped", _put(rest, link, way, frames[1:])
            if spent.doubles < bounds.doubles:
                rest = node._replace(spent=spent._replace(doubles=spent.doubles + 1))
                yield (
                    f"{way} {link}: a frame is doubled",
                    _put(rest, link, way, (frames[0], *frames)),
                )
        if spent.cuts < bounds.cuts and link < STRANGER and wire.up != (END,):
            rest = node._replace(spent=spent._replace(cuts=spent.cuts + 1))
            heard = (END,) if self._hears(node, link) else ()
            wires = _with(rest.wires, link, Wire((END,), heard))
            yield f"connection {link} is cut", rest._replace(wires=wires)

    def deliver(self, node: Node, link: int, way: str) -> Node:
        """The next frame of a direction arrives."""
        wire = dict(node.wires)[link]
        frames: tuple[bytes, ...] = getattr(wire, way)
        node = _put(node, link, way, frames[1:])
        if way == "up":
            return self.do(node, "server", "receive", link, frames[0])
        return self.do(node, "client", "receive", frames[0])

    def do(self, node: Node, who: str, *what: Any) -> Node:
        """An input to one side, and what it sends."""
        component: Component = getattr(self, who)
        number, out = component.act(getattr(node, who), *what)
        if who == "client":
            node = self._unheard(node._replace(client=number))
        else:
            node = node._replace(server=number)
        for link, frame in out:
            wire = dict(node.wires).get(link, Wire())
            way = "up" if who == "client" else "down"
            frames: tuple[bytes, ...] = getattr(wire, way)
            if way == "down" and not self._hears(node, link):
                continue
            if link < STRANGER and not (frames and frames[-1] is END):
                node = _put(node, link, way, (*frames, frame))
            if who == "client" and frame is not END and self.bounds.replays:
                node = _see(node, link, frame)
        return node

    def _hears(self, node: Node, link: int) -> bool:
        return link == node.spent.dials and not self.client.facts[node.client].wants

    def _unheard(self, node: Node) -> Node:
        """What is on its way to a connection that the client has given up is heard by nobody, and of no interest."""
        link = 0 if self.client.facts[node.client].wants else node.spent.dials
        wires = tuple((one, wire if one == link else Wire(wire.up)) for one, wire in node.wires)
        return node._replace(wires=tuple(one for one in wires if one[1] != Wire()))

    # Left alone.

    def calm(self, node: Node) -> str | None:
        """What is missing after both sides were left alone for a while; None if nothing is."""
        met: list[Node] = []
        while node not in self._calm:
            met.append(node)
            after = self._next_calm(node)
            if after is None or len(met) > 200:
                self._calm[node] = (
                    missing_in(self._state(node)) if after is None else "it never ends"
                )
                break
            node = after
        result = self._calm[node]
        for one in met:
            self._calm[one] = result
        return result or None

    def _next_calm(self, node: Node) -> Node | None:
        """The next step of a network that does no harm: the client's last connection works, others are dead."""
        client = self.client.facts[node.client]
        server = self.server.facts[node.server]
        link = node.spent.dials
        if client.waiting:
            return self.do(node, "client", "handle")
        if server.waiting:
            return self.do(node, "server", "handle")
        wire = dict(node.wires).get(link, Wire())
        if wire.up:
            return self.deliver(node, link, "up")
        if wire.down:
            return self.deliver(node, link, "down")
        if server.closes_down:
            return self.succeed(node)
        if link < self.bounds.dials + _CALM and (client.wants or missing_in(self._state(node))):
            # Nothing comes any more: after a while it gives the connection up.
            spent = node.spent._replace(dials=link + 1)
            return self.do(node._replace(spent=spent, wires=()), "client", "dial", link + 1)
        return None


def _with(
    wires: tuple[tuple[int, Wire], ...], link: int, wire: Wire
) -> tuple[tuple[int, Wire], ...]:
    rest = [one for one in wires if one[0] != link]
    if wire != Wire():
        rest.append((link, wire))
    return tuple(sorted(rest))


def _put(node: Node, link: int, way: str, frames: tuple[bytes, ...]) -> Node:
    wire = dict(node.wires).get(link, Wire())._replace(**{way: frames})
    return node._replace(wires=_with(node.wires, link, wire))


def _see(node: Node, link: int, frame: bytes) -> Node:
    """The network writes down the first two frames of a connection: the hello, and who the client is."""
    seen = dict(node.seen)
    if len(seen.get(link, ())) < 2:
        seen[link] = (*seen.get(link, ()), frame)
    return node._replace(seen=tuple(sorted(seen.items())))


def _shown(frame: bytes) -> str:
    return f"a frame of {len(frame)} bytes" if frame else "its end"
