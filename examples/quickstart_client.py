"""
The client of the README: it says something and prints what comes back.

    python examples/quickstart_client.py

Start quickstart_server.py first, in another terminal. On another machine, write that machine's address below.
"""

from securelink import Client

client = Client("127.0.0.1", 5050)
client.connect()
client.send("say", "hello")
packet = client.receive(timeout=5)
print(packet.data if packet else "nothing came")
client.close()
