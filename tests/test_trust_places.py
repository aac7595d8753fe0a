"""One server has one entry, however its place is spelled; and where the file of a user lies."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from clock import cost_ms
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from inside import forget_chosen_ports

from securelink import Client, ConfigError, Identity, NotTrusted, Server
from securelink.errors import KeyFileError
from securelink.invite import Invite
from securelink.keys import fingerprint_text
from securelink.limits import LOOPBACK_KEY_SECONDS
from securelink.streams import sockets
from securelink.trust import KnownServer, KnownServers
from securelink.trust.home import user_folder, user_known_servers
from securelink.trust.places import Place, same_server, similar, spelled
from securelink.trust.policy import Belief
from securelink.wire.fields import Mode

ONE = fingerprint_text(bytes(32))
TWO = fingerprint_text(bytes([1]) * 32)

LOCAL = [
    "127.0.0.1", "127.1", "127.0.1", "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1", "localhost", "LocalHost",
    "localhost.", "::1", "0:0:0:0:0:0:0:1", "::0001", "[::1]", "::ffff:127.0.0.1", "::FFFF:7f00:1", "ip6-localhost",
    "ip6-loopback", "localhost\u3002", "0.0.0.0", "0", "::", "[::]", "::1%1", "::1%lo", "\uff1a\uff1a1",
    "127.0000000000000000000000001", "\uff11\uff12\uff17.1", "0x0000000000000000000000007f.1",
]  # fmt: skip


@pytest.fixture
def servers(tmp_path: Path) -> KnownServers:
    """A file of known servers that does not exist yet."""
    return KnownServers(tmp_path / "known_servers")


@pytest.mark.parametrize("met", LOCAL)
def test_this_machine_is_one_server(tmp_path: Path, met: str) -> None:
    """Met under one spelling, it is known under all, and another key is refused under each."""
    servers = KnownServers(tmp_path / "known_servers")
    servers.remember(met, 5050, ONE)
    for host in LOCAL:
        assert servers.get(host, 5050) == ONE
        with pytest.raises(NotTrusted):
            servers.remember(host, 5050, TWO)
    assert len(servers.entries()) == 1
    assert servers.forget(LOCAL[-1], 5050)
    assert servers.get(met, 5050) is None


@pytest.mark.parametrize(
    ("host", "spelling"),
    [
        ("Game.Example.", "game.example"),
        ("b\u00fccher.example", "xn--bcher-kva.example"),
        ("B\u00dcCHER\u3002example", "xn--bcher-kva.example"),
        ("game.example\u3002", "game.example"),
        ("192.168.040", "192.168.0.32"),
        ("10.0x10.1", "10.16.0.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("fe80:0::1%eth0", "fe80::1%eth0"),
        ("fe80::1%ETH0", "fe80::1%eth0"),
        ("2001:db8::1%eth0", "2001:db8::1"),
        ("fe80\uff1a\uff1a1", "fe80::1"),
        ("192.168.1.0000000000000000000010", "192.168.1.8"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("256.1.1.1", "256.1.1.1"),
        ("1.2.3.4.5", "1.2.3.4.5"),
        ("08.1", "08.1"),
        ("0x", "0x"),
        (".", "."),
        ("1..2", "1..2"),
    ],
)
def test_spellings(host: str, spelling: str) -> None:
    """Names are in lower case without the last dot, addresses as `inet_aton` and RFC 5952 have them."""
    assert spelled(host) == spelling
    assert spelled(spelling) == spelling


def test_two_zones_are_two_servers() -> None:
    """The same link-local address in two networks is two machines, and so is one in none."""
    assert len({same_server(host) for host in ("fe80::1%eth0", "fe80::1%eth1", "fe80::1")}) == 3


def test_the_number_of_a_zone_is_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client knows a link-local server by the name of the network card, however it was typed."""
    monkeypatch.setattr("socket.if_indextoname", lambda number: {2: "eth0"}[number])
    assert sockets.with_zone_name("fe80::1%2") == "fe80::1%eth0"
    for host in ("fe80::1%eth0", "fe80::1", "game.example", "a%2"):
        assert sockets.with_zone_name(host) == host
    monkeypatch.undo()
    assert sockets.with_zone_name("fe80::1%4000000000") == "fe80::1%4000000000"


def test_what_would_not_fit_on_a_line_stays(servers: KnownServers) -> None:
    """No letter becomes a `#` or a space on its way to a spelling."""
    for host in ("a\uff03b", "a\u2260b", "\ufe5f"):
        servers.remember(host, 1, ONE)
        assert servers.get(host, 1) == ONE


@pytest.mark.parametrize("host", ["127.0.0.1", "game.example", "2001:db8::1", "localhost"])
def test_invites_spell_as_we_do(host: str) -> None:
    """An invite's host is its own spelling."""
    assert spelled(Invite(host, 5050, ONE).host) == host


def test_lines_that_were_there_keep_working(servers: KnownServers) -> None:
    """Old spellings are found under every other; where two lines differ, the one that was asked for counts."""
    servers.path.write_text(f"127.1 5050 {ONE}\nlocalhost 5051 {ONE}\n127.0.0.1 5051 {TWO}\n")
    servers.path.chmod(0o600)
    assert servers.get("localhost", 5050) == servers.get("127.1", 5050) == ONE
    assert servers.get("LOCALHOST", 5051) == ONE
    assert servers.get("127.0.0.1", 5051) == TWO
    assert servers.get("::1", 5051) == ONE
    servers.remember("127.0.0.1", 5051, TWO)
    servers.remember("127.0.0.1", 5050, ONE)
    with pytest.raises(NotTrusted):
        servers.remember("localhost", 5051, TWO)
    assert len(servers.entries()) == 3


FOREIGN = [
    "b\u00fccher.example", "B\u00dcCHER.EXAMPLE", "bu\u0308cher.example", "b\u00fcch\ufe00er.example",
    "\uff42\u00fccher\u3002example", "xn--bcher-kva.example", "XN--BCHER-KVA.example.", "b\u00fccher.example.",
]  # fmt: skip


def test_foreign_letters_have_many_spellings(servers: KnownServers) -> None:
    """A line in any of them is found under every other, and by no other name."""
    for written in FOREIGN:
        servers.path.write_text(f"other.example 5050 {TWO}\n{written} 5050 {ONE}\n")
        servers.path.chmod(0o600)
        assert [servers.get(host, 5050) for host in FOREIGN] == [ONE] * len(FOREIGN)
        assert servers.get("b\u00fccher.example", 5051) is None
        assert servers.get("bucher.example", 5050) is None
        assert servers.forget(FOREIGN[0], 5050)


def test_what_looks_alike_is_not_the_same(servers: KnownServers) -> None:
    """Lines that are similar are converted and compared exactly: a rounded Cyrillic letter is not the plain one."""
    servers.path.write_text(f"\u1c80.example 5050 {ONE}\nxn--abc-.example 5050 {ONE}\n")
    servers.path.chmod(0o600)
    assert servers.get("\u1c80.example", 5050) == ONE
    assert servers.get("\u0432.example", 5050) is None
    assert servers.get("abc.example", 5050) is None


SIGNS = (
    *"aABxn--.1:%[]0\xdf\u1e9e\u017f\u0130\u0131\u03c2\u03a3\u03c3\u00e9\u0301\u0323\u00ad\u200c\u200d\u3002\uff0e\uff61\uff21",
    *"\u2167\u210c\ufb01\u2026\u2100\u2488\uff1a\uff05\uff10\uff58\uff17\uff11\u01c5\u0345\u03b9\u1f30\ud55c\uae00\u1100\u1161\u30a2\uff9e",
    *"\u3300\u4e2d\U0002f800\U0001d538\u05d0\u0627",
    "xn--", ".xn--bcher-kva",
)  # fmt: skip


@given(st.lists(st.sampled_from(SIGNS), min_size=1, max_size=9).map("".join))
@example("[\uff1a\u3002]")
@settings(max_examples=2000)
def test_no_spelling_is_passed_over(host: str) -> None:
    """What comparing texts takes for two servers are two servers, whatever a host is made of."""
    assume(host.isprintable())
    place = Place(host)
    for spelling in (host.lower(), host.upper().lower(), place.host):
        if same_server(spelling) == place.host:
            assert place.may_be(spelling)
            assert place.means(spelling, similar(spelling))
    assert similar(host) == similar(host.lower())


def test_a_file_of_foreign_letters_costs_what_others_cost(servers: KnownServers) -> None:
    """Letters are converted for what is asked for, not for each line: that took 50 times as long."""
    costs = {}
    for kind, host in {"plain": "abc" * 16, "foreign": "\u00e4\u00f6\u00fc" * 16}.items():
        lines = (f"{host}{number}.{host}.example 5050 {ONE}\n" for number in range(2000))
        servers.path.write_text("".join(lines))
        servers.path.chmod(0o600)
        costs[kind] = cost_ms(partial(_parsed_anew, servers.path), 0.0)
    assert costs["foreign"] < 8 * costs["plain"]  # about 3 times, and 4 on a busy machine


@pytest.mark.parametrize(
    "asked", ["play.example", "h\u00f6st.example", "xn--hst-sna.example", "127.0.0.1"]
)
def test_only_lines_that_may_be_it_are_looked_into(
    servers: KnownServers, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20,000 names of ligatures took 13 s, whatever was asked for: each letter is looked up once, and not each line."""
    looked: list[str] = []

    def counted(host: str) -> str:
        looked.append(host)
        return similar(host)

    monkeypatch.setattr("securelink.trust.servers.similar", counted)
    foreign = [
        "\ufdfa" * 50,
        "\u00e4\u0323\u0301" * 20,
        "xn--abc" + "kva" * 50 + ".\u4f60",
        "\u4f60\u597d",
    ]
    lines = [f"{name}{number} 5050 {TWO}\n" for number in range(50) for name in foreign]
    lines += [f"plain{number}.example {number + 1} {TWO}\n" for number in range(200)]
    servers.path.write_text("".join(lines))
    servers.path.chmod(0o600)
    assert servers.get(asked, 5050) is None
    assert not looked
    servers.remember(asked, 5050, ONE)
    assert servers.get(asked, 5050) == ONE
    assert set(looked) <= {spelled(asked)}


def _parsed_anew(path: Path) -> None:
    assert KnownServers(path).get("xn--bcher-kva.example", 5050) is None


def test_an_entry_that_ends(servers: KnownServers, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry with a lifetime holds until then; afterwards it is passed over, and taken out with the next change."""
    servers.remember("localhost", 40_000, ONE, lifetime=100.0)
    servers.remember("game.example", 5050, ONE)
    assert servers.get("localhost", 40_000) == ONE
    (first, _) = servers.entries()
    assert KnownServer.parse(*map(str.strip, first.line().split("#"))) == first
    with pytest.raises(NotTrusted):
        servers.remember("127.0.0.1", 40_000, TWO)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 101.0)
    assert servers.get("localhost", 40_000) is None
    servers.remember("127.0.0.1", 40_000, TWO)
    assert [entry.host for entry in servers.entries()] == ["game.example", "127.0.0.1"]


@pytest.mark.parametrize(
    "word", ["until=", "until=soon", "until=99999-01-01", "until=2026-13-01T00:00:00Z"]
)
def test_ends_that_are_none(servers: KnownServers, word: str) -> None:
    """A time that cannot be read makes the line a damaged one."""
    servers.path.write_text(f"localhost 5050 {ONE} {word}\n")
    servers.path.chmod(0o600)
    with pytest.raises(KeyFileError, match=r"known_servers:1: .* is not a time"):
        servers.get("other", 1)


# --- one place for each user ---------------------------------------------------------------------------


def test_where_the_users_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SECURELINK_HOME names the folder; without it the system's place for a user's data does."""
    monkeypatch.setenv("SECURELINK_HOME", str(tmp_path / "mine"))
    assert user_known_servers() == tmp_path / "mine" / "known_servers"
    monkeypatch.delenv("SECURELINK_HOME")
    if sys.platform.startswith("linux"):
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
        assert user_folder() == tmp_path / "data" / "securelink"
        monkeypatch.delenv("XDG_DATA_HOME")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert user_folder() == tmp_path / ".local" / "share" / "securelink"


@pytest.mark.usefixtures("tidy")
def test_a_changed_key_is_refused_from_every_folder(
    identity: Identity, other_identity: Identity, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What a client without keys learnt in one folder, it knows in another."""
    with Server("127.0.0.1", 0, keys=identity) as server:
        port = server.address[1]
        with Client("127.0.0.1", port):
            pass
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with Server("127.0.0.1", port, keys=other_identity):
        for host in ("127.0.0.1", "localhost", "127.1"):
            with pytest.raises(NotTrusted, match="HAS CHANGED") as caught:
                Client(host, port).connect()
            assert "--keys" not in caught.value.hint
    assert os.listdir() == []


@pytest.mark.usefixtures("tidy")
def test_ports_that_the_system_chose_are_forgotten(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loopback server on such a port is known for an hour, in the user's file; in a file that was named, forever."""
    with Server("127.0.0.1", 0, keys=identity) as server:
        port = server.address[1]
        assert sockets.is_chosen_by_system(port)
        for named in (None, "named"):
            with Client("127.0.0.1", port, known_servers=named):
                pass
        (entry,) = KnownServers(user_known_servers()).entries()
        assert entry.until is not None
        assert 0 < entry.until - time.time() <= LOOPBACK_KEY_SECONDS
        assert KnownServers("named").entries()[0].until is None
        for reason in ("is_chosen_by_system", "is_loopback_host"):
            user_known_servers().unlink()
            with monkeypatch.context() as patch:
                patch.setattr(f"securelink.threads.connecting.{reason}", lambda _: False)
                with Client("127.0.0.1", port):
                    pass
            assert KnownServers(user_known_servers()).entries()[0].until is None


@pytest.mark.usefixtures("tidy")
def test_who_gets_such_a_port_next_is_no_impostor(
    identity: Identity, other_identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of this user that asks for any port strikes out who had it before, but no entry that lasts."""
    known = KnownServers(user_known_servers())
    with Server("127.0.0.1", 0, keys=identity) as server:
        port = server.address[1]
        with Client("127.0.0.1", port):
            pass
    with Server("127.0.0.1", port, keys=other_identity), pytest.raises(NotTrusted):
        Client(
            "127.0.0.1", port
        ).connect()  # this one wanted the port, so it may be meant to be the other
    monkeypatch.setattr(
        "securelink.streams.tcp.listen",
        lambda host, asked, backlog: sockets.listen(host, port, backlog),
    )
    for host in ("127.0.0.1", ""):
        known.forget("127.0.0.1", port)
        known.remember("localhost", port, identity.fingerprint, lifetime=LOOPBACK_KEY_SECONDS)
        with Server(host, 0, keys=other_identity), Client("127.0.0.1", port):
            pass
        assert known.get("127.0.0.1", port) == other_identity.fingerprint
    known.forget("127.0.0.1", port)
    known.remember("127.0.0.1", port, identity.fingerprint)
    with Server("127.0.0.1", 0, keys=other_identity), pytest.raises(NotTrusted):
        Client("127.0.0.1", port).connect()


@pytest.mark.usefixtures("tidy")
def test_a_server_needs_nothing_of_the_users_file(identity: Identity) -> None:
    """One that is damaged is the trouble of clients; the server starts, and changes nothing in it."""
    user_known_servers().parent.mkdir(parents=True, exist_ok=True)
    user_known_servers().write_text("damaged\n")
    with Server("127.0.0.1", 0, keys=identity) as server:
        assert server.running
    assert user_known_servers().read_text() == "damaged\n"


def test_which_ports_the_system_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The port that an application has by default is not one of them, 65535 is where nobody says otherwise."""
    forget_chosen_ports()
    monkeypatch.setattr(Path, "read_text", lambda path: "")
    try:
        assert sockets.is_chosen_by_system(65_535)
        assert not sockets.is_chosen_by_system(5050)
    finally:
        forget_chosen_ports()


# --- two clients meet a server for the first time --------------------------------------------------------


@pytest.mark.usefixtures("tidy")
@pytest.mark.parametrize("moment", ["after the look", "after the key was seen"])
def test_the_loser_of_a_race_does_not_go_on(
    identity: Identity, other_identity: Identity, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that finds another key written down by then has met an impostor: its session ends unused."""
    fired: list[str] = []
    credentials: list[object] = []

    def authenticate(hello: object) -> str:
        credentials.append(hello)
        if moment == "after the key was seen":
            KnownServers("known").remember("127.0.0.1", port, other_identity.fingerprint)
        return "ada"

    with Server("127.0.0.1", 0, keys=identity, authenticate=authenticate) as server:
        port = server.address[1]
        client = Client("127.0.0.1", port, known_servers="known", credentials="secret")
        client.on_connect.add_listener(lambda: fired.append("connected"))
        if moment == "after the look":
            consult = Belief.consult

            def overtaken(belief: Belief, mode: Mode) -> Mode:
                found = consult(belief, mode)
                KnownServers("known").remember("127.0.0.1", port, other_identity.fingerprint)
                return found

            monkeypatch.setattr(Belief, "consult", overtaken)
        with pytest.raises(NotTrusted, match="HAS CHANGED") as caught:
            client.connect()
        assert caught.value.fingerprint == identity.fingerprint
        assert caught.value.expected == other_identity.fingerprint
        assert not client.connected
        assert not fired
        assert len(credentials) == (moment == "after the key was seen")
        assert KnownServers("known").get("127.0.0.1", port) == other_identity.fingerprint


@pytest.mark.usefixtures("tidy")
@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_client_remembers_by_itself(
    identity: Identity, other_identity: Identity, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the file cannot be written, a client still refuses another key later, and writes it down when it can."""

    def full(*_: object, **__: object) -> None:
        raise KeyFileError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(KnownServers, "remember", full)
        with Server("127.0.0.1", 0, keys=identity) as server:
            port = server.address[1]
            client = Client("127.0.0.1", port)
            for _ in range(times):
                client.connect()
                client.close()
        with (
            Server("127.0.0.1", port, keys=other_identity),
            pytest.raises(NotTrusted, match="HAS CHANGED"),
        ):
            client.connect()
    with Server("127.0.0.1", port, keys=identity):
        client.connect()
        client.close()
    assert KnownServers(user_known_servers()).get("127.0.0.1", port) == identity.fingerprint


def test_no_port_of_a_host_is_lost(servers: KnownServers) -> None:
    """Two ports of one machine are two servers."""
    servers.remember("localhost", 1, ONE)
    servers.remember("127.1", 2, TWO)
    assert [servers.get("::1", port) for port in (1, 2, 3)] == [ONE, TWO, None]


def test_hosts_that_are_none() -> None:
    """What is no host has no spelling."""
    checks: list[Callable[[str], str]] = [spelled, same_server]
    for check in checks:
        for host in ("", "a b", "a#b", "a\n", "x" * 256):
            with pytest.raises(ConfigError):
                check(host)
