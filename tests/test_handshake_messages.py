"""The handshake messages, WELCOME and CLOSE: exact bytes out, and nothing but exact bytes in."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securelink.codes import Code
from securelink.errors import PeerIncompatible, ProtocolError
from securelink.limits import MAGIC, MAX_CLOSE_TEXT, MAX_FRAME_BODY, MIN_PACKET, TOKEN_SIZE
from securelink.wire.fields import Mode, encode_field, encode_fields
from securelink.wire.messages import (
    ClientAuth,
    ClientHello,
    Close,
    ServerAuth,
    ServerHello,
    VersionMismatch,
    Welcome,
    pad,
)

FieldList = list[tuple[int, bytes]]
RANDOM = bytes(range(32))
TOKEN = bytes(range(1, 17))
TICKET = bytes(range(100, 132))


# --- hellos ---------------------------------------------------------------------------------------


def test_client_hello_is_pinned() -> None:
    """Magic, version, mode, random, key share: every byte in its place."""
    plain = ClientHello(Mode.OFF, RANDOM, None)
    assert plain.encode().hex() == "5345434c494e4b1a01" + "01000100" + "020020" + RANDOM.hex()
    share = bytes(1216)
    assert ClientHello(Mode.REQUIRED, RANDOM, share).encode() == (
        MAGIC + b"\x01" + b"\x01\0\x01\x02" + b"\x02\0\x20" + RANDOM + b"\x03\x04\xc0" + share
    )
    bearer = ClientHello(Mode.OFF, RANDOM, None, TICKET)
    assert bearer.encode() == plain.encode() + b"\x04\0\x20" + TICKET
    asking = ClientHello(Mode.REQUIRED, RANDOM, share, TICKET, RANDOM)
    assert asking.encode().endswith(b"\x04\0\x20" + TICKET + b"\x05\0\x20" + RANDOM)
    optional = ClientHello(Mode.OPTIONAL, RANDOM, share)
    for hello in (plain, optional, bearer, asking, replace(optional, ticket=TICKET)):
        assert ClientHello.decode(hello.encode()) == hello


def test_server_hello_is_pinned() -> None:
    """Version, what was chosen, random, key share."""
    plain = ServerHello(False, RANDOM, None)
    assert plain.encode().hex() == "01" + "01000100" + "020020" + RANDOM.hex()
    sealed = ServerHello(True, RANDOM, bytes(1120))
    assert sealed.encode() == (
        b"\x01" + b"\x01\0\x01\x01" + b"\x02\0\x20" + RANDOM + b"\x03\x04\x60" + bytes(1120)
    )
    resumed = ServerHello(False, RANDOM, None, True)
    assert resumed.encode() == plain.encode() + b"\x04\0\x01\x01"
    for hello in (plain, sealed, resumed, ServerHello(True, RANDOM, bytes(1120), False)):
        assert ServerHello.decode(hello.encode()) == hello


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([(1, b"\x03"), (2, RANDOM), (3, bytes(1216))], "unknown mode 3"),
        ([(1, b"\x00"), (2, RANDOM), (3, bytes(1216))], "does not fit its mode"),
        ([(1, b"\x01"), (2, RANDOM)], "does not fit its mode"),
        ([(1, b"\x02"), (2, RANDOM)], "does not fit its mode"),
        ([(1, b"\x02\x00"), (2, RANDOM), (3, bytes(1216))], "2 bytes in field 1"),
        ([(1, b"\x02"), (2, RANDOM[1:]), (3, bytes(1216))], "31 bytes in field 2"),
        ([(1, b"\x02"), (2, RANDOM), (3, bytes(1215))], "1215 bytes in field 3"),
        ([(1, b"\x02"), (2, RANDOM), (3, bytes(1217))], "1217 bytes in field 3"),
        ([(1, b"\x00"), (2, RANDOM), (4, b"")], "0 bytes in field 4"),
        ([(1, b"\x00"), (2, RANDOM), (4, bytes(32)), (5, bytes(32))], "a binder without"),
        ([(1, b"\x02"), (2, RANDOM), (3, bytes(1216)), (5, bytes(32))], "a binder without"),
        ([(1, b"\x02"), (2, RANDOM), (3, bytes(1216)), (4, bytes(32))], "a ticket of plaintext"),
        (
            [(1, b"\x01"), (2, RANDOM), (3, bytes(1216)), (4, bytes(32)), (5, bytes(31))],
            "31 bytes in field 5",
        ),
        ([(1, b"\x00"), (2, RANDOM), (6, b"")], "field 6 that must not be there"),
        ([(1, b"\x00")], "lacks field 2"),
    ],
)
def test_bad_client_hellos(fields: FieldList, message: str) -> None:
    """A ClientHello with an unknown mode, a share that does not fit, or a wrong size is refused."""
    with pytest.raises(ProtocolError, match=message):
        ClientHello.decode(MAGIC + b"\x01" + encode_fields(fields))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([(1, b"\x02"), (2, RANDOM), (3, bytes(1120))], "does not fit its mode"),
        ([(1, b"\x00"), (2, RANDOM), (3, bytes(1120))], "does not fit its mode"),
        ([(1, b"\x01"), (2, RANDOM)], "does not fit its mode"),
        ([(1, b""), (2, RANDOM)], "0 bytes in field 1"),
        ([(1, b"\x01"), (2, RANDOM + b"x"), (3, bytes(1120))], "33 bytes in field 2"),
        ([(1, b"\x01"), (2, RANDOM), (3, bytes(1216))], "1216 bytes in field 3"),
        ([(1, b"\x00"), (2, RANDOM), (4, b"\x02")], "says 2 to a ticket"),
        ([(1, b"\x00"), (2, RANDOM), (4, b"")], "0 bytes in field 4"),
        ([(1, b"\x00"), (2, RANDOM), (9, b"")], "field 9 that must not be there"),
    ],
)
def test_bad_server_hellos(fields: FieldList, message: str) -> None:
    """So is such a ServerHello."""
    with pytest.raises(ProtocolError, match=message):
        ServerHello.decode(b"\x01" + encode_fields(fields))


@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_version_is_not_read(version: int) -> None:
    """A hello of another version is named as such, whatever follows: it may have other fields."""
    with pytest.raises(VersionMismatch, match=f"version {version} of the protocol") as error:
        ClientHello.decode(MAGIC + bytes([version]) + b"whatever")
    assert (error.value.version, error.value.code) == (version, Code.VERSION)
    assert isinstance(error.value, PeerIncompatible)
    with pytest.raises(VersionMismatch, match="update securelink on the older side"):
        ServerHello.decode(bytes([version]))


def test_hellos_cut_short() -> None:
    """A hello without even a version is an error of its own."""
    for decode, size in ((ClientHello.decode, len(MAGIC)), (ServerHello.decode, 0)):
        with pytest.raises(ProtocolError, match="cut short before its version"):
            decode(MAGIC[:size])


# --- proofs ---------------------------------------------------------------------------------------


def server_auth(**changes: bytes) -> bytes:
    """A SERVER_AUTH record in the right form; `f3=...` changes field 3, `padding=` the padding."""
    values = {1: b"key", 2: b"signature", 3: b"\x01"}
    values |= {int(k[1]): v for k, v in changes.items() if k[0] == "f" and k != "f5"}
    body = encode_fields(sorted(values.items()))
    body += changes.get("padding", pad(body, 4)) + encode_field(5, changes.get("f5", bytes(32)))
    return b"\x01" + body


def client_auth(values: dict[int, bytes], finished: bytes = bytes(32)) -> bytes:
    """A CLIENT_AUTH record in the right form."""
    body = encode_fields(sorted(values.items()))
    return b"\x02" + body + pad(body, 8) + encode_field(9, finished)


CLIENT = {3: b"host", 4: b"app", 5: b"1.0", 7: b"\xc0"}


@pytest.mark.parametrize("size", [0, 1, 500, 985, 986, 987, 1024, 3000])
def test_padding_fills_to_1024(size: int) -> None:
    """Padding makes the body, itself and a Finished field a multiple of 1,024 bytes, with the least that does."""
    padding = pad(bytes(size), 4)
    assert (size + len(padding) + 35) % 1024 == 0
    assert len(padding) < 1024 + 3
    assert padding == encode_field(4, bytes(len(padding) - 3))


def test_which_key_sizes_show() -> None:
    """Proofs of keys of up to 3072 bits are all of one size; a larger key shows by its second KiB."""
    shown = {}
    for bits, public in ((2048, 294), (3072, 422), (4096, 550), (8192, 1062)):  # bytes of SPKI
        body = encode_field(1, bytes(public)) + encode_field(2, bytes(bits // 8)) + bytes(4)
        shown[bits] = len(body + pad(body, 4)) + 35
    assert shown == {2048: 1024, 3072: 1024, 4096: 2048, 8192: 3072}


def test_server_auth_is_taken_apart() -> None:
    """The signature covers the content byte and the key, Finished all but itself."""
    record = server_auth()
    auth = ServerAuth.decode(record)
    assert (auth.key, auth.signature, auth.wanted, auth.finished) == (
        b"key", b"signature", 1, bytes(32)
    )  # fmt: skip
    assert auth.signed == b"\x01" + encode_field(1, b"key")
    assert auth.finished_over == record[:-35]
    assert len(record) == 1 + 1024


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"f3": b"\x03"}, "unknown kind 3"),
        ({"f3": b""}, "0 bytes in field 3"),
        ({"f5": bytes(31)}, "padding"),
        ({"f5": bytes(1024 + 32)}, "1056 bytes in field 5"),
        ({"f6": b""}, "field 6 that must not be there"),
        ({"padding": b""}, "lacks field 4"),
        ({"padding": encode_field(4, b"")}, "padding"),
        ({"padding": encode_field(4, bytes(1024))}, "padding"),
    ],
)
def test_bad_server_auths(changes: dict[str, bytes], message: str) -> None:
    """Unknown values, wrong sizes, missing or short padding are refused."""
    with pytest.raises(ProtocolError, match=message):
        ServerAuth.decode(server_auth(**changes))


def test_padding_is_zero() -> None:
    """One byte of padding that is not zero is an error, wherever it is: no hidden channel, no second encoding."""
    record = bytearray(server_auth())
    start = record.index(encode_field(3, b"\x01")) + 4 + 3
    for at in (start, start + 100, len(record) - 36):
        record[at] = 1
        with pytest.raises(ProtocolError, match="padding"):
            ServerAuth.decode(bytes(record))
        record[at] = 0
    assert ServerAuth.decode(bytes(record)).wanted == 1


def test_client_auth_is_taken_apart() -> None:
    """With a key, without one, and in plaintext: what each proof covers."""
    record = client_auth({1: b"key", 2: b"sig"} | CLIENT)
    auth = ClientAuth.decode(record, encrypted=True)
    assert (auth.key, auth.signature, auth.dialled) == (b"key", b"sig", "host")
    assert (auth.application, auth.version, auth.credentials) == ("app", "1.0", b"\xc0")
    assert auth.signed == b"\x02" + encode_field(1, b"key")
    assert auth.finished_over == record[:-35]
    anonymous = ClientAuth.decode(client_auth(CLIENT), encrypted=True)
    assert (anonymous.key, anonymous.signature, anonymous.signed) == (None, None, b"")
    plain = ClientAuth.decode(b"\x02" + encode_fields(sorted(CLIENT.items())), encrypted=False)
    assert (plain.finished, plain.finished_over, plain.version) == (b"", b"", "1.0")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({1: b"key"} | CLIENT, "a key without a signature"),
        ({2: b"sig"} | CLIENT, "a key without a signature"),
        ({6: bytes(8)} | CLIENT, "field 6 that must not be there"),
        (CLIENT | {3: b"x" * 256}, "256 bytes in field 3, over 255"),
        (CLIENT | {4: b"x" * 256}, "256 bytes in field 4, over 255"),
        (CLIENT | {5: b"\xff"}, "bad UTF-8 in field 5"),
        (CLIENT | {7: bytes(4097)}, "larger than 4096 bytes"),
        ({3: b"host"}, "lacks field"),
    ],
)
def test_bad_client_auths(values: dict[int, bytes], message: str) -> None:
    """Half a proof, a count that nobody asked for, texts and credentials too long are refused."""
    with pytest.raises(ProtocolError, match=message):
        ClientAuth.decode(client_auth(values), encrypted=True)


def test_credentials_have_4_kib() -> None:
    """4,096 bytes of credentials pass."""
    record = client_auth(CLIENT | {7: bytes(4096)})
    assert len(ClientAuth.decode(record, encrypted=True).credentials) == 4096


@pytest.mark.parametrize("number", [1, 2, 8, 9])
def test_plaintext_carries_no_proof(number: int) -> None:
    """Key, signature, padding and Finished have no place in plaintext mode: nothing there looks like a proof."""
    fields = sorted((CLIENT | {number: bytes(32)}).items())
    with pytest.raises(ProtocolError, match=f"field {number} that must not be there"):
        ClientAuth.decode(b"\x02" + encode_fields(fields), encrypted=False)


# --- WELCOME, CLOSE -------------------------------------------------------------------------------


def test_welcome_is_pinned() -> None:
    """Token, no resume, limit, heartbeat in milliseconds."""
    welcome = Welcome(TOKEN, 2 * 1024 * 1024, 20.0)
    record = welcome.encode()
    assert record.hex() == (
        "03" + "010010" + TOKEN.hex() + "04000100" + "06000400200000" + "07000400004e20"
    )
    assert Welcome.decode(record) == welcome


def test_welcome_with_a_ticket_is_pinned() -> None:
    """What resumes the session, for how long it is kept, and how much of it has been accepted."""
    welcome = Welcome(TOKEN, 2 * 1024 * 1024, 20.0, TICKET, 120, 258)
    record = welcome.encode()
    assert record.hex() == (
        "03" + "010010" + TOKEN.hex() + "020020" + TICKET.hex() + "03000400000078"
        "04000101" + "0500080000000000000102" + "06000400200000" + "07000400004e20"
    )  # fmt: skip
    assert Welcome.decode(record) == welcome
    begins = replace(welcome, count=None)
    assert Welcome.decode(begins.encode()) == begins
    assert TICKET.hex() not in repr(welcome)
    assert repr(TICKET)[2:-1] not in repr(welcome)


def test_proofs_of_a_resumed_connection() -> None:
    """Finished, and the client's count: no key, no signature, no wish for a key."""
    record = b"\x01" + pad(b"", 4) + encode_field(5, RANDOM)
    auth = ServerAuth.decode(record, resumed=True)
    assert (auth.key, auth.signature, auth.wanted, auth.succession) == (b"", b"", 0, b"")
    assert (auth.finished, auth.finished_over) == (RANDOM, record[:-35])
    with pytest.raises(ProtocolError, match="field 1 that must not be there"):
        ServerAuth.decode(server_auth(), resumed=True)
    with pytest.raises(ProtocolError, match="lacks field"):
        ServerAuth.decode(record)
    counted = CLIENT | {6: (258).to_bytes(8)}
    for encrypted in (True, False):
        record = (
            client_auth(counted) if encrypted else b"\x02" + encode_fields(sorted(counted.items()))
        )
        client = ClientAuth.decode(record, encrypted=encrypted, resumed=True)
        assert (client.count, client.key, client.dialled) == (258, None, "host")
        with pytest.raises(ProtocolError, match="field 6 that must not be there"):
            ClientAuth.decode(record, encrypted=encrypted)
    with pytest.raises(ProtocolError, match="lacks field 6"):
        ClientAuth.decode(client_auth(CLIENT), encrypted=True, resumed=True)
    with pytest.raises(ProtocolError, match="7 bytes in field 6"):
        ClientAuth.decode(client_auth(CLIENT | {6: bytes(7)}), encrypted=True, resumed=True)
    with pytest.raises(ProtocolError, match="field 1 that must not be there"):
        ClientAuth.decode(client_auth(counted | {1: b"k", 2: b"s"}), encrypted=True, resumed=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({1: bytes(16)}, "empty token"),
        ({1: bytes(15)}, "15 bytes in field 1"),
        ({4: b"\x01"}, "count does not fit"),
        ({4: b"\x02", 5: bytes(8)}, "count does not fit"),
        ({5: bytes(8)}, "count does not fit"),
        ({4: b"\x01", 5: bytes(7)}, "7 bytes in field 5"),
        ({2: bytes(32)}, "ticket without a lifetime"),
        ({3: bytes(4)}, "ticket without a lifetime"),
        ({2: bytes(31), 3: bytes(4)}, "31 bytes in field 2"),
        ({2: bytes(32), 3: bytes(3)}, "3 bytes in field 3"),
        ({6: (MIN_PACKET - 1).to_bytes(4)}, "impossible packet limit of 2047"),
        ({6: (MAX_FRAME_BODY + 1).to_bytes(4)}, "impossible packet limit of 16777216"),
        ({7: b""}, "0 bytes in field 7"),
        ({8: bytes(8)}, "count does not fit"),
        ({9: b""}, "field 9 that must not be there"),
    ],
)
def test_bad_welcomes(changes: dict[int, bytes], message: str) -> None:
    """A WELCOME without a token, with an impossible limit or with half of what resumes a session is refused."""
    values = {1: TOKEN, 4: b"\0", 6: bytes((0, 32, 0, 0)), 7: bytes((0, 0, 78, 32))} | changes
    with pytest.raises(ProtocolError, match=message):
        Welcome.decode(b"\x03" + encode_fields(sorted(values.items())))


def test_the_limits_of_welcome_are_inclusive() -> None:
    """The least and the greatest packet limit pass."""
    for limit in (MIN_PACKET, MAX_FRAME_BODY):
        assert Welcome.decode(Welcome(TOKEN, limit, 1.0).encode()).max_packet == limit
    assert len(TOKEN) == TOKEN_SIZE


def test_close_is_pinned() -> None:
    """Code, number of records sent, text."""
    close = Close(Code.KICKED, 258, "bye")
    assert close.encode().hex() == "0a" + "13" + "0000000000000102" + "627965"
    assert Close.decode(close.encode()) == close
    assert Close.decode(bytes.fromhex("0a00" + "00" * 8)) == Close(0, 0, "")


def test_a_long_text_is_cut_between_characters() -> None:
    """A text over 1,024 bytes is cut, never inside a character; lone surrogates become question marks."""
    record = Close(19, 0, "é" * 600).encode()
    assert record[10:].decode() == "é" * 512
    assert Close(19, 0, "x" + "é" * 600).encode()[10:].decode() == "x" + "é" * 511
    assert Close(19, 0, "a\ud800b").encode()[10:] == b"a?b"


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (bytes(9), "impossible length"),
        (bytes(10 + MAX_CLOSE_TEXT + 1), "impossible length"),
        (bytes(10) + b"\xff", "bad UTF-8"),
    ],
)
def test_bad_closes(record: bytes, message: str) -> None:
    """A CLOSE too short, too long or with bad UTF-8 is refused."""
    with pytest.raises(ProtocolError, match=message):
        Close.decode(record)


@given(st.binary(max_size=200), st.booleans())
@settings(max_examples=200, deadline=None)
def test_parsers_raise_what_they_say(data: bytes, encrypted: bool) -> None:
    """Any bytes give a message or a documented error, and a message comes back from its own bytes."""
    for decode in (
        ServerAuth.decode,
        lambda record: ClientAuth.decode(record, encrypted=encrypted),
    ):
        try:
            decode(b"\x01" + data)
        except ProtocolError:
            pass
    for message in (Welcome, Close):
        try:
            parsed = message.decode(b"\x0a" + data)
        except ProtocolError:
            continue
        assert parsed.encode()[1:] == data
