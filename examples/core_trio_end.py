"""One end of a session in trio, around the core of the library: imported by core_trio.py."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import trio

from securelink import Code, NotTrusted, protocol
from securelink.protocol.bounds import Bounds
from securelink.wire.packets import Packet, encode_packet, encode_value

SAYS: Any = {"dialled": "here", "application": "", "version": "", "credentials": encode_value(None)}
ROOM = 64 * 1024


class End:
    """One end of a session, on a stream of trio. `key`: a server's own; a client's pin of its server."""

    def __init__(self, stream: trio.abc.Stream, connection: Any, key: Any) -> None:
        self.stream, self.connection, self.key = stream, connection, key
        self.session = protocol.SessionCore(Bounds())
        self.session.attach(connection)
        self.writing, self.over = trio.Lock(), False

    async def flush(self) -> None:
        """Write what there is to be said, in its order; waits while the peer takes nothing."""
        async with self.writing:
            while data := self.session.data_to_send():
                await self.stream.send_all(data)

    async def send(self, action: str, data: Any = None) -> None:
        """Send a packet."""
        self.session.sending.put(encode_packet(Packet(action, data)))
        await self.flush()

    async def packets(self) -> AsyncIterator[Packet]:
        """What the peer sends, until it is gone."""
        await self.flush()
        while not self.over:
            data = None
            with trio.move_on_at(self.connection.next_deadline()):
                data = await self.stream.receive_some(ROOM)
            now = trio.current_time()
            self.over = data == b""
            due = self.connection.on_deadline(now) if data is None else []
            for event in due or (self.session.receive_data(data, now) if data else []):
                await self.decide(event)
            while self.session.receiving.items:
                for packet in self.session.receiving.take():
                    yield packet
            await self.flush()

    async def decide(self, event: protocol.Event) -> None:
        """What the core leaves to its shell."""
        match event:
            case protocol.HelloReceived():
                self.connection.begin_answer()
                await trio.to_thread.run_sync(self.connection.finish_answer, self.key)  # RSA
            case protocol.AuthReceived():
                client = await trio.to_thread.run_sync(self.connection.verify_client)
                self.connection.welcome(client, uuid.uuid4().bytes, ROOM, heartbeat=20.0)
            case protocol.ServerVerified(server):
                if server.key.fingerprint != self.key:
                    await self.stream.send_all(self.connection.give_up(Code.NOT_TRUSTED))
                    raise NotTrusted("this is another server", fingerprint=server.key.fingerprint)
                self.connection.authenticate(server, identity=None, **SAYS)
            case protocol.Closed() | protocol.Ended() | protocol.Silent() | protocol.Failed():
                self.over = True
