"""docs/DEPLOY.md and docs/INTERNET.md: their programs run, their files say what they must."""

from __future__ import annotations

import configparser
import re
import signal
from pathlib import Path

import pytest
from programs import EXAMPLES, ROOT, Program

from securelink import Client, Identity, JoinTokens, KnownServers, Refused
from securelink.trust.home import user_known_servers

DEPLOY = (ROOT / "docs" / "DEPLOY.md").read_text()
INTERNET = (ROOT / "docs" / "INTERNET.md").read_text()


def block(language: str, document: str = DEPLOY) -> str:
    """The first block of that language."""
    found = re.search(rf"```{language}\n(.*?)```", document, re.DOTALL)
    assert found, language
    return found[1]


@pytest.fixture
def folder(tmp_path: Path, identity: Identity) -> Path:
    """A user's folder that has a server key already: making one takes longer than the rest."""
    identity.save(tmp_path / "keys", "server")
    return tmp_path


def test_the_program_is_healthy_and_ends_when_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service manager starts it, asks for its health, lets clients in by token, and ends it."""
    (folder / "server.py").write_text(block("python"))
    monkeypatch.setenv("GAME_PORT", "0")
    token = JoinTokens(folder / "keys" / "join_tokens.json").create(user="ada")
    with Program("server.py", folder=folder) as server:
        port = server.prints(r"Server PORT: (\d+)").group(1)
        server.prints("Ready")
        with Program(EXAMPLES / "health_check.py", "127.0.0.1", port, folder=folder) as check:
            assert check.ends() == 0, check.output
            assert "healthy" in check.output
        pin = Identity.load(folder / "keys" / "server_private.pem").public.fingerprint
        with Client("127.0.0.1", int(port), pin=pin, token=token) as client:
            client.send("say", "hello")
            packet = client.receive(timeout=60)
            assert packet is not None
            assert packet.data == ["ada", "hello"]
            server.signals(signal.SIGTERM)
            assert server.ends() == 0, server.output
        assert "Traceback" not in server.output


def test_the_health_check_of_an_open_server(folder: Path, other_identity: Identity) -> None:
    """A server that lets everybody in is healthy too, whatever server the user has met at this address before."""
    with Program(EXAMPLES / "first_game_server.py", "0", folder=folder) as server:
        port = server.prints(r"Server PORT: (\d+)").group(1)
        server.prints("Ready")
        KnownServers(user_known_servers()).remember(
            "127.0.0.1", int(port), other_identity.fingerprint
        )
        with Program(EXAMPLES / "health_check.py", "127.0.0.1", port, folder=folder) as check:
            assert check.ends() == 0, check.output
            assert check.output.strip() == "healthy"


@pytest.mark.parametrize("fault", ["nothing listens", "another key", "no key"])
def test_the_health_check_finds_what_is_wrong(
    fault: str, folder: Path, other_identity: Identity
) -> None:
    """It fails with one line when nothing listens, when another key answers, and when there is no key to compare."""
    with Program(EXAMPLES / "first_game_server.py", "0", folder=folder) as server:
        port = server.prints(r"Server PORT: (\d+)").group(1)
        server.prints("Ready")
        keys = folder / "keys"
        if fault == "another key":
            other_identity.save(folder / "others", "server")
            keys = folder / "others"
        elif fault == "no key":
            keys = folder / "empty"
        asked = "1" if fault == "nothing listens" else port
        arguments = (EXAMPLES / "health_check.py", "127.0.0.1", asked, keys)
        with Program(*arguments, folder=folder) as check:
            assert check.ends() == 1
        assert check.output.startswith("not healthy: ")
        assert "Traceback" not in check.output


def test_the_unit_file() -> None:
    """It parses, starts what the page installs, and gives the program the variables that it reads."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(block("ini"))
    service = unit["Service"]
    program = service["ExecStart"].split()
    assert all(part in DEPLOY.split("```ini")[0] for part in ("/opt/game", program[1]))
    given = {part.split("=")[0] for part in service["Environment"].split()}
    assert given == set(re.findall(r'environ\.get\("(\w+)"', block("python")))
    assert service["User"] != "root"
    assert int(service["TimeoutStopSec"]) > 6  # stop() waits 5 s for clients
    assert service["ReadWritePaths"] == service["WorkingDirectory"]
    assert service["Environment"].split()[0].split("=")[1].startswith(service["WorkingDirectory"])


def test_the_dockerfile() -> None:
    """It runs as a user of its own, checks health with a file that exists, and keeps the keys on a volume."""
    lines = re.sub(r"\\\n\s*", "", block("dockerfile")).splitlines()
    words = [line.split(maxsplit=1) for line in lines]
    named = {word: rest for word, rest in words if word != "RUN"}
    assert named["USER"] == "game"
    assert [word for word, _ in words].index("USER") < [word for word, _ in words].index("CMD")
    assert "/src/examples/health_check.py" in block("dockerfile")
    assert (EXAMPLES / "health_check.py").is_file()
    assert named["VOLUME"] in named["ENV"]
    assert named["VOLUME"] in named["HEALTHCHECK"]
    assert named["CMD"].startswith("[")  # without a shell, which would not pass the signal on
    minor = re.match(r"python:3\.(\d+)", named["FROM"])
    assert minor is not None
    assert f"Python :: 3.{minor[1]}" in (ROOT / "pyproject.toml").read_text()


def test_the_invite_of_the_page(folder: Path) -> None:
    """The program of "What to hand out" prints an invite that admits its user once."""
    first, second = re.findall(r"```python\n(.*?)```", INTERNET, re.DOTALL)
    assert first in second.replace(', authenticate="tokens"', "").replace(
        'print(server.invite("game.example", user="ada", uses=1, lifetime=86_400))\n', ""
    )
    program = second.replace("5050", "0").replace("game.example", "127.0.0.1")
    program = program.replace("print(", "server.start()\nprint(").replace(
        "server.serve_forever()", "import time\ntime.sleep(600)"
    )
    with Program("-c", program, folder=folder) as server:
        invite = server.prints(r"(?m)^securelink://\S+$").group(0)
        with Client(invite) as client:
            assert client.connected
        with pytest.raises(Refused):
            Client(invite).connect()


def test_links_of_the_pages_lead_somewhere() -> None:
    """Every link between the documents leads to a file, and every section that is named exists."""
    for page in [*sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*.md"))]:
        for link in re.findall(r"\]\((?![a-z]+:|#)([^)#\s]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.relative_to(ROOT)}: {link}"
