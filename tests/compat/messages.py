"""Messages of the SimpleServer adapter, made and compared."""

from __future__ import annotations

from securelink.compat.simpleserver.networking import NetworkMessage


def message(body: str = "", **headers: str | None) -> NetworkMessage:
    """A message with these headers; None for one without value."""
    made = NetworkMessage()
    for name, value in headers.items():
        made.add_header(name, value)
    made.set_body(body)
    return made


def content(message: NetworkMessage | None) -> tuple[list[tuple[str, str | None]], str]:
    """Headers and body, to compare."""
    assert message is not None
    return [(header.name, header.value) for header in message.headers], message.body
