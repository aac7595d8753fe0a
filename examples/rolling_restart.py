"""
A server is replaced by another process, three times, while everybody talks: nothing is lost, and no session ends.

    python examples/rolling_restart.py

The next process is started first, and waits for the state file. Then the old one is asked to end (SIGTERM, as
`systemctl restart` does): it tells its clients when to come back, and lets go of port and file.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from typing import IO

from securelink import Client, Received, Server, Session


def serve(port: int) -> None:
    """One of the processes: it keeps count of what each client sends."""
    server = Server("127.0.0.1", port, state="sessions.db")
    # Kept with the session, in one step with what its handlers send.
    server.on_connect(lambda session: session.data.update(due=0))

    @server.on("number")
    def number(session: Session, packet: Received) -> None:
        session.send("took", [packet.data, session.data["due"], os.getpid()])
        session.data["due"] = packet.data + 1

    server.on_start(lambda: print(server.address[1], server.fingerprint, flush=True))
    print("it waits for the file", flush=True)
    server.serve_forever()


class Talker:
    """A client that sends one number after the other, and looks at the answers."""

    def __init__(self, client: Client, over: threading.Event) -> None:
        self.sent = self.answered = self.wrong = self.process = 0
        self.client, self.token = client.connect(), client.token
        client.on("took", self.took)
        threading.Thread(target=self.talk, args=[over]).start()

    def took(self, packet: Received) -> None:
        number, due, self.process = packet.data
        self.wrong += not number == due == self.answered
        self.answered = number + 1

    def talk(self, over: threading.Event) -> None:
        while not over.wait(0.005):
            self.client.send("number", self.sent)
            self.sent += 1


def main(folder: str) -> None:
    def started(port: str) -> "tuple[subprocess.Popen[str], IO[str]]":
        command = [sys.executable, os.path.abspath(__file__), port]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()  # until it has come so far that it waits for the one before
        return process, process.stdout

    (process, printed), over = started("0"), threading.Event()
    port, pin = printed.readline().split()
    talkers = [Talker(Client("127.0.0.1", int(port), pin=pin), over) for _ in range(5)]
    for _ in range(3):
        following, _ = started(port)
        process.terminate()
        process.communicate()
        process = following
        while any(one.process != process.pid for one in talkers):
            time.sleep(0.01)
        print(f"process {process.pid} has taken over")
    over.set()
    while any(one.answered < one.sent for one in talkers):
        time.sleep(0.01)
    print("sent and answered:", sum(one.answered for one in talkers))
    print("lost, doubled, or out of order:", sum(one.wrong for one in talkers))
    print("sessions that ended:", sum(one.client.token != one.token for one in talkers))
    for one in talkers:
        one.client.close()
    process.terminate()
    process.communicate()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        serve(int(sys.argv[1])) if sys.argv[1:] else main(place)
