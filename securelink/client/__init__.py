"""
The client's public API.

    client.py   options, connecting, packets
    belief.py   which server key is believed
"""

from .client import Client

__all__ = ["Client"]
