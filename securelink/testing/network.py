"""Servers and clients that connect in memory."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..client import Client
from ..errors import ConfigError
from ..limits import MEMORY_STREAM_BYTES
from ..server import Server
from ..streams.base import Carrier
from ..streams.memory import HOST, MemoryNetwork
from .relay import Relay

TIMEOUT = 30.0  # seconds: working code never takes this long, even on a busy machine


class Network:
    """
    A network in memory, with its servers, clients and relays. Leaving the block closes and stops them.

        with Network() as network:
            network.serve(server)
            relay = network.relay(server)
            ada, bert = network.client(relay), network.client(server)
            relay.cut()

    Handshake, encryption, threads and bounds are the same as over TCP; only the bytes are carried differently. A
    server is reached at its own port, which exists in this network only: any number of tests may use the same port.

    Args:
        capacity: Bytes that each direction of a connection holds before its sender has to wait.
        timeout: Seconds after which connecting, closing and stopping give up.

    Attributes:
        carrier: For a client that the tested program has made: `client.carrier = network.carrier`; it also needs
            `known_servers=network.known_servers`.
    """

    def __init__(self, *, capacity: int = MEMORY_STREAM_BYTES, timeout: float = TIMEOUT) -> None:
        self.carrier: Carrier = MemoryNetwork(capacity)
        self._timeout = timeout
        # servers that were started here, and their previous carriers
        self._servers: dict[Server, Carrier] = {}
        self._relays: dict[Relay, Server] = {}
        self._clients: list[Client] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def known_servers(self) -> Path:
        """
        A file for the servers that clients of this network meet, removed by `close()`. `client()` gives it to its
        clients: what a user's own file says about this address is about another server. A client that the tested
        program has made needs it as an option.
        """
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="securelink-testing-")
        return Path(self._folder.name) / "known_servers"

    def serve(self, server: Server) -> Server:
        """
        Start a server on this network. It listens nowhere else until it is stopped.

        Raises:
            ConfigError: It runs already.
        """
        if server.running:
            raise ConfigError(
                "the server is running already, and listens elsewhere",
                hint="let the network start it: do not call start() before",
            )
        before, server.carrier = server.carrier, self.carrier
        try:
            server.start()
        except BaseException:
            server.carrier = before
            raise
        self._servers[server] = before
        return server

    def relay(self, server: Server) -> Relay:
        """Put a relay in front of a server; a client reaches the server through it by `client(relay)`."""
        relay = Relay(HOST, server.address[1], carrier=self.carrier).start()
        self._relays[relay] = server
        return relay

    def client(self, to: Server | Relay, *, connect: bool = True, **options: Any) -> Client:
        """
        A client of a server, or of the server behind a relay.

        Args:
            to: The server or the relay.
            connect: False returns it unconnected, so that handlers can be bound first; then call its `connect()`.
            options: Options of `Client`. By default it trusts only the server's key, uses plaintext if the server
                does, and knows no servers but those of this network (`known_servers`).

        Raises:
            SecureLinkError: As `Client.connect`.
        """
        server = self._relays[to] if isinstance(to, Relay) else to
        port = to.port if isinstance(to, Relay) else to.address[1]
        fingerprint = server.fingerprint
        if fingerprint is None:
            options.setdefault("encryption", "off")
        elif options.get("encryption", "required") == "required" and not (
            options.keys() & {"pin", "trust", "known_servers"}
        ):
            options["pin"] = fingerprint
        options.setdefault("known_servers", self.known_servers)
        client = Client(HOST, port, **options)
        client.carrier = self.carrier
        self._clients.append(client)
        if connect:
            client.connect(self._timeout)
        return client

    def close(self) -> None:
        """Close clients and relays and stop the servers that were started here. May be called again."""
        with contextlib.ExitStack() as stack:  # all of them, even if one fails
            if self._folder is not None:
                stack.callback(self._folder.cleanup)
            for server, before in self._servers.items():
                stack.callback(setattr, server, "carrier", before)
                stack.callback(server.stop, timeout=self._timeout)
            for relay in self._relays:
                stack.callback(relay.stop)
            for client in self._clients:
                stack.callback(client.close, self._timeout)
            self._clients, self._relays, self._servers, self._folder = [], {}, {}, None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


@contextlib.contextmanager
def connected(server: Server, *, timeout: float = TIMEOUT, **options: Any) -> Iterator[Client]:
    """
    Start a server without a port, connect a client, and end both afterwards.

        with connected(make_server()) as client:
            client.send("say", "hello")

    Args:
        server: Not running.
        timeout: Seconds after which connecting, closing and stopping give up.
        options: Options of `Client`, see `Network.client`.

    Raises:
        ConfigError: The server runs already.
        SecureLinkError: As `Client.connect`.
    """
    with Network(timeout=timeout) as network:
        yield network.client(network.serve(server), **options)
