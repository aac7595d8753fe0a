"""The examples beside other programs: a web site with FastAPI, a bot of Discord, and the core in trio."""

from __future__ import annotations

import asyncio
import json
import signal
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers import WAIT, until
from issuer import private_key
from looping import run
from looping import until as soon
from programs import EXAMPLES, Program, finished

from securelink import Client, Code, Identity, Refused, aio
from securelink.auth import BoundToken

KEY = private_key("ES256", 2)


@pytest.fixture
def folder(tmp_path: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder that has a server key already: making one takes longer than the rest."""
    identity.save(tmp_path / "keys", "server")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECURELINK_HOME", str(tmp_path / "home"))
    return tmp_path


def post(url: str, data: dict[str, Any], bearer: str = "") -> Any:
    """A request as a browser sends it; its answer."""
    headers = {"Content-Type": "application/json"}
    if bearer:
        headers["Authorization"] = f"Bearer {bearer}"
    request = urllib.request.Request(url, json.dumps(data).encode(), headers)
    with urllib.request.urlopen(request, timeout=WAIT) as answer:
        return json.loads(answer.read())


def heard(client: Client) -> list[Any]:
    """The next packet."""
    packet = client.receive(WAIT)
    assert packet is not None
    return [packet.action, *packet.data]


def status(call: Callable[[], Any]) -> int:
    """The code of an answer that is an error."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        call()
    with caught.value as answer:
        return answer.code


def test_a_chat_beside_a_web_site(folder: Path) -> None:
    """Its users enter the chat by tokens of the site, bound to their keys; a request to the site reaches them all."""
    with Program(EXAMPLES / "fastapi_chat.py", "0", "0", folder=folder) as site:
        password = site.prints(r"ada: (\S+)").group(1)
        url = site.prints(r"Uvicorn running on (http://\S+)").group(1)
        bound = BoundToken("", KEY)
        who = {"user": "ada", "password": password}
        place = post(f"{url}/login", {**who, "jkt": bound.thumbprint})
        token, port, pin = place["token"], place["port"], place["fingerprint"]
        assert status(lambda: post(f"{url}/login", {**who, "password": "wrong"})) == 401
        assert status(lambda: post(f"{url}/login", {"user": "eve", "password": ""})) == 401
        with pytest.raises(Refused, match="not valid here"):
            Client("127.0.0.1", port, pin=pin, credentials={"jwt": token}).connect()
        plain = post(f"{url}/login", who)["token"]
        with (
            Client("127.0.0.1", port, pin=pin, credentials=BoundToken(token, KEY)) as ada,
            Client("127.0.0.1", port, pin=pin, credentials={"jwt": plain}) as other,
        ):
            ada.send("say", "hello")
            assert heard(ada) == heard(other) == ["said", "ada", "hello"]
            assert post(f"{url}/news", {"text": "tea is ready"}, plain) == 2
            assert heard(ada) == heard(other) == ["news", "ada", "tea is ready"]
            assert status(lambda: post(f"{url}/news", {"text": "x"}, plain[:-2])) == 401
            assert status(lambda: post(f"{url}/news", {"text": "x"}, token)) == 401
            site.signals(signal.SIGINT)
            until(lambda: ada.ended)
            assert ada.code == Code.SHUTDOWN
        assert site.ends() in (0, 130, -signal.SIGINT)
    assert "Traceback" not in site.output


@pytest.mark.filterwarnings(
    "ignore:'count' is passed as positional:DeprecationWarning"
)  # discord.py, from 3.13
def test_a_bridge_to_discord(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written there reaches the players, and the other way round; nothing goes twice. Without the network."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # discord.py imports audioop
        import discord
        import discord_bridge

    sent: list[str] = []

    class Channel(discord.abc.Messageable):
        """One that remembers what was sent to it."""

        async def send(self, *arguments: Any, **options: Any) -> Any:
            await asyncio.sleep(0)
            sent.append(*arguments)

    def message(text: str, *, bot: bool = False, place: int = 7) -> Any:
        author = SimpleNamespace(display_name="bert", bot=bot)
        return SimpleNamespace(channel=SimpleNamespace(id=place), author=author, clean_content=text)

    async def main() -> None:
        bridge = discord_bridge.Bridge(7, port=0)
        monkeypatch.setattr(bridge, "get_channel", {7: Channel()}.get)
        await bridge.setup_hook()
        invite = capsys.readouterr().out.split("invite: ")[1].strip()
        async with aio.Client(invite) as ada:
            await bridge.on_message(message("hello"))
            await bridge.on_message(message("from myself", bot=True))
            await bridge.on_message(message("elsewhere", place=8))
            await bridge.on_message(message("again"))
            got = [await ada.receive(WAIT) for _ in range(2)]
            assert [packet.data for packet in got if packet] == [
                ["bert", "hello"],
                ["bert", "again"],
            ]
            await ada.send("say", "x" * 3000)
            await ada.send("say", ["no text"])
            await ada.send("say", "bye")
            await soon(lambda: len(sent) == 2)
            assert sent == [f"**ada**: {'x' * 1991}", "**ada**: bye"]
            await bridge.close()
            await soon(lambda: ada.ended)

    run(main)


def test_trio(folder: Path) -> None:
    """Two sums go over sockets, and a client that expects another server refuses this one."""
    pytest.importorskip("trio", reason="trio is not installed")
    output = finished(EXAMPLES / "core_trio.py", folder=folder)
    assert output.splitlines() == ["sum 6", "sum 15", "refused: this is another server"]
