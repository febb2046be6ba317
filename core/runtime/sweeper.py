"""What time ends: sessions of dead processes, dedup outcomes, results, queue entries, history, broadcasts, old events. All in
bounded steps."""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import trio

from ..commands import (
    Command,
    EndStaleSessions,
    ExpireBroadcasts,
    ExpireDedup,
    ExpireGaps,
    ExpireHistory,
    ExpireQueue,
    ExpireResults,
    ExpireSilences,
)
from ..domain.rooms import gap_is_over
from ..errors import Corruption, NoSpace, Refusal, StorageFailure
from ..expiry import expired
from ..ids import ExpiryMs
from ..limits import HISTORY_SWEEP_STEP, SWEEP_STEP, SWEEP_STEP_MIN
from ..ports import Snapshot, Store
from .clock import ExpiryClock
from .options import Options
from .pending import Settled
from .snapshots import read_snapshot
from .writer import Writer

T = TypeVar("T")

_log = logging.getLogger("postroom.core.sweeper")


class Sweeper:
    """Asks the writer for what is due. Until it has, readers pass over what is over anyway."""

    def __init__(
        self,
        store: Store,
        writer: Writer,
        expiry: ExpiryClock,
        options: Options,
        carry_out: Callable[[Command], Awaitable[Settled]],
    ) -> None:
        self._store = store
        self._writer = writer
        self._expiry = expiry
        self._options = options
        self._carry_out = carry_out
        self._readers = trio.CapacityLimiter(1)

    async def run(self) -> None:
        """Sweep at once, then again and again."""
        while True:
            try:
                await self._round()
            except Refusal:
                pass  # no room, or closing: the next round tries again
            except (Corruption, StorageFailure) as error:
                _log.error("sweeping was broken off, the next round tries again: %s", error)
            except Exception:  # noqa: BLE001 - sweeping is not worth a broker
                _log.exception("sweeping failed, the next round tries again")
            await trio.sleep(self._options.sweep_every_s)

    async def _round(self) -> None:
        await self._read(lambda _: self._store.maintain())
        await self._repeat(lambda step: EndStaleSessions(limit=step))
        await self._repeat(lambda step: ExpireDedup(limit=step))
        await self._repeat(lambda step: ExpireResults(limit=step))
        await self._repeat(lambda step: ExpireSilences(limit=step))
        await self._expire_queues()
        for app in await self._read(lambda snapshot: list(snapshot.views.all_totals())):
            await self._repeat(partial(_expire_history, app))
            await self._repeat(partial(_expire_broadcasts, app))
        await self._expire_gaps()
        await self._due_for_trimming()

    async def _repeat(self, order: Callable[[int], Command]) -> None:
        """In large steps; in smaller ones if these find no room on the disk."""
        step = SWEEP_STEP
        while True:
            settled = await self._carry_out(order(step))
            if isinstance(settled.result, NoSpace) and step > SWEEP_STEP_MIN:
                step = max(SWEEP_STEP_MIN, step // 4)
            elif not settled.records:
                return

    async def _expire_queues(self) -> None:
        after = b""
        while True:
            after, owners = await self._read(partial(self._expired_owners, after))
            for app, user in owners:
                await self._repeat(partial(_expire_queue, app, user))
            if not after:
                return

    def _expired_owners(self, after: bytes, snapshot: Snapshot) -> tuple[bytes, list[tuple[str, str]]]:
        """Users whose first entry is over, among the next some; and where to go on, or nothing."""
        now = self._expiry.now()
        owners = []
        for count, (place, app, user, first) in enumerate(snapshot.views.queue_owners(after=after), 1):
            if expired(first.expires_s, now):
                owners.append((app, user))
            if count == SWEEP_STEP:
                return place, owners
        return b"", owners

    async def _expire_gaps(self) -> None:
        after = b""
        while True:
            after, rooms = await self._read(partial(self._rooms_with_old_gaps, after))
            for app, names in rooms.items():
                await self._repeat(partial(_expire_gaps, app, tuple(names)))
            if not after:
                return

    def _rooms_with_old_gaps(self, after: bytes, snapshot: Snapshot) -> tuple[bytes, dict[str, list[str]]]:
        """Rooms, by app, whose gap is over, among the next some; and where to go on, or nothing."""
        now = self._expiry.now()
        rooms: dict[str, list[str]] = {}
        for count, (place, gap) in enumerate(snapshot.views.gaps(after=after), 1):
            if gap_is_over(gap, now):
                rooms.setdefault(gap.app, []).append(gap.room)
            if count == SWEEP_STEP:
                return place, rooms
        return b"", rooms

    async def _due_for_trimming(self) -> None:
        retention = self._options.log_retention_ms
        now = self._expiry.now()
        oldest = await self._read(_oldest)
        if oldest is None or oldest >= now - retention:
            self._writer.trim(None, urgent=False)
        else:
            self._writer.trim(ExpiryMs(now - retention), urgent=oldest < now - retention - retention // 10)

    async def _read(self, read: Callable[[Snapshot], T]) -> T:
        return await read_snapshot(self._store, read, self._readers)


def _expire_queue(app: str, user: str, limit: int) -> ExpireQueue:
    return ExpireQueue(app=app, user=user, limit=limit)


def _expire_gaps(app: str, rooms: tuple[str, ...], limit: int) -> ExpireGaps:
    return ExpireGaps(app=app, rooms=rooms, limit=limit)


def _expire_history(app: str, limit: int) -> ExpireHistory:
    return ExpireHistory(app=app, limit=min(limit, HISTORY_SWEEP_STEP))


def _expire_broadcasts(app: str, limit: int) -> ExpireBroadcasts:
    return ExpireBroadcasts(app=app, limit=limit)


def _oldest(snapshot: Snapshot) -> ExpiryMs | None:
    """The clock of the log's first record."""
    first = next(snapshot.log(), None)
    return first.clock_ms if first else None
