"""
Turns of a server whose sessions a store keeps: first the commit, then the network.

What handlers of one session send, and that they are through, is one step: it is published when the session's turn ends
with a whole record. The leader takes what was published, commits it, and lets it out. So after the death of the process
at any moment either both have happened or neither, and in that case the client, or the store, still has the record.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from threading import get_ident
from typing import Protocol, TypeVar

from ..errors import StateError
from ..protocol.send_queue import Loose, Mark
from ..state import Change, Store
from .loop import Loop
from .tasks import Flushable

ALIVE_SECONDS = 5.0  # a store hears at least so often that its process lives

log = logging.getLogger("securelink.server")

Aside = Callable[[Callable[[], None], Flushable], None]
Done = TypeVar("Done")


class Outlet(Protocol):
    """An outbox, as a turn fills it."""

    def take_in(self, encoded: bytes, latest: Mark) -> None:
        """Queue a packet, unless the session is over. With the book's lock."""

    def look(self) -> None:
        """Afterwards, without it: whether too much waits."""


class Page(Protocol):
    """A session, as the book keeps it."""

    @property
    def name(self) -> str:
        """Who its client is, for the log."""

    def collect(self) -> Change | None:
        """By the leader, with the book's lock: what has changed since the last time."""

    def committed(self) -> None:
        """By the leader: the store has it, so it may be told."""


class Stage:
    """
    What one turn of a session has sent so far.

    Attributes:
        posts: Outbox, packet and `latest` of each.
        acts: What to do when it is kept.
        sizes: Bytes of the packets, by outbox.
    """

    __slots__ = ("acts", "posts", "sizes")

    def __init__(self) -> None:
        self.posts: list[tuple[Outlet, bytes, Mark]] = []
        self.acts: list[Callable[[], None]] = []
        self.sizes: dict[Outlet, int] = {}

    def drop_oldest(self, outlet: Outlet, key: str, size: int) -> int | None:
        """Drop packets of this turn until so many bytes are gone, see `SendQueue.make_room`."""
        places, freed = list[int](), 0
        for place, (to, encoded, mark) in enumerate(self.posts):
            if freed >= size:
                break
            if to is outlet and isinstance(mark, Loose) and mark.key == key:
                places.append(place)
                freed += len(encoded)
        if freed < size:
            return None
        for place in reversed(places):
            del self.posts[place]
        self.sizes[outlet] -= freed
        return len(places)


class Book:
    """
    Commits turns.

    Args:
        loop: Of the server.
        store: Keeps what is committed.
        failed: By the leader: nothing can be kept any more, for this reason. Called once.
        aside: None, or has what waits for the disk done by another thread; see `ShellLoop.aside`.

    Attributes:
        lock: Held while packets are put into queues, and while they are taken for a commit.
        listed: On the loop's flush list.
    """

    def __init__(
        self,
        loop: Loop,
        store: Store,
        failed: Callable[[StateError], None],
        aside: Aside | None = None,
    ) -> None:
        self.lock = threading.Lock()
        self.listed = False
        self._loop = loop
        self._store = store
        self._failed = failed
        self._aside = aside
        self._stages: dict[int, Stage] = {}
        self._changed: dict[Page, None] = {}
        self._acts: list[Callable[[], None]] = []
        self._asked = False
        self._next = 0.0  # not before this time, by the clock of the loop
        self._timed = False
        self._alive_until = 0.0
        self._over = False
        self._error: StateError | None = None
        # By the leader: the sessions that are being kept, and what comes behind it.
        self._under_way: tuple[dict[Page, None], list[Callable[[], None]]] | None = None

    # By threads that run handlers.

    def begin(self, stage: Stage) -> Stage | None:
        """From now on the calling thread sends into this stage; what it sent into before."""
        me = get_ident()
        before = self._stages.get(me)
        self._stages[me] = stage
        return before

    def end(self, before: Stage | None) -> None:
        """It does not any more."""
        if before is None:
            del self._stages[get_ident()]
        else:
            self._stages[get_ident()] = before

    def parked(self, number: int, stage: Stage) -> None:
        """From now on what has this identity sends into this stage."""
        self._stages[number] = stage

    def goes_on(self, number: int) -> None:
        """It does not any more."""
        self._stages.pop(number, None)

    def stage(self) -> Stage | None:
        """What the calling thread sends into; None outside of handlers."""
        return self._stages.get(self._loop.identity())

    def publish(self, stage: Stage, then: Callable[[], Page] | None = None) -> None:
        """
        What a turn has sent goes into the queues, to be kept and let out together.

        Args:
            stage: It is empty afterwards.
            then: In the same step; gives a session that has changed.
        """
        with self.lock:
            outlets: dict[Outlet, None] = {}
            for outlet, encoded, latest in stage.posts:
                outlet.take_in(encoded, latest)
                outlets[outlet] = None
            if then is not None:
                self._changed[then()] = None
            self._acts += stage.acts
        stage.posts.clear()
        stage.sizes.clear()
        stage.acts.clear()
        for outlet in outlets:
            outlet.look()
        self.ask()

    def release(self) -> None:
        """The calling thread is about to wait for a client: what it has sent goes out before it is through."""
        stage = self.stage()
        if stage is not None and (stage.posts or stage.acts):
            self.publish(stage)

    # Any thread.

    def put(self, outlet: Outlet, encoded: bytes, latest: Mark) -> None:
        """Queue a packet outside of a turn."""
        with self.lock:
            outlet.take_in(encoded, latest)
        self.ask()

    def changed(self, page: Page) -> None:
        """With the lock: there is something to collect."""
        self._changed[page] = None

    def note(self, page: Page) -> None:
        """Without it."""
        with self.lock:
            self._changed[page] = None
        self.ask()

    def when_kept(self, page: Page, act: Callable[[], None]) -> None:
        """Do something after the next commit; in a handler, after the one of its turn."""
        stage = self.stage()
        if stage is not None:
            stage.acts.append(act)
            return
        with self.lock:
            self._changed[page] = None
            self._acts.append(act)
        self.ask()

    def ask(self) -> None:
        """Let the leader commit: at the end of its turn, if that is the caller."""
        loop, me = self._loop, get_ident()
        if loop.lead.thread == me:
            if not self.listed:
                self.listed = True
                loop.flush_list.append(self)
            # The flush list is the leader's; if leadership went away meanwhile, nobody may look at it again.
            if loop.lead.thread == me:
                return
            self.listed = False
        if not self._asked:
            self._asked = True
            loop.call(self.ask)

    def flush(self) -> None:
        """By the leader at the end of its turn, and when what it kept is kept; or by who has held packets back."""
        if not self._loop.leading:
            self.ask()
        elif self._under_way is not None:
            self._kept()
        else:
            self.commit()

    def on_error(self) -> None:
        """A bug of ours in a commit: what it was about is not known, so nothing is told any more."""
        self._fail(StateError("an internal error while sessions were kept"))

    # By the leader.

    def commit(self, *, at_once: bool = False) -> None:
        """Keep what was published, then let it out; `at_once`: before this returns."""
        if self._over or self._loop.away:
            return
        if self._store.interval and not at_once:
            now = time.monotonic()
            if now < self._next:
                if not self._timed:
                    self._timed = True
                    self._loop.call_later(self._next - now, self._on_time)
                return
            self._next = now + self._store.interval
        with self.lock:
            self._asked = False
            changed, self._changed = self._changed, {}
            acts, self._acts = self._acts, []
            found = [page.collect() for page in changed]
        changes = [change for change in found if change is not None]
        self._under_way = changed, acts
        if not changes and time.monotonic() < self._alive_until:
            self._kept()
        else:
            self._alive_until = time.monotonic() + ALIVE_SECONDS
            self._write(changes, None if at_once else self._aside)

    def _write(self, changes: list[Change], aside: Aside | None) -> None:
        store, now = self._store, time.time()
        if aside is None:
            self._try(lambda: store.commit(changes, now))
            self._kept()
            return
        # The other thread does what waits for the disk, and nothing that needs the interpreter more than once.
        finish = self._try(lambda: store.write(changes, now))
        if finish is None:
            self._kept()
        else:
            aside(partial(self._try, finish), self)

    def _try(self, write: Callable[[], Done]) -> Done | None:
        try:
            return write()
        except StateError as error:
            self._error = error
        except Exception:
            log.exception("internal error while sessions were kept")
            self._error = StateError("an internal error while sessions were kept")
        return None

    def _kept(self) -> None:
        """By the leader: let it out."""
        assert self._under_way is not None
        (changed, acts), self._under_way = self._under_way, None
        if self._error is not None:
            self._fail(self._error)
            return
        for page in changed:
            try:
                page.committed()
            except Exception:
                log.exception("internal error in the session of %s", page.name)
        for act in acts:
            try:
                act()
            except Exception:
                log.exception("internal error after a commit")
        if self._changed or self._acts:
            self.ask()

    def tick(self) -> None:
        """By a sweep: now and then the store learns that this process lives, though nothing happens."""
        if not self._over and time.monotonic() >= self._alive_until:
            self.ask()

    def _on_time(self) -> None:
        self._timed = False
        self.ask()

    def _fail(self, error: StateError) -> None:
        if not self._over:
            self._over = True
            log.critical(
                "%s. The server stops as if it had been killed: what was not kept has not been told to anybody, and "
                "its clients go on when it is started again",
                error,
            )
            self._failed(error)

    def close(self) -> None:
        """By the last leader: the last commit, then the store is free for others."""
        self.commit(at_once=True)
        self._over = True
        self._store.close()

    def orphaned(self) -> None:
        """In a child of fork(): it is the parent's."""
        self._over = True
        self.lock = threading.Lock()
