"""The server: events, sending, three ways to run it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from ...app.received import Received
from ...errors import SecureLinkError
from ...logs.default import show_status
from ...session import Session
from ..lines import Printer, say
from ..settings import make_server, own_words
from .networking import NetworkMessage, Result, encoded, received, send


class ClientConnection:
    """
    One client on the server.

    Attributes:
        address: Its (ip, port).
        session: securelink's `Session` of it.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.address = session.address

    def send(self, message: NetworkMessage | bytes | str) -> Result:
        """Send to this client; (True, "Message sent") or (False, why)."""
        return send(self.session, message)

    def __str__(self) -> str:
        return str(self.address)


class ServerCallback:
    """
    An event.

    Args:
        name: What it is called in the log.
        caught: Called with that name and what a listener raised.

    Attributes:
        listeners: They are called in this order; one that was added twice is called twice.
    """

    def __init__(self, name: str, caught: Callable[[str, Exception], None]) -> None:
        self.listeners: list[Callable[..., Any]] = []
        self._name, self._caught = name, caught

    def add_listener(self, listener: Callable[..., Any]) -> None:
        """Add a listener."""
        self.listeners.append(listener)

    def remove_listener(self, listener: Callable[..., Any]) -> None:
        """Remove a listener, once. Raises `ValueError` when it is none."""
        self.listeners.remove(listener)

    def invoke(self, *args: Any, **kwargs: Any) -> None:
        """Call every listener; one that raises is reported, and the others go on."""
        for listener in tuple(self.listeners):
            try:
                listener(*args, **kwargs)
            except Exception as error:
                self._caught(self._name, error)


class SimpleServer:
    """
    A server.

    Args:
        host: Address to listen on.
        port: Its port.
        verbose_logging: Show what happens, not only warnings and errors.
        use_timestamps: Begin the shown lines with the time of day.
        tick_rate: How often a second `on_update` is called.
        manual_update: `start` returns at once, and everything happens in `update`.

    Attributes:
        on_connection: Called with a client that has come.
        on_message: Called with a client and its message.
        on_disconnect: Called with a client that has gone, after its last message.
        on_update: Called in every update cycle.
    """

    def __init__(
        self, host: str, port: int, verbose_logging: bool = False, use_timestamps: bool = True,
        tick_rate: float = 120, manual_update: bool = False,
    ) -> None:  # fmt: skip
        show_status(info=False)  # this module writes its own lines
        self.host = host
        self.port = port
        self.manual_update = manual_update
        self.verbose_logging = verbose_logging
        self.use_timestamps = use_timestamps
        self._printer = Printer(say)
        self._clients: dict[Session, ClientConnection] = {}
        names = ("on_connection", "on_message", "on_disconnect", "on_update")
        events = [ServerCallback(name, self._caught) for name in names]
        self.on_connection, self.on_message, self.on_disconnect, self.on_update = events
        # "localhost" is IPv4 first, as it was. One handler at a time, as in the old loop.
        address = "127.0.0.1" if host == "localhost" else host
        self._core = core = make_server(address, port, overlap=False, tick_rate=tick_rate)
        core.on_connect.add_listener(self._connected)
        core.on_message.add_listener(self._received)
        core.on_disconnect.add_listener(self._disconnected)

    def start(self) -> None:
        """Run until `stop` or Ctrl-C; with `manual_update` only prepare, and return."""
        with own_words():
            if self.manual_update:
                self._core.update()
            else:
                self._core.start()
        self._started()
        if not self.manual_update:
            self._core.serve_forever()

    def start_async(self) -> threading.Thread:
        """Run in the background; gives the thread that lasts as long as the server."""
        with own_words():
            self._core.start()
        self._started()
        thread = threading.Thread(target=self._core.serve_forever, name="simpleserver")
        thread.start()
        return thread

    def _started(self) -> None:
        self._log(f"{self.host}:{self.port} is listening...")
        self._core.on_tick.add_listener(self.on_update.invoke)

    def update(self) -> None:
        """One cycle, in this thread: with `manual_update`."""
        if not self._core.running:
            self.start()
        self._core.update()

    def stop(self) -> None:
        """Disconnect all clients and stop. From a listener: returns at once."""
        self._core.stop()

    @property
    def stop_flag(self) -> bool:
        """Whether it does not run."""
        return not self._core.running

    def set_tick_rate(self, tick_rate: float) -> None:
        """Change the tick rate, also while the server runs."""
        self._core.tick_rate = tick_rate

    @property
    def update_frequency(self) -> float:
        """Seconds between two ticks."""
        return 1 / (self._core.tick_rate or 1)

    @property
    def clients(self) -> list[ClientConnection]:
        """The clients that are connected."""
        return list(self._clients.values())

    def get_clients(self) -> list[ClientConnection]:
        """The clients that are connected."""
        return self.clients

    def message_clients(
        self, clients: Iterable[ClientConnection], message: NetworkMessage | bytes | str
    ) -> Result:
        """
        Send to some clients, without waiting for one that does not read: too much of that ends its connection.

        Returns:
            Whether it went to all, and what to say of those to whom it did not.
        """
        sessions = [client.session for client in clients]
        try:
            with own_words():
                sent = self._core.broadcast(*encoded(message), to=sessions)
        except (SecureLinkError, TypeError, ValueError) as error:
            return False, str(error)
        if sent < len(sessions):
            return (
                False,
                f"{len(sessions) - sent} of {len(sessions)} clients have gone: their sessions are over",
            )
        return True, "Message sent"

    messsage_clients = message_clients

    def broadcast(
        self, message: NetworkMessage | bytes | str, exclusions: Iterable[ClientConnection] = ()
    ) -> Result:
        """Send to all clients except some."""
        left_out = list(exclusions)
        return self.message_clients([c for c in self.clients if c not in left_out], message)

    def _connected(self, session: Session) -> None:
        client = self._clients[session] = ClientConnection(session)
        self._log(f"New connection from {client}")
        self.on_connection.invoke(client)

    def _received(self, session: Session, packet: Received) -> None:
        message = received(packet)
        if message is None:
            self._log(f"what is no message was sent by {session.address}", "WARNING")
            return
        client = self._clients[session]
        self._log(f"Message from {client}: {message.body}")
        self.on_message.invoke(client, message)

    def _disconnected(self, session: Session) -> None:
        client = self._clients.pop(session)
        self._log(f"Client {client} disconnected")
        self.on_disconnect.invoke(client)

    def _caught(self, event: str, error: BaseException) -> None:
        self._log(f"a listener of {event} raised {error!r}", "ERROR")

    def _log(self, text: str, level: str = "DEBUG") -> None:
        """Show one line; what a peer may have put into it cannot reach the terminal."""
        if self.verbose_logging or level != "DEBUG":
            stamp = time.strftime("%H:%M:%S ") if self.use_timestamps else ""
            self._printer.show(f"[{level}] {stamp}", text)
