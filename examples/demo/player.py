"""A client process of the demonstration: a player. Started by `stage.py`."""

from __future__ import annotations

import logging
import threading

from securelink.client import Client
from securelink.errors import SecureLinkError

from .puppet import Report, ReportErrors, described, orders, report
from .server import APPLICATION


class Player:
    """
    One client at a time.

    Args:
        setup: The first order: `keys`.
    """

    def __init__(self, setup: Report) -> None:
        self._keys = setup["keys"]
        self._client: Client | None = None
        self._listener: threading.Thread | None = None

    def obey(self, order: Report) -> None:
        """Do what the parent wants."""
        match order["do"]:
            case "connect":
                self._connect(order)
            case "send":
                assert self._client is not None
                self._client.send(order["action"], order["data"])
            case "close":
                self.close()

    def _connect(self, order: Report) -> None:
        self.close()
        plain = order["encryption"] == "off"
        try:
            self._client = Client(
                order["host"],
                order["port"],
                keys=None if plain else self._keys,
                known_servers=f"{self._keys}/known_servers",
                encryption=order["encryption"],
                token=order["token"],
                application=APPLICATION,
            )
            self._client.connect(order["timeout"], retry=order["retry"])
        except SecureLinkError as error:
            report("failed", **described(error))
            return
        client = self._client
        report(
            "connected",
            token=client.token,
            encrypted=client.encrypted,
            server=client.server_fingerprint,
        )
        self._listener = threading.Thread(target=self._listen, args=(client,), daemon=True)
        self._listener.start()

    def _listen(self, client: Client) -> None:
        try:
            while True:
                packet = client.receive()
                if packet is not None:
                    report("got", action=packet.action, data=packet.data)
        except SecureLinkError as error:
            report("ended", **described(error))

    def close(self) -> None:
        """Leave, if there is a session."""
        if self._client is not None:
            self._client.close()
        if self._listener is not None:
            self._listener.join(5.0)
            self._listener = None


def main() -> None:
    """Obey until the orders end."""
    logging.getLogger("securelink").addHandler(ReportErrors())
    waiting = orders()
    player = Player(next(waiting))
    for order in waiting:
        player.obey(order)
    player.close()


if __name__ == "__main__":
    main()
