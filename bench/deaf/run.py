"""A run of `deaf`: one server, three rooms, two crowds; the listeners of each room measured in turn."""

import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
import trio

from postroom.storage.lmdb import LmdbStore

from .. import result, servers
from ..failure import BenchFailure
from ..fanout.load import Audience, audience
from ..idle.load import resident
from ..result import OURS, Result
from ..rounds import FsyncProbe, Side, interleave
from ..scratch import scratch
from ..servers import Server
from ..sessions import wire
from ..sessions.app import SENDER, allow_open_files, opening
from ..sessions.session import Session
from .crowd import READY
from .settings import FILLING_BYTES, FILLING_MAX, Room, Settings

READING: Final = "room_that_reads"
ALONE: Final = "room_alone"
_DROPPED: Final = re.compile(r'^postroom_session_dropped_total\{app="bench"\} ([0-9.e+]+)$', re.M)


class DeafResult(Result, frozen=True, kw_only=True, omit_defaults=True):
    """A result of `deaf`. An operation is a frame that arrived at a listener."""

    host: str
    """Which of our HTTP hosts carried the sessions."""
    listeners: int
    crowd: int
    """Sessions that never read, and as many that do in another room."""
    deaf_bytes: int
    """The server's memory that each deaf session came to hold while it was sent more than it may hold."""
    p99_ratios: dict[str, float]
    """The listeners' p99 beside the deaf, in parts of that in each other room."""


def run(settings: Settings, seconds: float, directory: str | None, *, as_json: bool) -> None:
    """Measure and print. Raises BenchFailure, UsageError."""
    with scratch(directory) as place:
        measured = _measure(settings, seconds, place)
    headline = (
        f"{settings.listeners:,} listeners in a room with {settings.crowd:,} sessions that never read, at {measured.host}; "
        "an operation is a frame that arrived at a listener"
    )
    result.report(measured, headline, as_json=as_json)
    if not as_json:
        for name, ratio in measured.p99_ratios.items():
            click.echo(f"  p99 is {ratio:.2f} of that in {name}")
        click.echo(f"  a session that never reads came to hold {measured.deaf_bytes / 1000:,.1f} kB")


def _measure(settings: Settings, seconds: float, place: Path) -> DeafResult:
    allow_open_files(2 * settings.crowd + 4 * settings.listeners)
    config = place / "postroom.toml"
    config.write_text(settings.config(), encoding="utf-8")
    with (
        servers.postroom(config, settings.host, place / "data", place / "postroom.log") as server,
        _crowd(server, "reading", settings, "reads"),
        _crowd(server, "deaf", settings, "deaf"),
    ):
        before = resident(server.pid)
        _fill(server, settings)
        deaf_bytes = (resident(server.pid) - before) // settings.crowd
        with (
            audience(server.address, settings.messages("deaf")) as deaf,
            audience(server.address, settings.messages("reading")) as reading,
            audience(server.address, settings.messages("alone")) as alone,
            FsyncProbe(place) as probe,
        ):
            return trio.run(_rounds, settings, (deaf, reading, alone), probe, seconds, place, deaf_bytes)


@contextmanager
def _crowd(server: Server, room: Room, settings: Settings, mode: str) -> Iterator[None]:
    """A process whose sessions are in a room as long as the block runs. Raises BenchFailure."""
    host, port = server.address
    module = [sys.executable, "-m", "postroom.bench.deaf.crowd"]
    arguments = [host, str(port), room, str(settings.crowd), str(settings.seed), mode]
    with subprocess.Popen(module + arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline().strip() != READY:
                raise BenchFailure("a crowd could not come together")
            yield
        finally:
            process.kill()


def _fill(server: Server, settings: Settings) -> None:
    """Send to the deaf until each of them has been dropped something. Raises BenchFailure."""
    frame = b'{"type":"send","ref":"f","to":{"kind":"room","id":"deaf"},"payload":"%b"}' % (b"x" * FILLING_BYTES)
    sender = Session(server.address)
    with sender.socket:
        sender.say(opening(SENDER, settings.seed))
        sender.upgraded()
        sender.answer()
        for number in range(FILLING_MAX):
            sender.say(wire.message(frame))
            sender.answer()
            # Many are dropped at once, all of them a little later.
            if number % 10 == 9 and _dropped(server) >= 10 * settings.crowd:
                return
    raise BenchFailure("whoever does not read was never dropped anything")


def _dropped(server: Server) -> float:
    """Frames that found no room, as the server counts them."""
    host, port = server.address
    with urllib.request.urlopen(f"http://{host}:{port}/metrics") as answer:
        found = _DROPPED.search(answer.read().decode())
    return float(found[1]) if found else 0


async def _rounds(
    settings: Settings,
    rooms: tuple[Audience, Audience, Audience],
    probe: FsyncProbe,
    seconds: float,
    place: Path,
    deaf_bytes: int,
) -> DeafResult:
    sides: dict[str, Side] = dict(zip((OURS, READING, ALONE), rooms, strict=True))
    series = await interleave(sides, probe, seconds)
    p99 = {name: theirs.times.latency().p99 for name, theirs in series.items()}
    return DeafResult(
        bench="deaf",
        payload_bytes=settings.payload_bytes,
        concurrency=settings.listeners,
        durability="fsync" if LmdbStore.durable else "memory",
        recipients=settings.listeners + settings.crowd,
        history=False,
        seed=settings.seed,
        host=settings.host,
        listeners=settings.listeners,
        crowd=settings.crowd,
        deaf_bytes=deaf_bytes,
        p99_ratios={name: round(p99[OURS] / p99[name], 3) for name in (READING, ALONE)},
        **result.common(series, probe, place, None),
    )
