"""What an operator can tell a server. Each command is text in, text out: the terminal is somebody else's business."""

from __future__ import annotations

import json
import shlex
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ConfigError, SecureLinkError
from ..server import Server, Session
from ..text import escaped

PING_SECONDS = 5.0
DRAIN_SECONDS = 300.0  # how long `drain` waits for the sessions when no time is given

Command = Callable[[list[str]], str]


class Console:
    """
    The commands of one server.

    Args:
        server: Which one.
        say: How a text of the operator reaches sessions: f(text, sessions or None for all) -> how many got it. The
            default sends a packet named "notice".
    """

    def __init__(
        self, server: Server, say: Callable[[str, list[Session] | None], int] | None = None
    ) -> None:
        self._server = server
        self._say = say or self._notice
        self._commands: dict[str, tuple[Command, str, str]] = {
            "list": (self._list, "", "the sessions"),
            "info": (self._info, "WHO", "all that is known of one session"),
            "ping": (self._ping, "WHO", "is it alive? the round trip in milliseconds"),
            "send": (self._send, "WHO TEXT...", "say something to one session"),
            "broadcast": (self._broadcast, "TEXT...", "say something to all sessions"),
            "packet": (self._packet, "WHO|all ACTION [JSON]", "send a packet"),
            "kick": (self._kick, "WHO [REASON...]", "end a session"),
            "mute": (self._mute, "WHO", "send nothing to a session any more"),
            "unmute": (self._unmute, "WHO", "send to it again"),
            "rooms": (self._rooms, "[ROOM]", "the rooms, or who is in one"),
            "actions": (self._actions, "", "the packets that have a handler"),
            "stats": (self._stats, "", "numbers"),
            "threads": (self._threads, "", "the server's threads"),
            "pause": (self._pause, "", "accept no new connections"),
            "resume": (self._resume, "", "accept connections again"),
            "drain": (self._drain, "[SECONDS]", "pause, wait until all have left, stop"),
            "stop": (self._stop, "", "end all sessions and stop"),
            "help": (self._help, "[COMMAND]", "this list"),
        }

    def execute(self, line: str) -> str:
        """Run one line; gives what to show. Never raises for what the line says."""
        try:
            words = shlex.split(line)
        except ValueError as error:
            return f"cannot read that line: {str(error).lower()}"
        if not words:
            return ""
        name, *arguments = words
        command = self._commands.get(name.lower())
        if command is None:
            return f"unknown command {escaped(name)!r}; try: help"
        try:
            return command[0](arguments)
        except SecureLinkError as error:
            return f"error: {error}"

    def complete(self, line: str) -> list[str]:
        """What the last word of the line may become."""
        words = line.split(" ")
        if len(words) == 1:
            return sorted(name for name in self._commands if name.startswith(words[0]))
        command = self._commands.get(words[0])
        if command is None or len(words) != 2:
            return []
        if words[0] == "help":
            candidates = list(self._commands)
        elif words[0] == "rooms":
            candidates = self._server.rooms
        elif "WHO" in command[1]:
            sessions = self._server.sessions.values()
            candidates = [name for s in sessions for name in (s.token, _called(s)) if name != "-"]
        else:
            candidates = []
        return sorted(c for c in candidates if c.startswith(words[1]))

    # --- finding ------------------------------------------------------------------------------------------

    def _who(self, arguments: list[str]) -> tuple[Session, list[str]]:
        if not arguments:
            raise ConfigError("say who", hint="a user name, or the beginning of a token; see: list")
        wanted, *rest = arguments
        sessions = list(self._server.sessions.values())
        # A whole token comes first: everybody may know it, and take it for a name.
        found = (
            [s for s in sessions if s.token == wanted]
            or [s for s in sessions if wanted in (_called(s), str(s.user))]
            or [s for s in sessions if s.token.startswith(wanted)]
        )
        if len(found) == 1:
            return found[0], rest
        if not found:
            raise ConfigError(f"nobody is called {escaped(wanted)!r}", hint="see: list")
        raise ConfigError(f"{escaped(wanted)!r} fits {len(found)} sessions", hint="use the token")

    @staticmethod
    def _text(words: list[str]) -> str:
        if not words:
            raise ConfigError("say what")
        return " ".join(words)

    # --- the commands ---------------------------------------------------------------------------------------

    def _list(self, arguments: list[str]) -> str:
        sessions = sorted(self._server.sessions.values(), key=lambda s: s.connected_at)
        if not sessions:
            return "no sessions"
        now = time.time()
        rows = [("token", "name", "address", "since", "")]
        for s in sessions:
            flags = ("muted " if s.muted else "") + ("" if s.encrypted else "PLAINTEXT")
            since = f"{now - s.connected_at:.0f} s"
            rows.append(
                (
                    s.token,
                    escaped(_called(s)),
                    f"{s.address[0]}:{s.address[1]}",
                    since,
                    flags.strip(),
                )
            )
        return _columns(rows) + f"\n{len(sessions)} session{'s' * (len(sessions) != 1)}"

    def _info(self, arguments: list[str]) -> str:
        session, _ = self._who(arguments)
        return _columns([(name, _shown(value)) for name, value in session.info().items()])

    def _ping(self, arguments: list[str]) -> str:
        session, _ = self._who(arguments)
        return f"{session.ping(PING_SECONDS) * 1000:.2f} ms"

    def _notice(self, text: str, to: list[Session] | None) -> int:
        return self._server.broadcast("notice", text, to=to)

    def _send(self, arguments: list[str]) -> str:
        session, words = self._who(arguments)
        self._say(self._text(words), [session])
        return "sent"

    def _broadcast(self, arguments: list[str]) -> str:
        count = self._say(self._text(arguments), None)
        return f"sent to {count}"

    def _packet(self, arguments: list[str]) -> str:
        to: list[Session] | None = None
        if arguments[:1] == ["all"]:
            rest = arguments[1:]
        else:
            session, rest = self._who(arguments)
            to = [session]
        if not rest:
            raise ConfigError("say which action")
        try:
            data = json.loads(" ".join(rest[1:])) if rest[1:] else None
        except ValueError as error:
            raise ConfigError(
                f"the data is no JSON: {error}", hint="quote it: packet all move '{\"x\": 1}'"
            ) from None
        return f"sent to {self._server.broadcast(rest[0], data, to=to)}"

    def _kick(self, arguments: list[str]) -> str:
        session, words = self._who(arguments)
        session.kick(" ".join(words))
        return f"kicked {session.token}"

    def _mute(self, arguments: list[str]) -> str:
        session, _ = self._who(arguments)
        session.mute()
        return f"muted {session.token}"

    def _unmute(self, arguments: list[str]) -> str:
        session, _ = self._who(arguments)
        session.unmute()
        return f"unmuted {session.token}"

    def _rooms(self, arguments: list[str]) -> str:
        if arguments:
            members = self._server.room(arguments[0]).members
            lines = [f"{s.token}  {escaped(_called(s))}" for s in members]
            return "\n".join(lines) or "nobody is in that room"
        rows = [(escaped(name), str(len(self._server.room(name)))) for name in self._server.rooms]
        return _columns(rows) or "no rooms"

    def _actions(self, arguments: list[str]) -> str:
        return "\n".join(escaped(action) for action in self._server.actions) or "no handlers"

    def _stats(self, arguments: list[str]) -> str:
        return _columns([(name, _shown(value)) for name, value in self._server.stats().items()])

    def _threads(self, arguments: list[str]) -> str:
        names = self._server.threads
        return "\n".join([f"{len(names)} threads", *names])

    def _pause(self, arguments: list[str]) -> str:
        self._server.pause()
        return "new connections wait"

    def _resume(self, arguments: list[str]) -> str:
        self._server.resume()
        return "new connections are accepted"

    def _drain(self, arguments: list[str]) -> str:
        try:
            seconds = float(arguments[0]) if arguments else DRAIN_SECONDS
        except ValueError:
            raise ConfigError(f"{escaped(arguments[0])!r} is no number of seconds") from None
        if not 0 <= seconds <= 86_400:
            raise ConfigError("a drain takes 0 to 86,400 seconds")
        count = len(self._server.sessions)
        threading.Thread(
            target=self._server.drain, args=(seconds,), name="securelink-drain", daemon=True
        ).start()
        return f"draining: {count} sessions, at most {seconds:g} s; then the server stops"

    def _stop(self, arguments: list[str]) -> str:
        threading.Thread(target=self._server.stop, name="securelink-stop", daemon=True).start()
        return "stopping"

    def _help(self, arguments: list[str]) -> str:
        chosen = {
            name: command
            for name, command in self._commands.items()
            if not arguments or name == arguments[0]
        }
        if not chosen:
            return f"unknown command {escaped(arguments[0])!r}; try: help"
        return _columns([(f"{name} {usage}", text) for name, (_, usage, text) in chosen.items()])


def _called(session: Session) -> str:
    """What people call a session: a name that the application keeps in `data`, else the user."""
    name = session.data.get("name", session.user)
    return str(name) if name is not None else "-"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    return escaped(str(value))


def _columns(rows: Sequence[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
