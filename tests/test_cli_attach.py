"""`securelink attach`: from no key to an operator's console, and what a hostile server can do to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import fails, run, succeeds
from helpers import failure
from programs import Program
from terminal import Terminal

from securelink import (
    AuthorizedClients,
    Client,
    Identity,
    JoinTokens,
    KnownServers,
    PeerIncompatible,
    Refused,
    Server,
)
from securelink.tools.cli.operate import MAX_ANSWER, shortened
from securelink.tools.console import Console, Operators
from securelink.tools.console.operators import COMMAND, LINE


@pytest.fixture
def server(identity: Identity, tmp_path: Path) -> Iterator[Server]:
    """A server of an application, with operators' console."""
    operators = Operators(tmp_path / "server/authorized_operators")
    server = Server(
        "127.0.0.1",
        0,
        keys=identity,
        authenticate=operators.admit(JoinTokens()),
        application="a game",
    )
    operators.serve(server, Console(server))
    with server:
        yield server


def where(server: Server) -> tuple[str, str]:
    return "127.0.0.1", str(server.address[1])


def test_the_path_from_no_key_to_attach_is_the_one_of_the_help(
    server: Server, tmp_path: Path
) -> None:
    """The three commands that `attach --help` prints, in their order, end in a console."""
    help_text = succeeds("attach", "--help")
    steps = re.findall(
        r"^ *securelink (.+?)(?: {3,}.*)?$", help_text.partition("\n\n")[2], re.MULTILINE
    )
    create, authorize, attach = (step.split() for step in steps[-3:])
    mine, theirs = tmp_path / "mine", tmp_path / "server"
    shown = succeeds(*create, "--keys", mine)
    fingerprint = re.search(r"SHA256:\S{43}", shown)
    assert fingerprint is not None
    authorize = [fingerprint[0] if word == "SHA256:..." else word for word in authorize]
    succeeds(*authorize, "--keys", theirs)
    assert attach[:1] == ["attach"]
    KnownServers(mine / "known_servers").remember(
        "127.0.0.1", server.address[1], str(server.fingerprint)
    )
    result = run("attach", *where(server), "--keys", mine, typed="list\nexit\n")
    assert result.exit_code == 0, result.output
    assert "operator:ann" in result.stdout


def test_who_is_no_operator_is_told_the_command_with_the_fingerprint(
    server: Server, tmp_path: Path, identity: Identity
) -> None:
    """The hint of a refusal can be sent to the operator as it is."""
    with Server("127.0.0.1", 0, keys=identity) as plain:
        operators = Operators(tmp_path / "server/authorized_operators")
        operators.serve(plain, Console(plain))
        KnownServers(tmp_path / "known_servers").remember(
            "127.0.0.1", plain.address[1], identity.fingerprint
        )
        errors = fails("attach", *where(plain), "--keys", tmp_path)
    mine = Identity.load(tmp_path / "client_private.pem").fingerprint
    assert f"securelink keys authorize --operator {mine} --as NAME" in errors
    # A server that asks others for a token or for an application wants neither of an operator.
    KnownServers(tmp_path / "known_servers").remember(
        "127.0.0.1", server.address[1], identity.fingerprint
    )
    for more in ((), ("--application", "a game")):
        errors = fails("attach", *where(server), "--keys", tmp_path, *more)
        assert f"securelink keys authorize --operator {mine} --as NAME" in errors


def test_an_operator_gets_in_whatever_the_application_is(
    server: Server, tmp_path: Path, other_identity: Identity, key_pool: list[Identity]
) -> None:
    """Its key suffices; nobody else gets around the application, the version or the token."""
    AuthorizedClients(tmp_path / "server/authorized_operators").authorize(
        other_identity.fingerprint, "ann"
    )

    def client(key: Identity | None, application: str = "") -> Client:
        known = tmp_path / "known"
        port = server.address[1]
        return Client("127.0.0.1", port, keys=key, known_servers=known, application=application)

    with client(other_identity) as operator:
        assert server.sessions[operator.token].user == "operator:ann"
    for key in (None, key_pool[2]):
        failure(PeerIncompatible, client(key).connect, "the server runs a game")
        failure(Refused, client(key, "a game").connect, "join token")


def test_operators_are_not_bound_by_client_keys(
    identity: Identity, other_identity: Identity, key_pool: list[Identity], tmp_path: Path
) -> None:
    """With client_keys="known" an operator need not be authorized twice; a damaged file admits nobody."""
    identity.save(tmp_path, "server")
    operators = Operators(tmp_path / "authorized_operators")
    server = Server("127.0.0.1", 0, keys=tmp_path, client_keys="known")
    operators.serve(server, Console(server))
    AuthorizedClients(tmp_path / "authorized_operators").authorize(
        other_identity.fingerprint, "ann"
    )

    def client(key: Identity) -> Client:
        return Client("127.0.0.1", server.address[1], keys=key, known_servers=tmp_path / "known")

    with server:
        client(other_identity).connect().close()
        failure(Refused, client(key_pool[2]).connect, "does not know this client's key")
        (tmp_path / "authorized_operators").write_text("nonsense\n")
        failure(Refused, client(other_identity).connect, "does not know this client's key")


def test_an_unknown_server_is_asked_for_before_it_is_trusted(
    server: Server, tmp_path: Path
) -> None:
    """Without a person nobody is asked, and nothing is remembered; no key is shown to it."""
    seen: list[object] = []
    server.on_connect.add_listener(seen.append)
    errors = fails("attach", *where(server), "--keys", tmp_path, typed="y\nlist\n")
    assert f"is not known here; its key is {server.fingerprint}" in errors
    assert not (tmp_path / "known_servers").exists()
    assert not seen


@pytest.mark.parametrize(("answer", "trusted"), [("y", True), ("n", False)])
def test_attach_asks_what_connect_asks(
    server: Server, tmp_path: Path, other_identity: Identity, answer: str, trusted: bool
) -> None:
    """At a terminal the fingerprint is shown, and only a yes goes on."""
    AuthorizedClients(tmp_path / "server/authorized_operators").authorize(
        other_identity.fingerprint, "ann"
    )
    other_identity.save(tmp_path / "keys", "client")
    with Terminal(
        "-m", "securelink", "attach", *where(server), "--keys", "keys", folder=tmp_path
    ) as person:
        person.shows(r"Trust it from now on\? \[y/N\]:")
        assert str(server.fingerprint) in person.output
        assert not server.sessions
        person.types(f"{answer}\r")
        if trusted:
            person.shows("attached; 'help' lists")
            person.types("list\r")
            person.shows("operator:ann")
            person.types("exit\r")
        assert person.ends() == (0 if trusted else 1)
    known = KnownServers(tmp_path / "keys/known_servers").get("127.0.0.1", server.address[1])
    assert known == (server.fingerprint if trusted else None)


EVIL = "\x1b]0;title\x07\x1b[2Jgone\r\x9b31m\u202e"


@pytest.mark.parametrize("columns", [40, 200])
def test_what_a_server_answers_is_harmless(
    identity: Identity, tmp_path: Path, columns: int
) -> None:
    """Answers, log lines, errors and the reason of the end: none of them reaches the terminal as it came."""
    server = Server("127.0.0.1", 0, keys=identity)

    def answer(session: object, packet: object) -> str:
        return f"first {EVIL}\nsecond {EVIL}"

    server.on(COMMAND, answer)
    with server:
        KnownServers(tmp_path / "keys/known_servers").remember(
            "127.0.0.1", server.address[1], identity.fingerprint
        )
        with Terminal(
            "-m",
            "securelink",
            "attach",
            *where(server),
            "--keys",
            "keys",
            folder=tmp_path,
            columns=columns,
        ) as person:
            person.shows("attached; 'help'")
            person.types("list\r")
            person.shows(r"second ")
            (session,) = server.sessions.values()
            session.send(LINE, f"third {EVIL}")
            session.send("anything", EVIL)
            person.shows(r"third ")
            session.kick(f"fourth {EVIL}")
            person.shows("fourth ")
            assert person.ends() == 0
            assert "\x1b]0;title" not in person.raw
            assert "\x1b[2J" not in person.raw
            assert "\x9b" not in person.raw
            assert "\u202e" not in person.raw
            assert r"\x1b[2Jgone\r" in person.output.replace("\n", "")


def test_an_answer_without_end_is_cut() -> None:
    """A hostile server cannot fill the terminal; lines stay lines, all else is escaped."""
    assert shortened("a\n\tb\x1b") == "a\n        b\\x1b"
    assert len(shortened("x" * 10 * MAX_ANSWER)) == MAX_ANSWER + 3


def test_log_lines_are_dim_at_a_terminal_and_plain_with_no_color(
    identity: Identity, other_identity: Identity, tmp_path: Path
) -> None:
    """Colours survive the prompt; NO_COLOR switches them off."""
    AuthorizedClients(tmp_path / "authorized_operators").authorize(
        other_identity.fingerprint, "ann"
    )
    other_identity.save(tmp_path / "keys", "client")
    operators = Operators(tmp_path / "authorized_operators")
    server = Server("127.0.0.1", 0, keys=identity)
    operators.serve(server, Console(server))
    with server:
        known = tmp_path / "keys/known_servers"
        KnownServers(known).remember(*server.address, identity.fingerprint)
        for environment, dim in (({}, True), ({"NO_COLOR": "1"}, False)):
            with Terminal(
                "-m",
                "securelink",
                "attach",
                *where(server),
                "--keys",
                "keys",
                folder=tmp_path,
                environment=environment,
            ) as person:
                person.shows("attached; 'help'")
                with Client(*server.address, known_servers=known):
                    pass
                person.shows(r"\[INFO\] session \S+ connected")
                found = re.search(r"\x1b\[2m\[INFO\] session", person.raw)
                assert (found is not None) is dim, person.raw
                person.types("exit\r")
                assert person.ends() == 0


def test_a_chat_is_operated_from_afar(tmp_path: Path, other_identity: Identity) -> None:
    """`attach` reaches `chat serve`, with or without an invite's token."""
    other_identity.save(tmp_path / "mine", "client")
    succeeds(
        "keys", "authorize", "--operator", other_identity.fingerprint, "--as", "ann",
        "--keys", tmp_path / "keys",
    )  # fmt: skip
    command = ("-m", "securelink", "chat", "serve", "--host", "127.0.0.1", "--port", "0")
    with Program(*command, folder=tmp_path) as chat:
        invite = chat.prints(r"securelink://\S+")[0]
        result = run("attach", invite, "--keys", tmp_path / "mine", typed="list\nexit\n")
        assert result.exit_code == 0, result.output
        assert "operator:ann" in result.stdout


def test_the_commands_know_applications(identity: Identity, tmp_path: Path) -> None:
    """What the hint of a refusal demands can be given: --application and --app-version, on both sides."""
    command = ("serve", "--host", "127.0.0.1", "--port", "0", "--application", "my game")
    identity.save(tmp_path / "keys", "server")
    with Program("-m", "securelink", *command, "--app-version", "2", folder=tmp_path) as program:
        hint = program.prints(r"connect with: securelink (connect 127.0.0.1 (\d+) .*)\n")
        assert "--application 'my game' --app-version 2" in hint[1]
        trusted = ("keys", "trust", "127.0.0.1", hint[2], identity.fingerprint, "--keys", tmp_path)
        succeeds(*trusted)
        to = ("connect", "127.0.0.1", hint[2], "--keys", tmp_path)
        assert "the server runs my game 2" in fails(*to)
        versions = ("--application", "my game", "--app-version", "1")
        assert "the server runs my game 2" in fails(*to, *versions)
        succeeds(*to, "--application", "my game", "--app-version", "2", typed="exit\n")
