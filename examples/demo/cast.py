"""Who takes part in the demonstration: a server, three players, and a relay in front of each of them."""

from __future__ import annotations

import random
import threading

from securelink.invite import Invite
from securelink.keys import PublicKey
from securelink.testing.relay import Relay

from .puppet import Report
from .report import Reporter
from .server import APPLICATION
from .stage import WAIT, Puppet, Stage

# Six letters at least: shorter names could turn up in random bytes.
PLAYERS = ("annika", "bogdan", "celeste")
FIRST, SECOND, THIRD = PLAYERS

_PLACES = ("mill", "pier", "barn", "oaks", "well")  # of one length, for the one who rewrites
_HOURS = ("seven", "eight", "nine", "ten", "eleven")
_ACTIONS = (
    "make-a-step",
    "say-to-all",
    "somebody-moved",
    "somebody-said",
    "a-new-round",
)


class Cast:
    """
    Everybody, and what they know.

    Attributes:
        server: The process of the server.
        port: Its port.
        fingerprint: Of its key.
        players: The processes of the players, by name.
        relays: What is between each player and the server.
        tokens: The join tokens of the players.
        sessions: The tokens of all sessions there were, by player.
        place: A word of the text that is said.
        text: What is said.
    """

    def __init__(self, stage: Stage, report: Reporter, seed: int) -> None:
        self.stage = stage
        self.report = report
        self.random = random.Random(seed)  # a game, no secret
        self.server: Puppet
        self.port = 0
        self.fingerprint = ""
        self.players: dict[str, Puppet] = {}
        self.relays: dict[str, Relay] = {}
        self.tokens: dict[str, str] = {}
        self.sessions: dict[str, list[str]] = {name: [] for name in PLAYERS}
        self.place, self.other_place = self.random.sample(_PLACES, 2)
        hour = self.random.choice(_HOURS)
        self.text = (
            f"meet me behind the old {self.place} at half past {hour}, "
            "bring the map of the harbour and tell nobody"
        )

    def start_server(self) -> None:
        """Start the server process, on the port it had before if it had one."""
        self.server = self.stage.serve("server", port=self.port)
        ready = self.server.expect("ready")
        self.port, self.fingerprint = ready["port"], ready["fingerprint"]

    def make_token(self, server: Puppet, user: str) -> str:
        """A join token of a server."""
        server.order(do="token", user=user, uses=10)
        return str(server.expect("token")["token"])

    def invite(self, name: str) -> str:
        """The player's link to the server, which goes through the relay as every way does."""
        relay = self.relays[name]
        return str(Invite("127.0.0.1", relay.port, self.fingerprint, self.tokens[name]))

    def set_out(self, name: str, *, retry: bool = False) -> None:
        """Let a player connect: the second by address and on first use, the others by invite."""
        if name == SECOND:
            self.dial(name, token=self.tokens[name], retry=retry)
        else:
            self._connect(name, host=self.invite(name), port=None, token=None, retry=retry)

    def dial(
        self, name: str, *, token: str, encryption: str = "required", retry: bool = False
    ) -> None:
        """Let a player connect to the address of its relay."""
        port = self.relays[name].port
        self._connect(
            name, host="127.0.0.1", port=port, token=token, encryption=encryption, retry=retry
        )

    def _connect(
        self,
        name: str,
        *,
        host: str,
        port: int | None,
        token: str | None,
        encryption: str = "required",
        retry: bool = False,
    ) -> None:
        self.players[name].order(
            do="connect",
            host=host,
            port=port,
            token=token,
            encryption=encryption,
            retry=retry,
            timeout=WAIT,
        )

    def arrived(self, name: str, server: Puppet | None = None) -> Report:
        """Both sides say that the player is in: what the server says of it."""
        connected = self.players[name].expect("connected")
        joined = (server or self.server).expect("joined", user=name)
        self.sessions[name].append(connected["token"])
        return connected | {
            "seen_by_server": joined["token"],
            "key": joined["fingerprint"],
            "encrypted": connected["encrypted"] and joined["encrypted"],
        }

    def say(self, speaker: str, *hearers: str) -> list[Report]:
        """Let a player say the text; what the hearers got."""
        self.players[speaker].order(do="send", action="say-to-all", data=self.text)
        return [self.hear(name) for name in hearers]

    def hear(self, name: str) -> Report:
        """What a player hears next."""
        return self.players[name].expect("got", action="somebody-said")

    def own_key(self, name: str) -> PublicKey:
        """The public key in a folder of ours."""
        who = "server" if name == "server" else "client"
        return PublicKey.load(self.stage.folder / name / "keys" / f"{who}_public.pem")

    def secrets(self) -> dict[str, str | bytes]:
        """All that nobody in the middle should read."""
        found: dict[str, str | bytes] = {f"the action {name}": name for name in _ACTIONS}
        found["the text"] = self.text
        found["the application"] = APPLICATION
        found["the address dialled"] = "127.0.0.1"
        for name in PLAYERS:
            found[f"the name {name}"] = name
            found[f"the join token of {name}"] = self.tokens[name]
            found[f"the key of {name}"] = self.own_key(name).spki
            for number, token in enumerate(self.sessions[name], 1):
                found[f"session token {number} of {name}"] = token
        found["the key of the server"] = self.own_key("server").spki
        return found


def threads_left() -> list[str]:
    """Threads of relays and processes that have not ended."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith(("relay ", "reports of "))]
