"""Counters that only grow, and their pages over HTTP."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers import WAIT, failure, until
from programs import Program
from prometheus_client.parser import text_string_to_metric_families
from together import joined, link_of, serving

from securelink import Client, ConfigError, ConnectFailed, Identity, Refused, RequestFailed, Server
from securelink.metrics import serve_metrics
from securelink.streams.base import BREAK


def page(address: tuple[str, int], path: str) -> tuple[int, str]:
    """Status and text of a page."""
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    try:
        with urllib.request.urlopen(f"http://{host}:{address[1]}{path}", timeout=WAIT) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def metrics(address: tuple[str, int]) -> dict[str, float]:
    """The samples of /metrics, as Prometheus reads them: name, with the label if there is one."""
    status, text = page(address, "/metrics")
    assert status == 200
    return {
        ":".join((sample.name, *sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def flat(stats: dict[str, Any]) -> dict[str, float]:
    """What only grows of the stats, on one level."""
    found: dict[str, float] = {}
    for name, value in stats.items():
        if name.endswith("_total"):
            inner = value if isinstance(value, dict) else {"": value}
            found.update({f"{name}{label}": number for label, number in inner.items()})
    return found


@pytest.mark.usefixtures("not_kept")
def test_counters_only_grow(identity: Identity) -> None:
    """Sessions that end, in whatever way, and the end of the server take nothing from any total, at any moment."""
    server = Server("127.0.0.1", 0, keys=identity)
    server.on("echo", lambda session, packet: packet.data)
    server.on("fail", lambda session, packet: [][1])
    looks: list[dict[str, float]] = []
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.002):
            looks.append(flat(server.stats()))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(2):  # it may be started again
            with server:
                for number in range(8):
                    client = Client(
                        "127.0.0.1", server.address[1], pin=identity.fingerprint
                    ).connect()
                    for _ in range(5):
                        assert client.request("echo", b"x" * 100, timeout=WAIT) == b"x" * 100
                    with pytest.raises(RequestFailed):
                        client.request("fail", timeout=WAIT)
                    if number % 2:
                        link_of(client).stream.shutdown(BREAK)
                    client.close()
                until(lambda: not server.sessions)
    finally:
        done.set()
        looking.join()
    looks.append(flat(server.stats()))
    for before, after in itertools.pairwise(looks):
        for name, value in before.items():
            assert after[name] >= value, name
    last = server.stats()
    assert last["sessions_total"] == 16
    assert last["handler_errors_total"] == 16
    assert last["packets_received_total"] == 16 * 6
    assert last["records_received_total"] >= 16 * 6
    assert last["received_bytes_total"] > 16 * 5 * 100
    assert last["sent_bytes_total"] > 16 * 5 * 100
    assert last["sessions_ended_total"]["normal"] == 8
    assert sum(last["sessions_ended_total"].values()) == 16
    assert last["sessions"] == 0


def test_refused_and_failed_are_counted(identity: Identity) -> None:
    """Logins that are refused, handshakes that fail and limits that turn somebody away have their own numbers."""

    def authenticate(hello: Any) -> str:
        if hello.credentials != "sesame":
            raise Refused("no")
        return "ada"

    with serving(identity, authenticate=authenticate, max_connections=1) as server:
        port, pin = server.address[1], identity.fingerprint
        for _ in range(3):
            with pytest.raises(Refused):
                Client("127.0.0.1", port, pin=pin).connect()
        until(lambda: server.stats()["handshakes_failed_total"] == 3)
        with Client("127.0.0.1", port, pin=pin, credentials="sesame"):
            with pytest.raises(Exception, match="room"):
                Client("127.0.0.1", port, pin=pin, credentials="sesame").connect()
            stats = server.stats()
        assert stats["logins_refused_total"] == 3
        assert stats["limits_reached_total"]["connections"] >= 1
        assert stats["sessions_total"] == 1


def test_prometheus_reads_the_page(identity: Identity) -> None:
    """The page is in the format of Prometheus, with names that it takes, and agrees with `stats()`."""
    with serving(identity) as server, joined(server, 2) as (one, _two):
        server.on("echo", lambda session, packet: packet.data)
        with serve_metrics(server, "127.0.0.1", 0) as pages:
            assert one.request("echo", 1, timeout=WAIT) == 1
            seen = metrics(pages.address)
            assert seen["securelink_up"] == 1
            assert seen["securelink_sessions"] == 2
            assert seen["securelink_sessions_total"] == 2
            assert seen["securelink_packets_received_total"] == 1
            assert seen["securelink_limits_reached_total:rate"] == 0
            assert seen["securelink_uptime_seconds"] > 0
            one.close()
            until(lambda: metrics(pages.address)["securelink_sessions"] == 1)
            seen = metrics(pages.address)
            assert seen["securelink_sessions_ended_total:normal"] == 1
            assert {name.removeprefix("securelink_").split(":")[0] for name in seen} == (
                {*server.stats(), "up", "limit", "limit_used"} - {"running"}
            )
            assert seen["securelink_limit:max_connections"] == 10_000
            assert seen["securelink_limit_used:max_connections"] == 1


def test_whether_it_is_well(identity: Identity) -> None:
    """/healthz is 200 while clients get in, and 503 when it is paused or stopped; other pages are 404."""
    server = Server("127.0.0.1", 0, keys=identity)
    with serve_metrics(server, "::1", 0) as pages:
        assert page(pages.address, "/healthz") == (503, "not serving\n")
        with server:
            assert page(pages.address, "/healthz") == (200, "ok\n")
            server.pause()
            assert page(pages.address, "/healthz")[0] == 503
            server.resume()
            assert page(pages.address, "/healthz")[0] == 200
            for path in ("/", "/metricsx", "/metrics/..", "/../etc/passwd"):
                assert page(pages.address, path)[0] == 404
        assert page(pages.address, "/healthz")[0] == 503
        assert metrics(pages.address)["securelink_up"] == 0
    pages.close()


def test_the_pages_are_served_where_it_was_said(identity: Identity) -> None:
    """An address that is taken or cannot be one is an error; after `close()` the port is free and no thread is left."""
    server = Server("127.0.0.1", 0, keys=identity)
    threads = threading.active_count()
    with serve_metrics(server, "127.0.0.1", 0) as pages:
        port = pages.address[1]
        failure(
            ConnectFailed,
            lambda: serve_metrics(server, "127.0.0.1", port),
            "in use",
            "another port",
        )
        failure(ConfigError, lambda: serve_metrics(server, "127.0.0.1", 70_000), "not a TCP port")
    serve_metrics(server, "127.0.0.1", port).close()
    until(lambda: threading.active_count() <= threads)


def test_slow_readers_hold_no_thread(identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends a request byte by byte is cut off in time; of many at once some are closed; then all is well."""
    monkeypatch.setattr("securelink.metrics._REQUEST_SECONDS", 2.0)
    before = threading.active_count()
    with (
        Server("127.0.0.1", 0, keys=identity) as server,
        serve_metrics(server, "127.0.0.1", 0) as pages,
        contextlib.ExitStack() as open_ones,
    ):
        readers = [
            open_ones.enter_context(socket.create_connection(pages.address, WAIT))
            for _ in range(40)
        ]
        end = time.monotonic() + WAIT  # 7 s on a quiet machine; never, if each byte gave more time
        left = set(readers)
        while left and time.monotonic() < end:
            for reader in tuple(left):
                try:
                    reader.sendall(b"G")
                    reader.settimeout(0.01)
                    if not reader.recv(1):
                        left.discard(reader)
                except TimeoutError:
                    pass
                except OSError:
                    left.discard(reader)
        assert not left
        until(lambda: threading.active_count() < before + 10)
        assert page(pages.address, "/healthz")[0] == 200


def test_threads_that_do_not_start_take_no_place(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system starts no threads for a while, connections are closed; afterwards there are pages again."""
    start = threading.Thread.start
    failing = threading.Event()
    failed: list[str] = []

    def starting(thread: threading.Thread) -> None:
        # The thread of a connection, or, every other time, its timer.
        mine = "process_request_thread" in thread.name or isinstance(thread, threading.Timer)
        if failing.is_set() and mine and (len(failed) % 2 or isinstance(thread, threading.Timer)):
            failed.append(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    def has_failed(times: int) -> bool:
        return len(failed) >= times

    monkeypatch.setattr(threading.Thread, "start", starting)
    with serving(identity) as server, serve_metrics(server, "127.0.0.1", 0) as pages:
        failing.set()
        for number in range(40):
            with socket.create_connection(pages.address, timeout=WAIT) as reader:
                reader.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
                with contextlib.suppress(ConnectionError):
                    assert reader.recv(100) == b""
            until(partial(has_failed, number + 1))
        failing.clear()
        url = "http://{}:{}/healthz".format(*pages.address)
        with urllib.request.urlopen(url, timeout=WAIT) as answer:
            assert answer.read() == b"ok\n"


def test_the_command_serves_them(tmp_path: Path) -> None:
    """`securelink serve --metrics HOST:PORT` has the pages."""
    command = ("-m", "securelink", "serve", "--plaintext", "--host", "127.0.0.1", "--port", "0")
    with Program(*command, "--metrics", "127.0.0.1:0", folder=tmp_path) as program:
        port = int(program.prints(r"metrics: http://127.0.0.1:(\d+)/metrics")[1])
        program.prints("Ctrl-C stops it")
        assert page(("127.0.0.1", port), "/healthz")[0] == 200
        assert metrics(("127.0.0.1", port))["securelink_up"] == 1
        program.interrupt()
        program.ends()
    for place in ("nonsense", "9110", ":9110"):  # without a host it would listen on all addresses
        with Program(*command, "--metrics", place, folder=tmp_path) as program:
            program.prints("write HOST:PORT")
            assert program.ends() == 2
