"""Which encryption policies and key policies fit together, and what both sides are told when they do not."""

from __future__ import annotations

import pytest
from engines import Pair, split_frames

from securelink.codes import Code, code_text
from securelink.errors import HandshakeError, PeerIncompatible, Refused
from securelink.keys import Identity
from securelink.protocol import Alerted, Closed, PlaintextChosen, ServerVerified, State, refusal
from securelink.wire.fields import Kind, Mode
from securelink.wire.messages import Wanted

OFF, OPTIONAL, REQUIRED = Mode.OFF, Mode.OPTIONAL, Mode.REQUIRED


@pytest.mark.parametrize(
    ("client_mode", "server_mode", "encrypted"),
    [
        (REQUIRED, REQUIRED, True),
        (REQUIRED, OPTIONAL, True),
        (OPTIONAL, REQUIRED, True),
        (OPTIONAL, OPTIONAL, True),
        (OPTIONAL, OFF, False),
        (OFF, OPTIONAL, False),
        (OFF, OFF, False),
    ],
)
def test_policies_that_agree(
    client_mode: Mode, server_mode: Mode, encrypted: bool, identity: Identity
) -> None:
    """Encrypted wherever both can; plaintext only where one has it off and the other allows it."""
    pair = Pair(identity, client_mode=client_mode, server_mode=server_mode).run()
    assert pair.is_open
    assert pair.client.encrypted is pair.server.encrypted is encrypted
    first = pair.items["client"][0]
    assert isinstance(first, ServerVerified if encrypted else PlaintextChosen)
    kinds = {frame[0] for frame in split_frames(bytes(pair.sent["server"]))[1:]}
    assert kinds == {Kind.SEALED if encrypted else Kind.PLAIN}


@pytest.mark.parametrize(
    ("client_mode", "server_mode", "code"),
    [
        (REQUIRED, OFF, Code.ENCRYPTION_OFF),
        (OFF, REQUIRED, Code.ENCRYPTION_REQUIRED),
    ],
)
def test_policies_that_contradict(
    client_mode: Mode, server_mode: Mode, code: Code, identity: Identity
) -> None:
    """Required against off is a clear error on both sides, and the client learns which way round."""
    pair = Pair(identity, client_mode=client_mode, server_mode=server_mode).run()
    error = pair.failure("server")
    assert isinstance(error, PeerIncompatible)
    assert "same encryption= on both sides" in str(error)
    assert pair.items["client"] == [Alerted(code)]
    told = refusal(code, "")
    assert isinstance(told, PeerIncompatible)
    assert told.code == code
    assert "encryption=" in told.hint


@pytest.mark.parametrize("server_mode", [OPTIONAL, OFF])
def test_a_server_that_demands_client_keys_refuses_plaintext(
    server_mode: Mode, identity: Identity
) -> None:
    """Plaintext proves no key, so it cannot stand in for one."""
    pair = Pair(identity, client_mode=OFF, server_mode=server_mode, wanted=Wanted.REQUIRED).run()
    assert isinstance(pair.failure("server"), PeerIncompatible)
    assert pair.items["client"] == [Alerted(Code.ENCRYPTION_REQUIRED)]


def test_a_missing_client_key_is_refused(identity: Identity) -> None:
    """A client without a key is turned away, by a sealed CLOSE with the reason."""
    pair = Pair(identity, wanted=Wanted.REQUIRED).run()
    assert [type(error) for error in pair.errors] == [PeerIncompatible]
    assert pair.items["client"][-1] == Closed(Code.CLIENT_KEY_REQUIRED, "")
    assert pair.server.state is State.FAILED


def test_a_key_that_nobody_asked_for(identity: Identity, other_identity: Identity) -> None:
    """A client that shows a key to a server that wants none breaks the protocol."""
    pair = Pair(identity, wanted=Wanted.NO, client_identity=other_identity).run()
    assert "did not ask for" in str(pair.errors[0])
    assert pair.items["client"][-1] == Closed(Code.PROTOCOL, "")


@pytest.mark.parametrize(
    ("code", "error", "hint"),
    [
        (Code.NORMAL, Refused, ""),
        (Code.PROTOCOL, HandshakeError, ""),
        (Code.VERSION, PeerIncompatible, "update securelink"),
        (Code.ENCRYPTION_REQUIRED, PeerIncompatible, "encryption='required'"),
        (Code.ENCRYPTION_OFF, PeerIncompatible, "encryption='off'"),
        (Code.BUSY, HandshakeError, "try again later"),
        (Code.TIMEOUT, HandshakeError, ""),
        (Code.APPLICATION, PeerIncompatible, ""),
        (Code.REFUSED, Refused, ""),
        (Code.CLIENT_KEY_REQUIRED, Refused, "securelink keys create"),
        (Code.CLIENT_KEY_UNKNOWN, Refused, "securelink keys authorize"),
        (Code.SHUTDOWN, Refused, ""),
        (250, Refused, ""),
    ],
)
def test_what_a_refusal_becomes(code: int, error: type[HandshakeError], hint: str) -> None:
    """Each code of a server that turns us away becomes an error with words and, where there is one, a way on."""
    told = refusal(code, "")
    assert type(told) is error
    assert (told.code, told.message) == (code, code_text(code))
    assert hint in told.hint
    assert refusal(code, "in its own words").message == "in its own words"
