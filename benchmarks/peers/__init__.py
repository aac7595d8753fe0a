"""
One module for each library that is measured.

Each has `serve(target, ready)`, which runs a server until the process ends and calls `ready` with what clients must
know, and `connect(target)`, which gives an authenticated client in the style that catalogue.py names for it.
"""
