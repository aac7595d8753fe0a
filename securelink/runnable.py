"""Starting, driving and stopping a server, as an application does it."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from .errors import StateError
from .limits import CLOSE_SECONDS, UPDATE_BUDGET_SECONDS
from .options import seconds
from .streams.base import Carrier
from .threads.lifecycle import Lifecycle
from .threads.serving import serve_forever


class Listens:
    """The methods of a server, in any shell, that say where it is and whether it takes connections."""

    host: str
    port: int
    carrier: Carrier
    _lifecycle: Lifecycle

    def pause(self) -> None:
        """Accept no new connections; they wait in the system's backlog. Sessions continue. Also before `start`."""
        self._lifecycle.set_paused(True)

    def resume(self) -> None:
        """Accept connections again."""
        self._lifecycle.set_paused(False)

    @property
    def paused(self) -> bool:
        """Whether new connections wait, or are refused because the server is about to stop."""
        return self._lifecycle.paused

    @property
    def tick_rate(self) -> float | None:
        """How often a second `on_tick` fires; None: only after each `update()`. May be set while it runs."""
        return self._lifecycle.tick_rate

    @tick_rate.setter
    def tick_rate(self, rate: float | None) -> None:
        self._lifecycle.tick_rate = rate

    @property
    def running(self) -> bool:
        """Whether the server listens."""
        return self._lifecycle.loop is not None

    @property
    def failure(self) -> StateError | None:
        """
        Why the last run ended by itself: what `Server(state=...)` names could be written no more. None: it did not.
        `serve_forever()` raises it; a program that calls `start()` looks here.
        """
        return self._lifecycle.failure

    @property
    def address(self) -> tuple[str, int]:
        """(host, port) that the server listens on; the port is the real one when 0 was given."""
        places = self._lifecycle.places
        return (self.host, places[0][1] if places else self.port)

    @property
    def driver(self) -> int:
        """Identity of the thread that called `update()` last; 0 if the server does not run, or runs by itself."""
        return self._lifecycle.driver

    @property
    def places(self) -> list[tuple[str, int]]:
        """(address, port) of each listening socket; empty if the server does not run."""
        return self._lifecycle.places

    @property
    def lan_address(self) -> str:
        """This machine's address in its network, for telling friends; 127.0.0.1 without a network."""
        return self.host or self.carrier.local_address()

    @property
    def threads(self) -> list[str]:
        """Names of the server's threads."""
        loop = self._lifecycle.loop
        return loop.thread_names() if loop is not None else []


class Runnable(Listens):
    """The methods of `Server` that run it: a facade of its `Lifecycle`."""

    def start(self) -> Self:
        """
        Listen, in the background. Returns when clients can connect.

        The server ends with the program: one that has nothing else to do calls `serve_forever()`. With
        `Server(state=...)` it waits up to 10 s for a process that has the file, and may be handing its sessions over.

        Raises:
            ConfigError: It is started already.
            ConnectFailed: The port is in use, or the address is not of this machine.
            KeyFileError: The key cannot be used as it is.
            StateError: The state file is in use, or cannot be used as it is.
        """
        self._lifecycle.start(manual=False)
        return self

    def serve_forever(self, *, drain: float = 0.0) -> None:
        """
        Start, unless the server runs already, and wait for `stop()`, Ctrl-C or a signal of the system to end the
        program.

        In the main thread SIGTERM and SIGHUP act like Ctrl-C, unless the program has its own handlers for them:
        clients are told, hooks run, and this method returns. The old signal handlers are restored then. One thing
        differs: after Ctrl-C and SIGHUP clients hear `Code.SHUTDOWN`, after SIGTERM, which comes from a service
        manager, `Code.RESTART` and when to come back, as `drain()` tells them. With `Server(state=...)` all of them
        hand the sessions over, as `drain()` does.

        Args:
            drain: Seconds that sessions may continue after that, while no new client gets in. A second Ctrl-C or
                signal ends them at once.

        Raises:
            ConfigError: `update()` drives this server, or `drain` is not a number.
            ConnectFailed: As for `start()`.
            KeyFileError: As for `start()`.
        """
        serve_forever(self._lifecycle, seconds("drain", drain))

    def update(self, budget: float = UPDATE_BUDGET_SECONDS) -> None:
        """
        Serve in the caller's thread, for game loops, once a frame: read, call handlers, write; never waits.

        The first call starts the server. Handlers then run only inside `update()`. It returns when nothing more is to
        be done, or when the budget is over: what has come and is not handled then waits for the next call, and
        sessions take turns. A program with few frames a second gives a larger one.

        Args:
            budget: Seconds. Once they are over nothing more is begun; the session whose turn it is may take up to
                10 ms longer, and a handler as long as it takes. 0: one short turn, of about a millisecond.

        Raises:
            ConfigError: `start()` has started this server, or `budget` is not a number.
        """
        self._lifecycle.update(seconds("budget", budget))

    def stop(self, timeout: float = CLOSE_SECONDS) -> bool:
        """
        End all sessions and stop. May be called again, from any thread, and before `start()`.

        It ends them with `Server(state=...)`, too: nothing of them is kept. What hands them over to the process that
        follows is `drain()`, and whatever ends this process without a call of `stop()`.

        Clients are told; packets that were sent before go out. In a handler it only requests the stop, and returns at
        once.

        Args:
            timeout: Seconds to wait for clients and handlers.

        Returns:
            True when everything has ended, False when a handler still runs.

        Raises:
            ConfigError: `timeout` is not a number.
        """
        return self._lifecycle.stop(seconds("timeout", timeout))

    def drain(self, timeout: float = 0.0, *, back_in: float = 0.0) -> bool:
        """
        Stop for a restart: accept no new client, give sessions time to end by themselves, tell all others when to come
        back, send what waits, and stop.

        The address is free for another server from the beginning, so that it can take over at once. Those that are
        told end with `Code.RESTART`. Each is asked to come back at a time of its own, 200 a second, and
        `client.connect(retry=True)` keeps to that; no client stays away for more than five minutes.

        With `Server(state=...)` no session ends that the file can keep. Its client hears `Code.HANDOVER` and the same
        time, and goes on with it by itself in the process that has the file next; what waits for it is in the file.
        `on_disconnect` is not called, `on_suspend` is, and `on_restore` in the other process. When this returns, or the
        process ends, the file is free.

        Args:
            timeout: Seconds that sessions may go on. A handler that calls this waits for its own session, too.
            back_in: Seconds until the first client may come back: how long the restart takes.

        Returns:
            True if all left by themselves.

        Raises:
            ConfigError: `timeout` or `back_in` is not a number.
        """
        return self._lifecycle.drain(seconds("timeout", timeout), seconds("back_in", back_in))

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
