"""
Every error this library raises on purpose.

    SecureLinkError
    ├── ConfigError (ValueError)       an argument or option is wrong, or does not fit the others
    ├── LimitExceeded                  a documented bound of limits.py was reached
    ├── CodecError (ValueError)        bytes that are not a valid packet, frame or field list
    ├── ProtocolError                  the peer broke the protocol; the connection is dead
    │   └── RecordError                a record failed authentication or arrived out of order
    ├── HandshakeError                 this attempt to connect failed
    │   ├── PeerIncompatible           other version, application or encryption policy
    │   ├── NotTrusted                 the server's key is unknown, changed or not the pinned one
    │   └── Refused                    the server refused this client, with its text
    ├── ConnectionClosed               the session is over; code and text say why
    ├── RequestFailed                  the peer could not answer a request
    ├── LinkTimeout (TimeoutError)     a blocking call reached its deadline
    ├── ConnectFailed (OSError)        no connection could be made: refused, unknown host, no route
    ├── KeyFileError                   a key or trust file is missing, damaged or readable by others
    ├── StateError                     a state file (`state=`) is in use, damaged, full or sealed under another key
    └── UnsealError                    a sealed packet is not for us, not genuine or not fresh

An error has a message (what went wrong, with the offending value) and, where possible, a hint
(what to do next). `str()` gives both. No error contains a key, a ticket or a credential.
"""

from __future__ import annotations

from typing import Any

from .codes import Code, known


class SecureLinkError(Exception):
    """
    Root of all errors of this library.

    Attributes:
        message: What went wrong, one sentence without the final stop.
        hint: What to do next, or "".
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # By default the class is called with `args` alone, which is the message: keyword arguments would be lost, and
        # a class that requires one could not be unpickled. Workers of process pools raise our errors.
        return _remade, (type(self), self.args, self.__dict__.copy())


def _remade(
    kind: type[SecureLinkError], args: tuple[Any, ...], fields: dict[str, Any]
) -> SecureLinkError:
    """Build an equal error, for pickle and copy."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(fields)
    return error


class ConfigError(SecureLinkError, ValueError):
    """The caller's arguments cannot work together, or at all."""


class LimitExceeded(SecureLinkError):
    """A bound was reached; `limit` names the entry of `limits.py` or the option that sets it."""

    def __init__(self, message: str, *, limit: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.limit = limit


class CodecError(SecureLinkError, ValueError):
    """Bytes from outside are malformed. The message says which rule they break."""


class ProtocolError(SecureLinkError):
    """
    The peer broke the protocol. The connection cannot go on.

    Attributes:
        code: The `Code` to tell the peer.
    """

    def __init__(self, message: str, *, code: int = Code.PROTOCOL, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = known(code)


class RecordError(ProtocolError):
    """The tag, counter or key of a record is wrong; a failed tag does not show which."""


class HandshakeError(SecureLinkError):
    """
    This attempt to connect failed before a session existed.

    Attributes:
        code: The `Code` that was sent or received; a plain number when a newer peer sent one unknown here.
        final: Whether trying again is pointless. Anybody on the path can send an ALERT, so it is never final.
    """

    def __init__(self, message: str, *, code: int = Code.PROTOCOL, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = known(code)
        self.final = True


class PeerIncompatible(HandshakeError):
    """The two sides differ in version, application or encryption policy."""


class NotTrusted(HandshakeError):
    """
    The server showed a key that this client has no reason to believe.

    Attributes:
        fingerprint: The fingerprint of the key that the server showed, `SHA256:...`.
        expected: The fingerprint that was expected, or None for an unknown server.
    """

    def __init__(
        self, message: str, *, fingerprint: str, expected: str | None = None, hint: str = ""
    ) -> None:
        super().__init__(message, code=Code.NOT_TRUSTED, hint=hint)
        self.fingerprint = fingerprint
        self.expected = expected


class Refused(HandshakeError):
    """
    The server refused the session. Raised by `authenticate` hooks to refuse, by `connect()` when refused.

    Attributes:
        text: The text of the server's application; from a peer it is untrusted and already escaped.
    """

    def __init__(self, text: str = "", *, code: int = Code.REFUSED, hint: str = "") -> None:
        super().__init__(text or "the server refused this client", code=code, hint=hint)
        self.text = text


class ConnectionClosed(SecureLinkError):
    """
    The session is over.

    Attributes:
        code: A `Code`; a plain number when a newer peer sent one unknown here.
        text: What the peer's application said, escaped, or "".
        clean: True when a CLOSE record announced the end, False when the stream just ended.
    """

    def __init__(
        self,
        message: str,
        *,
        code: int = Code.NORMAL,
        text: str = "",
        clean: bool = False,
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = known(code)
        self.text = text
        self.clean = clean


_FAILURES = {
    "refused": "the peer refused the request",
    "no handler": "the peer has no handler for this request",
    "invalid": "the data does not have the type that the peer's handler expects",
    "error": "the peer's handler failed; its log says why",
}


class RequestFailed(SecureLinkError):
    """
    The peer received the request but did not answer it. Handlers raise this to refuse; `request()` raises it then.

    Attributes:
        text: What the peer's application said, escaped, or "".
        reason: "refused" (its handler raised this), "no handler", "invalid" (the data does not have the type that
            its handler expects; `text` names the field) or "error" (its handler failed).
    """

    def __init__(self, text: str = "", *, reason: str = "refused", hint: str = "") -> None:
        super().__init__(text or _FAILURES.get(reason, reason), hint=hint)
        self.text = text
        self.reason = reason


class LinkTimeout(SecureLinkError, TimeoutError):
    """A blocking call reached its deadline. Nothing was lost; it may be called again."""


class ConnectFailed(SecureLinkError, OSError):
    """TCP could not connect, listen or bind."""

    def __str__(self) -> str:
        return SecureLinkError.__str__(self)


class KeyFileError(SecureLinkError):
    """A key file, trust file or token file cannot be used."""


class StateError(SecureLinkError):
    """The sessions of a server cannot be kept in its state file, or not be taken from it."""


class UnsealError(SecureLinkError):
    """The sealed packet cannot be accepted. All causes have the same message, because the cause would help a forger."""
