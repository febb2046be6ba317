"""Which commands of a batch the disk has room for, and what becomes of the others."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from ..commands import Ack, Command, Login, Logout, SendMessage
from ..errors import NoSpace
from ..ids import Position, message_at
from ..limits import OVERLOADED_RETRY_MS
from ..ports import Store
from ..space import (
    ACK_BYTES,
    ACK_CONFIRM_BYTES,
    ACK_ENTRY_BYTES,
    BATCH_BYTES,
    LEAVE_BYTES,
    LOGOUT_BYTES,
    Room,
    admit,
    is_full,
)
from .pending import Group, Pending, Settled
from .spreading import cut


class Admitted(NamedTuple):
    """A batch, divided by the room there is."""

    now: list[Pending]
    later: list[Pending]
    """They fit a transaction of their own, or are never refused."""
    refused: dict[Pending, Settled]


class _Step(NamedTuple):
    """What of a command is carried out at once."""

    pending: Pending
    remainder: Command | None = None
    """What is left to do after it."""


class Admission:
    """Asks the store for room. For the writer's thread alone."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.full = False
        """The disk has no room for messages."""

    def room(self, wanted_bytes: int) -> Room:
        """What a transaction may take; pages freed within the file count once its end cannot be moved so far."""
        tail, reserve = self._store.room(wanted_bytes), self._store.reserve_bytes
        free = 0 if tail - reserve >= wanted_bytes else self._store.free_bytes()
        return Room(tail, free, reserve)

    def divide(self, batch: Sequence[Pending]) -> tuple[Admitted, Room]:
        """What fits, what waits, what is refused; and the room that what fits may take."""
        batch, rest = cut(batch, self._store)
        cost = sum(pending.cost for pending in batch) + BATCH_BYTES
        room = self.room(cost)
        self.full = is_full(room)
        if room.tail - room.reserve >= cost:
            return Admitted(list(batch), rest, {}), room
        steps = [self._step(pending, room.reserve) for pending in batch]
        fits = admit([(step.pending.command, step.pending.cost) for step in steps], room)
        divided = Admitted([], [], {})
        acking, waiting = set(), set()
        for pending, step, fit in zip(batch, steps, fits, strict=True):
            command = pending.command
            if isinstance(command, Login | Logout) and (command.app, command.user) in acking:
                divided.later.append(pending)  # it follows its user's acks
                continue
            if isinstance(command, SendMessage) and (command.app, command.lane) in waiting:
                divided.later.append(pending)  # order holds within a lane
                continue
            if fit:
                divided.now.append(step.pending)
                if step.remainder is None:
                    continue
                pending.command = step.remainder
            if isinstance(command, Ack):
                acking.add((command.app, command.user))
            if pending.never_refused or admit([(command, pending.cost)], room)[0]:
                divided.later.append(pending)
                if isinstance(command, SendMessage):
                    waiting.add((command.app, command.lane))
            else:
                divided.refused[pending] = Settled(NoSpace("the disk is full", retry_after_ms=OVERLOADED_RETRY_MS))
        divided.later.extend(rest)
        return divided, room

    def _step(self, pending: Pending, reserve: int) -> _Step:
        """All of the command, or the beginning of one that is never refused and too large for one transaction."""
        match pending.command:
            case Ack() as ack:
                return self._step_of_ack(pending, ack, reserve)
            case Logout() as logout:
                return self._step_of_logout(pending, logout, reserve)
            case _:
                return _Step(pending)

    def _step_of_logout(self, pending: Pending, command: Logout, reserve: int) -> _Step:
        """The first rooms, if the user is in more than fit and leaves them with this session, being their last."""
        with self._store.snapshot() as snapshot:
            app, user = command.app, command.user
            last = [row.session for row in snapshot.views.sessions(app, user)] == [command.session]
            count = len(snapshot.views.open_stays(app, user)) if last else 0
        fits = max(1, (reserve // 4 - LOGOUT_BYTES) // LEAVE_BYTES)
        if count <= fits:
            pending.cost = LOGOUT_BYTES + LEAVE_BYTES * count
            return _Step(pending)
        step = Pending(msgspec.structs.replace(command, rooms_max=fits), pending.rules, Group())
        step.cost = LOGOUT_BYTES + LEAVE_BYTES * fits
        return _Step(step, command)

    def _step_of_ack(self, pending: Pending, command: Ack, reserve: int) -> _Step:
        """The beginning of an ack that takes out more than fits.

        An ack's cost is from here on what it takes out as things stand, not what its queue may hold.
        """
        budget = max(reserve // 4, ACK_BYTES + ACK_ENTRY_BYTES + ACK_CONFIRM_BYTES)
        size, whole, through = ACK_BYTES, True, Position(0)
        with self._store.snapshot() as snapshot:
            views = snapshot.views
            for entry in views.entries(command.app, command.user):
                if entry.position > command.through:
                    break
                awaited = views.awaited(message_at(entry.position)) is not None
                more = ACK_ENTRY_BYTES + ACK_CONFIRM_BYTES * awaited
                if size + more > budget:
                    whole = False
                    break
                size, through = size + more, entry.position
        fits = (budget - size) // ACK_CONFIRM_BYTES
        if whole and len(command.confirmed) <= fits:
            pending.cost = size + ACK_CONFIRM_BYTES * len(command.confirmed)
            return _Step(pending)
        if through:
            first, remainder = msgspec.structs.replace(command, through=through, confirmed=()), command
        else:
            first = msgspec.structs.replace(command, confirmed=command.confirmed[:fits])
            remainder = msgspec.structs.replace(command, confirmed=command.confirmed[fits:])
        step = Pending(first, pending.rules, Group())
        step.cost = size + ACK_CONFIRM_BYTES * len(first.confirmed)
        return _Step(step, remainder)
