"""What server and client have in common."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any, ClassVar

from ...errors import SecureLinkError
from ...limits import MAX_COLLECTED
from ...status import show_status
from ..literals import read_literal

ROUND_SECONDS = 0.02

Message = dict[str, Any]

UNASKED = "disconnected without commanding disconnect. Disconnecting client."
CONNECT, DISCONNECT, DIRECT = "lakeserver connect", "lakeserver disconnect", "lakeserver direct"


def getter(name: str) -> Callable[[Any], Any]:
    """A method that gives an attribute."""
    return lambda self: getattr(self, name)


def setter(kind: Any, complaint: str, *names: str) -> Callable[[Any, Any], None]:
    """A method that sets attributes to what is of the kind, and warns of anything else."""

    def change(self: SockStreamConnection, value: Any) -> None:
        if isinstance(value, kind):
            vars(self).update(dict.fromkeys(names, value))
        else:
            self.warn(complaint.format(value))

    return change


def _checked(message: Any) -> Message:
    """A message of a peer or a hook. Raises `ValueError` when it is none."""
    match message:
        case {"commands": list(), "data": _}:
            return dict(message)
    raise ValueError("a message has 'commands', a list, and 'data'")


def value_of(data: Any) -> Any:
    """What a text means: the literal that it spells, else itself; None for ""."""
    try:
        return read_literal(data) if data else None
    except (TypeError, ValueError):
        return data


class SockStreamConnection:
    """What server and client have in common: a value, commands, hooks, output."""

    screen_lock: ClassVar = threading.Semaphore(value=1)
    _daemon = True
    _core: Any
    _finish: Any  # () -> None: the end of the thread
    _keep: Any  # (sender, data) -> None: the value of the other side
    _part: Any  # (sender) -> None: the other side asks to disconnect

    def __init__(
        self, port: int, direct: bool = False, outputs_enabled: bool = True, header: int = 64,
        format: str = "utf-8", pre_send_func: Any = None, post_recieve_func: Any = None,  # noqa: A002  # its name
    ) -> None:  # fmt: skip
        show_status(info=False)  # this module writes its own lines
        self.PORT, self.DIRECT, self.HEADER, self.FORMAT = port, direct, header, format
        self.show_info = self.show_warnings = outputs_enabled
        self.pre_send_func, self.post_recieve_func = pre_send_func, post_recieve_func
        self._reset()

    def _reset(self) -> None:
        self.active = self._leaving = False
        # A server goes on after the last line of its program, a client does not.
        self._thread = threading.Thread(target=self._play_rounds, daemon=self._daemon)
        self.data: Message = {"commands": [], "data": ""}
        self._sent: Message = {"commands": [], "data": ""}
        self._frames: dict[Any, deque[Message]] = defaultdict(lambda: deque(maxlen=MAX_COLLECTED))

    # What is sent.

    def set_data(self, data: Any) -> None:
        """Set the value to send; it is sent as text."""
        self.data["data"] = str(data)

    def add_command(self, command: Any) -> None:
        """Send a command with the value, until `remove_all_commands`; "disconnect" ends the session."""
        self.data["commands"] = [*self.data["commands"], str(command)]

    def remove_all_commands(self) -> None:
        """Send no commands any more."""
        self.data["commands"] = []

    def get_data(self) -> str:
        """The value that is sent."""
        return str(self.data["data"])

    def get_commands(self) -> list[str]:
        """The commands that are sent."""
        return list(self.data["commands"])

    # The thread of this side.

    def _may_begin(self, complaint: str) -> bool:
        if self._leaving and self._thread.is_alive():
            self._thread.join()
        if self.active:
            self.warn(f"Error: {complaint}")
        else:
            self._reset()
        return not self.active

    def _play_rounds(self) -> None:
        """Send what has changed, until this side leaves."""
        leaving = False
        while not leaving:
            time.sleep(ROUND_SECONDS)
            leaving = self._leaving  # what was set before still goes out
            self.pre_send_update()
            state = {"commands": self.get_commands(), "data": self.get_data()}
            if state != self._sent:
                self._sent = state
                self._try(self._core.set_state, state)
        self._finish()
        self.active = self._leaving = False

    def _try(self, send: Callable[..., Any], *arguments: Any) -> None:
        try:
            send(*arguments)
        except SecureLinkError as error:
            self.warn(f"Error: Message send failed - {error}")

    # What arrives.

    def _take(self, sender: Any, value: Any, direct: bool = False) -> None:
        """A value of the other side; one of direct mode is parsed, and kept for `direct_recieve`."""
        try:
            message = self.post_recieve_update(_checked(value))
        except ValueError:
            self.warn("Error: Unable to eval message recieved")
            return
        if direct:
            message["data"] = value_of(message["data"])
            self._frames[sender].append(message)
        self._keep(sender, message["data"])
        if "disconnect" in message["commands"]:
            self._part(sender)

    def direct_recieve(self, client_conn: Any = None) -> Message | None:
        """Wait for the next frame of the server, or of a client given by its `client_conn`; None at the end."""
        while self.active:
            if self._frames[client_conn]:
                return self._frames[client_conn].popleft()
            time.sleep(0.005)
        return None

    def eval_message(self, message: Any) -> Any:
        """The value that a text spells as a Python literal; None, and a warning, when it spells none."""
        try:
            return read_literal(message) if message and isinstance(message, str) else None
        except ValueError:
            self.warn("Error: Unable to eval message recieved")

    # Hooks.

    # `func(self)` is called before each round, and `func(self, message)` gives the message to use for one that arrives.
    _NO_HOOK = "Error: Variable supplied for was not a function"
    set_pre_send_func = setter(Callable, _NO_HOOK, "pre_send_func")
    set_post_recieve_func = setter(Callable, _NO_HOOK, "post_recieve_func")

    def remove_pre_send_func(self) -> None:
        """Call nothing before a round."""
        self.pre_send_func = None

    def remove_post_recieve_func(self) -> None:
        """Use what arrives as it is."""
        self.post_recieve_func = None

    def pre_send_update(self) -> None:
        """Run the pre-send hook."""
        hook = self.pre_send_func
        try:
            if hook is not None:
                hook(self)
        except Exception as error:
            name = getattr(hook, "__name__", hook)
            self.warn(f"Error: Pre send function {name} returned the error {error}")

    def post_recieve_update(self, message: Message) -> Message:
        """Run the post-receive hook; gives the message to use."""
        hook = self.post_recieve_func
        try:
            return message if hook is None else _checked(hook(self, message))
        except Exception as error:
            name = getattr(hook, "__name__", hook)
            self.warn(f"Error: Post recieve function '{name}' returned the error '{error}'")
            return message

    # Output.

    def info(self, message: str) -> None:
        """Show an INFO line."""
        self._show(self.show_info, "INFO", message)

    def warn(self, message: str) -> None:
        """Show a WARNING line."""
        self._show(self.show_warnings, "WARNING", message)

    def _show(self, wanted: bool, kind: str, message: str) -> None:
        if wanted:
            with self.screen_lock:
                print(f"[{type(self).__name__} {kind}] {message}", flush=True)  # noqa: T201  # its purpose

    _NO_BOOL = "Error: Bool {} not valid for setting "
    enable_outputs = setter(bool, _NO_BOOL + "enable_outputs", "show_info", "show_warnings")
    enable_info = setter(bool, _NO_BOOL + "enable_info", "show_info")
    enable_warnings = setter(bool, _NO_BOOL + "enable_warnings", "show_warnings")
    get_info_enabled, get_warnings_enabled = getter("show_info"), getter("show_warnings")

    def get_all_outputs_enabled(self) -> bool:
        """Whether INFO and WARNING lines are shown."""
        return self.show_info and self.show_warnings
