"""
The protocol engine without sockets, threads or a clock: bytes in, events out, bytes out.

    python examples/engine_without_sockets.py

Both ends run in this one script, and "the network" is a function that hands bytes over. The same engines can be put on
anything that moves bytes in order: a serial line, a WebSocket, a pipe, a test.
"""

from __future__ import annotations

import uuid

from securelink.codes import Code
from securelink.keys import Identity
from securelink.protocol import (
    AuthReceived,
    ClientConnection,
    Closed,
    Connection,
    HelloReceived,
    Opened,
    ServerConnection,
    ServerVerified,
)
from securelink.wire.fields import Mode
from securelink.wire.messages import Wanted
from securelink.wire.packets import Packet, decode_packets, encode_packet, encode_value

seconds = iter(range(1_000_000))  # engines ask for the time only when the peer changes its key


def clock() -> float:
    """Any clock that does not go backwards."""
    return float(next(seconds))


identity = Identity.generate(2048)
server = ServerConnection(Mode.REQUIRED, Wanted.WELCOME, clock=clock)
client = ClientConnection(Mode.REQUIRED, clock=clock, max_packet=2**24 - 1)


def carry(data: bytes, engine: Connection, name: str) -> None:
    """The network: bytes arrive at an engine, and what it reports is answered."""
    for item in engine.receive_data(data):
        match item:
            case HelloReceived():
                server.begin_answer()  # a key exchange; over a network its bytes are sent at once
                server.finish_answer(identity)  # the expensive part: a signature
            case AuthReceived():
                verified = server.verify_client()
                print(f"server: a client dialled {verified.dialled!r}")
                server.welcome(verified, uuid.uuid4().bytes, max_packet=64 * 1024, heartbeat=20.0)
            case ServerVerified(proof):
                print(f"client: the server has proved its key {proof.key.fingerprint[:20]}...")
                client.authenticate(
                    proof,
                    identity=None,
                    dialled="nowhere in particular",
                    application="",
                    version="",
                    credentials=encode_value(None),
                )
            case Opened(welcome):
                print(f"client: session {uuid.UUID(bytes=welcome.token)}")
            case Closed(code, text):
                print(f"{name}: closed with code {code}, {text!r}")
            case bytes() | memoryview():
                for packet in decode_packets(item):
                    print(f"{name}: got {packet.action!r} with {packet.data!r}")


def main() -> None:
    """A handshake, a packet each way, and a farewell."""
    while (to_server := client.data_to_send()) or (to_client := server.data_to_send()):
        if to_server:
            carry(to_server, server, "server")
        else:
            carry(to_client, client, "client")
    assert client.sender is not None
    assert server.sender is not None
    sealed = client.sender.packets([encode_packet(Packet("say", "hello"))])
    print(f"on the wire: {sealed.hex()}")
    carry(sealed, server, "server")
    carry(server.sender.packets([encode_packet(Packet("said", "hello"))]), client, "client")
    carry(client.sender.close(Code.NORMAL, "bye"), server, "server")


if __name__ == "__main__":
    main()
