"""
Validate MessagePack bytes before objects are built from them.

The decoder does not refuse three things that few bytes can ask of it:

- Nesting to the recursion limit kills the process on a small stack: the decoder calls itself for each level, and
  takes 300 bytes of stack. No setting tells how large the stack of a running thread is.
- Objects can be far larger than their bytes: 1 MiB of empty maps takes 69 MiB.
- Map keys may have hashes that collide, and then the time grows with the square. Text and bytes are
  hashed with a secret. Arrays become tuples: their hashes are easily made equal, 64 KiB of them took
  0.14 s. Numbers have few equal hashes, but the places that a dict tries for them can be computed and filled in
  advance: 65,536 places took a record of 262 kB 1.4 s, 1,024 take 0.1 ms. A timestamp takes 1 µs to be hashed, a
  hundred times as long as a number: 64 KiB of them took 25 ms.

The scan finds all three without recursion and without building objects.
"""

from __future__ import annotations

import re

from ..errors import CodecError
from ..limits import LIGHT_PER_ELEMENT, MAX_ELEMENTS, MAX_NUMBER_KEYS

_ARRAY, _MAP, _LARGE_MAP = 0, 1, 2
_CONTAINER, _SIZED, _EXTENSION, _INVALID = -1, -2, -3, -4


def _steps() -> list[int]:
    """Bytes to the next element by first byte, or one of the kinds above."""
    steps = [1] * 256  # fixint, nil, false, true
    steps[0x80:0xA0] = [_CONTAINER] * 32
    steps[0xA0:0xC0] = range(1, 33)  # fixstr
    steps[0xC1] = _INVALID
    steps[0xC4:0xC7] = [_SIZED] * 3  # bin 8, 16, 32
    steps[0xC7:0xCA] = [_EXTENSION] * 3  # ext 8, 16, 32
    steps[0xCA:0xD4] = [5, 9, 2, 3, 5, 9, 2, 3, 5, 9]  # float, uint, int
    steps[0xD4:0xD9] = [_EXTENSION] * 5  # fixext
    steps[0xD9:0xDC] = [_SIZED] * 3  # str 8, 16, 32
    steps[0xDC:0xE0] = [_CONTAINER] * 4  # array 16, 32, map 16, 32
    return steps


_STEPS = _steps()
# First bytes of text and bytes, which have unpredictable hashes: keys of a large map must be these.
_KEYED = frozenset((*range(0xA0, 0xC0), *range(0xC4, 0xC7), *range(0xD9, 0xDC)))
# A run of nil, false, true and integers from -5 to 127: Python has these once, so a list of them takes 8 bytes each.
_LIGHT_RUN = re.compile(rb"[\x00-\x7f\xc0\xc2\xc3\xfb-\xff]*")
# First byte of anything whose length follows -> how many bytes that length has.
_LENGTH_SIZES = {
    **dict.fromkeys((0xC4, 0xC7, 0xD9), 1),
    **dict.fromkeys((0xC5, 0xC8, 0xDA, 0xDC, 0xDE), 2),
    **dict.fromkeys((0xC6, 0xC9, 0xDB, 0xDD, 0xDF), 4),
}


def walk(
    data: bytes | memoryview,
    max_elements: int = MAX_ELEMENTS,
    max_depth: int | None = None,
    *,
    framing: int = 0,
    allow_extensions: bool = True,
) -> None:
    """
    Go through one MessagePack value without recursion and without building it.

    The cost is proportional to the number of elements, not of bytes: a picture is one step. Only amounts and keys are
    checked; the decoder checks whether the value is well formed.

    Args:
        data: The value.
        max_elements: Values of every kind, keys and containers included. Items of arrays that take one byte and no
            memory of their own (nil, booleans, integers from -5 to 127) count an eighth.
        max_depth: Containers inside each other; None for no limit.
        framing: Containers around these, which the limit leaves out.
        allow_extensions: False refuses them, timestamps included. (The decoders refuse all others than timestamps.)

    Raises:
        CodecError: One of the bounds is exceeded, or the value ends too early.
    """
    whole = Walk(data, max_elements, max_depth, framing=framing, allow_extensions=allow_extensions)
    while not whole.go_on(max_elements):
        pass


class Walk:
    """
    A scan that can stop on its way. The arguments are those of `walk`.

    Attributes:
        at: Where the next element begins.
        left: Values to come in the container in which that is.
        outer: The containers around that: values to come behind the next inner one, whether and how large a map it is,
            and where the inner one begins.
        counted: Elements so far, the light ones as what they count.
    """

    __slots__ = (
        "_allow_extensions", "_data", "_deepest", "_elements", "_framing", "_kind", "_light", "_max_elements", "at",
        "left", "outer",
    )  # fmt: skip

    def __init__(
        self,
        data: bytes | memoryview,
        max_elements: int,
        max_depth: int | None,
        *,
        framing: int = 0,
        allow_extensions: bool = True,
    ) -> None:
        self._data = data
        self._max_elements = max_elements
        self._framing = framing
        self._deepest = max_elements if max_depth is None else max_depth + framing
        self._allow_extensions = allow_extensions
        self.at = 0
        # The value itself counts in full, as one in a map.
        self.left, self._kind = 1, _MAP
        self._elements = self._light = 0
        self.outer: list[tuple[int, int, int]] = []

    @property
    def counted(self) -> int:
        return self._elements + self._light // LIGHT_PER_ELEMENT

    def go_on(self, some: int, shallow: int = 0) -> bool:  # noqa: C901  # one loop: a call for each element costs as much
        """
        Go through about so many elements more; never stops between a key and its value.

        Args:
            some: Elements.
            shallow: Stop also where a container ends around which there are fewer others.

        Returns:
            Whether that was the end.

        Raises:
            CodecError: As `walk`.
        """
        data, outer, max_elements = self._data, self.outer, self._max_elements
        pos, left, kind = self.at, self.left, self._kind
        elements, light = self._elements, self._light
        most = min(max_elements, elements + light // LIGHT_PER_ELEMENT + some)
        longest = LIGHT_PER_ELEMENT * some
        try:
            while True:
                while left:
                    first = data[pos]
                    step = _STEPS[first]
                    if kind == _ARRAY and step == 1:
                        # One call for a run: items that take little memory must not take much time either.
                        end = min(pos + left, pos + longest)
                        run = _LIGHT_RUN.match(data, pos, end).end() - pos  # type: ignore[union-attr]  # it always matches
                        if run:
                            pos += run
                            left -= run
                            light += run
                            if run == longest:
                                return self._stop(pos, left, kind, elements, light)
                            continue
                    if elements + light // LIGHT_PER_ELEMENT >= most:
                        if elements + light // LIGHT_PER_ELEMENT >= max_elements:
                            raise _too_many_elements(max_elements)
                        if kind == _ARRAY or not left & 1:
                            return self._stop(pos, left, kind, elements, light)
                    left -= 1
                    elements += 1
                    # If an odd number of values remains, this is a key and its value follows.
                    if kind == _LARGE_MAP and left & 1 and first not in _KEYED:
                        raise _no_key(step)
                    if step > 0:
                        pos += step
                        continue
                    if kind == _MAP and left & 1 and step != _SIZED:
                        raise _no_key(step)
                    if step != _CONTAINER:
                        pos += _long_step(data, pos, first, step, self._allow_extensions)
                        continue
                    outer.append((left, kind, pos))
                    if len(outer) > self._deepest:
                        raise self._too_deep()
                    left, is_map, step = container(data, pos)
                    if not is_map:
                        kind = _ARRAY
                    else:
                        kind = _MAP if left <= MAX_NUMBER_KEYS + MAX_NUMBER_KEYS else _LARGE_MAP
                    pos += step
                    # The claimed length is too much even if all items were light.
                    if elements + (left if is_map else left // LIGHT_PER_ELEMENT) > max_elements:
                        raise _too_many_elements(max_elements)
                if not outer:
                    if elements + light // LIGHT_PER_ELEMENT > max_elements:
                        raise _too_many_elements(max_elements)
                    self._stop(pos, left, kind, elements, light)
                    return True
                left, kind, _ = outer.pop()
                if len(outer) < shallow:
                    return self._stop(pos, left, kind, elements, light)
        except IndexError:
            raise CodecError("the bytes end in the middle of a value") from None

    def _too_deep(self) -> CodecError:
        return CodecError(f"nested deeper than {self._deepest - self._framing} levels")

    def _stop(self, pos: int, left: int, kind: int, elements: int, light: int) -> bool:
        self.at, self.left, self._kind, self._elements, self._light = (
            pos,
            left,
            kind,
            elements,
            light,
        )
        return False


def container(data: bytes | memoryview, pos: int) -> tuple[int, bool, int]:
    """Read an array or map header: (values to come, is it a map, bytes of the header)."""
    first = data[pos]
    if first < 0x90:
        return (first & 0x0F) * 2, True, 1
    if first < 0xA0:
        return first & 0x0F, False, 1
    step = 1 + _LENGTH_SIZES[first]
    count = _length(data, pos, step)
    # Added, not multiplied: see docs/COMPILED.md.
    return (count + count, True, step) if first >= 0xDE else (count, False, step)


def _long_step(
    data: bytes | memoryview, pos: int, first: int, kind: int, allow_extensions: bool
) -> int:
    """Bytes to the next element from a str, bin or ext whose size is not its first byte."""
    if kind == _SIZED:
        header = 1 + _LENGTH_SIZES[first]
        return header + _length(data, pos, header)
    if kind == _INVALID:
        raise _invalid()
    if not allow_extensions:
        raise CodecError("MessagePack extension types and timestamps are not allowed here")
    if first >= 0xD4:  # fixext 1, 2, 4, 8, 16: first byte, type, data
        return int(2 + (1 << (first - 0xD4)))
    header = 1 + _LENGTH_SIZES[first]
    return header + 1 + _length(data, pos, header)


def _length(data: bytes | memoryview, pos: int, header: int) -> int:
    digits = data[pos + 1 : pos + header]
    if len(digits) != header - 1:
        raise IndexError  # as for any byte that is not there
    return int.from_bytes(digits, "big")


def _too_many_elements(limit: int) -> CodecError:
    return CodecError(
        f"more than {limit:,} elements in one packet or record",
        hint="send bytes, or several packets, or raise max_elements= on both sides",
    )


def _no_key(step: int) -> CodecError:
    """The error for a map key of this kind."""
    if step == _CONTAINER:
        return CodecError(
            "a map key is an array or a map (a dict has a tuple as a key)",
            hint="send a list of [key, value] instead of a dict with tuples as keys",
        )
    if step == _EXTENSION:
        return CodecError(
            "a map key is a timestamp (a dict has a datetime as a key)",
            hint="use its isoformat() as the key, or send a list of [key, value]",
        )
    if step == _INVALID:
        return _invalid()
    return CodecError(
        f"a map of more than {MAX_NUMBER_KEYS:,} entries has keys other than text and bytes",
        hint="use text as keys, or send a list of [key, value]",
    )


def _invalid() -> CodecError:
    return CodecError("0xc1 is no MessagePack type")
