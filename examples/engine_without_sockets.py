"""
The protocol without sockets, threads or a clock: bytes and the time go in, events, bytes and deadlines come out.

    python examples/engine_without_sockets.py

Both ends run in this one script, "the network" is a function that hands bytes over, and the clock is a number. So a
whole day passes in seconds: bursts of packets and quiet hours, requests, heartbeats, acknowledgements, a new key every
hour, and at last a cable that is pulled. The same objects can be put on anything that moves bytes in order: a serial
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
    Opened,
    ServerConnection,
    ServerVerified,
    SessionCore,
    Silent,
)
from securelink.protocol.bounds import Bounds
from securelink.wire.fields import Mode
from securelink.wire.messages import Wanted
from securelink.wire.packets import Packet, encode_packet, encode_value

HEARTBEAT = 20.0
DAY = 86_400.0


class Question:
    """Waits for a reply."""

    number = 0
    reply: Packet | None = None

    def answered(self, packet: Packet | None) -> None:
        """The reply is there."""
        self.reply = packet

    def over(self) -> None:
        """The session has ended: there will be none."""


class End:
    """
    What every shell does around a session, and nothing else: move bytes, tell the time, look at events and packets.

    Args:
        name: For the output.
        connection: Either role.
    """

    def __init__(self, name: str, connection: Connection) -> None:
        self.name = name
        self.connection = connection
        self.session = SessionCore(Bounds())
        self.session.attach(connection)
        self.packets: list[Packet] = []
        self.events: list[Event] = []
        self.over = False

    def send(self, action: str, data: object) -> None:
        """One packet: it waits in the session until its bytes are taken."""
        self.session.sending.put(encode_packet(Packet(action, data)))

    def ask(self, action: str) -> Question:
        """A request."""
        question = Question()
        packet = Packet(action, id=self.session.requests.expect(question))
        self.session.sending.put(encode_packet(packet))
        return question

    def look(self, events: list[Event]) -> None:
        """At what happened; then at the packets that came."""
        for event in events:
            match event:
                case Silent(seconds):
                    print(f"{self.name}: nothing heard for {seconds:.0f} s")
                    self.over = True
                case Closed(code, text):
                    print(f"{self.name}: closed: {text or code_text(code)}")
                    self.over = True
                case Expired():
                    self.over = True  # here a shell would close its socket
                case _:
                    self.events.append(event)
        arrived = self.session.receiving
        while arrived.items:
            record = arrived.items.popleft()
            assert isinstance(record, bytes | memoryview)
            for packet in arrived.open(record):
                self.packets.append(packet)
                if packet.id is not None:  # a request
                    answer = Packet(packet.action, len(self.packets), reply_to=packet.id)
                    self.session.sending.put(encode_packet(answer))


class World:
    """Two ends, the bytes between them, and a time that only moves forward."""

    def __init__(self) -> None:
        self.now = 0.0
        self.cut = False  # whether the cable is pulled
        self.bytes = 0
        self._identity = Identity.generate(2048)
        self._server = ServerConnection(Mode.REQUIRED, Wanted.WELCOME, deadline=10.0)
        self._client = ClientConnection(Mode.REQUIRED, max_packet=2**24 - 1, deadline=10.0)
        self.server = End("server", self._server)
        self.client = End("client", self._client)

    def settle(self) -> None:
        """Carry what both ends have to say until they are quiet."""
        moved = True
        while moved:
            moved = False
            for end, other in (self.client, self.server), (self.server, self.client):
                data = end.session.data_to_send()
                self.bytes += len(data)
                if data and not self.cut:
                    other.look(other.session.receive_data(data, self.now))
                moved = self._decide(end) or bool(data) or moved

    def _decide(self, end: End) -> bool:
        """The steps of the handshake that are decisions of the application; False when there were none."""
        events, end.events = end.events, []
        for event in events:
            match event:
                case HelloReceived():
                    self._server.begin_answer()  # a key exchange; its bytes may be sent at once
                    self._server.finish_answer(self._identity)  # the expensive part, for a worker
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
        ends = (self.client, self.server)
        while not (self.client.over and self.server.over):
            due = min(end.connection.next_deadline() for end in ends)
            self.now = max(self.now, min(due, until))
            for end in ends:
                if end.connection.next_deadline() <= self.now:
                    end.look(end.connection.on_deadline(self.now))
            self.settle()
            if self.now >= until:
                return


def main() -> World:
    """A handshake, a day, and a silence."""
    world = World()
    client, server = world.client, world.server
    world.settle()
    client.send("say", "hello")
    world.settle()
    print(f"server: got {server.packets[0].action!r} with {server.packets[0].data!r}")

    for hour in range(24):
        for number in range(100):  # a burst, one record each
            client.send("burst", number)
            world.settle()
        for minute in range(0, 60, 10):  # and something now and then
            world.wait(hour * 3600.0 + minute * 60.0)
            question = client.ask("how many")
            world.settle()
            assert question.reply is not None
            assert question.reply.data == len(server.packets)
    world.wait(DAY)
    sent = client.session.numbering.outgoing
    updates = server.connection.key_updates, client.connection.key_updates
    print(f"a day: {len(server.packets):,} packets, {sent.sent - sent.acknowledged} unconfirmed")
    print(f"new keys: {updates[0]} of the client, {updates[1]} of the server")
    print(f"{server.connection.controls:,} control records of the client, {world.bytes:,} bytes")

    world.cut = True  # somebody pulls the cable; nobody says goodbye
    world.wait(2 * DAY)
    print(f"it took {world.now - DAY:.0f} s to notice")
    return world


if __name__ == "__main__":
    main()
