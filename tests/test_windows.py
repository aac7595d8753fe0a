"""How often something has happened in a window of time."""

from __future__ import annotations

import pytest

from securelink.streams.addresses import network, networks
from securelink.window_counts import WindowCounts


def test_a_window_begins_with_the_first_time() -> None:
    """What happens later in a window does not lengthen it, and at its end the count is 0."""
    now = [100.0]
    counts = WindowCounts[str](60.0, 10, lambda: now[0])
    assert (counts.count("a"), counts.left("a")) == (0, 0.0)
    counts.add("a")
    now[0] += 59.0
    counts.add("a")
    assert (counts.count("a"), counts.left("a")) == (2, 1.0)
    now[0] += 1.0
    assert (counts.count("a"), counts.left("a")) == (0, 0.0)
    counts.add("a")
    assert (counts.count("a"), counts.left("a")) == (1, 60.0)


def test_what_is_taken_back_does_not_count() -> None:
    """Nothing is owed for more than was counted."""
    counts = WindowCounts[str](60.0, 10, lambda: 0.0)
    for _ in range(3):
        counts.add("a")
    counts.take_back("a")
    assert counts.count("a") == 2
    for _ in range(5):
        counts.take_back("a")
    assert (counts.count("a"), counts.keys()) == (0, [])
    counts.add("a")
    assert counts.count("a") == 1


def test_the_oldest_key_makes_room() -> None:
    """There are never more keys than were said, and the newest are those that count."""
    counts = WindowCounts[int](60.0, 3, lambda: 0.0)
    for number in range(100):
        counts.add(number)
        counts.add(number)
        assert len(counts) <= 3
    assert counts.keys() == [97, 98, 99]
    assert [counts.count(number) for number in (96, 97, 99)] == [0, 2, 2]
    counts.clear()
    assert len(counts) == 0


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        ("192.0.2.7", ("192.0.2.7",)),
        (
            "2001:db8:1:2:3::7%eth0",
            ("2001:db8:1:2::/64", "2001:db8:1::/56", "2001:db8:1::/48"),
        ),
        ("", ("",)),
        ("no:address", ("no:address",)),
    ],
)
def test_what_counts_as_one_address(host: str, wanted: tuple[str, ...]) -> None:
    """An address of IPv4 is one; of IPv6 the networks are that a customer may have."""
    assert networks(host) == wanted
    assert network(host) == wanted[0]
