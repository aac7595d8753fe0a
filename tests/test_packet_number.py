"""`packet.number`: an application can tell a packet that it is handed once more from a new one."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from helpers import WAIT, until
from kept import Place, only
from passed_on import scene
from ports import free_port
from programs import ROOT, Program
from together import joined, serving

from securelink import Client, ConfigError, Identity, JoinTokens, Server, Typed
from securelink.session import channel_of


def rising(numbers: list[int]) -> bool:
    """Whether each is larger than the one before."""
    return all(one < other for one, other in pairwise(numbers))


def cut(server: Server) -> None:
    """Let the only session lose its connection, and come back."""
    session = only(server)
    link = channel_of(session).link
    assert link is not None
    link.loop.call(link.lost)
    until(lambda: session.connected and channel_of(session).link is not link)


def test_numbers_rise_over_lost_connections(identity: Identity) -> None:
    """Of what handlers get, in one record or in many, on both sides; also of typed packets."""
    ours: list[int] = []
    theirs: list[int] = []
    with serving(identity) as server, joined(server) as (client,):
        server.on("a", lambda session, packet: ours.append(packet.number))

        @server.on("b", int)
        def typed(session: Any, packet: Typed[int]) -> None:
            ours.append(packet.number)
            assert packet.number == ours[-1]

        client.on("c", lambda packet: theirs.append(packet.number))
        for _ in range(3):
            before = len(ours)
            with server.batch():
                for _ in range(3):
                    client.send("a")
                    client.send("b", 1)
                    only(server).send("c")
            until(lambda: len(ours) == before + 6 and len(theirs) == (before + 6) // 2)  # noqa: B023
            cut(server)
    assert rising(ours)
    assert rising(theirs)
    assert ours[0] > 0


def test_what_receive_gives_has_its_number(identity: Identity) -> None:
    """Also what waited for long, as bytes, and what `poll` and `wait_for` give."""
    with serving(identity) as server, joined(server) as (client,):
        session = only(server)
        with server.batch():
            for place in range(200):
                session.send("push", bytes(10_000))
                session.send("other", place)
        numbers = [client.wait_for("other", WAIT).number]
        while len(numbers) < 100:
            packet = client.receive(WAIT)
            assert packet is not None
            numbers.append(packet.number)
        found = [packet.number for packet in client.poll()]
        assert len(found) > 1
        first, rest = numbers[0], numbers[1:] + found
    assert rising(rest)
    assert rest[0] < first < rest[1]


def test_a_number_that_nobody_has_read_in_time(identity: Identity) -> None:
    """The library keeps none; what was read in the handler stays."""
    seen: list[Any] = []
    with serving(identity) as server, joined(server) as (client,):

        @server.on("keep")
        def keep(session: Any, packet: Any) -> None:
            seen.append(packet)
            if packet.data:
                seen.append(packet.number)

        assert client.request("keep", True) is None
        assert client.request("keep", False) is None
    read, number, unread = seen
    assert read.number == number
    with pytest.raises(ConfigError, match="until the packet is handled") as raised:
        assert unread.number
    assert "read it in the handler" in raised.value.hint


def test_replies_keep_their_places(identity: Identity) -> None:
    """In the next process nobody waits for them, and the numbers of the packets behind them are the same."""
    numbers: list[int] = []
    with serving(identity) as server, joined(server) as (client,):

        @client.on("ask")
        def ask(packet: Any) -> None:
            client.send("note")
            packet.reply(1)
            client.send("note")

        server.on("note", lambda session, packet: numbers.append(packet.number))
        assert only(server).request("ask", timeout=WAIT) == 1
        until(lambda: len(numbers) == 2)
    assert numbers[1] - numbers[0] == 2  # one record


def test_the_next_process_of_a_server_hands_over_the_same_numbers(place: Place) -> None:
    """What no handler had had has the number that it would have had, and what comes later larger ones."""
    numbers: dict[str, int] = {}

    def number(session: Any, packet: Any) -> None:
        numbers[packet.data] = packet.number

    with place.running() as server:
        server.on("note", number)
        client = place.client()
        client.connect(WAIT)
        client.send("note", "a")
        until(lambda: numbers)
    client.send("note", "b")
    client.send("note", "c")
    server = place.server()
    server.on("note", number)
    server.start()
    until(lambda: len(numbers) == 3)
    server.drain()
    client.close()
    assert rising([numbers[name] for name in "abc"])


def test_the_next_process_of_a_client_gets_the_same_numbers(
    identity: Identity, tmp_path: Path
) -> None:
    """Two processes that are given one packet see it by its number."""
    with scene(identity, tmp_path) as found:
        first = found.client()
        first.connect(WAIT)
        for place in range(3):
            found.session.send("push", place)
        one = [first.receive(WAIT) for _ in range(3)]
        second = found.client(found.copy())
        second.connect(WAIT)
        other = [second.receive(WAIT) for _ in range(3)]
        assert second.resumed
        pairs = [
            [(packet.data, packet.number) for packet in some if packet] for some in (one, other)
        ]
    assert pairs[0] == pairs[1]
    assert len(pairs[0]) == 3


def recipe(port: int) -> str:
    """The program of docs/SURVIVING.md, on another port; it dies once, between its effect and its turn's end."""
    text = (ROOT / "docs/SURVIVING.md").read_text(encoding="utf-8")
    program: str
    (program,) = re.findall(r"```python\n(import sqlite3\n.*?)```", text, re.DOTALL)
    assert "port=5050" in program
    program = program.replace("port=5050", f"'127.0.0.1', {port}")
    dying = """
import os
import pathlib

def dies(session, packet):
    pay(session, packet)
    with open("numbers.txt", "a") as numbers:
        numbers.write(f"{packet.data} {packet.number}\\n")
    if packet.data == 10 and not pathlib.Path("died").exists():
        pathlib.Path("died").touch()
        os._exit(9)

server.on("pay", dies)
"""
    return program.replace("server.serve_forever()", dying + "server.serve_forever()")


def test_effect_and_number_together(tmp_path: Path, identity: Identity) -> None:
    """The recipe of the document: a process that dies between the effect and the end of its turn pays once."""
    identity.save(tmp_path / "keys", "server")
    port = free_port()
    (tmp_path / "bank.py").write_text(recipe(port))
    token = JoinTokens(tmp_path / "keys/join_tokens.json").create("ada", uses=None)
    client = Client("127.0.0.1", port, pin=identity.fingerprint, token=token)
    coins: list[int] = []
    client.on("coins", lambda packet: coins.append(packet.data))
    with Program("bank.py", folder=tmp_path) as first:
        first.prints("Status: Ready")
        client.connect(WAIT)
        for amount in (1, 10, 100):
            client.send("pay", amount)
        assert first.ends() == 9
    with Program("bank.py", folder=tmp_path) as second:
        second.prints("Status: Ready")
        until(lambda: coins and coins[-1] == 111)
        client.close()
    noted = (tmp_path / "numbers.txt").read_text().splitlines()
    assert len(noted) > len(set(noted))
    assert len(set(noted)) == 3
    assert coins == sorted(coins)
