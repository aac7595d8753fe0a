"""Who gives up something when all together keep too much."""

from __future__ import annotations

from collections.abc import Hashable

from hypothesis import given
from hypothesis import strategies as st

from securelink.app.failure_budget import SHARES
from securelink.app.greed import greediest_first
from securelink.streams.addresses import networks


def order(held: dict[str, int], hosts: dict[str, str]) -> list[str]:
    """Names in the order in which they should give up what they keep."""
    return list(greediest_first(held, lambda name: networks(hosts[name])))


def test_many_small_ones_of_one_address_go_before_a_large_one_that_is_alone() -> None:
    """The address that keeps most in sum gives up its largest, each time anew."""
    held = {"honest": 100, **{f"small{number}": 10 + number for number in range(20)}}
    hosts = dict.fromkeys(held, "192.0.2.1") | {"honest": "192.0.2.2"}
    gone = order(held, hosts)
    assert gone[:3] == ["small19", "small18", "small17"]
    left = sum(held.values()) - held["honest"]
    for name in gone[: gone.index("honest")]:
        assert left > held["honest"]
        left -= held[name]
    assert left <= held["honest"]


def test_of_one_address_the_largest_goes_first() -> None:
    """Where all are one address, what each keeps decides."""
    held = {"a": 3, "b": 9, "c": 5}
    assert order(held, dict.fromkeys(held, "192.0.2.1")) == ["b", "c", "a"]


def test_networks_of_ipv6_are_no_way_around_it() -> None:
    """Who has a /56 or a /48 keeps as much as four or sixteen addresses, not as 256 or 65,536."""
    honest = {"honest": 101}
    for bits, share in ((64, SHARES[1]), (56, SHARES[2])):
        many = {f"2001:db8:0:{number << (64 - bits):x}::1": 20 for number in range(200)}
        gone = order(honest | many, {"honest": "192.0.2.2", **{host: host for host in many}})
        before = gone.index("honest")
        assert (len(many) - before) * 20 / share <= 101 < (len(many) - before + 1) * 20 / share


@given(
    st.dictionaries(
        st.integers(),
        st.tuples(st.integers(0, 1000), st.sampled_from("abc"), st.sampled_from("xy")),
    )
)
def test_each_goes_once(what: dict[int, tuple[int, str, str]]) -> None:
    """Whatever they keep and wherever they come from, everybody's turn comes, and once."""
    places: dict[int, tuple[Hashable, ...]] = {
        number: (where + around, around) for number, (_, where, around) in what.items()
    }
    gone = greediest_first(
        {number: size for number, (size, *_) in what.items()}, places.__getitem__
    )
    assert sorted(gone) == sorted(what)
