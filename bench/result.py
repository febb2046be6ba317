"""One measured result: as a line of JSON, or as a few lines for people."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import click
import msgspec

from . import figures, machine
from .figures import Fsync, Latency, Ratio, Series
from .rounds import FsyncProbe
from .scratch import filesystem

Arrival = Literal["closed", "fixed"]
Durability = Literal["fsync", "memory"]

OURS: Final = "postroom"
"""The name of our side; the others are baselines."""


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every benchmark reports; each adds its own settings in a subclass."""

    bench: str
    ops_per_s: float
    latency_ms: Latency
    """Of one call: from when it was due if arrival is fixed, else from when it was made."""
    payload_bytes: int
    concurrency: int
    """Operations under way at a time, at most."""
    arrival: Arrival
    rate_per_s: float | None = None
    """Operations that were due a second, if arrival is fixed."""
    durability: Durability
    fsync_ms: Fsync
    baselines: dict[str, float]
    """Operations a second of each."""
    ratios: dict[str, float]
    """`ops_per_s` in parts of each baseline."""
    ratio_rounds: dict[str, Ratio]
    """The same, round by round."""
    baseline_latency_ms: dict[str, Latency]
    """As `latency_ms`, of each baseline's own calls."""
    rounds: int
    seconds: float
    """How long each side was measured."""
    recipients: int
    history: bool
    seed: int
    filesystem: str
    cpus: int
    cpu: str
    commit: str | None
    versions: dict[str, str]


def common(series: Mapping[str, Series], probe: FsyncProbe, place: Path, rate: float | None) -> dict[str, Any]:
    """The fields that follow from what was measured, and where."""
    ours = series[OURS]
    baselines = {name: theirs for name, theirs in series.items() if name != OURS}
    return {
        "ops_per_s": round(ours.ops_per_s, 1),
        "latency_ms": ours.times.latency(),
        "arrival": "closed" if rate is None else "fixed",
        "rate_per_s": rate,
        "fsync_ms": probe.times.fsync(),
        "baselines": {name: round(theirs.ops_per_s, 1) for name, theirs in baselines.items()},
        "ratios": {name: round(ours.ops_per_s / theirs.ops_per_s, 3) for name, theirs in baselines.items()},
        "baseline_latency_ms": {name: theirs.times.latency() for name, theirs in baselines.items()},
        "ratio_rounds": {name: figures.ratio(ours, theirs) for name, theirs in baselines.items()},
        "rounds": len(ours.rates),
        "seconds": round(ours.seconds, 3),
        "filesystem": filesystem(place),
        "cpus": machine.cpus(),
        "cpu": machine.cpu_model(),
        "commit": machine.commit(),
        "versions": machine.versions(),
    }


def report(result: Result, headline: str, *, as_json: bool) -> None:
    """Print a result to stdout; `headline` says in words what was measured."""
    click.echo(line(result) if as_json else "\n".join(_lines(result, headline)))


def line(result: Result) -> str:
    """A result as JSON."""
    return msgspec.json.encode(result).decode()


def _lines(result: Result, headline: str) -> list[str]:
    """A short table for people."""
    where = f"{result.durability} on {result.filesystem}" if result.durability == "fsync" else "in memory, forgotten"
    arrival = "closed loop" if result.rate_per_s is None else f"{result.rate_per_s:,.0f} due a second"
    lines = [
        f"{result.bench}: {headline}",
        f"  {arrival}; {where}; {result.cpus} CPUs; {result.rounds} rounds",
        f"  {'':<20}{'ops/s':>10}{'ratio':>8}{'by round':>14}{'p50 ms':>10}{'p99':>10}{'p99.9':>10}{'max':>10}",
        f"  {OURS:<20}{result.ops_per_s:>10,.0f}{'':>22}{_times(result.latency_ms)}",
    ]
    for name, value in result.baselines.items():
        spread = result.ratio_rounds[name]
        lines.append(
            f"  {name:<20}{value:>10,.0f}{result.ratios[name]:>8.2f}{f'{spread.min:.2f}-{spread.max:.2f}':>14}"
            + _times(result.baseline_latency_ms[name])
        )
    lines.append(f"  {'raw fsync':<20}{'':>32}{result.fsync_ms.p50:>10.3f}{result.fsync_ms.p99:>10.3f}")
    return lines


def _times(took: Latency) -> str:
    return "".join(f"{value:>10.3f}" for value in (took.p50, took.p99, took.p99_9, took.max))
