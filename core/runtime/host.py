"""A session's way back to its broker: pages of its queue, its ack slot, the counters."""

from collections.abc import Awaitable, Callable

import trio

from ..commands import Command, Join, Leave
from ..domain import Entered
from ..ids import MessageId, Position
from ..ports import Snapshot, Store
from ..rows import Opened
from .clock import Clock, ExpiryClock
from .pending import Settled
from .reading import Missed, Page, read_missed, read_page
from .session import Session
from .snapshots import PageReads, read_snapshot
from .statistics import Counters
from .waits import Waits
from .window import Sent
from .writer import Writer

_READERS_MAX = 8
"""Sessions that read from disk at the same time."""


class SessionHost:
    """What every session of a broker shares."""

    def __init__(
        self,
        store: Store,
        writer: Writer,
        waits: Waits,
        clock: Clock,
        expiry: ExpiryClock,
        counters: Counters,
        nursery: trio.Nursery,
        order: Callable[[Command, Session | None], Awaitable[Settled]],
    ) -> None:
        """`order` carries a command out; the session, if there is one, is told before its caller is."""
        self._store = store
        self._writer = writer
        self._waits = waits
        self._clock = clock
        self._expiry = expiry
        self._counters = counters
        self._nursery = nursery
        self._order = order
        self._readers = trio.CapacityLimiter(_READERS_MAX)
        self._pages = PageReads(store, self._readers)

    async def read_page(self, app: str, user: str, after: Position, login: Opened) -> Page:
        def read(snapshot: Snapshot) -> Page:
            return read_page(snapshot, app, user, after, self._expiry.now(), login, self._clock.wall_ms())

        return await self._pages.read(read)

    async def read_missed(
        self, app: str, user: str, room: str, since: MessageId, entered: Entered, size: int
    ) -> Missed:
        def read(snapshot: Snapshot) -> Missed:
            return read_missed(snapshot, app, user, room, since, entered, size)

        return await read_snapshot(self._store, read, self._readers)

    async def join(self, session: Session, room: str, *, replays: bool) -> Entered:
        command = Join(app=session.app, user=session.user, session=session.id, room=room)
        settled = await self._order(command, session if replays else None)
        settled.raise_refusal()
        assert isinstance(settled.result, Entered)
        return settled.result

    async def leave(self, session: Session, room: str) -> None:
        command = Leave(app=session.app, user=session.user, session=session.id, room=room)
        (await self._order(command, None)).raise_refusal()

    def start(self, task: Callable[[], Awaitable[None]]) -> None:
        self._nursery.start_soon(task)

    def delivered(self, app: str) -> None:
        self._counters.delivered[app] += 1

    def dropped(self, app: str) -> None:
        self._counters.session_dropped[app] += 1

    def acknowledge(self, session: Session, through: Position, handled: list[Sent], opened: Opened | None) -> None:
        unqueued = [frame for frame in handled if not frame.queued]
        self._waits.received(
            session.app, session.user, [frame.id for frame in unqueued if not (frame.awaited or frame.notice)]
        )
        confirmed = [frame.id for frame in unqueued if frame.awaited and not frame.notice]
        self._writer.acknowledge(session, through, confirmed, len(handled) - len(unqueued), opened)

    def acknowledged(self, session: Session) -> Callable[[], Awaitable[None]]:
        slot = self._writer.slot(session)
        return slot.wait if slot is not None else trio.lowlevel.checkpoint
