"""The server of pnetwork, under the name of its module."""

from .core import Bind, Connection, Server

__all__ = ["Bind", "Connection", "Server"]
