"""From an admitted client to a public session, and from there to its end."""

from __future__ import annotations

import contextlib
import logging
import threading
import uuid
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

from ..auth import Hold
from ..codes import Code
from ..errors import ConnectionClosed, HandshakeError, Refused, SecureLinkError
from ..protocol import SessionCore
from ..protocol.handshake_server import VerifiedClient
from ..state import Loaded
from ..streams.addresses import shown
from ..text import escaped
from .admission import Admission, Entry, Holds, Question, farewell, release
from .context import SessionContext
from .fanout import Fanout
from .hooks import Decision, EventHook
from .leases import Leases
from .pending import Pending, Runner
from .registry import Registry
from .rooms import Rooms
from .scheduling import Scheduler
from .session_events import SessionEvents

log = logging.getLogger("securelink.server")

Member = TypeVar("Member")


class Outbox(Protocol):
    """What a session sends, as its beginning needs it."""

    def hold_back(self) -> None:
        """Nothing goes out before the application has let the session in."""

    def greet(self, fire: Callable[[], Pending | None]) -> Pending | None:
        """Let the application greet it, and let go what was held back."""


class SessionChannel(Protocol):
    """A session's channel, as its beginning and its end need it."""

    @property
    def loop(self) -> Scheduler:
        """The loop that runs it."""

    @property
    def owner(self) -> Any:
        """The session's context."""

    @property
    def outbox(self) -> Outbox:
        """Sends its packets."""

    @property
    def core(self) -> SessionCore:
        """What its client has not confirmed, among others."""

    def post(
        self, encoded: bytes, timeout: float | None, latest: str | None = None, wait: bool = True
    ) -> None:
        """Queue one encoded packet."""

    def note(self, event: Callable[[], object]) -> None:
        """Queue an event after the packets that came before it."""

    def note_last(self, event: Callable[[], object]) -> None:
        """Queue an event after everything else of an ended session."""

    def end(self, code: int, text: str = "") -> None:
        """End it from our side."""

    def closed_error(self) -> ConnectionClosed:
        """Why nothing can be sent."""


class Arrival(Protocol):
    """A connection whose client wants a session."""

    token: bytes
    provisional: bool
    before: Any  # the session that is over for its client, and whose place it takes

    @property
    def address(self) -> tuple[str, int]:
        """Its address."""

    @property
    def network(self) -> str:
        """The network of that address."""

    @property
    def encrypted(self) -> bool:
        """Whether it is encrypted."""

    @property
    def loop(self) -> Scheduler:
        """The loop that runs it."""

    @property
    def channel(self) -> Any:
        """The channel of the session, once there is one."""


class _Hangup:
    """Reports that a session is over, out of order: handlers may still be busy with its earlier packets."""

    def __init__(self, hook: EventHook[...], session: Any) -> None:
        self._hook = hook
        self._session = session

    def run(self) -> bool:
        """By the loop."""
        self._hook.fire(self._session)
        return False


class SessionManager:
    """
    Makes sessions, makes them public, and ends them.

    Args:
        admission: Decides who may enter.
        registry: The public sessions.
        fanout: Sends the server's state to a new session.
        rooms: In which they are.
        make: Gives the channel of a new session for (connection, client, why it may enter).
        restore: Gives the session and the channel of one that a store has kept.
        events: The events of sessions.
        runner: Runs coroutines of the application; None: there are none.
    """

    def __init__(
        self,
        admission: Admission,
        registry: Registry[Any],
        fanout: Fanout[Any],
        rooms: Rooms[Any],
        make: Callable[[Any, VerifiedClient, Entry], Any],
        restore: Callable[[Any, Loaded], tuple[Any, Any]],
        events: SessionEvents[Any],
        runner: Runner | None = None,
    ) -> None:
        self._admission = admission
        self._registry = registry
        self._fanout = fanout
        self._rooms = rooms
        self._make = make
        self._restore = restore
        self._events = events
        self._leases = Leases(self._refuse, runner)
        self._given_back: deque[Hold] = deque()  # charges of clients that did not get in
        self._lock = threading.Lock()  # guards the next two
        self._open: set[Hold] = set()  # charges of clients that have not shown that they are in
        self._over = False

    def authorize(
        self, link: Arrival, client: VerifiedClient, question: Question | None = None
    ) -> Any:
        """
        In the pool: the channel of this client's session: the one that it resumes, or a new one, not yet public.

        Whoever resumes is let in as everybody is, by the same questions, and must be the same user.

        Args:
            question: What was to be asked first, and is answered.

        Returns:
            Or a question that is to be asked first.

        Raises:
            HandshakeError: It may not enter.
        """
        wanted = client.grant.session if client.grant is not None else None
        session = _context(wanted).session if wanted is not None else None
        goes_on = not client.begins_another
        try:
            entry = (
                question.entry()
                if question is not None
                else self._admission.admit(
                    client,
                    link.address,
                    encrypted=link.encrypted,
                    resumed=session if goes_on else None,
                )
            )
        except HandshakeError:
            self.note("logins_refused")
            raise
        if isinstance(entry, Question):
            return entry
        if wanted is not None and session is not None:
            if not _context(wanted).is_for(entry):
                log.info("%s is another user now: another session begins", _context(wanted).name)
            elif goes_on:
                release(entry.holds)  # what a login costs was paid when the session began
                _context(wanted).lease = entry.lease
                return wanted
            else:
                link.before = wanted
        if not self._keep(entry.holds):
            release(entry.holds)
            raise Refused("the server was stopped", code=Code.SHUTDOWN)
        link.token = uuid.uuid4().bytes
        link.provisional = bool(entry.holds)
        return self._make(link, client, entry)

    def confirmed(self, link: Arrival) -> bool:
        """By the leader: the client has WELCOME, so what was held for it is used now. False: it must not stay."""
        context = _context(link.channel)
        session: Any = context.session
        if not self._admission.knows(session):
            log.info("%s: its key was revoked while it came in", link.address[0])
            return False
        if all(hold.confirm() for hold in context.holds):
            self._settled(context.holds)
            return True
        log.info("%s came in twice with what admits once; the later one stays", link.address[0])
        return False

    def not_entered(self, link: Arrival, *, at_once: bool) -> None:
        """By the leader: the client did not get in. Giving back may need a file, so the pool does it, if it runs."""
        self._given_back.extend(_context(link.channel).holds)
        if at_once or not link.loop.submit_own(self._give_back):
            self._give_back()

    def _give_back(self) -> None:
        while self._given_back:
            with contextlib.suppress(IndexError):  # another worker took it
                hold = self._given_back.popleft()
                release((hold,))
                self._settled((hold,))

    def stopped(self) -> None:
        """By the last leader: no client gets in any more, so all charges are given back, and later ones too."""
        with self._lock:
            self._over, left = True, tuple(self._open)
            self._open.clear()
        release(left)
        for session in self._registry.everybody():  # those that a store keeps are over here
            if self._registry.remove(session):
                self._rooms.leave_all(session)
                self._registry.through(session)

    def _keep(self, holds: Holds) -> bool:
        with self._lock:
            if not self._over:
                self._open.update(holds)
            return not (self._over and holds)

    def _settled(self, holds: Holds) -> None:
        with self._lock:
            self._open.difference_update(holds)

    def opened(self, channel: SessionChannel) -> None:
        """By the leader: the session is public from now on."""
        context = _context(channel)
        session: Any = context.session
        self._hold_back(channel)
        self._registry.add(session)
        self._fanout.greet(channel)
        log.info("%s connected from %s", context.name, shown(*session.address))
        channel.note(self._greeting(channel, session))
        self._leases.began(channel)

    def _hold_back(self, channel: SessionChannel) -> None:
        """Nothing goes to its client before the application has let it in, if that is asked."""
        if self._events.on_connect.listeners:
            channel.outbox.hold_back()

    def _greeting(self, channel: SessionChannel, session: Any) -> Decision:
        """The first event in its inbox: the application greets the session, or refuses it after all."""
        return self._decision(channel, "on_connect", partial(self._welcome, channel, session))

    def _decision(
        self, channel: SessionChannel, event: str, act: Callable[[], Pending | None]
    ) -> Decision:
        return Decision(act, partial(self._refuse, channel, event))

    def _welcome(self, channel: SessionChannel, session: Any) -> Pending | None:
        _context(channel).greeted = True
        return channel.outbox.greet(lambda: self._events.on_connect.fire(session))

    def restored(self, listener: Any, loaded: Loaded) -> Any:
        """By the leader: a store has kept this session; it is public again, in its rooms, and waits for its client."""
        session, channel = self._restore(listener, loaded)
        context = _context(channel)
        self._registry.add(session)
        for name in loaded.saved.rooms:
            try:
                context.rooms.join(session, name)
            except SecureLinkError as error:
                log.warning("%s is not in the room %s any more: %s", context.name, name, error)
        log.info("%s was kept, and waits for its client", context.name)
        # Before the packets that wait: it is the first that happens to the session in this process.
        core = channel.core
        if not loaded.saved.greeted:
            self._hold_back(channel)
            core.receiving.items.appendleft(self._greeting(channel, session))
        elif self._events.on_restore.listeners:
            fire = partial(self._events.on_restore.fire, session)
            core.receiving.items.appendleft(self._decision(channel, "on_restore", fire))
        listener.loop.schedule(channel.inbox)
        self._leases.began(channel)
        return channel

    def suspended(self, channel: SessionChannel) -> None:
        """By the leader: the session has lost its connection."""
        context = _context(channel)
        session: Any = context.session
        self.note("suspended")
        log.info("%s has lost its connection, and waits for its client", context.name)
        if self._events.on_suspend.listeners:
            channel.note(lambda: self._events.on_suspend.fire(session))

    def resumed(self, link: Arrival, replayed: int, *, restarted: bool) -> None:
        """By the leader: the session goes on over this link, perhaps with another process of its client."""
        channel: SessionChannel = link.channel
        context = _context(channel)
        session: Any = context.session
        self.note("resumed")
        session.address = link.address
        self._leases.began(channel)
        log.info(
            "%s is back from %s%s, %d records go again",
            context.name, shown(*link.address), " in another process" if restarted else "", replayed,
        )  # fmt: skip
        if restarted:
            self._fanout.greet(channel)  # nobody there knows the server's state
        if restarted or session.restarted or self._events.on_resume.listeners:
            fire = partial(self._fire_resumed, session, replayed, restarted=restarted)
            channel.note(self._decision(channel, "on_resume", fire))

    def _fire_resumed(self, session: Any, replayed: int, *, restarted: bool) -> Pending | None:
        session.restarted = restarted
        return self._events.on_resume.fire(session, replayed)

    def _refuse(self, channel: SessionChannel, event: str, refusal: Refused) -> None:
        code, text = farewell(refusal)
        self.note("logins_refused")
        log.info("%s refused %s: %s", event, _context(channel).name, escaped(text))
        channel.end(code, text)

    def ended(self, channel: SessionChannel) -> bool:
        """
        By the leader: the session is over; its disconnect event comes after its last packet. Until then it is kept what
        its client has not confirmed.

        Returns:
            False when there is no such event: it was told before, or never public.
        """
        context = _context(channel)
        session: Any = context.session
        if session is None or not self._registry.remove(session):
            return False
        self._leases.ended(channel)
        context.left = context.rooms.leave_all(session)
        if self._events.on_hangup.listeners:
            channel.loop.schedule(_Hangup(self._events.on_hangup, session))
        log.info("%s disconnected: %s", context.name, channel.closed_error().message)
        channel.note_last(lambda: self._goodbye(channel, context, session))
        return True

    def _goodbye(
        self, channel: SessionChannel, context: SessionContext, session: Any
    ) -> Pending | None:
        """The last event in its inbox."""
        pending = None
        try:
            pending = self._events.on_disconnect.fire(session)
        finally:
            if pending is None:
                self._through(channel, context, session)
        if pending is not None:
            pending.then(lambda _: self._through(channel, context, session))
        return pending

    def _through(self, channel: SessionChannel, context: SessionContext, session: Any) -> None:
        """What is not confirmed, and the session itself, is kept until now."""
        self._registry.through(session)
        context.through()
        channel.core.sending.drop()

    def note(self, event: str) -> None:
        """Count an event."""
        self._registry.counts.note(event)


def _context(channel: SessionChannel) -> SessionContext:
    context: SessionContext = channel.owner
    return context
