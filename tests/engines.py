"""
Two engines joined by a link that is no network: it records every byte and can change what it carries.

    pair = Pair(identity)
    pair.run()                      # the whole handshake
    pair.until("client", State.WAIT_AUTH)   # or only so far
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

from inside import handshake_of, sealer_of

from securelink import crypto
from securelink.errors import SecureLinkError
from securelink.keys import Identity
from securelink.limits import MAX_FRAME_BODY, MAX_PACKET
from securelink.protocol import (
    AuthReceived,
    ClientConnection,
    Connection,
    Failed,
    HelloReceived,
    Item,
    PlaintextChosen,
    Sender,
    ServerConnection,
    ServerVerified,
    State,
    VerifiedClient,
)
from securelink.protocol.records import PlainSender, Sealer
from securelink.wire.fields import Mode
from securelink.wire.messages import Wanted
from securelink.wire.packets import Packet, decode_packets, encode_packet, encode_value

Role = Literal["client", "server"]
Tamper = Callable[[Role, int, bytes], bytes]

TOKEN = bytes.fromhex("0123456789ab4def8123456789abcdef")  # a uuid4, as far as its bits tell
NOTHING = encode_value(None)


def other(role: Role) -> Role:
    """The role across."""
    return "server" if role == "client" else "client"


def split_frames(stream: bytes) -> list[bytes]:
    """Cut a stream of whole frames."""
    frames = []
    while stream:
        end = 4 + int.from_bytes(stream[1:4])
        assert len(stream) >= end, "the stream ends inside a frame"
        frames.append(stream[:end])
        stream = stream[end:]
    return frames


def plain_items(items: list[Item]) -> list[Item]:
    """Items as they compare: a view of bytes becomes bytes."""
    return [bytes(item) if isinstance(item, memoryview) else item for item in items]


def packets(*actions: str, data: Any = None) -> list[bytes]:
    """Encoded packets with these actions."""
    return [encode_packet(Packet(action, data)) for action in actions]


class Pair:
    """
    A client engine, a server engine and the link between them.

    Args:
        identity: The server's key.
        client_mode: Encryption policy of the client.
        server_mode: Encryption policy of the server.
        wanted: What the server says about client keys.
        client_identity: The client's key, or None.
        refusal: Code and text with which the server turns the client away.
        max_packet: Limit of a frame body after WELCOME.
        wait_for_sign: Of `ServerConnection.welcome`.
        heartbeat: What the server proposes, in seconds.
        tamper: Called with the sender's role, the number of the frame in that direction and the frame; what it
            returns arrives instead.
        options: Of `ClientConnection.authenticate`.

    Attributes:
        sent: All bytes that each role sent, before tampering.
        items: All that each engine reported.
        errors: What the server's steps raised.
        verified: What the server knows of the client.
        now: The time that both engines are told.
    """

    def __init__(
        self,
        identity: Identity | None,
        *,
        client_mode: Mode = Mode.REQUIRED,
        server_mode: Mode = Mode.REQUIRED,
        wanted: int = Wanted.WELCOME,
        client_identity: Identity | None = None,
        refusal: tuple[int, str] | None = None,
        max_packet: int = MAX_PACKET,
        client_max_packet: int = MAX_FRAME_BODY,
        wait_for_sign: bool = False,
        heartbeat: float = 20.0,
        tamper: Tamper | None = None,
        client_random: crypto.Random = os.urandom,
        server_random: crypto.Random = os.urandom,
        **options: Any,
    ) -> None:
        self.now = 0.0
        self.client = ClientConnection(
            client_mode,
            max_packet=client_max_packet,
            random=client_random,
        )
        self.server = ServerConnection(server_mode, wanted, random=server_random)
        self.sent: dict[Role, bytearray] = {"client": bytearray(), "server": bytearray()}
        self.items: dict[Role, list[Item]] = {"client": [], "server": []}
        self.errors: list[SecureLinkError] = []
        self.verified: VerifiedClient | None = None
        self._identity = identity
        self._client_identity = client_identity
        self._refusal = refusal
        self._max_packet = max_packet
        self._wait_for_sign = wait_for_sign
        self._heartbeat = heartbeat
        self._tamper = tamper
        self._options = {
            "dialled": "localhost", "application": "", "version": "", "credentials": NOTHING
        } | options  # fmt: skip
        self._count = {"client": 0, "server": 0}
        self._queue: deque[tuple[Role, bytes]] = deque()
        self._todo: deque[tuple[Role, Item]] = deque()
        self._collect()

    def engine(self, role: Role) -> Connection:
        """The engine in that role."""
        return self.client if role == "client" else self.server

    def sender(self, role: Role) -> Sender:
        """The sending half of an open engine."""
        sender = self.engine(role).sender
        assert sender is not None
        return sender

    # What happens.

    def run(self) -> Pair:
        """Go on until nothing is under way, and nobody has anything to say."""
        self._collect()
        while self.step():
            pass
        return self

    def until(self, role: Role, state: State) -> Pair:
        """Go on until an engine is in that state."""
        while self.engine(role).state is not state:
            if not self.step():  # no `assert`: the step is to be taken under `python -O` too
                raise AssertionError(f"the {role} never came to {state}")
        return self

    def step(self) -> bool:
        """Let one event be answered, or else one frame arrive; False when there is neither."""
        if self._todo:
            self._react(*self._todo.popleft())
        elif self._queue:
            role, frame = self._queue.popleft()
            number = self._count[role]
            self._count[role] += 1
            if self._tamper is not None:
                frame = self._tamper(role, number, frame)
            if frame:
                self.feed(other(role), frame)
        else:
            return False
        self._collect()
        return True

    def forget_events(self) -> None:
        """What the engines have reported is not answered any more."""
        self._todo.clear()

    def post(self, role: Role, data: bytes) -> Pair:
        """Send the bytes of a role over the link and let everything follow."""
        self._enqueue(role, data)
        return self.run()

    def feed(self, role: Role, data: bytes) -> list[Item]:
        """Let bytes arrive at an engine as they are."""
        items = plain_items(self.engine(role).receive_data(data, self.now))
        self._report(role, items)
        return items

    def _report(self, role: Role, items: list[Item]) -> None:
        self.items[role] += items
        self._todo.extend((role, item) for item in items)

    def _react(self, role: Role, item: Item) -> None:
        match item:
            case HelloReceived():
                self._try(self._answer)
            case AuthReceived():
                self._try(self._decide)
            case ServerVerified(server) | PlaintextChosen(server):
                self.client.authenticate(server, identity=self._client_identity, **self._options)
            case Failed(_, answer):
                self._enqueue(role, answer)
                return
            case _:
                return
        self._report(role, plain_items(self.engine(role).reconsider(self.now)))

    def _answer(self) -> None:
        self.server.begin_answer()
        self._collect()
        self.server.finish_answer(self._identity)

    def _decide(self) -> None:
        self.verified = self.server.verify_client()
        if self._refusal is not None:
            self.server.refuse(*self._refusal)
        else:
            self.server.welcome(
                self.verified,
                TOKEN,
                self._max_packet,
                self._heartbeat,
                wait_for_sign=self._wait_for_sign,
            )

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except SecureLinkError as error:
            self.errors.append(error)

    def _collect(self) -> None:
        self._enqueue("client", self.client.data_to_send())
        self._enqueue("server", self.server.data_to_send())

    def _enqueue(self, role: Role, data: bytes) -> None:
        self.sent[role] += data
        self._queue.extend((role, frame) for frame in split_frames(data))

    # What an attacker who holds the keys can do, and how it ended.

    def forge(self, role: Role, plaintext: bytes) -> bytes:
        """A frame with this plaintext that the engine in `role` will be able to open now."""
        engine = self.engine(role)
        sealer = sealer_of(self.engine(other(role)))
        if engine.encrypted and engine.state in (State.WAIT_AUTH, State.WAIT_CLIENT):
            # The peer may have gone on to its next key already, or not be so far.
            secrets = handshake_of(self.server).handshake_secrets
            assert secrets is not None
            sealer = Sealer(secrets.server if role == "client" else secrets.client)
        if sealer is None:
            assert not engine.encrypted
            sealer = PlainSender()
        return sealer.seal(plaintext)

    def failure(self, role: Role) -> SecureLinkError:
        """The one error with which an engine failed."""
        failed = [item for item in self.items[role] if isinstance(item, Failed)]
        assert len(failed) == 1, f"{len(failed)} failures"
        assert self.items[role][-1] is failed[0], "something came after the failure"
        assert self.engine(role).state is State.FAILED
        return failed[0].error

    @property
    def is_open(self) -> bool:
        """Whether both sides have a session."""
        return self.client.state is State.OPEN and self.server.state is State.OPEN


def opened(identity: Identity, mode: Mode = Mode.REQUIRED, **options: Any) -> Pair:
    """A pair with an open session."""
    pair = Pair(identity, client_mode=mode, server_mode=mode, **options).run()
    assert pair.is_open
    return pair


def sent(pair: Pair, role: Role, *actions: str) -> bytes:
    """The frames with which a role sends packets of these actions."""
    return pair.sender(role).packets(packets(*actions))


def actions(pair: Pair, role: Role) -> list[list[str]]:
    """The actions of the packets that arrived at a role, record by record."""
    return [
        [packet.action for packet in decode_packets(item)]
        for item in pair.items[role]
        if isinstance(item, bytes)
    ]
