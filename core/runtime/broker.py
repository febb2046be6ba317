"""The broker: commands in, receipts out once they are on disk, sessions for whoever receives."""

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from typing import TypeVar

import msgspec
import trio

from ..checks import check, check_name
from ..commands import Command, Login, Logout, SendMessage, StartEpoch
from ..errors import Refusal, ShuttingDown, StorageFailure, UnknownApp
from ..ids import UnixMs
from ..limits import PAGE_BYTES
from ..model import LANES, Confirmation, Lane, Receipt, Rules
from ..ports import Snapshot, Store
from ..queries import Query
from .clock import Clock, ExpiryClock
from .fanout import Fanout
from .history import History
from .host import SessionHost
from .inbox import Inbox
from .options import Options
from .pending import Call, Group, Pending, Settled
from .session import Session, Sink
from .settle import Settler
from .statistics import BrokerStatistics, Counters
from .sweeper import Sweeper
from .waits import Waits
from .writer import Writer

A = TypeVar("A")

_log = logging.getLogger("postroom.core.broker")

_LEAVING_S = 1
"""How long a drain waits for owners of sessions to leave, which logs them out; a later start does for the rest."""


class Broker:
    """One open store. Get it from `open_broker`; use it from its trio loop."""

    def __init__(
        self, store: Store, rules: Mapping[str, Rules] | None, options: Options, clock: Clock, nursery: trio.Nursery
    ) -> None:
        assert options.session_buffer_bytes >= PAGE_BYTES
        self._store = store
        self._apps = rules
        self._options = options
        self._nursery = nursery
        self._counters = Counters()
        self._waits = Waits(self._counters)
        with store.snapshot() as snapshot:
            self._expiry = ExpiryClock(clock, snapshot.views.clock_ms)
        self._settler = Settler(store, clock, self._expiry)
        self._inbox = Inbox(options.submit_deadline_s, self._counters)
        self._fanout = Fanout(self._waits, self._counters)
        self._writer = Writer(store, self._settler, self._inbox, self._fanout, self._counters, self._rules_of)
        self._host = SessionHost(
            store, self._writer, self._waits, clock, self._expiry, self._counters, nursery, self._order
        )
        self._history = History(store, clock, self._expiry, self._rules_of, self._order, self._fanout.online)
        self._failure: StorageFailure | None = None
        self._ended = False
        # Whoever cancels the block of `open_broker` still wants what was taken carried out.
        self._writing = trio.CancelScope(shield=True)

    # For callers.

    async def submit(self, command: Command) -> Receipt:
        """Carry out a command; when this returns, its outcome is on disk.

        Raises a Refusal (nothing was written), or StorageFailure if the broker is closed for good (outcome unknown). Waits for
        its place up to the submit deadline. Cancelled before the command is taken, it is withdrawn; after that it is carried
        out and the outcome dropped. Any task may call it; commands of one task and lane are carried out in order.
        """
        if not isinstance(command, SendMessage) or command.wait_ack_ms is None:
            return (await self._carry_out(self._pending(command, Call()))).receipt()
        with self._waits.place(command.app):
            pending = self._pending(command, Call())
            settled = await self._carry_out(pending)
            receipt = settled.receipt()
            confirmation: Confirmation = "delivered" if settled.wait == "delivered" else "offline"
            if pending.waiter is not None:
                try:
                    confirmation = await pending.waiter.wait(trio.current_time() + command.wait_ack_ms / 1000)
                finally:
                    self._waits.remove(pending.waiter)
            return msgspec.structs.replace(receipt, confirmation=confirmation)

    async def submit_many(self, commands: Sequence[Command]) -> list[Receipt | Refusal]:
        """Carry out many commands; their outcomes in order, a Refusal as a value. One refusal leaves the others alone.

        They enter as places free, in order within a lane, each with a deadline of its own. Raises StorageFailure as `submit`.
        Waiting for acks is for `submit` alone: `wait_ack_ms` is ignored here.
        """
        group = Group()
        outcomes: list[Pending | Exception] = [self._prepared(command, group) for command in commands]
        lanes: dict[Lane, list[tuple[int, Pending]]] = {lane: [] for lane in LANES}
        for index, outcome in enumerate(outcomes):
            if isinstance(outcome, Pending) and (lanes[outcome.lane] or not self._inbox.enter_at_once(outcome)):
                lanes[outcome.lane].append((index, outcome))

        async def feed(lane: list[tuple[int, Pending]]) -> None:
            for index, pending in lane:
                try:
                    await self._enter(pending)
                except (Refusal, StorageFailure) as error:
                    outcomes[index] = error

        entered: list[Pending] = []
        try:
            async with trio.open_nursery() as nursery:
                for lane in lanes.values():
                    if lane:
                        nursery.start_soon(feed, lane)
            entered = [outcome for outcome in outcomes if isinstance(outcome, Pending)]
            await group.wait_for(len(entered))
        except BaseException:
            for outcome in outcomes:
                if isinstance(outcome, Pending):
                    outcome.withdrawn = True
            raise
        return [_value(outcome) for outcome in outcomes]

    async def ask(self, query: Query[A]) -> A:
        """The answer to a query (`core.queries`), from what is on disk: every outcome known before the call is in it.

        Raises a Refusal, StorageFailure, or Corruption that names the record. Cancelled, what has to be written for the
        answer (a collection, a presence feed taken) may still be carried out.
        """
        try:
            self._rules_of(query.app)
            query.check()
        except Refusal as refusal:
            self._counters.refusals[query.app, refusal.code] += 1
            raise
        return await self._history.answer(query)

    @asynccontextmanager
    async def connect(
        self, *, app: str, user: str, sink: Sink | None = None, token_ms: UnixMs | None = None
    ) -> AsyncIterator[Session]:
        """A session of the user, open as long as the block runs; its login is on disk when the block begins.

        Iterate the session, or give it a sink. `token_ms`: when the token that opens it was issued, if one does; a kick of
        the user revokes it. Raises TokenRevoked, TooManySessions, UnknownApp, InvalidCommand, Overloaded, NoSpace.
        """
        check_name("user", user)
        session = Session(self._host, app, user, self._options.session_buffer_bytes, sink)
        pending = self._pending(Login(app=app, user=user, token_ms=token_ms), Call())
        pending.session = session
        # A login that was taken happens, so somebody must stay to log it out: bounded by the deadline and one commit.
        with trio.CancelScope(shield=True):
            settled = await self._carry_out(pending)
        settled.raise_refusal()
        try:
            yield session
        finally:
            self._fanout.detach(session)
            session.detach()
            if not self._ended:
                with trio.CancelScope(shield=True):
                    await self._log_out(session)

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """The state as of the last commit, to read. Keep it open for less than a second."""
        return self._store.snapshot()

    @property
    def full(self) -> bool:
        """Messages are refused because the disk is full."""
        return self._settler.full

    def statistics(self) -> BrokerStatistics:
        """The broker's numbers now."""
        counters = self._counters
        with self._store.snapshot() as snapshot:
            totals = snapshot.views.all_totals()
        return BrokerStatistics(
            totals=totals,
            delivered=dict(counters.delivered),
            shed=dict(counters.shed),
            refusals=dict(counters.refusals),
            session_dropped=dict(counters.session_dropped),
            sessions=dict(counters.sessions),
            batch_commands=counters.batch_commands.histogram(),
            commit_ms=counters.commit_ms.histogram(),
            inbox_commands=len(self._inbox),
            waiters=self._waits.count,
            rooms=self._fanout.rooms,
            full=self.full,
            store=self._store.statistics(),
        )

    # Closing, in this order.

    def close_sessions(self) -> None:
        """Tell every session, open or opening, that the broker shuts down; their owners leave, which logs them out."""
        self._fanout.close()

    def stop_waits(self) -> None:
        """End every wait for an ack as timed out."""
        self._waits.stop()

    async def drain(self) -> None:
        """Take nothing new (ShuttingDown), and wait until closed sessions are left and everything taken is answered."""
        self._inbox.close(_shutting_down)
        self._writer.trim(None, urgent=False)
        with trio.move_on_after(_LEAVING_S):
            await self._fanout.emptied()
        await self._writer.drained()

    def end(self) -> None:
        """Write nothing more; whoever still waits gets StorageFailure."""
        self._writing.cancel()

    # Its own life; `open_broker` looks after it.

    async def start(self, failed: Callable[[], None]) -> None:
        """Take the store over and run. `failed` is called when the store has. Raises StorageFailure."""
        self._nursery.start_soon(self._write, failed)
        settled = await self._carry_out_own(StartEpoch())
        if isinstance(settled.result, Refusal):
            raise StorageFailure(f"cannot start: {settled.result.message}")
        settled.raise_refusal()
        sweeper = Sweeper(self._store, self._writer, self._expiry, self._options, self._carry_out_own)
        self._nursery.start_soon(sweeper.run)

    @property
    def failure(self) -> StorageFailure | None:
        """Why the broker is closed for good, if it is."""
        return self._failure

    async def _write(self, failed: Callable[[], None]) -> None:
        try:
            with self._writing:
                await self._writer.run()
        except StorageFailure as failure:
            self._failure = failure
            failed()
        except Exception as fault:  # noqa: BLE001 - a fault in making a commit known: nobody can tell who was told
            _log.exception("the writer stopped by a fault of its own")
            self._failure = StorageFailure(f"the writer stopped: {fault!r}")
            failed()
        finally:
            self._end(self._failure or StorageFailure("the broker is closed"))

    def _end(self, why: StorageFailure) -> None:
        """Nothing will be written any more: tell everyone who waits."""
        self._ended = True
        # Closed in good order it refuses: of what it did not take the outcome is known.
        self._inbox.close(_shutting_down if self._failure is None else lambda: StorageFailure(str(why)))
        for pending in self._inbox.empty() + self._writer.abandon(why):
            pending.settle(Settled(why))
        for session in self._fanout.sessions():
            session.fail(StorageFailure(str(why)))
        self._waits.stop()

    # Commands.

    def _rules_of(self, app: str) -> Rules:
        if self._apps is None:
            check_name("app", app)
            return Rules()
        rules = self._apps.get(app)
        if rules is None:
            raise UnknownApp(f"app {app!r} is not configured")
        return rules

    def _pending(self, command: Command, caller: Call | Group) -> Pending:
        """Raises UnknownApp, InvalidCommand."""
        try:
            rules = self._rules_of(command.app)
            check(command)
        except Refusal as refusal:
            self._counters.refusals[command.app, refusal.code] += 1
            raise
        return Pending(command, rules, caller)

    def _prepared(self, command: Command, group: Group) -> Pending | Refusal:
        if isinstance(command, SendMessage) and command.wait_ack_ms is not None:
            command = msgspec.structs.replace(command, wait_ack_ms=None)
        try:
            return self._pending(command, group)
        except Refusal as refusal:
            return refusal

    async def _enter(self, pending: Pending) -> None:
        try:
            await self._inbox.enter(pending)
        except Refusal as refusal:
            self._counters.refusals[pending.command.app, refusal.code] += 1
            raise

    async def _carry_out(self, pending: Pending) -> Settled:
        if not self._inbox.enter_at_once(pending):  # as nearly all do
            await self._enter(pending)
        assert isinstance(pending.caller, Call)
        return await pending.caller.wait(pending)

    async def _order(self, command: Command, session: Session | None = None) -> Settled:
        """A command that is given on somebody's behalf."""
        pending = self._pending(command, Call())
        pending.session = session
        return await self._carry_out(pending)

    async def _carry_out_own(self, command: Command) -> Settled:
        """For no app, or for one that may not be configured any more."""
        rules = (self._apps or {}).get(command.app, Rules())
        return await self._carry_out(Pending(command, rules, Call()))

    async def _log_out(self, session: Session) -> None:
        call = Call()
        rooms = self._fanout.rooms_of(session.app, session.user)
        logout = Logout(app=session.app, user=session.user, session=session.id, rooms=rooms)
        pending = self._pending(logout, call)
        self._inbox.put(pending)
        await call.wait(pending)


def _shutting_down() -> ShuttingDown:
    return ShuttingDown("the broker is shutting down")


def _value(outcome: Pending | Exception) -> Receipt | Refusal:
    if isinstance(outcome, StorageFailure):
        raise StorageFailure(str(outcome)) from outcome
    if isinstance(outcome, Refusal):
        return outcome
    assert isinstance(outcome, Pending)
    assert outcome.settled is not None
    try:
        return outcome.settled.receipt()
    except Refusal as refusal:
        return refusal
