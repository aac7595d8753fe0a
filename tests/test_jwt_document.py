"""docs/JWT.md: its programs run as they are printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from helpers import until
from issuer import pem_of, private_key, private_pem_of, token
from programs import ROOT

from securelink import Identity, Server
from securelink.testing import connected

PAGE = (ROOT / "docs" / "JWT.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def names(tmp_path: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A folder with the files that the programs read, and the names that they share."""
    monkeypatch.chdir(tmp_path)
    identity.save(tmp_path / "keys", "server")
    monkeypatch.setenv("SECURELINK_HOME", str(tmp_path / "home"))
    for name, text in {
        "issuer.pem": pem_of(private_key("EdDSA")),
        "token": token(),
        "client_key.pem": private_pem_of(private_key("ES256", 2)),
    }.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    return {"token_of_now": token}


def run(number: int, names: dict[str, Any]) -> None:
    exec(BLOCKS[number], names)


def test_a_server_and_its_clients(names: dict[str, Any]) -> None:
    """The first server takes the token of the first client, and the second client's with its proof."""
    run(0, names)
    server: Server = names["server"]
    run(1, names)
    with connected(server, credentials={"jwt": names["token"]}) as client:
        until(lambda: client.token in server.sessions)
        assert server.sessions[client.token].user == "ada"
        names["client"].close()
        run(2, names)
        bound = names["credentials"]
        names["token"] = token(cnf={"jkt": bound.thumbprint})
        run(2, names)
        names["client"].close()
    with connected(server, credentials=names["credentials"]) as client:
        assert client.connected


def test_the_next_token(names: dict[str, Any]) -> None:
    """The server asks, and the client answers, as the page has it."""
    run(3, names)
    server: Server = names["server"]
    with connected(server, credentials={"jwt": token()}) as client:
        names["client"] = client
        run(4, names)
        until(lambda: client.token in server.sessions)
        fresh = names["another"](server.sessions[client.token])
        assert fresh.count(".") == 2


def test_keys_from_elsewhere(names: dict[str, Any]) -> None:
    """The function of PyJWT is one that the hook takes; nothing is fetched before there is a token."""
    run(5, names)
    assert names["login"].accepts({"jwt": token()})
    assert len(BLOCKS) == 6
