"""What time ends: sessions of dead processes, dedup outcomes, results, queue entries, history, broadcasts, old events; and what
deleted conversations left. All in bounded steps."""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import islice
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
    SweepConversation,
)
from ..domain.rooms import gap_is_over
from ..errors import Corruption, NoSpace, Refusal, StorageFailure
from ..expiry import expired
from ..ids import ExpiryMs
from ..limits import HISTORY_SWEEP_STEP, SWEEP_STEP, SWEEP_STEP_MIN
from ..model import Conversation
from ..ports import Snapshot, Store
from .clock import ExpiryClock
from .options import Options
from .pending import Settled
from .snapshots import read_snapshot
from .writer import Writer

T = TypeVar("T")

Named = tuple[str, Conversation]
"""A conversation and its app."""

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
        await self._sweep_deleted()
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

    async def _sweep_deleted(self) -> None:
        """Whoever blocks one of them is looked for once for all, since blocks lie by user. A name is free when nobody was
        found who does."""
        before: tuple[list[Named], set[Named]] = [], set()
        deleted = await self._read(_deleted)
        while deleted:
            blocked = await self._unblock(frozenset(deleted))
            for each in deleted:
                await self._repeat(partial(_sweep_conversation, *each, unblocked=each not in blocked))
            if (deleted, blocked) == before:
                return  # no room for any: the next round tries again
            before, deleted = (deleted, blocked), await self._read(_deleted)

    async def _unblock(self, deleted: frozenset[Named]) -> set[Named]:
        """Forget the blocks of these; which of them had any."""
        after, had = b"", set[Named]()
        while True:
            after, blockers = await self._read(partial(_blockers, deleted, after))
            for (app, conversation), users in blockers.items():
                had.add((app, conversation))
                await self._repeat(partial(_sweep_conversation, app, conversation, blockers=tuple(users)))
            if not after:
                return had

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


def _deleted(snapshot: Snapshot) -> list[Named]:
    views = snapshot.views
    every = ((app, each) for app in views.all_totals() for each in views.deleted_conversations(app))
    return list(islice(every, SWEEP_STEP))


def _blockers(deleted: frozenset[Named], after: bytes, snapshot: Snapshot) -> tuple[bytes, dict[Named, list[str]]]:
    """Who blocks one of these, among the next some; and where to go on, or nothing."""
    blockers: dict[Named, list[str]] = {}
    for count, (place, app, user, (_, conversation)) in enumerate(snapshot.views.blocks(after=after), 1):
        if (app, conversation) in deleted:
            blockers.setdefault((app, conversation), []).append(user)
        if count == SWEEP_STEP:
            return place, blockers
    return b"", blockers


def _sweep_conversation(
    app: str, conversation: Conversation, limit: int, *, blockers: tuple[str, ...] = (), unblocked: bool = False
) -> SweepConversation:
    step = min(limit, HISTORY_SWEEP_STEP)
    return SweepConversation(app=app, conversation=conversation, limit=step, blockers=blockers, unblocked=unblocked)


def _expire_history(app: str, limit: int) -> ExpireHistory:
    return ExpireHistory(app=app, limit=min(limit, HISTORY_SWEEP_STEP))


def _expire_broadcasts(app: str, limit: int) -> ExpireBroadcasts:
    return ExpireBroadcasts(app=app, limit=limit)


def _oldest(snapshot: Snapshot) -> ExpiryMs | None:
    """The clock of the log's first record."""
    first = next(snapshot.log(), None)
    return first.clock_ms if first else None
