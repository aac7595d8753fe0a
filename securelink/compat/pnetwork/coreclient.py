"""The client of pnetwork, under the name of its module."""

from .core import Bind, Client, Connection

__all__ = ["Bind", "Client", "Connection"]
