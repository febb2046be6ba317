"""A run of `import`: page by page, each side in turn."""

import time
from pathlib import Path
from typing import Final

import click
import msgspec
import trio

from postroom.core import Rules, open_broker
from postroom.storage.lmdb import LmdbStore
from postroom.transports.leancloud.importing.taking import BATCH

from .. import result
from ..figures import Series
from ..result import OURS, Result
from ..rounds import FSYNC_SHARE, FsyncProbe
from ..scratch import scratch
from .settings import APP, Settings
from .sides import RawRows, Taking

BASELINE: Final = "raw_lmdb"
_DAY_MS: Final = 86_400_000
_WARM: Final = 1
"""Pages that are not counted, if there are more."""


class ImportResult(Result, frozen=True, kw_only=True, omit_defaults=True):
    """A result of `import`. Its operations are messages, its calls files."""

    conversations: int
    messages: int
    """That were imported in all."""
    export_bytes: int
    """Their files."""
    store_bytes: int
    """What they take of the disk."""


def run(settings: Settings, seconds: float, directory: str | None, *, as_json: bool) -> None:
    """Measure and print. Raises BenchFailure, UsageError, StorageFailure."""
    with scratch(directory) as place:
        measured = trio.run(_measure, settings, seconds, place)
    headline = (
        f"{measured.messages:,} messages of {measured.conversations:,} conversations, {settings.payload_bytes:,} bytes each, "
        f"{measured.export_bytes / 1e6:,.0f} MB of export, {measured.store_bytes / 1e6:,.0f} MB on disk; "
        f"{BATCH} messages at once"
    )
    result.report(measured, headline, as_json=as_json)


async def _measure(settings: Settings, seconds: float, place: Path) -> ImportResult:
    store = LmdbStore(place / "broker")
    series = {OURS: Series(), BASELINE: Series()}
    messages = export_bytes = 0
    # Whatever the clock says: what is taken over is neither too old nor of the future.
    newest_ms = time.time_ns() // 1_000_000 - _DAY_MS
    async with open_broker(store, rules={APP: Rules(history_ttl_ms=None)}) as broker:
        ours = Taking(broker)
        conversations = place / "conversations.jsonl"
        settings.write_conversations(conversations)
        await ours.conversations(conversations)
        with RawRows(place / BASELINE) as raw, FsyncProbe(place) as probe:
            for number, page in enumerate(settings.pages(newest_ms)):
                path = place / "page.json"
                path.write_bytes(msgspec.json.encode(page))
                export_bytes += path.stat().st_size
                messages += len(page)
                slices = {OURS: await ours.page(path, len(page)), BASELINE: await raw.page(page)}
                if number >= _WARM or settings.messages == messages:
                    for name, done in slices.items():
                        series[name].add(done)
                    probe.run(slices[BASELINE].seconds / FSYNC_SHARE)
                    click.echo(f"imported: {messages:,} of {settings.messages:,}", err=True)
                if series[OURS].seconds >= seconds:
                    break
            store_bytes = store.statistics().used_bytes
            return ImportResult(
                bench="import",
                payload_bytes=settings.payload_bytes,
                concurrency=BATCH,
                durability="fsync",
                recipients=0,
                history=True,
                seed=settings.seed,
                conversations=settings.conversations,
                messages=messages,
                export_bytes=export_bytes,
                store_bytes=store_bytes,
                **result.common(series, probe, place, None),
            )
