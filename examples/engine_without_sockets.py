"""
The protocol without sockets, threads or a clock: bytes and the time go in, events, bytes and deadlines come out.

    python examples/engine_without_sockets.py

Both ends run in this one script, "the network" is a function that hands bytes over, and the clock is a number. So a
whole day passes in seconds: sessions that say little and much, heartbeats, acknowledgements, a new key every hour, and
at last a client that falls silent. The same two objects can be put on anything that moves bytes in order: a serial
line, a WebSocket, a pipe, a test.
"""

from __future__ import annotations

import uuid

from securelink.codes import code_text
from securelink.keys import Identity
from securelink.protocol import (
    AuthReceived,
    ClientConnection,
    Closed,
    Connection,
    Event,
    Expired,
    HelloReceived,
    Item,
    Opened,
    ServerConnection,
    ServerVerified,
    Silent,
)
from securelink.wire.fields import Mode
from securelink.wire.messages import Wanted
from securelink.wire.packets import Packet, decode_packets, encode_packet, encode_value

HEARTBEAT = 20.0
DAY = 86_400.0


class End:
    """
    What every shell does around a connection, and nothing else: move bytes, tell the time, look at events.

    Args:
        name: For the output.
        connection: Either role.
    """

    def __init__(self, name: str, connection: Connection) -> None:
        self.name = name
        self.connection = connection
        self.packets: list[Packet] = []
        self.events: list[Event] = []
        self.over = False

    def send(self, action: str, data: object) -> bytes:
        """Seal one packet; the connection counts it and keeps it until it is acknowledged."""
        sender = self.connection.sender
        assert sender is not None
        return sender.packets([encode_packet(Packet(action, data))])

    def take(self, items: list[Item] | list[Event]) -> None:
        """Records are decoded, events are looked at."""
        for item in items:
            match item:
                case bytes() | memoryview():
                    self.packets += decode_packets(item)
                case Silent(seconds):
                    print(f"{self.name}: nothing heard for {seconds:.0f} s")
                    self.over = True
                case Closed(code, text):
                    print(f"{self.name}: closed: {text or code_text(code)}")
                    self.over = True
                case Expired():
                    self.over = True  # here a shell would close its socket
                case _:
                    self.events.append(item)


class World:
    """Two connections, the bytes between them, and a time that only moves forward."""

    def __init__(self) -> None:
        self.now = 0.0
        self.cut = False  # whether the cable is pulled
        self.identity = Identity.generate(2048)
        self._server = ServerConnection(Mode.REQUIRED, Wanted.WELCOME, deadline=10.0)
        self._client = ClientConnection(Mode.REQUIRED, max_packet=2**24 - 1, deadline=10.0)
        self.server = End("server", self._server)
        self.client = End("client", self._client)
        self.bytes = 0

    def carry(self, sender: End, data: bytes) -> None:
        """The network: bytes arrive at the other end, unless the cable is pulled."""
        receiver = self.server if sender is self.client else self.client
        self.bytes += len(data)
        if data and not self.cut:
            receiver.take(receiver.connection.receive_data(data, self.now))

    def settle(self) -> None:
        """Carry what both ends have to say until they are quiet."""
        moved = True
        while moved:
            moved = False
            for end in (self.client, self.server):
                data = end.connection.data_to_send()
                self.carry(end, data)
                moved = self._decide(end) or bool(data) or moved

    def _decide(self, end: End) -> bool:
        """The steps of the handshake that are decisions of the application; False when there were none."""
        events, end.events = end.events, []
        for event in events:
            match event:
                case HelloReceived():
                    self._server.begin_answer()  # a key exchange; its bytes may be sent at once
                    self._server.finish_answer(self.identity)  # the expensive part, for a worker
                case AuthReceived():
                    verified = self._server.verify_client()
                    print(f"server: a client dialled {verified.dialled!r}")
                    self._server.welcome(verified, uuid.uuid4().bytes, 64 * 1024, HEARTBEAT)
                case ServerVerified(proof):
                    print(f"client: the server has proved its key {proof.key.fingerprint[:20]}...")
                    self._client.authenticate(
                        proof,
                        identity=None,
                        dialled="nowhere in particular",
                        application="",
                        version="",
                        credentials=encode_value(None),
                    )
                case Opened(welcome):
                    print(f"client: session {uuid.UUID(bytes=welcome.token)}")
        return bool(events)

    def wait(self, until: float) -> None:
        """Let the time pass, from one deadline to the next."""
        while not (self.client.over and self.server.over):
            due = min(
                self.client.connection.next_deadline(), self.server.connection.next_deadline()
            )
            self.now = max(self.now, min(due, until))
            for end in (self.client, self.server):
                if end.connection.next_deadline() <= self.now:
                    end.take(end.connection.on_deadline(self.now))
            self.settle()
            if self.now >= until:
                return


def main() -> World:
    """A handshake, a day, and a silence."""
    world = World()
    client, server = world.client, world.server
    world.settle()
    world.carry(client, client.send("say", "hello"))
    world.carry(server, server.send("said", "hello"))
    print(f"server: got {server.packets[0].action!r} with {server.packets[0].data!r}")

    for hour in range(24):
        for number in range(100):  # a burst, and a packet now and then
            world.carry(client, client.send("burst", number))
        for minute in range(0, 60, 10):
            world.wait(hour * 3600.0 + minute * 60.0)
            world.carry(client, client.send("now and then", minute))
    world.wait(DAY)
    kept = client.connection.numbering.outgoing
    print(
        f"after a day: {len(server.packets):,} packets arrived, {kept.sent - kept.acknowledged} unconfirmed"
    )
    print(
        f"new keys: {server.connection.key_updates} of the client, {client.connection.key_updates} of the server"
    )
    print(
        f"{server.connection.controls:,} control records came to the server, {world.bytes:,} bytes in all"
    )

    world.cut = True  # somebody pulls the cable; nobody says goodbye
    world.wait(2 * DAY)
    print(f"it took {world.now - DAY:.0f} s to notice")
    return world


if __name__ == "__main__":
    main()
