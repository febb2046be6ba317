"""Messages, broadcasts and acks in words."""

from collections.abc import Iterable
from typing import assert_never

from postroom.core.events import Acked, MessageDeleted, MessageEdited, MessageRecalled, MessageSent
from postroom.core.events.broadcasts import (
    BroadcastDeleted,
    BroadcastEdited,
    BroadcastEvent,
    BroadcastSent,
    BroadcastsExpired,
)
from postroom.core.events.quotas import QuotaUsed

from .parts import copies, counted, few, joined, moment, names, place, shown, streamed


def of_broadcasts(event: BroadcastEvent | QuotaUsed) -> str:
    """What everybody was sent, and what was counted."""
    match event:
        case BroadcastSent():
            told = ["for whoever is online only"] if event.transient else []
            told += [f"valid until {moment(event.valid_until_ms)}"] if event.valid_until_ms is not None else []
            told += [f"dedup key {shown(event.dedup)}"] if event.dedup is not None else []
            return joined(f"broadcast {event.id} {shown(event.sender)} → all, by {place(event.conversation)}", told)
        case BroadcastEdited():
            return f"broadcast {event.id} edited by {shown(event.by)}"
        case BroadcastDeleted():
            return f"broadcast {event.id} deleted by {shown(event.by)}"
        case BroadcastsExpired():
            return f"{counted(len(event.ids), 'broadcast')} forgotten, up to {max(event.ids, default=0)}"
        case QuotaUsed():
            return f"{shown(event.name)} used, number {event.count} of day {event.day}"
        case _:
            assert_never(event)


def of_changes(event: MessageEdited | MessageRecalled | MessageDeleted) -> str:
    """What became of a message, for everybody or for some."""
    some = names(event.copies)
    verb, for_whom = ("edited", "for") if isinstance(event, MessageEdited) else ("recalled", "from")
    gone: Iterable[str] = ()
    if isinstance(event, MessageDeleted):
        verb, for_whom = ("hidden", "from") if some else ("deleted", "")
        gone = (f"{counted(len(w.positions), 'entry')} withdrawn from {shown(w.user)}" for w in event.withdrawn)
    what = f"message {event.id} {verb} by {shown(event.by)}"
    return joined(
        f"{what} {for_whom} {some}" if some else what, [*few(gone), *streamed(event.stream), *copies(event.queued)]
    )


def acknowledged(event: Acked) -> str:
    """What of the queue, and of streams."""
    told = [f"{shown(event.user)} acknowledged through {event.through}", counted(event.count, "entry")]
    if event.streamed:
        told.append(f"{event.streamed:,} of streams")
    if event.seq:
        told.append(f"the last seq {event.seq} of message {event.id}")
    elif event.id:
        told.append(f"the last of message {event.id}")
    passed = [f"{count:,} {how}" for count, how in ((event.evicted, "evicted"), (event.expired, "expired")) if count]
    if passed:
        told.append(f"of streams {' and '.join(passed)}")
    return ", ".join([*told, f"in session {event.session}"])


def sent(event: MessageSent) -> list[str]:
    """What is to be said of a message besides who sent it where."""
    told: list[str] = [event.lane] if event.lane != "normal" else []
    if event.history:
        told.append("kept for history")
    if event.recipients:
        told.append(f"to {names(event.recipients)} by name")
    if event.stream:
        told.append(f"number {event.number} of its stream")
    told += copies(event.queued)
    if not event.queued and not event.history:
        told.append("for whoever is online only")
    if event.dedup is not None:
        told.append(f"dedup key {shown(event.dedup)}")
    return told
