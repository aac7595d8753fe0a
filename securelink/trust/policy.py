"""The trust policy of a client for a server's key: a pin, a known server, or trust on first use."""

from __future__ import annotations

import logging
import shlex
import time

from ..errors import ConfigError, NotTrusted, SecureLinkError
from ..keys.succession import follows
from ..protocol.handshake_client import VerifiedServer
from ..streams.addresses import is_loopback_host, shown
from ..streams.sockets import with_zone_name
from ..wire.fields import Mode
from . import KnownServers
from .home import user_known_servers
from .locking import LOCK_SECONDS

log = logging.getLogger("securelink.client")


class Belief:
    """
    The trust of one client in one server.

    Args:
        host: As typed.
        port: Likewise.
        pin: The required fingerprint, or None.
        trust: "known", "first-use" or None, as in `Client`.
        known: The known servers.
        plaintext_credentials: Whether credentials may go to another machine in plaintext.
    """

    def __init__(
        self,
        host: str,
        port: int,
        pin: str | None,
        trust: str | None,
        known: KnownServers,
        *,
        plaintext_credentials: bool = False,
    ) -> None:
        self._host = with_zone_name(host)
        self._port = port
        self._pin = pin
        self._trust = trust
        self._known_servers = known
        self._plaintext_credentials = plaintext_credentials
        self._known: str | None = None
        self._followed: str | None = None  # the known key that has signed the key it shows now
        self._met: str | None = None  # its key, if that could not be stored

    @property
    def _where(self) -> str:
        return shown(self._host, self._port)

    def consult(self, mode: Mode) -> Mode:
        """
        Look up the server before connecting; returns the mode to connect with.

        Raises:
            KeyFileError: `known_servers` is damaged, which never counts as a first use.
            NotTrusted: The pin contradicts it.
        """
        known = self._known = self._known_servers.get(self._host, self._port) or self._met
        if known is None:
            return mode
        if self._pin is not None and known != self._pin:
            raise NotTrusted(
                f"the invite or pin says that {self._where} has the key {self._pin}, "
                f"known is {known}, in {self._known_servers.path}",
                fingerprint=self._pin,
                expected=known,
                hint=f"{self._cause()}; if the server really has a new key, run: {self._command('forget')}",
            )
        if mode == Mode.OFF:
            log.warning(
                "%s has a known key, but encryption is off here: nothing proves that it is the same server",
                self._where,
            )
        # It has a key: a plaintext answer comes from somebody else.
        return Mode.REQUIRED if mode == Mode.OPTIONAL else mode

    def mode(self, mode: Mode, *, credentials: bool, loopback: bool) -> Mode:
        """
        The mode to offer: if `judge` would refuse an unknown key, a plaintext answer must be refused too.

        Raises:
            ConfigError: Encryption is off, and credentials would go to another machine.
        """
        exposed = credentials and not loopback and not self._plaintext_credentials
        if exposed and mode == Mode.OFF:
            raise ConfigError(
                f"without encryption anyone on the path to {self._where} could read the credentials; nothing was sent",
                hint="drop encryption='off', or say plaintext_credentials=True",
            )
        untrusted = self._trust == "known" or (credentials and self._trust is None and not loopback)
        return Mode.REQUIRED if (untrusted or exposed) and mode == Mode.OPTIONAL else mode

    def _command(self, verb: str, *more: str) -> str:
        """The command that changes the entry of this server, ready to be pasted."""
        words = ["securelink", "keys", verb, self._host, str(self._port), *more]
        if self._known_servers.path != user_known_servers():
            words += ["--keys", str(self._known_servers.path.parent)]
        return shlex.join(words)

    def judge(self, server: VerifiedServer, *, credentials: bool, loopback: bool) -> None:
        """
        Decide whether to trust a key that the server has proved.

        Args:
            server: The server's proof.
            credentials: Whether a password or token would go to the server.
            loopback: Whether the server is on this machine.

        Raises:
            NotTrusted: The key is not trusted; the hint says what to do.
        """
        fingerprint = server.key.fingerprint
        self._followed = None
        if self._pin is None and self._known is None:
            # Check again: another client of this user may have met the server meanwhile.
            self._known = self._known_servers.get(self._host, self._port)
        expected = self._pin or self._known
        if expected is not None:
            if fingerprint != expected:
                named = follows(server.succession, server.key, expected, time.time())
                if self._pin is not None or not named:
                    raise self._wrong_key(fingerprint, expected, named=named)
                self._followed = expected
            return
        if self._trust == "known":
            raise NotTrusted(
                f"{self._where} is not known here; its key is {fingerprint}",
                fingerprint=fingerprint,
                hint="check the fingerprint with its operator, then run: "
                f"{self._command('trust', fingerprint)}",
            )
        if credentials and self._trust is None and not loopback:
            raise NotTrusted(
                f"{self._where} is not known here, and the credentials would go to whoever answers; "
                f"its key is {fingerprint}",
                fingerprint=fingerprint,
                hint="use an invite, or check the fingerprint and pass pin=, or accept any key with "
                "trust='first-use'",
            )

    def _wrong_key(self, fingerprint: str, expected: str, *, named: bool = False) -> NotTrusted:
        if self._pin is not None:
            message = f"{self._where} showed the key {fingerprint}, not the pinned {expected}"
            hint = "somebody may be in between; or the invite is old: ask for a new one"
            if named:  # a pin is exact: its author decides
                hint = "the pinned key has signed this one: pin it instead, or ask for a new invite"
        else:
            message = f"THE KEY OF {self._where} HAS CHANGED: it showed {fingerprint}, known is {expected}"
            hint = (
                f"{self._cause()}; if the operator confirms a new key, run: "
                f"{self._command('forget')}"
            )
        return NotTrusted(message, fingerprint=fingerprint, expected=expected, hint=hint)

    def _cause(self) -> str:
        """Why a server may show a different key; on this machine a common cause is harmless."""
        if self._host == "localhost" or is_loopback_host(self._host):
            return (
                "a server makes a key of its own in each folder in which it is started; if you started this one "
                "in another folder, that is all; otherwise somebody may be in between"
            )
        return "somebody may be in between"

    @property
    def has_news(self) -> bool:
        """Whether `remember` is to write something down: then it may wait."""
        if self._followed is not None:
            return True
        return self._pin is None and (self._known is None or self._met is not None)

    def remember(
        self, fingerprint: str, *, lifetime: float | None = None, timeout: float = LOCK_SECONDS
    ) -> None:
        """
        After WELCOME: store a first use, or the new key of a server that has rotated its own. A working session is
        not given up if the file cannot be written.

        Args:
            fingerprint: The fingerprint of the server's key.
            lifetime: Seconds until it is forgotten; None for never.
            timeout: Seconds to wait while another program changes the file.

        Raises:
            NotTrusted: Another client has stored a different key meanwhile: one of the two met an impostor.
        """
        if self._followed is not None:
            self._follow(self._followed, fingerprint, lifetime, timeout)
            return
        if not self.has_news:
            return
        try:
            self._known_servers.remember(
                self._host, self._port, fingerprint, lifetime=lifetime, timeout=timeout
            )
        except NotTrusted as error:
            raise self._wrong_key(fingerprint, error.expected or "another") from None
        except SecureLinkError as error:
            self._met = fingerprint
            log.warning("the key of %s could not be written down: %s", self._where, error)
        else:
            self._met = None
            log.warning(
                "first connection to %s: its key is %s, remembered in %s",
                self._where,
                fingerprint,
                self._known_servers.path,
            )

    def _follow(self, old: str, new: str, lifetime: float | None, timeout: float) -> None:
        """The known key has signed another key, which the server has proved: it becomes the known one."""
        try:
            self._known_servers.replace(
                self._host, self._port, old, new, lifetime=lifetime, timeout=timeout
            )
        except NotTrusted as error:
            raise self._wrong_key(new, error.expected or "another") from None
        except SecureLinkError as error:
            log.warning("the new key of %s could not be written down: %s", self._where, error)
        else:
            self._met = None
            log.warning(
                "%s has a new key, signed by the one that was known: %s instead of %s, remembered in %s",
                self._where,
                new,
                old,
                self._known_servers.path,
            )
