"""
The protocol without sockets, threads or a clock: bytes and the time go in, events, bytes and deadlines come out.

    python examples/engine_without_sockets.py

"The network" is a function that hands bytes over, and the clock is a number, so a whole day passes in seconds: packets,
heartbeats, acknowledgements, a new key every hour, and at last a cable that is pulled.
"""

from __future__ import annotations

import uuid
from typing import Any

from securelink import Identity, protocol
from securelink.protocol.bounds import Bounds
from securelink.wire.fields import Mode
from securelink.wire.messages import Wanted
from securelink.wire.packets import Packet, encode_packet, encode_value

DAY = 86_400.0
SAYS: Any = {"dialled": "here", "application": "", "version": "", "credentials": encode_value(None)}


class World:
    """Two sessions, their connections, the bytes between them, and a time that only moves forward."""

    def __init__(self) -> None:
        self.now, self.cut, self.over = 0.0, False, 0
        self.packets: list[Packet] = []  # that came to the server
        self.identity = Identity.generate(2048)
        self.server = protocol.ServerConnection(Mode.REQUIRED, Wanted.WELCOME, deadline=10.0)
        self.client = protocol.ClientConnection(Mode.REQUIRED, max_packet=2**24 - 1, deadline=10.0)
        self.ends = {one: protocol.SessionCore(Bounds()) for one in (self.client, self.server)}
        for one, session in self.ends.items():
            session.attach(one)

    def settle(self) -> None:
        """The network: carry what both ends have to say until they are quiet."""
        client, server = self.ends.values()
        while any(sent := (client.data_to_send(), server.data_to_send())):
            for data, receiver in zip(sent, (server, client), strict=True):
                if data and not self.cut:
                    self.decide(receiver.receive_data(data, self.now))
        while server.receiving.items:
            self.packets += server.receiving.take()

    def decide(self, events: list[protocol.Event]) -> None:
        """What a connection leaves to its application."""
        for event in events:
            match event:
                case protocol.HelloReceived():
                    self.server.begin_answer()  # a key exchange; its bytes may be sent at once
                    self.server.finish_answer(self.identity)  # a signature: for a worker
                case protocol.AuthReceived():
                    client = self.server.verify_client()
                    self.server.welcome(client, uuid.uuid4().bytes, 64 * 1024, heartbeat=20.0)
                case protocol.ServerVerified(server):
                    self.client.authenticate(server, identity=None, **SAYS)
                case protocol.Silent(seconds):
                    self.over += 1
                    print(f"nothing heard for {seconds:.0f} s")

    def wait(self, until: float) -> None:
        """Let the time pass, from one deadline to the next."""
        while self.now < until and self.over < 2:
            self.now = min(until, *(connection.next_deadline() for connection in self.ends))
            for connection in self.ends:
                self.decide(connection.on_deadline(self.now))
            self.settle()


def main() -> World:
    """A handshake, a day with a packet every minute, and a silence."""
    world = World()
    while world.now < DAY:
        world.ends[world.client].sending.put(encode_packet(Packet("say", "hello")))
        world.settle()
        world.wait(world.now + 60.0)
    sent = world.ends[world.client].numbering.outgoing
    print(f"{len(world.packets):,} packets, {sent.sent - sent.acknowledged} unconfirmed")
    print(f"new keys: {world.server.key_updates} + {world.client.key_updates}")
    world.cut = True  # somebody pulls the cable; nobody says goodbye
    world.wait(2 * DAY)
    print(f"it took {world.now - DAY:.0f} s to notice")
    return world


if __name__ == "__main__":
    main()
