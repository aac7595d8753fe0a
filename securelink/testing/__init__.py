"""
For tests of programs that use securelink: servers and clients without ports, and a relay in the middle.

    from securelink.testing import connected

    def test_echo():
        with connected(make_server()) as client:
            assert client.request("echo", "hello") == "hello"

`connected` is one server and one client; `Network` any number of both, and relays between them that record, cut, hold
back and change what passes. It opens no port and uses no network, except a `Relay` that is asked to.

    network.py   servers and clients in memory
    relay.py     the relay in the middle
    pairs.py     the two streams of a connection through it
    flow.py      what it does with the bytes of a direction
    clock.py     computers that sleep, and clocks that are set
"""

from .clock import Clock
from .flow import Flow, Hook
from .network import Network, connected
from .relay import Recorded, Relay, by_frame, split_frames

__all__ = [
    "Clock",
    "Flow",
    "Hook",
    "Network",
    "Recorded",
    "Relay",
    "by_frame",
    "connected",
    "split_frames",
]
