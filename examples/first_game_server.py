"""
The server of the first game (docs/FIRST_GAME.md): it moves everybody, and tells everybody where everybody is.

    python examples/first_game_server.py [PORT]
"""

import random
import sys

from securelink import Received, Server, Session

WIDTH, HEIGHT, SIZE = 640, 480, 24
STEP = 4  # pixels a tick
STEERING = [[right, down] for right in (-1, 0, 1) for down in (-1, 0, 1)]
server = Server(port=int(sys.argv[1]) if sys.argv[1:] else 5050, tick_rate=30, overlap=False)
players: dict[str, dict[str, list[int]]] = {}  # by session token


@server.on_connect
def enter(session: Session) -> None:
    where = [random.randrange(WIDTH - SIZE), random.randrange(HEIGHT - SIZE)]
    colour = [random.randrange(64, 256) for _ in "rgb"]
    players[session.token] = {"where": where, "colour": colour, "steering": [0, 0]}


@server.on_disconnect
def leave(session: Session) -> None:
    players.pop(session.token, None)


@server.on("steer")
def steer(session: Session, packet: Received) -> None:
    if packet.data in STEERING and session.token in players:  # a client may send anything
        players[session.token]["steering"] = packet.data


@server.on_tick
def tick() -> None:
    for player in players.values():
        for axis, most in enumerate((WIDTH - SIZE, HEIGHT - SIZE)):
            moved = player["where"][axis] + STEP * player["steering"][axis]
            player["where"][axis] = min(max(moved, 0), most)
    world = {token: [player["where"], player["colour"]] for token, player in players.items()}
    server.broadcast("world", world, latest="world")  # who is slow gets the newest, not all


server.serve_forever()
