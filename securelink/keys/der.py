"""
The part of DER that RSA keys need: elements are written, and read strictly (X.690 8.1, 10.1).

Every key is parsed here before the crypto library sees any of it. That library checks the type of a key only after it
has parsed and tested its numbers, and for some types the test takes minutes with the interpreter locked.
"""

from __future__ import annotations

INTEGER, BITS, OCTETS, NULL, OBJECT, SEQUENCE = 0x02, 0x03, 0x04, 0x05, 0x06, 0x30


class DerError(ValueError):
    """The bytes are not the expected DER."""


def element(tag: int, body: bytes) -> bytes:
    """One element: tag, length in the shortest form, body."""
    size = len(body)
    if size < 0x80:
        return bytes((tag, size)) + body
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(length))) + length + body


def integer(value: int) -> bytes:
    """An INTEGER that is not negative: one bit more than the value has, for the sign."""
    return element(INTEGER, value.to_bytes(value.bit_length() // 8 + 1))


class Reader:
    """
    Takes elements off the front of `data`, without recursion, in time proportional to the bytes. Every method raises
    `DerError` if the element is missing, not in its shortest form, or of another type.
    """

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def tag(self) -> int:
        """The tag of the next element, 0 at the end."""
        return self._data[self._at] if self._at < len(self._data) else 0

    def read(self, tag: int) -> bytes:
        """The body of the next element, which must have this tag."""
        if self.tag != tag:
            raise DerError("another element was expected")
        start = self._at + 2
        header = self._data[self._at + 1 : start]
        size = int.from_bytes(header)
        if size >= 0x80:
            width = size - 0x80
            digits = self._data[start : start + width]
            size = int.from_bytes(digits)
            start += width
            # Four bytes of length are more than any key needs; the shortest form has no leading zero.
            if not 1 <= width <= 4 or len(digits) != width or size < 0x80 or digits[0] == 0:
                raise DerError("a length is not in its shortest form")
        end = start + size
        if not header or end > len(self._data):
            raise DerError("the data is cut short")
        self._at = end
        return self._data[start:end]

    def enter(self, tag: int = SEQUENCE) -> Reader:
        """A reader for the content of the next element."""
        return Reader(self.read(tag))

    def integer(self) -> int:
        """An INTEGER that is not negative."""
        body = self.read(INTEGER)
        if not body or body[0] >= 0x80 or (body[0] == 0 and len(body) > 1 and body[1] < 0x80):
            raise DerError("a number is negative, or not in its shortest form")
        return int.from_bytes(body)

    def end(self) -> None:
        """Check that nothing follows."""
        if self._at != len(self._data):
            raise DerError("bytes follow where the data should end")
