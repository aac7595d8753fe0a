"""
The handshake of a connection that a client opened: its expensive steps, and what a failed one costs the client.

`ServerLink` says when a step is due; the steps run in the pool.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any, Protocol

from ..app.admission import Question, cannot_say
from ..app.failure_budget import FailureBudget
from ..codes import Code
from ..errors import HandshakeError, Refused, SecureLinkError
from ..logs.floods import probes
from ..protocol import Resuming, ServerConnection, State
from ..protocol.handshake_server import VerifiedClient
from ..text import escaped
from ..wire.packets import encode_value
from .book import Book
from .channel import Channel
from .chores import Chores
from .errand import Errand
from .holdings import Holdings
from .host import Host
from .loop import Loop
from .settings import HandshakeSettings
from .suspensions import Suspensions
from .writing import Writer

log = logging.getLogger("securelink.server")

_NOTHING = encode_value(None)  # what a client without credentials shows


class Gatekeeper(Protocol):
    """The bounds before a session, as a link needs them."""

    budget: FailureBudget

    def no_longer_half_open(self, link: Any) -> None:
        """The handshake of this link succeeded."""

    def failed_at(self, host: str, *, charge: bool) -> None:
        """A handshake of this address has failed."""


class Entrance(Protocol):
    """Where a link came in."""

    loop: Loop
    settings: HandshakeSettings
    host: Host
    chores: Chores
    holdings: Holdings
    suspensions: Suspensions
    resuming: Resuming | None
    book: Book | None

    @property
    def gate(self) -> Gatekeeper:
        """The bounds before a session."""

    @property
    def closed(self) -> bool:
        """Whether no connection gets in any more."""

    def forget(self, link: Any) -> None:
        """The socket of this link is closed."""


class ServerHandshake:
    """
    The handshake of one connection.

    Args:
        entrance: Where it came in.
        connection: Its engine.
        writer: Writes what the steps have to say.
        host: The address of the client.

    Attributes:
        connection: As above.
        errand: The step that waits for a worker.
        failed: It has failed, and is counted.
    """

    __slots__ = (
        "_brought",
        "_charged",
        "_client",
        "_entrance",
        "_host",
        "_question",
        "_writer",
        "connection",
        "errand",
        "failed",
    )

    def __init__(
        self, entrance: Entrance, connection: ServerConnection, writer: Writer, host: str
    ) -> None:
        self._entrance = entrance
        self.connection = connection
        self._writer = writer
        self._host = host
        self.errand = Errand()
        self.failed = False
        self._brought = False  # whether it has shown credentials, which may be a guess
        self._charged = False  # to its address, for what has failed or may fail
        self._client: VerifiedClient | None = None  # whom the application is asked about
        self._question: Question | None = None

    @property
    def was_heard(self) -> bool:
        """Whether the client has said anything."""
        return self.connection.heard

    @property
    def was_kept_waiting(self) -> bool:
        """Whether the client has waited so long for this side that it may well have given up."""
        return self.errand.was_late

    def standing(self) -> int:
        """How good the client's address is, of those that wait for a worker; see `FailureBudget`."""
        return self._entrance.gate.budget.standing(self._host)

    # The steps, in the pool. What the client is to be told of an error waits in the connection then.

    def answer(self) -> None:
        """
        Answer the hello.

        Raises:
            SecureLinkError: It cannot be answered.
        """
        self.connection.begin_answer()
        if not self.connection.resumes:
            self._write()  # the client computes while this side signs
        self.connection.finish_answer(self._entrance.settings.identity)
        self._write()

    def _write(self) -> None:
        self._writer.queue_raw(self.connection.data_to_send())
        self._writer.flush()

    def authorize(self, link: Any) -> tuple[VerifiedClient, Channel] | None:
        """
        Verify the client, and ask the application.

        Args:
            link: The connection, as the application's side knows it.

        Returns:
            Who it is, and the channel of its session: the one that it resumes, or a new one. None: the application has
            to be asked by `ask`, and then this again.

        Raises:
            SecureLinkError: It does not get in.
        """
        connection, budget, host = self.connection, self._entrance.gate.budget, self._host
        if not self._charged:
            # Before anybody looks: guesses that wait here together would all be made before the first has failed.
            left = budget.charge(host, under_way=True)
            if left:
                connection.refuse(Code.BLOCKED, f"this address is blocked for {math.ceil(left)} s")
                raise HandshakeError("its address is blocked", code=Code.BLOCKED)
            self._charged = True
        try:
            client = self._client or connection.verify_client()
            self._brought = client.credentials != _NOTHING
            found = self._entrance.host.authorize(link, client, self._question)
        except HandshakeError as error:
            if connection.state is State.AUTHORIZING:
                text = error.text if isinstance(error, Refused) else error.message
                connection.refuse(error.code, text)
            # Whoever has waited for an answer for so long, and got none, has not failed.
            excused = self._is_called_off and self.was_kept_waiting
            (budget.take_back if excused else budget.failed)(host)
            raise
        except SecureLinkError as error:
            ours = connection.state is State.AUTHORIZING  # our own trouble, such as a damaged file
            if ours:
                connection.refuse(*cannot_say(error))
            (budget.take_back if ours else budget.failed)(host)
            raise
        if isinstance(found, Question):
            self._client, self._question = client, found
            return None
        budget.let_in(host)
        self._charged = False
        return client, found

    @property
    def is_asked(self) -> bool:
        """Whether there is something that the application has to be asked, or was."""
        return self._question is not None

    @property
    def _is_called_off(self) -> bool:
        return self._question is not None and self._question.called_off

    # By the leader.

    def ask(self, done: Callable[[], None]) -> None:
        """Ask the application, which answers when it does; then `done` is called."""
        assert self._question is not None
        self._question.begin(done)

    def call_off(self) -> bool:
        """The application shall not answer any more. False if it is not being asked."""
        return self._question is not None and self._question.call_off()

    def count_failure(self) -> None:
        """It has failed: counted now, not when its socket is closed, which may take as long as it likes."""
        if not self.failed:
            self.failed = True
            self._entrance.gate.failed_at(self._host, charge=not self._charged)

    def log_failure(self, error: SecureLinkError) -> None:
        """
        Say in the log that it has failed, and why. What comes again and again from one address, and has shown nothing
        that could be a guess, is most likely a probe: it is said once in ten minutes, and how often.
        """
        expected = self.connection.knock or isinstance(error, HandshakeError)
        level = logging.INFO if expected else logging.WARNING
        text, more = (
            escaped(str(error)),
            "",
        )  # a refusal in the application's words may quote the client
        if level == logging.INFO and not self._brought:
            hidden = probes.take((self._host, text))
            if hidden is None:
                level = logging.DEBUG
            elif hidden:
                more = f" ({hidden} times more since that was said)"
        log.log(level, "handshake with %s failed: %s%s", self._host, text, more)
