"""What is logged is safe to show: nobody forges lines or reaches the terminal through an exception."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import WAIT, until
from together import arrived, channel_of, joined, link_of, serving

from securelink import Client, Identity, RequestFailed, Session
from securelink.app.collect import CaughtErrors
from securelink.limits import LOGGED_FAILURES
from securelink.logs.tracebacks import traceback_text
from securelink.streams.base import BREAK

FORGED = "[Server INFO] forged"
# A new line, a carriage return, escapes of terminals (also as one C1 character), what ends lines in Unicode, what turns
# text around, a NUL and half a character.
EVIL = f"a\n{FORGED}\r{FORGED}\x1b[2J\x9b2J\x85{FORGED}\u2028{FORGED}\u2029\x0b\x0c\x1c\u202e\u2066\u200b\0\udc80"


class Spiteful(Exception):
    """Cannot even be shown."""

    def __str__(self) -> str:
        raise ValueError(EVIL)


def with_notes() -> None:
    """An exception with notes."""
    error = ValueError(EVIL)
    error.add_note(EVIL)
    error.add_note("a note")
    raise error


def with_cause() -> None:
    """An exception that another one caused."""
    try:
        raise KeyError(EVIL)
    except KeyError as error:
        raise OSError(5, EVIL, EVIL) from error


def with_context() -> None:
    """An exception while another one was handled."""
    try:
        raise UnicodeDecodeError("utf-8", EVIL.encode("utf-8", "surrogatepass"), 0, 1, EVIL)
    except UnicodeDecodeError:
        raise LookupError(EVIL)  # noqa: B904  # the context is what is tested


def with_group() -> None:
    """Exceptions in groups in groups."""
    inner = ExceptionGroup(EVIL, [ValueError(EVIL), Spiteful()])
    raise ExceptionGroup(EVIL, [inner, TypeError(EVIL)])


def with_name() -> None:
    """A class with a strange name, as an application may make it from a packet."""
    raise type(EVIL.replace("\0", "").replace("\udc80", ""), (Exception,), {})("text")


def with_syntax() -> None:
    """A SyntaxError shows a line of what somebody sent."""
    raise SyntaxError(EVIL, (EVIL, 1, 1, EVIL + "\n"))


def with_file() -> None:
    """Code whose file, function and line are somebody's words."""
    exec(
        compile(
            "def f():\n    raise ValueError('in it')\nf()",
            f"<{FORGED}\n{EVIL}>".replace("\0", ""),
            "exec",
        )
    )


def with_circle() -> None:
    """A chain that bites its tail."""
    one, two = ValueError(EVIL), ValueError("two")
    one.__cause__, two.__context__ = two, one
    raise one


FAILURES: list[Callable[[], None]] = [
    with_notes, with_cause, with_context, with_group, with_name, with_syntax, with_file, with_circle,
]  # fmt: skip


def safe(text: str) -> bool:
    """Whether no line of this begins with a forged one, and nothing in it moves a terminal's cursor."""
    lines = text.split("\n")
    return all(line.isprintable() for line in lines) and not any(
        line.lstrip(" |").startswith(FORGED) for line in lines
    )


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What a program's own, plain handler writes; it formats exceptions by itself, too."""
    stream = io.StringIO()

    class Both(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            text = super().format(record)
            if record.exc_info:
                text += "\n" + "".join(traceback.format_exception(*record.exc_info))
            return text

    handler = logging.StreamHandler(stream)
    handler.setFormatter(Both("%(levelname)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    yield stream
    root.removeHandler(handler)


@pytest.mark.parametrize("fail", FAILURES)
def test_a_traceback_is_safe_to_show(fail: Callable[[], None]) -> None:
    """Every line is printable, what one exception says stays on one line, and nothing of it is lost."""
    with pytest.raises(BaseException) as caught:
        fail()
    text = traceback_text(caught.value)
    assert safe(text)
    assert text.startswith(("Traceback", "ValueError"))
    assert f"in {fail.__name__}" in text


def test_all_parts_of_a_chain_are_shown() -> None:
    """Causes, contexts, notes and members of groups are in the text, in the order in which Python shows them."""
    with pytest.raises(OSError) as caused:
        with_cause()
    text = traceback_text(caused.value)
    assert text.index("KeyError") < text.index("direct cause") < text.index("OSError: [Errno 5]")
    with pytest.raises(LookupError) as during:
        with_context()
    text = traceback_text(during.value)
    assert (
        text.index("UnicodeDecodeError") < text.index("During handling") < text.index("LookupError")
    )
    with pytest.raises(ExceptionGroup) as grouped:
        with_group()
    text = traceback_text(grouped.value)
    assert "that cannot be shown" in text
    assert text.count("1 of 2:") == 2
    with pytest.raises(ValueError, match="a") as noted:
        with_notes()
    assert traceback_text(noted.value).endswith("a note")


def test_an_exception_that_fails_is_shown() -> None:
    """An exception that ends the program when it is asked for its words, or for its notes, is shown without."""

    class Silent(Exception):
        """It gives neither words nor notes."""

        def __str__(self) -> str:
            raise SystemExit(3)

        def __getattribute__(self, name: str) -> object:
            if name == "__notes__":
                raise KeyError(name)
            return super().__getattribute__(name)

    assert "that cannot be shown" in traceback_text(Silent())


def test_a_traceback_is_bounded() -> None:
    """Long words, long chains, large groups and deep recursion give a text of bounded size."""
    error: BaseException = ValueError("x" * 10**6)
    for _ in range(1000):
        outer = ValueError("x" * 10**6)
        outer.__cause__ = error
        error = outer
    assert len(traceback_text(error)) < 50_000
    assert len(traceback_text(ExceptionGroup("g", [ValueError("y" * 5000)] * 1000))) < 50_000

    nested: Exception = ValueError("innermost")
    for _ in range(2000):
        nested = ExceptionGroup("g", [nested])
    assert len(traceback_text(nested)) < 50_000

    def deep(levels: int) -> None:
        deep(levels - 1) if levels else with_notes()

    with pytest.raises(ValueError, match="a") as caught:
        deep(500)
    assert len(traceback_text(caught.value).splitlines()) < 200


def test_source_is_read_for_what_is_shown() -> None:
    """A peer may make every packet fail: what is only kept costs no look at files until somebody shows it."""
    asked: list[str] = []

    class Loader:
        """Has the source of a module, as the loader of a zip archive has."""

        def get_source(self, name: str) -> str:
            asked.append(name)
            return "def fail():\n    raise ValueError('kept')\n"

    space: dict[str, Any] = {"__name__": "kept", "__loader__": Loader()}
    exec(
        compile("def fail():\n    raise ValueError('kept')\n", "kept.py in an archive", "exec"),
        space,
    )
    caught = CaughtErrors()
    for _ in range(200):
        try:
            try:
                space["fail"]()
            except ValueError as error:
                raise ExceptionGroup("several", [error]) from error
        except ExceptionGroup as group:
            caught.add("handler", group)
    kept = caught.take()
    assert asked == []
    assert len(kept) == 100
    assert "    raise ValueError('kept')\n" in kept[0].traceback
    assert asked == ["kept"]


def test_after_receive_that_fails_is_logged_a_few_times(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """Each packet may make it fail; tracebacks are as few as those of handlers."""

    def failing(packet: object) -> None:
        raise ValueError("not rewritten")

    with serving(identity) as server, joined(server) as (client,):
        server.after_receive = failing
        start = time.monotonic()
        for number in range(300):
            client.send("echo", number)
        until(lambda: server.caught.total == 300)
        seconds = int(time.monotonic() - start) + 1
    assert 1 <= caplog.text.count("after_receive raised") <= LOGGED_FAILURES * (seconds + 1) < 300


def test_after_receive_that_has_not_run_rewrites_nothing(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """A decorator may hide that it is async: handlers get the packet as it came, not a coroutine."""

    async def later(packet: Any) -> str:
        return "rewritten"

    with serving(identity) as server, joined(server) as (client,):
        server.after_receive = lambda packet: later(packet)  # hides it
        client.send("echo", 5)
        packet = client.receive(WAIT)
        assert packet is not None
        assert packet.data == 5
    assert "after_receive raised" in caplog.text
    assert "it returned a coroutine" in caplog.text


@pytest.mark.parametrize("fail", FAILURES)
def test_what_user_code_raises_is_logged_safely(
    fail: Callable[[], None], identity: Identity, written: io.StringIO
) -> None:
    """In handlers, listeners and hooks of either side: the log and `caught` have every line escaped."""
    ran: list[str] = []

    def raising(name: str) -> Callable[..., None]:
        def listener(*_: Any) -> None:
            ran.append(name)
            fail()

        return listener

    with serving(identity) as server, joined(server) as (client,):
        server.on("fail", raising("handler"))
        client.on("fail", raising("client's handler"))
        for side in (server, client):
            for event in (side.on_connect, side.on_disconnect, side.on_message, side.on_state):
                event.add_listener(raising(event.name))
        for event in (server.on_tick, server.on_start, server.on_stop):
            event.add_listener(raising(event.name))
        server.on_tick.fire()
        server.on_start.fire()
        server.after_receive = raising("after_receive")
        with pytest.raises(RequestFailed):
            client.request("fail", timeout=WAIT)
        client.set_state(1)
        server.set_state(2)
        server.broadcast("fail")
        client.poll()
        until(
            lambda: client.poll() == [] and {"handler", "client's handler", "on_state"} <= set(ran)
        )
        second = Client("127.0.0.1", server.address[1], pin=server.fingerprint).connect()
        second.close()
        until(lambda: {"on_connect", "on_disconnect"} <= set(ran))
    until(lambda: "on_stop" in ran)
    caught = server.caught.take() + client.caught.take()
    assert len(caught) >= 5
    assert all(safe(entry.traceback) and fail.__name__ in entry.traceback for entry in caught)
    assert f"in {fail.__name__}" in written.getvalue()
    assert safe(written.getvalue())


def test_what_authenticate_raises_is_logged_safely(
    identity: Identity, written: io.StringIO, tmp_path: Path
) -> None:
    """A hook that quotes what a stranger sent cannot forge a line with it."""

    def authenticate(hello: Any) -> Any:
        raise ValueError(f"who is {hello.credentials}? {EVIL}")

    with serving(identity, authenticate=authenticate) as server:
        client = Client(
            "127.0.0.1",
            server.address[1],
            credentials=EVIL.replace("\udc80", ""),
            pin=server.fingerprint,
        )
        with pytest.raises(Exception, match="could not check"):
            client.connect()
    assert "who is" in written.getvalue()
    assert safe(written.getvalue())


def test_every_logger_of_the_package_is_covered() -> None:
    """No module logs under a name whose lines are not made safe; a message that is not printable is escaped."""
    package = Path(__file__).parent.parent / "securelink"
    names = {
        name
        for path in package.rglob("*.py")
        for name in path.read_text().split("getLogger(")[1:]
        if name.startswith(("'", '"'))
    }
    used = {name.split(")")[0].strip("\"'") for name in names}
    assert used == {"securelink", "securelink.server", "securelink.client"}
    seen: list[str] = []

    class Seen(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())

    handler = Seen()
    for name in used:
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.error("it says %s", EVIL)
        logger.removeHandler(handler)
    assert seen
    assert all(message.isprintable() for message in seen)


# --- which lines there are ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("not_kept")
def test_a_client_that_leaves_is_no_failure_of_its_handler(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """A handler or listener that sends to its own client, which has just left, is no error with a traceback."""
    caplog.set_level(logging.DEBUG, logger="securelink")
    left: list[bool] = []
    with serving(identity) as server, joined(server, 2) as (client, other):

        @server.on("last")
        def last(session: Session, packet: Any) -> None:
            until(lambda: not session.connected)
            left.append(True)
            session.send("answer")

        @server.on_message
        def seen(session: Session, packet: Any) -> None:
            if packet.action == "last":
                until(lambda: not session.connected)
                session.send("answer")

        client.send("last")
        arrived(channel_of(client))
        link_of(client).stream.shutdown(BREAK)
        until(lambda: left)
        server.on("wrong", lambda session, packet: 1 / 0)
        other.send("wrong")
        until(lambda: "ZeroDivisionError" in caplog.text)
    assert "ConnectionClosed" not in caplog.text
    assert "the peer left while the handler of 'last' ran" in caplog.text
    assert "the peer left while a listener of on_message ran" in caplog.text


def test_logging_that_is_configured_late_has_no_line_twice(tmp_path: Path) -> None:
    """After `basicConfig()` our own lines stop, and the program's level counts again."""
    program = (
        "import logging\n"
        "from securelink import Server\n"
        "server = Server('127.0.0.1', 0, encryption='off').start()\n"
        "logging.basicConfig(format='%(levelname)s>%(message)s')\n"
        "for number in range(3):\n"
        "    logging.getLogger('securelink').warning('line %d', number)\n"
        "logging.getLogger('securelink').info('not wanted')\n"
        "server.stop()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    lines = done.stderr.splitlines()
    assert "[Server INFO] Status: Ready" in lines
    for number in range(3):
        assert [line for line in lines if f"line {number}" in line] == [f"WARNING>line {number}"]
    assert "not wanted" not in done.stderr
    assert "Shutdown" not in done.stderr
