"""Two sides that do not fit: other protocol versions, other applications, other wishes about encryption."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import pytest
from helpers import (
    WAIT,
    answering,
    echo,
    end_of_stream,
    failure,
    frame,
    read_frame,
    scene,
    until,
)

from securelink import (
    Client,
    ConfigError,
    Identity,
    KnownServers,
    PeerIncompatible,
    ProtocolError,
    Server,
)
from securelink.codes import Code
from securelink.limits import HEADER_SIZE, MAGIC
from securelink.wire.fields import Kind, Mode
from securelink.wire.messages import ClientHello, ServerHello, VersionMismatch

pytestmark = pytest.mark.usefixtures("tidy")

MODES = ("required", "optional", "off")


# --- another version of the protocol --------------------------------------------------------------------


def test_a_client_of_the_future_is_told(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """A hello of version 2, whatever else is in it, gets the code for versions; the log has both numbers."""
    with scene(identity) as stage:
        for rest in (b"", b"\xff" * 3000):
            body = MAGIC + b"\x02" + rest
            with socket.create_connection(("127.0.0.1", stage.port), WAIT) as sock:
                sock.sendall(frame(Kind.CLIENT_HELLO, body))
                assert end_of_stream(sock) == frame(Kind.ALERT, bytes((Code.VERSION,)))
            stage.check_neighbour()
        until(stage.alone)
    says = "the peer speaks version 2 of the protocol, this one version 1; update securelink on the older side"
    assert caplog.text.count(says) == 2


def test_a_server_of_the_future_that_refuses_us() -> None:
    """Its code for versions becomes an error that says which side to update."""

    def refuse(sock: socket.socket) -> None:
        read_frame(sock)
        sock.sendall(frame(Kind.ALERT, bytes((Code.VERSION,))))
        end_of_stream(sock)

    with answering(refuse) as port:
        error = failure(
            PeerIncompatible, Client("127.0.0.1", port).connect, "another version of the securelink",
            "update securelink on the older side",
        )  # fmt: skip
    assert error.code == Code.VERSION


@pytest.mark.parametrize("version", [0, 2, 255])
def test_a_server_that_answers_in_another_version(version: int) -> None:
    """An answer of another version is not read any further, and both numbers are named."""
    last: list[bytes] = []

    def answer(sock: socket.socket) -> None:
        read_frame(sock)
        sock.sendall(frame(Kind.SERVER_HELLO, bytes((version,)) + b"\xff" * 2000))
        last.append(end_of_stream(sock))

    with answering(answer) as port:
        failure(
            VersionMismatch, Client("127.0.0.1", port).connect,
            f"the peer speaks version {version} of the protocol, this one version 1",
            "update securelink on the older side",
        )  # fmt: skip
    assert issubclass(VersionMismatch, PeerIncompatible)
    assert last == [frame(Kind.ALERT, bytes((Code.VERSION,)))]


def test_a_server_whose_hello_is_broken() -> None:
    """A hello that is none ends the attempt with the name of what is wrong in it."""

    def answer(sock: socket.socket) -> None:
        read_frame(sock)
        sock.sendall(frame(Kind.SERVER_HELLO, b"\x01\x01\x00\x02\x00\x00"))
        end_of_stream(sock)

    with answering(answer) as port:
        failure(ProtocolError, Client("127.0.0.1", port).connect, "ServerHello lacks field 2")


# --- another application ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs", "says"),
    [
        (("chess", "2.1"), ("chess", "2.0"), "the server runs chess 2.1, the client chess 2.0"),
        (("chess", "2.1"), ("go", "2.1"), "the server runs chess 2.1, the client go 2.1"),
        (("chess", ""), ("Chess", "7"), "the server runs chess, the client Chess 7"),
        (
            ("chess", "2.1"),
            ("", ""),
            "the server runs chess 2.1, the client an unnamed application",
        ),
    ],
)
def test_another_application_is_refused_with_both_names(
    ours: tuple[str, str],
    theirs: tuple[str, str],
    says: str,
    identity: Identity,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A client of another game, or of an older one, is told what runs on either side; so is the operator."""
    names = ("application", "version")
    own = dict(zip(names, ours, strict=True))
    with scene(identity, neighbour=own, **own) as stage:
        client = stage.client(**dict(zip(names, theirs, strict=True)))
        error = failure(PeerIncompatible, client.connect, says, "same application and version")
        assert error.code == Code.APPLICATION
        until(stage.alone)
    assert f"{says}; use the same application and version on both sides" in caplog.text


def test_a_server_without_a_name_asks_nobody_for_one(identity: Identity) -> None:
    """An empty name compares with nothing: who does not care need not say so."""
    with scene(identity) as stage, stage.client(application="chess", version="1") as client:
        assert echo(client, 1)


# --- encryption ---------------------------------------------------------------------------------------------

OUTCOMES = {
    # (server, client): encrypted, or what the client and the server's log say
    ("required", "required"): True,
    ("required", "optional"): True,
    ("required", "off"): (
        Code.ENCRYPTION_REQUIRED, "the server requires encryption", "encryption='required'",
        "the client has encryption switched off, and this server requires it; use the same encryption=",
    ),
    ("optional", "required"): True,
    ("optional", "optional"): True,
    ("optional", "off"): False,
    ("off", "required"): (
        Code.ENCRYPTION_OFF, "the server has encryption switched off", "'off' or 'optional'",
        "the client requires encryption, and this server has it switched off; use the same encryption=",
    ),
    ("off", "optional"): False,
    ("off", "off"): False,
}  # fmt: skip


@pytest.mark.parametrize(("server", "client"), OUTCOMES)
def test_policies_of_encryption(
    server: str, client: str, identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """Each pair of policies gives encryption, plaintext with a warning on both sides, or a clear error on both."""
    outcome = OUTCOMES[server, client]
    with scene(identity, encryption=server) as stage:
        where = f"127.0.0.1:{stage.port}"
        other = Client("127.0.0.1", stage.port, encryption=client)
        if isinstance(outcome, tuple):
            code, says, hint, log = outcome
            error = failure(PeerIncompatible, other.connect, says, hint)
            assert error.code == code
            until(stage.alone)
            assert log in caplog.text
            return
        with other:
            assert echo(other, {"answer": 42})
            assert other.encrypted is outcome
            assert stage.session(other).encrypted is outcome
            assert (other.server_fingerprint is not None) is outcome
    assert (f"PLAINTEXT session with {where}" in caplog.text) is not outcome
    assert ("anyone on the path can read and change everything" in caplog.text) is not (
        server == "required"
    )


@pytest.mark.parametrize("server", MODES)
def test_a_pin_demands_encryption(server: str, identity: Identity) -> None:
    """A client with a pin or an invite that says "optional" means "required": it gets it, or an error."""
    with scene(identity, encryption=server) as stage:
        client = Client("127.0.0.1", stage.port, pin=identity.fingerprint, encryption="optional")
        if server == "off":
            failure(PeerIncompatible, client.connect, "encryption switched off", "could then read")
            return
        for entering in (client, Client(stage.server.invite(), encryption="optional")):
            with entering:
                assert entering.encrypted
                assert echo(entering, 1)


def test_a_pin_and_no_encryption_contradict(identity: Identity) -> None:
    """Who has a pin or an invite cannot switch encryption off: nothing could be checked."""
    pin = identity.fingerprint
    invite = Server("127.0.0.1", 5050, keys=identity).invite()
    says, hint = "cannot be checked without encryption", "drop encryption='off', or the pin"
    for make in (
        lambda: Client("127.0.0.1", 5050, pin=pin, encryption="off"),
        lambda: Client(invite, encryption="off"),
    ):
        failure(ConfigError, make, says, hint)
    failure(ConfigError, lambda: Client(invite, 5050), "already says port and key", "alone")
    failure(ConfigError, lambda: Client(invite, pin=pin), "already says port and key", "alone")


def test_a_known_server_is_never_spoken_to_in_plaintext_by_accident(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """For a server whose key is known "optional" means "required"; only an explicit "off" is the user's decision."""
    with scene(identity, encryption="off") as stage:
        known = KnownServers(Path("home") / "known_servers")
        known.remember("127.0.0.1", stage.port, identity.fingerprint)
        client = Client("127.0.0.1", stage.port, encryption="optional")
        failure(PeerIncompatible, client.connect, "encryption switched off", "could then read")
        with Client("127.0.0.1", stage.port, encryption="off") as decided:
            assert echo(decided, "in the open")
    warning = "has a known key, but encryption is off here"
    assert [r.levelno for r in caplog.records if warning in r.getMessage()] == [logging.WARNING]


def test_a_plaintext_answer_to_required_is_refused() -> None:
    """Somebody who answers in plaintext for a server does not get a client that requires encryption to speak."""
    heard: list[bytes] = []

    def strip(sock: socket.socket) -> None:
        read_frame(sock)
        sock.sendall(frame(Kind.SERVER_HELLO, ServerHello(False, bytes(32), None).encode()))
        heard.append(end_of_stream(sock))

    with answering(strip) as port:
        client = Client("127.0.0.1", port, token="11111111-1111-4111-8111-111111111111")
        error = failure(
            PeerIncompatible, client.connect, "answered in plaintext, and encryption is required",
            "somebody.*in between",
        )  # fmt: skip
    assert error.code == Code.ENCRYPTION_REQUIRED
    assert heard == [frame(Kind.ALERT, bytes((Code.ENCRYPTION_REQUIRED,)))]


def test_client_keys_need_encryption(identity: Identity, other_identity: Identity) -> None:
    """A server that demands client keys takes no plaintext, even where it is optional."""
    options = {"client_keys": "required", "encryption": "optional"}
    with scene(identity, neighbour={"keys": other_identity}, **options) as stage:
        client = Client("127.0.0.1", stage.port, keys=other_identity, encryption="off")
        error = failure(PeerIncompatible, client.connect, "requires encryption", "'required'")
        assert error.code == Code.ENCRYPTION_REQUIRED


def test_what_a_hello_says_of_its_mode_must_be_true(identity: Identity) -> None:
    """A key share without a wish for encryption, or the other way round, is no hello."""
    with scene(identity, encryption="optional") as stage:
        for mode, share in ((Mode.OFF, bytes(1216)), (Mode.REQUIRED, None)):
            body = ClientHello(mode, bytes(32), share).encode()
            with socket.create_connection(("127.0.0.1", stage.port), WAIT) as sock:
                sock.sendall(frame(Kind.CLIENT_HELLO, body))
                answer = end_of_stream(sock)
            assert answer == frame(Kind.ALERT, bytes((Code.PROTOCOL,)))
            assert len(answer) == HEADER_SIZE + 1
        until(stage.alone)
