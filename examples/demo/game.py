"""The first half of the demonstration: keys, entering, playing, what breaks meanwhile, a kick, a restart."""

from __future__ import annotations

import os
import stat
import time
import uuid

from .cast import FIRST, PLAYERS, SECOND, THIRD, Cast
from .stage import WAIT, Puppet

KICKED = 19  # codes of CLOSE (docs/PROTOCOL.md)
SHUTDOWN = 20
_REASON = "no marked cards at this table"

_STEPS = 10  # before the server is killed, and while there is none
_SOME_BYTES = 40  # of a packet of about 200, when the cable is pulled


def open_up(cast: Cast) -> None:
    """A server process with a fresh key, three player processes, and a relay before each."""
    report = cast.report
    cast.start_server()
    for name in PLAYERS:
        cast.players[name] = cast.stage.player(name)
        cast.relays[name] = cast.stage.relay(cast.port)
    key = cast.own_key("server")
    report.check("the server made a key of 3072 bits", key.bits == 3072, key.fingerprint)
    report.equal("it shows the fingerprint of that key", cast.fingerprint, key.fingerprint)
    processes = [cast.server, *cast.players.values()]
    numbers = {process.pid for process in processes}
    report.check(
        "four processes run besides this one",
        len(numbers - {os.getpid()}) == 4 and all(p.exit_code is None for p in processes),
        ", ".join(f"{process.name} {process.pid}" for process in processes),
    )


def enter(cast: Cast) -> None:
    """A wrong token is refused; right ones admit, each to a session of its own."""
    report = cast.report
    for name in PLAYERS:
        cast.tokens[name] = cast.make_token(cast.server, name)
    cast.dial(THIRD, token=str(uuid.uuid4()))
    refused = cast.players[THIRD].expect("failed")
    report.raised(f"{THIRD}, with a made-up token,", refused)
    report.equal("a made-up join token is refused", refused["error"], "Refused")
    for name in PLAYERS:
        cast.set_out(name)
    arrived = {name: cast.arrived(name) for name in PLAYERS}
    for name, session in arrived.items():
        held = session["seen_by_server"] == session["token"] and _is_uuid4(session["token"])
        report.check(f"{name} is in, and both sides name the session alike", held, session["token"])
    report.check("all three sessions are encrypted", all(s["encrypted"] for s in arrived.values()))
    keys = {name: session["key"] for name, session in arrived.items()}
    own = {name: cast.own_key(name).fingerprint for name in PLAYERS}
    report.equal("each player proved a fresh key of its own", keys, own)
    report.equal("no two keys are the same", len({cast.fingerprint, *keys.values()}), 4)
    _check_files(cast)


def _check_files(cast: Cast) -> None:
    folder = cast.stage.folder
    if os.name == "posix":
        private = sorted(folder.rglob("*_private.pem"))
        modes = [f"{stat.S_IMODE(path.stat().st_mode):04o}" for path in private]
        cast.report.equal("only their owner can read the private keys", modes, ["0600"] * 4)
    kept = (folder / "server" / "keys" / "join_tokens.json").read_text()
    found = [name for name, token in cast.tokens.items() if token in kept]
    cast.report.equal("the server's file of join tokens holds none of them", found, [])


def play(cast: Cast) -> None:
    """Moves, chat, a broadcast: everybody gets what they should, in order, and nothing else."""
    report = cast.report
    x = y = 0
    path = []
    for _ in range(5):
        dx, dy = cast.random.choice(((1, 0), (0, 1), (-1, 0), (0, -1)))
        x, y = x + dx, y + dy
        path.append({"who": FIRST, "x": x, "y": y})
        cast.players[FIRST].order(do="send", action="make-a-step", data={"dx": dx, "dy": dy})
    for name in PLAYERS:
        player = cast.players[name]
        seen = [player.expect("got", action="somebody-moved")["data"] for _ in path]
        where = " ".join(f"{step['x']},{step['y']}" for step in seen)
        report.check(f"{name} saw the five steps of {FIRST} in order", seen == path, where)
    said = {"who": SECOND, "text": cast.text}
    heard = [packet["data"] for packet in cast.say(SECOND, FIRST, THIRD)]
    report.check(f"both others heard {SECOND}", heard == [said, said], f'"{cast.text}"')
    cast.server.order(do="broadcast", action="a-new-round", data={"round": 1})
    report.equal(
        "the server sent a broadcast to three", cast.server.expect("broadcast")["count"], 3
    )
    rounds = [cast.players[name].expect("got", action="a-new-round")["data"] for name in PLAYERS]
    report.equal("it reached all three", rounds, [{"round": 1}] * 3)
    # Packets arrive in order, so whatever was sent before the broadcast is here by now.
    extra = [packet for name in PLAYERS for packet in cast.players[name].take("got")]
    report.equal(f"nothing came twice, and {SECOND} did not hear itself", extra, [])


def pull_cable(cast: Cast) -> None:
    """One player's cable is pulled in the middle of a packet; everybody plays on, in the same session."""
    report, relay, player = cast.report, cast.relays[FIRST], cast.players[FIRST]
    before = relay.connections
    relay.to_client.cut_after = len(relay.to_client.captured) + _SOME_BYTES
    cast.players[SECOND].order(do="send", action="say-to-all", data=cast.text)
    said = {"who": SECOND, "text": cast.text}
    deadline = time.monotonic() + WAIT
    while relay.connections == before and time.monotonic() < deadline:
        time.sleep(0.005)
    relay.to_client.cut_after = None
    report.check(
        f"{FIRST} lost the connection after {_SOME_BYTES} bytes of a packet, and is back",
        relay.connections > before,
    )
    heard = [cast.hear(name)["data"] for name in (FIRST, THIRD)]
    report.equal(f"both others heard {SECOND}, {FIRST} over the new connection", heard, [said] * 2)
    (answer,) = cast.say(FIRST, SECOND)
    report.equal("and answers", answer["data"], {"who": FIRST, "text": cast.text})
    cast.hear(THIRD)
    extra = [*player.take("got"), *player.take("ended"), *cast.server.take("left")]
    report.equal("nothing came twice, and no session has ended", extra, [])


def kill(cast: Cast) -> None:
    """The server's process is killed while a player runs, and started again; everybody plays on, as if nothing was."""
    report, runner, fingerprint = cast.report, cast.players[FIRST], cast.fingerprint
    _run(runner)
    seen = {name: [] if name != SECOND else [_step_seen(cast, name)] for name in PLAYERS}
    number, code = cast.server.pid, cast.stage.kill(cast.server)
    report.check("the server's process was killed while they played", code != 0, f"{number}")
    _run(runner)
    cast.start_server()
    report.check(
        "another process has its key and its file",
        cast.server.pid != number and cast.fingerprint == fingerprint,
        f"{cast.server.pid}",
    )
    for name in PLAYERS:
        while len(seen[name]) < 2 * _STEPS:
            seen[name].append(_step_seen(cast, name))
        begun = seen[name][0]
        report.equal(
            f"{name} saw {FIRST} make {2 * _STEPS} steps, each once and in order",
            seen[name],
            list(range(begun, begun + 2 * _STEPS)),
        )
    (heard,) = cast.say(SECOND, FIRST)
    report.equal("they talk", heard["data"], {"who": SECOND, "text": cast.text})
    cast.hear(THIRD)
    extra = [packet for name in PLAYERS for packet in cast.players[name].take("got")]
    report.equal("nothing came twice", extra, [])
    ends = [packet for name in PLAYERS for packet in cast.players[name].take("ended")]
    told = [*ends, *cast.server.take("left"), *cast.server.take("joined")]
    report.equal("and no session has ended, or is new", told, [])


def _run(player: Puppet) -> None:
    for _ in range(_STEPS):
        player.order(do="send", action="make-a-step", data={"dx": 1, "dy": 0})


def _step_seen(cast: Cast, name: str) -> int:
    return int(cast.players[name].expect("got", action="somebody-moved")["data"]["x"])


def kick(cast: Cast) -> None:
    """The kicked player is told why; the others play on."""
    report = cast.report
    cast.server.order(do="kick", user=THIRD, reason=_REASON)
    ended = cast.players[THIRD].expect("ended")
    report.raised(THIRD, ended)
    report.equal(f"{THIRD} was told the reason", (ended["code"], ended["text"]), (KICKED, _REASON))
    cast.server.expect("left", user=THIRD)
    (heard,) = cast.say(FIRST, SECOND)
    report.equal("the others play on", heard["data"], {"who": FIRST, "text": cast.text})


def restart(cast: Cast) -> None:
    """The server ends and starts again; the players come back by themselves, to fresh sessions."""
    report = cast.report
    before = {name: list(cast.sessions[name]) for name in PLAYERS}
    fingerprint = cast.fingerprint
    report.equal("the server process ended in order", cast.server.stop(), 0)
    ended = [cast.players[name].expect("ended") for name in (FIRST, SECOND)]
    report.raised(FIRST, ended[0])
    report.equal("who was in was told", [error["code"] for error in ended], [SHUTDOWN] * 2)
    attempts = {name: cast.relays[name].connections for name in PLAYERS}
    for name in PLAYERS:
        cast.set_out(name, retry=True)
    tried = {name: _attempts(cast, name, attempts[name]) for name in PLAYERS}
    report.check(
        "while there is no server, all three try again and again",
        min(tried.values()) >= 2,
        ", ".join(f"{name} {count} times" for name, count in tried.items()),
    )
    cast.start_server()
    report.equal("the new process has the same key", cast.fingerprint, fingerprint)
    arrived = {name: cast.arrived(name) for name in PLAYERS}
    fresh = [session["token"] not in before[name] for name, session in arrived.items()]
    report.check("all three are back, with sessions that are new", all(fresh))
    heard = [packet["data"]["text"] for packet in cast.say(THIRD, FIRST, SECOND)]
    report.equal("and talk again", heard, [cast.text] * 2)


def _attempts(cast: Cast, name: str, before: int) -> int:
    """How often a player has connected to its relay since then, as soon as that is twice."""
    relay, deadline = cast.relays[name], time.monotonic() + WAIT
    while relay.connections < before + 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    return relay.connections - before


def _is_uuid4(token: str) -> bool:
    return uuid.UUID(token).version == 4 and str(uuid.UUID(token)) == token
