"""The numbers of `Server.stats()`."""

from __future__ import annotations

from typing import Any

from .registry import Registry

_LIMITS = (
    "connections",
    "failures",
    "per_address",
    "half_open",
    "handshakes",
    "rate",
    "total_unsent",
)


def totals_of(registry: Registry[Any], handler_errors: int) -> dict[str, Any]:
    """What only grows, over all runs of a server and all sessions that there were."""
    counts, totals = registry.counts, registry.totals()
    events = counts.events
    return {
        "sessions_total": events["sessions"],
        "connections_lost_total": events["suspended"],
        "sessions_resumed_total": events["resumed"],
        "handshakes_failed_total": events["handshakes_failed"],
        "logins_refused_total": events["logins_refused"],
        "handler_errors_total": handler_errors,
        "records_received_total": totals["records_received"],
        "records_sent_total": totals["records_sent"],
        "packets_received_total": totals["packets_received"],
        "packets_dropped_total": totals["packets_dropped"],
        "packets_replaced_total": totals["packets_replaced"],
        "sends_blocked_total": totals["sends_blocked"],
        "received_bytes_total": totals["bytes_received"],
        "sent_bytes_total": totals["bytes_sent"],
        "sessions_ended_total": counts.ended(),
        "limits_reached_total": {name: events[f"limit_{name}"] for name in _LIMITS},
    }
