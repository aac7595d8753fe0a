"""Server and client, and what they have in common."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import click

from ... import limits
from ...codes import Code
from ...errors import ConfigError, ConnectFailed, SecureLinkError
from ...logs.default import show_status
from ...session import Session
from ...streams.sockets import local_address
from ..lines import Printer
from ..settings import make_client, make_server, own_words
from .literals import read_literal

ROUND_SECONDS = 0.02
GOODBYE_SECONDS = 2.0  # for clients to leave when they are asked to
# Then for the ends of their connections; with the library's own grace it is 3 s in all.
LEAVE_SECONDS = 0.4

Hook = Callable[..., Any] | None

CONNECT, DISCONNECT = "lakeserver connect", "lakeserver disconnect"  # the packets' names
UNASKED = "disconnected without commanding disconnect. Disconnecting client."


class SockStreamConnection:
    """What server and client have in common: a value, commands, hooks, output."""

    _daemon = True
    _core: Any
    _finish: Callable[[], None]  # the end of the thread
    _keep: Callable[[Any, Any], None]  # (sender, data): the value of the peer
    _part: Callable[[Any], None]  # (sender): the peer asks to disconnect

    def __init__(
        self, port: int, direct: bool = False, outputs_enabled: bool = True, header: int = 64,
        format: str = "utf-8", pre_send_func: Hook = None, post_recieve_func: Hook = None,  # noqa: A002  # its name
    ) -> None:  # fmt: skip
        if direct:
            raise ConfigError(
                "there is no direct mode", hint="use set_data(), or securelink.Server and send()"
            )
        show_status(info=False)  # this module writes its own lines
        self.PORT = port
        self._shown = {"INFO": outputs_enabled, "WARNING": outputs_enabled}
        self._printer = Printer(click.echo)
        self.pre_send_func, self.post_recieve_func = pre_send_func, post_recieve_func
        self._reset()

    def _reset(self) -> None:
        self.active = self._leaving = False
        # A server goes on after the last line of its program, a client does not.
        self._thread = threading.Thread(target=self._play_rounds, daemon=self._daemon)
        self.data: dict[str, Any] = {"commands": [], "data": ""}
        self._sent = dict(self.data)

    # What is sent.

    def set_data(self, data: Any) -> None:
        """Set the value to send; it is sent as text."""
        self.data["data"] = str(data)

    def get_data(self) -> str:
        """The value that is sent."""
        return str(self.data["data"])

    def add_command(self, command: Any) -> None:
        """Send a command with the value, until `remove_all_commands`; "disconnect" ends the session."""
        self.data["commands"] = [*self.data["commands"], str(command)]

    def remove_all_commands(self) -> None:
        """Send no commands any more."""
        self.data["commands"] = []

    def get_commands(self) -> list[str]:
        """The commands that are sent."""
        return list(self.data["commands"])

    # The thread of this side.

    def _may_begin(self, complaint: str) -> bool:
        if self._leaving and self._thread.is_alive():
            self._thread.join()
        if self.active:
            self.warn(f"Error: {complaint}")
            return False
        self._reset()
        return True

    def _play_rounds(self) -> None:
        """Send what has changed, until this side leaves."""
        leaving = False
        while not leaving:
            time.sleep(ROUND_SECONDS)
            leaving = self._leaving  # what was set before still goes out
            self._call(self.pre_send_func, "Error: Pre send function {} returned the error {}")
            state = {"commands": self.get_commands(), "data": self.get_data()}
            if state != self._sent:
                self._sent = state
                try:
                    with own_words():
                        self._core.set_state(state)
                except SecureLinkError as error:
                    self.warn(f"Error: Message send failed - {error}")
        self._finish()
        self.active = self._leaving = False

    # Hooks: `func(self)` before each round; `func(self, message)` gives the message to use for one that arrives.

    def set_pre_send_func(self, func: Hook) -> None:
        """Call this before a round."""
        self.pre_send_func = self._function(func, self.pre_send_func)

    def set_post_recieve_func(self, func: Hook) -> None:
        """Call this with what arrives."""
        self.post_recieve_func = self._function(func, self.post_recieve_func)

    def _function(self, func: Hook, otherwise: Hook) -> Hook:
        if callable(func):
            return func
        self.warn("Error: Variable supplied for was not a function")
        return otherwise

    def remove_pre_send_func(self) -> None:
        """Call nothing before a round."""
        self.pre_send_func = None

    def remove_post_recieve_func(self) -> None:
        """Use what arrives as it is."""
        self.post_recieve_func = None

    def _call(self, hook: Hook, complaint: str, *message: Any) -> Any:
        try:
            return hook(self, *message) if hook is not None else None
        except Exception as error:
            self.warn(complaint.format(getattr(hook, "__name__", hook), error))
            return None

    def _take(self, sender: Any, value: Any) -> None:
        match value:
            case {"commands": list(), "data": str()}:  # what set_data() sends
                complaint = "Error: Post recieve function '{}' returned the error '{}'"
                message = value | (self._call(self.post_recieve_func, complaint, value) or {})
                self._keep(sender, message["data"])
                if "disconnect" in message["commands"]:
                    self._part(sender)
            case _:
                self.warn("Error: Unable to eval message recieved")

    # Output.

    def info(self, message: str) -> None:
        """Show an INFO line."""
        self._show("INFO", message)

    def warn(self, message: str) -> None:
        """Show a WARNING line."""
        self._show("WARNING", message)

    def _show(self, kind: str, message: str) -> None:
        if self._shown[kind]:
            # A function of the user's may have failed with words of the peer.
            self._printer.show(f"[{type(self).__name__} {kind}] ", message)

    def enable_outputs(self, boolean: bool) -> None:
        """Show INFO and WARNING lines, or not."""
        self._enable("enable_outputs", boolean, "INFO", "WARNING")

    def enable_info(self, boolean: bool) -> None:
        """Show INFO lines, or not."""
        self._enable("enable_info", boolean, "INFO")

    def enable_warnings(self, boolean: bool) -> None:
        """Show WARNING lines, or not."""
        self._enable("enable_warnings", boolean, "WARNING")

    def _enable(self, setting: str, boolean: object, *kinds: str) -> None:
        if isinstance(boolean, bool):
            self._shown.update(dict.fromkeys(kinds, boolean))
        else:
            self.warn(f"Error: Bool {boolean} not valid for setting {setting}")

    def get_all_outputs_enabled(self) -> bool:
        """Whether INFO and WARNING lines are shown."""
        return all(self._shown.values())

    def get_info_enabled(self) -> bool:
        """Whether INFO lines are shown."""
        return self._shown["INFO"]

    def get_warnings_enabled(self) -> bool:
        """Whether WARNING lines are shown."""
        return self._shown["WARNING"]


class Server(SockStreamConnection):
    """The server: `start`, `set_data`, `get_client_data`, `shutdown`."""

    _daemon = False

    def __init__(self, port: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(port, *args, **kwargs)
        # One handler at a time: hooks for different clients never overlap.
        self._core = core = make_server("", port, overlap=False)
        core.on(CONNECT, lambda session, _: self._enter(session))
        core.on(DISCONNECT, lambda session, _: self._leave(session))
        core.on_state.add_listener(self._take)
        core.on_disconnect.add_listener(lambda session: self._leave(session, asked=session.clean))
        self.SERVER_IP = core.lan_address
        self.client_data: dict[tuple[str, int], Any] = {}
        self._sizes: dict[Session, int] = {}  # bytes of what is in client_data
        self._held = 0  # of all of them

    def start(self) -> None:
        """Let clients in."""
        if not self._may_begin("Server is currently active, shutdown the server before starting"):
            return
        self._core.set_state(self._sent)
        self._core.pause()
        try:
            with own_words():
                self._core.start()
        except ConnectFailed as error:
            self.warn(f"Error: {error}")
            return
        self.active = True
        for line in (f"Server IP: {self.SERVER_IP}", f"Server PORT: {self.PORT}", "Status: Ready"):
            self.info(line)
        self.info("New Connections: Allow")
        self._core.resume()
        self._thread.start()

    def shutdown(self) -> None:
        """Tell the clients to disconnect, then stop. Returns at once."""
        if not self.active or self._leaving:
            self.warn("Error: Could not shutdown server as it is not online")
            return
        self.info("Status: Starting Shutdown")
        self._core.pause()
        self._leaving = True

    def _finish(self) -> None:
        self._core.broadcast(DISCONNECT)
        deadline = time.monotonic() + GOODBYE_SECONDS
        while self._core.sessions and time.monotonic() < deadline:
            time.sleep(ROUND_SECONDS)
        self._core.stop(LEAVE_SECONDS)
        self.info("Status: Shutdown")
        self.info("New Connections: Deny")

    def _enter(self, session: Session) -> None:
        self.client_data[session.address] = ""
        self.info("Client Event: Connected")

    def _leave(self, session: Session, asked: bool = True) -> None:
        if session.address in self.client_data:
            if not asked:
                self.warn(f"Error: Client {UNASKED}")
            self.info("Client Event: Disconnected")
            self._held -= self._sizes.pop(session, 0)
            del self.client_data[session.address]  # last: who waits for it prints after us

    def _keep(self, session: Session, data: Any) -> None:
        if session.address in self.client_data:
            self.client_data[session.address] = data
            size = sys.getsizeof(data)
            self._held += size - self._sizes.get(session, 0)
            self._sizes[session] = size
            if self._held > limits.MAX_MAILROOM:
                largest = max(self._sizes, key=self._sizes.__getitem__)
                self._held -= self._sizes.pop(largest)
                self.client_data[largest.address] = ""
                largest.kick("the server keeps too much for its clients, and most of it for you")

    def _part(self, session: Session) -> None:
        self._leave(session)
        session.kick()

    def get_client_data(self) -> dict[tuple[str, int], Any]:
        """The last value of each client, by (ip, port)."""
        return dict(self.client_data)

    def get_number_of_active_clients(self) -> int:
        """How many clients there are."""
        return len(self.client_data)

    def get_ip(self) -> str:
        """This machine's address in its network."""
        return self.SERVER_IP

    def get_port(self) -> int:
        """The port."""
        return self.PORT


class Client(SockStreamConnection):
    """A client: `connect`, `set_data`, `get_server_data`, `disconnect`."""

    def __init__(self, server_ip: str, port: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(port, *args, **kwargs)
        self.SERVER_IP, self.CLIENT_IP, self.ADDR = server_ip, local_address(), (server_ip, port)
        self.server_data: Any = {}
        self._asked = False
        self._core = core = make_client(server_ip, port)
        core.on(DISCONNECT, self._part)
        core.on_state.add_listener(lambda value: self._take(None, value))
        core.on_disconnect.add_listener(self._lost)
        self.info("Status: Ready")

    def connect(self) -> None:
        """Connect; what is wrong is shown as a warning."""
        if not self._may_begin("Cannot initiate a connection because client already connected"):
            return
        self.server_data, self._asked = {}, False
        try:
            with own_words():
                self._core.connect()
            self.active = True
            self.info("Status: Connected")
            self._core.request(CONNECT)
            self._thread.start()
        except SecureLinkError as error:
            self.active = False
            self._core.close()
            self.warn(f"Error: Could not connect to server: {error}")

    def disconnect(self) -> None:
        """Disconnect with the next round."""
        if self.active and not self._leaving:
            self.info("Status: Disconnecting")
            self._leaving = True

    def _finish(self) -> None:
        with suppress(SecureLinkError):  # the server may have gone meanwhile
            if self._asked:  # it says that we have left before we do
                self._core.request(DISCONNECT)
        self.info("Status: Disconnected")
        self._core.close()

    def _lost(self) -> None:
        # NORMAL is our own end: the program is over, and the library has said goodbye for it.
        if self.active and not self._leaving and self._core.code != Code.NORMAL:
            self.warn(f"Error: Server {UNASKED}")
            self._leaving = True

    def _keep(self, _: Any, data: Any) -> None:
        self.server_data = read_literal(str(data)) if data else None

    def _part(self, _: Any) -> None:
        self._asked = True
        self.disconnect()

    def get_server_data(self) -> Any:
        """The server's value, of the type that its text spells; None before it has one."""
        return self.server_data

    def get_address(self) -> tuple[str, int]:
        """The server's (ip, port)."""
        return self.ADDR

    def get_ip(self) -> str:
        """This machine's address."""
        return self.CLIENT_IP

    def get_server_ip(self) -> str:
        """The server's address."""
        return self.SERVER_IP

    def get_server_port(self) -> int:
        """The server's port."""
        return self.PORT
