"""
Logging in with a user name and password.

    python examples/passwords.py

Server and clients are in one program here, so that there is only one thing to start. The server keeps a scrypt hash of
each password in a file; `securelink` never sends a password before it knows whose server it is.
"""

import tempfile
from pathlib import Path

from securelink import Client, Identity, Passwords, Received, Refused, Server, Session


def log_in(server: Server, user: str, password: str) -> None:
    """One attempt, and what comes of it."""
    client = Client(
        "127.0.0.1",
        server.address[1],
        credentials={"user": user, "password": password},
        # The server's fingerprint, which its operator told us. Without it a client would rather not
        # connect than tell a password to an unknown server (except on its own machine, as here).
        pin=server.fingerprint,
    )
    try:
        with client:
            print(f"{user}: entered; the server calls me {client.request('who am i')!r}")
    except Refused as refusal:
        print(f"{user}: refused, {refusal}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "passwords.json"
        passwords = Passwords(file)
        passwords.add("ada", "correct horse battery")
        print(f"the file holds no password: {'correct horse' not in file.read_text()}")
        server = Server("127.0.0.1", 0, keys=Identity.generate(), authenticate=passwords)

        @server.on("who am i")
        def who(session: Session, packet: Received) -> object:
            return session.user  # from the login, never from a packet: nobody can claim to be ada

        with server:
            log_in(server, "ada", "correct horse battery")
            log_in(server, "ada", "incorrect horse")
            log_in(server, "eve", "correct horse battery")
            passwords.add("eve", "a password of eve", replace=True)
            log_in(server, "eve", "a password of eve")


if __name__ == "__main__":
    main()
