"""
A note for somebody who is offline, through a server that need not be trusted with it.

    python examples/sealed_note.py

Ada seals a packet to Bob's public key and signs it; the server only stores bytes. Bob fetches it later. Sealing has no
forward secrecy: who gets Bob's private key one day can read all notes that were kept. See SECURITY.md.
"""

from securelink import Client, Identity, Received, Server, Session, UnsealError, seal, unseal

notes: dict[str, list[bytes]] = {}  # what the server keeps: name -> sealed notes


def build() -> Server:
    """A server that takes and gives notes, and can read none of them."""
    server = Server("127.0.0.1", 0, keys=Identity.generate())

    @server.on("leave")
    def leave(session: Session, packet: Received) -> bool:
        notes.setdefault(packet.data["for"], []).append(packet.data["note"])
        return True

    @server.on("fetch")
    def fetch(session: Session, packet: Received) -> list[bytes]:
        return notes.pop(packet.data, [])

    return server


def main() -> None:
    ada, bob, eve = Identity.generate(), Identity.generate(), Identity.generate()
    with build() as server:
        with Client(server.invite()) as client:
            note = seal(("note", "meet me at the lighthouse"), bob.public, sender=ada)
            client.request("leave", {"for": "bob", "note": note})
            # Eve seals to Bob as well, and hopes to pass for Ada.
            forged = seal(("note", "bring all the gold"), bob.public, sender=eve)
            client.request("leave", {"for": "bob", "note": forged})
        stored = b"".join(notes["bob"])
        print(
            f"the server keeps {len(stored)} bytes, the text is in them: {b'lighthouse' in stored}"
        )
        with Client(server.invite()) as client:
            for number, note in enumerate(client.request("fetch", "bob"), 1):
                try:
                    unsealed = unseal(note, bob, sender=ada.public, max_age=7 * 86_400)
                    print(f"note {number}, from ada: {unsealed.packet.data}")
                except UnsealError as error:
                    print(f"note {number}: {error}")


if __name__ == "__main__":
    main()
