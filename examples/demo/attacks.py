"""The second half: somebody in the middle listens, changes, repeats, and pretends to be the server."""

from __future__ import annotations

import socket

from securelink.testing.relay import Relay, by_frame

from .cast import FIRST, PLAYERS, SECOND, THIRD, Cast, threads_left
from .server import APPLICATION, PURSE
from .stage import Puppet
from .wire import PLAIN, SEALED, FlipBit, Repeat, Rewrite, hexdump, largest_frame, leaks, readable

_PRICE = 10  # gold
_NOTE = "for the passage of one person and one mule, as agreed at the inn last night"


def listen(cast: Cast) -> None:
    """Encrypted: the packet is noise, and no secret is anywhere in what went through the relays."""
    report, relay = cast.report, cast.relays[FIRST]
    mark = len(relay.to_server.captured)
    (heard,) = cast.say(FIRST, SECOND)
    report.check(f"{SECOND} heard", heard["data"]["text"] == cast.text, f'"{cast.text}"')
    frame = largest_frame(relay.to_server.captured[mark:])
    report.say("What the relay saw of that packet:")
    report.block(hexdump(frame), "cyan")
    report.equal("it is a sealed record", frame[0], SEALED)
    secrets = cast.secrets()
    for name in PLAYERS:
        there, back = cast.relays[name].to_server.captured, cast.relays[name].to_client.captured
        found = leaks(there, secrets) + leaks(back, secrets)
        size = f"{len(there) + len(back):,} bytes of {cast.relays[name].connections} connections"
        report.check(
            f"none of {len(secrets)} secrets, nor six bytes of one, is in the stream of {name}",
            not found,
            ", ".join(found) or size,
        )


def listen_in_plaintext(cast: Cast) -> None:
    """The switch turned off: the same packet is readable, and can be rewritten unnoticed."""
    report = cast.report
    server = cast.stage.serve("plaintext-server", encryption="off")
    port = server.expect("ready")["port"]
    tokens = {name: cast.make_token(server, name) for name in (FIRST, SECOND)}
    rewrite = Rewrite(cast.place.encode(), cast.other_place.encode())
    cast.relays[SECOND].to_client.hook = by_frame(rewrite)
    relay = cast.relays[FIRST]
    for flow in (relay.to_server, relay.to_client):
        flow.forget()
    for name in (FIRST, SECOND):
        leave(cast, name)
        cast.relays[name].target = ("127.0.0.1", port)
        cast.dial(name, token=tokens[name], encryption="off")
    arrived = {name: cast.arrived(name, server) for name in (FIRST, SECOND)}
    report.equal("no session is encrypted", [s["encrypted"] for s in arrived.values()], [False] * 2)
    mark = len(relay.to_server.captured)
    (heard,) = cast.say(FIRST, SECOND)
    report.check(f"{SECOND} heard the same", heard["data"]["text"] == cast.text)
    report.say("What the relay saw of the same packet:")
    frame = largest_frame(relay.to_server.captured[mark:])
    report.block(hexdump(frame), "yellow")
    report.equal("it is a plain record", frame[0], PLAIN)
    secrets = {
        "the action": "say-to-all",
        "the text": cast.text,
        "the application": APPLICATION,
        "the join token": tokens[FIRST],
        "the session token": cast.sessions[FIRST][-1],
    }
    found = readable(relay.to_server.captured, secrets)
    report.check("it can be read by anybody", found == list(secrets), ", ".join(found))
    rewrite.armed = True
    (heard,) = cast.say(FIRST, SECOND)
    wanted = cast.text.replace(cast.place, cast.other_place)
    report.check(
        "and changed by anybody", heard["data"]["text"] == wanted, f'{SECOND} heard "{wanted}"'
    )
    noticed = [cast.players[name].take("ended") for name in (FIRST, SECOND)]
    report.equal("which nobody noticed", (noticed, server.take("logged")), ([[], []], []))
    for name in (FIRST, SECOND):
        leave(cast, name, server)
    server.stop()
    come_back(cast)


def flip_a_bit(cast: Cast) -> None:
    """One bit of one record to the second player is turned over."""
    report, relay = cast.report, cast.relays[SECOND]
    flip = FlipBit()
    leave(cast, SECOND)
    relay.to_client.hook = by_frame(flip)
    cast.set_out(SECOND)
    cast.arrived(SECOND)
    flip.armed = True
    (heard,) = cast.say(FIRST, THIRD)
    logged = cast.players[SECOND].expect("logged")
    at = len(flip.before) // 2
    old, new = flip.before[at], flip.after[at]
    report.say(
        f"byte {at} of {len(flip.before)} on the way to {SECOND}: {old:02x} became {new:02x}"
    )
    report.raised(SECOND, logged)
    report.equal("the changed record was noticed", logged["error"], "RecordError")
    report.check(f"{THIRD} got the packet as it was", heard["data"]["text"] == cast.text)
    heard = cast.hear(SECOND)
    report.check(
        f"so did {SECOND}, over another connection of the session",
        heard["data"]["text"] == cast.text,
    )
    went_on(cast, SECOND)
    relay.to_client.hook = None


def repeat_a_record(cast: Cast) -> None:
    """A record in which the first player pays is sent twice."""
    report, relay = cast.report, cast.relays[FIRST]
    repeat = Repeat()
    leave(cast, FIRST)
    relay.to_server.hook = by_frame(repeat)
    cast.set_out(FIRST)
    cast.arrived(FIRST)
    repeat.armed = True
    payment = {"gold": _PRICE, "note": _NOTE}
    cast.players[FIRST].order(do="send", action="pay-the-ferryman", data=payment)
    logged = cast.server.expect("logged")
    report.say(f"{len(repeat.before)} bytes of {FIRST} reached the server as {len(repeat.after)}")
    report.raised("the server", logged)
    report.equal("the repeated record was noticed", logged["error"], "RecordError")
    paid = cast.server.expect("paid")
    report.equal(f"{FIRST} paid", paid["left"], PURSE - _PRICE)
    (heard,) = cast.say(FIRST, SECOND)
    report.check("the session goes on", heard["data"]["text"] == cast.text)
    report.equal("and nothing was paid twice", cast.server.take("paid"), [])
    went_on(cast, FIRST)
    relay.to_server.hook = None


def went_on(cast: Cast, name: str) -> None:
    """A session has lost its connection, and nothing else."""
    told = [cast.players[name].take("ended"), cast.server.take("left"), cast.server.take("joined")]
    cast.report.equal(f"the session of {name} is the same", told, [[], [], []])


def impersonate(cast: Cast) -> None:
    """The relays lead to another server, with a key of its own."""
    report = cast.report
    impostor = cast.stage.serve("impostor")
    ready = impostor.expect("ready")
    false_key = ready["fingerprint"]
    report.say(f"the impostor's key is {false_key}")
    leave(cast, SECOND)
    for name in (FIRST, SECOND):
        cast.relays[name].target = ("127.0.0.1", ready["port"])
        cast.set_out(name)
        failed = cast.players[name].expect("failed")
        how = "whose invite says the key" if name == FIRST else "who was there before"
        report.raised(f"{name}, {how},", failed)
        report.equal(
            f"{name} saw a wrong key and went no further",
            (failed["error"], failed["fingerprint"], failed["expected"]),
            ("NotTrusted", false_key, cast.fingerprint),
        )
    report.equal("the impostor ended in order", impostor.stop(), 0)
    got = [impostor.take(event) for event in ("asked", "joined")]
    report.equal("it was given no join token", got, [[], []])
    come_back(cast)
    (heard,) = cast.say(FIRST, SECOND)
    report.check("with the true server all goes on", heard["data"]["text"] == cast.text)


def clean_up(cast: Cast) -> None:
    """Everything ends; nothing is left."""
    report = cast.report
    ports = [cast.port, *(relay.port for relay in cast.relays.values())]
    codes = dict(cast.stage.close())
    report.equal("all processes ended in order", set(codes.values()), {0})
    report.equal("nobody listens any more", [port for port in ports if _answers(port)], [])
    report.equal("no thread is left", threads_left(), [])
    report.check("the folder with the keys is gone", not cast.stage.folder.exists())


def leave(cast: Cast, name: str, server: Puppet | None = None) -> None:
    """A player leaves in order; both sides say so."""
    player = cast.players[name]
    player.order(do="close")
    player.expect("ended")
    player.take("got")
    (server or cast.server).expect("left", user=name)


def come_back(cast: Cast) -> None:
    """The first two players return to the true server, without anybody's hooks in between."""
    for name in (FIRST, SECOND):
        relay: Relay = cast.relays[name]
        relay.to_server.hook = relay.to_client.hook = None
        relay.target = ("127.0.0.1", cast.port)
        cast.set_out(name)
        cast.arrived(name)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True
