"""
Steps of a handshake in the wrong order, each tried on real engines. No line here is an `assert`, so that

    python -O tests/order_attacks.py

does the same as without -O: it prints, as JSON, what each attempt led to.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import sys
from collections.abc import Callable
from typing import Any

from engines import TOKEN, Pair, Role

from securelink.errors import ConfigError
from securelink.keys import Identity
from securelink.limits import MIN_PACKET
from securelink.protocol import PlaintextServer, State, VerifiedClient, VerifiedServer
from securelink.protocol.handshake_client import ClientHandshake
from securelink.protocol.handshake_server import ServerHandshake
from securelink.wire.fields import Mode

OFF, REQUIRED = Mode.OFF, Mode.REQUIRED
SAYS: dict[str, Any] = {
    "identity": None, "dialled": "", "application": "", "version": "", "credentials": b"\xa6secret"
}  # fmt: skip
CLIENT_SAYS: dict[str, Any] = {
    "key": None, "dialled": "", "application": "", "version": "", "credentials": b"", "binding": None,
    "grant": None, "count": None,
}  # fmt: skip

Attack = Callable[[Identity], str]
ATTACKS: dict[str, Attack] = {}


def attack(function: Attack) -> Attack:
    """List an attack."""
    ATTACKS[function.__name__] = function
    return function


def outcome(role: Role, pair: Pair, step: Callable[[], object]) -> str:
    """What a step led to: refused without any effect, or what it did."""
    engine = pair.engine(role)
    state = engine.state
    engine.data_to_send()
    try:
        step()
    except ConfigError as error:
        if engine.state is not state:
            return f"refused, but the engine went from {state.name} to {engine.state.name}"
        sent = engine.data_to_send()
        if sent:
            return f"refused, but {len(sent)} bytes were sent"
        return "refused" if error.hint else "refused without a hint"
    return f"done: {engine.state.name}, {len(engine.data_to_send())} bytes sent"


def verdict(outcomes: list[str]) -> str:
    """One word for all: the first that was not refused, failing that "refused"."""
    if not outcomes:
        return "nothing was tried"
    return next((found for found in outcomes if found != "refused"), "refused")


def server_proof(pair: Pair) -> VerifiedServer | PlaintextServer:
    """The proof that a pair's client got."""
    return next(
        item.server  # type: ignore[union-attr]  # told by its name
        for item in pair.items["client"]
        if type(item).__name__ in ("ServerVerified", "PlaintextChosen")
    )


def client_proof(pair: Pair) -> VerifiedClient:
    """The proof that a pair's server has got."""
    if pair.verified is None:
        raise RuntimeError("the client was not verified")
    return pair.verified


def deciding(identity: Identity, mode: Mode) -> Pair:
    """A pair whose server has verified its client and decides."""
    pair = Pair(identity, client_mode=mode, server_mode=mode).until("server", State.AUTH_RECEIVED)
    pair.verified = pair.server.verify_client()
    return pair


@attack
def credentials_before_the_proof(identity: Identity) -> str:
    """Send the password while the server has proved nothing, with a proof from elsewhere."""
    found = []
    for mode in (REQUIRED, OFF):
        proof = server_proof(Pair(identity, client_mode=mode, server_mode=mode).run())
        states = (State.HELLO_SENT, State.WAIT_AUTH) if mode is REQUIRED else (State.HELLO_SENT,)
        for state in states:
            pair = Pair(identity, client_mode=mode, server_mode=mode).until("client", state)
            found.append(outcome("client", pair, lambda: pair.client.authenticate(proof, **SAYS)))  # noqa: B023 - called at once
    return verdict(found)


@attack
def credentials_by_the_proof_of_another_connection(identity: Identity) -> str:
    """Send the password because some other server, or the same one elsewhere, has proved itself."""
    found = []
    for mode in (REQUIRED, OFF):
        for other in (REQUIRED, OFF):
            proof = server_proof(Pair(identity, client_mode=other, server_mode=other).run())
            pair = Pair(identity, client_mode=mode, server_mode=mode)
            pair.until("client", State.VERIFIED)
            found.append(outcome("client", pair, lambda: pair.client.authenticate(proof, **SAYS)))  # noqa: B023 - called at once
    return verdict(found)


@attack
def credentials_twice(identity: Identity) -> str:
    """Use a proof of the server a second time: after CLIENT_AUTH, in the open session, after the end."""
    found = []
    for mode in (REQUIRED, OFF):
        for state in (State.AUTH_SENT, State.OPEN, State.FAILED):
            pair = Pair(identity, client_mode=mode, server_mode=mode)
            pair.until("client", State.AUTH_SENT if state is State.FAILED else state)
            if state is State.FAILED:
                pair.client.give_up(0)
            proof = server_proof(pair)
            found.append(outcome("client", pair, lambda: pair.client.authenticate(proof, **SAYS)))  # noqa: B023 - called at once
    return verdict(found)


@attack
def credentials_by_nothing(identity: Identity) -> str:
    """Send the password with None, or with a copy of the proof, instead of the proof."""
    found = []
    for mode in (REQUIRED, OFF):
        pair = Pair(identity, client_mode=mode, server_mode=mode).until("client", State.VERIFIED)
        proof = server_proof(pair)
        for wrong in (None, object(), copy.copy(proof)):
            found.append(outcome("client", pair, lambda: pair.client.authenticate(wrong, **SAYS)))  # type: ignore[arg-type]  # it is wrong  # noqa: B023 - called at once
    return verdict(found)


@attack
def welcome_before_the_proof(identity: Identity) -> str:
    """Admit a client in any state in which it has proved nothing, with a proof from elsewhere."""
    found = []
    states = (
        State.START, State.HELLO_RECEIVED, State.WAIT_CLIENT, State.AUTH_RECEIVED
    )  # fmt: skip
    for mode in (REQUIRED, OFF):
        proof = client_proof(deciding(identity, mode))
        for state in states:
            pair = Pair(identity, client_mode=mode, server_mode=mode).until("server", state)
            found.append(outcome("server", pair, lambda: welcome(pair, proof)))  # noqa: B023 - called at once
    return verdict(found)


def welcome(pair: Pair, proof: Any) -> None:
    """Admit the client of a pair by this proof."""
    pair.server.welcome(proof, TOKEN, MIN_PACKET, 20.0)


@attack
def welcome_by_the_proof_of_another_connection(identity: Identity) -> str:
    """Admit a client because another one has proved itself."""
    found = []
    for mode in (REQUIRED, OFF):
        for other in (REQUIRED, OFF):
            proof = client_proof(deciding(identity, other))
            pair = deciding(identity, mode)
            found.append(outcome("server", pair, lambda: welcome(pair, proof)))  # noqa: B023 - called at once
    return verdict(found)


@attack
def welcome_twice(identity: Identity) -> str:
    """Admit a client a second time, or after it was refused."""
    found = []
    for mode in (REQUIRED, OFF):
        for refuse in (False, True):
            pair = deciding(identity, mode)
            proof = client_proof(pair)
            if refuse:
                pair.server.refuse(16, "no")
            else:
                welcome(pair, proof)
            found.append(outcome("server", pair, lambda: welcome(pair, proof)))  # noqa: B023 - called at once
    return verdict(found)


@attack
def welcome_by_nothing(identity: Identity) -> str:
    """Admit a client with None, or with a changed copy of its proof, instead of the proof."""
    found = []
    for mode in (REQUIRED, OFF):
        pair = deciding(identity, mode)
        for wrong in (None, object(), copy.copy(client_proof(pair))):
            found.append(outcome("server", pair, lambda: welcome(pair, wrong)))  # noqa: B023 - called at once
    return verdict(found)


@attack
def a_proof_out_of_thin_air(identity: Identity) -> str:
    """Construct proofs, or change what a good one says."""
    pair = deciding(identity, REQUIRED)
    server, client = server_proof(pair), client_proof(pair)
    attempts: list[Callable[[], object]] = [
        lambda: VerifiedServer(identity.public, 0, b"", (), False, object()),
        lambda: PlaintextServer(False, None),
        lambda: VerifiedClient(**CLIENT_SAYS, maker=None),
        lambda: dataclasses.replace(client, dialled="elsewhere", maker=object()),
        lambda: dataclasses.replace(server, maker=None),
    ]
    return verdict([outcome("server", pair, attempt) for attempt in attempts])


def server_at(state: State, identity: Identity, mode: Mode) -> Pair:
    """A pair whose server is in that state, on the right way."""
    if state is State.AUTHORIZING:
        return deciding(identity, mode)
    if state is State.ANSWERING:
        pair = server_at(State.HELLO_RECEIVED, identity, mode)
        pair.server.begin_answer()
        return pair
    return Pair(identity, client_mode=mode, server_mode=mode).until("server", state)


@attack
def steps_of_the_server_out_of_order(identity: Identity) -> str:
    """Answer, verify or refuse when nobody asks for it, or a second time."""
    steps: dict[str, Callable[[Pair], object]] = {
        "begin": lambda pair: pair.server.begin_answer(),
        "finish": lambda pair: pair.server.finish_answer(identity),
        "verify": lambda pair: pair.server.verify_client(),
        "refuse": lambda pair: pair.server.refuse(16),
    }
    right = {
        State.START: "", State.HELLO_RECEIVED: "begin", State.ANSWERING: "finish",
        State.WAIT_CLIENT: "", State.AUTH_RECEIVED: "verify refuse", State.AUTHORIZING: "refuse",
        State.OPEN: "",
    }  # fmt: skip
    found = []
    for mode in (REQUIRED, OFF):
        for state, allowed in right.items():
            for name in steps.keys() - allowed.split():
                pair = server_at(state, identity, mode)
                found.append(outcome("server", pair, lambda: steps[name](pair)))  # noqa: B023 - called at once
    return verdict(found)


@attack
def an_encrypted_answer_without_a_key(identity: Identity) -> str:
    """Finish the answer of an encrypted connection without the server's key."""
    pair = Pair(identity).until("server", State.HELLO_RECEIVED)
    pair.server.begin_answer()
    return outcome("server", pair, lambda: pair.server.finish_answer(None))


@attack
def computations_out_of_order(identity: Identity) -> str:
    """Ask the halves of the handshake, below the engines, for what comes later."""
    found = []
    attempts: list[Callable[[], object]] = [
        lambda: ClientHandshake(REQUIRED).client_auth(**SAYS),
        lambda: ClientHandshake(OFF).client_auth(**SAYS),
        lambda: ClientHandshake(REQUIRED).server_auth(bytes(2000)),
        lambda: ServerHandshake(REQUIRED).answer(),
        lambda: ServerHandshake(REQUIRED).server_auth(identity, 0),
        lambda: ServerHandshake(REQUIRED).client_auth(bytes(2000)),
        lambda: ServerHandshake(OFF).client_auth(bytes(2000)),
    ]
    for attempt in attempts:
        found.append(outcome("client", Pair(identity), attempt))
    return verdict(found)


def main() -> None:
    """Try everything and print what came of it."""
    identity = Identity.from_pem(sys.stdin.buffer.read())
    results = {name: function(identity) for name, function in ATTACKS.items()}
    results["asserts"] = "on" if __debug__ else "off"
    print(json.dumps(results))


if __name__ == "__main__":
    main()
