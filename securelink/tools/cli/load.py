"""`securelink load`: how much a server of one's own can take."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from ...client import Client
from ...limits import CONNECT_SECONDS
from ...trust import KnownServers
from ..load import MAX_CLIENTS, MAX_SECONDS, Histogram, Plan, SimulatedClient, Swarm, Tally
from ..load.plan import FILLER, MAX_RATE, MAX_SIZE
from ..load.simulated import clock
from ..load.swarm import allow_files
from .connect import client_key, enter
from .program import duration, keys_option, known_servers_file, passphrase_option, tell
from .target import application_options, target, token_option, where_arguments

PERCENTILES = (50.0, 90.0, 99.0, 99.9)
BAR = 40  # characters of the longest bar of the histogram
LATE = 0.05  # seconds; packets that were sent later than that are worth a remark
_client = partial(Client, reconnect=False)  # a lost connection is a result, and not to be hidden


def _seconds(ctx: click.Context, param: click.Parameter, value: str) -> float:
    """Option callback: as `duration`, up to an hour."""
    seconds = 0.0 if value in ("0", "0s") else duration(ctx, param, value)
    assert seconds is not None
    if seconds > MAX_SECONDS:
        raise click.BadParameter(f"{value} is more than an hour")
    return seconds


def _json(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[bool, Any]:
    """Option callback: whether a value was given, and it."""
    if value is None:
        return False, None
    try:
        return True, json.loads(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is no JSON; write for example '{{\"x\": 1}}'"
        ) from None


@click.command("load")
@where_arguments
@click.option(
    "--clients",
    type=click.IntRange(1, MAX_CLIENTS),
    default=10,
    show_default=True,
    help="How many connect.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0.01, MAX_RATE),
    default=10.0,
    show_default=True,
    metavar="PACKETS",
    help="A second, of each client.",
)
@click.option(
    "--duration",
    "seconds",
    default="10s",
    show_default=True,
    callback=_seconds,
    metavar="TIME",
    help="How long, once all are connected: 30s, 5m, 1h at most.",
)
@click.option(
    "--ramp",
    default="3s",
    show_default=True,
    callback=_seconds,
    metavar="TIME",
    help="Over which they connect.",
)
@click.option("--action", default="echo", show_default=True, help="The name of the packets.")
@click.option(
    "--size",
    type=click.IntRange(0, MAX_SIZE),
    metavar="BYTES",
    help=f"Of text in each packet.  [default: {FILLER}]",
)
@click.option(
    "--data", callback=_json, metavar="JSON", help="What every packet carries, instead of --size."
)
@click.option(
    "--request", "requests", is_flag=True, help="Send requests; any handler's return is the answer."
)
@token_option
@click.option("--plaintext", is_flag=True, help="Without encryption.")
@application_options
@keys_option
@passphrase_option
@click.pass_context
def load(
    ctx: click.Context,
    host: str | None,
    port: int | None,
    invite_file: Path | None,
    clients: int,
    rate: float,
    seconds: float,
    ramp: float,
    action: str,
    size: int | None,
    data: tuple[bool, Any],
    requests: bool,
    token: str | None,
    plaintext: bool,
    application: str,
    app_version: str,
    directory: str,
    with_passphrase: bool,
) -> None:
    """
    Load a server with simulated clients and measure its answers. ONLY FOR SERVERS THAT YOU RUN YOURSELF: it is an
    attack on all others.

    Clients connect over the ramp and then send at a steady rate, whether the server keeps up or not. A latency counts
    from the moment when its packet was due, so a server that stalls does not hide it. An answer is a packet with the
    name of --action that brings the same data back, as "echo" of `securelink serve` does; with --data, which nothing
    tells apart, the next packet of that name; with --request, the reply.

    Ctrl-C ends it early. The exit code is 0 when nothing failed, else 1. An invite must admit every client: make it
    with `securelink token create --uses any`.

    \b
    securelink load --invite-file invite.txt
    securelink load localhost 5050 --clients 500 --rate 20 --duration 1m
    securelink load localhost 5050 --action move --data '{"x": 1}' --request
    """
    fixed, value = data
    if fixed and size is not None:
        raise click.UsageError("--data says what is sent; leave --size out")
    plan = Plan(
        clients=clients,
        rate=rate,
        seconds=seconds,
        ramp=ramp,
        action=action,
        size=FILLER if size is None else size,
        data=value,
        fixed=fixed,
        requests=requests,
    )
    where = target(host, port, invite_file, token, plaintext=plaintext)
    allow_files(clients)
    known = KnownServers(known_servers_file(directory))
    make = partial(
        _client,
        where.host,
        where.port,
        keys=None if plaintext else client_key(directory, with_passphrase),
        encryption="off" if plaintext else "required",
        token=where.token,
        trust=None if plaintext else "known",
        known_servers=known.path,
        application=application,
        version=app_version,
    )
    tally = Tally()
    first = SimulatedClient(0, make(pin=where.pin), plan, tally)
    # Alone and in words: when this one cannot enter, none can.
    enter(first.client, known, CONNECT_SECONDS, where)
    tally.came()
    swarm = Swarm(plan, first, partial(make, pin=first.client.server_fingerprint), tally)
    with progress(swarm) as show:
        swarm.run(show)
    for line in summary(swarm):
        click.echo(line)
    ctx.exit(1 if tally.failures else 0)


# --- while it runs ---------------------------------------------------------------------------------------------


class Progress:
    """How it is going, as one line."""

    def __init__(self, swarm: Swarm) -> None:
        self._swarm = swarm
        self._past = deque([(clock(), 0, 0)], maxlen=10)  # moments about a tenth of a second apart

    def line(self) -> str:
        """The numbers of now; rates over the last second."""
        swarm, tally, now = self._swarm, self._swarm.tally, clock()
        then, sent, answered = self._past[0]
        passed = max(now - then, 1e-6)
        parts = [
            f"connected {tally.connected:,} of {swarm.plan.clients:,}",
            f"sent {(tally.sent - sent) / passed:,.0f}/s",
            f"answers {(tally.answered - answered) / passed:,.0f}/s",
            f"errors {tally.failures:,}",
        ]
        if now < swarm.steady_at:
            parts.append("ramp")
        elif now < swarm.ends_at:
            parts.append(f"{swarm.ends_at - now:,.0f} s left")
        else:
            parts.append("last answers")
        self._past.append((now, tally.sent, tally.answered))
        return "   ".join(parts)


@contextmanager
def progress(swarm: Swarm, console: Console | None = None) -> Iterator[Any]:
    """
    Gives a function that shows how it is going, to be called ten times a second.

    Args:
        console: Where: one line that changes in a terminal, else one line a second.
    """
    console = console or Console(stderr=True, highlight=False)
    line = Progress(swarm).line
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            yield lambda: live.update(Text(line()), refresh=True)
        return
    last = clock()

    def show() -> None:
        nonlocal last
        text = line()
        if clock() - last >= 1:
            last = clock()
            tell(text)

    yield show


# --- afterwards ------------------------------------------------------------------------------------------------


def summary(swarm: Swarm) -> Iterator[str]:
    """The results, line by line."""
    plan, tally = swarm.plan, swarm.tally
    seconds = swarm.measured_seconds
    early = ", ended early" if swarm.interrupted else ""
    yield f"connected      {tally.entered:,} of {plan.clients:,} clients in {swarm.ramp_took:.1f} s"
    rate = tally.entered * plan.rate
    yield f"steady         {rate:,.6g} packets a second for {seconds:.1f} s{early}"
    yield f"sent           {tally.sent:,}"
    yield f"answered       {tally.answered:,}"
    if tally.others:
        yield f"other packets  {tally.others:,}"
    yield f"errors         {tally.failures:,}"
    for kind, times in tally.errors.most_common():
        yield f"  {times:>9,}  {kind}"
    yield ""
    if tally.latency.count:
        yield f"latency of {tally.latency.count:,} answers, from the moment when their packets were due"
        yield "   ".join(
            [f"p{p:g} {_shown(tally.latency.percentile(p))}" for p in PERCENTILES]
            + [f"max {_shown(tally.latency.greatest)}"]
        )
        yield ""
        yield from bars(tally.latency)
    else:
        yield "no latency was measured"
    yield from _hints(swarm)


def bars(latency: Histogram) -> Iterator[str]:
    """The histogram as text."""
    rows = latency.rows()
    most = max(count for _, count in rows)
    full = "█" if "utf" in (sys.stdout.encoding or "").lower() else "#"
    for limit, count in rows:
        bar = full * max(round(count / most * BAR), 1 if count else 0)
        yield f"up to {_shown(limit):>7}  {bar:<{BAR}}  {count:,}"


def _hints(swarm: Swarm) -> Iterator[str]:
    plan, tally = swarm.plan, swarm.tally
    if tally.sent and not tally.answered and not plan.requests:
        yield (
            f"hint: nothing came back under the name {plan.action!r}. Its handler must send the packet back; or add "
            "--request, then what the handler returns is the answer"
        )
    if any(kind.startswith("not connected: refused") for kind in tally.errors):
        yield "hint: an invite must admit every client: securelink token create --uses any"
    if tally.worst_delay > LATE:
        yield (
            f"hint: packets were sent up to {_shown(tally.worst_delay)} late, because this machine was busy; the "
            "latencies have that in them"
        )


def _shown(seconds: float) -> str:
    """A duration with three digits at most."""
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{seconds * 1000:.3g} ms"
