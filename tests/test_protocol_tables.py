"""The tables in docs/PROTOCOL.md and the code say the same."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from programs import ROOT

from securelink import ConfigError, Identity, Invite, crypto, limits
from securelink.codes import Code
from securelink.errors import _FAILURES
from securelink.protocol import MOVES, Input, State, key_schedule
from securelink.protocol.states import CONTENT_INPUTS, KIND_INPUTS, OVER
from securelink.wire.fields import Content, Kind
from securelink.wire.messages import ClientAuthField, ServerAuthField

DOCUMENT = (ROOT / "docs/PROTOCOL.md").read_text()


def table(first: str) -> list[list[str]]:
    """The rows of the table whose first column is called so."""
    start = DOCUMENT.index(f"| {first} |")
    lines = DOCUMENT[start:].split("\n\n")[0].splitlines()
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    return [[cell.strip() for cell in row] for row in cells[2:]]


def numbers(first: str) -> dict[str, int]:
    """Name and number of each row."""
    return {row[0]: int(row[1]) for row in table(first)}


@pytest.mark.parametrize(
    ("first", "members"), [("kind", Kind), ("content", Content), ("code", Code)]
)
def test_numbers(first: str, members: type[Kind] | type[Content] | type[Code]) -> None:
    """Kinds, contents and codes have the names and numbers of the document, none is missing on either side."""
    sent = (member for member in members if member.value < 256)
    assert numbers(first) == {member.name: member.value for member in sent}


def test_states() -> None:
    """What the document says a state takes from the peer is what the code takes."""
    clear, protected = set(), set()
    for state, kinds, contents, _ in table("state"):
        name = State[state.split()[-1]]
        clear |= {(name, Input[kind]) for kind in kinds.split(", ") if kind}
        protected |= {(name, Input[content]) for content in contents.split(", ") if content}
    assert clear == {(state, given) for state, given in MOVES if given in KIND_INPUTS.values()}
    assert protected == {
        (state, given) for state, given in MOVES if given in CONTENT_INPUTS.values()
    }


def test_transitions() -> None:
    """Every step from one state to the next stands in the document and in the code, with the same end."""
    documented: dict[tuple[State, Input], tuple[State, State]] = {}  # encrypted, in plaintext
    for names, inputs, to in table("from state"):
        states = set(State) - OVER
        if not names.startswith("any"):
            states = {State[name] for name in names.split(", ")}
        for name in inputs.removesuffix(", encrypted").removesuffix(", plaintext").split(", "):
            for state in states:
                key = state, Input[name.upper().replace(" ", "_")]
                if inputs.endswith(", plaintext"):
                    documented[key] = documented[key][0], State[to]
                else:
                    assert key not in documented
                    documented[key] = State[to], State[to]
    assert documented == {
        key: (move.then, move.in_plaintext or move.then) for key, move in MOVES.items()
    }


def fields_of(heading: str) -> dict[str, int]:
    """The fields in the first table of a section."""
    section = DOCUMENT[DOCUMENT.index(f"\n## {heading}") :]
    rows = re.findall(r"^\| ([\w ]+) \| (\d+) \|", section.split("\n## ")[1], re.MULTILINE)
    return {name: int(number) for name, number in rows}


def test_fields() -> None:
    """The proofs have the fields of the document."""
    server, client = ServerAuthField, ClientAuthField
    assert fields_of("8. SERVER_AUTH") == {
        "key": server.KEY, "signature": server.SIGNATURE, "client key wanted": server.WANTED,
        "padding": server.PADDING, "Finished": server.FINISHED, "succession": server.SUCCESSION,
    }  # fmt: skip
    assert fields_of("9. CLIENT_AUTH") == {
        "key": client.KEY, "signature": client.SIGNATURE, "dialled": client.DIALLED,
        "application": client.APPLICATION, "version": client.VERSION, "count": client.COUNT,
        "credentials": client.CREDENTIALS, "padding": client.PADDING, "Finished": client.FINISHED,
    }  # fmt: skip
    assert fields_of("10. WELCOME") == {
        "token": 1, "ticket": 2, "lifetime": 3, "resumed": 4, "count": 5, "frame limit": 6, "heartbeat": 7,
        "acknowledged": 8,
    }  # fmt: skip


def test_limits() -> None:
    """The numbers of the document are those of limits.py."""
    found = {row[0]: row[1] for row in table("what")}
    assert found == {
        "frame body before WELCOME": f"{limits.MAX_HANDSHAKE_BODY:,}",
        "frame body a u24 can say": f"{limits.MAX_FRAME_BODY:,}",
        "least frame limit in WELCOME": f"{limits.MIN_PACKET:,}",
        "frame limit by default": f"{limits.MAX_PACKET:,}",
        "credentials": f"{limits.MAX_CREDENTIALS:,}",
        "levels of nesting in credentials": f"{limits.MAX_CREDENTIALS_DEPTH}",
        "each name": f"{limits.MAX_NAME}",
        "text of CLOSE": f"{limits.MAX_CLOSE_TEXT:,}",
        "padding": f"{limits.AUTH_PADDING:,}",
        "RSA bits": f"{limits.MIN_RSA_BITS:,} to {limits.MAX_RSA_BITS:,}",
        "succession": f"{limits.MAX_SUCCESSION:,}",
        "statements in a succession": f"{limits.MAX_ROTATIONS}",
        "levels of nesting in data": f"{limits.MAX_DEPTH}",
        f"elements in a record above {limits.MAX_WALK_FREE:,} bytes": f"{limits.MAX_ELEMENTS:,}",
        "bytes of packets not acknowledged before `send` waits": f"{limits.MAX_UNACKED:,}",
        "bytes of packets not acknowledged before TOO_SLOW": f"{limits.HARD_UNACKED:,}",
        "PONGs that wait to be sent": f"{limits.MAX_CONTROLS}",
        "seconds that a session is kept without a connection": f"{limits.RESUME_SECONDS}",
        "seconds from accept to WELCOME": f"{limits.HANDSHAKE_SECONDS:.0f}",
        "seconds after one's own CLOSE": f"{limits.CLOSE_SECONDS:.0f}",
        "seconds until a CLOSE is answered, at most": f"{limits.ANSWER_SECONDS:.0f}",
        "milliseconds that RESTART and HANDOVER keep a client away, at most": f"{limits.MAX_AWAY_SECONDS * 1000:,.0f}",
    }


def test_the_library_has_no_other_actions() -> None:
    """Every action and header of the library that the sources name is in the document, and no other."""
    sources = "\n".join(file.read_text() for file in (ROOT / "securelink").rglob("*.py"))
    named = set(re.findall(r"""["'](~[a-z][\w-]*)["']""", sources))
    actions = {row[0].strip("`") for row in table("library's action")}
    headers = set(re.findall(r"whose `headers` have the key `(~[\w-]+)`", DOCUMENT))
    assert actions | headers == named
    assert not actions & headers


def test_the_values_of_error() -> None:
    """The reasons that a RequestFailed can have are those that the document lists."""
    listed = {row[0].strip('`"') for row in table("error")}
    assert listed == {"refused", *_FAILURES}


def test_the_encodings_that_people_pass_on() -> None:
    """A fingerprint and an invite, made here as the document says, are those of the library."""
    identity = Identity.generate()
    numbers = identity.public.to_rsa()

    def mpint(number: int) -> bytes:
        return string(number.to_bytes(number.bit_length() // 8 + 1))

    def string(data: bytes) -> bytes:
        return len(data).to_bytes(4) + data

    digest = hashlib.sha256(string(b"ssh-rsa") + mpint(numbers.e) + mpint(numbers.n)).digest()
    fingerprint = "SHA256:" + base64.b64encode(digest).decode().rstrip("=")
    assert fingerprint == identity.public.fingerprint
    key = "SHA256:" + base64.urlsafe_b64encode(digest).decode().rstrip("=")
    token = "01234567-89ab-4def-8123-456789abcdef"
    for host in ("game.example", "192.168.1.40", "[fe80::1]"):
        for query in (f"key={key}", f"key={key}&token={token}", f"token={token}&key={key}"):
            link = f"securelink://{host}:5050/?{query}"
            invite = Invite.parse(link)
            assert (invite.host, invite.port) == (host.strip("[]"), 5050)
            assert invite.fingerprint == fingerprint
            assert invite.token == (token if "token" in query else None)
        for path in (key, f"{key}/{token}"):
            invite = Invite.parse(f"securelink://{host}:5050/{path}")
            assert str(invite) == f"securelink://{host}:5050/{path}"
            assert invite.fingerprint == fingerprint
            assert invite.token == (token if "/" in path else None)
    for wrong in ("/x?", "/?", "/?more=1&", "/#?"):
        with pytest.raises(ConfigError):
            Invite.parse(f"securelink://game.example:5050{wrong}key={key}&key={key}")


@pytest.mark.parametrize(
    "words",
    [
        limits.MAGIC.hex(" "),
        f'"{crypto.LABEL_PREFIX.decode()}"',
        key_schedule.SERVER_SIGNATURE.decode(),
        key_schedule.CLIENT_SIGNATURE.decode(),
        f"after {limits.ACK_RECORDS} records, {limits.ACK_BYTES // 1024} KiB or",
        f"or {limits.ACK_SECONDS * 1000:.0f} ms",
        f"fewer than {limits.ACK_FEW_RECORDS} records may wait up to {limits.ACK_FEW_SECONDS:.0f} s",
        f"2^{limits.UPDATE_RECORDS.bit_length() - 1} records, 2^{limits.UPDATE_BYTES.bit_length() - 1} bytes",
        f"{limits.UPDATE_FLOOD_RECORDS:,} records (KEY_UPDATE included)",
        f"{limits.MIN_HEARTBEAT * 1000:,.0f} to {limits.MAX_HEARTBEAT * 1000:,.0f} ms",
        f"{limits.SILENCE_FACTOR} heartbeats",
        f"str of 1 to {limits.MAX_ACTION} characters",
        f"a map of more than {limits.MAX_NUMBER_KEYS:,} entries",
        f"version {limits.PROTOCOL_VERSION}",
    ],
)
def test_numbers_in_the_text(words: str) -> None:
    """Numbers that stand in sentences are those of the code as well."""
    assert words in " ".join(DOCUMENT.split())


def test_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key schedule uses the labels of the document and no other."""
    used: set[str] = set()
    real = crypto.hkdf_expand_label

    def noted(secret: bytes, label: bytes, context: bytes, length: int, *rest: bytes) -> bytes:
        used.add(label.decode())
        return real(secret, label, context, length, *rest)

    monkeypatch.setattr(crypto, "hkdf_expand_label", noted)
    early = key_schedule.handshake_secrets(bytes(64), bytes(32))
    late = key_schedule.application_secrets(early.handshake, bytes(32))
    key_schedule.finished(early.server, bytes(32))
    key_schedule.traffic_keys(key_schedule.next_traffic_secret(late.client))
    psk = key_schedule.ticket_psk(key_schedule.resumption_secret(late.master, bytes(32)), bytes(32))
    key_schedule.binder(psk, bytes(32))
    section = DOCUMENT.split("## 6. ")[1].split("## 7. ")[0]
    assert used == set(re.findall(r'"([a-z ]+)"', section))
