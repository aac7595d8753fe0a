"""
A load generator: simulated clients that keep a rate, whatever the server does.

    plan.py         the load: packets, clients, duration
    simulated.py    one client: sends, recognises its answers
    swarm.py        all of them: ramp, steady rate, the end
    tally.py        counts of results
    histogram.py    latencies

Real clients, with the threads that one client has: all are read by the loop that the clients of a process share, one
thread sends, and a few connect.
"""

from .histogram import Histogram
from .plan import MAX_CLIENTS, MAX_SECONDS, Plan
from .simulated import SimulatedClient
from .swarm import Swarm
from .tally import Tally

__all__ = ["MAX_CLIENTS", "MAX_SECONDS", "Histogram", "Plan", "SimulatedClient", "Swarm", "Tally"]
