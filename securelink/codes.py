"""Why connections and sessions end: the codes of docs/PROTOCOL.md, each with a sentence."""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """
    Why a connection or a session ended: `error.code`, `session.code`, `client.code`.

    The names and numbers are those of docs/PROTOCOL.md, section 14. Three are never sent: BROKEN means that the
    connection ended without a CLOSE, EXPIRED that it did and there was no other one in time, LOST that the server
    does not have the session any more.
    """

    NORMAL = 0
    PROTOCOL = 1
    VERSION = 2
    ENCRYPTION_REQUIRED = 3
    ENCRYPTION_OFF = 4
    NOT_TRUSTED = 5
    BUSY = 6
    TIMEOUT = 7
    INTERNAL = 8
    APPLICATION = 9
    BLOCKED = 10
    REFUSED = 16
    CLIENT_KEY_REQUIRED = 17
    CLIENT_KEY_UNKNOWN = 18
    KICKED = 19
    SHUTDOWN = 20
    TOO_SLOW = 21
    SILENT = 22
    UNREADABLE = 23
    RESTART = 24
    HANDOVER = 25
    BROKEN = 256  # more than a byte, so that no peer can send it; nor what follows
    EXPIRED = 257
    LOST = 258


#: A sentence for each code that the peer sent, for the local user. An unknown code is shown as a number.
CODE_TEXT: dict[int, str] = {
    Code.NORMAL: "closed normally",
    Code.PROTOCOL: "the peer says that we broke the protocol",
    Code.VERSION: "the peer speaks another version of the securelink protocol",
    Code.ENCRYPTION_REQUIRED: "the server requires encryption",
    Code.ENCRYPTION_OFF: "the server has encryption switched off",
    Code.NOT_TRUSTED: "the client does not trust the server's key",
    Code.BUSY: "the server has no room for another connection",
    Code.TIMEOUT: "the handshake took too long",
    Code.INTERNAL: "the peer had an internal error",
    Code.APPLICATION: "the peer is another application, or another version of it",
    Code.BLOCKED: "the server has blocked this address for up to a minute: too many handshakes from it failed",
    Code.REFUSED: "the server refused this client",
    Code.CLIENT_KEY_REQUIRED: "the server wants a client key",
    Code.CLIENT_KEY_UNKNOWN: "the server does not know this client's key",
    Code.KICKED: "kicked",
    Code.SHUTDOWN: "the server is shutting down",
    Code.TOO_SLOW: "the peer says that we are too slow: more was waiting for us than is allowed",
    Code.SILENT: "the peer received nothing from us for too long",
    Code.UNREADABLE: "the peer could not read a packet of ours",
    Code.RESTART: "the server restarts",
    Code.HANDOVER: "the server restarts, and keeps the session for the process that follows",
    Code.BROKEN: "the connection broke: the peer vanished or the network failed",
    Code.EXPIRED: "the connection broke, and there was no other one in time",
    Code.LOST: "the connection broke, and the server does not have the session any more",
}
#: The same if this side ends the session and sends the code.
_OURS: dict[int, str] = {
    Code.NORMAL: "closed by this side",
    Code.PROTOCOL: "the peer broke the protocol",
    Code.INTERNAL: "this side had an internal error",
    Code.TOO_SLOW: "the peer is too slow: more was waiting for it than is allowed",
    Code.SILENT: "nothing was received for too long",
    Code.UNREADABLE: "a packet of the peer could not be read",
}


def code_text(code: int, *, ours: bool = False) -> str:
    """A sentence for a code; `ours`: this side ended the session with it."""
    words = _OURS.get(code) if ours else None
    return words or CODE_TEXT.get(code, f"code {code}")


def known(code: int) -> Code | int:
    """The member of `Code`; a number that is not known here stays a number."""
    try:
        return Code(code)
    except ValueError:
        return code


def is_final(code: int) -> bool:
    """
    Whether a CLOSE in place of WELCOME means that trying again is pointless, because the application has decided.
    Other codes end only the attempt, and a session that was to be resumed waits.
    """
    return code == Code.NORMAL or Code.REFUSED <= code <= Code.KICKED


def spares_session(code: int) -> bool:
    """Whether CLOSE with this code gives a connection up, and the session may go on over another one."""
    return code in (Code.SILENT, Code.HANDOVER)


def has_delay(code: int) -> bool:
    """Whether CLOSE with this code says for how long the client shall stay away."""
    return code in (Code.RESTART, Code.HANDOVER)
