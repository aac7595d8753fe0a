"""What one side says to the other in one session, numbered and checked."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

MOST_DATA = 3_000  # bytes of a packet, and now and then as many times LARGE
LARGE = 30


@dataclass
class Way:
    """
    One direction of one session.

    Attributes:
        sent: How many packets.
        seen: How many arrived as the next one in order.
        wrong: What arrived otherwise, in words.
    """

    sent: int = 0
    seen: int = 0
    wrong: list[str] = field(default_factory=list)

    def next_data(self, dice: random.Random) -> dict[str, Any]:
        """The data of the next packet."""
        size = dice.randrange(MOST_DATA) * (LARGE if dice.random() < 0.01 else 1)
        number = self.sent
        self.sent += 1
        return {"number": number, "size": size, "filling": bytes([number % 251]) * size}

    def take(self, data: dict[str, Any]) -> None:
        """A packet has come."""
        number, size = data["number"], data["size"]
        if number != self.seen:
            self.wrong.append(f"{number} came in the place of {self.seen}")
        elif data["filling"] != bytes([number % 251]) * size:
            self.wrong.append(f"{number} has other content")
        self.seen = number + 1
