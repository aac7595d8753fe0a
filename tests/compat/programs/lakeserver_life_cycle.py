"""The whole life of a Lakeserver program, written from the output that its document shows. Argument: the port."""

# ruff: noqa: F403, F405  # the document imports so

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable

from securelink.compat.lakeserver import *

PORT = int(sys.argv[1])

BANNER = r"""
  #####                                        #######
 #     # ###### #####  #    # ###### #####        #    ######  ####  #####
 #       #      #    # #    # #      #    #       #    #      #        #
  #####  #####  #    # #    # #####  #    #       #    #####   ####    #
       # #      #####  #    # #      #####        #    #           #   #
 #     # #      #   #   #  #  #      #   #        #    #      #    #   #
  #####  ###### #    #   ##   ###### #    #       #    ######  ####    #

This is some example code for a server I created using socket. Made by Tequin Lake.
"""


def section(title: str) -> None:
    """What comes next."""
    print(f"\n---{title}---", flush=True)


def until(condition: Callable[[], object]) -> None:
    """The old program slept 0.4 s wherever this one waits for what it waited for."""
    while not condition():
        time.sleep(0.001)


print(BANNER)

section("Starting Server")
main_server = Server(PORT)
main_server.start()

section("Create Clients")
client1 = Client(main_server.get_ip(), PORT)
client2 = Client(main_server.get_ip(), PORT)
client3 = Client(main_server.get_ip(), PORT)

section("Connect Client1")
client1.connect()

section("Sending/receiving client data")
for x in range(12):
    value = math.factorial(x)
    client1.set_data(value)
    print(f"Server data: {main_server.get_client_data()}", flush=True)
    until(lambda: list(main_server.get_client_data().values()) == [client1.get_data()])

section("Disconnecting clients and shutting down server")
main_server.shutdown()
until(lambda: not main_server.active and not client1.active)

section("Restarting server")
main_server.start()

section("Connecting 3 clients")
client1.connect()
client2.connect()
client3.connect()

section("Display server data")
print(f"Server data: {main_server.get_client_data()}", flush=True)

section("Client1 disconnects")
client1.disconnect()
until(lambda: len(main_server.get_client_data()) == 2)

section("Display updated server data")
print(f"Server data: {main_server.get_client_data()}", flush=True)

section("Example error: Attempted to start running server")
main_server.start()

section("Disable [INFO] and [WARNING] messages")
main_server.enable_outputs(False)
print("Example error output for starting server:", flush=True)
main_server.start()

section("Enable [INFO] and [WARNING] messages")
main_server.enable_info(True)
main_server.enable_warnings(True)

section("Disconnecting all clients and shutting down server")
main_server.shutdown()
until(lambda: not main_server.active)

input("\nPress Enter to close...")
