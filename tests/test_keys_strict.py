"""Whose files are believed: owners, folders on the way, and links."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from securelink import Client, Server
from securelink.auth import JoinTokens, Passwords
from securelink.errors import KeyFileError, StateError
from securelink.keys import Identity, files, fingerprint_text, load_or_create, strict
from securelink.keys.strict import believed_path
from securelink.state import SqliteStore, StateKeys
from securelink.tools.console.operators import Operators
from securelink.trust import AuthorizedClients, KnownServers
from securelink.trust.rotation import load_statements

ONE = fingerprint_text(bytes(32))
STRANGER = 12_345_678  # a user that no system has


def known_servers(folder: Path) -> None:
    """Ask for a server that was met before."""
    assert KnownServers(folder / "known_servers").get("localhost", 5050) == ONE


def authorized_clients(folder: Path) -> None:
    """Ask for a client that may enter."""
    assert AuthorizedClients(folder / "authorized_clients").allows(ONE) == "ada"


def join_tokens(folder: Path) -> None:
    """Look for join tokens."""
    assert len(JoinTokens(folder / "join_tokens.json").entries()) == 1


def passwords(folder: Path) -> None:
    """Look for users."""
    assert Passwords(folder / "passwords.json", cost=2).users() == ["ada"]


def operators(folder: Path) -> None:
    """Ask whether a key is an operator's."""
    hello = SimpleNamespace(fingerprint=ONE)
    authenticate = Operators(folder / "authorized_operators").admit(lambda hello: None)
    assert authenticate(hello) == "operator:ada"  # type: ignore[arg-type]


def private_key(folder: Path) -> None:
    """Load the server's key."""
    load_or_create(folder, "server")


def state_file(folder: Path) -> None:
    """Take over the sessions of a state file."""
    store = SqliteStore(folder / "state.db", StateKeys.load_or_make(folder))
    try:
        store.take_over()
    finally:
        store.close()


def statements(folder: Path) -> None:
    """Ask what an earlier key has said."""
    load_statements(folder, "server", load_or_create(folder, "server")[0].public)


USES = {
    "known_servers": known_servers,
    "authorized_clients": authorized_clients,
    "join_tokens.json": join_tokens,
    "passwords.json": passwords,
    "authorized_operators": operators,
    "server_private.pem": private_key,
    "server_rotation.json": statements,
    "state.db": state_file,
    "state.key": state_file,
}
each_file = pytest.mark.parametrize("name", USES)


@pytest.fixture
def keys(tmp_path: Path, identity: Identity) -> Path:
    """A folder within a folder, with a file of each kind."""
    folder = tmp_path / "shared" / "keys"
    identity.save(folder, "server")
    KnownServers(folder / "known_servers").remember("localhost", 5050, ONE)
    AuthorizedClients(folder / "authorized_clients").authorize(ONE, "ada")
    AuthorizedClients(folder / "authorized_operators").authorize(ONE, "ada")
    JoinTokens(folder / "join_tokens.json").create()
    Passwords(folder / "passwords.json", cost=2).add("ada", "correct horse")
    state_file(folder)
    files.create_files([files.NewFile(folder / "server_rotation.json", b"[]")])
    return folder


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """`foreign(path)` makes a file, folder or link belong to another user."""

    def give_away(path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, STRANGER, -1, follow_symlinks=False)
            return
        there, ours = os.lstat(path), strict._ours

        def judged(info: os.stat_result) -> bool:
            return ours(info) and (info.st_dev, info.st_ino) != (there.st_dev, there.st_ino)

        monkeypatch.setattr(strict, "_ours", judged)
        strict._walked.clear()  # it looks as before, for the owner is the same

    return give_away


def obey(hint: str) -> None:
    """Run the command in a hint, as its reader would."""
    command = hint.removeprefix("run: ").partition(";")[0]
    subprocess.run(shlex.split(command), check=True, timeout=60)


@each_file
def test_what_is_in_order_is_believed(keys: Path, name: str) -> None:
    """Files and folders of ours, which nobody else can write, are used."""
    keys.parent.chmod(0o755)
    USES[name](keys)


@each_file
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o707, 0o1703])
def test_a_folder_on_the_way_that_others_write(keys: Path, name: str, mode: int) -> None:
    """A folder above that others can write is refused, sticky or not; the command in the hint mends it."""
    keys.parent.chmod(mode)
    with pytest.raises(KeyFileError) as caught:
        USES[name](keys)
    assert f"other users can write in the folder {keys.parent} (mode {mode:04o})" in str(
        caught.value
    )
    assert ("the sticky bit does not help" in caught.value.message) == bool(mode & 0o1000)
    obey(caught.value.hint)
    USES[name](keys)


@each_file
def test_the_folder_itself(keys: Path, name: str) -> None:
    """So is the folder that the files are in."""
    keys.chmod(0o1777)
    with pytest.raises(KeyFileError, match="other users can write in the folder"):
        USES[name](keys)


@each_file
def test_a_folder_of_somebody_else(keys: Path, name: str, foreign: Callable[[Path], None]) -> None:
    """A folder on the way that another user owns is refused, though nobody else can write there."""
    foreign(keys.parent)
    with pytest.raises(KeyFileError, match=r"on the way to .* belongs to another user"):
        USES[name](keys)


@each_file
def test_a_file_of_somebody_else(keys: Path, name: str, foreign: Callable[[Path], None]) -> None:
    """A file of another user is refused, whatever its permissions say."""
    foreign(keys / name)
    with pytest.raises(KeyFileError, match=f"{name} belongs to another user"):
        USES[name](keys)


@each_file
def test_a_link_of_somebody_else(keys: Path, name: str, foreign: Callable[[Path], None]) -> None:
    """A link of another user is not followed, even to a file of ours: it could be an old one."""
    (keys / name).rename(keys / "old")
    (keys / name).symlink_to("old")
    USES[name](keys)
    foreign(keys / name)
    with pytest.raises(KeyFileError, match=r"the link .* belongs to another user"):
        USES[name](keys)


@each_file
def test_a_link_to_a_file_of_somebody_else(
    keys: Path, name: str, foreign: Callable[[Path], None]
) -> None:
    """A link of ours is as good as the file that it leads to: that is judged, as sshd does."""
    (keys / name).rename(keys / "old")
    (keys / name).symlink_to("old")
    foreign(keys / "old")
    with pytest.raises(KeyFileError, match="belongs to another user"):
        USES[name](keys)


@each_file
def test_a_link_that_leads_nowhere(keys: Path, name: str) -> None:
    """A dangling link is an error and never a file that was not written yet; nothing is written through it."""
    (keys / name).unlink()
    (keys / name).symlink_to(keys / "gone")
    with pytest.raises(KeyFileError, match=f"{name} is a link that leads nowhere"):
        USES[name](keys)
    with pytest.raises(KeyFileError):
        KnownServers(keys / name).remember("localhost", 1, ONE)
    assert not (keys / "gone").exists()


def test_a_link_to_a_folder_that_is_gone(keys: Path) -> None:
    """The same holds for a link anywhere on the way."""
    keys.rename(keys.with_name("elsewhere"))
    keys.symlink_to("gone")
    with pytest.raises(KeyFileError, match="is a link that leads nowhere"):
        KnownServers(keys / "known_servers").get("localhost", 5050)


def test_links_lead_through_checked_folders(keys: Path, tmp_path: Path) -> None:
    """Where a link leads is checked like the rest, also over `..` and absolute targets."""
    open_folder = tmp_path / "open"
    open_folder.mkdir()
    (open_folder / "mine").mkdir(mode=0o755)
    for target in (keys, Path("open/mine/../../shared/keys"), Path("shared/../shared/keys")):
        link = tmp_path / "link"
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        open_folder.chmod(0o755)
        assert believed_path(link / "known_servers") == keys / "known_servers"
        known_servers(link)
        open_folder.chmod(0o1777)
        if target.parts[0] == "open":
            with pytest.raises(KeyFileError, match=f"in the folder {open_folder}"):
                known_servers(link)


def test_links_in_a_circle(tmp_path: Path) -> None:
    """A circle of links is an error of the library."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(KeyFileError, match="lead in a circle"):
        KnownServers(tmp_path / "a").entries()


@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_what_is_missing_in_a_shared_folder_is_no_first_use(tmp_path: Path, mode: int) -> None:
    """Where others can take our files away, a missing one says nothing; and none is made there."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(mode)
    uses: list[Callable[[], object]] = [
        lambda: KnownServers(folder / "known_servers").get("localhost", 5050),
        lambda: KnownServers(folder / "new" / "known_servers").remember("localhost", 5050, ONE),
        lambda: JoinTokens(folder / "keys" / "join_tokens.json").create(),
        lambda: load_or_create(folder / "keys", "server"),
        lambda: Server("127.0.0.1", 0, keys=folder / "keys").start(),
        lambda: Client("127.0.0.1", 5050, keys=folder / "keys"),
    ]
    for use in uses:
        with pytest.raises(KeyFileError, match="other users can write in the folder"):
            use()
    assert os.listdir(folder) == []


def test_a_link_that_comes_after_the_look_is_not_followed(
    keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the way and the opening somebody may put a link there: it is refused, not read."""
    path = keys / "known_servers"
    real = believed_path

    def swapped(named: Path) -> Path:
        found = real(named)
        if named == path:
            path.rename(tmp_path / "another")
            path.symlink_to(tmp_path / "another")
        return found

    monkeypatch.setattr("securelink.keys.files.believed_path", swapped)
    with pytest.raises(KeyFileError, match=r"cannot read .*known_servers"):
        files.read_file(path, 1000)


def test_a_lock_is_no_link(keys: Path, tmp_path: Path) -> None:
    """A link in the place of a lock file is not followed, neither to create nor to lock what it points to."""
    lock = keys / "known_servers.lock"
    lock.unlink()
    lock.symlink_to(tmp_path / "made")
    with pytest.raises(KeyFileError, match=r"cannot lock .*known_servers\.lock"):
        KnownServers(keys / "known_servers").remember("localhost", 1, ONE)
    assert not (tmp_path / "made").exists()
    lock.unlink()
    os.mkfifo(lock)
    with pytest.raises(KeyFileError, match=r"known_servers\.lock is not a regular file"):
        KnownServers(keys / "known_servers").remember("localhost", 1, ONE)


def test_a_lock_of_somebody_else(keys: Path, foreign: Callable[[Path], None]) -> None:
    """Who owns the lock could keep us waiting forever."""
    foreign(keys / "known_servers.lock")
    with pytest.raises(KeyFileError, match=r"known_servers\.lock belongs to another user"):
        KnownServers(keys / "known_servers").remember("localhost", 1, ONE)


@pytest.mark.parametrize("name", ["state.db-wal", "state.db-journal", "state.db.lock"])
def test_what_lies_beside_a_state_file(
    keys: Path, name: str, foreign: Callable[[Path], None]
) -> None:
    """The journal of a process that was killed, and the lock, are believed like the file: SQLite asks nobody."""
    path = keys / name
    path.unlink(missing_ok=True)
    path.symlink_to(keys / "known_servers")
    before = (keys / "known_servers").read_bytes()
    with pytest.raises((KeyFileError, StateError)):
        state_file(keys)
    assert (keys / "known_servers").read_bytes() == before
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(KeyFileError):
        state_file(keys)
    path.unlink()
    path.touch(0o600)
    foreign(path)
    with pytest.raises(KeyFileError, match="belongs to another user"):
        state_file(keys)


def test_a_way_is_judged_once_as_long_as_it_looks_the_same(
    keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But looked at each time; and what does not show in its looks is asked each time: links, members of groups."""
    judged: list[str] = []
    judge = strict._others_write

    def counting(info: os.stat_result, folder: str) -> bool:
        judged.append(folder)
        return judge(info, folder)

    def judgements(path: Path) -> int:
        believed_path(path)
        judged.clear()
        for _ in range(3):
            believed_path(path)
        return len(judged)

    path = keys / "known_servers"
    monkeypatch.setattr(strict, "_others_write", counting)
    assert judgements(path) == judgements(keys / "missing") == 0
    keys.chmod(0o777)
    with pytest.raises(KeyFileError, match="other users can write in the folder"):
        believed_path(path)
    keys.chmod(0o700)
    assert judgements(path) == 0
    if (
        os.geteuid() == 0
    ):  # what is in order for one user is not for the next that the process becomes
        os.chown(keys, STRANGER, -1)
        with monkeypatch.context() as patch:
            patch.setattr(os, "geteuid", lambda: STRANGER)
            assert judgements(path) == 0
        with pytest.raises(KeyFileError, match="belongs to another user"):
            believed_path(path)
        os.chown(keys, 0, -1)
    link = tmp_path / "link"
    link.symlink_to(keys)
    assert judgements(link / "known_servers") > 3
    monkeypatch.setattr(strict, "_private_group", lambda uid, gid: True)
    keys.chmod(0o770)
    assert judgements(path) > 3


# --- the exceptions -------------------------------------------------------------------------------


def test_the_systems_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, foreign: Callable[[Path], None]
) -> None:
    """In the system's own folder for temporary files a folder of ours is believed, and a file is not."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    temporary.chmod(0o1777)
    mine = temporary / "mine"
    mine.mkdir(mode=0o700)
    is_temporary = strict._is_temporary
    monkeypatch.setattr(
        strict,
        "_is_temporary",
        lambda folder, info: folder == str(temporary) or is_temporary(folder, info),
    )
    assert believed_path(mine / "known_servers") == mine / "known_servers"
    mine.chmod(0o755)
    assert believed_path(mine / "new" / "known_servers") == mine / "new" / "known_servers"
    for path in (temporary / "known_servers", temporary / "file"):
        (temporary / "file").touch()
        with pytest.raises(KeyFileError, match=r"sticky bit does not help"):
            believed_path(path)
    mine.chmod(0o1777)
    with pytest.raises(KeyFileError, match=f"in the folder {mine} "):
        believed_path(mine / "known_servers")
    mine.chmod(0o700)
    foreign(mine)
    with pytest.raises(KeyFileError, match=f"the folder {mine}, on the way"):
        believed_path(mine / "known_servers")


def test_what_is_a_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the places that systems have for it, of root, and sticky: no folder that merely looks like one."""

    def info(mode: int = 0o41777, uid: int = 0) -> os.stat_result:
        return os.stat_result((mode, 1, 1, 2, uid, 0, 0, 0, 0, 0))

    monkeypatch.setenv("TMPDIR", "/scratch/")
    for folder in ("/tmp", "/var/tmp", "/scratch"):
        assert strict._is_temporary(folder, info())
        assert not strict._is_temporary(folder, info(mode=0o40777))
        assert not strict._is_temporary(folder, info(uid=STRANGER))
    monkeypatch.delenv("TMPDIR")
    for folder in ("/scratch", "/", "/tmp/shared", "/home/ada/tmp"):
        assert not strict._is_temporary(folder, info())


def test_who_is_ours() -> None:
    """Root and the user of this process, and nobody else."""

    def owned_by(uid: int) -> os.stat_result:
        return os.stat_result((0o100600, 1, 1, 1, uid, 0, 0, 0, 0, 0))

    assert strict._ours(owned_by(0))
    assert strict._ours(owned_by(os.geteuid()))
    assert not strict._ours(owned_by(STRANGER))


@pytest.mark.parametrize(
    ("primary", "name", "members", "eves", "private"),
    [
        (1000, "ada", [], 100, True),
        (1000, "ada", ["ada"], 100, True),
        (1000, "ada", ["eve"], 100, False),
        (1000, "ada", [], 1000, False),
        (1000, "staff", [], 100, False),
        (100, "ada", [], 100, False),
    ],
)
def test_private_groups(
    monkeypatch: pytest.MonkeyPatch,
    primary: int,
    name: str,
    members: list[str],
    eves: int,
    private: bool,
    tmp_path: Path,
) -> None:
    """A folder that its group may write passes only if that group has nobody in it but the owner."""
    user = SimpleNamespace(pw_uid=1000, pw_gid=primary, pw_name="ada")
    eve = SimpleNamespace(pw_uid=1001, pw_gid=eves, pw_name="eve")
    group = SimpleNamespace(gr_name=name, gr_mem=members)
    strict._whose_primary.cache_clear()
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: user)
    monkeypatch.setattr(pwd, "getpwall", lambda: [user, eve])
    monkeypatch.setattr(grp, "getgrgid", lambda gid: group)
    folder = str(tmp_path)
    adas = os.stat_result((0o40775, 1, 1, 2, 1000, 1000, 0, 0, 0, 0))
    try:
        assert strict._others_write(adas, folder) != private
        assert strict._others_write(os.stat_result((0o40775, 1, 1, 2, 0, 0, 0, 0, 0, 0)), folder)
        # With an access control list the mode says nothing of who else may write.
        monkeypatch.setattr(os, "listxattr", lambda path: ["system.posix_acl_access"])
        assert strict._others_write(adas, folder)
        assert not strict._others_write(
            os.stat_result((0o40755, 1, 1, 2, 1000, 1000, 0, 0, 0, 0)), folder
        )
    finally:
        strict._whose_primary.cache_clear()
