"""
Several servers that are one to those who send: what one of them broadcasts reaches the sessions of all.

    python examples/cluster.py hub 5050      # prints CLUSTER=securelink://...; set that where the servers start
    python examples/cluster.py server 5051
    python examples/cluster.py server 5052
    python examples/chat_client.py ada --port 5051
    python examples/chat_client.py bob --port 5052

The servers run the chat of chat_server.py, and the hub keeps its key in the folder hub. In a program of yours:

    with closing(Clustered(invite)) as cluster:
        Server(port=5051, fanout=cluster).serve_forever()

Then `broadcast`, rooms, tokens, `set_state` and `find` of this server mean the whole cluster. `sessions`, the members
of a room and what `broadcast` returns are still those of the one process.

The hub is a server of this library, so the way to it is encrypted. The invite has the fingerprint of its key and a join
token: hub and servers know each other. Whoever has the invite is one of them, so keep it as you keep a password.

While the hub is away a server goes on with its own sessions. What it tells the others waits, 16 MiB and two minutes at
most, also if the hub is killed and started again. After that it begins anew with the hub, as soon as there is one, and
the log says how much others have missed. The sessions of a server that died are forgotten after two minutes, too.
"""

import argparse
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from functools import partial
from typing import Any, NamedTuple

from chat_server import build

from securelink import Client, ConnectionClosed, Received, Room, SecureLinkError, Server, Session
from securelink.app.fanout import Fanout, Inlet
from securelink.app.registry import Registry
from securelink.session import local_fanout

log = logging.getLogger("securelink.cluster")


def hub(host: str, port: int) -> Server:
    """The server in the middle: it passes on to all servers what one of them tells, and has the state."""
    # One handler at a time, so that all servers see all states in the same order. What is on its way is in the file.
    # The largest packet is one of a server (2 MiB), and whom it is for.
    server = Server(
        host, port, keys="hub", authenticate="tokens", max_packet=4 * 1024 * 1024,
        overlap=False, state="hub.db", state_sync="os",
    )  # fmt: skip
    newest: list[bytes] = []

    def pass_on(session: Session, packet: Received) -> None:
        latest, data = packet.data
        server.broadcast(packet.action, [session.token, data], exclude=[session], latest=latest)

    def set_state(session: Session, packet: Received) -> None:
        if packet.action == "state" or not newest:  # otherwise this hub knows better
            newest[:] = packet.data[1:]
            server.set_state(*newest)

    for action in ("packet", "came", "left", "kick"):
        server.on(action, pass_on)
    for action in ("state", "last known state"):
        server.on(action, set_state)
    server.on_connect(lambda session: server.broadcast("who is there", exclude=[session]))
    server.on_disconnect(lambda session: server.broadcast("left", [session.token, None]))
    return server


class Elsewhere(NamedTuple):
    """A session of another server, as `server.find()` gives it."""

    cluster: "Clustered"
    server: str  # the token of that server
    token: str
    user: Any
    address: tuple[str, int]

    def send(self, action: str, data: Any = None, **options: Any) -> None:
        """Send it a packet; the options are those of `Server.broadcast`."""
        self.cluster.rooms.broadcast(action, data, to=[self.token], **options)

    def kick(self, reason: str = "") -> None:
        """End this session."""
        self.cluster.tell("kick", [self.token, reason])


class Roster(Registry[Session]):
    """The sessions of this server, of which it tells the others."""

    def __init__(self, cluster: "Clustered", numbers: Callable[[Any], Mapping[str, int]]) -> None:
        super().__init__(numbers)
        self._cluster = cluster

    def add(self, session: Session) -> None:
        super().add(session)
        self._cluster.tell_of(session)

    def remove(self, session: Session) -> bool:
        with self._cluster.order:
            if removed := super().remove(session):
                self._cluster.tell("left", session.token)
            return removed

    def find(self, token: str | None, address: tuple[Any, ...] | None, user: Any) -> list[Any]:
        far = self._cluster.elsewhere
        found = list(far.values()) if token is None else filter(None, [far.get(token)])
        return super().find(token, address, user) + [
            one for one in found if address in (None, one.address) and user in (None, one.user)
        ]


class Clustered(Fanout[Session]):
    """
    What a `Server(fanout=)` is given to be one of a cluster.

    Args:
        invite: Of the hub, which must be there now.

    Attributes:
        hub: A client of it.
        elsewhere: The sessions of other servers, by token.
    """

    def __init__(self, invite: str) -> None:
        self.elsewhere: dict[str, Elsewhere] = {}
        self.order = threading.Lock()  # others hear of a session in the order of what happened
        self._own = local_fanout(Session, partial(Roster, self))
        self.registry = self._own.registry
        self._closed, self._missed = False, 0
        client = self.hub = Client(invite, max_unsent=16 * 1024 * 1024)
        client.on_connect(self._begin)
        client.on_disconnect(self._lost)
        client.on_state(self._own.set_state)
        client.on("packet", self._packet)
        client.on("came", self._came)
        client.on("left", self._left)
        client.on("kick", self._kick)
        client.on("who is there", self._introduce)
        client.connect(retry=True)

    def close(self) -> None:
        """Leave the cluster."""
        self._closed = True
        self.hub.close()

    # --- what the server calls ----------------------------------------------------------------------

    def send(self, encoded: bytes, *, to: Any = None, exclude: Any = (), **how: Any) -> int:
        """To those here, which are counted; and to those elsewhere, by way of the hub."""
        to, exclude = _listed(to), _listed(exclude)
        count = self._own.send(encoded, to=to, exclude=exclude, **how)
        way = {"to": self._far(to), "exclude": self._far(exclude), **how}
        if way["to"] != []:
            # A newer packet of the same key takes the place of one that waits, if it is for the same.
            key = None if how.get("latest") is None else str(hash(repr(way)))
            self.tell("packet", {"packet": encoded, **way}, latest=key)
        return count

    def _far(self, who: Any) -> Any:
        """Whom other servers may have of these: None for all, the name of a room, or tokens."""
        if isinstance(who, Room):
            return who.name
        return who and [one for one in who if isinstance(one, str) and not self.registry.get(one)]

    def set_state(self, encoded: bytes) -> None:
        """By way of the hub, so that all servers end with the same; without a hub, for those here."""
        if not self.tell("state", encoded, latest="state") or not self.hub.connected:
            self._own.set_state(encoded)

    def greet(self, outlet: Inlet) -> None:
        """The state that a new session has missed."""
        self._own.greet(outlet)

    # --- what the others hear -----------------------------------------------------------------------

    def tell(self, action: str, data: Any, latest: str | None = None) -> bool:
        """Tell the other servers. Never waits; False: there is no hub."""
        with suppress(ConnectionClosed):
            # What would be too much ends the session; the next one begins with all that matters.
            if self.hub.send(action, [latest, data], latest=latest, full="end"):
                return True
        self._missed += 1
        return False

    def tell_of(self, session: Session) -> None:
        """Tell that a session is here."""
        user = session.user if isinstance(session.user, str | int) else None  # not each can be sent
        with self.order, suppress(SecureLinkError):  # nor each text or number
            if self.registry.get(session.token) is session:  # it may have left meanwhile
                self.tell("came", [session.token, user, session.address])

    def _introduce(self, _: Received | None = None) -> None:
        self.tell("left", None)
        for session in self.registry.everybody():
            self.tell_of(session)
        if self.hub.server_state is not None:
            self.tell("last known state", self.hub.server_state)

    def _begin(self) -> None:
        if self._missed:
            log.error("there was no hub: other servers have missed %d packets", self._missed)
        self._missed, self.elsewhere = 0, {}
        self._introduce()

    def _lost(self) -> None:
        if not self._closed:
            left = len(self.hub.unconfirmed)
            log.error("no hub: %s; other servers may miss %d packets", self.hub.reason, left)
            threading.Thread(target=self._come_back, daemon=True).start()

    def _come_back(self) -> None:
        try:
            self.hub.connect(86_400, retry=True)  # for a day
        except SecureLinkError as error:
            if not self._closed:
                log.critical("this server is alone from now on: %s", error)

    # --- what it hears of the others ----------------------------------------------------------------

    def _packet(self, packet: Received) -> None:
        if self.registry.everybody():
            _, way = packet.data
            for name in ("to", "exclude"):
                if isinstance(way[name], str):
                    way[name] = self.rooms.get(way[name])
            self._own.send(way.pop("packet"), **way)

    def _came(self, packet: Received) -> None:
        server, (token, user, address) = packet.data
        self.elsewhere[token] = Elsewhere(self, server, token, user, tuple(address))

    def _left(self, packet: Received) -> None:
        server, token = packet.data
        gone = [token] if token else [t for t, s in self.elsewhere.items() if s.server == server]
        for token in gone:
            self.elsewhere.pop(token, None)

    def _kick(self, packet: Received) -> None:
        _, (token, reason) = packet.data
        if (session := self.registry.get(token)) is not None:
            session.kick(reason)


def _listed(who: Any) -> Any:
    """As a list, with tokens for sessions elsewhere, which a server's own fan-out does not know."""
    if isinstance(who, str | Session | Elsewhere):
        who = [who]
    if isinstance(who, Room) or not isinstance(who, Iterable):
        return who
    return [one.token if isinstance(one, Elsewhere) else one for one in who]


def main() -> None:
    parser = argparse.ArgumentParser(description="A cluster of servers.")
    parser.add_argument("role", choices=["hub", "server"])
    parser.add_argument("port", type=int)
    parser.add_argument("--host", default="127.0.0.1", help="under which servers reach the hub")
    options = parser.parse_args()
    if options.role == "hub":
        middle = hub(options.host, options.port)
        middle.on_start(lambda: print(f"CLUSTER={middle.invite(uses=None)}", flush=True))
        middle.serve_forever()
    elif "CLUSTER" not in os.environ:
        sys.exit("set CLUSTER to what the hub has printed")
    else:
        with closing(Clustered(os.environ["CLUSTER"])) as cluster:
            build(options.port, "required", cluster).serve_forever()


if __name__ == "__main__":
    main()
