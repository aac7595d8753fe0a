"""
For tests of what is made with securelink: servers and clients without ports, and somebody in the middle.

    from securelink.testing import connected

    def test_echo():
        with connected(make_server()) as client:
            assert client.request("echo", "hello") == "hello"

`connected` is one server and one client; `Network` any number of both, and relays between them that record, cut, hold
back and change what passes. Nothing of it opens a port or touches a network; only `Relay` can, where it is asked to.

    network.py   servers and clients in memory
    relay.py     the one in the middle
"""

from .network import Network, connected
from .relay import Flow, Hook, Recorded, Relay, by_frame, split_frames

__all__ = [
    "Flow",
    "Hook",
    "Network",
    "Recorded",
    "Relay",
    "by_frame",
    "connected",
    "split_frames",
]
