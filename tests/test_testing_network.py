"""`securelink.testing`: servers and clients of a game meet without ports, and somebody in the middle does as asked."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from helpers import WAIT, until
from programs import ROOT

from securelink import (
    Client,
    ConfigError,
    ConnectionClosed,
    Identity,
    KnownServers,
    Refused,
    Server,
)
from securelink.codes import Code
from securelink.errors import SecureLinkError
from securelink.streams.tcp import TCP
from securelink.testing import Network, Relay, connected
from securelink.trust.home import user_known_servers
from securelink.wire.fields import Kind


def game(identity: Identity, **options: Any) -> Server:
    """A server as a user's program has it: a port of its own, and a handler."""
    server = Server(port=5050, keys=identity, **options)
    server.on("echo", lambda session, packet: packet.data)
    return server


@pytest.fixture
def network() -> Iterator[Network]:
    """A network in memory; when it is left, no thread of it or of its relays is."""
    with Network(timeout=WAIT) as network:
        yield network
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("relay")]


@pytest.fixture
def no_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens or connects on the network while this is used."""

    def refused(*_: object) -> None:
        raise AssertionError("a port was used")

    monkeypatch.setattr(socket.socket, "bind", refused)
    monkeypatch.setattr(socket.socket, "listen", refused)
    monkeypatch.setattr(socket.socket, "connect", refused)


@pytest.mark.usefixtures("no_ports")
@pytest.mark.parametrize("encryption", ["required", "off"])
def test_one_server_and_one_client(identity: Identity, encryption: str) -> None:
    """`connected` starts a server and connects a client, without a port, and afterwards both have ended."""
    server = game(identity, encryption=encryption)
    gone: list[object] = []
    server.on_disconnect(gone.append)
    with connected(server, timeout=WAIT) as client:
        assert client.encrypted == (encryption == "required")
        assert client.request("echo", "hello", timeout=WAIT) == "hello"
        assert server.address[1] == 5050
        assert len(server.sessions) == 1
    assert not client.connected
    assert not server.running
    assert len(gone) == 1
    assert server.carrier is TCP


def test_options_of_the_client(identity: Identity) -> None:
    """What is given to `connected` is the client's, and what the server refuses is its usual error."""

    def authenticate(hello: Any) -> str:
        if hello.credentials != "sesame":
            raise Refused("not today")
        return "ada"

    server = game(identity, authenticate=authenticate)
    with connected(server, credentials="sesame", timeout=WAIT):
        assert [session.user for session in server.sessions.values()] == ["ada"]
    with pytest.raises(Refused, match="not today"), connected(server, credentials="x"):
        pass
    assert not server.running


def test_a_server_that_runs_already(identity: Identity) -> None:
    """A server that listens elsewhere is not taken over: that is said, and it goes on."""
    with Server("127.0.0.1", 0, keys=identity) as server:
        with pytest.raises(ConfigError, match="running already"), connected(server):
            pass
        assert server.running


def test_many_of_both(identity: Identity, network: Network) -> None:
    """A network has any number of servers and clients, and the same port as another network."""
    one, two = game(identity), Server(port=5051, keys=identity)
    network.serve(one)
    network.serve(two)
    clients = [network.client(one) for _ in range(3)]
    network.client(two)
    assert [client.request("echo", n, timeout=WAIT) for n, client in enumerate(clients)] == [
        0,
        1,
        2,
    ]
    assert (len(one.sessions), len(two.sessions)) == (3, 1)
    with Network() as other:
        other.serve(game(identity))


def test_handlers_before_connecting(identity: Identity, network: Network) -> None:
    """A client can be had unconnected, so that its handlers see the first packet."""
    server = game(identity)
    server.on_connect(lambda session: session.send("welcome", "ada"))
    network.serve(server)
    client = network.client(server, connect=False)
    seen: list[object] = []
    client.on("welcome", lambda packet: seen.append(packet.data))
    client.connect(WAIT)
    until(lambda: seen == ["ada"])


def test_a_program_of_its_own_port(identity: Identity, network: Network) -> None:
    """A client that the tested program makes itself reaches the server where it is told the network."""
    network.serve(game(identity))
    client = Client("127.0.0.1", 5050, pin=identity.fingerprint)
    client.carrier = network.carrier
    with client.connect(WAIT):
        assert client.request("echo", 1, timeout=WAIT) == 1


@pytest.mark.parametrize("encryption", ["required", "optional", "off"])
def test_the_servers_that_the_user_knows_do_not_matter(
    identity: Identity, other_identity: Identity, network: Network, encryption: str
) -> None:
    """Whoever has played on port 5050 of this machine knows another key for it; tests neither read nor change that."""
    known = KnownServers(user_known_servers())
    known.remember("127.0.0.1", 5050, other_identity.fingerprint)
    before = known.path.read_bytes()
    server = network.serve(game(identity, encryption=encryption))
    client = network.client(server, encryption=encryption)
    assert client.encrypted == (encryption != "off")
    own = Client("127.0.0.1", 5050, encryption=encryption, known_servers=network.known_servers)
    own.carrier = network.carrier
    with own.connect(WAIT):
        assert own.request("echo", 1, timeout=WAIT) == 1
    folder = network.known_servers.parent
    network.close()
    assert not folder.exists()
    assert known.path.read_bytes() == before


def test_the_page_about_it() -> None:
    """The programs of docs/TESTING.md run as they are printed."""
    page = (ROOT / "docs/TESTING.md").read_text()
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(code, names)
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert len(tests) == 3
    for test in tests:
        test()


# --- somebody in the middle ----------------------------------------------------------------------------


def test_a_record_of_all_frames(identity: Identity, network: Network) -> None:
    """The relay has every frame with its direction and connection, in order, and none of the words in clear."""
    server = network.serve(game(identity))
    relay = network.relay(server)
    client = network.client(relay)
    client.request("echo", "a secret word", timeout=WAIT)
    frames = relay.frames
    assert [(frame.direction, frame.kind) for frame in frames[:4]] == [
        ("to server", Kind.CLIENT_HELLO),
        ("to client", Kind.SERVER_HELLO),
        ("to client", Kind.SEALED),
        ("to server", Kind.SEALED),
    ]
    assert {frame.connection for frame in frames} == {1}
    for flow in (relay.to_server, relay.to_client):
        parts = [frame.frame for frame in frames if frame.direction == flow.name]
        assert b"".join(parts) == flow.captured
        assert b"a secret word" not in flow.captured
    assert "secret" not in repr(frames)
    relay.forget()
    assert relay.frames == []
    network.client(relay)
    assert {frame.connection for frame in relay.frames} == {2}


def test_a_record_in_plaintext(identity: Identity, network: Network) -> None:
    """Without encryption the record shows what was said."""
    server = network.serve(game(identity, encryption="off"))
    relay = network.relay(server)
    network.client(relay).request("echo", "a public word", timeout=WAIT)
    assert sum(b"a public word" in frame.frame for frame in relay.frames) == 2


@pytest.mark.parametrize("size", [0, 1, 100, 1216, 1217, 2000])
def test_a_cut_after_a_byte(identity: Identity, network: Network, size: int) -> None:
    """After byte N of a direction not one more passes, and the client's connect() fails as for a broken network."""
    server = network.serve(game(identity))
    relay = network.relay(server)
    relay.to_server.cut_after = size
    with pytest.raises(SecureLinkError, match="closed the connection"):
        network.client(relay)
    assert len(relay.to_server.captured) >= size
    until(lambda: not relay.open)
    relay.to_server.cut_after = None
    assert network.client(relay).request("echo", 1, timeout=WAIT) == 1


@pytest.mark.usefixtures("not_kept")
@pytest.mark.parametrize("reset", [False, True])
def test_a_cut_in_a_session(identity: Identity, network: Network, reset: bool) -> None:
    """A session whose connection is cut ends as broken on both sides, in whichever way it is cut."""
    ends: list[Any] = []
    server = game(identity)
    server.on_disconnect(lambda session: ends.append(session.token))
    relay = network.relay(network.serve(server))
    client = network.client(relay)
    client.request("echo", 1, timeout=WAIT)
    relay.cut(reset=reset)
    with pytest.raises(ConnectionClosed) as caught:
        client.receive(WAIT)
    assert (caught.value.clean, caught.value.code) == (False, Code.BROKEN)
    until(lambda: ends == [client.token])


def test_what_is_held_back_comes_later(identity: Identity, network: Network) -> None:
    """While a direction is held nothing of it passes; released, all of it arrives in order."""
    server = network.serve(game(identity))
    relay = network.relay(server)
    client = network.client(relay)
    got: list[int] = []
    server.on("count", lambda session, packet: got.append(packet.data))
    relay.to_server.hold()
    before = len(relay.to_server.captured)
    for number in range(20):
        client.send("count", number)
    until(lambda: len(relay.to_server.captured) > before)
    assert got == []
    relay.to_server.release()
    until(lambda: got == list(range(20)))


def test_a_delay(identity: Identity, network: Network) -> None:
    """Each chunk of a direction is held back for so long at least."""
    relay = network.relay(network.serve(game(identity)))
    client = network.client(relay)
    relay.to_client.delay = 0.2
    began = time.monotonic()
    client.request("echo", 1, timeout=WAIT)
    assert time.monotonic() - began >= 0.2
    relay.to_client.delay = 0.0


def test_stopping_ends_what_is_held(identity: Identity) -> None:
    """A network that is left while its relay holds bytes back ends all the same."""
    with Network(timeout=WAIT) as network:
        relay = network.relay(network.serve(game(identity)))
        client = network.client(relay)
        relay.to_server.hold()
        client.send("echo", 1)
        relay.cut()
    assert not relay.open


def test_a_relay_over_tcp_records_and_cuts_as_well(identity: Identity) -> None:
    """The same relay on a port: a record, and a cut after a byte."""
    with Server("127.0.0.1", 0, keys=identity) as server, Relay(*server.address) as relay:
        with Client("127.0.0.1", relay.port, pin=identity.fingerprint):
            assert relay.frames[0].kind == Kind.CLIENT_HELLO
        relay.to_client.cut_after = 1000
        client = Client("127.0.0.1", relay.port, pin=identity.fingerprint)
        with pytest.raises(SecureLinkError, match="closed the connection"):
            client.connect(WAIT)
