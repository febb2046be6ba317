"""A session's way back to its broker: pages of its queue, its ack slot, the counters."""

from collections.abc import Awaitable, Callable

import trio

from ..ids import Position
from ..ports import Store
from .clock import ExpiryClock
from .reading import Page, read_page
from .session import Session
from .statistics import Counters
from .waits import Waits
from .window import Sent
from .writer import Writer

_READERS_MAX = 8
"""Sessions that read from disk at the same time."""


class SessionHost:
    """What every session of a broker shares."""

    def __init__(
        self, store: Store, writer: Writer, waits: Waits, expiry: ExpiryClock, counters: Counters, nursery: trio.Nursery
    ) -> None:
        self._store = store
        self._writer = writer
        self._waits = waits
        self._expiry = expiry
        self._counters = counters
        self._nursery = nursery
        self._readers = trio.CapacityLimiter(_READERS_MAX)

    async def read_page(self, app: str, user: str, after: Position) -> Page:
        def read() -> Page:
            with self._store.snapshot() as snapshot:
                return read_page(snapshot, app, user, after, self._expiry.now())

        if not self._store.durable:
            await trio.lowlevel.checkpoint()
            return read()
        return await trio.to_thread.run_sync(read, limiter=self._readers)

    def start(self, task: Callable[[], Awaitable[None]]) -> None:
        self._nursery.start_soon(task)

    def delivered(self, app: str) -> None:
        self._counters.delivered[app] += 1

    def dropped(self, app: str) -> None:
        self._counters.session_dropped[app] += 1

    def acknowledge(self, session: Session, through: Position, handled: list[Sent]) -> None:
        unqueued = [frame for frame in handled if not frame.queued]
        self._waits.received(session.app, session.user, [frame.id for frame in unqueued if not frame.awaited])
        confirmed = [frame.id for frame in unqueued if frame.awaited]
        self._writer.acknowledge(session, through, confirmed, len(handled) - len(unqueued))

    async def acknowledged(self, session: Session) -> None:
        slot = self._writer.slot(session)
        if slot is not None:
            await slot.wait()
