"""
A health check for containers and balancers: says whether the server answers, with the key that it should have.

    python examples/health_check.py [HOST [PORT [KEYS]]]      # exit code 0: healthy, 1: not

It makes a whole handshake. A server that refuses it, because it asks for a token or a password, is healthy.
"""

import sys
from pathlib import Path

from securelink import Client, PublicKey, Refused, SecureLinkError

host = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1"
port = int(sys.argv[2]) if len(sys.argv) > 2 else 5050
keys = Path(sys.argv[3] if len(sys.argv) > 3 else "keys")
try:
    own = PublicKey.load(keys / "server_public.pem")  # only the server's own key will do
    # Not what the user's own list says: a server of another folder may have had this address before.
    client = Client(host, port, pin=own.fingerprint, known_servers=keys / "known_servers")
    client.connect(timeout=5).close()
except Refused as error:
    print("healthy, and refuses this check:", error.text)
except SecureLinkError as error:
    sys.exit(f"not healthy: {error}")
else:
    print("healthy")
