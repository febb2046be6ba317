"""Carrying out one batch in one transaction, on the writer's thread.

A command that fails by a fault of ours costs itself alone: the batch runs again without it. One that turns out to write more
than there is room for is tried again when that is known, and so is what came after it. One of several steps that is refused
when some of them are written takes the transaction with it: what came before it runs again, what comes after it is the next
batch, so nothing is tried more than twice however many are refused so.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from uuid import uuid4

from ..commands import Command, Transact
from ..domain import Now, apply, decide
from ..errors import Corruption, Internal, Refusal, StorageFailure
from ..events import Record
from ..ids import ExpiryMs, Position, next_position
from ..limits import SWEEP_STEP
from ..model import Rules
from ..ports import Store, Transaction
from ..space import BATCH_BYTES, SWEEPING_LEAVES, TRIM_RECORD_BYTES, Room, leaves
from .admission import Admission
from .clock import Clock, ExpiryClock
from .pending import Pending, Settled

_CULPRITS_MAX: Final = 3
"""After so many faults in one batch, the rest goes one by one."""

_log = logging.getLogger("postroom.core.writer")


class _Culprit(Exception):
    def __init__(self, pending: Pending, cause: Exception) -> None:
        self.pending = pending
        self.cause = cause


class _Undone(Exception):
    """Refused when a part of it was written: the transaction must not commit."""

    def __init__(self, pending: Pending, refusal: Refusal) -> None:
        self.pending = pending
        self.refusal = refusal


class _TooLarge(Exception):
    """There is not so much room: nothing was written."""

    def __init__(self, index: int, size: int) -> None:
        self.index = index
        self.size = size


class Settler:
    """Turns batches of commands into outcomes. One thread at a time."""

    def __init__(self, store: Store, clock: Clock, expiry: ExpiryClock) -> None:
        self._store = store
        self._clock = clock
        self._expiry = expiry
        self._machine: tuple[type[BaseException], ...] = (StorageFailure, MemoryError, *store.failures)
        self._admission = Admission(store)

    @property
    def full(self) -> bool:
        """The disk has no room for messages."""
        return self._admission.full

    def settle(self, batch: Sequence[Pending]) -> tuple[dict[Pending, Settled], list[Pending]]:
        """The outcomes of what was carried out or refused, and what should be tried again in a batch of its own.

        Raises StorageFailure if the machine failed; nothing is known then.
        """
        try:
            divided, room = self._admission.divide(batch)
            outcomes, too_large = self._carry_out_batch(divided.now, room)
        except StorageFailure:
            raise
        except BaseException as error:
            # Not only what a store raises: whatever ended the writer, nobody knows what is on disk.
            raise StorageFailure(f"the writer was stopped by {error!r}") from error
        outcomes |= divided.refused
        return outcomes, too_large + divided.later

    def trim(self, before: ExpiryMs) -> bool:
        """Fold a step of the log into base, as large as there is room for; whether there may be more to fold."""
        room = self._admission.room(SWEEP_STEP * TRIM_RECORD_BYTES)
        limit = SWEEP_STEP
        while limit:
            if room.takes(limit * TRIM_RECORD_BYTES, leaving=SWEEPING_LEAVES):
                with suppress(_TooLarge):
                    return self._trim(before, limit, room) > 0
            limit //= 2
        return False

    def _trim(self, before: ExpiryMs, limit: int, room: Room) -> int:
        try:
            with self._store.transaction() as transaction:
                trimmed = transaction.trim(before, limit)
                if not room.takes(transaction.written_bytes, leaving=SWEEPING_LEAVES):
                    raise _TooLarge(0, transaction.written_bytes)
        except Corruption as error:
            _log.error("the log is not trimmed any more: %s; look at it with: postroom verify", error)
            return 0
        return trimmed

    def _carry_out_batch(self, batch: Sequence[Pending], room: Room) -> tuple[dict[Pending, Settled], list[Pending]]:
        """Outcomes, and what comes later: what was too large (its cost is known now, and it has not had the room to itself),
        and what came after that, or after what had to be undone."""
        outcomes: dict[Pending, Settled] = {}
        left, later, faults = list(batch), list[Pending](), 0
        while left and faults < _CULPRITS_MAX:
            try:
                committed = self._commit(left, room)
                return (outcomes | committed if outcomes else committed), later
            except _Culprit as culprit:
                outcomes[culprit.pending] = _internal(culprit)
                left.remove(culprit.pending)
                faults += 1
            except _Undone as undone:
                outcomes[undone.pending] = Settled(undone.refusal)
                index = left.index(undone.pending)
                left, later = left[:index], left[index + 1 :] + later
            except _TooLarge as large:
                left[large.index].cost = large.size
                left, later = left[: large.index], left[large.index :] + later
        for pending in left:
            try:
                outcomes |= self._commit([pending], self._admission.room(pending.cost + BATCH_BYTES))
            except _Culprit as culprit:
                outcomes[pending] = _internal(culprit)
            except _Undone as undone:
                outcomes[pending] = Settled(undone.refusal)
            except _TooLarge as large:
                pending.cost = large.size
                later.append(pending)
        return outcomes, later

    def _commit(self, batch: Sequence[Pending], room: Room) -> dict[Pending, Settled]:
        wall_ms, expiry_ms = self._clock.wall_ms(), self._expiry.move()
        outcomes = {}
        written, ample = 0, room.ample
        with self._store.transaction() as transaction:
            for index, pending in enumerate(batch):
                now = Now(wall_ms, expiry_ms, next_position(transaction.views.position, wall_ms))
                command = pending.command
                try:
                    if type(command) is Transact:  # a quarter of what isinstance would cost every send
                        outcomes[pending] = _carry_out_steps(transaction, pending, command, now)
                    else:
                        outcomes[pending] = _carry_out_one(transaction, command, pending.rules, now)
                except self._machine:
                    raise
                except _Undone:
                    raise
                except Refusal as refusal:
                    outcomes[pending] = Settled(refusal)
                except Exception as error:
                    raise _Culprit(pending, error) from error
                before, written = written, transaction.written_bytes
                if written > ample and not room.takes(written, leaving=leaves(command, room.reserve)):
                    raise _TooLarge(index, written - before)
        return outcomes


def _carry_out_steps(transaction: Transaction, pending: Pending, command: Transact, now: Now) -> Settled:
    """One command after the other, each on what those before it made of the views. Raises _Undone."""
    records: list[Record] = []
    settled: Settled | None = None
    for step in command.steps:
        at = Now(now.wall_ms, now.expiry_ms, Position(now.position + len(records)))
        try:
            done = _carry_out_one(transaction, step, pending.rules, at)
        except Refusal as refusal:
            if records:
                raise _Undone(pending, refusal) from refusal
            raise
        if settled is None or done.records:
            settled = done
        records += done.records
    assert settled is not None  # there is a step
    return Settled(settled.result, tuple(records))


def _carry_out_one(transaction: Transaction, command: Command, rules: Rules, now: Now) -> Settled:
    """One command: its facts, what they do to the views, and the bodies that come and go with them."""
    views = transaction.views
    decision = decide(command, views, transaction.bodies, now, rules)
    records = []
    for index, event in enumerate(decision.events):
        record = Record(Position(now.position + index), now.expiry_ms, event)
        transaction.append(record)
        for ended in apply(views, record):
            transaction.delete_body(ended)
        records.append(record)
    if decision.keeps_body and decision.body is not None:
        transaction.put_body(records[-1].position, decision.body)
    return Settled(
        decision.result,
        tuple(records),
        decision.body,
        decision.wait,
        decision.audience,
        decision.stream,
        decision.hidden_from,
        decision.opening,
    )


def _internal(culprit: _Culprit) -> Settled:
    refusal = Internal(uuid4().hex[:12])
    _log.error(
        "incident %s: a %s failed and was left out of its batch",
        refusal.incident,
        type(culprit.pending.command).__name__,
        exc_info=culprit.cause,
    )
    return Settled(refusal)
