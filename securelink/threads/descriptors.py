"""What the system's limit of open files leaves for connections."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace

from ..limits import MAX_CONNECTIONS, MIN_PER_ADDRESS, SPARE_DESCRIPTORS
from .settings import HandshakeSettings

log = logging.getLogger("securelink.server")


def fitted(settings: HandshakeSettings) -> HandshakeSettings:
    """
    Settings with which the process does not run out of descriptors, one of which each connection takes.

    Without a free one nobody could be told that the server is full, no key or token file could be opened, and one
    address could take all that there are, whatever `max_per_address` says. The limit itself belongs to the process and
    its administrator: it is not changed, the log says what to do.

    Args:
        settings: As the application wants them.

    Returns:
        The same, or with fewer connections.
    """
    limit = _limit()
    room = max(1, limit - min(SPARE_DESCRIPTORS, limit // 2))
    wanted = settings.max_connections
    if room >= wanted:
        return settings
    log.log(
        # Nobody has asked for the default, which is more than shells usually allow.
        logging.DEBUG if wanted == MAX_CONNECTIONS else logging.WARNING,
        "this process may open %d files, which is too few for max_connections=%d: more than %d connections are turned "
        "away. Raise the limit (ulimit -n %d, LimitNOFILE= of systemd), or lower max_connections=",
        limit,
        wanted,
        room,
        wanted + SPARE_DESCRIPTORS,
    )
    share = max(MIN_PER_ADDRESS, room * 3 // 4)
    return replace(
        settings, max_connections=room, max_per_address=min(settings.max_per_address, share)
    )


def _limit() -> int:
    """How many files this process may open."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return sys.maxsize
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft
