"""A server and clients with files, for tests of sessions that are passed on from one client to another."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from helpers import WAIT, until
from together import serving

from securelink import Client, ConfigError, Identity, Server, Session


class Scene:
    """
    A server, what it tells, and clients with files.

    Attributes:
        seen: Events of the server.
    """

    def __init__(self, server: Server, folder: Path, encryption: str) -> None:
        self.server = server
        self.folder = folder
        self.encryption = encryption
        self.seen: list[str] = []
        self.clients: list[Client] = []
        self.files: list[Path] = []
        server.on_connect(lambda session: self.seen.append("connect"))
        server.on_resume(lambda session, n: self.seen.append(f"resume {session.restarted}"))
        server.on_disconnect(lambda session: self.seen.append("disconnect"))

    @property
    def path(self) -> Path:
        """The file of the first client."""
        return self.folder / "first.session"

    def client(self, path: Path | None = None, **options: Any) -> Client:
        """One that is not connected."""
        given: dict[str, Any] = {
            "session": self.path if path is None else path,
            "encryption": self.encryption,
            "known_servers": self.folder / "known",
            **options,
        }
        client = Client("127.0.0.1", self.server.address[1], **given)
        self.clients.append(client)
        self.files.append(given["session"])
        return client

    def copy(self, number: int = 0) -> Path:
        """Of a client's file as it is now: what another process would find if this one died."""
        path = self.folder / f"copy-{len(self.clients)}.session"
        shutil.copyfile(self.files[number], path)
        path.chmod(0o600)
        return path

    @property
    def session(self) -> Session:
        """The server's only one."""
        until(lambda: len(self.server.sessions) == 1)
        (session,) = self.server.sessions.values()
        return session


@contextlib.contextmanager
def scene(
    identity: Identity, folder: Path, encryption: str = "required", **options: Any
) -> Iterator[Scene]:
    """A scene, cleared up."""
    options.setdefault("resume", 60)
    with serving(identity, encryption=encryption, **options) as server:
        found = Scene(server, folder, encryption)
        try:
            yield found
        finally:
            for client in found.clients:
                client.close()


def is_free(client: Client) -> bool:
    """Whether its file is free: the one that had it lets it go a moment after it was removed."""
    with contextlib.suppress(ConfigError):
        client.connect(WAIT)
        return client.close(WAIT) == []
    return False
