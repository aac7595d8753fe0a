"""`securelink load`: what it sends, what it counts, how it fails."""

from __future__ import annotations

import io
import math
import re
import resource
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from commands import fails, run, securelink
from helpers import WAIT, failure, until
from rich.console import Console

from securelink import (
    Client,
    ConfigError,
    ConnectionClosed,
    Identity,
    JoinTokens,
    KnownServers,
    Received,
    Server,
    Session,
)
from securelink.tools.cli.load import progress, summary
from securelink.tools.load import Plan, SimulatedClient, Swarm, Tally, simulated, swarm
from securelink.tools.load.swarm import DIALERS, GIVE_UP_AFTER, allow_files

QUICK = ("--clients", "3", "--rate", "100", "--duration", "0.15s", "--ramp", "0")


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first packet goes out before the shared loop reads: no latency is measured here."""
    monkeypatch.setattr(swarm, "SETTLE_SECONDS", 0.02)


@pytest.fixture
def server(identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that echoes packets and requests; its key is in no file here."""
    monkeypatch.chdir(tmp_path)
    with Server("127.0.0.1", 0, keys=identity) as server:
        server.on("echo", echo)
        yield server


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers and the end of sessions are not waited for as long as usual."""
    monkeypatch.setattr(swarm, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(swarm, "_EXPIRE", 0.5)  # twice that is how late a look may be
    monkeypatch.setattr(swarm, "CLOSE_SECONDS", 0.2)


def echo(session: Session, packet: Received) -> Any:
    """Send it back, or answer the request."""
    if packet.id is None:
        session.send("echo", packet.data)
    return packet.data


def count(result: Result, what: str) -> int:
    """A number of the summary."""
    found = re.search(rf"^{what} +([\d,]+)", result.stdout, re.MULTILINE)
    assert found is not None, result.output
    return int(found[1].replace(",", ""))


def errors_of(result: Result) -> dict[str, int]:
    """The kinds of errors of the summary, and how often."""
    found = re.findall(r"^ +([\d,]+)  (.+)$", result.stdout, re.MULTILINE)
    return {kind: int(times.replace(",", "")) for times, kind in found}


# --- the command -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("--request",), ("--data", '{"x": [1, null]}')])
def test_every_packet_is_answered(server: Server, options: tuple[str, ...]) -> None:
    """Against a server that keeps up nothing fails, everything is counted, and the exit code is 0."""
    result = run("load", server.invite(), *QUICK, *options)
    assert result.exit_code == 0, result.output
    assert "connected      3 of 3 clients" in result.stdout
    assert count(result, "sent") == count(result, "answered") >= 3 * 100 * 0.15
    assert count(result, "errors") == 0
    assert "other packets" not in result.stdout
    assert re.search(r"^p50 \S+ m?s   p90 .* p99 .* p99.9 .* max \S+ m?s$", result.stdout, re.M)
    assert re.search(r"^up to +\S+ m?s  █+ +\d+$", result.stdout, re.M)


def test_the_packets_are_as_ordered(server: Server) -> None:
    """Name, size and number of clients are those of the command line; each packet says whose and which it is."""
    seen: list[tuple[str, object]] = []
    server.on("move", lambda session, packet: seen.append((session.token, packet.data)))
    result = run("load", server.invite(), *QUICK, "--action", "move", "--size", 500, "--request")
    assert result.exit_code == 0, result.output
    assert count(result, "answered") == len(seen)
    assert len({token for token, _ in seen}) == 3
    data = [item for _, item in seen if isinstance(item, dict)]
    assert {item["client"] for item in data} == {0, 1, 2}
    assert {item["filler"] for item in data} == {"x" * 500}
    assert len({(item["client"], item["number"]) for item in data}) == len(seen)


def test_answers_are_told_from_other_packets(server: Server) -> None:
    """A server that sends more than it is asked, and in another order, does not confuse the latencies."""
    held: list[tuple[Session, object]] = []
    server.tick_rate = 50

    @server.on("echo")
    def strange(session: Session, packet: Received) -> None:
        session.send("echo", {"client": packet.data["client"], "number": -1})
        session.send("news", "nobody asked")
        held.append((session, packet.data))

    @server.on_tick
    def answer() -> None:
        while held:
            session, data = held.pop()
            session.send("echo", data)

    result = run("load", server.invite(), *QUICK)
    assert result.exit_code == 0, result.output
    assert count(result, "answered") == count(result, "sent")
    assert count(result, "other packets") == 2 * count(result, "sent")


def test_a_stall_of_the_server_is_not_hidden(server: Server) -> None:
    """Latencies count from when packets were due: all that a stall holds up are slow, not only one."""
    plan = Plan(clients=1, rate=200, seconds=0.8, ramp=0)
    tally = Tally()
    stalled = threading.Event()

    @server.on("echo")
    def stall(session: Session, packet: Received) -> None:
        if not stalled.is_set() and tally.latency.count:
            stalled.set()
            time.sleep(0.4)
        session.send("echo", packet.data)

    run_swarm(server, plan, tally)
    assert not tally.errors
    slow = sum(number for limit, number in tally.latency.rows() if limit > 0.1)
    assert slow > 10  # about 60 were due in the first 0.3 s of the stall


def test_a_token_and_the_application_are_passed_on(identity: Identity, tmp_path: Path) -> None:
    """HOST and PORT of a known server, --token, --application and --app-version: what `Client` takes."""
    tokens = JoinTokens()
    options = {"application": "game", "version": "2"}
    with Server("127.0.0.1", 0, keys=identity, authenticate=tokens, **options) as server:  # type: ignore[arg-type]
        server.on("echo", echo)
        where = ("127.0.0.1", server.address[1])
        KnownServers(tmp_path / "known_servers").remember(*where, identity.fingerprint)
        command = ["load", *where, *QUICK, "--keys", tmp_path]
        assert "a join token" in fails(*command, "--application", "game", "--app-version", "2")
        command += ["--token", tokens.create(uses=None)]
        assert "application" in fails(*command, "--application", "chess")
        result = run(*command, "--application", "game", "--app-version", "2")
        assert result.exit_code == 0, result.output


def test_in_plaintext_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With --plaintext it works the same; the warning is given once, not for each client."""
    with Server("127.0.0.1", 0, keys=tmp_path, encryption="off") as server:
        server.on("echo", echo)
        caplog.clear()
        where = ("127.0.0.1", server.address[1])
        result = run("load", *where, *QUICK, "--plaintext", "--keys", tmp_path)
    assert result.exit_code == 0, result.output
    assert caplog.text.count("PLAINTEXT session with") == 1


def test_the_key_of_the_client_is_shown(
    identity: Identity, other_identity: Identity, tmp_path: Path
) -> None:
    """All clients have the key of the folder, if there is one, for servers that demand it."""
    other_identity.save(tmp_path, "client")
    with Server("127.0.0.1", 0, keys=identity, client_keys="required") as server:
        server.on("echo", echo)
        assert run("load", server.invite(), *QUICK, "--keys", tmp_path).exit_code == 0


# --- what fails ----------------------------------------------------------------------------------------------


def test_a_wrong_invite_is_one_error(server: Server, other_identity: Identity) -> None:
    """The first client connects alone: a wrong key, a closed port, a torn link are said once and in words."""
    invite = server.invite()
    ours, theirs = (str(key.fingerprint)[7:20] for key in (server, other_identity))
    wrong = invite.replace(ours.translate({43: 45, 47: 95}), theirs.translate({43: 45, 47: 95}))
    assert wrong != invite
    assert "not the pinned" in fails("load", wrong, *QUICK)
    assert "not a whole one" in fails("load", "securelink://a:1/?key=SHA256:x")
    server.stop()
    assert "nothing listens there" in fails("load", invite, *QUICK)


def test_an_invite_for_one_is_not_enough(identity: Identity) -> None:
    """Who is refused is counted, the attempts end when none of many succeeds, and a hint says what to do."""
    with Server("127.0.0.1", 0, keys=identity, authenticate="tokens") as server:
        server.on("echo", echo)
        result = run("load", server.invite(), *QUICK[2:], "--clients", GIVE_UP_AFTER + 20)
    assert result.exit_code == 1
    assert f"connected      1 of {GIVE_UP_AFTER + 20} clients" in result.stdout
    errors = errors_of(result)
    assert sum(errors.values()) == GIVE_UP_AFTER + 19
    refused = errors["not connected: refused: this join token is used up; ask for a new invite"]
    assert GIVE_UP_AFTER <= refused < GIVE_UP_AFTER + DIALERS
    assert errors[swarm.NOT_TRIED] == GIVE_UP_AFTER + 19 - refused
    assert "securelink token create --uses any" in result.stdout
    assert count(result, "answered") == count(result, "sent") > 0


@pytest.mark.parametrize("requests", [False, True])
def test_a_session_that_ends_while_something_is_sent(requests: bool) -> None:
    """What is counted as lost with the session is counted as sent, too; what comes after is neither."""

    class Ending(Client):
        def send(self, *_: Any, **__: Any) -> bool:
            self.on_disconnect.fire()
            raise ConnectionClosed("it is over")

        request_later = send  # type: ignore[assignment]

    plan, tally = Plan(clients=1, rate=1, seconds=1, ramp=0, requests=requests), Tally()
    client = SimulatedClient(0, Ending("127.0.0.1", 1), plan, tally)
    for _ in range(3):
        client.send(0.0)
    assert tally.sent == tally.errors[simulated.LOST_WITH_SESSION] == 1


@pytest.mark.parametrize("requests", [False, True])
def test_a_server_that_goes_away_ends_the_load(server: Server, requests: bool) -> None:
    """Every lost session is an error with its reason, what was under way another, and nobody waits for the end."""
    plan = Plan(clients=5, rate=200, seconds=60, ramp=0, requests=requests)
    tally = Tally()
    swarm_ = run_swarm(
        server, plan, tally, lambda: server.stop(0) if tally.latency.count > 20 else None
    )
    lost = {k: n for k, n in tally.errors.items() if k.startswith("session lost: ")}
    assert sum(lost.values()) == 5
    unanswered = tally.errors[simulated.LOST_WITH_SESSION]
    assert tally.sent == tally.answered + unanswered
    assert tally.failures == 5 + unanswered
    assert (tally.entered, tally.connected) == (5, 0)
    assert swarm_.measured_seconds < 30


def test_answers_that_do_not_come_are_errors(server: Server, impatient: None) -> None:
    """An action that nobody answers: every packet has failed, and a hint says how to get answers."""
    server.on("swallow", lambda session, packet: None)
    result = run("load", server.invite(), *QUICK, "--action", "swallow")
    assert result.exit_code == 1
    assert count(result, "answered") == 0
    assert errors_of(result) == {simulated.NO_ANSWER: count(result, "sent")}
    assert "no latency was measured" in result.stdout
    assert "add --request" in result.stdout
    deferred = []
    server.on("defer", lambda session, packet: deferred.append(packet.defer()))
    result = run("load", server.invite(), *QUICK, "--action", "defer", "--request")
    assert errors_of(result) == {simulated.NO_ANSWER: count(result, "sent")}
    until(lambda: len(deferred) == count(result, "sent"))


def test_requests_that_fail_are_errors(server: Server) -> None:
    """A missing handler and one that refuses, in the words of `request()`."""

    @server.on("refuse")
    def refuse(session: Session, packet: Received) -> None:
        packet.fail("not\x1b now")

    words = {
        "nobody": "the peer has no handler for this request",
        "refuse": r"not\x1b now",
    }
    for action, text in words.items():
        result = run("load", server.invite(), *QUICK, "--action", action, "--request")
        assert result.exit_code == 1
        assert errors_of(result) == {f"request failed: {text}": count(result, "answered")}


def test_packets_that_are_too_large_are_errors(identity: Identity) -> None:
    """What the server's `max_packet` forbids is not sent, and said."""
    with Server("127.0.0.1", 0, keys=identity, max_packet=4096) as server:
        result = run("load", server.invite(), *QUICK, "--size", 5000)
    assert result.exit_code == 1
    assert count(result, "sent") == 0
    assert all("larger than the" in kind for kind in errors_of(result))


def test_a_server_that_does_not_take_packets_holds_up_nobody(
    server: Server, impatient: None
) -> None:
    """A packet that does not go out at once is an error; the sender goes on with the other clients."""
    release = threading.Event()
    server.on("block", lambda session, packet: release.wait(WAIT))
    plan = Plan(clients=1, rate=80, seconds=0.8, ramp=0, action="block", size=1024 * 1024)
    tally = Tally()
    try:
        run_swarm(server, plan, tally)
    finally:
        release.set()
    assert tally.errors["not sent: the server does not take packets as fast as they are due"] > 0


def test_a_machine_that_is_too_slow_says_so(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packets that were due and could not be sent are errors; late ones are a hint."""
    monkeypatch.setattr(swarm, "LATE_SECONDS", 0.1)
    send = SimulatedClient.send

    def slow(client: SimulatedClient, due: float) -> bool:
        time.sleep(0.03)
        return send(client, due)

    monkeypatch.setattr(SimulatedClient, "send", slow)
    result = run("load", server.invite(), *QUICK)
    assert result.exit_code == 1
    assert errors_of(result)[swarm.NOT_DUE_SENT] > 0
    assert "late, because this machine was busy" in result.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--clients", "0"], "0 is not in the range"),
        (["--clients", "5001"], "5001 is not in the range"),
        (["--rate", "0"], "is not in the range"),
        (["--rate", "10001"], "is not in the range"),
        (["--duration", "61m"], "61m is more than an hour"),
        (["--ramp", "2h"], "2h is more than an hour"),
        (["--duration", "soon"], "'soon' is no duration"),
        (["--size", "-1"], "-1 is not in the range"),
        (["--data", "{x: 1}"], "'{x: 1}' is no json"),
        (["--data", "1", "--size", "1"], "leave --size out"),
        (["--plaintext"], "an invite is for encrypted sessions"),
        (["5050"], "an invite already says the port"),
    ],
)
def test_misuse_is_explained(options: list[str], words: str) -> None:
    """What is out of bounds or contradicts itself is refused before anything is sent."""
    errors = fails("load", f"securelink://a:1/?key=SHA256:{'A' * 43}", *options, code=2)
    assert words in errors.replace("JSON", "json")


def test_a_missing_port_is_explained() -> None:
    """A host needs its port."""
    assert "the port is missing" in fails("load", "localhost", code=2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"clients": 0}, "clients is 1 to 5000, not 0"),
        ({"rate": math.nan}, "rate is 0.01 to 10000, not nan"),
        ({"seconds": 0}, "seconds is 0.1 to 3600, not 0"),
        ({"ramp": -1}, "ramp is 0 to 3600, not -1"),
        ({"action": "~state"}, "'~state' is not yours to send"),
        ({"action": ""}, "this packet cannot be sent"),
        ({"fixed": True, "data": 2**64}, "this packet cannot be sent"),
        ({"fixed": True, "data": "x" * 2**24}, "no server takes a packet of 16,777,"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused(
    options: dict[str, float], words: str
) -> None:
    """The bounds hold for programs as for the command line."""
    failure(ConfigError, lambda: Plan(**options), words)  # type: ignore[arg-type]


# --- Ctrl-C, progress, threads ---------------------------------------------------------------------------------


def test_ctrl_c_ends_it_with_a_summary(server: Server, tmp_path: Path) -> None:
    """Ctrl-C ends the load early; what happened until then is printed, and decides the exit code."""
    command = ("load", server.invite(), "--clients", 2, "--ramp", 0, "--duration", "1h")
    with securelink(*command, folder=tmp_path) as process:
        process.prints(r"connected 2 of 2 .* errors 0   3,[56]\d\d s left")
        process.interrupt()
        assert process.ends() == 0, process.output
        process.prints(r"steady .* s, ended early\n")
        process.prints(r"errors         0\n")
        assert "Traceback" not in process.output


def test_in_a_terminal_the_progress_is_one_line(server: Server) -> None:
    """The line changes in place, and is gone at the end."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    plan = Plan(clients=2, rate=50, seconds=1.2, ramp=0.6)  # looked at ten times a second
    tally = Tally()
    load = make_swarm(server, plan, tally)
    with progress(load, console) as show:
        load.run(show)
    text = screen.getvalue()
    assert re.search(r"connected \d of 2   sent \d+/s   answers \d+/s   errors 0   ramp", text)
    assert re.search(r"connected 2 of 2   .* [01] s left", text)
    assert text.count("\x1b[2K") > 1
    assert any(line.startswith("p50 ") for line in summary(load))


def test_more_clients_are_not_more_threads(server: Server) -> None:
    """The number of threads is that of one loop, one sender and a few dialers, whatever the number of clients."""
    names: set[str] = set()

    def look() -> None:
        names.update(
            t.name for t in threading.enumerate() if "load" in t.name or "-clients-" in t.name
        )

    tally = Tally()
    run_swarm(server, Plan(clients=40, rate=10, seconds=0.3, ramp=0.2), tally, look)
    assert (tally.entered, tally.failures) == (40, 0)
    assert len(names) <= DIALERS + 1 + 9
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("securelink-load")])


def test_too_many_clients_for_the_system_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of open files is raised if the system lets us, and else said before anything starts."""
    raised = []
    monkeypatch.setattr(resource, "setrlimit", lambda what, limits: raised.append(limits))
    for limits in ((2000, 9000), (resource.RLIM_INFINITY, resource.RLIM_INFINITY)):
        monkeypatch.setattr(resource, "getrlimit", lambda what, limits=limits: limits)
        allow_files(1000)
    assert raised == []
    monkeypatch.setattr(resource, "getrlimit", lambda what: (500, 9000))
    allow_files(1000)
    assert raised == [(1064, 9000)]
    monkeypatch.setattr(resource, "getrlimit", lambda what: (500, 1000))
    failure(ConfigError, lambda: allow_files(1000), "1064 open files, .* allows 1000", "ulimit")


def make_swarm(server: Server, plan: Plan, tally: Tally) -> Swarm:
    """A load whose first client is connected."""
    invite = server.invite()
    first = SimulatedClient(0, Client(invite), plan, tally)
    first.connect(WAIT)
    return Swarm(plan, first, lambda: Client(invite), tally)


def run_swarm(
    server: Server, plan: Plan, tally: Tally, show: Callable[[], object] = lambda: None
) -> Swarm:
    """Run a load to its end."""
    load = make_swarm(server, plan, tally)
    load.run(show)
    return load
