"""A run of `publish`: both stores, the rounds, the report."""

from contextlib import ExitStack
from pathlib import Path

import trio

from postroom.core import open_broker
from postroom.storage.lmdb import LmdbStore
from postroom.storage.memory import MemoryStore

from .. import result
from ..result import OURS, Result
from ..rounds import FsyncProbe, Side, interleave
from ..scratch import scratch
from .ours import BrokerSide
from .raw import RawLmdb
from .settings import APP, Settings


class PublishResult(Result, frozen=True, kw_only=True, omit_defaults=True):
    """A result of `publish`. Its `concurrency` is producers times batch."""

    producers: int
    batch: int
    """Messages a call."""
    queued_per_recipient: int
    batch_mean: float
    """Messages a commit of the broker held on average."""
    baseline_batch: int
    """Messages a commit of the raw loop held."""


def run(settings: Settings, seconds: float, directory: str | None, *, as_json: bool) -> None:
    """Measure and print. Raises BenchFailure, UsageError, StorageFailure."""
    with scratch(directory) as place:
        measured = trio.run(_measure, settings, seconds, place)
    calls = "submit" if settings.batch == 1 else f"submit_many of {settings.batch:,}"
    headline = (
        f"{settings.producers:,} producers with {calls}, {settings.payload_bytes:,} bytes each to {settings.recipients:,} "
        f"recipients; commits of {measured.batch_mean:,.0f}, of the baseline {measured.baseline_batch:,}"
    )
    result.report(measured, headline, as_json=as_json)


async def _measure(settings: Settings, seconds: float, place: Path) -> PublishResult:
    store = MemoryStore() if settings.memory else LmdbStore(place / "broker")
    async with open_broker(store, rules={APP: settings.rules}) as broker:
        ours = BrokerSide(broker, settings)
        with ExitStack() as stack:
            raws = {
                name: stack.enter_context(RawLmdb(place / name, rows, lambda: ours.sent))
                for name, rows in settings.baselines().items()
            }
            probe = stack.enter_context(FsyncProbe(place))
            if settings.queued_per_recipient:
                await ours.preload()
                for raw in raws.values():
                    await raw.preload()
            sides: dict[str, Side] = {OURS: ours, **raws}
            series = await interleave(sides, probe, seconds)
    return PublishResult(
        bench="publish",
        payload_bytes=settings.payload_bytes,
        concurrency=settings.concurrency,
        durability="fsync" if store.durable else "memory",
        recipients=settings.recipients,
        history=settings.history,
        seed=settings.seed,
        producers=settings.producers,
        batch=settings.batch,
        queued_per_recipient=settings.queued_per_recipient,
        batch_mean=round(ours.batch_mean, 1),
        baseline_batch=settings.raw_batch,
        **result.common(series, probe, place, settings.rate),
    )
