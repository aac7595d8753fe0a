"""docs/FIRST_GAME.md: its two programs are the examples, and people play with them; SDL draws nowhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from helpers import until
from programs import EXAMPLES, ROOT, Program

from securelink import Client, Identity, Received

#: Plays in place of somebody at the keys: right until the white frame has moved, then Escape. The keys that are held
#: are made up; window, events, drawing and the session are real.
PLAYER = """
import os, sys
os.environ["SDL_VIDEODRIVER"] = os.environ["SDL_AUDIODRIVER"] = "dummy"
os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"
import pygame

class Held(dict):
    def __missing__(self, key):
        return False

seen, frames = [], 0
flip = pygame.display.flip

def flipped():
    global frames
    frames += 1
    flip()
    screen = pygame.display.get_surface()
    white = [x for x in range(640) if any(screen.get_at((x, y))[:3] == (255, 255, 255) for y in range(0, 480, 8))]
    if white and white[0] not in seen:
        seen.append(white[0])

pygame.display.flip = flipped
# Right, until the wall is near: a player that enters there goes left.
pygame.key.get_pressed = lambda: Held({
    pygame.K_LEFT if seen and seen[0] > 320 else pygame.K_RIGHT: bool(seen),
    pygame.K_ESCAPE: len(seen) > 3 or frames > 6000,
})
import runpy
runpy.run_path(sys.argv.pop(1), run_name="__main__")
print("driver", pygame.display.get_driver())
print("moved", seen)
"""


@pytest.fixture
def folder(tmp_path: Path, identity: Identity) -> Path:
    """A user's folder that has a server key already: making one takes longer than the rest."""
    identity.save(tmp_path / "keys", "server")
    return tmp_path


def test_the_page_prints_the_programs() -> None:
    """What a reader pastes from the page is what the tests run, within 100 lines."""
    blocks = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs/FIRST_GAME.md").read_text(), re.DOTALL
    )
    programs = [(EXAMPLES / name).read_text() for name in ("first_game_server.py", "first_game.py")]
    assert blocks == programs
    assert 60 <= sum(len(program.splitlines()) for program in programs) <= 100


def test_two_play(folder: Path) -> None:
    """One plays with the keys, another sees that square move, and sees it go when the first one leaves."""
    (folder / "player.py").write_text(PLAYER)
    with Program(EXAMPLES / "first_game_server.py", "0", folder=folder) as server:
        port = server.prints(r"Server PORT: (\d+)").group(1)
        world: dict[str, Any] = {}
        other = Client("127.0.0.1", int(port), keys=folder / "keys", trust="first-use")
        places: list[list[int]] = []

        @other.on("world")
        def look(packet: Received) -> None:
            world.update(now=packet.data)
            rest = [it[0] for token, it in packet.data.items() if token != other.token]
            if rest and rest[0] not in places:
                places.append(rest[0])

        with other:
            other.send("steer", "nonsense")
            other.send("steer", [9, 9])
            arguments = (EXAMPLES / "first_game.py", "127.0.0.1", port)
            with Program(folder / "player.py", *arguments, folder=folder) as player:
                until(lambda: len(places) > 2)
                assert player.ends() == 0, player.output
            assert "driver dummy" in player.output
            assert len(re.findall(r"\d+", player.output.rpartition("moved")[2])) > 3
            until(lambda: set(world["now"]) == {other.token})
            mine = world["now"][other.token][0]
            until(lambda: world["now"][other.token][0] == mine)  # nonsense steers nobody
        assert "Traceback" not in server.output


def test_a_player_without_a_server_is_told(folder: Path) -> None:
    """The program ends with one line that says what to do."""
    with Program(EXAMPLES / "first_game.py", "127.0.0.1", "1", folder=folder) as player:
        assert player.ends() == 0
    assert "cannot connect to 127.0.0.1:1" in player.output
    assert "Traceback" not in player.output
