"""
Metrics of a server for Prometheus, and a health page.

    from securelink.metrics import serve_metrics
    with serve_metrics(server, "127.0.0.1", 9100):
        server.serve_forever()

Needs the extra `metrics` (prometheus-client). The pages are plain HTTP without a login: the operator chooses the
address, and only the monitoring should be able to reach it. They contain counts, never names.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from .errors import ConfigError, ConnectFailed
from .logs.default import make_visible
from .options import place
from .server import Server

try:
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
except ImportError:
    raise ConfigError(
        "securelink.metrics needs the package prometheus-client",
        hint="install it here: pip install prometheus-client (the extra `metrics` does so)",
    ) from None

log = logging.getLogger("securelink.server")

_PREFIX = "securelink_"
# A request that takes longer, from its first byte to the last of the answer, is cut off.
_REQUEST_SECONDS = 10.0
_READERS = 16  # requests at the same time; a further one is closed
_GAUGES = {
    "uptime_seconds": "Seconds since the server was started.",
    "sessions": "Sessions, those included that wait for another connection.",
    "sessions_suspended": "Sessions that have lost their connection and wait for their clients.",
    "connections_half_open": "Connections that have no session yet.",
    "rooms": "Rooms with members.",
    "threads": "Threads of the server.",
    "unsent_bytes": "Bytes that wait to be sent, of all sessions.",
    "unacked_bytes": "Bytes that were sent and that clients have not handled, of all sessions.",
}
_COUNTERS = {
    "sessions_total": "Sessions that were opened.",
    "connections_lost_total": "Connections that were lost and whose session was kept.",
    "sessions_resumed_total": "Sessions that went on over another connection.",
    "handshakes_failed_total": "Handshakes that failed.",
    "logins_refused_total": "Clients that authenticate, on_connect or the list of keys refused.",
    "handler_errors_total": "Exceptions of handlers, listeners and hooks.",
    "records_received_total": "Records with packets that were received.",
    "records_sent_total": "Records with packets that were sent.",
    "packets_received_total": "Packets that were received and handled.",
    "packets_dropped_total": "Packets that were dropped because a session had no room.",
    "packets_replaced_total": "Packets that a later one has replaced before they were sent.",
    "sends_blocked_total": "How often a send has waited because a session had no room.",
    "received_bytes_total": "Bytes of packets that were received.",
    "sent_bytes_total": "Bytes of packets that were sent.",
}
_BY_LABEL = {
    "sessions_ended_total": ("reason", "Sessions that have ended, by reason."),
    "limits_reached_total": (
        "limit",
        "How often a limit refused or delayed a client.",
    ),
}


class MetricsCollector:
    """
    Gives a server's metrics to a registry of prometheus-client: `registry.register(MetricsCollector(server))`.

    Args:
        server: Whose numbers.
    """

    def __init__(self, server: Server) -> None:
        self._server = server

    def collect(self) -> Iterator[Any]:
        """The current metrics."""
        stats = self._server.stats()
        up = GaugeMetricFamily(f"{_PREFIX}up", "1 while the server listens.")
        up.add_metric([], float(stats["running"]))
        yield up
        for name, text in _GAUGES.items():
            yield GaugeMetricFamily(_PREFIX + name, text, value=stats[name])
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(_PREFIX + name, text, value=stats[name])
        for name, (label, text) in _BY_LABEL.items():
            family = CounterMetricFamily(_PREFIX + name, text, labels=[label])
            for value, count in sorted(stats[name].items()):
                family.add_metric([value], count)
            yield family
        most = GaugeMetricFamily(f"{_PREFIX}limit", "The limits, by option.", labels=["limit"])
        used = GaugeMetricFamily(
            f"{_PREFIX}limit_used", "How much of each limit is used now.", labels=["limit"]
        )
        for name, limit in self._server.limits().items():
            most.add_metric([name], limit.most)
            used.add_metric([name], limit.used)
        yield most
        yield used


class MetricsPages:
    """
    Serves `/metrics` and `/healthz` over HTTP until it is closed; also as a context manager.

    Attributes:
        address: (host, port) that it listens on.
    """

    def __init__(self, pages: ThreadingHTTPServer) -> None:
        self._pages = pages
        self.address: tuple[str, int] = (str(pages.server_address[0]), int(pages.server_address[1]))
        self._thread = threading.Thread(
            target=pages.serve_forever, args=(0.2,), name="securelink-metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop; may be called again."""
        self._pages.shutdown()
        self._pages.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def serve_metrics(server: Server, host: str, port: int) -> MetricsPages:
    """
    Serve the metrics of a server, in threads of its own.

    `/metrics` has them for Prometheus. `/healthz` answers 200 while the server listens and takes connections, and 503
    when it is stopped or paused.

    Args:
        server: Whose numbers; it need not be running.
        host: The address to listen on; only clients that reach it can read the pages.
        port: 0 lets the system choose.

    Raises:
        ConfigError: Host or port is not valid.
        ConnectFailed: The port is in use, or the address does not belong to this machine.
    """
    make_visible()
    host, port = place(host, port, low=0, example="serve_metrics(server, '127.0.0.1', 9100)")
    registry = CollectorRegistry(auto_describe=False)
    registry.register(MetricsCollector(server))

    class Pages(_Pages):
        def page(self) -> tuple[HTTPStatus, str, bytes]:
            if self.path == "/metrics":
                return HTTPStatus.OK, "text/plain; version=0.0.4", generate_latest(registry)
            if self.path == "/healthz":
                well = server.running and not server.paused
                status = HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE
                return status, "text/plain", b"ok\n" if well else b"not serving\n"
            return HTTPStatus.NOT_FOUND, "text/plain", b"see /metrics and /healthz\n"

    try:
        pages = (_PagesServer6 if ":" in host else _PagesServer)((host, port), Pages)
    except OSError as error:
        raise ConnectFailed(
            f"cannot serve metrics on {host}:{port}: {error.strerror or error}",
            hint="choose another port, or an address of this machine",
        ) from error
    opened = MetricsPages(pages)
    log.info("metrics: http://%s:%d/metrics", *opened.address)
    return opened


class _PagesServer(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False

    def __init__(self, *arguments: Any) -> None:
        self._places = _READERS
        self._lock = threading.Lock()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for a connection, if fewer than `_READERS` are busy; the server's sessions need threads too."""
        with self._lock:
            free = self._places > 0
            self._places -= free
        if not free:
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # the system starts no more threads
            self._free_place()
            raise

    def _free_place(self) -> None:
        with self._lock:
            self._places += 1

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """In its thread. A timer cuts off a client that sends its request, or takes the answer, too slowly."""
        late = threading.Timer(_REQUEST_SECONDS, _cut, [request])
        late.daemon = True
        try:
            late.start()
            super().process_request_thread(request, client_address)
        except RuntimeError:  # as above, for the timer
            self.shutdown_request(request)
        finally:
            late.cancel()
            self._free_place()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that goes away is not an error."""


def _cut(request: socket.socket) -> None:
    with contextlib.suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class _PagesServer6(_PagesServer):
    address_family = socket.AF_INET6


class _Pages(BaseHTTPRequestHandler):
    timeout = _REQUEST_SECONDS
    server_version = "securelink"
    sys_version = ""

    def page(self) -> tuple[HTTPStatus, str, bytes]:
        """Status, type and content of the page that `path` names."""
        raise NotImplementedError

    def do_GET(self) -> None:  # the name that http.server calls
        status, kind, content = self.page()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  # the name of the base class
        """Log nothing: requests come every few seconds."""
