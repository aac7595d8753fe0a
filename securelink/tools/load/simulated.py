"""One simulated client."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import Any

from ...app.received import Received
from ...client import Client
from ...errors import ConnectionClosed, SecureLinkError
from .plan import Plan
from .tally import Tally

clock = time.perf_counter
ANSWER_SECONDS = 10.0  # a later answer does not count
NO_ANSWER = f"no answer within {ANSWER_SECONDS:g} s"
UNANSWERED = "no answer yet when it was ended"
LOST_WITH_SESSION = "no answer before the session ended"


class SimulatedClient:
    """
    A client that sends on request, and recognises its answers.

    Args:
        number: Its number among all clients.
        client: Not connected yet; it is used for nothing else.
        plan: The load.
        tally: Where to count.

    One thread at a time calls `send`; answers come in threads of the loop that the clients of a process share.
    """

    def __init__(self, number: int, client: Client, plan: Plan, tally: Tally) -> None:
        self.number = number
        self._client = client
        self._plan = plan
        self._tally = tally
        self._lock = threading.Lock()  # guards the next three
        self._unanswered: dict[int, float] = {}  # packet -> when it was due; oldest first
        self._futures: dict[int, Future[Any]] = {}  # the requests among them
        self._closing = False
        self._sent = 0
        client.on_message.add_listener(self._took)
        client.on_disconnect.add_listener(self._lost)

    @property
    def client(self) -> Client:
        """The client itself."""
        return self._client

    @property
    def waiting(self) -> bool:
        """Whether an answer is missing."""
        return bool(self._unanswered)

    def connect(self, timeout: float) -> None:
        """Open the session. Raises the same errors as `Client.connect`."""
        self._client.connect(timeout)
        self._tally.came()

    def send(self, due: float) -> bool:
        """
        Send the packet that was due at a moment of `clock`. Never waits.

        Returns:
            False when the session has ended and nothing more can be sent.
        """
        try:
            if self._plan.requests:
                self._request(due)
            else:
                self._send(due)
        except ConnectionClosed:
            return False  # counted by _lost(), with all that is not answered
        except SecureLinkError as error:
            self._tally.failed(f"not sent: {self._why(error)}")
        else:
            self._tally.packet(clock() - due)
        return True

    @staticmethod
    def _why(error: SecureLinkError) -> str:
        if isinstance(error, TimeoutError):
            return "the server does not take packets as fast as they are due"
        return error.message

    def _send(self, due: float) -> None:
        number = self._sent = self._sent + 1
        # Noted first: the answer may be here before send() returns.
        with self._lock:
            self._unanswered[number] = due
        try:
            self._client.send(self._plan.action, self._plan.payload(self.number, number), timeout=0)
        except SecureLinkError:
            if self._take_back(number):
                raise
            # Else it has been counted as one without an answer already, so it counts as sent, too.

    def _request(self, due: float) -> None:
        number = self._sent = self._sent + 1
        data = self._plan.payload(self.number, number)
        with self._lock:
            self._unanswered[number] = due
        try:
            future = self._client.request_later(self._plan.action, data, timeout=2 * ANSWER_SECONDS)
        except SecureLinkError:
            if self._take_back(number):
                raise
            # Else it has been counted as one without an answer already, so it counts as sent, too.
            return
        with self._lock:
            if number in self._unanswered:
                self._futures[number] = future
        future.add_done_callback(lambda future: self._replied(number, future))

    def _take_back(self, number: int) -> bool:
        """A packet was not sent; False if it is counted as one without an answer."""
        with self._lock:
            return self._unanswered.pop(number, None) is not None

    def expire(self, before: float) -> None:
        """Give up the answers to packets that were due before a moment of `clock`."""
        given_up = []
        with self._lock:
            for number, due in self._unanswered.items():
                if due >= before:
                    break
                given_up.append(number)
            for number in given_up:
                del self._unanswered[number]
            futures = [self._futures.pop(number, None) for number in given_up]
        for future in futures:
            if future is not None:
                future.cancel()
        self._tally.failed(NO_ANSWER, len(given_up))

    def close(self, timeout: float) -> None:
        """Leave. Unanswered packets have failed."""
        with self._lock:
            self._closing = True
            lost = len(self._unanswered)
            self._unanswered.clear()
        self._tally.failed(UNANSWERED, lost)
        self._client.close(timeout)

    # In threads of the shared loop.

    def _took(self, packet: Received) -> None:
        now = clock()
        due = self._due_of(packet)
        if due is None:
            self._tally.other()
        else:
            self._tally.answer(due, now)

    def _due_of(self, packet: Received) -> float | None:
        """When the answered packet was due; None if this packet is not an answer."""
        if packet.action != self._plan.action or self._plan.requests:
            return None
        with self._lock:
            unanswered = self._unanswered
            if self._plan.fixed:
                return unanswered.pop(next(iter(unanswered))) if unanswered else None
            number = _number_in(packet.data, self.number)
            return unanswered.pop(number, None) if number is not None else None

    def _replied(self, number: int, future: Future[Any]) -> None:
        now = clock()
        with self._lock:
            self._futures.pop(number, None)
            failure = None if future.cancelled() else future.exception()
            if isinstance(failure, ConnectionClosed):
                return  # the session has ended: _lost() counts
            due = self._unanswered.pop(number, None)
        if due is None:
            return  # given up before
        self._tally.answer(due, now)
        if isinstance(failure, SecureLinkError):
            self._tally.failed(f"request failed: {failure.message}")

    def _lost(self) -> None:
        self._tally.went()
        with self._lock:
            if self._closing:
                return
            self._closing = True
            lost = len(self._unanswered)
            self._unanswered.clear()
        self._tally.failed(f"session lost: {self._client.reason}")
        self._tally.failed(LOST_WITH_SESSION, lost)


def _number_in(data: Any, client: int) -> int | None:
    """The number of the packet that a client sent, if this is its data come back."""
    if isinstance(data, dict) and data.get("client") == client:
        number = data.get("number")
        return number if isinstance(number, int) else None
    return None
