"""What `securelink load` counts: latencies, and errors by kind."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from securelink import ConfigError, ConnectionClosed, Refused
from securelink.tools.cli.load import PERCENTILES
from securelink.tools.load import Histogram, Tally
from securelink.tools.load.tally import MAX_KINDS, MAX_WORDS, OTHER, kind_of


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 4000), min_size=1, max_size=200))
def test_percentiles_are_right_within_their_error(durations: list[float]) -> None:
    """A percentile is that of the sorted values, up to 1.6 % and a microsecond; rows lose nothing."""
    histogram = Histogram()
    for duration in durations:
        histogram.add(duration)
    ordered = sorted(durations)
    for percent in (*PERCENTILES, 100.0):
        exact = ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
        assert exact * 0.999 - 2e-6 <= histogram.percentile(percent) <= exact * 1.016 + 2e-6
    assert (histogram.count, histogram.greatest) == (len(durations), ordered[-1])
    rows = histogram.rows()
    assert sum(number for _, number in rows) == len(durations)
    assert rows[0][1] > 0
    assert rows[-1][1] > 0
    assert [limit for limit, _ in rows] == sorted(limit for limit, _ in rows)


def test_an_empty_histogram_has_nothing() -> None:
    """No duration, no percentile, no row; and what is less than nothing or endless has a place."""
    histogram = Histogram()
    assert (histogram.percentile(50), histogram.rows()) == (0.0, [])
    histogram.add(-1.0)
    histogram.add(1e9)
    assert (histogram.percentile(50), histogram.count) == (0.0, 2)


def test_kinds_of_errors_are_bounded() -> None:
    """A server that words every refusal differently fills neither memory nor screen."""
    tally = Tally()
    for number in range(1000):
        tally.failed(f"{number} {'x' * 1000}")
    tally.failed("nothing", 0)
    assert tally.failures == 1000
    assert len(tally.errors) == MAX_KINDS + 1
    assert tally.errors[OTHER] == 1000 - MAX_KINDS
    assert max(map(len, tally.errors)) <= MAX_WORDS + 3


def test_kinds_are_sentences() -> None:
    """What an error is counted as."""
    assert kind_of(Refused("no")) == "refused: no"
    assert kind_of(ConnectionClosed("the session is over: kicked")) == "session lost: kicked"
    assert kind_of(ConfigError("so", hint="and so")) == "so"
    assert kind_of(OSError(5, "broken")) == "OSError: [Errno 5] broken"
