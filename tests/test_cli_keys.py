"""`securelink keys ...`, as its users type it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from commands import fails, succeeds
from terminal import Terminal

from securelink import AuthorizedClients, Identity, KnownServers, PublicKey


@pytest.fixture
def folder(tmp_path: Path, identity: Identity, other_identity: Identity) -> Path:
    """A keys folder with the keys named server and client."""
    identity.save(tmp_path / "keys", "server")
    other_identity.save(tmp_path / "keys", "client")
    return tmp_path / "keys"


def test_create_writes_a_pair_and_prints_its_fingerprint(tmp_path: Path) -> None:
    """Both files are there, the private one for its owner only, and the fingerprint is that of the key."""
    text = succeeds("keys", "create", "--directory", tmp_path / "new", "--bits", 2048)
    private, public = tmp_path / "new/server_private.pem", tmp_path / "new/server_public.pem"
    assert f"private key  {private}" in text
    assert f"public key   {public}" in text
    assert f"fingerprint  {Identity.load(private).fingerprint}" in text
    assert PublicKey.load(public).bits == 2048
    if os.name == "posix":
        assert stat.S_IMODE(private.stat().st_mode) == 0o600


def test_create_never_overwrites(folder: Path) -> None:
    """A second key of the name is refused, and the hint names the option."""
    before = (folder / "server_private.pem").read_bytes()
    errors = fails("keys", "create", "--keys", folder)
    assert "exists already and is never overwritten" in errors
    assert "hint: choose another name with --name" in errors
    assert (folder / "server_private.pem").read_bytes() == before


def test_create_asks_for_a_passphrase_and_shows_none(tmp_path: Path) -> None:
    """The passphrase encrypts the key, is asked for twice, and is printed nowhere."""
    arguments = ("keys", "create", "--keys", tmp_path, "--bits", 2048, "--passphrase")
    text = succeeds(*arguments, typed="open sesame\nopen sesame\n")
    assert "open sesame" not in text
    path = tmp_path / "server_private.pem"
    assert b"ENCRYPTED" in path.read_bytes()
    assert Identity.load(path, "open sesame").fingerprint in text


@pytest.mark.parametrize("name", ["", "a/b", ".hidden", "with space"])
def test_create_refuses_names_that_are_no_file_names(tmp_path: Path, name: str) -> None:
    """A name becomes part of a file name, and nothing else."""
    errors = fails("keys", "create", "--keys", tmp_path, "--name", name)
    assert "cannot be the name of a key" in errors


@pytest.mark.parametrize("key", ["server", "keys/server_public.pem", "keys/server_private.pem"])
def test_show_finds_a_key_by_name_and_by_file(
    folder: Path, identity: Identity, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name is looked up in the folder; a path is a path, be it the private or the public key."""
    monkeypatch.chdir(folder.parent)
    text = succeeds("keys", "show", key)
    assert f"fingerprint  {identity.fingerprint}" in text
    assert "2048 bits" in text
    assert "PRIVATE" not in text


def test_show_prints_the_public_key_in_three_forms(folder: Path, identity: Identity) -> None:
    """PEM, PKCS#1 and OpenSSH are the same key, and nothing else is printed."""
    for form in ("pem", "pkcs1", "openssh"):
        text = succeeds("keys", "show", "server", "--keys", folder, "--format", form)
        assert PublicKey.from_pem(text.encode()) == identity.public


def test_show_reads_a_file_of_ssh_keygen(tmp_path: Path) -> None:
    """A key of another program is shown with the fingerprint that this program prints."""
    assert shutil.which("ssh-keygen"), "the tests need ssh-keygen"
    path = tmp_path / "id_rsa"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", path], check=True
    )
    line = subprocess.run(
        ["ssh-keygen", "-lf", path], check=True, capture_output=True, text=True
    ).stdout
    assert line.split()[1] in succeeds("keys", "show", f"{path}.pub")


def test_show_of_an_encrypted_key_asks_when_told_to(tmp_path: Path, identity: Identity) -> None:
    """Without its public file an encrypted key needs --passphrase, which the hint says."""
    private, public = identity.save(tmp_path, "server", "open sesame")
    public.unlink()
    errors = fails("keys", "show", private)
    assert "protected by a passphrase" in errors
    assert "hint: add --passphrase" in errors
    text = succeeds("keys", "show", private, "--passphrase", typed="open sesame\n")
    assert identity.fingerprint in text
    assert "wrong passphrase" in fails("keys", "show", private, "--passphrase", typed="open up\n")


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("nobody", "there is no key named 'nobody'"),
        ("./nothing.pem", "it does not exist"),
        ("./known.txt", "damaged, or not a public key"),
    ],
)
def test_show_says_what_is_wrong(
    folder: Path, key: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unknown names list the known ones; files that are no keys are named."""
    monkeypatch.chdir(folder)
    (folder / "known.txt").write_text("hello")
    errors = fails("keys", "show", key, "--keys", folder)
    assert words in errors
    assert ("hint: there are: client, server" in errors) == (key == "nobody")


def test_show_refuses_a_key_that_others_can_read(folder: Path) -> None:
    """The hint is the command that mends it."""
    if os.name != "posix":
        pytest.fail("this promise is about POSIX permissions")
    private = folder / "server_private.pem"
    private.chmod(0o644)
    errors = fails("keys", "show", private)
    assert f"hint: run: chmod 600 {private}" in errors


def test_list_shows_keys_servers_and_clients(
    folder: Path, identity: Identity, other_identity: Identity
) -> None:
    """One look at the folder: keys, whom we trust, whom we let in; every fingerprint whole."""
    (folder / "client_private.pem").unlink()
    KnownServers(folder / "known_servers").remember("game.example", 5050, identity.fingerprint)
    AuthorizedClients(folder / "authorized_clients").authorize(other_identity.fingerprint, "ann")
    lines = [line.split() for line in succeeds("keys", "list", "--keys", folder).splitlines()]
    assert ["server", "2048", identity.fingerprint, "yes"] in lines
    assert ["client", "2048", other_identity.fingerprint, "no"] in lines
    assert ["game.example", "5050", identity.fingerprint] in [line[:3] for line in lines]
    assert ["ann", other_identity.fingerprint] in [line[:2] for line in lines]


def test_list_of_nothing_says_how_to_begin(tmp_path: Path) -> None:
    """An empty or missing folder is no error."""
    assert succeeds("keys", "list", "--keys", tmp_path / "missing") == ""


def test_list_goes_on_after_a_damaged_key(folder: Path, other_identity: Identity) -> None:
    """One bad file does not hide the others."""
    (folder / "server_public.pem").write_text("damaged")
    text = succeeds("keys", "list", "--keys", folder)
    assert "server  ?" in text
    assert other_identity.fingerprint in text


def test_trust_and_forget_a_server(tmp_path: Path, identity: Identity) -> None:
    """Trusting writes the key down, forgetting takes it out again."""
    known = KnownServers(tmp_path / "known_servers")
    where = ("game.example", 5050)
    text = succeeds("keys", "trust", *where, identity.fingerprint, "--keys", tmp_path)
    assert "game.example port 5050 is trusted" in text
    assert known.get(*where) == identity.fingerprint
    assert "is forgotten" in succeeds("keys", "forget", *where, "--keys", tmp_path)
    assert known.get(*where) is None
    assert "is not in" in fails("keys", "forget", *where, "--keys", tmp_path)


def test_trust_does_not_replace_a_key(
    tmp_path: Path, identity: Identity, other_identity: Identity
) -> None:
    """Another key for a known server is refused: forgetting is a step of its own."""
    where = ("game.example", 5050)
    succeeds("keys", "trust", *where, identity.fingerprint, "--keys", tmp_path)
    errors = fails("keys", "trust", *where, other_identity.fingerprint, "--keys", tmp_path)
    assert "has another key for game.example port 5050" in errors
    assert "hint:" in errors
    assert KnownServers(tmp_path / "known_servers").get(*where) == identity.fingerprint


def test_trust_takes_whole_fingerprints_only(tmp_path: Path, identity: Identity) -> None:
    """A fingerprint that was cut in copying is refused."""
    cut = identity.fingerprint[:-1]
    assert "is not a key fingerprint" in fails("keys", "trust", "a", 1, cut, "--keys", tmp_path)


def test_a_damaged_trust_file_is_named(tmp_path: Path, identity: Identity) -> None:
    """File and line are in the error, and nothing is added to a file that cannot be read."""
    path = tmp_path / "known_servers"
    path.write_text("# mine\ngame.example 5050\n")
    errors = fails("keys", "trust", "b.example", 1, identity.fingerprint, "--keys", tmp_path)
    assert f"{path}:2:" in errors
    assert path.read_text() == "# mine\ngame.example 5050\n"


def test_authorize_and_revoke_a_client(folder: Path, other_identity: Identity) -> None:
    """By fingerprint or by file; revoked by name or by fingerprint."""
    authorized = AuthorizedClients(folder / "authorized_clients")
    for key, revoked in (
        (other_identity.fingerprint, "ann"),
        (folder / "client_public.pem", other_identity.fingerprint),
    ):
        text = succeeds("keys", "authorize", key, "--as", "ann", "--keys", folder)
        assert f"ann is authorized with {other_identity.fingerprint}" in text
        assert authorized.allows(other_identity.fingerprint) == "ann"
        assert "is revoked" in succeeds("keys", "revoke", revoked, "--keys", folder)
        assert authorized.allows(other_identity.fingerprint) is None
    assert "ann is not in" in fails("keys", "revoke", "ann", "--keys", folder)


def test_authorize_needs_a_public_key_and_a_name(folder: Path) -> None:
    """The private key is not handed out, and a client without a name is misuse."""
    errors = fails(
        "keys", "authorize", folder / "client_private.pem", "--as", "a", "--keys", folder
    )
    assert "is a private key" in errors
    assert "missing option '--as'" in fails("keys", "authorize", "SHA256:x", code=2)
    assert "is not a key fingerprint" in fails("keys", "authorize", "SHA256:x", "--as", "a")


def test_a_fingerprint_from_a_shared_folder_is_not_shown(folder: Path) -> None:
    """Where others can put a key in the place of ours, neither `show` nor `list` tells its fingerprint."""
    folder.chmod(0o1777)
    for words in (("show", "server"), ("list",)):
        errors = fails("keys", *words, "--keys", folder)
        assert f"other users can write in the folder {folder}" in errors
        assert "SHA256:" not in errors


@pytest.mark.parametrize("columns", [80, 140])
@pytest.mark.parametrize("no_color", [True, False])
def test_tables_never_fold_a_fingerprint(tmp_path: Path, columns: int, no_color: bool) -> None:
    """At a terminal of any width each fingerprint is one word on one line, in colour only if that is wanted."""
    fingerprint = "SHA256:" + "A" * 43
    for host in ("short", "a-very-long-name-of-a-host.of-some-department.example.org"):
        succeeds("keys", "trust", host, 5050, fingerprint, "--keys", tmp_path)
    succeeds("keys", "authorize", fingerprint, "--operator", "--as", "ann", "--keys", tmp_path)
    command = ("-m", "securelink", "keys", "list", "--keys", tmp_path)
    environment = {"NO_COLOR": "1"} if no_color else {}
    with Terminal(*command, folder=tmp_path, columns=columns, environment=environment) as person:
        assert person.ends() == 0
        assert person.output.count(fingerprint) == 3
        assert all(len(line) <= columns for line in person.output.splitlines())
        assert ("\x1b" in person.raw) is not no_color


@pytest.mark.parametrize("key", ["client", "nonsense", "no/such/file.pem"])
def test_authorize_says_what_a_fingerprint_is(tmp_path: Path, key: str) -> None:
    """Who gives something else is told where the fingerprint is printed; a name of the folder's own works."""
    errors = fails("keys", "authorize", key, "--as", "ann", "--keys", tmp_path)
    assert "give the fingerprint, SHA256:..., that 'securelink keys show client' prints" in errors


def test_authorize_takes_a_name_of_the_folder(tmp_path: Path, identity: Identity) -> None:
    """On one machine there is nothing to copy."""
    identity.save(tmp_path, "client")
    shown = succeeds("keys", "authorize", "client", "--as", "ann", "--keys", tmp_path)
    assert identity.fingerprint in shown


def test_errors_are_in_colour_only_where_it_is_wanted(tmp_path: Path) -> None:
    """NO_COLOR and a dumb terminal are honoured."""
    command = ("-m", "securelink", "keys", "show", "--keys", tmp_path)
    for environment, colour in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        with Terminal(*command, folder=tmp_path, environment=environment) as person:
            assert person.ends() == 1
            assert "error: there is no key named 'server'" in person.output
            assert ("\x1b" in person.raw) is colour
