"""Protocol sniffing: recognises peers of other protocols, and the answers for them."""

from __future__ import annotations

KNOCKS = {
    "HTTP": "an HTTP client or web browser knocked",
    "TLS": "a TLS client knocked",
    "PROXY": "a PROXY header came from an address that is not in trusted_proxies",
    "noise": "its first 12 bytes are no hello",
}
_STRANGERS: tuple[tuple[str, tuple[bytes, ...]], ...] = (
    (
        "HTTP",
        (
            b"GET ", b"POST ", b"HEAD ", b"PUT ", b"OPTIONS ", b"CONNECT ", b"DELETE ", b"PATCH ",
            b"TRACE ", b"PRI * HTTP",
        ),
    ),
    ("TLS", (b"\x16\x03",)),
    ("PROXY", (b"\r\n\r\n\x00\r\nQUIT\n", b"PROXY TCP", b"PROXY UNKN")),
)  # fmt: skip
_HTTP_TEXT = b"This port speaks securelink, not HTTP.\n"
ANSWERS = {
    "HTTP": b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_HTTP_TEXT), _HTTP_TEXT),
    "TLS": bytes((21, 3, 3, 0, 2, 2, 40)),  # fatal alert handshake_failure, RFC 9846 section 6
    "PROXY": b"",
    "noise": b"",
}


def knock_of(data: bytes) -> str:
    """The protocol of the first 12 bytes: "HTTP", "TLS", "PROXY" or "noise"."""
    return next((name for name, starts in _STRANGERS if data.startswith(starts)), "noise")
