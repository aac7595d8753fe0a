"""`securelink token ...`, as its users type it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from commands import UUID4, fails, run, succeeds

from securelink import Client, Identity, Invite, JoinTokens, Refused, Server
from securelink.limits import INVITE_SECONDS


@pytest.fixture
def folder(tmp_path: Path, identity: Identity) -> Path:
    """A keys folder with a server's key."""
    identity.save(tmp_path / "keys", "server")
    return tmp_path / "keys"


def test_create_prints_the_token_once(tmp_path: Path) -> None:
    """Standard output is the token alone, the terms go to standard error, and the file holds a hash only."""
    result = run("token", "create", "--user", "ann", "--lifetime", "2h", "--keys", tmp_path)
    token = result.stdout.strip()
    assert UUID4.fullmatch(token)
    assert result.stderr == "for ann, one use, for 2 h; it is shown only now\n"
    assert token not in (tmp_path / "join_tokens.json").read_text()
    assert token not in succeeds("token", "list", "--keys", tmp_path)


def test_a_token_alone_ends_like_an_invite(folder: Path) -> None:
    """Without `--lifetime` both end after 7 days, and the command says so; `ever` has to be said."""
    for invite in ((), ("--host", "127.0.0.1")):
        for lifetime, told, ends in (
            ((), "for a guest, one use, for 7 d;", INVITE_SECONDS),
            (("--lifetime", "ever"), "for a guest, one use, without an end;", None),
        ):
            before = time.time()
            result = run("token", "create", *invite, *lifetime, "--keys", folder)
            assert told in result.stderr
            entry = JoinTokens(folder / "join_tokens.json").entries()[-1]
            if ends is None:
                assert entry.expires is None
            else:
                assert entry.expires is not None
                assert before <= entry.expires - ends <= time.time()


def test_an_invite_admits_as_the_user(folder: Path) -> None:
    """What `token create --host --port` prints is all a client needs, once."""
    with Server("127.0.0.1", 0, keys=folder, authenticate="tokens") as server:
        server.on("who", lambda session, packet: session.user)
        port = server.address[1]
        command = ("token", "create", "--user", "ann", "--host", "127.0.0.1", "--port", port)
        link = succeeds(*command, "--keys", folder).strip()
        assert Invite.parse(link).fingerprint == server.fingerprint
        with Client(link) as client:
            assert client.request("who") == "ann"
        with pytest.raises(Refused, match="used up"):
            Client(link).connect()


def test_an_invite_is_made_of_a_key_that_only_its_owner_could_write(folder: Path) -> None:
    """Whoever can write the public key would choose the key that all those who are invited trust."""
    command = ("token", "create", "--host", "game.example", "--keys", folder)
    assert succeeds(*command)
    (folder / "server_public.pem").chmod(0o666)
    assert "others can write it" in fails(*command) or "other users" in fails(*command)


def test_list_says_what_the_tokens_are_for(tmp_path: Path) -> None:
    """Each token has a line: id, user, state, uses, end and note."""
    run(
        "token",
        "create",
        "--user",
        "ann",
        "--uses",
        "3",
        "--note",
        "the dice",
        "--lifetime",
        "ever",
        "--keys",
        tmp_path,
    )
    run("token", "create", "--uses", "any", "--lifetime", "30m", "--keys", tmp_path)
    header, first, second = succeeds("token", "list", "--keys", tmp_path).splitlines()
    assert header.split("  ")[0] == "ID"
    assert first.split()[1:] == ["ann", "valid", "3", "never", "the", "dice"]
    assert second.split()[1].startswith("guest-")
    assert second.split()[2:] == ["valid", "any", "in", "30", "m"]


def test_list_of_nothing_is_no_error(tmp_path: Path) -> None:
    """A folder without tokens has an empty list."""
    result = run("token", "list", "--keys", tmp_path)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "there are no join tokens in" in result.stderr


@pytest.mark.parametrize("by_id", [False, True])
def test_revoke_by_token_or_id(tmp_path: Path, by_id: bool) -> None:
    """A revoked token is listed as such, and cannot be revoked again."""
    token = succeeds("token", "create", "--keys", tmp_path).strip()
    (entry,) = JoinTokens(tmp_path / "join_tokens.json").entries()
    name = entry.id if by_id else token
    assert succeeds("token", "revoke", name, "--keys", tmp_path) == "revoked\n"
    assert " revoked " in succeeds("token", "list", "--keys", tmp_path)
    errors = fails("token", "revoke", name, "--keys", tmp_path)
    assert "there is no valid join token of that name" in errors
    assert token not in errors


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--uses", "0"], "'0' is no number of uses"),
        (["--uses", "-1"], "'-1' is no number of uses"),
        (["--uses", "often"], "'often' is no number of uses"),
        (["--lifetime", "soon"], "'soon' is no duration; write 90s, 30m, 2h or 7d"),
        (["--lifetime", "0h"], "'0h' is no duration"),
        (["--lifetime", "2"], "'2' is no duration"),
        (["--port", "5050"], "--port goes with --host"),
    ],
)
def test_create_explains_misuse(tmp_path: Path, options: list[str], words: str) -> None:
    """What cannot be meant is refused before a token is made."""
    assert words in fails("token", "create", *options, "--keys", tmp_path, code=2)
    assert not (tmp_path / "join_tokens.json").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "game.example"], "an invite holds the fingerprint of the server's key"),
        (["--user", " "], "a user's name is"),
        (["--note", "x" * 300], "a note is up to"),
    ],
)
def test_create_explains_what_it_lacks(tmp_path: Path, options: list[str], words: str) -> None:
    """Nothing is made when the rest is not there, or is not what it should be."""
    assert words in fails("token", "create", *options, "--keys", tmp_path)
    assert not (tmp_path / "join_tokens.json").exists()


def test_an_invite_to_an_impossible_host_makes_no_token(folder: Path) -> None:
    """A token that could not be printed would be lost."""
    assert "host" in fails("token", "create", "--host", "no host", "--keys", folder)
    assert not (folder / "join_tokens.json").exists()


def test_a_damaged_file_of_tokens_is_an_error(tmp_path: Path) -> None:
    """It is named, never taken for an empty one."""
    (tmp_path / "join_tokens.json").write_text("{")
    for command in (["create"], ["list"], ["revoke", "12345678"]):
        assert "join_tokens.json" in fails("token", *command, "--keys", tmp_path)
    assert (tmp_path / "join_tokens.json").read_text() == "{"
