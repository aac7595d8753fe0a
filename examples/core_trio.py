"""
A client and a server in trio, around the core of the library: with sockets, and without one of its threads.

    pip install trio
    python examples/core_trio.py

A shell (core_trio_end.py) moves bytes, calls when a deadline has come, and decides what events of the handshake ask.
Resuming, handlers and bounds are what `securelink.Server` does beyond that: docs/DESIGN.md, "Layers" and "Resume".
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import trio
from core_trio_end import End

from securelink import Code, Identity, NotTrusted, protocol
from securelink.wire.fields import Mode
from securelink.wire.messages import Wanted


async def attend(key: Identity, stream: trio.SocketStream) -> None:
    """The server's side of a connection: it adds numbers up."""
    deadline = trio.current_time() + 10.0
    connection = protocol.ServerConnection(Mode.REQUIRED, Wanted.WELCOME, deadline=deadline)
    async with stream:
        end = End(stream, connection, key)
        with suppress(trio.BrokenResourceError):  # it has hung up
            async for packet in end.packets():
                await end.send("sum", sum(packet.data))


async def visit(port: int, pin: str) -> None:
    """The client's: two sums, then goodbye."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    deadline = trio.current_time() + 10.0
    connection = protocol.ClientConnection(Mode.REQUIRED, max_packet=2**24 - 1, deadline=deadline)
    async with stream:
        end = End(stream, connection, pin)
        await end.send("add", [1, 2, 3])  # waits in the session until the handshake is done
        await end.send("add", [4, 5, 6])
        sums = 0
        async for packet in end.packets():
            print(packet.action, packet.data)
            sums += 1
            if sums == 2:
                connection.close(Code.NORMAL, now=trio.current_time())


async def main() -> None:
    """Both, over the loopback network."""
    key = await trio.to_thread.run_sync(Identity.generate)
    async with trio.open_nursery() as nursery:
        listen = partial(trio.serve_tcp, partial(attend, key), 0, host="127.0.0.1")
        (listener,) = await nursery.start(listen)
        port = listener.socket.getsockname()[1]
        await visit(port, key.fingerprint)
        try:
            await visit(port, Identity.generate(2048).fingerprint)
        except NotTrusted as error:
            print("refused:", error)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
