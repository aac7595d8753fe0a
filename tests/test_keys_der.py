"""DER and the numbers in keys: one spelling each, and private numbers that belong together."""

from __future__ import annotations

import dataclasses

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from securelink.keys.der import INTEGER, OCTETS, DerError, Reader, element, integer
from securelink.keys.shapes import PrivateNumbers, PublicNumbers


@pytest.mark.parametrize(
    "wrong",
    [
        "04 81 01 00",  # 127 and less have a short form
        "04 82 00 80" + "00" * 128,  # a zero in front
        "04 80 00 00",  # no definite length
        "04 85 00 00 00 00 80" + "00" * 128,  # more bytes than any length has
        "04 82 00",
        "04 81",
        "04",
        "04 02 00",
        "02 01 00",
        "",
    ],
)
def test_lengths_have_one_spelling(wrong: str) -> None:
    """A length that is not in its shortest form, or that is not there, is refused; so is another tag."""
    with pytest.raises(DerError):
        Reader(bytes.fromhex(wrong)).read(OCTETS)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65_536])
def test_what_is_written_is_read(size: int) -> None:
    """Elements of every width of length come back."""
    assert Reader(element(OCTETS, bytes(size))).read(OCTETS) == bytes(size)
    assert Reader(integer(size)).integer() == size


@pytest.mark.parametrize("wrong", ["", "80", "ff01", "0001", "00", "007f"])
def test_numbers_have_one_spelling(wrong: str) -> None:
    """An INTEGER is not negative, not empty and has no zero in front that it does not need."""
    reader = Reader(element(INTEGER, bytes.fromhex(wrong)))
    if wrong == "00":
        assert reader.integer() == 0
        return
    with pytest.raises(DerError):
        reader.integer()


def test_private_numbers_belong_together() -> None:
    """Each number of a private key is tied to the others: one that is another is noticed, whichever it is."""
    key = rsa.generate_private_key(65537, 2048).private_numbers()
    n, e = key.public_numbers.n, key.public_numbers.e
    sound = PrivateNumbers(PublicNumbers(n, e), key.d, key.p, key.q, key.dmp1, key.dmq1, key.iqmp)
    assert sound.fit()
    for name in ("d", "p", "q", "dmp1", "dmq1", "iqmp"):
        assert not dataclasses.replace(sound, **{name: getattr(sound, name) + 2}).fit(), name
    other = rsa.generate_private_key(65537, 2048).public_key().public_numbers()
    assert not dataclasses.replace(sound, public=PublicNumbers(other.n, e)).fit()
    assert not dataclasses.replace(sound, public=PublicNumbers(n, 3)).fit()
    assert not dataclasses.replace(sound, p=n, q=1).fit()
