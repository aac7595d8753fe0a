"""
The sides of a soak with asyncio: a server, which is this program, and clients that the event loop of a thread has.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from securelink import Identity, aio
from securelink.limits import HEARTBEAT_SECONDS

from .soak import tell
from .ways import Way


class InLoop:
    """
    A client of asyncio with the methods that `Talker` calls: each is run by another thread's event loop.

    Args:
        loop: Of that thread.
        arguments, options: Those of the client.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *arguments: Any, **options: Any) -> None:
        self._loop = loop
        self._client = aio.Client(*arguments, **options)
        self.on, self.on_disconnect = self._client.on, self._client.on_disconnect

    @property
    def carrier(self) -> Any:
        """What connects it."""
        return self._client.carrier

    @carrier.setter
    def carrier(self, carrier: Any) -> None:
        self._client.carrier = carrier

    def connect(self, timeout: float, *, retry: bool) -> None:
        """As `Client.connect`."""
        self._run(self._client.connect(timeout, retry=retry))

    def send(self, action: str, data: Any, *, timeout: float | None) -> None:
        """As `Client.send`."""
        self._run(self._client.send(action, data, timeout=timeout))

    def request(self, action: str, *, timeout: float) -> Any:
        """As `Client.request`."""
        return self._run(self._client.request(action, timeout=timeout))

    def close(self, timeout: float) -> Any:
        """As `Client.close`."""
        return self._run(self._client.close(timeout))

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def clients() -> Callable[..., InLoop]:
    """What makes clients, all in the event loop of one thread, which ends with the process."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="asyncio clients", daemon=True).start()

    def make(*arguments: Any, **options: Any) -> InLoop:
        return InLoop(loop, *arguments, **options)

    return make


async def serve(host: str, heartbeat: float) -> None:
    """As `soak.serve`."""
    server = aio.Server(host, 0, keys=Identity.generate(), resume=300, heartbeat=heartbeat)

    def talk(session: Any) -> tuple[Way, Way, random.Random]:
        ways: tuple[Way, Way, random.Random] = session.data.setdefault(
            "talk", (Way(), Way(), random.Random(1))
        )
        return ways

    @server.on("say")
    async def say(session: Any, packet: Any) -> None:
        up, down, dice = talk(session)
        up.take(packet.data)
        await asyncio.sleep(0)  # others have a turn, and nothing of this session overtakes it
        await session.send("told", down.next_data(dice))

    @server.on("count")
    def count(session: Any, packet: Any) -> dict[str, Any]:
        up, down, _ = talk(session)
        return {"seen": up.seen, "sent": down.sent, "wrong": up.wrong[:10]}

    async with server:
        print(server.address[1], server.fingerprint, flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            tell(len(server.sessions))


if __name__ == "__main__":
    logging.getLogger("securelink").setLevel(logging.ERROR)
    asyncio.run(serve("127.0.0.1", HEARTBEAT_SECONDS))
