"""The baseline of `publish` writes what the broker writes: the same rows in the same tables, of the same lengths."""

from collections import Counter
from pathlib import Path

import pytest

from postroom.bench.failure import BenchFailure
from postroom.bench.publish.ours import BrokerSide
from postroom.bench.publish.raw import RawLmdb
from postroom.bench.publish.settings import APP, Settings
from postroom.core import Rules, open_broker
from postroom.storage import keys
from postroom.storage.lmdb.environment import open_databases, open_environment

SLACK_BYTES = 12
"""Numbers grow by some bytes as they rise."""

Rows = dict[str, dict[tuple[bytes, int], list[int]]]


def settings(*, history: bool = False, queued: int = 0) -> Settings:
    """Small, and with queues that overflow when asked to."""
    return Settings(
        producers=2,
        batch=32,
        payload_bytes=100,
        recipients=3,
        queued_per_recipient=queued,
        history=history,
        rate=None,
        memory=False,
        baseline_batch=32,
        seed=3,
    )


def kind(key: bytes) -> bytes:
    """Of a row of the views; of one in the history all but the message's place, so that its timeline is told too."""
    return key[: -keys.PAIR.size] if key[:1] in (keys.KEPT, keys.TIMELINE) else key[:1]


def rows(directory: Path) -> Rows:
    """By table, then by kind of row and length of key: the lengths of the values."""
    environment = open_environment(directory, readonly=True)
    try:
        databases = open_databases(environment, create=False)
        found: Rows = {}
        with environment.begin() as transaction:
            for name in ("log", "bodies", "live", "live-queues"):
                kinds = found[name] = {}
                with transaction.cursor(databases[name]) as cursor:
                    for key, value in cursor:
                        kinds.setdefault((kind(key) if name == "live" else b"", len(key)), []).append(len(value))
        return found
    finally:
        environment.close()


@pytest.mark.parametrize("history", [False, True])
@pytest.mark.parametrize("queued", [0, 190])
async def test_the_raw_loop_writes_the_rows_of_the_broker(tmp_path: Path, history: bool, queued: int) -> None:
    shape = settings(history=history, queued=queued)
    async with open_broker(tmp_path / "broker", rules={APP: Rules()}) as broker:
        ours = BrokerSide(broker, shape)
        with RawLmdb(tmp_path / "raw", shape, lambda: ours.sent) as raw:
            await ours.preload()
            await raw.preload()
            done = await ours.run(0.02)
            matched = await raw.run(0.02)
    assert done.ops == matched.ops >= 64
    assert ours.sent == done.ops + 3 * queued
    wrote, put = rows(tmp_path / "broker"), rows(tmp_path / "raw")
    wrote["log"][b"", 8].pop(0)  # that the broker started
    assert len(wrote["live"].pop((keys.BEGAN, 9))) == 1  # and where
    assert len(wrote["live"]) == 3 + (1 + 3 * 2 + 1) * history  # clock, app, users; kept, to, to from, sent
    for table in wrote:
        counts = [Counter({of: len(values) for of, values in side[table].items()}) for side in (wrote, put)]
        assert counts[0] == counts[1], table
        for of, values in wrote[table].items():
            assert max(values) - min(put[table][of]) <= SLACK_BYTES, (table, of)
            assert max(put[table][of]) - min(values) <= SLACK_BYTES, (table, of)


def test_the_second_raw_loop_puts_the_rows_of_messages_that_are_not_kept() -> None:
    assert settings().baselines() == {"raw_lmdb": settings()}
    kept = settings(history=True)
    assert kept.baselines() == {"raw_lmdb": kept, "raw_lmdb_no_history": settings()}


async def test_a_put_that_did_nothing_is_found(tmp_path: Path) -> None:
    with RawLmdb(tmp_path / "raw", settings(), lambda: 1) as raw:
        raw._position -= 1  # the next key is there already
        await raw.run(0)
        raw._position -= 1
        with pytest.raises(BenchFailure, match="LMDB has"):
            await raw.run(0)


@pytest.mark.parametrize("batch", [1, 8])
async def test_a_refused_message_is_a_failure(tmp_path: Path, batch: int) -> None:
    shape = settings()
    shape = Settings(**{name: getattr(shape, name) for name in shape.__struct_fields__} | {"batch": batch})
    async with open_broker(tmp_path, rules={APP: Rules(queue_messages=5, overflow="refuse")}) as broker:
        with pytest.raises(BenchFailure, match="a send failed: the queue of 'user-"):
            await BrokerSide(broker, shape).run(60)
