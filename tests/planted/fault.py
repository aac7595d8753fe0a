"""What a planted fault is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """
    One piece of source and what it is replaced by.

    Attributes:
        name: What is wrong then, as a sentence.
        file: Where, below `securelink/`.
        old: The source; it must stand there exactly once.
        new: What is planted.
        test: The test that must fail, `test_file.py::test_name`.
    """

    name: str
    file: str
    old: str
    new: str
    test: str

    def plant(self, source: str) -> str:
        """
        The source with the fault in it.

        Raises:
            ValueError: The source has changed, so that the fault no longer fits.
        """
        count = source.count(self.old)
        if count != 1:
            raise ValueError(
                f"{self.file}: {self.name}: the piece to replace stands there {count} times"
            )
        return source.replace(self.old, self.new)
