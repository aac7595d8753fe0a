"""All simulated clients: they connect over the ramp, keep their rate, and leave."""

from __future__ import annotations

import gc
import heapq
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ...client import Client
from ...errors import ConfigError, SecureLinkError
from ...interrupts import Sign
from ...limits import CLOSE_SECONDS, CONNECT_SECONDS
from .plan import Plan
from .simulated import ANSWER_SECONDS, SimulatedClient, clock
from .tally import Tally, kind_of

DIALERS = 8  # threads that connect: a handshake is one or two round trips and 2 ms of work here
GIVE_UP_AFTER = 20  # attempts in a row that failed: the rest is not tried
# From connecting to the first packet: until the shared loop reads that client.
SETTLE_SECONDS = 0.25
# The sending goes on for at most this time after its end, if this machine cannot keep up.
LATE_SECONDS = 2.0
LAST_ANSWERS_SECONDS = 1.0  # how long answers are waited for after Ctrl-C
SPARE_FILES = 64  # beside one for each client
_PHASE = (math.sqrt(5) - 1) / 2  # multiples of it, modulo 1, are spread evenly for any number
_LOOK = 0.1  # seconds between two progress reports
_EXPIRE = 1.0  # seconds between two checks for late answers
_NAP = 0.02  # seconds between two checks of the sender for new clients
NOT_TRIED = f"not tried, after {GIVE_UP_AFTER} failed attempts in a row"
NOT_DUE_SENT = "not sent: this machine cannot send so fast"


def allow_files(clients: int) -> None:
    """
    Raise this process's limit of open files, if it is too low for so many clients.

    Raises:
        ConfigError: The system does not allow so many.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    wanted = clients + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise ConfigError(
            f"{clients} clients need {wanted} open files, and this system allows {hard}",
            hint="use fewer clients, or raise the limit (ulimit -Hn) as its administrator",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextmanager
def _quiet_process() -> Iterator[None]:
    """In this block thousands of clients log no status lines, and afterwards garbage collection is as before."""
    log = logging.getLogger("securelink.client")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        gc.unfreeze()
        log.setLevel(level)


class Swarm:
    """
    The load.

    Args:
        plan: The load.
        first: A client that is connected already: that the server can be reached and trusted is known.
        make: Gives one more client, not connected.
        tally: Where `first` counts.

    Attributes:
        steady_at, ends_at: Moments of `clock`; infinite before the ramp is over.
        ramp_took: Seconds until all were connected or had failed.
        interrupted: Whether Ctrl-C ended it early.
    """

    def __init__(
        self, plan: Plan, first: SimulatedClient, make: Callable[[], Client], tally: Tally
    ) -> None:
        self.plan = plan
        self.tally = tally
        self.steady_at = math.inf
        self.ends_at = math.inf
        self.ramp_took = 0.0
        self.interrupted = False
        self._make = make
        self._stopping = Sign()
        self._lock = threading.Lock()  # guards the next three
        self._clients = [first]
        self._next = iter(range(1, plan.clients))
        self._failed_in_a_row = 0
        self._arrived = deque([first])  # for the sender
        self._began = 0.0
        self._expired_at = 0.0

    def run(self, show: Callable[[], object]) -> None:
        """
        Do all of it. Ctrl-C ends it early.

        Args:
            show: Called about ten times a second, in this thread.
        """
        with _quiet_process():
            threads = self._start()
            try:
                self._watch(threads, show)
            except KeyboardInterrupt:
                self.interrupted = True
                self._stopping.set()
                self.ends_at = min(self.ends_at, clock())
                self._wait_for_answers(LAST_ANSWERS_SECONDS, show)
            finally:
                self._stopping.set()
                self._finish(threads)

    @property
    def measured_seconds(self) -> float:
        """How long the steady part was, or has been."""
        return max(0.0, min(clock(), self.ends_at) - self.steady_at)

    def _start(self) -> list[threading.Thread]:
        self._began = clock()
        dialers = [
            threading.Thread(
                target=self._dial, name=f"securelink-load-dialer-{number}", daemon=True
            )
            for number in range(min(DIALERS, self.plan.clients - 1))
        ]
        sender = threading.Thread(
            target=self._lead, args=(dialers,), name="securelink-load-sender", daemon=True
        )
        for thread in (*dialers, sender):
            thread.start()
        return [*dialers, sender]

    def _watch(self, threads: list[threading.Thread], show: Callable[[], object]) -> None:
        while threads[-1].is_alive():
            threads[-1].join(_LOOK)
            self._expire()
            show()
        self._wait_for_answers(ANSWER_SECONDS + 2 * _EXPIRE, show)

    def _wait_for_answers(self, seconds: float, show: Callable[[], object]) -> None:
        until = clock() + seconds
        while clock() < until and any(client.waiting for client in self._everybody()):
            time.sleep(_LOOK / 10)
            self._expire()
            show()

    def _expire(self) -> None:
        now = clock()
        if now - self._expired_at < _EXPIRE:
            return
        self._expired_at = now
        for client in self._everybody():
            if client.waiting:
                client.expire(now - ANSWER_SECONDS)

    def _everybody(self) -> list[SimulatedClient]:
        with self._lock:
            return list(self._clients)

    def _finish(self, threads: list[threading.Thread]) -> None:
        deadline = clock() + CLOSE_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - clock()))
        for client in self._everybody():
            client.close(max(0.0, deadline - clock()))

    # --- the dialers -----------------------------------------------------------------------------------------

    def _dial(self) -> None:
        while True:
            with self._lock:
                number = next(self._next, None)
                hopeless = self._failed_in_a_row >= GIVE_UP_AFTER
            if number is None or self._wait_for_turn(number):
                return
            if hopeless:
                self.tally.failed(NOT_TRIED)
            else:
                self._connect(number)

    def _wait_for_turn(self, number: int) -> bool:
        """Wait for a client's share of the ramp; True when the load ends before."""
        due = self._began + self.plan.ramp * number / self.plan.clients
        return self._stopping.wait(max(0.0, due - clock()))

    def _connect(self, number: int) -> None:
        client = SimulatedClient(number, self._make(), self.plan, self.tally)
        try:
            client.connect(CONNECT_SECONDS)
        except (SecureLinkError, OSError) as error:
            self.tally.failed(f"not connected: {kind_of(error)}")
            with self._lock:
                self._failed_in_a_row += 1
            return
        with self._lock:
            self._failed_in_a_row = 0
            self._clients.append(client)
        if self._stopping.is_set():
            client.close(0.0)  # the thread that closes all clients may have passed already
        self._arrived.append(client)

    # --- the sender ------------------------------------------------------------------------------------------

    def _lead(self, dialers: list[threading.Thread]) -> None:
        """Send due packets until the end."""
        due: list[tuple[float, int, SimulatedClient]] = []
        while not self._stopping.is_set():
            self._admit(due)
            if self.steady_at == math.inf and not any(d.is_alive() for d in dialers):
                self._admit(due)
                self._begin()
            now = clock()
            if now >= self.ends_at and (
                not due or due[0][0] >= self.ends_at or now >= self.ends_at + LATE_SECONDS
            ):
                self._give_up(due)
                return
            if not due and self.steady_at < math.inf:
                self.ends_at = now  # all clients are gone
            elif not due or due[0][0] > now:
                time.sleep(min(_NAP, due[0][0] - now) if due else _NAP)
            else:
                self._send(due)

    def _admit(self, due: list[tuple[float, int, SimulatedClient]]) -> None:
        while self._arrived:
            client = self._arrived.popleft()
            phase = client.number * _PHASE % 1 / self.plan.rate
            heapq.heappush(due, (clock() + SETTLE_SECONDS + phase, client.number, client))

    def _begin(self) -> None:
        """All clients are connected: measure from now on."""
        # Otherwise each full collection would visit every client, and the pause would show in the latencies.
        gc.collect()
        gc.freeze()
        now = clock()
        self.ramp_took = now - self._began
        self.steady_at = self.tally.measured_from = now + SETTLE_SECONDS
        self.ends_at = self.steady_at + self.plan.seconds

    def _send(self, due: list[tuple[float, int, SimulatedClient]]) -> None:
        moment, number, client = due[0]
        if client.send(moment):
            heapq.heapreplace(due, (moment + 1 / self.plan.rate, number, client))
        else:
            heapq.heappop(due)

    def _give_up(self, due: list[tuple[float, int, SimulatedClient]]) -> None:
        """Count due packets that were not sent."""
        late = sum(
            max(0, math.ceil((self.ends_at - moment) * self.plan.rate)) for moment, _, _ in due
        )
        self.tally.failed(NOT_DUE_SENT, late)
