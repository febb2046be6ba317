"""The writer without its thread: one command, one transaction, and clocks that the test moves."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Final, TypeVar, cast

from postroom.core.commands import Command, Transact
from postroom.core.domain import Decision, Now, apply, decide
from postroom.core.events import AnyEvent, Record
from postroom.core.expiry import advance
from postroom.core.ids import ExpiryMs, Position, UnixMs, next_position
from postroom.core.model import Rules
from postroom.core.ports import ReadViews, Snapshot, Store, Transaction
from postroom.core.rows import Entry

Answer = TypeVar("Answer")

START_MS: Final = UnixMs(1_790_000_000_000)
"""Some day in 2026, at a whole second."""


class Clock:
    """Both clocks of a writer."""

    def __init__(self, wall_ms: UnixMs = START_MS) -> None:
        self.wall_ms = wall_ms
        self.expiry_ms = ExpiryMs(wall_ms)

    def run(self, elapsed_ms: int) -> None:
        """Time passes."""
        self.wall_ms = UnixMs(self.wall_ms + elapsed_ms)
        self.expiry_ms = advance(self.expiry_ms, self.wall_ms, elapsed_ms)

    def jump(self, by_ms: int) -> None:
        """Somebody sets the wall clock; no time passes."""
        self.wall_ms = UnixMs(self.wall_ms + by_ms)
        self.expiry_ms = advance(self.expiry_ms, self.wall_ms, 0)


class Reading:
    """Views without what changes them: `decide` must not be able to."""

    _names: Final = frozenset(name for name in dir(ReadViews) if not name.startswith("_"))

    def __init__(self, views: ReadViews) -> None:
        self._views = views

    def __getattr__(self, name: str) -> object:
        assert name in self._names, f"decide used {name}"
        return getattr(self._views, name)


class Aborted(Exception):
    """The test's reason to undo a batch."""


class Machine:
    """Runs commands as the writer does; keeps every record it wrote, trimmed or not."""

    def __init__(self, store: Store, rules: Rules | None = None, clock: Clock | None = None) -> None:
        self.store = store
        self.rules = rules or Rules()
        self.clock = clock or Clock()
        self.records: list[Record] = []
        self._batch: Transaction | None = None
        self._ending = ExitStack()
        self._records_before = 0

    @property
    def events(self) -> list[AnyEvent]:
        """Everything that happened."""
        return [record.event for record in self.records]

    @property
    def in_batch(self) -> bool:
        """Whether a transaction is open for the commands that follow."""
        return self._batch is not None

    def begin(self) -> None:
        """What is run from here on is one transaction."""
        assert self._batch is None
        self._batch = self._ending.enter_context(self.store.transaction())
        self._records_before = len(self.records)

    def commit(self) -> None:
        """The batch is on disk."""
        self._batch = None
        self._ending.close()

    def abort(self) -> None:
        """The batch did not happen."""
        self._batch = None
        del self.records[self._records_before :]
        self._ending.__exit__(Aborted, Aborted(), None)

    def run(self, command: Command) -> Decision:
        """decide, append, apply, end bodies, keep the new one; in the open batch or in a transaction of its own.

        Raises Refusal, and then nothing was written, except of a Transact in an open batch: that must be aborted.
        """
        if self._batch is not None:
            return self._carry_out(self._batch, command)
        with self.store.transaction() as transaction:
            return self._carry_out(transaction, command)

    def _carry_out(self, transaction: Transaction, command: Command) -> Decision:
        if not isinstance(command, Transact):
            decision, records = self._carry_out_one(transaction, command)
            self.records += records
            return decision
        done = [self._carry_out_one(transaction, step) for step in command.steps]
        records = [record for _, some in done for record in some]
        self.records += records
        result = next((decision.result for decision, some in reversed(done) if some), done[0][0].result)
        return Decision(tuple(record.event for record in records), result)

    def _carry_out_one(self, transaction: Transaction, command: Command) -> tuple[Decision, list[Record]]:
        views = transaction.views
        first = next_position(views.position, self.clock.wall_ms)
        now = Now(self.clock.wall_ms, self.clock.expiry_ms, first)
        decision = decide(command, cast(ReadViews, Reading(views)), transaction.bodies, now, self.rules)
        records = [Record(Position(first + index), now.expiry_ms, event) for index, event in enumerate(decision.events)]
        for record in records:
            transaction.append(record)
            for position in apply(views, record):
                transaction.delete_body(position)
        if decision.keeps_body:
            assert decision.body is not None
            transaction.put_body(records[-1].position, decision.body)
        return decision, records

    def trim(self, before_ms: ExpiryMs, limit: int) -> int:
        """Fold the oldest records into base."""
        with self.store.transaction() as transaction:
            return transaction.trim(before_ms, limit)

    def read(self, what: Callable[[Snapshot], Answer]) -> Answer:
        """What a snapshot of now says."""
        with self.store.snapshot() as snapshot:
            return what(snapshot)

    def queue(self, app: str, user: str) -> list[Entry]:
        """A queue's entries, expired ones included."""
        return self.read(lambda snapshot: list(snapshot.views.entries(app, user)))
