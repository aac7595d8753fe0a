"""The server process of the demonstration: a small game. Started by `stage.py`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from securelink.app.received import Received
from securelink.auth import Hello, JoinTokens
from securelink.server import Server
from securelink.session import Session

from .puppet import Report, ReportErrors, orders, report

APPLICATION = "securelink-demonstration"
PURSE = 100  # gold of a new player


class Game:
    """
    Players on a board, who talk and pay.

    Args:
        setup: The first order: `keys`, `state`, `port`, `encryption`.
    """

    def __init__(self, setup: Report) -> None:
        self._tokens = JoinTokens(Path(setup["keys"]) / "join_tokens.json")
        self.server = Server(
            "127.0.0.1",
            setup["port"],
            keys=setup["keys"],
            state=setup["state"],
            encryption=setup["encryption"],
            authenticate=self._admit,
            application=APPLICATION,
        )
        self.server.on_connect.add_listener(self._came)
        self.server.on_disconnect.add_listener(self._went)
        self.server.on("make-a-step", self._step)
        self.server.on("say-to-all", self._say)
        self.server.on("pay-the-ferryman", self._pay)

    def _admit(self, hello: Hello) -> str:
        report("asked", address=hello.address[0])
        return self._tokens(hello)

    def _came(self, session: Session) -> None:
        session.data.update(x=0, y=0, gold=PURSE)
        report(
            "joined",
            user=session.user,
            token=session.token,
            fingerprint=session.fingerprint,
            encrypted=session.encrypted,
        )

    def _went(self, session: Session) -> None:
        report("left", user=session.user, gold=session.data["gold"])

    def _step(self, session: Session, packet: Received) -> None:
        session.data["x"] += packet.data["dx"]
        session.data["y"] += packet.data["dy"]
        where = {"who": session.user, "x": session.data["x"], "y": session.data["y"]}
        self.server.broadcast("somebody-moved", where)

    def _say(self, session: Session, packet: Received) -> None:
        said = {"who": session.user, "text": packet.data}
        self.server.broadcast("somebody-said", said, exclude=[session])

    def _pay(self, session: Session, packet: Received) -> None:
        session.data["gold"] -= packet.data["gold"]
        report("paid", user=session.user, left=session.data["gold"])

    # Orders.

    def obey(self, order: Report) -> None:
        """Do what the parent wants."""
        match order["do"]:
            case "token":
                token = self._tokens.create(order["user"], uses=order["uses"])
                report("token", token=token)
            case "broadcast":
                report("broadcast", count=self.server.broadcast(order["action"], order["data"]))
            case "kick":
                for session in self._sessions_of(order["user"]):
                    session.kick(order["reason"])

    def _sessions_of(self, user: Any) -> list[Session]:
        return [session for session in self.server.sessions.values() if session.user == user]


def main() -> None:
    """Obey until the orders end."""
    logging.getLogger("securelink").addHandler(ReportErrors())
    waiting = orders()
    game = Game(next(waiting))
    with game.server as server:
        report("ready", port=server.address[1], fingerprint=server.fingerprint)
        for order in waiting:
            game.obey(order)


if __name__ == "__main__":
    main()
