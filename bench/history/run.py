"""A run of `history`: the store is filled in two stages, and after each every case is measured."""

from pathlib import Path
from typing import Any, Final

import click
import trio

from postroom.core import Rules, open_broker
from postroom.storage.lmdb import LmdbStore

from .. import result
from ..result import OURS, Result
from ..rounds import FsyncProbe, Side, interleave
from ..scratch import scratch
from .fill import Fill
from .settings import APP, Case, Settings
from .sides import Asking, RawCursor

BASELINE: Final = "raw_cursor"


class HistoryResult(Result, frozen=True, kw_only=True, omit_defaults=True):
    """A result of `history`: one kind of query at one size of the store. Its operations are queries."""

    kind: str
    store_messages: int
    """Kept in the store."""
    store_bytes: int
    answer: int
    """Messages found or counted."""
    rows: int
    """The answer and what is passed over: what the cursor walks along."""


def run(settings: Settings, seconds: float, directory: str | None, *, as_json: bool) -> None:
    """Measure and print. Raises BenchFailure, UsageError, StorageFailure."""
    with scratch(directory) as place:
        measured = trio.run(_measure, settings, seconds, place)
    for line in map(result.line, measured) if as_json else _table(measured):
        click.echo(line)


async def _measure(settings: Settings, seconds: float, place: Path) -> list[HistoryResult]:
    measured: list[HistoryResult] = []
    store = LmdbStore(place / "broker")
    async with open_broker(store, rules={APP: Rules()}) as broker:
        fill = Fill(broker, settings)
        first_until = await fill.first_stage()
        for size in (settings.first, settings.messages):
            if size > settings.first:
                await fill.second_stage()
            store_bytes = store.statistics().used_bytes
            for number, case in enumerate(settings.cases(size, first_until)):
                click.echo(f"measuring: {case.kind} in {size:,} messages", err=True)
                ours, raw = Asking(broker, case, settings.clients), RawCursor(store, case)
                probe_place = place / f"{size}-{number}"
                probe_place.mkdir()
                with FsyncProbe(probe_place) as probe:
                    sides: dict[str, Side] = {OURS: ours, BASELINE: raw}
                    series = await interleave(sides, probe, seconds)
                common = result.common(series, probe, place, None)
                measured.append(_result(settings, case, size, store_bytes, common))
    return measured


def _result(settings: Settings, case: Case, size: int, store_bytes: int, common: dict[str, Any]) -> HistoryResult:
    return HistoryResult(
        bench="history",
        payload_bytes=settings.payload_bytes,
        concurrency=settings.clients,
        durability="fsync",
        recipients=settings.recipients,
        history=True,
        seed=settings.seed,
        kind=case.kind,
        store_messages=size,
        store_bytes=store_bytes,
        answer=case.answer,
        rows=case.rows,
        **common,
    )


def _table(measured: list[HistoryResult]) -> list[str]:
    """A few lines for people: each kind at both sizes, one below the other."""
    one = measured[0]
    lines = [
        f"history: {one.concurrency:,} clients that ask, {one.payload_bytes:,} bytes a message; stores of "
        + " and ".join(
            f"{size:,} messages ({each.store_bytes / 1e6:,.0f} MB)"
            for size, each in {each.store_messages: each for each in measured}.items()
        ),
        f"  {one.filesystem}; {one.cpus} CPUs; ratio: to {BASELINE}, a cursor that walks along the same number of rows",
        f"  {'':<12}{'store':>12}{'answer':>10}{'rows':>10}{'queries/s':>12}{'ratio':>8}"
        f"{'p50 ms':>11}{'p99':>11}{'max':>11}{'p50 grew':>10}",
    ]
    for kind in dict.fromkeys(each.kind for each in measured):
        first = None
        for each in (each for each in measured if each.kind == kind):
            took = each.latency_ms
            grew = f"{took.p50 / first:.2f}" if first is not None else ""
            first = took.p50
            lines.append(
                f"  {kind:<12}{each.store_messages:>12,}{each.answer:>10,}{each.rows:>10,}{each.ops_per_s:>12,.1f}"
                f"{each.ratios[BASELINE]:>8.2f}{took.p50:>11.3f}{took.p99:>11.3f}{took.max:>11.3f}{grew:>10}"
            )
    return lines
