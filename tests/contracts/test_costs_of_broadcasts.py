"""What commands about broadcasts are taken to cost covers what they write; and the least reserve covers a fold."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom.core.commands import (
    CreateConversation,
    DeleteBroadcast,
    EditBroadcast,
    ExpireBroadcasts,
    SendBroadcast,
    SendMessage,
)
from postroom.core.events.broadcasts import BroadcastsExpired
from postroom.core.ids import ExpiryMs, UnixMs
from postroom.core.limits import (
    BODY_BYTES_MAX,
    BROADCASTS_EXPIRED_MAX,
    DEDUP_BYTES_MAX,
    DEDUP_TTL_MS,
    NAME_BYTES_MAX,
    PUSH_BYTES_MAX,
    SWEEP_STEP,
    SWEEP_STEP_MIN,
)
from postroom.core.model import Quota, Receipt, Rules, peer, service
from postroom.core.space import BATCH_BYTES, SWEEPING_LEAVES
from postroom.storage.lmdb import LmdbStore
from postroom.storage.lmdb.space import RESERVE_BYTES_MIN
from tests.contracts.test_costs import ALICE, BOB, Scale, name

NEWS, QUOTA = service("s".ljust(NAME_BYTES_MAX, "s")), Quota(name="q" * NAME_BYTES_MAX, per_day=1_000)


@pytest.fixture
def scale(tmp_path: Path) -> Iterator[Scale]:
    """An app with full feeds and a service."""
    machine = Scale(LmdbStore(tmp_path / "data"), Rules(queue_messages=3, history_ttl_ms=10_000))
    machine.fill_feeds()
    machine.run(CreateConversation(app="demo", conversation=NEWS))
    yield machine
    machine.store.close()


@pytest.mark.parametrize("size", [0, 1_000, BODY_BYTES_MAX])
def test_broadcasts(scale: Scale, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a quota, with a key used before, and with one that is over making room; first logins begin with one."""
    monkeypatch.setattr("postroom.core.domain.broadcasts.BROADCASTS_MAX", 5)
    for number in range(12):
        key, until = f"{number % 6}".ljust(DEDUP_BYTES_MAX, "k"), UnixMs(scale.clock.wall_ms + 1_000)
        send = SendBroadcast(
            app="demo",
            sender=ALICE,
            conversation=NEWS,
            body=b"x" * size,
            valid_until_ms=until,
            push=b"p" * PUSH_BYTES_MAX,
            dedup=key,
            via=ALICE,
            quota=QUOTA,
        )
        receipt = scale.covered(send).result
        assert isinstance(receipt, Receipt)
        for _ in range(2):
            scale.covered(EditBroadcast(app="demo", id=receipt.id, by=ALICE, body=b"y" * size, quota=QUOTA))
        scale.login(name(number))
        scale.clock.run(DEDUP_TTL_MS)
    scale.covered(DeleteBroadcast(app="demo", id=receipt.id, by=ALICE, quota=QUOTA))
    monkeypatch.undo()
    for _ in range(40):
        until = UnixMs(scale.clock.wall_ms + 1)
        scale.run(SendBroadcast(app="demo", sender=ALICE, conversation=NEWS, body=b"x", valid_until_ms=until))
        scale.clock.run(1)
    scale.clock.run(10_000)
    counts = []
    for limit in (1, SWEEP_STEP_MIN, SWEEP_STEP):
        events = scale.covered(ExpireBroadcasts(app="demo", limit=limit)).events
        counts += [len(event.ids) for event in events if isinstance(event, BroadcastsExpired)]
    assert counts == [1, SWEEP_STEP_MIN, BROADCASTS_EXPIRED_MAX, 44 - 1 - SWEEP_STEP_MIN - BROADCASTS_EXPIRED_MAX]


def test_a_quota_is_in_the_cost_of_messages(scale: Scale) -> None:
    for number in range(5):
        send = SendMessage(
            app="demo", sender=ALICE, to=peer(BOB), body=b"x", queue=True, history=True, dedup=f"{number}", quota=QUOTA
        )
        scale.covered(send)


def test_every_event_can_be_folded_in_the_least_reserve(scale: Scale) -> None:
    """Or trimming would stand still while the disk is full."""
    for _ in range(60):
        until = UnixMs(scale.clock.wall_ms + 1_000)
        scale.run(
            SendBroadcast(app="demo", sender=ALICE, conversation=NEWS, body=b"x", valid_until_ms=until, quota=QUOTA)
        )
    scale.login()
    scale.clock.run(10_000)
    assert len(scale.run(ExpireBroadcasts(app="demo")).events) == 3
    while scale.read(lambda snapshot: next(snapshot.log(), None)) is not None:
        with scale.store.transaction() as transaction:
            before = transaction.written_bytes
            assert transaction.trim(ExpiryMs(1 << 60), 1) == 1
            written = transaction.written_bytes - before
        assert written + BATCH_BYTES + SWEEPING_LEAVES <= RESERVE_BYTES_MIN
