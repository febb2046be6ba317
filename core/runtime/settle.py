"""Carrying out one batch in one transaction, on the writer's thread.

A command that fails by a fault of ours costs itself alone: the batch runs again without it.
"""

import logging
from collections.abc import Sequence
from typing import Final
from uuid import uuid4

from ..domain import Now, apply, decide
from ..errors import Internal, NoSpace, Refusal, StorageFailure
from ..events import Record
from ..ids import next_position
from ..limits import OVERLOADED_RETRY_MS
from ..ports import Store, Transaction
from ..space import BATCH_BYTES, admit
from .clock import Clock, ExpiryClock
from .pending import Pending, Settled

_CULPRITS_MAX: Final = 3
"""After so many faults in one batch, the rest goes one by one."""

_log = logging.getLogger("postroom.core.writer")


class _Culprit(Exception):
    def __init__(self, pending: Pending, cause: Exception) -> None:
        self.pending = pending
        self.cause = cause


class Settler:
    """Turns batches of commands into outcomes. One thread at a time."""

    def __init__(self, store: Store, clock: Clock, expiry: ExpiryClock) -> None:
        self._store = store
        self._clock = clock
        self._expiry = expiry
        self._machine: tuple[type[BaseException], ...] = (StorageFailure, MemoryError, *store.failures)
        self.full = False
        """The disk has no room for messages."""

    def settle(self, batch: Sequence[Pending]) -> tuple[dict[Pending, Settled], list[Pending]]:
        """The outcomes of what was carried out or refused, and what should be tried again in a batch of its own.

        Raises StorageFailure if the machine failed; nothing is known then.
        """
        try:
            admitted, refused, later = self._admit(batch)
            outcomes = self._carry_out(admitted)
        except StorageFailure:
            raise
        except BaseException as error:
            # Not only what a store raises: whatever ended the writer, nobody knows what is on disk.
            raise StorageFailure(f"the writer was stopped by {error!r}") from error
        return {**outcomes, **refused}, later

    def _admit(self, batch: Sequence[Pending]) -> tuple[list[Pending], dict[Pending, Settled], list[Pending]]:
        """What fits on the disk, what is refused for want of room, and what waits for the next batch."""
        cost = sum(pending.cost for pending in batch) + BATCH_BYTES
        room = self._store.room(cost)
        if room - self._store.reserve_bytes >= cost:
            self.full = False
            return list(batch), {}, []
        commands = [(pending.command, pending.cost) for pending in batch]
        fits = admit(commands, room, self._store.reserve_bytes)
        if all(fits):
            self.full = False
            return list(batch), {}, []
        admitted = [pending for pending, fit in zip(batch, fits, strict=True) if fit]
        rest = [pending for pending, fit in zip(batch, fits, strict=True) if not fit]
        if not all(pending.never_refused for pending in admitted):
            # The rest may still fit in a batch of its own.
            return admitted, {}, rest
        kept = [pending for pending in rest if pending.never_refused]
        rest = [pending for pending in rest if not pending.never_refused]
        self.full = bool(rest)
        refusal = Settled(NoSpace("the disk is full", retry_after_ms=OVERLOADED_RETRY_MS))
        return admitted, dict.fromkeys(rest, refusal), kept

    def _carry_out(self, batch: Sequence[Pending]) -> dict[Pending, Settled]:
        outcomes: dict[Pending, Settled] = {}
        while True:
            left = [pending for pending in batch if pending not in outcomes]
            if len(outcomes) == _CULPRITS_MAX:
                break
            try:
                return outcomes | self._commit(left)
            except _Culprit as culprit:
                outcomes[culprit.pending] = _internal(culprit)
        for pending in left:
            try:
                outcomes |= self._commit([pending])
            except _Culprit as culprit:
                outcomes[pending] = _internal(culprit)
        return outcomes

    def _commit(self, batch: Sequence[Pending]) -> dict[Pending, Settled]:
        wall_ms, expiry_ms = self._clock.wall_ms(), self._expiry.move()
        outcomes = {}
        with self._store.transaction() as transaction:
            for pending in batch:
                now = Now(wall_ms, expiry_ms, next_position(transaction.views.position, wall_ms))
                try:
                    outcomes[pending] = _carry_out(transaction, pending, now)
                except self._machine:
                    raise
                except Refusal as refusal:
                    outcomes[pending] = Settled(refusal)
                except Exception as error:
                    raise _Culprit(pending, error) from error
        return outcomes


def _carry_out(transaction: Transaction, pending: Pending, now: Now) -> Settled:
    """One command: its facts, what they do to the views, and the bodies that come and go with them."""
    views = transaction.views
    decision = decide(pending.command, views, transaction.bodies, now, pending.rules)
    records = []
    for index, event in enumerate(decision.events):
        record = Record(type(now.position)(now.position + index), now.expiry_ms, event)
        transaction.append(record)
        for ended in apply(views, record):
            transaction.delete_body(ended)
        records.append(record)
    if decision.keeps_body and decision.body is not None:
        transaction.put_body(records[-1].position, decision.body)
    return Settled(decision.result, tuple(records), decision.body, decision.wait)


def _internal(culprit: _Culprit) -> Settled:
    refusal = Internal(uuid4().hex[:12])
    _log.error(
        "incident %s: a %s failed and was left out of its batch",
        refusal.incident,
        type(culprit.pending.command).__name__,
        exc_info=culprit.cause,
    )
    return Settled(refusal)
