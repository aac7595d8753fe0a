"""The same as the package: it was named so from version 0.0.9."""

from . import ClientSocket, SetupError, TCPClient, TCPServer

__all__ = ["ClientSocket", "SetupError", "TCPClient", "TCPServer"]
