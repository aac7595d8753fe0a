"""
Every bound in one place. Wire constants are part of the protocol; our choices may be changed by options.

Sizes are in bytes, times in seconds, unless the line says otherwise. `MAX_*` is inclusive.
"""

from __future__ import annotations

# --- wire constants -------------------------------------------------------------------------------

PROTOCOL_VERSION = 1
MAGIC = b"SECLINK\x1a"  # 8 bytes that open a ClientHello; 0x1a: no text protocol says that
HEADER_SIZE = 4  # type u8, length u24
TAG_SIZE = 16  # AES-GCM tag
TOKEN_SIZE = 16  # a uuid4, as bytes
TICKET_SIZE = 32  # what a client presents to resume; 256 bits, never guessable
BINDER_SIZE = 32  # HMAC-SHA-256 over the hello that shows a ticket
RANDOM_SIZE = 32  # hello random, as in TLS 1.3
MAX_FRAME_BODY = 2**24 - 1  # what a u24 length can say
MAX_HANDSHAKE_BODY = 8 * 1024  # one frame before WELCOME; the largest ClientAuth has 7,185
MAX_CREDENTIALS = 4 * 1024  # the one MessagePack value read before authentication
MAX_CREDENTIALS_DEPTH = 8  # nesting in it
AUTH_PADDING = 1024  # SERVER_AUTH and CLIENT_AUTH are padded to multiples: sizes hide key sizes
RECORD_ROOM = (
    30  # of a frame body beside its packets: tag or token 16, content 1, ack 8, array header 5
)
MAX_CLOSE_TEXT = 1024  # UTF-8 bytes of a refusal or a kick
MAX_NAME = 255  # bytes: dialled name, application name, application version

# --- keys (RFC 8017; SP 800-57: 3072 bits is 128-bit strength) --------------------------------------

DEFAULT_RSA_BITS = 3072
MIN_RSA_BITS = 2048  # accepted, for keys that exist already
MAX_RSA_BITS = 8192  # a verification beyond costs the victim more than the sender
MIN_RSA_EXPONENT = 65537
MAX_RSA_EXPONENT = 2**32 - 1
MAX_KDF_ROUNDS = 10_000_000  # PBKDF2 of a key file: about 5 s; its writer chose them
MAX_SCRYPT_MEMORY = 2**28  # bytes; parameters come from a file, a typo must not eat the machine
MAX_SCRYPT_LANES = (
    2**24
)  # bytes, 128 * r * p of a key file: in few steps they cost most of the time
MAX_SCRYPT_WORK = 2**24  # n * r * p of a key file: about 5 s

# --- key update (draft-irtf-cfrg-aead-limits section 7, RFC 9846 5.5) ---------------------------------

UPDATE_BYTES = 2**30  # soft: the sender updates its key at the first of these three
UPDATE_RECORDS = 2**20
UPDATE_SECONDS = 3600.0
HARD_LIMIT_FACTOR = 2  # the sender refuses beyond twice that
UPDATE_FLOOD_RECORDS = 1000  # receiver: updates nearer than this in records and
UPDATE_FLOOD_SECONDS = 1.0  # in time: a flood

# --- packets ----------------------------------------------------------------------------------------

MAX_PACKET = 2 * 1024 * 1024  # default limit of a frame body after WELCOME; option max_packet
MIN_PACKET = 2 * 1024  # the least that it may be: a CLOSE with the longest text must fit
MAX_ACTION = 255  # characters of an action name
MAX_WALK_FREE = 64 * 1024  # a larger record is walked before it is decoded, whatever it holds
MIN_ELEMENTS = 1024  # the least that the option max_elements may be
MAX_ELEMENTS = 65_536  # elements in a larger record: 64 Ki objects are about 5 MB
LIGHT_PER_ELEMENT = 8  # items of arrays that need no object of their own (8 bytes, not about 64) count as one element
MAX_DEPTH = 64  # nesting of data
PACKET_WALK_FREE = 4 * 1024  # a packet up to this size is checked by decoding it before it is sent
MAX_NUMBER_KEYS = (
    512  # entries of a map with keys other than text and bytes: their hashes are known to all
)
RECORD_TARGET = (
    60 * 1024
)  # packets are joined into one record up to about this, below MAX_WALK_FREE

# --- sessions ---------------------------------------------------------------------------------------

ACK_RECORDS = 64  # an acknowledgement goes out alone after this many records,
ACK_BYTES = 512 * 1024  # this many bytes
ACK_SECONDS = 0.2  # or after this time;
ACK_FEW_RECORDS = 8  # fewer wait longer: a quiet session would get one for each record,
ACK_FEW_SECONDS = 2.0  # up to this time
MAX_UNACKED = 16 * 1024 * 1024  # bytes kept for resume before `send` follows the policy
HARD_UNACKED = 64 * 1024 * 1024  # bytes; beyond it the session is ended (handlers do not wait)
MAX_UNSENT = 4 * 1024 * 1024  # bytes not yet taken by the kernel before `send` follows the policy
HARD_UNSENT = 64 * 1024 * 1024  # bytes; beyond it the session is ended
WRITE_BUDGET = (
    256 * 1024
)  # bytes sealed by one write: what waits behind a full kernel buffer stays small
MAX_TOTAL_UNSENT = (
    1024 * 1024 * 1024
)  # bytes unsent, unacknowledged and not handled yet of all sessions; beyond it the worst are ended
OBJECT_BYTES = 64  # counted for each record or packet that is kept, beside its bytes
OPENED_FACTOR = 16  # counted for each byte of what a Collector keeps,
OPENED_GUESS = 8  # and of a record that is decoded, until the next look estimates it;
MIN_GROWTH = (
    32 * 1024 * 1024
)  # bytes by which all sessions may grow between two looks at what they keep
OPENED_PACKET_BYTES = 200  # and for each of its packets;
OPENED_MOST_BYTES = 5 * 1024 * 1024  # beyond its bytes no more than MAX_ELEMENTS objects take
MAX_UNUSED_STATE = (
    64 * 1024
)  # a client's state that nothing looks at: kept for a later look up to this size
MAX_RATE = 500_000  # packets a second of one session, then it is not read until the second is over; option max_rate
MAX_INBOX_RECORDS = 1024  # records that wait for a handler before the connection is not read
MAX_INBOX_BYTES = 8 * 1024 * 1024
MAX_WAITING_DECODED = (
    64 * 1024
)  # wire bytes of a client's packets that wait for receive() as objects, not as bytes
POLL_BYTES = (
    1024 * 1024
)  # of packets that waited as bytes: what one poll() makes objects of, up to 70 MiB
RUN_PACKETS = 64  # a runner passes a session on after this many packets
RUN_SECONDS = 0.010  # or after this time
READ_FRAMES = (
    64  # frames of one connection that are opened in a row, whatever they hold: about 0.3 ms
)
MAX_CONTROLS = 64  # PING and PONG of one connection that wait behind a full kernel buffer
MAX_CONTROL_RATE = (
    50_000  # ACK, PING, PONG and KEY_UPDATE a second of one session, then as with MAX_RATE
)
HANGUP_FACTOR = (
    8  # what a peer leaves when it hangs up is read until the inbox is this many times full
)

RESUME_SECONDS = 120  # a session is kept this long after its connection is lost
MAX_SUSPENDED = 10_000  # sessions without a connection; then those go that nobody would miss
MAX_REQUESTS = 1024  # requests of one session that wait for their reply
REQUEST_SECONDS = 10.0  # default of request()
MAX_ROOMS = 10_000  # rooms of one server
MAX_ROOMS_PER_SESSION = 100
MAX_TICK_RATE = 1000.0  # ticks per second
MAX_CAUGHT_TEXT = (
    1024 * 1024
)  # characters of all tracebacks that are kept: errors quote what peers send
MAX_COLLECTED = 1000  # default of a Collector: what is stored until it is taken
MAX_COLLECTED_BYTES = (
    256 * 1024 * 1024
)  # about, as objects in memory: a thousand large packets would be gigabytes

# --- connections and threads --------------------------------------------------------------------------

MAX_CONNECTIONS = 10_000  # option max_connections
MEMORY_STREAM_BYTES = (
    256 * 1024
)  # of a direction of a connection in memory: about what a kernel holds
BACKLOG = 1024  # connections that wait in the kernel to be accepted; option backlog
MAX_BACKLOG = 65_535  # systems keep 16 bits of it
MAX_HALF_OPEN = 256  # connections without a session; then the busiest address loses its oldest
MAX_FAILED_PER_ADDRESS = 64  # unfinished and failed handshakes of one address; option max_failures
FAILED_WINDOW = 60.0  # from an address's first failure until all of them are forgotten
LATE_FAILURES = 3  # an address that failed this often waits behind those that have not,
LATE_WINDOW = 600.0  # until so long after the first of these
MAX_KNOWN_NETWORKS = 10_000  # addresses, of IPv6 /48, that were let in and come first: about 1 MB
MAX_PER_ADDRESS = (
    1000  # connections of one address, at most 3/4 of max_connections; option max_per_address
)
MIN_PER_ADDRESS = 16  # of a small server: friends at one router are one address
MAX_PROXY_HEADER = 2048  # a PROXY header; without further fields it has 52 at most
MAX_PROXIES = 1000  # entries of trusted_proxies
MAX_FAILED_ADDRESSES = 100_000  # addresses whose failures are counted: about 15 MB
MAX_TURNED_AWAY = 64  # connections that are told that there is no room; then the oldest is closed
MAX_PENDING_SIGNATURES = 256  # hellos that wait for the pool
HANDSHAKE_SECONDS = 10.0  # one deadline from accept to WELCOME, authenticate included
PATIENT_SECONDS = (
    3.0  # a client that our queue has kept waiting for this time has not failed when it gives up
)
ATTEMPT_SECONDS = 0.25  # between attempts at the addresses of a name (RFC 8305, section 5)
MAX_LOOKUPS = 32  # names looked up at the same time in one process: a thread each
CONNECT_SECONDS = 10.0  # default of Client.connect()
SEND_SECONDS = 30.0  # default of a blocking send
FOREVER_SECONDS = (
    2e6  # the longest timeout, 23 days; every system's waits take it (31 bits of milliseconds)
)
CLOSE_SECONDS = 5.0  # default of close() and stop()
END_SECONDS = 1.0  # a program that ends with a server running waits this long for its clients
STOP_GRACE_SECONDS = 0.5  # then on_disconnect is called for those who did not answer
HEARTBEAT_SECONDS = 20.0  # default interval of a client's pings
MIN_HEARTBEAT = 1.0
MAX_HEARTBEAT = 300.0
SWEEP_SECONDS = 1.0  # how often a server looks for silent and overdue connections
SWEEP_LINKS = 500  # connections that it looks at in a row: about 1 ms
SILENCE_FACTOR = 2.5  # a peer silent for this many heartbeats, while it is read, is gone
STALLED_SECONDS = 120.0  # a peer that is not read because it takes nothing is ended after this time
MAX_SWEEP_STEP = (
    2.0  # two looks farther apart than this: we stood still, which is not the peer's silence
)
WORKERS = 32  # threads of one loop at most, leader included, started when needed; option workers
MAX_WAITING_HANDLERS = (
    32  # handlers that wait for a reply, beside the workers; then the oldest wait ends early
)
PLACES_TAKEN_SECONDS = (
    0.2  # when all places for handlers are taken for this time while others wait, it is logged,
)
PLACES_LOG_SECONDS = 60.0  # once in this time at most
MIN_WORKERS = 3  # one leads, one does handshakes, one runs handlers
MAX_WORKERS = 64

# Mailboxes of the compat servers: what clients sent and the program has not taken.
MAX_MAILBOX_MESSAGES = 16  # of one client
MAX_MAILBOX = 8 * 1024 * 1024  # bytes of one client; a longer message alone is taken too
MAX_MAILROOM = 128 * 1024 * 1024  # bytes of all clients: the room of eight of the longest messages
MAX_MAILBOX_WAITERS = 16  # handlers that wait for room: the other workers hear other clients
WATCHDOG_SECONDS = 0.005  # a batch of handlers that runs longer loses the leader token
TURN_CONNECTIONS = 64  # a turn flushes after this many connections
TURN_SECONDS = 0.001  # or after this time
MAX_LISTENERS = 64  # listeners of one event

# --- trust and tokens ---------------------------------------------------------------------------------

MAX_TRUST_FILE = 4 * 1024 * 1024  # known_servers, authorized_clients, join_tokens.json
MAX_KEY_FILE = 64 * 1024
MAX_LOADED_KEYS = 64  # private key files whose keys a process keeps ready
MAX_ROTATIONS = 4  # keys that a server may have had before, as far as a client follows
MAX_SUCCESSION = (
    4096  # bytes of what they said: four of 4,096 bits, one of 8,192; fits beside the proof
)
ROTATION_SECONDS = 90 * 86_400.0  # how long clients may follow, by default
MAX_ROTATION_SECONDS = 366 * 86_400.0  # and at most
KEY_AGE_SECONDS = (
    730 * 86_400.0
)  # a server's key that is older is warned of (NIST SP 800-57 part 1, 5.3.6: 1-2 years)
EXPIRY_WARNING_SECONDS = 14 * 86_400.0  # what ends sooner is warned of
LOOPBACK_KEY_SECONDS = 3600.0  # the key of a loopback server on a port that the system chose
MAX_TOKENS = 10_000  # join tokens of one server
MAX_SEALED = 16 * 1024 * 1024  # a sealed packet
SEALED_SKEW = 120.0  # a sealed packet may come from a clock so far ahead, when its age is demanded
SIGN_SECONDS = 3.0  # a client that was let in shows it after a round trip; later it may have lost its connection
MAX_TOKEN_NOTE = 200  # characters of the note on a join token
KEEP_DEAD_TOKENS = 7 * 86_400.0  # a used-up, expired or revoked token is listed for this time
MAX_USERS = 10_000  # names with a password on one server
MAX_NAME_FAILURES = (
    20  # wrong passwords for a name in FAILED_WINDOW; where it was right before, anew
)
MAX_NAME_TRIES = (
    100  # with those of addresses whose first it is (NIST SP 800-63B, 5.2.2: at most 100 in a row)
)
MAX_NAMES_COUNTED = 10_000  # user names, and places, whose logins are remembered: about 2 MB
MAX_NAME_PLACES = 16  # places of one name where it was right
MAX_USER_NAME = 64  # characters
MAX_NORMALIZED = 256  # characters of a name that Unicode's forms are computed of: the cost is quadratic, 0.1 ms here
MIN_PASSWORD = 8  # characters (NIST SP 800-63B, 5.1.1.1)
MAX_PASSWORD = 1024  # characters
MAX_PASSWORD_CHECKS = 4  # at the same time in one process: each takes 32 MiB for about 0.3 s
MAX_CHAT_BYTES = 4 * 1024 * 1024  # what the chat remembers of all rooms together
MAX_CHAT_ROOM_BYTES = 256 * 1024  # and of one: it goes to everybody who enters, in one packet
MAX_MARKS = 10_000  # people that an operator has banned or silenced
INVITE_SECONDS = 7 * 86_400.0  # default lifetime of an invite that a command prints
MAX_INVITE = 1024  # characters of a link; the longest host makes 400

# --- the log -------------------------------------------------------------------------------------------

LOGGED_FAILURES = 10  # tracebacks a second of one hook, or of all handlers; each takes about 1 ms
LOG_BURST = 1000  # lines of one kind that are shown at once; a peer may cause any number
LOG_RATE = 1.0  # lines of one kind a second afterwards: 86,400 a day, about 10 MB
LOG_KINDS = 1000  # kinds that are counted; the library has about a hundred
