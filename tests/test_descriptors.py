"""A server whose limits the system's limit of open files cannot meet says so, and stays below it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from inside import listener_of

from securelink import Identity, Server
from securelink.limits import MAX_CONNECTIONS, MIN_PER_ADDRESS
from securelink.testing import Network

resource = pytest.importorskip("resource", reason="this system has no such limit")


@pytest.fixture
def few() -> Iterator[tuple[int, int]]:
    """This process may open 512 files, meanwhile."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = (512, before[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    yield limits
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_limits_that_cannot_be_met_are_said(
    few: tuple[int, int], identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """The numbers, and what to do; what fits is kept to, an address has its share of that, and no limit is changed."""
    with Server("127.0.0.1", 0, keys=identity, max_connections=600) as server:
        settings = listener_of(server).settings
        assert settings.max_connections == 384
        assert settings.max_per_address == 288
    (record,) = (record for record in caplog.records if "open" in record.getMessage())
    assert record.levelno == logging.WARNING
    for words in ("may open 512 files", "max_connections=600", "more than 384", "ulimit -n 728"):
        assert words in record.getMessage()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == few


def test_the_default_is_no_reason_to_warn(
    few: tuple[int, int], identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """Shells usually allow fewer files than a server takes connections by default: only who debugs reads of that."""
    caplog.set_level(logging.DEBUG, "securelink.server")  # an earlier console may have set INFO
    with Server("127.0.0.1", 0, keys=identity) as server:
        assert listener_of(server).settings.max_connections == 384
    (record,) = (record for record in caplog.records if "may open 512" in record.getMessage())
    assert record.levelno == logging.DEBUG


def test_limits_that_are_met_are_as_asked(
    few: tuple[int, int], identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is said of what fits, nor where connections are no files."""
    with Server("127.0.0.1", 0, keys=identity, max_connections=384) as server:
        assert listener_of(server).settings.max_connections == 384
    with Network() as network:
        server = network.serve(Server(keys=identity))
        assert listener_of(server).settings.max_connections == MAX_CONNECTIONS
    assert "may open" not in caplog.text


def test_hardly_any_files(identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even then somebody gets in, and friends behind one router share an address."""
    monkeypatch.setattr(resource, "getrlimit", lambda which: (40, 40))
    with Server("127.0.0.1", 0, keys=identity) as server:
        settings = listener_of(server).settings
        assert (settings.max_connections, settings.max_per_address) == (20, MIN_PER_ADDRESS)
