"""Events as earlier versions wrote them, and what they are called today. A tag is never given another meaning."""

from typing import Final

import msgspec

from postroom.core.events import (
    Acked,
    AnyEvent,
    LoggedIn,
    LoggedOut,
    MessageDeleted,
    MessageEdited,
    MessageRecalled,
    MessageSent,
    Queued,
    Withdrawn,
)
from postroom.core.events.base import Event
from postroom.core.ids import COUNTER_BITS, EPOCH_MS, ExpiryMs, MessageId, Position, UnixMs
from postroom.core.model import Conversation, Lane

UNKNOWN_MS: Final = UnixMs(0)
"""When it happened was not noted."""
UNKNOWN_DAY: Final = 0
"""Nor on which day: it counts nobody."""


class MessageSent1(Event, frozen=True, kw_only=True, tag="message-sent.1"):
    """Of before messages of groups had running numbers."""

    brings_body = True

    app: str
    id: MessageId
    conversation: Conversation
    sender: str
    lane: Lane
    at_ms: UnixMs
    history: bool
    queued: tuple[Queued, ...] = ()
    dedup: str | None = None
    dedup_digest: bytes = b""
    dedup_expires_ms: ExpiryMs = ExpiryMs(0)
    awaited: bool = False


class MessageEdited1(Event, frozen=True, kw_only=True, tag="message-edited.1"):
    """Of before there were streams, and copies of some recipients' own; so the next two."""

    brings_body = True

    app: str
    id: MessageId
    by: str
    at_ms: UnixMs
    queued: tuple[Queued, ...] = ()


class MessageRecalled2(Event, frozen=True, kw_only=True, tag="message-recalled.2"):
    """As above."""

    brings_body = True

    app: str
    id: MessageId
    by: str
    at_ms: UnixMs
    queued: tuple[Queued, ...] = ()
    sent_ms: UnixMs = UnixMs(0)


class MessageDeleted1(Event, frozen=True, kw_only=True, tag="message-deleted.1"):
    """As above."""

    brings_body = True

    app: str
    id: MessageId
    by: str
    at_ms: UnixMs
    timeline: Conversation | None = None
    sender: str = ""
    sent_ms: UnixMs = UnixMs(0)
    withdrawn: tuple[Withdrawn, ...] = ()
    queued: tuple[Queued, ...] = ()


class MessageRecalled1(Event, frozen=True, kw_only=True, tag="message-recalled.1"):
    """Without its message's place in the history, for which nothing asked."""

    brings_body = True

    app: str
    id: MessageId
    by: str
    at_ms: UnixMs
    queued: tuple[Queued, ...] = ()


class LoggedIn1(Event, frozen=True, kw_only=True, tag="logged-in.1"):
    """Without the time, which nobody was told."""

    app: str
    user: str
    session: Position
    epoch: int
    first: bool
    queued: int
    missed: int


class LoggedIn2(Event, frozen=True, kw_only=True, tag="logged-in.2"):
    """Without the day, for which nobody was counted."""

    app: str
    user: str
    session: Position
    epoch: int
    first: bool
    queued: int
    missed: int
    at_ms: UnixMs


class Acked1(Event, frozen=True, kw_only=True, tag="acked.1"):
    """Of before there were streams."""

    app: str
    user: str
    session: Position
    through: Position
    count: int
    id: MessageId
    seq: int


class LoggedOut1(Event, frozen=True, kw_only=True, tag="logged-out.1"):
    """Without the time."""

    app: str
    user: str
    session: Position
    last: bool


Written = (
    AnyEvent
    | MessageSent1
    | MessageEdited1
    | MessageRecalled1
    | MessageRecalled2
    | MessageDeleted1
    | LoggedIn1
    | LoggedIn2
    | LoggedOut1
    | Acked1
)
"""Whatever a log may hold."""


def upcast(event: Written) -> AnyEvent:
    """The event in its present form."""
    match event:
        case MessageSent1():
            return MessageSent(**msgspec.structs.asdict(event))
        case MessageEdited1():
            return MessageEdited(**msgspec.structs.asdict(event))
        case MessageRecalled2():
            return MessageRecalled(**msgspec.structs.asdict(event))
        case MessageDeleted1():
            return MessageDeleted(**msgspec.structs.asdict(event))
        case MessageRecalled1():
            # Those versions gave a message its time by the clock that its id was made of, jumps of the clock excepted. Where
            # it is another, nothing is kept at that place, and nothing happens.
            sent_ms = UnixMs((event.id >> COUNTER_BITS) + EPOCH_MS)
            return MessageRecalled(**msgspec.structs.asdict(event), sent_ms=sent_ms)
        case LoggedIn1():
            return LoggedIn(**msgspec.structs.asdict(event), at_ms=UNKNOWN_MS, day=UNKNOWN_DAY)
        case LoggedIn2():
            return LoggedIn(**msgspec.structs.asdict(event), day=UNKNOWN_DAY)
        case Acked1():
            return Acked(**msgspec.structs.asdict(event))
        case LoggedOut1():
            return LoggedOut(**msgspec.structs.asdict(event), at_ms=UNKNOWN_MS)
        case _:
            return event
