"""The examples, run as their users run them: each in a process of its own."""

from __future__ import annotations

import ast
import re
import struct
import zlib
from pathlib import Path

import pytest
from programs import EXAMPLES, Program, finished

from securelink import Identity

FILES = sorted(EXAMPLES.glob("*.py"))
PARTS = {"arena_picture", "core_trio_end"}  # imported by another example
MODULES = {"cluster"}  # programs import it, as a library
#: These have tests of their own, the quickstart together with the README.
TERMINALS = {
    "chat_client", "chat_server", "cluster", "core_trio", "discord_bridge", "fastapi_chat", "first_game",
    "first_game_server", "health_check", "quickstart_client", "quickstart_server"
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, identity: Identity) -> Path:
    """A user's folder that has a server key already: making one takes longer than the rest."""
    identity.save(tmp_path / "keys", "server")
    return tmp_path


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_example_can_be_read_at_one_sitting(file: Path) -> None:
    """An example has at most 90 lines, a module 300, and begins with what it is and how to run it."""
    text = file.read_text()
    assert len(text.splitlines()) <= (300 if file.stem in MODULES else 90)
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring is not None
    assert file.stem in PARTS or f"python examples/{file.name}" in docstring


TREASURE = "the treasure is under the old oak"  # the secret of plaintext_dump
#: Examples of one program, with what they must print (regular expressions, in this order).
RESULTS: dict[str, list[str]] = {
    "passwords": [
        "the file holds no password: True",
        "ada: entered; the server calls me 'ada'",
        "ada: refused, wrong user name or password",
        "eve: refused, wrong user name or password",
        "eve: entered",
    ],
    "plaintext_dump": [
        "encryption='off'",
        # A whole row of the dump; where rows begin depends on what the library sends before.
        "|".join(TREASURE[at : at + 16] for at in range(len(TREASURE) - 15)),
        r"can a listener read it\? yes",
        "encryption='required'",
        r"(?s)\A((?!treasure).)*can a listener read it\? no",
    ],
    "rolling_restart": [
        *3 * [r"process \d+ has taken over\n"],
        r"sent and answered: \d{2,}\n",
        r"lost, doubled, or out of order: 0\n",
        r"sessions that ended: 0\n",
    ],
    "sealed_note": [
        "the text is in them: False",
        "note 1, from ada: meet me at the lighthouse",
        r"\Anote 2: this sealed packet is not for this key, not from an expected sender",
    ],
}


@pytest.mark.parametrize(
    "name", sorted({file.stem for file in FILES} - PARTS - TERMINALS - {"arena"})
)
def test_an_example_of_one_program_does_what_it_says(name: str, folder: Path) -> None:
    """An example that needs no second terminal ends by itself, and prints what it is about."""
    output = finished(EXAMPLES / f"{name}.py", folder=folder)
    assert "Traceback" not in output
    rest = output
    for pattern in RESULTS.get(name, []):
        found = re.search(pattern, rest)
        assert found, f"no {pattern!r} in:\n{output}"
        rest = rest[found.end() :].lstrip("\n")


def test_the_arena_paints_its_players(folder: Path) -> None:
    """Twenty players enter by invites, see the board at each tick, and the picture shows them in white."""
    players = 20
    output = finished(
        EXAMPLES / "arena.py", "--headless", "--seconds", "1.5", "--players", str(players), folder=folder
    )  # fmt: skip
    assert f"{players} players saw" in output
    rows = pixels(folder / "arena.png")
    assert len(rows) == len(rows[0]) // 3 == 512
    white = sum(row[x : x + 3] == b"\xff" * 3 for row in rows[::8] for x in range(0, len(row), 24))
    # Two players may stand on one field, though hardly many.
    assert players / 2 < white <= players


def test_the_arena_can_be_watched(folder: Path) -> None:
    """Without --headless the board is drawn as text."""
    output = finished(EXAMPLES / "arena.py", "--seconds", "1.0", "--players", "1", folder=folder)
    boards = output.split("\033[H\033[J")[1:]
    assert boards
    assert any(board.count("0") and board.count(".") == 64 * 32 - 1 for board in boards)


def pixels(file: Path) -> list[bytes]:
    """The lines of a PNG file as the arena writes it; each checksum is checked."""
    data = file.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    position, chunks = 8, {}
    while position < len(data):
        (size,) = struct.unpack_from(">I", data, position)
        kind, content = data[position + 4 : position + 8], data[position + 8 : position + 8 + size]
        assert struct.unpack_from(">I", data, position + 8 + size)[0] == zlib.crc32(kind + content)
        chunks[kind] = content
        position += size + 12
    width, height, depth, colour = struct.unpack_from(">IIBB", chunks[b"IHDR"])
    assert (depth, colour) == (8, 2)
    raw, line = zlib.decompress(chunks[b"IDAT"]), 1 + 3 * width
    assert len(raw) == height * line
    assert set(raw[::line]) == {0}  # no filter
    return [raw[at + 1 : at + line] for at in range(0, len(raw), line)]


# --- the chat, in several terminals --------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["--plaintext"]], ids=["encrypted", "plaintext"])
def test_the_chat(folder: Path, options: list[str]) -> None:
    """Two people talk, a taken name is refused, control characters are shown, not obeyed, and `exit` leaves."""
    client, server = EXAMPLES / "chat_client.py", EXAMPLES / "chat_server.py"
    with Program(server, "--port", "0", *options, folder=folder) as host:
        port = host.prints(r"Server PORT: (\d+)")[1]
        with Program(client, "ada", "--port", port, *options, folder=folder) as ada:
            ada.prints("here are: nobody else yet")
            refused = finished(client, "ada", "--port", port, *options, folder=folder)
            assert "error: 'ada' is here already; take another name\n" in refused
            with Program(client, "bob", "--port", port, *options, folder=folder) as bob:
                bob.prints("here are: ada")
                ada.prints(r"\* bob came in")
                bob.types("hello \033[2J ada\n")
                ada.prints(r"bob: hello \\x1b\[2J ada")
                ada.types("hi\n")
                bob.prints("ada: hi")
                assert "hello" not in bob.output  # nobody hears their own words
                bob.types("exit\n")
                assert bob.ends() == 0
                ada.prints(r"\* bob left")
            assert ("PLAINTEXT" in ada.output) == bool(options)
            host.interrupt()
            assert host.ends() == 0
            ada.prints("the conversation is over; press Enter")
            ada.types("\n")
            assert ada.ends() == 0
            assert "the server is shutting down" in ada.output
    assert "Traceback" not in host.output + ada.output + bob.output


def test_the_chat_keeps_what_is_being_typed(folder: Path) -> None:
    """A line that arrives while somebody types appears above it, and what was typed stays."""
    client = EXAMPLES / "chat_client.py"
    with Program(EXAMPLES / "chat_server.py", "--port", "0", folder=folder) as host:
        port = host.prints(r"Server PORT: (\d+)")[1]
        # In a terminal of its own, as that is what the client looks at.
        code = "import pty, sys; sys.exit(pty.spawn([sys.executable, *sys.argv[1:]]) >> 8)"
        with Program("-c", code, client, "ada", "--port", port, folder=folder) as ada:
            ada.prints("nobody else yet")
            with Program(client, "bob", "--port", port, folder=folder) as bob:
                ada.prints("bob came in")
                ada.types("I am typ")
                ada.prints("I am typ")
                bob.types("hello\n")
                ada.prints(r"bob: hello\r\n> I am typ$")
                ada.types("ing\n")
                bob.prints(r"ada: I am typing\n")
                ada.types("exit\n")
                assert ada.ends() == 0
