"""A packet, as a handler sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from ..limits import PLACE_BITS

if TYPE_CHECKING:
    from ..wire.packets import Packet


Data = TypeVar("Data")


class Received:
    """
    A packet that arrived, and the session that carried it.

    `session` and `token` come from the session, never from the wire: a peer cannot claim another identity.

    Attributes:
        answered: Whether a request was answered, or will be through the result of `defer`.
    """

    __slots__ = ("_origin", "_packet", "_session", "answered", "at", "record")
    # Of these its number is made. They are there when somebody has asked for it, or when it waits for `receive`.
    record: int
    at: int

    def __init__(self, packet: Packet, origin: Any, session: Any = None) -> None:
        self._packet = packet
        self.answered = False
        # The channel: a client that connects again gets another one, and answers belong to the first.
        self._origin = origin
        # None for a client: its packets must not keep it alive.
        self._session = session

    @property
    def session(self) -> Any:
        """The server's `Session`, or the `Client` on the client's side."""
        session = self._session
        return session if session is not None else self._origin.owner.session

    @property
    def action(self) -> str:
        """The packet's name."""
        return self._packet.action

    @property
    def data(self) -> Any:
        """The payload, as the sender gave it (tuples arrive as lists)."""
        return self._packet.data

    @property
    def headers(self) -> dict[str, Any]:
        """Names and values beside the data; empty if there are none."""
        return self._packet.headers or {}

    @property
    def created(self) -> float:
        """When the sender made it, in seconds since 1970 by the sender's clock."""
        return self._packet.created

    @property
    def id(self) -> int | None:
        """Number of a request, or None."""
        return self._packet.id

    @property
    def reply_to(self) -> int | None:
        """Number of the request that this answers, or None."""
        return self._packet.reply_to

    @property
    def number(self) -> int:
        """
        Its number among the packets of this session and direction: each has a larger one than those before it. It is
        the same when the packet is handed over again, because a process died before it was handled.

        The numbers have gaps. They go on over lost connections, with `Server(state=...)` and `Client(session=...)` also
        in the next process, and begin anew in another session. A handler that keeps the number with its effect has none
        twice; docs/SURVIVING.md shows it.

        Raises:
            ConfigError: The packet was handled by a handler, and nobody has read its number before.
        """
        try:
            record = self.record
        except AttributeError:
            self.keep_number()
            record = self.record
        return record << PLACE_BITS | self.at

    def keep_number(self) -> None:
        """By whoever gives it to the program after its turn."""
        self.record, self.at = self._origin.place_of(self._packet)

    @property
    def token(self) -> str:
        """The uuid4 that names the session."""
        session = self._session
        token: str = session.token if session is not None else self._origin.token
        return token

    def reply(self, data: Any = None) -> None:
        """
        Answer a request now, instead of by the handler's return value. Any thread; only the first answer counts.

        Raises:
            CodecError: The data cannot be encoded.
        """
        if self._packet.id is not None and not self.answered:
            self._origin.answer(self._packet, data)
            self.answered = True

    def fail(self, text: str) -> None:
        """Answer a request with a refusal: `request()` raises `RequestFailed` with this text."""
        if self._packet.id is not None and not self.answered:
            self.answered = True
            self._origin.answer(self._packet, text, "refused")

    def defer(self) -> Deferred:
        """Answer later: the handler's return value is not sent; call `reply` or `fail` of the returned object."""
        self.answered = True
        return Deferred(self._packet, self._origin)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a received packet belongs to its session and cannot be pickled: "
            "give packet.data (and packet.action) to the other process"
        )

    def __repr__(self) -> str:
        return f"<packet {self.action!r} from {self.token}>"


class Typed(Received, Generic[Data]):
    """
    A packet whose data has the declared type of its handler.

    Attributes:
        data: The checked value.
    """

    __slots__ = ("_checked",)

    def __init__(self, received: Received, checked: Data) -> None:
        super().__init__(received._packet, received._origin, received._session)
        self.answered = received.answered
        self._checked = checked

    @property
    def data(self) -> Data:
        """The payload, as a value of the declared type."""
        return self._checked


class Deferred:
    """A request that is answered later, from any thread."""

    __slots__ = ("_origin", "_packet")

    def __init__(self, packet: Packet, origin: Any) -> None:
        self._packet: Packet | None = packet
        self._origin = origin

    def reply(self, data: Any = None) -> None:
        """Answer; only the first answer counts."""
        packet, self._packet = self._packet, None
        if packet is not None:
            self._origin.answer(packet, data)

    def fail(self, text: str) -> None:
        """Refuse; only the first answer counts."""
        packet, self._packet = self._packet, None
        if packet is not None:
            self._origin.answer(packet, text, "refused")
