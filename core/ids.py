"""Positions: the one number that orders everything.

A position is 53 bits: 41 of milliseconds since 2020-01-01 and 12 of counter, so it fits a JavaScript number and lasts until
2089. Positions rise strictly even when the wall clock steps back, so they order; they never tell the time.
"""

from typing import Final, NamedTuple, NewType

Position = NewType("Position", int)
"""Where an event stands in the log; 0 is before the first one."""
MessageId = NewType("MessageId", int)
"""A message's name within its app. It is decimal text on every wire."""
UnixMs = NewType("UnixMs", int)
"""Milliseconds since 1970 by the wall clock, which may step either way."""
ExpiryMs = NewType("ExpiryMs", int)
"""Milliseconds since 1970 by the expiry clock, which never steps back (see `core.expiry`)."""
MonotonicMs = NewType("MonotonicMs", int)
"""Milliseconds since some start; only differences mean anything."""


class Place(NamedTuple):
    """Where a kept message stands in timelines. Of live messages places order as ids do."""

    at_ms: UnixMs
    id: MessageId


EPOCH_MS: Final = 1_577_836_800_000
"""2020-01-01T00:00:00Z: where positions and the seconds of queue entries begin."""
COUNTER_BITS: Final = 12
POSITION_MAX: Final = (1 << 53) - 1


def next_position(last: Position, wall_ms: UnixMs) -> Position:
    """The position after `last` at this wall time: the time's own, unless `last` is already there or beyond."""
    return Position(max(last + 1, (wall_ms - EPOCH_MS) << COUNTER_BITS))


def position_of(id: MessageId) -> Position:
    """Where a message's event stands. That an id is a position is known to this function and the next alone."""
    return Position(id)


def message_at(position: Position) -> MessageId:
    """The id of the message that the event at this position brings."""
    return MessageId(position)
