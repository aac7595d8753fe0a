"""The hook: it admits who shows a valid token, until that expires."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from ...errors import ConfigError, Refused
from ...limits import MAX_LEEWAY, MAX_SUBJECT, MOST_SECONDS
from ...options import flag, number
from ...signatures import COROUTINE, checked, lazy_kind
from ...streams.addresses import shown
from ...text import escaped, quoted
from ..hello import Hello, please, text_fields
from ..hook import CallsBack, judged
from .checks import EXPIRED, algorithm_of, check_type, claims_of, header_of
from .keys import ALGORITHMS, Keys, Source, Unfit
from .proof import check_binding

log = logging.getLogger("securelink.server")

# All that a client learns: whether another token would help.
REFUSED = "this token is not valid here"
RUN_OUT = "this token has expired; get a new one"
_LEEWAY = 10.0  # seconds: clocks that are set by the network differ by less


class JWT(CallsBack):
    """
    Admits clients by JSON Web Tokens: an `authenticate` hook for `Server`. Needs the extra `jwt`.

        Server(authenticate=JWT("issuer.pem", audience="game", issuer="https://login.example"))

    A client sends `{"jwt": "..."}`, or a `BoundToken`. The session ends when the token expires, or its client is asked
    for another one. Safe to call from any thread. Tokens are taken from encrypted connections only.

    Args:
        keys: The issuer's public keys: PEM; a JWK or JWKS as a dict; a key of `cryptography`; a file of PEM or JSON,
            which is read again when it has changed; or f(kid) that returns one of these, a `jwt.PyJWK`, or None. What
            it is called with comes from a stranger, and is a text of at most 256 printable characters, or None.
        audience: Of the tokens: one of these must be in `aud`.
        issuer: `iss` is one of these.
        algorithms: Of those that fit the key: RS, PS and ES with 256, 384 or 512, and EdDSA.
        user: The claim that names the user, a text of at most 255 printable characters; or f(claims), which returns
            what becomes `session.user`, or raises `Refused`. A token that is renewed must give an equal user.
        leeway: Seconds by which clocks may differ.
        require_binding: Admit only tokens that are bound to a key of the client. One that is bound must always come
            with a proof of its key, by `BoundToken`.
        on_expiry: "end", or f(session) that asks the client and returns a new token, or the credentials that a
            `BoundToken` gave. It is called half a minute before the end, as a handler is; a coroutine in `aio.Server`.

    Raises:
        ConfigError: One of the arguments is not valid.
        KeyFileError: The file cannot be read, or others could change it.
    """

    asks_for = "a JSON Web Token"

    def __init__(
        self,
        keys: Source,
        *,
        audience: str | Iterable[str],
        issuer: str | Iterable[str],
        algorithms: Iterable[str] = ALGORITHMS,
        user: str | Callable[[dict[str, Any]], Any] = "sub",
        leeway: float = _LEEWAY,
        require_binding: bool = False,
        on_expiry: str | Callable[[Any], Any] = "end",
    ) -> None:
        self._algorithms = _texts("algorithms", algorithms)
        for name in self._algorithms:
            if name not in ALGORITHMS:
                raise ConfigError(
                    f"algorithms={quoted(name)} is not possible",
                    hint=f"only asymmetric ones are: {', '.join(ALGORITHMS)}",
                )
        self._leeway = float(leeway) if leeway == 0 else number("leeway", leeway, 0, MAX_LEEWAY)
        self._rules = {
            "audience": _texts("audience", audience),
            "issuer": _texts("issuer", issuer),
            "leeway": self._leeway,
            "options": {"require": ["exp"]},
        }
        self._user = checked("user", user, ("claims",)) if callable(user) else user
        if not callable(user):
            _texts("user", user)
        self._require_binding = flag("require_binding", require_binding)
        self._on_expiry: Callable[[Any], Any] | None = None
        if on_expiry != "end":
            if isinstance(on_expiry, str):
                raise ConfigError(f"on_expiry={quoted(on_expiry)} is not 'end' or a function")
            self._on_expiry = checked("on_expiry", on_expiry, ("session",), runs=True)
        self._keys = Keys(keys)

    def check_functions(self, *, runs: bool) -> None:
        """See `CallsBack`."""
        if self._on_expiry is not None:
            checked("on_expiry", self._on_expiry, ("session",), runs=runs)

    def accepts(self, credentials: object) -> bool:
        """Whether these credentials are a token, valid or not."""
        return _fields(credentials) is not None

    def __call__(self, hello: Hello) -> Any:
        """
        Admit a client until its token expires.

        Returns:
            The user.

        Raises:
            Refused: There is no token, or it is not valid; the log says why. The client only learns whether it has
                expired.
            KeyFileError: The file of keys is damaged or cannot be read.
            Exception: Any exception of the functions `keys` and `user`.
        """
        user, until = self._admitted(hello)
        ask = self._on_expiry
        if ask is None:
            hello.expires(until)
        else:
            renewed = self._awaited if lazy_kind(ask) == COROUTINE else self._renewed
            hello.expires(until, partial(renewed, ask, hello, user))
        return user

    async def _awaited(
        self, ask: Callable[[Any], Awaitable[Any]], hello: Hello, user: Any, session: Any
    ) -> float:
        """As `_renewed`, and as what it is: `Hello` refuses it where coroutines do not run."""
        return await self._renewed_later(ask(session), hello, user, session)

    def _renewed(
        self, ask: Callable[[Any], Any], hello: Hello, user: Any, session: Any
    ) -> float | Awaitable[float]:
        """Ask for another token, which must be as good as the first one was, and of the same user."""
        answer = ask(session)
        if inspect.isawaitable(answer):
            return self._renewed_later(answer, hello, user, session)
        return self._judged(answer, hello, user, session)

    async def _renewed_later(
        self, answer: Awaitable[Any], hello: Hello, user: Any, session: Any
    ) -> float:
        # In another thread, as at a login: the function of keys may wait.
        return await asyncio.to_thread(self._judged, await answer, hello, user, session)

    def _judged(self, answer: Any, hello: Hello, user: Any, session: Any) -> float:
        credentials = {"jwt": answer} if isinstance(answer, str) else answer
        again, until = self._admitted(replace(hello, credentials=credentials, resumed=session))
        if again != user:
            log.info("refused the token of %s: it is another user's", shown(*hello.address))
            raise Refused(REFUSED)
        return until

    def _admitted(self, hello: Hello) -> tuple[Any, float]:
        fields = _fields(hello.credentials)
        if fields is None:
            raise Refused(please(self))
        try:
            claims = self._claims(hello, *fields)
            user = self._user(claims) if callable(self._user) else _named(claims, self._user)
        except Unfit as error:
            log.info("refused the token of %s: %s", shown(*hello.address), escaped(str(error)))
            raise Refused(RUN_OUT if str(error) == EXPIRED else REFUSED) from None
        until = min(min(claims["exp"], MOST_SECONDS) + self._leeway, MOST_SECONDS)
        return judged(user), until

    def _claims(self, hello: Hello, token: str, proof: str | None) -> dict[str, Any]:
        if not hello.encrypted or hello.binding is None:
            raise Unfit("it came without encryption, where others could read it")
        header = header_of(token)
        algorithm = algorithm_of(header, self._algorithms)
        check_type(header)
        key = self._keys.find(header.get("kid"), algorithm)
        claims = claims_of(token, key, algorithm, **self._rules)
        required = self._require_binding
        check_binding(claims, token, proof, hello.binding, required=required)
        return claims


def _fields(credentials: object) -> tuple[str, str | None] | None:
    """Token and proof, if these are credentials of this kind."""
    if alone := text_fields(credentials, "jwt"):
        return alone[0], None
    both = text_fields(credentials, "jwt", "proof")
    return (both[0], both[1]) if both else None


def _named(claims: dict[str, Any], name: str) -> str:
    user = claims.get(name)
    if not isinstance(user, str) or not (1 <= len(user) <= MAX_SUBJECT and user.isprintable()):
        raise Unfit(f"{name}: it is no text of 1 to {MAX_SUBJECT} printable characters")
    return user


def _texts(name: str, value: object) -> list[str]:
    """One or more texts, none of them empty."""
    texts = [value] if isinstance(value, str) else value
    if isinstance(texts, Iterable) and not isinstance(texts, bytes):
        texts = list(texts)
        if texts and all(isinstance(text, str) and text for text in texts):
            return texts
    raise ConfigError(f"{name}= is a text, or a list of texts; not {quoted(value)}")
