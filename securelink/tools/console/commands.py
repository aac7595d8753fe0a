"""The commands of an operator. Each takes a text and returns a text; other modules handle the terminal."""

from __future__ import annotations

import json
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from ...app.context import shown_user
from ...errors import ConfigError, Refused, SecureLinkError
from ...server import Server
from ...session import Session
from ...text import escaped
from .marks import BANNED, Marks, same

PING_SECONDS = 5.0
DRAIN_SECONDS = 300.0  # how long `drain` waits for the sessions when no time is given

Command = Callable[[str], str]  # arguments after the command's name -> text to show


class Console:
    """
    The commands of one server.

    Args:
        server: The server.
        say: Sends a text of the operator: f(text, sessions or None for all) -> the number of sessions that got it. By
            default it sends a packet named "notice".
        silence: Hides a session's messages from others: f(session, silent) -> the marks by which it will be known
            again. Without it `mute` means the same as `deafen`, because the server does not know which packets others
            hear.

    Attributes:
        banned: The marks of sessions that are refused.
    """

    def __init__(
        self,
        server: Server,
        say: Callable[[str, list[Session] | None], int] | None = None,
        silence: Callable[[Session, bool], list[str]] | None = None,
    ) -> None:
        self._server = server
        self._say = say or self._notice
        self._silence = silence
        self._silent: weakref.WeakSet[Session] = weakref.WeakSet()
        self.banned = Marks(addresses=True)
        server.on_connect.add_listener(self._turn_away)
        self._commands: dict[str, tuple[Command, str, str]] = {
            "list": (self._list, "", "the sessions"),
            "info": (self._info, "WHO", "all that is known of one session"),
            "ping": (self._ping, "WHO", "is it alive? the round trip in milliseconds"),
            "send": (self._send, "WHO TEXT", "say something to one session, as it is typed"),
            "whisper": (self._send, "WHO TEXT", "the same"),
            "broadcast": (self._broadcast, "TEXT", "say something to all sessions"),
            "packet": (self._packet, "WHO|all ACTION [JSON]", "send a packet"),
            "kick": (self._kick, "WHO [REASON]", "end a session"),
            "ban": (
                self._ban,
                "WHO [REASON]",
                "end it, and turn away who comes back, until the server ends",
            ),
            "unban": (self._unban, "NAME", "let in again"),
            "bans": (self._bans, "", "who is banned"),
            **self._muting(),
            "rooms": (self._rooms, "[ROOM]", "the rooms, or who is in one"),
            "actions": (self._actions, "", "the packets that have a handler"),
            "stats": (self._stats, "", "numbers"),
            "threads": (self._threads, "", "the server's threads"),
            "pause": (self._pause, "", "accept no new connections"),
            "resume": (self._resume, "", "accept connections again"),
            "drain": (
                self._drain,
                "[SECONDS]",
                "let nobody in, wait until all have left, stop; who stays is told to come back",
            ),
            "stop": (self._stop, "", "end all sessions and stop"),
            "help": (
                self._help,
                "[COMMAND]",
                'this list; names with spaces are written in "quotes"',
            ),
        }

    def _muting(self) -> dict[str, tuple[Command, str, str]]:
        deaf = {
            "deafen": (self._deafen, "WHO", "send nothing to a session any more"),
            "undeafen": (self._undeafen, "WHO", "send to it again"),
        }
        if self._silence is None:
            return {"mute": deaf["deafen"], "unmute": deaf["undeafen"], **deaf}
        return {
            "mute": (
                self._mute,
                "WHO",
                "nobody hears what this person says, also when they come back",
            ),
            "unmute": (self._unmute, "WHO", "they are heard again"),
            **deaf,
        }

    def add(self, name: str, command: Command, usage: str, text: str) -> None:
        """
        Add a command of the application's own.

        Args:
            name: One word.
            command: f(arguments after the name) returns the text to show. It may raise `SecureLinkError`.
            usage: The arguments, as the help shows them.
            text: The description in the help.
        """
        self._commands[name] = (command, usage, text)

    def execute(self, line: str) -> str:
        """Run one line; returns the text to show. Never raises for the content of the line."""
        name, rest = _next_word(line)
        if not name:
            return ""
        command = self._commands.get(name.lower())
        if command is None:
            return f"unknown command {escaped(name)!r}; try: help"
        try:
            return command[0](rest)
        except SecureLinkError as error:
            return f"error: {error}"

    def complete(self, line: str) -> list[str]:
        """Completions of the last word of the line."""
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
        # Control characters for a terminal are never put into the line that is being typed.
        return sorted(c for c in candidates if c.startswith(words[1]) and c.isprintable())

    # --- finding ------------------------------------------------------------------------------------------

    def _who(self, rest: str) -> tuple[Session, str]:
        """The session at the beginning of the line, and the rest."""
        wanted, rest = _quoted(rest)
        if not wanted:
            raise ConfigError("say who", hint="a user name, or the beginning of a token; see: list")
        sessions = list(self._server.sessions.values())
        # A whole token comes first: others may know it, and use it as a name.
        found = (
            [s for s in sessions if s.token == wanted]
            or [s for s in sessions if wanted in (_called(s), shown_user(s.user))]
            or [s for s in sessions if same(_called(s), wanted)]
            or [s for s in sessions if s.token.startswith(wanted)]
        )
        if len(found) == 1:
            return found[0], rest
        if not found:
            raise ConfigError(f"nobody is called {escaped(wanted)!r}", hint="see: list")
        raise ConfigError(f"{escaped(wanted)!r} fits {len(found)} sessions", hint="use the token")

    @staticmethod
    def _text(rest: str) -> str:
        if not rest:
            raise ConfigError("say what")
        return rest

    # --- the commands ---------------------------------------------------------------------------------------

    def _list(self, rest: str) -> str:
        sessions = sorted(self._server.sessions.values(), key=lambda s: s.connected_at)
        if not sessions:
            return "no sessions"
        now = time.time()
        rows = [("token", "name", "address", "since", "")]
        for s in sessions:
            flags = ("muted " if s in self._silent else "") + ("deaf " if s.muted else "")
            flags += ("" if s.connected else "away ") + ("" if s.encrypted else "PLAINTEXT")
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

    def _info(self, rest: str) -> str:
        session, _ = self._who(rest)
        info = session.info()
        info["user"] = shown_user(info["user"])  # it may be the credentials of the client
        return _columns([(name, _shown(value)) for name, value in info.items()])

    def _ping(self, rest: str) -> str:
        session, _ = self._who(rest)
        return f"{session.ping(PING_SECONDS) * 1000:.2f} ms"

    def _notice(self, text: str, to: list[Session] | None) -> int:
        return self._server.broadcast("notice", text, to=to)

    def _send(self, rest: str) -> str:
        session, text = self._who(rest)
        self._say(self._text(text), [session])
        return "sent"

    def _broadcast(self, rest: str) -> str:
        count = self._say(self._text(rest), None)
        return f"sent to {count}"

    def _packet(self, rest: str) -> str:
        to: list[Session] | None = None
        first, others = _next_word(rest)
        if first == "all":
            rest = others
        else:
            session, rest = self._who(rest)
            to = [session]
        action, text = _quoted(rest)
        if not action:
            raise ConfigError("say which action")
        if len(text) > 1 and text[0] == text[-1] == "'":
            text = text[1:-1]  # as a shell would want it
        try:
            data = json.loads(text) if text else None
        except (ValueError, RecursionError) as error:
            raise ConfigError(
                f"the data is no JSON: {error}", hint='write: packet all move {"x": 1}'
            ) from None
        return f"sent to {self._server.broadcast(action, data, to=to)}"

    def _kick(self, rest: str) -> str:
        session, reason = self._who(rest)
        session.kick(reason)
        return f"kicked {session.token}"

    def _ban(self, rest: str) -> str:
        session, reason = self._who(rest)
        name = _called(session)
        label = session.token if name == "-" else name
        known = self.banned.add(label, session)
        for other in list(self._server.sessions.values()):
            if other is session or other in self.banned:
                other.kick(f"{BANNED}: {reason}" if reason else BANNED)
        if not known:
            return (
                f"kicked {session.token}; nothing is known of it by which it could be turned away"
            )
        return f"banned {escaped(label)} by {', '.join(known)}, until the server ends"

    def _unban(self, rest: str) -> str:
        name, _ = _quoted(rest)
        if not self.banned.remove(name):
            raise ConfigError(f"nobody called {escaped(name)!r} is banned", hint="see: bans")
        return f"{escaped(name)} may come again"

    def _bans(self, rest: str) -> str:
        return "\n".join(map(escaped, self.banned.labels)) or "nobody is banned"

    def _turn_away(self, session: Session) -> None:
        if session in self.banned:
            raise Refused(BANNED)

    def _mute(self, rest: str) -> str:
        assert self._silence is not None
        session, _ = self._who(rest)
        known = self._silence(session, True)
        self._silent.add(session)
        return f"muted {session.token}" + (f" by {', '.join(known)}" if known else "")

    def _unmute(self, rest: str) -> str:
        assert self._silence is not None
        session, _ = self._who(rest)
        self._silence(session, False)
        self._silent.discard(session)
        return f"unmuted {session.token}"

    def _deafen(self, rest: str) -> str:
        session, _ = self._who(rest)
        session.mute()
        return f"nothing is sent to {session.token} any more"

    def _undeafen(self, rest: str) -> str:
        session, _ = self._who(rest)
        session.unmute()
        return f"{session.token} gets everything again"

    def _rooms(self, rest: str) -> str:
        if rest:
            members = self._server.room(_quoted(rest)[0]).members
            lines = [f"{s.token}  {escaped(_called(s))}" for s in members]
            return "\n".join(lines) or "nobody is in that room"
        rows = [(escaped(name), str(len(self._server.room(name)))) for name in self._server.rooms]
        return _columns(rows) or "no rooms"

    def _actions(self, rest: str) -> str:
        return "\n".join(escaped(action) for action in self._server.actions) or "no handlers"

    def _stats(self, rest: str) -> str:
        return _columns([(name, _shown(value)) for name, value in self._server.stats().items()])

    def _threads(self, rest: str) -> str:
        names = self._server.threads
        return "\n".join([f"{len(names)} threads", *names])

    def _pause(self, rest: str) -> str:
        self._server.pause()
        return "new connections wait"

    def _resume(self, rest: str) -> str:
        self._server.resume()
        return "new connections are accepted"

    def _drain(self, rest: str) -> str:
        try:
            seconds = float(rest) if rest else DRAIN_SECONDS
        except ValueError:
            raise ConfigError(f"{escaped(rest)!r} is no number of seconds") from None
        if not 0 <= seconds <= 86_400:
            raise ConfigError("a drain takes 0 to 86,400 seconds")
        count = len(self._server.sessions)
        threading.Thread(
            target=self._server.drain, args=(seconds,), name="securelink-drain", daemon=True
        ).start()
        return f"draining: {count} sessions, at most {seconds:g} s; then the server stops"

    def _stop(self, rest: str) -> str:
        threading.Thread(target=self._server.stop, name="securelink-stop", daemon=True).start()
        return "stopping"

    def _help(self, rest: str) -> str:
        chosen = {
            name: command for name, command in self._commands.items() if not rest or name == rest
        }
        if not chosen:
            return f"unknown command {escaped(rest)!r}; try: help"
        return _columns([(f"{name} {usage}", text) for name, (_, usage, text) in chosen.items()])


def _next_word(text: str) -> tuple[str, str]:
    """The first word, and the rest as it was typed."""
    words = text.split(maxsplit=1)
    return (words[0] if words else ""), (words[1].rstrip() if len(words) > 1 else "")


def _quoted(text: str) -> tuple[str, str]:
    """As `_next_word`; a name in double quotes is one word. The rest is not parsed: it may be `it's me`."""
    text = text.strip()
    if not text.startswith('"'):
        return _next_word(text)
    name, end, rest = text[1:].partition('"')
    if not end:
        raise ConfigError("cannot read that line: no closing quotation mark")
    return name, rest.strip()


def _called(session: Session) -> str:
    """The name of a session for people: a name that the application keeps in `data`, or the user."""
    name = session.data.get("name", session.user)
    return shown_user(name) if name is not None else "-"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, dict):  # a dict of counts: those that are not 0
        return ", ".join(f"{name} {_shown(count)}" for name, count in value.items() if count) or "0"
    return escaped(str(value))


def _columns(rows: Sequence[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
