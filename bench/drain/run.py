"""A run of `drain`: the queues are filled, then groups of users come to two servers in turn."""

from pathlib import Path
from typing import Final

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
from .fill import fill
from .load import Comers
from .settings import Settings

BASELINE: Final = "bare_hypercorn"


class DrainResult(Result, frozen=True, kw_only=True, omit_defaults=True):
    """A result of `drain`. Its operations are queued messages that arrived, its `concurrency` users."""

    host: str
    """Which of our HTTP hosts carried the sessions."""
    users: int
    """Who come at once."""
    queued: int
    """Messages that wait for each."""
    last_ms: Latency
    """Of a user: until the last message was there."""
    baseline_last_ms: dict[str, Latency]
    client_busy: dict[str, float]
    """The part of the time in which the client was at work, with each server."""


def run(settings: Settings, directory: str | None, *, as_json: bool) -> None:
    """Measure and print. Raises BenchFailure, UsageError, StorageFailure."""
    with scratch(directory) as place:
        measured = _measure(settings, place)
    headline = (
        f"{settings.users:,} users come back to {settings.queued:,} messages of {settings.payload_bytes:,} bytes each "
        f"at {measured.host}; an operation is a message that arrived"
    )
    result.report(measured, headline, as_json=as_json)
    if not as_json:
        last = {OURS: measured.last_ms, **measured.baseline_last_ms}
        for name, took in last.items():
            click.echo(
                f"  until a user had the last one: {name} p50 {took.p50:.0f} ms, max {took.max:.0f}; "
                f"the client was at work {measured.client_busy[name]:.0%} of the time"
            )


def _measure(settings: Settings, place: Path) -> DrainResult:
    allow_open_files(2 * settings.users)
    config = place / "postroom.toml"
    config.write_text(settings.config(), encoding="utf-8")
    trio.run(fill, settings, place / "data")
    with servers.postroom(config, settings.host, place / "data", place / "postroom.log") as server:
        ours = Comers(server.address, settings)
        frames = ours.rehearse()
        file = place / "frames"
        file.write_bytes(msgspec.msgpack.encode(frames))
        bare = servers.running("bare hypercorn", ["postroom.bench.drain.bare", str(file)], place / "bare.log")
        with bare as server, FsyncProbe(place) as probe:
            theirs = Comers(server.address, settings)
            if theirs.rehearse() != frames:
                raise BenchFailure("bare hypercorn does not say what postroom says")
            return trio.run(_rounds, settings, ours, theirs, probe, place)


async def _rounds(settings: Settings, ours: Comers, theirs: Comers, probe: FsyncProbe, place: Path) -> DrainResult:
    sides: dict[str, Side] = {OURS: ours, BASELINE: theirs}
    series = await interleave(sides, probe, settings.seconds)
    return DrainResult(
        bench="drain",
        payload_bytes=settings.payload_bytes,
        concurrency=settings.users,
        durability="fsync" if LmdbStore.durable else "memory",
        recipients=settings.groups * settings.users,
        history=False,
        seed=settings.seed,
        host=settings.host,
        users=settings.users,
        queued=settings.queued,
        last_ms=series[OURS].last.latency(),
        baseline_last_ms={BASELINE: series[BASELINE].last.latency()},
        client_busy={OURS: round(ours.busy, 2), BASELINE: round(theirs.busy, 2)},
        **result.common(series, probe, place, None),
    )
