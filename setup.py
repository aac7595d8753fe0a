"""
Builds securelink; everything about the package is in pyproject.toml, but for two things that are computed here: the
description (the README, with links that work outside of the repository) and, if wanted, extension modules.

With SECURELINK_COMPILE=1 the hot modules become C extensions (see docs/COMPILED.md). Without it nothing is compiled,
and nothing but setuptools is needed.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

from setuptools import setup

# Not here, though packets pass through them: replies.py and caretaker.py, which are referred to weakly, and asking.py,
# which has subclasses that are not compiled.
HOT = [
    "securelink/app/context.py",
    "securelink/app/handlers.py",
    "securelink/wire/frames.py",
    "securelink/protocol/ack_timing.py",
    "securelink/protocol/arrived.py",
    "securelink/protocol/client.py",
    "securelink/protocol/connection.py",
    "securelink/protocol/contents.py",
    "securelink/protocol/durable.py",
    "securelink/protocol/liveness.py",
    "securelink/protocol/receive_queue.py",
    "securelink/protocol/requests.py",
    "securelink/protocol/send_queue.py",
    "securelink/protocol/sender.py",
    "securelink/protocol/server.py",
    "securelink/protocol/session_core.py",
    "securelink/app/received.py",
    "securelink/protocol/records.py",
    "securelink/protocol/acknowledgements.py",
    "securelink/threads/back_pressure.py",
    "securelink/threads/bursts.py",
    "securelink/threads/casting.py",
    "securelink/threads/channel.py",
    "securelink/threads/client_channel.py",
    "securelink/threads/client_inbox.py",
    "securelink/threads/client_link.py",
    "securelink/threads/errand.py",
    "securelink/threads/inbox.py",
    "securelink/threads/lead.py",
    "securelink/threads/link.py",
    "securelink/threads/gate.py",
    "securelink/threads/listener.py",
    "securelink/threads/loop.py",
    "securelink/threads/mailbox.py",
    "securelink/threads/outbox.py",
    "securelink/threads/pool.py",
    "securelink/threads/reading.py",
    "securelink/threads/ready.py",
    "securelink/threads/receiving.py",
    "securelink/threads/requesting.py",
    "securelink/threads/fair_queue.py",
    "securelink/threads/server_link.py",
    "securelink/threads/timers.py",
    "securelink/threads/unkept.py",
    "securelink/threads/waker.py",
    "securelink/threads/watchdog.py",
    "securelink/threads/write_buffer.py",
    "securelink/threads/writing.py",
    "securelink/wire/scan.py",
    "securelink/wire/sendable.py",
    "securelink/wire/steps.py",
]


def extensions() -> list[Any]:
    """The extension modules of this build."""
    if os.environ.get("SECURELINK_COMPILE", "0") in ("", "0"):
        return []
    try:
        from mypyc.build import mypycify
    except ImportError:
        raise SystemExit(
            "SECURELINK_COMPILE=1 needs mypy and setuptools in this environment: "
            "pip install mypy setuptools, and build with --no-build-isolation"
        ) from None
    # The modules around them are read for their types and not judged: what an extra brings may not be there.
    found: list[Any] = mypycify(
        ["--follow-imports=silent", *HOT], opt_level="3", group_name="securelink"
    )
    return found


def description() -> str:
    """The README. Its links are relative, as the repository needs them; on a package index they must say where."""
    root = Path(__file__).resolve().parent
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    place, version = project["urls"]["Repository"], project["version"]
    text = (root / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"(!\[[^\]]*\])\((?![a-z]+:|#)", rf"\g<1>({place}/raw/v{version}/", text)
    return re.sub(r"\]\((?![a-z]+:|#)", f"]({place}/blob/v{version}/", text)


setup(
    ext_modules=extensions(),
    long_description=description(),
    long_description_content_type="text/markdown",
)
