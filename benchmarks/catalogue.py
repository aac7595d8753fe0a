"""What is measured: the peers, the workloads, and the goals that securelink has in each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

TLS_SERVER_ONLY = "TLS 1.3, certificate of the server only"
TOKEN_FRAME = "bearer token in the first frame"  # says where a token travels
TOKEN_HEADER = "bearer token in a header of the upgrade request"


@dataclass(frozen=True)
class Peer:
    """
    One way to do the work.

    Attributes:
        name: On the command line and in JSON.
        module, style, options: See `Target`.
        packets: How packets are encoded.
        protects: What is protected, and how the two sides are authenticated.
        lacks: What is not.
        packages: Distributions whose versions are stated.
        workloads: Names of the workloads that make sense; None for all but those that name their peers.
        compiled: Its protocol code is compiled (C, C++, Cython).
        copy: The option that names the tree in which it runs, such as "compiled"; "" for this tree.
        reference: Does not compete: plaintext, or a certificate that is not comparable.
    """

    name: str
    title: str
    module: str
    style: str
    packets: str
    protects: str
    lacks: str = ""
    notes: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    workloads: frozenset[str] | None = None
    compiled: bool = False
    copy: str = ""
    reference: bool = False


_HANDSHAKES = frozenset({"handshake", "handshake-8"})
_JSON = "json, 4-byte length prefix"
_NO_PQ = "no post-quantum exchange; no client identity; a lost connection loses what was under way"

_MEASURED = [
    Peer(
        "securelink", "securelink", "ours", "blocking",
        "msgspec MessagePack",
        "AES-256-GCM, X25519MLKEM768, RSA-3072 identities on both sides, join token",
        notes="threaded server; client driven by the thread that waits",
        options={"identity": "mutual"},
        packages=("securelink", "cryptography", "msgspec"),
    ),
    Peer(
        "securelink-anonymous", "securelink, client without a key", "ours", "blocking",
        "msgspec MessagePack",
        "as securelink, but only the server has an identity",
        options={"identity": "rsa"},
        packages=("securelink",),
        workloads=_HANDSHAKES,
    ),
    Peer(
        "securelink-anew", "securelink, a new session each time", "ours", "blocking",
        "msgspec MessagePack",
        "as securelink",
        "a lost connection loses its session",
        options={"identity": "mutual", "anew": True},
        packages=("securelink",),
        workloads=frozenset({"resume"}),
    ),
    Peer(
        "securelink-plaintext", "securelink, encryption off", "ours", "blocking",
        "msgspec MessagePack", "nothing (join token in clear)",
        options={"encryption": "off"},
        packages=("securelink",),
        workloads=frozenset({"rtt", "pipeline", "many"}),
        reference=True,
    ),
    Peer(
        "securelink-aio", "securelink, asyncio", "ours_aio", "coroutines",
        "msgspec MessagePack",
        "as securelink",
        notes="server and clients in event loops of asyncio; plain handlers",
        options={"identity": "mutual"},
        packages=("securelink",),
        workloads=frozenset({"rtt", "pipeline", "many", "broadcast", "bulk", "idle"}),
    ),
    Peer(
        "securelink-aio-uvloop", "securelink, asyncio, uvloop", "ours_aio", "coroutines",
        "msgspec MessagePack",
        "as securelink",
        notes="as securelink-aio",
        options={"identity": "mutual", "uvloop": True},
        packages=("securelink", "uvloop"),
        workloads=frozenset({"rtt", "pipeline", "many", "broadcast", "bulk", "idle"}),
    ),
    Peer(
        "picows", "picows on uvloop, TLS", "picows_tls", "callbacks",
        "msgspec JSON in text frames; bulk in binary frames",
        f"{TLS_SERVER_ONLY}; {TOKEN_HEADER}", _NO_PQ,
        notes="Cython, callbacks, its own TLS transport; no compression",
        packages=("picows", "aiofastnet", "uvloop", "msgspec"),
        compiled=True,
    ),
    Peer(
        "pyzmq", "pyzmq, CURVE", "pyzmq_curve", "blocking",
        "msgpack",
        "CurveZMQ (Curve25519, XSalsa20-Poly1305), pinned server key; token in the first message",
        f"{_NO_PQ}; the receivers of casts (SUB) send no token",
        notes="ROUTER/DEALER, PUB/SUB for casts; I/O and encryption in a C++ thread",
        packages=("pyzmq", "msgpack"),
        compiled=True,
    ),
    Peer(
        "twisted", "Twisted, TLS", "twisted_tls", "callbacks",
        _JSON, f"{TLS_SERVER_ONLY}; {TOKEN_FRAME}",
        "no client identity; a lost connection loses what was under way",
        notes="Int32StringReceiver; epoll reactor as server, asyncio reactor as client; coalesces small writes",
        packages=("Twisted", "pyOpenSSL"),
    ),
    Peer(
        "socketserver", "socketserver + ssl, threads", "socketserver_tls", "blocking",
        _JSON, f"{TLS_SERVER_ONLY}; {TOKEN_FRAME}", _NO_PQ,
        notes="a thread for each connection, which also does the handshake",
    ),
    Peer(
        "asyncio", "asyncio streams + ssl", "asyncio_tls", "coroutines",
        _JSON, f"{TLS_SERVER_ONLY}; {TOKEN_FRAME}", _NO_PQ,
        notes="write and drain for each packet",
    ),
    Peer(
        "asyncio-uvloop", "asyncio streams + ssl, uvloop", "asyncio_tls", "coroutines",
        _JSON, f"{TLS_SERVER_ONLY}; {TOKEN_FRAME}", _NO_PQ,
        notes="write and drain for each packet",
        options={"uvloop": True},
        packages=("uvloop",),
    ),
    Peer(
        "websockets", "websockets (asyncio), TLS", "websockets_async", "coroutines",
        "json in text frames; bulk in binary frames", f"{TLS_SERVER_ONLY}; {TOKEN_HEADER}", _NO_PQ,
        notes="compression off; websockets.broadcast for casts",
        packages=("websockets",),
    ),
    Peer(
        "aiohttp", "aiohttp WebSocket, TLS", "aiohttp_ws", "coroutines",
        "json in text frames; bulk in binary frames", f"{TLS_SERVER_ONLY}; {TOKEN_HEADER}", _NO_PQ,
        notes="compression off; a loop over all members for casts",
        packages=("aiohttp",),
    ),
    Peer(
        "grpc", "gRPC streams (grpc.aio), TLS", "grpc_tls", "coroutines",
        "json in messages of one stream for each client", f"{TLS_SERVER_ONLY}; bearer token in the metadata", _NO_PQ,
        notes="generic handlers, so no protobuf; HTTP/2 and TLS in C++ threads of its own",
        packages=("grpcio",),
        compiled=True,
    ),
    Peer(
        "websockets-sync", "websockets (threads), TLS", "websockets_sync", "blocking",
        "json in text frames; bulk in binary frames", f"{TLS_SERVER_ONLY}; {TOKEN_HEADER}", _NO_PQ,
        notes="compression off; threads on both sides; TLS session tickets off, with them connects failed",
        packages=("websockets",),
    ),
    Peer(
        "socketio", "python-socketio (aiohttp), TLS", "socketio_tls", "coroutines",
        "Socket.IO events, JSON; bulk as binary attachments",
        f"{TLS_SERVER_ONLY}; bearer token in the CONNECT packet", _NO_PQ,
        notes="websocket transport only; a room emit for casts",
        packages=("python-socketio", "aiohttp"),
    ),
    Peer(
        "socketserver-mutual", "socketserver + ssl, mutual RSA-3072", "socketserver_tls", "blocking",
        _JSON, f"TLS 1.3, RSA-3072 certificates on both sides; {TOKEN_FRAME}",
        "no post-quantum exchange",
        options={"identity": "mutual"},
        workloads=_HANDSHAKES,
        reference=True,
    ),
    Peer(
        "socketserver-ecdsa", "socketserver + ssl, ECDSA P-256", "socketserver_tls", "blocking",
        _JSON, f"TLS 1.3, ECDSA certificate of the server only; {TOKEN_FRAME}", _NO_PQ,
        options={"identity": "ecdsa"},
        workloads=_HANDSHAKES,
        reference=True,
    ),
    Peer(
        "multiprocessing", "multiprocessing.connection", "mp_connection", "blocking",
        "pickle", "nothing; HMAC challenge on a shared key", "plaintext; pickle trusts the peer",
        notes="Nagle stays on, as the library has it",
        workloads=frozenset({"rtt", "pipeline", "many", "bulk", "idle", *_HANDSHAKES}),
        reference=True,
    ),
    Peer(
        "raw", "blocking socket", "raw", "blocking",
        "none: 78 fixed bytes", "nothing", "plaintext, no framing, one connection",
        workloads=frozenset({"rtt"}),
        reference=True,
    ),
    Peer(
        "asyncio-raw", "asyncio protocols, plaintext", "asyncio_raw", "coroutines",
        "none: 78 fixed bytes", "nothing", "plaintext, no framing",
        workloads=frozenset({"rtt", "many"}),
        reference=True,
    ),
    Peer(
        "primitives", "cipher and codec calls alone", "primitives", "local",
        "", "", notes="no connection: what one packet costs before any of it is a protocol",
        workloads=frozenset({"primitives"}),
        packages=("cryptography", "msgspec", "msgpack"),
        reference=True,
    ),
]  # fmt: skip


_COMPILED = "the same source, its hot modules compiled by mypyc: docs/COMPILED.md"
_BEFORE = "an earlier state of the source"
COPIES = {"compiled": _COMPILED, "before": _BEFORE, "before-compiled": f"{_BEFORE}, compiled"}


def _copied(peer: Peer, copy: str) -> Peer:
    """The same peer in another tree."""
    return replace(
        peer,
        name=f"{peer.name}-{copy}",
        title=peer.title.replace("securelink", f"securelink, {copy.replace('-', ', ')}"),
        notes=COPIES[copy],
        packages=("securelink",),
        compiled=copy.endswith("compiled"),
        copy=copy,
    )


PEERS = [
    *_MEASURED[:2],
    *(_copied(peer, copy) for copy in COPIES for peer in _MEASURED[:2]),
    *_MEASURED[2:],
]


@dataclass(frozen=True)
class Goal:
    """
    What securelink's rate should be.

    Attributes:
        factor: Times the figure of `against`.
        against: A peer; "best" for the best encrypted one, "best-pure" for the best without compiled protocol code;
            "" for an absolute number.
        subject: The peer that has the goal; so has its compiled copy.
        figure: What it is about; all but "rate" are costs, the less the better.
        compiled: The factor for the compiled copy; None for the same.
    """

    factor: float
    against: str = ""
    subject: str = "securelink"
    figure: str = "rate"
    compiled: float | None = None


@dataclass(frozen=True)
class Workload:
    """
    One kind of work.

    Attributes:
        method: Of the drivers.
        parameters, quick: Its arguments; `quick` replaces some.
        unit: Of the figure "rate".
        lower_is_better: A cost, not a rate.
        rsa: TLS peers use an RSA-3072 key, not the shorter ECDSA set-up.
        peers: Only these; None for all that do not restrict themselves.
        columns: Other figures worth a column.
        holder: Idle sessions of a third process; the rate is then that beside them, divided by that without.
        busy: Other processes that compute all the time.
    """

    name: str
    title: str
    method: str
    unit: str
    parameters: dict[str, Any]
    quick: dict[str, Any] = field(default_factory=dict)
    goals: tuple[Goal, ...] = ()
    lower_is_better: bool = False
    rsa: bool = False
    peers: frozenset[str] | None = None
    columns: tuple[str, ...] = ("p50", "p99", "server_cpu", "load_cpu")
    holder: int = 0
    busy: int = 0


_CPU = ("server_cpu", "load_cpu")
#: Of the asyncio shell: against what asyncio itself offers, and against the shell with threads.
_AIO = (Goal(1.5, "asyncio", "securelink-aio"), Goal(0.9, "securelink", "securelink-aio"))
_OURS = frozenset({"securelink", *(f"securelink-{copy}" for copy in COPIES)})
_THREADED = _OURS | {"socketserver"}
#: One of each style, and the fastest ones; a busy machine makes the others slower, and the run longer.
_BULKY = frozenset({"picows", "pyzmq", "twisted", "socketserver", "websockets", "aiohttp"})


def _casts(pure: float, compiled: float) -> tuple[Goal, ...]:
    latency = Goal(1.3, "best", figure="p50", compiled=1.1)
    return Goal(pure, "best", compiled=compiled), latency


def _broadcast(name: str, receivers: int, burst: int, goals: tuple[Goal, ...]) -> Workload:
    title = f"broadcast to {receivers}" + (f", {burst} packets a tick" if burst > 1 else "")
    deliveries = 60_000 * (3 if burst > 1 else 1)
    return Workload(
        name, title, "broadcast", "deliveries/s",
        {
            "receivers": receivers, "casts": deliveries // receivers // burst,
            "flying": 8 if burst == 1 else 1, "burst": burst, "seconds": 4.0,
        },
        {"casts": max(4, deliveries // 10 // receivers // burst), "seconds": 0.5},
        goals,
    )  # fmt: skip


WORKLOADS = [
    Workload(
        "rtt", "one client, ping-pong", "rtt", "round trips/s",
        {"count": 10_000, "seconds": 3.0},
        {"count": 1_000, "seconds": 0.5},
        (
            Goal(0.95, "best", compiled=1.0), Goal(1.0, "picows", figure="cpu"), Goal(0.75, "raw"),
            Goal(1.7, figure="tail"), *_AIO,
        ),
        columns=("p50", "p99", "tail", "server_cpu", "load_cpu"),
    ),
    Workload(
        "pipeline", "one client, 20,000 packets under way, echoed", "pipeline", "packets/s",
        {"count": 20_000}, {"count": 4_000}, (Goal(2.0, "best", compiled=2.5), *_AIO), columns=_CPU,
    ),
    Workload(
        "pipeline-threads", "the same, one thread sends and one receives", "pipeline", "packets/s",
        {"count": 20_000, "two_threads": True}, {"count": 4_000},
        peers=_THREADED, columns=_CPU,
    ),
    Workload(
        "pipeline-batch", "the same, by batch()", "pipeline", "packets/s",
        {"count": 20_000, "together": True}, {"count": 4_000}, peers=_OURS, columns=_CPU,
    ),
    Workload(
        "many", "50 clients, ping-pong", "many", "round trips/s",
        {"clients": 50, "rounds_": 1_000, "seconds": 3.0},
        {"rounds_": 100, "seconds": 0.5},
        (Goal(0.85, "best", compiled=1.0), Goal(1.8, "best-pure", compiled=2.0), *_AIO),
    ),
    _broadcast("broadcast-100", 100, 1, _casts(1.1, 1.3)),
    _broadcast("broadcast-500", 500, 1, _casts(1.0, 1.2)),
    _broadcast("burst-100", 100, 10, (Goal(1.0, "best", compiled=1.5),)),
    _broadcast("burst-500", 500, 10, (Goal(1.0, "best", compiled=1.5),)),
    Workload(
        "handshake", "connect, authenticate, close; one after the other", "handshake", "handshakes/s",
        {"count": 600, "workers": 1, "seconds": 3.0},
        {"count": 50, "seconds": 1.0},
        (Goal(2.2, "socketserver-mutual"), Goal(1.5, "socketserver", "securelink-anonymous")),
        rsa=True,
    ),
    Workload(
        "handshake-8", "connect, authenticate, close; 8 at once", "handshake", "handshakes/s",
        {"count": 1_200, "workers": 8, "seconds": 3.0},
        {"count": 100, "seconds": 1.0},
        (Goal(1.6, "socketserver-mutual"), Goal(1.5, "socketserver", "securelink-anonymous")),
        rsa=True,
    ),
    Workload(
        "resume", "lose the connection and come back, with the session; many at once", "resume", "times/s",
        {"count": 4_000, "clients": 64, "workers": 8, "seconds": 3.0},
        {"count": 300, "clients": 16, "seconds": 1.0},
        (Goal(3.0, "securelink-anew"), Goal(0.8, "pyzmq")),
        rsa=True, peers=_OURS | {"securelink-anew", "pyzmq", "socketserver-mutual"}, columns=_CPU,
    ),
    Workload(
        "storm", "2,000 clients connect at one instant: until all are in", "storm", "s",
        {"clients": 2_000, "processes": 4}, {"clients": 100, "processes": 2},
        (Goal(5.0), Goal(2_200, figure="attempts")), lower_is_better=True, peers=_OURS,
        columns=("attempts", "server_cpu", "load_cpu", "back", "back_attempts"),
    ),
    Workload(
        "bulk", "256 MiB one way, in packets of 64 KiB", "bulk", "MB/s",
        {"size": 256 * 2**20}, {"size": 32 * 2**20}, (Goal(1.1, "best", compiled=1.2),), columns=_CPU,
    ),
    Workload(
        "bulk-busy", "the same, while two other processes compute", "bulk", "MB/s",
        {"size": 128 * 2**20}, {"size": 16 * 2**20}, (Goal(0.9, "best", compiled=1.0),), columns=_CPU,
        peers=_OURS | _BULKY, busy=2,
    ),
    Workload(
        "idle", "memory of the server, 1,000 idle sessions", "idle", "KiB/session",
        {"count": 1_000}, {"count": 200}, (Goal(15.0), Goal(20.0, subject="securelink-aio")),
        lower_is_better=True, columns=("seconds",),
    ),
    Workload(
        "crowd", "one client, ping-pong: beside 10,000 idle sessions, divided by without", "rtt", "x",
        {"count": 10_000, "seconds": 3.0},
        {"count": 1_000, "seconds": 0.5},
        (Goal(0.95), Goal(0.95, subject="securelink-aio")),
        peers=_OURS | {"securelink-aio"}, holder=10_000,
        columns=("beside", "without", "p50", "p99"),
    ),
    Workload(
        "fanout", "cost of a delivery: 5,000 receivers to 10 receivers", "fanout", "x",
        {"sizes": [10, 50, 100, 500, 1_000, 2_000, 5_000], "deliveries": 40_000, "seconds": 3.0},
        {"sizes": [10, 50, 100], "deliveries": 5_000},
        (Goal(1.1),), lower_is_better=True, peers=_OURS,
        columns=("us_10", "us_50", "us_100", "us_500", "us_1000", "us_2000", "us_5000"),
    ),
    Workload(
        "compute", "worst echo while another's handler computes for 100 ms", "stall", "ms",
        {"action": "compute", "handler_seconds": 0.1, "times": 10}, {"times": 2},
        (Goal(25.0),), lower_is_better=True, peers=_THREADED, columns=("median_worst",),
    ),
    Workload(
        "sleep", "worst echo while another's handler sleeps for 2 s", "stall", "ms",
        {"action": "sleep", "handler_seconds": 2.0, "times": 1}, {"handler_seconds": 0.5},
        (Goal(25.0),), lower_is_better=True, peers=_THREADED, columns=("median_worst",),
    ),
    Workload(
        "greedy", "worst echo of ten clients beside one that floods a handler of 20 ms", "greedy", "ms",
        {"clients": 10, "handler_seconds": 0.02, "seconds": 3.0}, {"seconds": 0.5},
        (Goal(60.0),), lower_is_better=True, peers=_THREADED, columns=("p50", "p99"),
    ),
    Workload(
        "primitives", "cipher and codec calls alone, in microseconds", "primitives", "packets/s",
        {"count": 100_000}, {"count": 5_000}, peers=frozenset({"primitives"}),
        columns=("seal_us", "open_us", "msgspec_us", "json_us", "seal_64k_us", "open_64k_us"),
    ),
]  # fmt: skip


def competes(peer: Peer) -> bool:
    """Whether it counts as one of the best encrypted peers."""
    return not peer.reference and not peer.name.startswith("securelink")


def takes_part(peer: Peer, workload: Workload) -> bool:
    """Whether this pair is measured."""
    if workload.peers is not None:
        return peer.name in workload.peers
    return peer.workloads is None or workload.name in peer.workloads
