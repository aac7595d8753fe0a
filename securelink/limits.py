"""
The bounds of what a peer, a file or a user can cause. Wire constants are part of the protocol; the others are our
choices, some of them defaults of options. A number that matters to one module only, such as a read size, is there.

Sizes are in bytes, times in seconds, unless the line says otherwise. `MAX_*` is inclusive.
"""

from __future__ import annotations

# --- wire constants -------------------------------------------------------------------------------

PROTOCOL_VERSION = 1
MAGIC = b"SECLINK\x1a"  # 8 bytes that open a ClientHello; no text protocol sends 0x1a
HEADER_SIZE = 4  # type u8, length u24
TAG_SIZE = 16  # AES-GCM tag
TOKEN_SIZE = 16  # a uuid4, as bytes
TICKET_SIZE = 32  # what a client presents to resume: 256 random bits
PSK_SIZE = 32  # of the proof that belongs to a ticket
BINDER_SIZE = 32  # HMAC-SHA-256 over the hello that shows a ticket
RANDOM_SIZE = 32  # hello random, as in TLS 1.3
MAX_FRAME_BODY = 2**24 - 1  # the largest u24 length
PLACE_BITS = 24  # of a packet's number: its place in its record, which has fewer packets than bytes
MAX_HANDSHAKE_BODY = 8 * 1024  # one frame before WELCOME; the largest ClientAuth has 7,185
MAX_CREDENTIALS = 4 * 1024  # the one MessagePack value read before authentication
MAX_CREDENTIALS_DEPTH = 8  # nesting in it
AUTH_PADDING = 1024  # SERVER_AUTH and CLIENT_AUTH are padded to multiples: sizes hide key sizes
# Of a frame body, in addition to its packets: tag or token 16, content 1, ack 8, array header 5
RECORD_ROOM = 30
MAX_CLOSE_TEXT = 1024  # UTF-8 bytes of a refusal or a kick
MAX_NAME = 255  # bytes: dialled name, application name, application version

# --- keys (RFC 8017; SP 800-57: 3072 bits is 128-bit strength) --------------------------------------

DEFAULT_RSA_BITS = 3072
MIN_RSA_BITS = 2048  # accepted, because such keys exist
MAX_RSA_BITS = 8192  # verifying with a larger key costs the verifier more than the sender
MIN_RSA_EXPONENT = 65537
MAX_RSA_EXPONENT = 2**32 - 1
# PBKDF2 of a key file: about 5 s; the writer of the file chose the number
MAX_KDF_ROUNDS = 10_000_000
# Bytes; the parameters come from a file, and a typo must not exhaust the memory
MAX_SCRYPT_MEMORY = 2**28
# Bytes, 128 * r * p of a key file: in few steps they take most of the time
MAX_SCRYPT_LANES = 2**24
MAX_SCRYPT_WORK = 2**24  # n * r * p of a key file: about 5 s

# --- key update (draft-irtf-cfrg-aead-limits section 7, RFC 9846 5.5) ---------------------------------

UPDATE_BYTES = 2**30  # soft limit: the sender updates its key at the first of these three
UPDATE_RECORDS = 2**20
UPDATE_SECONDS = 3600.0
HARD_LIMIT_FACTOR = 2  # the sender refuses to seal beyond this multiple of them
UPDATE_FLOOD_RECORDS = 1000  # receiver: two updates closer than this in records and
UPDATE_FLOOD_SECONDS = 1.0  # in time are a flood

# --- packets ----------------------------------------------------------------------------------------

MAX_PACKET = 2 * 1024 * 1024  # default limit of a frame body after WELCOME; option max_packet
MIN_PACKET = 2 * 1024  # the least value of max_packet: a CLOSE with the longest text must fit
MAX_ACTION = 255  # characters of an action name
MAX_WALK_FREE = 64 * 1024  # a larger record is scanned before it is decoded, whatever it contains
# Bytes of a record that is decoded by one call, whatever it contains: 2 ms at most; a larger one
MAX_AT_ONCE = 8 * 1024
# only if no more than so many of its bytes may begin a list or map
MAX_AT_ONCE_CONTAINERS = 8 * 1024
STEP_ELEMENTS = 1024  # elements that are decoded at a time in other records: about 0.5 ms
STEP_SECONDS = 0.002  # and the time for that in a turn
MIN_ELEMENTS = 1024  # the least value of the option max_elements
MAX_ELEMENTS = 65_536  # elements in a larger record: 64 Ki objects take about 5 MB
# Items of arrays that need no object of their own (8 bytes instead of about 64) count as one element
LIGHT_PER_ELEMENT = 8
MAX_DEPTH = 64  # nesting levels of data
PACKET_WALK_FREE = 4 * 1024  # a packet up to this size is checked by decoding it before it is sent
# Entries of a map with keys other than text and bytes, whose hashes are predictable
MAX_NUMBER_KEYS = 512
# Packets are joined into one record up to about this size, below MAX_WALK_FREE
RECORD_TARGET = 60 * 1024

# --- sessions ---------------------------------------------------------------------------------------

ACK_RECORDS = 64  # an acknowledgement is sent on its own after this many records,
ACK_BYTES = 512 * 1024  # this many bytes
ACK_SECONDS = 0.2  # or after this time;
# Fewer records wait longer: otherwise a quiet session would acknowledge each one,
ACK_FEW_RECORDS = 8
ACK_FEW_SECONDS = 2.0  # up to this time
# A packet that a client keeps for receive() holds back the acknowledgement of what is handled after it, until so many
# records were: then nobody seems to want it,
PUT_AWAY_RECORDS = 256
PUT_AWAY_BYTES = 1024 * 1024  # or so many bytes; far below MAX_UNACKED, where the other side waits
# A CLOSE is answered when what came before it is handled, or after this time; below CLOSE_SECONDS
ANSWER_SECONDS = 2.0
# Bytes kept until they are acknowledged; a blocking `send` waits above it; option max_unacked
MAX_UNACKED = 16 * 1024 * 1024
# Its least value: with less a `send` would wait for acknowledgements, which do not come for fewer than ACK_BYTES
MIN_UNACKED = 2 * ACK_BYTES
# Bytes; above it the session is ended (in handlers `send` does not wait)
HARD_UNACKED = 64 * 1024 * 1024
# Bytes not yet taken by the kernel; a blocking `send` waits above it; option max_unsent
MAX_UNSENT = 4 * 1024 * 1024
# Bytes; above it the session is ended; both hard bounds follow the options
HARD_UNSENT = 64 * 1024 * 1024
# Bytes sealed by one write, so that little waits behind a full kernel buffer
WRITE_BUDGET = 256 * 1024
# Bytes unsent, unacknowledged and unhandled, of all sessions; above it the largest are ended; option max_memory
MAX_TOTAL_UNSENT = 1024 * 1024 * 1024
OBJECT_BYTES = 64  # counted for each record or packet that is kept, in addition to its bytes
OPENED_FACTOR = 16  # counted for each byte of what a Collector keeps,
OPENED_GUESS = 8  # and of a record that is decoded, until the next check estimates it;
# Bytes by which all sessions may grow between two checks of what they keep
MIN_GROWTH = 32 * 1024 * 1024
OPENED_PACKET_BYTES = 200  # and for each of its packets;
OPENED_ELEMENT_BYTES = 88  # for each element, while a record is decoded in steps
# In addition to its bytes, MAX_ELEMENTS objects take no more than this
OPENED_MOST_BYTES = 5 * 1024 * 1024
# A client's state that the application does not use: kept up to this size, in case it asks later
MAX_UNUSED_STATE = 64 * 1024
# Packets a second of one session, on the average of a second; above it, reading pauses; option max_rate
MAX_RATE = 500_000
# Bytes of packets, likewise: more than one core opens; option max_byte_rate
MAX_BYTE_RATE = 2**30
DEBT_SECONDS = 10.0  # such a pause is no longer than this, however much came at once
MAX_INBOX_RECORDS = 1024  # records that wait for a handler; above it, reading pauses
MAX_INBOX_BYTES = 8 * 1024 * 1024  # of them; option max_unhandled
# Wire bytes of packets that wait for a client's receive() as objects; further ones wait as bytes
MAX_WAITING_DECODED = 64 * 1024
# Of packets that waited as bytes: what one poll() decodes, into up to 70 MiB of objects
POLL_BYTES = 1024 * 1024
UPDATE_READS = 16  # reads of one update(): 1 MiB, so that a frame does not wait for a fast server
RUN_PACKETS = 64  # a session yields to others after this many packets
RUN_SECONDS = 0.010  # or after this time
# Frames of one connection that are opened in a row, whatever they contain: about 0.3 ms
READ_FRAMES = 64
MAX_CONTROLS = 64  # PING and PONG of one connection that wait behind a full kernel buffer
# ACK, PING, PONG and KEY_UPDATE a second of one session; above it, as with MAX_RATE
MAX_CONTROL_RATE = 50_000
# When a peer hangs up, its last data is read until the inbox is this many times full
HANGUP_FACTOR = 4

RESUME_SECONDS = 120  # a session is kept this long after its connection is lost
# Records in a session, as a client without memory believes it: beyond, a count would not fit its field one day
MAX_COUNT = 2**62
# Sessions without a connection; above it, those with the least to lose are dropped first; option max_suspended
MAX_SUSPENDED = 10_000
# Of them, of one address, or /64 of IPv6; its /56 and /48 have four and sixteen times as many, but at most three
# quarters of all; this machine's own address has no such bound; option max_suspended_per_address
MAX_SUSPENDED_PER_ADDRESS = 1000
MAX_RESUME_SECONDS = 86_400  # the most that the option resume takes
# Clients a second that a server which restarts asks to come back: their handshakes take about half of one core
RETURNS_PER_SECOND = 200
# The most that a server asks a client to stay away, and that a client does
MAX_AWAY_SECONDS = 300.0
MAX_REQUESTS = 1024  # requests of one session that wait for their reply; option max_requests
# Of them that hear in a row that their session or their time is over: about 0.1 ms
ENDED_AT_ONCE = 16
REQUEST_SECONDS = 10.0  # default of request()
MAX_ROOMS = 10_000  # rooms of one server; option max_rooms
MAX_ROOMS_PER_SESSION = 100  # option max_rooms_per_session
MAX_TICK_RATE = 1000.0  # ticks per second
# Characters of all tracebacks that are kept; they may quote data of peers
MAX_CAUGHT_TEXT = 1024 * 1024
MAX_COLLECTED = 1000  # default of a Collector: packets stored until they are taken
# Approximately, as objects in memory: a thousand large packets would take gigabytes
MAX_COLLECTED_BYTES = 256 * 1024 * 1024

# --- connections and threads --------------------------------------------------------------------------

MAX_CONNECTIONS = 10_000  # option max_connections
# Of the files that a process may open, for those that are no connections, and for those that are turned away
SPARE_DESCRIPTORS = 128
# Of one direction of a connection in memory: about what a kernel buffers
MEMORY_STREAM_BYTES = 256 * 1024
# Connections that wait in the kernel to be accepted; option backlog. Linux takes no more by default (somaxconn)
BACKLOG = 4096
MAX_BACKLOG = 65_535  # systems store it in 16 bits
MAX_HALF_OPEN = 256  # connections without a session, option max_half_open; above it, others wait,
# up to this number: a descriptor each; above it, the newest of the busiest network is closed
MAX_WAITING_CONNECTIONS = 4096
# While others wait, a half-open connection may owe us its next message for this long: a lost packet is resent in less
PLACE_SECONDS = 1.0
ACCEPTS_PER_TURN = 64  # a flood of connections must not keep the leader from those it has
MAX_FAILED_PER_ADDRESS = 64  # unfinished and failed handshakes of one address; option max_failures
FAILED_WINDOW = 60.0  # from the first failure of an address until all its failures are forgotten
LATE_FAILURES = 3  # an address that failed this often waits behind those that have not,
LATE_WINDOW = 600.0  # until this long after the first of these failures
# Addresses (of IPv6: /48) that were let in before and come first: about 1 MB
MAX_KNOWN_NETWORKS = 10_000
# Connections of one address, at most 3/4 of max_connections; option max_per_address
MAX_PER_ADDRESS = 1000
MIN_PER_ADDRESS = 16  # of a small server: friends behind one router share an address
MAX_PROXY_HEADER = 2048  # a PROXY header; without further fields it has at most 52
MAX_PROXIES = 1000  # entries of trusted_proxies
MAX_FAILED_ADDRESSES = 100_000  # addresses whose failures are counted: about 15 MB
# Connections that are being told that the server is full; above it, the oldest is closed
MAX_TURNED_AWAY = 64
MAX_PENDING_SIGNATURES = 256  # hellos that wait for the thread pool
HANDSHAKE_SECONDS = 10.0  # one deadline from accept to WELCOME, authenticate included
PATIENT_SECONDS = 3.0  # a client that waited this long in our queue has not failed when it gives up
ATTEMPT_SECONDS = 0.25  # between attempts at the addresses of a name (RFC 8305, section 5)
MAX_LOOKUPS = 32  # names looked up at the same time in one process, one thread each
CONNECT_SECONDS = 10.0  # default of Client.connect(); and of an attempt to connect again
MAX_ATTEMPTS = 16  # to connect again, of all clients of a process, that a thread each waits for
# The same for which one thread waits together, because they look up no name and call no function of the program
MAX_WAITING_ATTEMPTS = 64
SEND_SECONDS = 30.0  # default of a blocking send
# The longest timeout, 23 days: all systems accept it in their waits (31 bits of milliseconds)
FOREVER_SECONDS = 2e6
CLOSE_SECONDS = 5.0  # default of close() and stop()
# A client that has not hung up in this time, when sessions are handed over, is cut off; it comes back all the same
HANDOVER_SECONDS = 1.0
# A server that starts waits this long for another process that has its state file, and may be handing over
STATE_WAIT_SECONDS = 10.0
END_SECONDS = 1.0  # a program that exits while a server runs waits this long for its clients
STOP_GRACE_SECONDS = 0.5  # then on_disconnect is called for clients that did not answer
HEARTBEAT_SECONDS = 20.0  # default interval of a client's pings
MIN_HEARTBEAT = 1.0
MAX_HEARTBEAT = 300.0
SWEEP_SECONDS = 1.0  # how often a server checks for silent and overdue connections
SWEEP_LINKS = 500  # connections that it checks in a row: about 1 ms
SILENCE_FACTOR = 2.5  # a peer that is read and silent for this many heartbeats is gone
# A peer that takes nothing, and is not read for that reason, is ended after this time
STALLED_SECONDS = 120.0
# of a longer gap between two checks only this much counts: the process stood still, not the peer
MAX_SWEEP_STEP = 2.0
WORKERS = 32  # threads of one loop at most, leader included, started when needed; option workers
# Handlers that wait for a reply, in addition to the workers; above it, the oldest wait ends early
MAX_WAITING_HANDLERS = 32
PLACES_TAKEN_SECONDS = 0.2  # when packets wait for a free thread for this long, it is logged,
PLACES_LOG_SECONDS = 60.0  # at most once in this time
MIN_WORKERS = 3  # one leads, one does handshakes, one runs handlers
MAX_WORKERS = 64

# Mailboxes of the compat servers: messages that the program has not taken yet.
MAX_MAILBOX_MESSAGES = 16  # of one client
MAX_MAILBOX = 8 * 1024 * 1024  # bytes of one client; a single longer message is accepted too
MAX_MAILROOM = 128 * 1024 * 1024  # bytes of all clients: room for eight of the longest messages
# Clients of an adapter with a thread for each, unless its program says another number.
MAX_THREADED = 1000
# Clients that wait for a program's accept(); a socket's backlog has up to 4,096.
MAX_UNACCEPTED = 1000
MAX_MAILBOX_WAITERS = 16  # handlers that wait for room; the other workers serve other clients
WATCHDOG_SECONDS = 0.005  # a batch of handlers that runs longer loses the leader token
TURN_CONNECTIONS = 64  # a turn flushes after this many connections
TURN_SECONDS = 0.001  # or after this time
# Default of Server.update(budget=): a third of a frame at 60 frames a second
UPDATE_BUDGET_SECONDS = 0.005
MAX_LISTENERS = 64  # listeners of one event

# --- trust and tokens ---------------------------------------------------------------------------------

MAX_TRUST_FILE = 4 * 1024 * 1024  # known_servers, authorized_clients, join_tokens.json
MAX_KEY_FILE = 64 * 1024
MAX_LOADED_KEYS = 64  # private key files whose keys a process keeps ready
MAX_ROTATIONS = 4  # earlier keys of a server through which a client follows
# Bytes of their statements: four of 4,096 bits or one of 8,192; fits next to the proof
MAX_SUCCESSION = 4096
ROTATION_SECONDS = 90 * 86_400.0  # how long clients may follow, by default
MAX_ROTATION_SECONDS = 366 * 86_400.0  # and at most
# An older server key causes a warning (NIST SP 800-57 part 1, 5.3.6: 1-2 years)
KEY_AGE_SECONDS = 730 * 86_400.0
EXPIRY_WARNING_SECONDS = 14 * 86_400.0  # what expires sooner causes a warning
# How long the key of a loopback server on a port of the system's choice is remembered
LOOPBACK_KEY_SECONDS = 3600.0
MAX_TOKENS = 10_000  # join tokens of one server
MAX_SEALED = 16 * 1024 * 1024  # a sealed packet
SEALED_SKEW = 120.0  # how far ahead the date of a sealed packet may be when its age is checked
# An admitted client confirms within a round trip; after this time it may have lost its connection
SIGN_SECONDS = 3.0
# For a file that another program changes, which takes milliseconds: other logins wait too.
LOGIN_LOCK_SECONDS = 1.0
STUCK_LOCK_SECONDS = 0.1  # the same, after somebody has waited in vain
MAX_TOKEN_NOTE = 200  # characters of the note on a join token
KEEP_DEAD_TOKENS = 7 * 86_400.0  # a used-up, expired or revoked token is listed for this time
MAX_USERS = 10_000  # names with a password on one server
# Wrong passwords for a name in FAILED_WINDOW; counted anew for a place where it was right before
MAX_NAME_FAILURES = 20
# With those of addresses whose first it is (NIST SP 800-63B, 5.2.2: at most 100 in a row)
MAX_NAME_TRIES = 100
MAX_NAMES_COUNTED = 10_000  # user names, and places, whose logins are counted: about 2 MB
MAX_NAME_PLACES = 16  # places of one name where it was right
MAX_USER_NAME = 64  # characters
MAX_SUBJECT = 255  # characters of a token's user; OpenID Connect allows no more ASCII in `sub`
MAX_KEY_ID = (
    256  # characters of a token's `kid`, which a function of the application is called with
)
MAX_LEEWAY = 300.0  # seconds that the clocks of issuer and server may differ; RFC 7519: "no more than a few minutes"
RENEW_SECONDS = 30.0  # before the end of a login that can be renewed its client is asked: time for a slow one to answer
MOST_SECONDS = 2.0**53  # since 1970: beyond it floats skip whole seconds
# Characters of a name that is normalized; the cost is quadratic, 0.1 ms at this length
MAX_NORMALIZED = 256
MIN_PASSWORD = 8  # characters (NIST SP 800-63B, 5.1.1.1)
MAX_PASSWORD = 1024  # characters
MAX_PASSWORD_CHECKS = 4  # at the same time in one process: each takes 32 MiB for about 0.3 s
MAX_CHAT_BYTES = 4 * 1024 * 1024  # what the chat remembers of all rooms together
MAX_CHAT_ROOM_BYTES = 256 * 1024  # of one room: it is sent in one packet to everybody who enters
MAX_MARKS = 10_000  # people that an operator has banned or muted
INVITE_SECONDS = 7 * 86_400.0  # default lifetime of an invite that a command prints
MAX_INVITE = 1024  # characters of a link; the longest host makes 400

# --- the log -------------------------------------------------------------------------------------------

LOGGED_FAILURES = 10  # tracebacks a second of one hook, or of all handlers; each takes about 1 ms
LOG_BURST = 1000  # lines of one kind that are logged at once; a peer can cause any number
LOG_RATE = 1.0  # lines of one kind a second afterwards: 86,400 a day, about 10 MB
PROBE_LOG_SECONDS = (
    600  # a probe that comes every few seconds is in the log once in that time, with how often
)
LOG_KINDS = 1000  # kinds that are counted; the library has about a hundred
