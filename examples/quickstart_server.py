"""
The server of the README: it passes on what anybody says to everybody.

    python examples/quickstart_server.py

It makes a key on first start (in keys/) and runs until Ctrl-C. Start quickstart_client.py in a second terminal.
"""

from securelink import Server

server = Server(port=5050)


@server.on("say")
def say(session, packet):
    server.broadcast("said", packet.data)


server.serve_forever()
