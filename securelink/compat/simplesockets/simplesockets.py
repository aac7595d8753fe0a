"""The same as the package: it was named so up to version 0.0.8."""

from . import ClientSocket, SetupError, TCPClient, TCPServer

__all__ = ["ClientSocket", "SetupError", "TCPClient", "TCPServer"]
