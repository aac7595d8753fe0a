"""How and why a session ended."""

from __future__ import annotations

from ..codes import Code, code_text, known
from ..errors import ConnectionClosed
from ..protocol import Failed
from ..text import escaped

#: What a client can do after its server ended the session.
AGAIN = "call connect() for a new session"
WAYS_ON: dict[int, str] = {
    Code.PROTOCOL: "connect again; if it happens again, the log of the peer says which rule was broken",
    Code.INTERNAL: "the log of the peer says more",
    Code.SHUTDOWN: "connect(retry=True) waits until it is back",
    Code.RESTART: "connect(retry=True) waits as long as the server asked, and until it is back",
    Code.HANDOVER: "connect(retry=True) begins a new one; reconnect=False was given, or it would have gone on",
    Code.TOO_SLOW: "receive more often",
    Code.SILENT: AGAIN,
    Code.UNREADABLE: "check that both sides run the same version of securelink",
}


class Outcome:
    """
    How and why a session ended; it is made once, in that moment.

    Args:
        code: Why, as a number.
        text: The words of an application (`kick`, a refusal), from either side.
        clean: Whether one side announced the end. False when the connection broke.
        ours: Whether this side announced it.
        failed: What broke the protocol, if something did.

    Attributes:
        code: A `Code`, or the number that a newer peer sent.
        text: As above, escaped.
        detail: What the code means in this case, if it is this side's.
    """

    __slots__ = ("clean", "code", "detail", "failed", "ours", "text")

    def __init__(
        self,
        code: int,
        text: str = "",
        *,
        clean: bool = False,
        ours: bool = False,
        failed: Failed | None = None,
    ) -> None:
        self.code = known(code)
        self.text = escaped(text)
        self.clean = clean
        self.ours = ours
        self.failed = failed
        self.detail = ""

    @property
    def reason(self) -> str:
        """Why, in a sentence that names who ended the session."""
        if self.failed is not None:
            return escaped(self.failed.words)
        words = self.text or code_text(self.code, ours=self.ours)
        return f"{words}: {escaped(self.detail)}" if self.ours and self.detail else words

    def as_error(self) -> ConnectionClosed:
        """The error for whoever sends or waits afterwards."""
        return ConnectionClosed(
            f"the session is over: {self.reason}",
            code=self.code,
            text=self.text,
            clean=self.clean,
            hint=self.failed.hint if self.failed is not None else "",
        )
