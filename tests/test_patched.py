"""What other libraries do to threads, sockets and objects: works, or is refused with words."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import WAIT, until
from together import joined, serving

from securelink import Identity

TRY = """
from securelink import Client, ConfigError, Server
for attempt in (Server("127.0.0.1", 0, encryption="off").start, Client("127.0.0.1", 1, encryption="off").connect):
    try:
        attempt()
    except ConfigError as error:
        print(error.message, "|", error.hint)
"""
TRY_COROUTINES = """
import asyncio
from securelink import ConfigError, aio
async def main():
    server, client = aio.Server("127.0.0.1", 0, encryption="off"), aio.Client("127.0.0.1", 1, encryption="off")
    for attempt in (server.start, client.connect):
        try:
            await attempt()
        except ConfigError as error:
            print(error.message, "|", error.hint)
asyncio.run(main())
"""
PATCHES = {
    "gevent": ("from gevent import monkey; monkey.patch_all()", "import gevent.monkey"),
    "eventlet": ("import eventlet; eventlet.monkey_patch()", "import eventlet"),
}


@pytest.mark.parametrize("attempts", [TRY, TRY_COROUTINES], ids=["threads", "asyncio"])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("library", PATCHES)
def test_patched_threads_and_sockets_are_refused(
    library: str, late: bool, attempts: str, tmp_path: Path
) -> None:
    """A program that gevent or eventlet has patched, before or after our import, is told so by both sides."""
    patch = PATCHES[library][0]
    lines = ["import securelink", patch] if late else [patch]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "\n".join([*lines, attempts])],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout.count(f"{library} has replaced the threads and sockets") == 2, done.stderr
    assert done.stdout.count("in a process of its own") == 2


@pytest.mark.parametrize("library", PATCHES)
def test_a_library_that_patches_nothing_is_no_matter(library: str, tmp_path: Path) -> None:
    """That gevent or eventlet is imported is no reason to refuse."""
    program = (
        f"{PATCHES[library][1]}\n"
        "from securelink import Client, Server\n"
        "server = Server('127.0.0.1', 0, encryption='off')\n"
        "server.on('echo', lambda session, packet: packet.data)\n"
        "with server, Client('127.0.0.1', server.address[1], encryption='off') as client:\n"
        "    print(client.request('echo', 'works'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout == "works\n", done.stderr


def test_a_packet_is_not_for_another_process(identity: Identity) -> None:
    """Pickling a received packet says what to give to a queue instead."""
    seen: list[Any] = []
    with serving(identity) as server, joined(server) as (client,):
        server.on("move", lambda session, packet: seen.append(packet))
        client.send("move", [1])
        until(lambda: seen, WAIT)
        with pytest.raises(TypeError, match=r"belongs to its session.*packet\.data"):
            pickle.dumps(seen[0])
        assert pickle.loads(pickle.dumps(seen[0].data)) == [1]
