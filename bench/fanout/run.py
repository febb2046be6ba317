"""A run of `fanout`: two servers with their sessions, the rounds, the report."""

from pathlib import Path

import click
import msgspec
import trio

from postroom.storage.lmdb import LmdbStore

from .. import result, servers
from ..failure import BenchFailure
from ..figures import Latency
from ..result import OURS, Result
from ..rounds import FsyncProbe, Side, interleave
from ..scratch import scratch
from ..sessions.app import allow_open_files
from .load import Audience, audience
from .settings import Settings

BASELINE = "bare_hypercorn"


class FanoutResult(Result, frozen=True, kw_only=True, omit_defaults=True):
    """A result of `fanout`. Its operations are frames that arrived, its `concurrency` frames under way at a time."""

    host: str
    """Which of our HTTP hosts carried the sessions."""
    sessions: int
    in_flight: int
    """Messages under way at a time."""
    last_ms: Latency
    """Of a message: until the last session had it."""
    baseline_last_ms: dict[str, Latency]
    client_busy: dict[str, float]
    """The part of the time in which the client was at work, with each server."""


def run(settings: Settings, seconds: float, directory: str | None, *, as_json: bool) -> None:
    """Measure and print. Raises BenchFailure, UsageError."""
    with scratch(directory) as place:
        measured = _measure(settings, seconds, place)
    headline = (
        f"messages of {settings.payload_bytes:,} bytes to {settings.sessions:,} sessions at {measured.host}, "
        f"{settings.in_flight:,} under way; an operation is a frame that arrived"
    )
    result.report(measured, headline, as_json=as_json)
    if not as_json:
        click.echo("\n".join(_lines(measured)))


def _lines(measured: FanoutResult) -> list[str]:
    """What the common table does not say."""
    last = {OURS: measured.last_ms, **measured.baseline_last_ms}
    return [
        f"  until the last session had it: {name} p50 {took.p50:.3f} ms, p99 {took.p99:.3f}, max {took.max:.3f}; "
        f"the client was at work {measured.client_busy[name]:.0%} of the time"
        for name, took in last.items()
    ]


def _measure(settings: Settings, seconds: float, place: Path) -> FanoutResult:
    allow_open_files(2 * settings.sessions)
    config = place / "postroom.toml"
    config.write_text(settings.config(), encoding="utf-8")
    with (
        servers.postroom(config, settings.host, place / "data", place / "postroom.log") as server,
        audience(server.address, settings) as ours,
    ):
        script = ours.rehearse()
        file = place / "script"
        file.write_bytes(msgspec.msgpack.encode(script))
        bare = servers.running("bare hypercorn", ["postroom.bench.fanout.bare", str(file)], place / "bare.log")
        with bare as server, audience(server.address, settings) as theirs, FsyncProbe(place) as probe:
            if theirs.rehearse() != script:
                raise BenchFailure("bare hypercorn does not say what postroom says")
            return trio.run(_rounds, settings, ours, theirs, probe, seconds, place)


async def _rounds(
    settings: Settings, ours: Audience, theirs: Audience, probe: FsyncProbe, seconds: float, place: Path
) -> FanoutResult:
    sides: dict[str, Side] = {OURS: ours, BASELINE: theirs}
    series = await interleave(sides, probe, seconds)
    return FanoutResult(
        bench="fanout",
        payload_bytes=settings.payload_bytes,
        concurrency=settings.sessions * settings.in_flight,
        durability="fsync" if LmdbStore.durable else "memory",
        recipients=settings.sessions,
        history=settings.history,
        seed=settings.seed,
        host=settings.host,
        sessions=settings.sessions,
        in_flight=settings.in_flight,
        last_ms=series[OURS].last.latency(),
        baseline_last_ms={BASELINE: series[BASELINE].last.latency()},
        client_busy={OURS: round(ours.busy, 2), BASELINE: round(theirs.busy, 2)},
        **result.common(series, probe, place, settings.rate),
    )
