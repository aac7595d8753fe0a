"""Messages of the SimpleServer adapter: any text and any bytes, encoded as they always were."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from messages import content, message

from securelink.compat.simpleserver.networking import Header, NetworkMessage


def test_the_old_text_of_a_message() -> None:
    """A message of plain text is encoded as it always was."""
    assert message("50% off", a="1", b="x y").encode() == b"$a:1|b:x y|%50% off"
    assert message("only a body").encode() == b"$%only a body"


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.text(), st.none() | st.text())),
    st.text(),
)
def test_any_message_survives_its_encoding(
    headers: list[tuple[str, str | None]], body: str
) -> None:
    """`$ : | %`, valueless headers and empty ones: encoding and decoding change nothing, also twice."""
    made = NetworkMessage()
    for name, value in headers:
        made.add_header(name, value)
    made.set_body(body)
    once = NetworkMessage.decode(made.encode())
    assert content(once) == content(made) == (headers, body)
    assert once.encode() == made.encode()


@settings(max_examples=200, deadline=None)
@given(st.binary() | st.text(alphabet="$:|%\\ax").map(str.encode))
def test_any_bytes_are_a_message(data: bytes) -> None:
    """Malformed bytes stopped the old server; they are a body without headers."""
    decoded = NetworkMessage.decode(data)
    assert decoded.headers or decoded.body in (data.decode(errors="replace"), decoded.body)
    NetworkMessage.decode(decoded.encode())


@pytest.mark.parametrize("data", [b"", b"no sign", b"$", b"$name:value%cut", b"$a", b"%", b"\xff"])
def test_malformed_bytes_have_no_headers(data: bytes) -> None:
    """What is no encoded message is all body."""
    assert content(NetworkMessage.decode(data)) == ([], data.decode(errors="replace"))


def test_headers() -> None:
    """Names, values, look-up and texts, as documented; a body is text."""
    made = message("body", plain=None, valued="x")
    assert made.has_header("plain")
    assert not made.has_header("other")
    assert (str(made.get_header("plain")), str(made.get_header("valued"))) == ("plain", "valued:x")
    assert made.get_header("other") is None
    assert (Header("name").value, str(Header("name", "v"))) == ("", "name:v")
    made.set_body(5)
    assert made.body == "5"
    made.set_body(b"raw")
    assert made.body == "raw"


def test_a_message_of_separators_has_no_headers() -> None:
    """Four million empty headers took nine seconds and half a gigabyte."""
    for text in ("$" + "|" * 4_000_000 + "%body", "$" + "a:" + "x" * 100_000 + "|%body"):
        message = NetworkMessage.decode(text.encode())
        assert message.body == text
    assert NetworkMessage.decode(b"$a:1|%body").body == "body"
