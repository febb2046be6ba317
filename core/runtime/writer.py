"""The writer: takes batches from the inbox, has them settled on its thread, and makes them known.

Whatever arrives while one commit runs is the next batch. It is the only task that writes.
"""

from collections.abc import Callable
from typing import Final, TypeVar

import trio

from ..commands import Ack, Login, Logout
from ..errors import StorageFailure
from ..ids import ExpiryMs, MessageId, Position
from ..limits import BATCH_ROWS_MAX
from ..model import Rules
from ..ports import Store
from ..rows import Opened
from .fanout import Fanout
from .inbox import Inbox
from .pending import Group, Pending, Settled
from .session import Session
from .settle import Settler
from .statistics import Counters

_TRIM_SHARE: Final = 10
"""Under load, trimming takes at most one part in so many of the writer's time."""
_NO_ROOM_PAUSE_S: Final = 0.2
"""Before trying again what not even the reserve has room for."""

T = TypeVar("T")


class Slot:
    """What one session acknowledged and the writer has not taken yet: only the newest matters."""

    def __init__(self) -> None:
        self.through = Position(0)
        self.confirmed: dict[MessageId, None] = {}
        self.count = 0
        self.opened: Opened | None = None
        self.call = Group()
        self.settled: Settled | None = None

    def done(self, pending: Pending) -> None:
        """It is on disk, or never will be."""
        self.settled = pending.settled
        self.call.done(pending)

    async def wait(self) -> None:
        """Until it is on disk. Raises what became of it instead."""
        await self.call.wait_for(1)
        assert self.settled is not None
        self.settled.raise_refusal()


class Writer:
    """Owns the order of everything that is written."""

    def __init__(
        self,
        store: Store,
        settler: Settler,
        inbox: Inbox,
        fanout: Fanout,
        counters: Counters,
        rules: Callable[[str], Rules],
    ) -> None:
        self._store = store
        self._settler = settler
        self._inbox = inbox
        self._fanout = fanout
        self._counters = counters
        self._one_at_a_time = trio.CapacityLimiter(1)
        self._slots: dict[Session, Slot] = {}
        self._rules = rules
        self._trim_before: ExpiryMs | None = None
        self._trim_urgent = False
        self._trim_next = 0.0
        self._idle = trio.Event()
        self._taken: list[Pending] = []
        self._abandoned: StorageFailure | None = None

    async def run(self) -> None:
        """Write until cancelled, which waits for the batch under way. Raises StorageFailure when the store failed."""
        while True:
            await self._work()
            await self._write()
            await self._trim()

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run `work` on the writer's thread, if the store may block; never abandoned half-way."""
        if not self._store.durable:
            await trio.lowlevel.checkpoint()
            return work()
        return await trio.to_thread.run_sync(work, limiter=self._one_at_a_time)  # which waits for it even if cancelled

    async def drained(self) -> None:
        """Wait until nothing is left to write."""
        while self._inbox or self._slots or self._taken:
            self._idle = trio.Event()
            await self._idle.wait()

    def abandon(self, why: StorageFailure) -> list[Pending]:
        """What was taken and has no outcome, and the acks that were not taken: nothing will be written any more."""
        self._abandoned = why
        left = [pending for pending in self._taken if pending.settled is None]
        left += [self._ack(session) for session in list(self._slots)]
        self._taken = []
        self._idle.set()
        return left

    # Acks.

    def acknowledge(
        self,
        session: Session,
        through: Position,
        confirmed: list[MessageId],
        count: int,
        opened: Opened | None,
    ) -> None:
        """Put an ack in the session's slot; it is never refused, and in vain if nothing will be written any more."""
        if self._abandoned is not None:
            return
        slot = self._slots.get(session)
        if slot is None:
            slot = self._slots[session] = Slot()
        slot.through = max(slot.through, through)
        slot.confirmed.update(dict.fromkeys(confirmed))
        slot.count += count
        slot.opened = slot.opened or opened
        self._inbox.arrived.set()

    def slot(self, session: Session) -> Slot | None:
        """What of the session's acks is not taken yet. Raises StorageFailure if it never will be."""
        if self._abandoned is not None:
            raise StorageFailure(str(self._abandoned)) from self._abandoned
        return self._slots.get(session)

    # Trimming.

    def trim(self, before: ExpiryMs | None, *, urgent: bool) -> None:
        """Fold what is older into base: in quiet moments, and under load within a share of the time unless it is urgent."""
        self._trim_before = before
        self._trim_urgent = urgent
        if before is not None:
            self._inbox.arrived.set()

    # The loop.

    async def _work(self) -> None:
        if self._inbox or self._slots:
            return
        self._idle.set()
        if self._trim_before is None:
            self._inbox.arrived = trio.Event()
            await self._inbox.arrived.wait()

    async def _write(self) -> None:
        batch = self._take()
        if not batch:
            return
        self._taken = batch
        began = trio.current_time()
        outcomes, later = await self.in_thread(lambda: self._settler.settle(batch))
        self._counters.batch_commands.add(len(batch) - len(later))
        self._counters.commit_ms.add((trio.current_time() - began) * 1000)
        self._taken = list(outcomes)
        self._inbox.put_back(later)
        await self._fanout.publish(outcomes)
        self._taken = []
        if not outcomes:
            await trio.sleep(_NO_ROOM_PAUSE_S)

    def _take(self) -> list[Pending]:
        """Acks first; a login or logout follows the acks of its user's sessions."""
        acks: list[Pending] = []
        rows = 0
        # What is left of an ack comes before the next one of its session: streams are accounted for from one to the other.
        begun = {pending.command.session for pending in self._inbox.returned if isinstance(pending.command, Ack)}
        for session in list(self._slots):
            if rows >= BATCH_ROWS_MAX:
                break
            if session.id not in begun:
                acks.append(self._ack(session))
                rows += acks[-1].rows
        commands: list[Pending] = []
        for pending in self._inbox.take():
            if self._slots and isinstance(pending.command, Login | Logout):
                whose = pending.command.app, pending.command.user
                commands += [
                    self._ack(session) for session in list(self._slots) if (session.app, session.user) == whose
                ]
            commands.append(pending)
        return acks + commands

    def _ack(self, session: Session) -> Pending:
        slot = self._slots.pop(session)
        command = Ack(
            app=session.app,
            user=session.user,
            session=session.id,
            through=slot.through,
            confirmed=tuple(slot.confirmed),
            count=slot.count,
            opened=slot.opened,
        )
        return Pending(command, self._rules(session.app), slot)

    async def _trim(self) -> None:
        before = self._trim_before
        if before is None or (self._inbox and not self._trim_urgent and trio.current_time() < self._trim_next):
            return
        began = trio.current_time()
        if not await self.in_thread(lambda: self._settler.trim(before)):
            self._trim_before = None
        ended = trio.current_time()
        self._trim_next = ended + (ended - began) * (_TRIM_SHARE - 1)
