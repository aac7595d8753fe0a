"""
What a listener on the wire sees: the same packet with encryption off, and on.

    python examples/plaintext_dump.py

A relay between client and server keeps a copy of every byte. The program is the same in both modes, only
`encryption=` differs.
"""

from securelink import Client, Identity, Server
from securelink.testing.relay import Relay

SECRET = "the treasure is under the old oak"


def captured(encryption: str) -> tuple[bytes, bytes]:
    """The handshake and the packet, as they pass the relay on the way to the server."""
    server = Server("127.0.0.1", 0, keys=Identity.generate(), encryption=encryption)
    server.on("tell", lambda session, packet: packet.data == SECRET)
    with server, Relay("127.0.0.1", server.address[1]) as relay:
        # In plaintext there is no key, and so no fingerprint to pin: it is None then.
        client = Client(
            "127.0.0.1", relay.port, encryption=encryption, pin=server.fingerprint
        ).connect()
        handshake = relay.to_server.captured
        relay.to_server.forget()
        assert client.request("tell", SECRET), "the server did not get the packet"
        client.close()
        return handshake, relay.to_server.captured


def hexdump(data: bytes) -> str:
    """Sixteen bytes a line, as numbers and as text."""
    lines = []
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"  {at:04x}  {row.hex(' '):47}  {text}")
    return "\n".join(lines)


def main() -> None:
    for encryption in ("off", "required"):
        handshake, packet = captured(encryption)
        print(f"\nencryption={encryption!r}: a handshake of {len(handshake)} bytes, then")
        print(hexdump(packet))
        readable = SECRET.encode() in handshake + packet
        print(f"can a listener read it? {'yes' if readable else 'no'}")
        assert readable == (encryption == "off")


if __name__ == "__main__":
    main()
