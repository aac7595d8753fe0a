"""
A chat beside a web site: FastAPI and a session server in one process, in one event loop, with one login.

    pip install fastapi uvicorn 'securelink-sessions[jwt]'
    python examples/fastapi_chat.py [WEB_PORT CHAT_PORT]         # prints a password for "ada"

    POST /login {"user": "ada", "password": ..., "jkt": ...}     a token, and where the chat is
    POST /news  {"text": ...}, Authorization: Bearer TOKEN       everybody in the chat gets it

The chat's clients log in with the token of the web site, `Client(credentials={"jwt": token})`. With the thumbprint of a
key (`jkt`) the token is bound to that key, so that a stolen one is worth nothing: `BoundToken`, docs/JWT.md. Before it
expires the chat asks its client for the next one. In production the web site is reached by HTTPS.
"""

import hmac
import secrets
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import Body, FastAPI, Header, HTTPException

from securelink import Received, aio
from securelink.auth import JWT

LIFETIME = 900.0  # seconds; until then a token cannot be revoked, so not longer
ISSUER, CHAT, WEB = "https://example.org", "chat", "web"  # a token says for whom it is
USERS = {"ada": secrets.token_urlsafe(9)}  # yours are in a database, as hashes


def make_app(chat_port: int, lifetime: float = LIFETIME) -> FastAPI:
    """The web site, which starts the chat and stops it."""
    key = Ed25519PrivateKey.generate()  # yours is in a file: tokens outlive a restart then

    async def next_token(session: aio.Session) -> Any:
        return await session.request("token", timeout=20)

    login = JWT(key.public_key(), audience=CHAT, issuer=ISSUER, on_expiry=next_token)
    chat = aio.Server("127.0.0.1", chat_port, authenticate=login)

    @chat.on("say")
    async def say(session: aio.Session, packet: Received) -> None:
        chat.broadcast("said", [session.user, packet.data])

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with chat:  # clients can connect when the web site answers, and are told when it ends
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/login")
    async def log_in(
        user: Annotated[str, Body()],
        password: Annotated[str, Body()],
        jkt: Annotated[str, Body()] = "",
    ) -> dict[str, Any]:
        known = USERS.get(user, secrets.token_urlsafe(9))
        if not hmac.compare_digest(known.encode(), password.encode()):
            raise HTTPException(401, "wrong user name or password")
        now = time.time()
        claims = {"sub": user, "iss": ISSUER, "iat": now, "exp": now + lifetime}
        # The chat checks who has the key of a bound token, this site does not: there it is none.
        claims |= {"aud": CHAT, "cnf": {"jkt": jkt}} if jkt else {"aud": [CHAT, WEB]}
        token = jwt.encode(claims, key, "EdDSA")
        return {"token": token, "port": chat.address[1], "fingerprint": chat.fingerprint}

    @app.post("/news")
    async def news(
        text: Annotated[str, Body(embed=True)], authorization: Annotated[str, Header()]
    ) -> int:
        token = authorization.removeprefix("Bearer ")
        try:
            claims = jwt.decode(token, key.public_key(), ["EdDSA"], audience=WEB, issuer=ISSUER)
        except jwt.PyJWTError:
            raise HTTPException(401, "this token is not valid here") from None
        return chat.broadcast("news", [claims["sub"], text])  # how many have got it

    return app


if __name__ == "__main__":
    web_port, chat_port = map(int, sys.argv[1:3]) if len(sys.argv) > 2 else (8000, 5050)
    print("ada:", USERS["ada"])
    uvicorn.run(make_app(chat_port), port=web_port)
