"""What the server and the load process of one run are told, and what they talk about."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"

#: The packet of all workloads but bulk. Each peer encodes it the way its users do.
DATA: dict[str, Any] = {"x": 1.25, "y": -3.5, "hp": 97, "name": "player-17"}
PACKET: dict[str, Any] = {"action": "move", "data": DATA}
CHUNK = 64 * 1024  # bytes of a packet of the bulk workload

# What servers are asked to do:
#   move              echo it
#   cast {times}      send that many moves to everybody, the sender included
#   bulk {bytes}      count so many bytes of blobs, then answer with a bulk packet
#   audience {size}   answer when so many receive casts, where receivers are connections of their own
#   compute {seconds} compute without a pause in the handler, then echo
#   sleep {seconds}   sleep in the handler, then echo


def command(action: str, **data: Any) -> dict[str, Any]:
    """A packet that asks the server for something."""
    return {"action": action, "data": data}


@dataclass(frozen=True)
class Target:
    """
    One run, as both processes see it.

    Attributes:
        module: Module below `benchmarks.peers`.
        style: Style of its clients: "blocking", "coroutines" or "callbacks".
        folder: Keys and certificates, see credentials.py.
        token: The bearer token that the server demands.
        options: Variations of one adapter: identity, encryption, uvloop.
        server: What the server said when it was ready; `pid` is added by the harness.
    """

    module: str
    style: str
    folder: str
    token: str
    options: dict[str, Any] = field(default_factory=dict)
    server: dict[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """ "ecdsa", "rsa" or "mutual" (RSA on both sides)."""
        return str(self.options.get("identity", "ecdsa"))

    @property
    def port(self) -> int:
        """Where the server listens."""
        return int(self.server["port"])

    def path(self, name: str) -> Path:
        """A file of the folder."""
        return Path(self.folder) / name

    def with_server(self, info: dict[str, Any]) -> Target:
        """The same, and what the server said."""
        return replace(self, server=info)

    def to_json(self) -> str:
        """For a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Target:
        """Back from a command line."""
        return cls(**json.loads(text))
