"""Somebody in the middle of a connection: `relay.py`."""
