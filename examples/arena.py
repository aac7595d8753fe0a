"""
A multiplayer arena: token-authenticated players, positions broadcast at a steady rate, a picture at the end.

    python examples/arena.py                                      # the board as text, redrawn as it changes
    python examples/arena.py --headless --players 50 --seconds 5  # only the picture, arena.png
"""

import argparse
import random
import time
from pathlib import Path

from arena_picture import SIZE, as_png, as_text

from securelink import Client, Identity, Received, Server, Session, show_status

TICKS = 20  # a second
STEPS = [[1, 0], [-1, 0], [0, 1], [0, -1]]


class Arena:
    """The game on the server, which decides where everybody is; players only ask to move."""

    def __init__(self) -> None:
        self.ticks = 0
        self.trails: dict[str, list[tuple[int, int]]] = {}
        keys = Identity.generate()  # in memory only; keys="folder" would keep it
        self.server = Server("127.0.0.1", 0, keys=keys, authenticate="tokens", tick_rate=TICKS)
        self.server.on_connect(self.enter)
        self.server.on("move", self.move)
        self.server.on_tick(self.tick)

    def enter(self, session: Session) -> None:
        self.trails[session.user] = [(random.randrange(SIZE), random.randrange(SIZE))]

    def move(self, session: Session, packet: Received) -> None:
        if packet.data in STEPS:  # anything else would be cheating
            trail = self.trails[session.user]
            (x, y), (right, down) = trail[-1], packet.data
            trail.append((min(max(x + right, 0), SIZE - 1), min(max(y + down, 0), SIZE - 1)))

    def tick(self) -> None:
        self.ticks += 1
        board = {user: trail[-1] for user, trail in tuple(self.trails.items())}
        # "latest": who is slow gets the newest board next, not all that were missed.
        self.server.broadcast("board", board, latest="board")


class Player:
    """A client that enters by an invite with a join token, walks about and sees all others."""

    def __init__(self, invite: str) -> None:
        self.boards: list[dict[str, list[int]]] = [{}]
        self.client = Client(invite)
        self.client.on("board", self.look)
        self.client.connect()

    def look(self, packet: Received) -> None:
        self.boards.append(packet.data)
        self.client.send("move", random.choice(STEPS))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--players", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--picture", type=Path, default=Path("arena.png"))
    parser.add_argument("--headless", action="store_true", help="draw no text")
    options = parser.parse_args()
    show_status(info=False)  # a line for each player is too much here
    arena = Arena()
    with arena.server as server:
        players = [Player(server.invite(user=f"player {n}")) for n in range(options.players)]
        start, end = arena.ticks, time.monotonic() + options.seconds
        while time.monotonic() < end:
            time.sleep(1 / TICKS)
            print("" if options.headless else as_text(players[0].boards[-1]), end="")
        ticks = arena.ticks - start
        for player in players:
            player.client.close()
    options.picture.write_bytes(as_png(arena.trails))
    seen = [len(player.boards) - 1 for player in players]
    print(f"{len(players)} players saw {min(seen)} to {max(seen)} of {ticks} boards")
    # Everybody saw everybody, and nobody fell behind for long.
    assert all(len(player.boards[-1]) == len(players) for player in players)
    assert min(seen) >= ticks / 2


if __name__ == "__main__":
    main()
