"""`securelink bench`: that it measures, says what, and leaves nothing; never how fast."""

from __future__ import annotations

import io
import json
import os
import socket
import ssl
import sys
import types
from datetime import UTC, datetime
from pathlib import Path

import pytest
from commands import fails, succeeds
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from helpers import failure
from rich.console import Console

from securelink import Identity, LinkTimeout, SecureLinkError, crypto
from securelink.bench import ours, process, workloads
from securelink.bench import run as bench_run
from securelink.bench.certificate import self_signed
from securelink.bench.floor import BareConnection
from securelink.bench.machine import compiled_modules, facts
from securelink.bench.process import ServerProcess
from securelink.bench.results import PEERS, Figures, Results
from securelink.bench.workloads import WORKLOADS
from securelink.tools.cli.bench import remarks, rows, status


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, identity: Identity, tmp_path: Path) -> Path:
    """The same steps with few clients and a key that is made already; gives the folder for temporary ones."""
    monkeypatch.setattr(workloads, "MANY", 3)
    monkeypatch.setattr(workloads, "_ROUND", 4)
    monkeypatch.setattr(bench_run, "IDLE", 5)
    monkeypatch.setattr(bench_run, "_SETTLE", 0.05)
    monkeypatch.setattr(Identity, "generate", lambda: identity)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def children() -> set[int]:
    """The processes that this one has started and that are not gone."""
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
        except (OSError, IndexError):
            continue
        if parent == str(os.getpid()):
            found.add(int(entry.name))
    return found


def test_everything_is_measured(small: Path) -> None:
    """Every workload has a number for every peer, as JSON; processes and files are gone afterwards."""
    before = children()
    found = json.loads(succeeds("bench", "--seconds", 0.02, "--json"))
    assert list(found["measured"]) == list(WORKLOADS)
    for figures in found["measured"].values():
        assert list(figures) == list(PEERS)
        assert all(figure["rate"] > 0 for figure in figures.values())
    first = next(iter(found["measured"].values()))
    assert all(0 < figure["p50"] <= figure["p99"] for figure in first.values())
    assert isinstance(found["idle session"], int)
    assert found["machine"]["python"].endswith(sys.version.split()[0])
    assert children() == before
    assert list(small.iterdir()) == []


def test_the_table_has_all_of_it() -> None:
    """One line for each workload, in units that fit; a missing number leaves no line."""
    results = Results(1.0)
    for title in WORKLOADS:
        results.figures[title] = {peer: Figures(2_000_000.0) for peer in PEERS}
    results.figures[next(iter(WORKLOADS))] = {
        peer: Figures(1234.5, 0.0001, 0.002) for peer in PEERS
    }
    lines = list(rows(results))
    assert [line[0] for line in lines if not line[0].startswith(" ")] == list(WORKLOADS)
    assert lines[:3] == [
        ("round trips, one client", *["1,234/s"] * 3),
        ("  half take up to", *["0.100 ms"] * 3),
        ("  99 % take up to", *["2.000 ms"] * 3),
    ]
    assert ("bulk, one way", *["2 MB/s"] * 3) in lines
    results.idle = 12_800
    assert [*rows(results)][-1] == ("memory of an idle session", "12.5 KiB", "", "")


def test_the_command_prints_table_and_machine(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --json it is a table, and below it what has a part in the numbers."""

    def measured(seconds: float, show: object) -> Results:
        assert callable(show)
        show("a while")
        return Results(seconds, {t: {peer: Figures(7.0) for peer in PEERS} for t in WORKLOADS})

    monkeypatch.setattr(bench_run, "run", measured)
    text = succeeds("bench")
    assert all(title in text for title in (*WORKLOADS, *PEERS))
    assert f"with {crypto.openssl_version()}" in text
    assert f"ssl with {ssl.OPENSSL_VERSION}" in text
    assert f"{len(os.sched_getaffinity(0))} cores" in text


def test_compiled_modules_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the hot modules are machine code is told from their files."""
    before = compiled_modules()
    module = types.ModuleType("securelink.warp")
    module.__file__ = "/somewhere/securelink/warp.so"
    monkeypatch.setitem(sys.modules, "securelink.warp", module)
    assert compiled_modules() == sorted([*before, "warp"])
    known = facts()
    assert "compiled: " in next(remarks(known))
    assert "pure Python" in next(remarks(known | {"compiled": []}))


def test_in_a_terminal_the_progress_stays_in_its_line() -> None:
    """What is measured is shown beside a spinner."""
    screen = io.StringIO()
    with status(Console(file=screen, force_terminal=True, width=80)) as show:
        show("round trips")
    assert "round trips" in screen.getvalue()


def test_misuse_is_explained() -> None:
    """Seconds are bounded: 18 measurements take them."""
    assert "is not in the range" in fails("bench", "--seconds", 0, code=2)
    assert "is not in the range" in fails("bench", "--seconds", 1000, code=2)


def test_a_server_that_does_not_start_is_an_error(tmp_path: Path) -> None:
    """Its last words are in the error, and it is gone."""
    before = children()
    failure(
        SecureLinkError, ServerProcess("nothing", tmp_path).__enter__, "did not start: KeyError"
    )
    assert children() == before


def test_a_server_that_hangs_is_killed(
    small: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing waits for ever: a server has a lifetime, and what waits for it fails with words."""
    identity.save(small, "server")
    monkeypatch.setattr(process, "LIFETIME", 0.0)
    failure(SecureLinkError, ServerProcess("ours", small).__enter__, "it said nothing")


def test_a_server_that_falls_silent_is_an_error(
    small: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A measurement without answers ends; memory is not measured where the system does not tell."""
    monkeypatch.setattr(ours, "_PATIENCE", 0.05)
    identity.save(small, "server")
    with ServerProcess("ours", small) as server:
        peer = ours.Ours(server.info["port"], server.info["fingerprint"], small)
        client = peer.open()
        failure(LinkTimeout, client.receive, "nothing came within")
        client.close()
        assert server.resident() is not None
        monkeypatch.setattr(ServerProcess, "resident", lambda self: None)
        assert bench_run._idle_bytes(server, peer) is None


def test_a_floor_that_is_gone_is_an_error() -> None:
    """A bare connection whose other side left says so instead of waiting."""
    here, there = socket.socketpair()
    connection = BareConnection(here, b"e")
    there.close()
    failure(ConnectionResetError, connection.receive, "the other side left")
    connection.close()


def test_the_certificate_is_a_genuine_one(identity: Identity) -> None:
    """Another library reads it, its signature is right, and it names key, address and dates."""
    certificate = x509.load_pem_x509_certificate(self_signed(identity, "127.0.0.1"))
    key = certificate.public_key()
    assert isinstance(key, RSAPublicKey)
    assert certificate.signature_hash_algorithm is not None
    scheme = certificate.signature_algorithm_parameters
    assert isinstance(scheme, padding.PSS)
    key.verify(
        certificate.signature,
        certificate.tbs_certificate_bytes,
        scheme,
        certificate.signature_hash_algorithm,
    )
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    now = datetime.now(UTC)
    assert certificate.not_valid_before_utc < now < certificate.not_valid_after_utc
    assert (now - certificate.not_valid_before_utc).days <= 1
