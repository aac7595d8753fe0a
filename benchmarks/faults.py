"""
What happens to computers and networks, done to a server and a client that talk: is anything lost, or the session?

    .venv/bin/python -m benchmarks.survive --faults           # in full: some minutes

Both are processes of their own. They are stopped, kept busy, or put into network namespaces whose cable is pulled. Root
makes these; where users may, by `unshare --user`, anybody does.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from securelink.testing import Relay

from .process import ROOT, Child, RunFailed
from .soak import Talker, serve

PAUSE = 0.02  # seconds between two packets
SETTLE_SECONDS = 0.5  # of talk before and after a fault
WAIT = 120.0
SERVER, CLIENT, MOVED = "10.213.7.1", "10.213.7.2", "10.213.7.3"
NOBODY = "02:00:00:00:00:01"  # no card on the cable has this address
AS_ROOT_OF_ITS_OWN = ("unshare", "--user", "--net", "--map-root-user")


class Process(Child):
    """One of the two; in a network namespace of its own, if it is to be."""

    def __init__(self, *arguments: str, alone: bool) -> None:
        before = ("unshare", "--net") if alone else ()
        super().__init__("benchmarks.faults", *arguments, before=before)

    def network(self, *command: str) -> None:
        """Run `ip` in its namespace."""
        subprocess.run(["nsenter", f"--target={self.pid}", "--net", "ip", *command], check=True)


@dataclass(frozen=True)
class Pair:
    """
    Who talks.

    Attributes:
        relay: Between them; not with networks of their own.
        device: The name of the cable's end at the server, with networks.
    """

    server: Process
    client: Process
    relay: Relay | None = None
    device: str = ""


Fault = Callable[[Pair, float], None]


def stall(pair: Pair, seconds: float) -> None:
    """Nothing passes, in either direction, and then it does."""
    assert pair.relay is not None
    for flow in (pair.relay.to_server, pair.relay.to_client):
        flow.hold()
    time.sleep(seconds)
    for flow in (pair.relay.to_server, pair.relay.to_client):
        flow.release()


def stall_server(pair: Pair, seconds: float) -> None:
    """What the server says does not arrive; it hears all."""
    assert pair.relay is not None
    pair.relay.to_client.hold()
    time.sleep(seconds)
    pair.relay.to_client.release()


def stall_client(pair: Pair, seconds: float) -> None:
    """The other way round."""
    assert pair.relay is not None
    pair.relay.to_server.hold()
    time.sleep(seconds)
    pair.relay.to_server.release()


def stop_client(pair: Pair, seconds: float) -> None:
    """The client's process stands still, as in a debugger, or on a computer that sleeps."""
    os.kill(pair.client.pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(pair.client.pid, signal.SIGCONT)


def stop_server(pair: Pair, seconds: float) -> None:
    """The server's process stands still."""
    os.kill(pair.server.pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(pair.server.pid, signal.SIGCONT)


def compute(pair: Pair, seconds: float) -> None:
    """A handler of the server computes, and gives the interpreter to nobody."""
    pair.client.say(f"compute {seconds}")
    time.sleep(seconds)


def pull_cable(pair: Pair, seconds: float) -> None:
    """The network is gone, without a word to anybody, and comes back."""
    pair.server.network("link", "set", pair.device, "down")
    time.sleep(seconds)
    pair.server.network("link", "set", pair.device, "up")


def move(pair: Pair, seconds: float) -> None:
    """The client's computer gets another address, as one that leaves the house."""
    device = pair.device + "c"
    pair.client.network("address", "del", f"{CLIENT}/24", "dev", device)
    pair.client.network("address", "add", f"{MOVED}/24", "dev", device)
    time.sleep(seconds)


def mute_server(pair: Pair, seconds: float) -> None:
    """Nothing that the server's computer sends arrives at the client's: its packets go to a card that is not there."""
    _mute(pair.server, pair.device, CLIENT, seconds)


def mute_client(pair: Pair, seconds: float) -> None:
    """The other way round."""
    _mute(pair.client, pair.device + "c", SERVER, seconds)


def _mute(process: Process, device: str, peer: str, seconds: float) -> None:
    process.network("neigh", "replace", peer, "lladdr", NOBODY, "dev", device, "nud", "permanent")
    time.sleep(seconds)
    process.network("neigh", "del", peer, "dev", device)


OF_PROCESSES: tuple[Fault, ...] = (stop_client, stop_server, compute)
OF_A_RELAY: tuple[Fault, ...] = (stall, stall_server, stall_client)
BETWEEN_NETWORKS: tuple[Fault, ...] = (pull_cable, mute_server, mute_client, move)
IN_FULL = {
    stall: 60.0,
    stall_server: 10.0,
    stall_client: 10.0,
    stop_client: 60.0,
    stop_server: 60.0,
    compute: 10.0,
    pull_cable: 30.0,
    mute_server: 10.0,
    mute_client: 10.0,
    move: 5.0,
}


def way_to_networks() -> tuple[tuple[str, ...], str]:
    """
    How to make network namespaces.

    Returns:
        What stands before a command that makes them, and "". Or why nothing does.
    """
    missing = [name for name in ("unshare", "nsenter", "ip") if shutil.which(name) is None]
    if missing:
        return (), f"there is no {missing[0]} here"
    said = ""
    for before in ((), AS_ROOT_OF_ITS_OWN):
        tried = subprocess.run(
            [*before, "unshare", "--net", "ip", "link", "add", "slt", "type", "veth"],
            capture_output=True,
            text=True,
            check=False,
        )
        if not tried.returncode:
            return before, ""
        said = (tried.stderr.strip().splitlines() or [f"{before} fails"])[-1]
    return (), said


def suffer_apart(
    fault: Fault, seconds: float, heartbeat: float, before: tuple[str, ...] = ()
) -> list[str]:
    """As `suffer`, in a process that `before` starts."""
    done = subprocess.run(
        [*before, sys.executable, "-m", "benchmarks.faults", "--suffer", fault.__name__, str(seconds), str(heartbeat)],
        capture_output=True, text=True, cwd=ROOT, check=False, timeout=WAIT + seconds,
    )  # fmt: skip
    if done.returncode:
        return [done.stderr.strip()[-2000:]]
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def suffer(fault: Fault, seconds: float, heartbeat: float) -> list[str]:
    """
    Let a server and a client talk while something happens.

    Returns:
        What is not as it was sent, in words.
    """
    alone = fault in BETWEEN_NETWORKS
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Process("--serve", str(heartbeat), alone=alone))
        port, pin = server.line(WAIT).split()
        relay: Relay | None = None
        if not alone:
            relay = stack.enter_context(Relay("127.0.0.1", int(port)))
            port = str(relay.port)
        host = SERVER if alone else "127.0.0.1"
        client = stack.enter_context(Process("--talk", host, port, pin, alone=alone))
        try:
            client.line(WAIT)  # its namespace is there
            pair = Pair(server, client, relay, _connected(server, client) if alone else "")
            client.say("connect")
            client.line(WAIT)
            time.sleep(SETTLE_SECONDS)
            fault(pair, seconds)
            time.sleep(SETTLE_SECONDS)
            client.say("end")
            found: list[str] = json.loads(client.line(2 * WAIT))
        except RunFailed as failure:
            return [str(failure)]
        return found


def _connected(server: Process, client: Process) -> str:
    """Lay a cable between two namespaces; the name of its end at the server."""
    device = f"sl{server.pid}"
    subprocess.run(
        ["ip", "link", "add", device, "netns", str(server.pid), "type", "veth", "peer", "name", f"{device}c",
         "netns", str(client.pid)],
        check=True,
    )  # fmt: skip
    for process, name, address in ((server, device, SERVER), (client, f"{device}c", CLIENT)):
        process.network("address", "add", f"{address}/24", "dev", name)
        process.network("link", "set", name, "up")
        process.network("link", "set", "lo", "up")
    return device


def talk(host: str, port: int, pin: str) -> None:
    """The process of the client: talks until a line says otherwise, and prints what is not as it was sent."""
    print("there", flush=True)
    sys.stdin.readline()
    talker = Talker(port, pin, 1, host=host, frail=False)
    token = talker.client.token
    print("connected", flush=True)
    while True:
        if select.select([sys.stdin], [], [], PAUSE)[0]:
            word, *arguments = sys.stdin.readline().split() or ["end"]
            if word == "end":
                break
            talker.client.send(word, float(arguments[0]))
        talker.say()
    found = talker.part()
    if talker.client.token != token:
        found.append("it is another session")
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve", type=float)
    parser.add_argument("--talk", nargs=3)
    parser.add_argument("--suffer", nargs=3)
    asked = parser.parse_args()
    if asked.talk:
        talk(asked.talk[0], int(asked.talk[1]), asked.talk[2])
    elif asked.suffer:
        name, *numbers = asked.suffer
        print(json.dumps(suffer(globals()[name], *map(float, numbers))))
    else:
        serve("", asked.serve)
