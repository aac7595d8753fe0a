"""Invites: a link gives back what it was made of, and nothing but a whole, plain link is one."""

from __future__ import annotations

import base64
import ipaddress
import string
import uuid
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from securelink.errors import ConfigError
from securelink.invite import Invite, is_invite
from securelink.keys import fingerprint_text
from securelink.limits import MAX_INVITE

DIGEST = bytes(range(200, 232))  # its base64 holds letters that base64url spells differently
FINGERPRINT = fingerprint_text(DIGEST)
KEY = "SHA256:" + base64.urlsafe_b64encode(DIGEST).decode().rstrip("=")
TOKEN = "3d6f4f9e-8f5c-4f0e-9d39-0c8f6f2f7a11"
LINK = f"securelink://game.example:5050/?key={KEY}"  # as 0.1.0 wrote them; still read
PLAIN = f"securelink://game.example:5050/{KEY}"  # as they are written

FEW = settings(max_examples=150, deadline=None)

labels = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=12)
names = st.builds(
    lambda parts, top: ".".join([*parts, top]),
    st.lists(labels, max_size=4),
    st.sampled_from(["example", "local", "a", "my_box", "xn--mnchen-3ya", "t1"]),
)
hosts = st.one_of(names, st.ip_addresses().map(str))
digests = st.binary(min_size=32, max_size=32)
tokens = st.none() | st.uuids(version=4).map(str)
invites = st.builds(Invite, hosts, st.integers(1, 65535), digests.map(fingerprint_text), tokens)


@FEW
@given(invites)
@example(Invite("::1", 1, FINGERPRINT, TOKEN))
@example(Invite("::ffff:1.2.3.4", 65535, FINGERPRINT))
def test_round_trip(invite: Invite) -> None:
    """Every invite is read back from its own link, and its link has one spelling."""
    link = str(invite)
    assert Invite.parse(link) == invite
    assert str(Invite.parse(link)) == link


@FEW
@given(st.text(st.characters(codec="utf-8"), max_size=80) | st.text(LINK + "&=%#@[]", max_size=80))
def test_any_text_is_an_invite_or_one_error(text: str) -> None:
    """Whatever is pasted gives an invite that stands for that text, or the documented error."""
    candidates = (text, LINK + text, "securelink://" + text, LINK[: len(text)] + text)
    for candidate in (*candidates, PLAIN + text, f"{PLAIN}/{text}"):
        try:
            invite = Invite.parse(candidate)
        except ConfigError:
            continue
        assert Invite.parse(str(invite)) == invite
        assert invite.fingerprint.startswith("SHA256:")


def test_the_link_as_documented() -> None:
    """The spelling is the documented one: this is what people hand around."""
    assert str(Invite("game.example", 5050, FINGERPRINT)) == PLAIN
    assert str(Invite("::1", 5050, FINGERPRINT, TOKEN)) == f"securelink://[::1]:5050/{KEY}/{TOKEN}"
    assert KEY != FINGERPRINT
    assert not set("+/=") & set(KEY)


@FEW
@given(invites)
def test_no_shell_reads_anything_into_an_invite(invite: Invite) -> None:
    """Without quotes it is one word of sh, cmd.exe and PowerShell; only the brackets of IPv6 have a meaning at all."""
    assert not set(str(invite)) & set("?&;|<>()$`\"' *#!%^={}~,@\\\t\n")


@FEW
@given(invites.filter(lambda invite: invite.token is not None))
def test_the_form_of_the_first_version_is_read(invite: Invite) -> None:
    """What people have in their mail goes on working."""
    base, key, token = str(invite).rsplit("/", 2)
    assert Invite.parse(f"{base}/?key={key}&token={token}") == invite


@pytest.mark.parametrize("link", [LINK, PLAIN], ids=["first version", "plain"])
@pytest.mark.parametrize(
    "pasted",
    [
        "  {}\n",
        "\t{}\r\n",
        "<{}>",
        "({})",
        "[{}]",
        "'{}'",
        '"{}"',
        "`{}`",
        "\u201c{}\u201d",
        "\u201e{}\u201c",
        "\u2018{}\u2019",
        "\u00ab{}\u00bb",
        "{}.",
        "{},",
        "\u201c{}.\u201d",
        "(<{}>).",
        "**{}**",
        "\ufeff{}\u200b",
        "\u2060{}\u00ad",
        "\u00a0{}\u3000",
    ],
)
def test_what_was_pasted_with_it_is_taken_out(link: str, pasted: str) -> None:
    """White space, quotes, brackets, a full stop and invisible characters around an invite change nothing."""
    assert Invite.parse(pasted.format(link)) == Invite("game.example", 5050, FINGERPRINT)
    assert is_invite(pasted.format(link))


@pytest.mark.parametrize("link", [f"{LINK}&token={TOKEN}", f"{PLAIN}/{TOKEN}"])
@pytest.mark.parametrize(
    "torn", ["\n", "\r\n", "\r", "\t", " ", "\u00a0", "\u2028", "\u200b", "\u00ad", "\n   "]
)
def test_a_line_break_inside_is_taken_out(link: str, torn: str) -> None:
    """Mail breaks long lines, wherever it likes."""
    whole = Invite("game.example", 5050, FINGERPRINT, TOKEN)
    for place in range(1, len(link)):
        assert Invite.parse(link[:place] + torn + link[place:]) == whole


@pytest.mark.parametrize(
    "text",
    [
        LINK.replace("/?", "?"),
        LINK.replace("securelink:", "SecureLink:"),
        PLAIN.replace("securelink:", "SecureLink:"),
        PLAIN.replace("game.example", "Game.EXAMPLE"),
    ],
)
def test_harmless_differences(text: str) -> None:
    """A missing slash and capital letters do not change it."""
    assert Invite.parse(text) == Invite("game.example", 5050, FINGERPRINT)


def test_parameters_in_any_order() -> None:
    """The order of the two parameters means nothing."""
    link = f"securelink://game.example:5050/?token={TOKEN}&key={KEY}"
    assert Invite.parse(link) == Invite("game.example", 5050, FINGERPRINT, TOKEN)


def test_an_ipv6_address_has_one_spelling() -> None:
    """Different spellings of one address make one invite, so a known server is found again."""
    long = Invite.parse(LINK.replace("game.example", "[0:0:0:0:0:0:0:1]"))
    assert long == Invite.parse(LINK.replace("game.example", "[::1]"))
    assert long.host == "::1"


BROKEN = {
    "empty": "",
    "only the scheme": "securelink://",
    "another scheme": LINK.replace("securelink:", "https:"),
    "scheme with one slash": LINK.replace("://", ":/"),
    "no scheme": LINK.removeprefix("securelink://"),
    "zero character": LINK + "\0",
    "escape character inside": LINK[:30] + "\x1b" + LINK[30:],
    "plain: nothing after the host": "securelink://game.example:5050",
    "plain: no key": "securelink://game.example:5050/",
    "plain: no key, a token": f"securelink://game.example:5050//{TOKEN}",
    "plain: token for a key": f"securelink://game.example:5050/{TOKEN}",
    "plain: key for a token": f"{PLAIN}/{KEY}",
    "plain: empty token": PLAIN + "/",
    "plain: token torn off": f"{PLAIN}/{TOKEN}"[:-1],
    "plain: token in capital letters": f"{PLAIN}/{TOKEN.upper()}",
    "plain: two tokens": f"{PLAIN}/{TOKEN}/{TOKEN}",
    "plain: slash at the end": f"{PLAIN}/{TOKEN}/",
    "plain: parameter behind it": f"{PLAIN}?token={TOKEN}",
    "plain: encryption off": f"{PLAIN}/{TOKEN}?encryption=off",
    "plain: another part": f"{PLAIN}/{TOKEN}/encryption:off",
    "plain: key with a name": f"securelink://game.example:5050/key={KEY}",
    "plain: key of another hash": PLAIN.replace("SHA256:", "MD5:"),
    "plain: key too short": PLAIN[:-1],
    "plain: key too long": PLAIN + "A",
    "plain: no port": PLAIN.replace(":5050", ""),
    "plain: user name": PLAIN.replace("game.", "anna@game."),
    "plain: letters that look alike": PLAIN.replace("game", "g\u0430me"),
    "letters that look alike": LINK.replace("game", "g\u0430me"),
    "full-width digits in the port": LINK.replace("5050", "\uff15050"),
    "fragment": LINK + "#top",
    "empty fragment": LINK + "#",
    "percent escape": LINK.replace("SHA256:", "SHA256%3A"),
    "user name": LINK.replace("game.", "anna@game."),
    "user name and password": LINK.replace("game.", "anna:secret@game."),
    "path": LINK.replace("/?", "/room?"),
    "two slashes": LINK.replace("/?", "//?"),
    "no host": LINK.replace("game.example", ""),
    "no port": LINK.replace(":5050", ""),
    "empty port": LINK.replace(":5050", ":"),
    "port 0": LINK.replace("5050", "0"),
    "port 65536": LINK.replace("5050", "65536"),
    "port with a zero in front": LINK.replace("5050", "05050"),
    "port with a sign": LINK.replace("5050", "+5050"),
    "port of another kind": LINK.replace("5050", "http"),
    "bare IPv6 address": LINK.replace("game.example", "::1"),
    "IPv4 address in brackets": LINK.replace("game.example", "[127.0.0.1]"),
    "name in brackets": LINK.replace("game.example", "[game.example]"),
    "half a bracket": LINK.replace("game.example", "[::1"),
    "not an IPv6 address": LINK.replace("game.example", "[::1::2]"),
    "IPv6 zone": LINK.replace("game.example", "[fe80::1%eth0]"),
    "empty label": LINK.replace("game.example", "game..example"),
    "label with a hyphen in front": LINK.replace("game.example", "-game.example"),
    "label of 64 letters": LINK.replace("game", "g" * 64),
    "name of 254 letters": LINK.replace("game.example", "a." * 126 + "aa"),
    "short IPv4 address": LINK.replace("game.example", "127.1"),
    "IPv4 address as a number": LINK.replace("game.example", "2130706433"),
    "IPv4 address out of range": LINK.replace("game.example", "256.1.1.1"),
    "IPv4 address with a zero in front": LINK.replace("game.example", "127.0.0.01"),
    "no query": LINK.partition("?")[0],
    "empty query": LINK.partition("?")[0] + "?",
    "no key": f"securelink://game.example:5050/?token={TOKEN}",
    "two keys": f"{LINK}&key={KEY}",
    "two tokens": f"{LINK}&token={TOKEN}&token={TOKEN}",
    "unknown parameter": LINK + "&encryption=off",
    "parameter in capital letters": LINK.replace("key=", "KEY="),
    "parameter without a value": LINK + "&token",
    "nothing behind an ampersand": LINK + "&",
    "semicolon": LINK + f";token={TOKEN}",
    "second question mark": LINK + f"?token={TOKEN}",
    "empty key": LINK.partition("=")[0] + "=",
    "key without its prefix": LINK.replace("SHA256:", ""),
    "key of another hash": LINK.replace("SHA256:", "MD5:"),
    "prefix in small letters": LINK.replace("SHA256:", "sha256:"),
    "key too short": LINK[:-1],
    "key too long": LINK + "A",
    "padded key": LINK + "=",
    "key in plain base64": f"securelink://game.example:5050/?key={FINGERPRINT}",
    "key with bits left over": LINK[:-1] + chr(ord(LINK[-1]) + 1),
    "empty token": LINK + "&token=",
    "token in capital letters": f"{LINK}&token={TOKEN.upper()}",
    "token in braces": f"{LINK}&token={{{TOKEN}}}",
    "token without hyphens": f"{LINK}&token={TOKEN.replace('-', '')}",
    "token too long": f"{LINK}&token={TOKEN}0",
    "uuid1 as token": f"{LINK}&token={uuid.UUID(TOKEN.replace('-4f0e-', '-1f0e-'))}",
    "token of another variant": f"{LINK}&token={TOKEN.replace('-9d39-', '-1d39-')}",
    "too long": LINK.replace("game.example", "a" * MAX_INVITE),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_invite(case: str) -> None:
    """A link that is torn, edited or ambiguous is refused with the way on, never repaired."""
    with pytest.raises(ConfigError) as caught:
        Invite.parse(BROKEN[case])
    assert caught.value.hint


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("another scheme", "begins with securelink://"),
        ("zero character", "a foreign letter or a control character"),
        ("letters that look alike", "a foreign letter or a control character"),
        ("plain: no key", "has no key"),
        ("plain: empty token", "not a uuid4"),
        ("plain: two tokens", "nothing after its token"),
        ("fragment", "no '#' and no '%'"),
        ("percent escape", "no '#' and no '%'"),
        ("user name", "no path and no user name"),
        ("no port", "needs a port"),
        ("bare IPv6 address", "is written in brackets"),
        ("no query", "has no key"),
        ("no key", "has no key"),
        ("unknown parameter", "other than key and token"),
        ("two keys", "more than one key"),
        ("key too short", "not a whole one"),
        ("key in plain base64", "'-' and '_'"),
        ("uuid1 as token", "not a uuid4"),
        ("too long", f"at most {MAX_INVITE} characters"),
    ],
)
def test_the_error_says_what_is_wrong(case: str, words: str) -> None:
    """Who pasted a bad link learns what is wrong with it, so they know what to ask for."""
    with pytest.raises(ConfigError) as caught:
        Invite.parse(BROKEN[case])
    assert words in caught.value.message


@pytest.mark.parametrize("end", range(len(LINK)))
def test_every_torn_link_is_refused(end: int) -> None:
    """No beginning of a link is a link: a client never goes on with half a key."""
    with pytest.raises(ConfigError):
        Invite.parse(LINK[:end])
    torn = f"{PLAIN}/{TOKEN}"[:end]
    if torn != PLAIN:
        with pytest.raises(ConfigError):
            Invite.parse(torn)


@pytest.mark.parametrize(
    ("host", "port", "fingerprint", "token"),
    [
        ("", 5050, FINGERPRINT, None),
        ("[::1]", 5050, FINGERPRINT, None),
        ("game example", 5050, FINGERPRINT, None),
        ("fe80::1%eth0", 5050, FINGERPRINT, None),
        ("game.example", 0, FINGERPRINT, None),
        ("game.example", True, FINGERPRINT, None),
        ("game.example", "5050", FINGERPRINT, None),
        ("game.example", 5050, KEY, None),
        ("game.example", 5050, "", None),
        ("game.example", 5050, FINGERPRINT, ""),
        ("game.example", 5050, FINGERPRINT, uuid.UUID(TOKEN)),
    ],
)
def test_an_invite_is_checked_when_made(host: Any, port: Any, fingerprint: Any, token: Any) -> None:
    """An invite that could not be read back cannot be made, so a server never hands one out."""
    with pytest.raises(ConfigError):
        Invite(host, port, fingerprint, token)


def test_the_longest_invite_fits() -> None:
    """The bound on links leaves room for the longest host, with a token."""
    longest = Invite(("a" * 63 + ".") * 3 + "a" * 61, 65535, FINGERPRINT, TOKEN)
    assert len(longest.host) == 253
    assert Invite.parse(str(longest)) == longest
    assert len(str(longest)) < MAX_INVITE


def test_the_token_stays_out_of_repr_and_errors() -> None:
    """Neither repr() nor any error of a torn link shows the token: both end in logs."""
    invite = Invite("game.example", 5050, FINGERPRINT, TOKEN)
    assert TOKEN not in repr(invite)
    assert "hidden" in repr(invite)
    assert "token=None" in repr(Invite("game.example", 5050, FINGERPRINT))
    for broken in (
        f"{LINK}&{TOKEN}",
        f"{LINK}&token={TOKEN}&{TOKEN}=",
        f"{LINK}&token={TOKEN}x",
        f"{LINK}&token={TOKEN}&token={TOKEN}",
        f"{LINK}&token={TOKEN}#",
        f"{PLAIN}/{TOKEN}x",
        f"{PLAIN}/{TOKEN}/{TOKEN}",
        f"{PLAIN}?{TOKEN}",
    ):
        with pytest.raises(ConfigError) as caught:
            Invite.parse(broken)
        assert TOKEN not in str(caught.value)


def test_telling_links_from_hosts() -> None:
    """Anything written as a link is treated as an invite, hosts and addresses are not."""
    assert is_invite(LINK)
    assert is_invite(f"  {LINK}")
    assert is_invite("http://game.example/")
    assert is_invite(PLAIN.removeprefix("securelink://"))
    for host in ("game.example", "192.168.1.40", str(ipaddress.ip_address("::1")), ""):
        assert not is_invite(host)


@pytest.mark.parametrize("text", [None, 5, b"securelink://", ["x"]])
def test_an_invite_is_text(text: Any) -> None:
    """What is no text is named as that."""
    with pytest.raises(ConfigError, match="an invite is a str"):
        Invite.parse(text)
