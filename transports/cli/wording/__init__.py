"""Events in words, for whoever asks what happened; and as JSON. No text of a message is in an event, so none is shown."""

from typing import Any, Final, assert_never

import msgspec

from postroom.core.domain.conversations import RecordEvent
from postroom.core.events import (
    Acked,
    AnyEvent,
    ConversationCreated,
    ConversationMuted,
    ConversationRead,
    ConversationUnmuted,
    ConversationUpdated,
    CopiesExpired,
    DedupExpired,
    EpochStarted,
    GapsExpired,
    HistoryExpired,
    LoggedIn,
    LoggedOut,
    MembersAdded,
    MembersRemoved,
    MessageConfirmed,
    MessageDeleted,
    MessageEdited,
    MessageRecalled,
    MessageSent,
    PresenceTaken,
    QueueExpired,
    Record,
    ResultCollected,
    ResultReserved,
    ResultsExpired,
    RoomJoined,
    RoomLeft,
    StaysExpired,
    StreamNoticesExpired,
    UserKicked,
)
from postroom.core.events.broadcasts import (
    BroadcastDeleted,
    BroadcastEdited,
    BroadcastSent,
    BroadcastsExpired,
)
from postroom.core.events.deletion import ConversationDeleted, ConversationSwept, CopiesWithdrawn, DeletionEvent
from postroom.core.events.imports import AliasesExpired, ImportEvent, MessageImported
from postroom.core.events.lists import ListEvent
from postroom.core.events.quotas import QuotaUsed

from .messages import acknowledged, of_broadcasts, of_changes, sent
from .parts import counted, joined, moment, place, safe, shown
from .records import of_ends, of_many, of_records

__all__ = ["counted", "line", "moment", "place", "plain", "safe", "shown", "words"]

_OF_ANOTHER_TIME: Final = (HistoryExpired, StaysExpired, StreamNoticesExpired, AliasesExpired, MessageImported)


_IDS: Final = frozenset({"id", "ids", "session", "through", "position", "positions", "broadcasts_from"})
"""Fields that are decimal strings in JSON: 64-bit readers aside, nobody may round them."""


def line(record: Record) -> str:
    """One event for a person: position, time, app, what happened. A time by the expiry clock is marked with "~"."""
    # Sweeping names the time of what it ends, importing that of elsewhere; and earlier versions did not note every time.
    at_ms = 0 if isinstance(record.event, _OF_ANOTHER_TIME) else getattr(record.event, "at_ms", 0)
    when = moment(at_ms) if at_ms else "~" + moment(record.clock_ms)
    app = shown(getattr(record.event, "app", "")) if hasattr(record.event, "app") else "-"
    return f"{record.position}  {when:>25}  {app}  {words(record.event)}"


def plain(record: Record) -> dict[str, object]:
    """One event for a program: its fields, its tag as `event`, and what happened in words."""
    event = record.event
    told: dict[str, object] = {
        "position": str(record.position),
        "clock_ms": record.clock_ms,
        "event": event.__struct_config__.tag,
        **_plain(event, ""),
        "words": words(event),
    }
    # The digest is of a text that may have been taken back, and short texts can be guessed from theirs.
    told.pop("dedup_digest", None)
    return told


def words(event: AnyEvent) -> str:
    """What happened."""
    match event:
        case EpochStarted():
            return f"epoch {event.epoch} begins: a process took over, earlier sessions are offline"
        case MessageSent():
            return joined(f"message {event.id} {shown(event.sender)} → {place(event.conversation)}", sent(event))
        case MessageEdited() | MessageRecalled() | MessageDeleted():
            return of_changes(event)
        case MessageConfirmed():
            return f"message {event.id} acknowledged, a retry by {shown(event.sender)} will be told so"
        case LoggedIn() | LoggedOut() | UserKicked():
            return _words_of_sessions(event)
        case Acked():
            return acknowledged(event)
        case BroadcastSent() | BroadcastEdited() | BroadcastDeleted() | BroadcastsExpired() | QuotaUsed():
            return of_broadcasts(event)
        case RoomJoined():
            return f"{shown(event.user)} joined room {shown(event.room)}"
        case RoomLeft():
            return f"{shown(event.user)} left room {shown(event.room)}"
        case _:
            return _words_of_the_house(event)


def _words_of_sessions(event: LoggedIn | LoggedOut | UserKicked) -> str:
    """Who came, went, or had to go."""
    match event:
        case LoggedIn():
            first = ", now online" if event.first else ""
            waiting = f"{event.queued} queued, {event.missed} missed"
            return f"{shown(event.user)} logged in as session {event.session}{first}: {waiting}"
        case LoggedOut():
            last = ", now offline" if event.last else ""
            return f"{shown(event.user)} logged out of session {event.session}{last}"
        case UserKicked():
            because = f": {shown(event.reason)}" if event.reason else ""
            return f"{shown(event.user)} kicked, tokens until {moment(event.at_ms)} refused{because}"
        case _:
            assert_never(event)


def _words_of_the_house(
    event: PresenceTaken
    | ResultReserved
    | ResultCollected
    | ResultsExpired
    | QueueExpired
    | DedupExpired
    | HistoryExpired
    | StaysExpired
    | GapsExpired
    | StreamNoticesExpired
    | CopiesExpired
    | DeletionEvent
    | ConversationRead
    | RecordEvent
    | ListEvent
    | ImportEvent,
) -> str:
    """What was looked up, and what was swept."""
    match event:
        case PresenceTaken():
            return f"{counted(event.count, 'presence event')} of {event.feed} taken"
        case ResultReserved():
            return f"a result of {counted(len(event.ids), 'message')} reserved as {shown(event.handle)}"
        case ResultCollected():
            return f"result {shown(event.handle)} collected"
        case ResultsExpired():
            return f"{counted(event.count, 'result')} forgotten, up to {moment(event.expires_ms)}"
        case QueueExpired():
            return f"{counted(event.count, 'entry')} of {shown(event.user)} expired"
        case DedupExpired():
            return f"{counted(event.count, 'dedup key')} forgotten, up to {moment(event.expires_ms)}"
        case HistoryExpired():
            return f"{counted(event.count, 'message')} left the history, up to message {event.id}"
        case StaysExpired() | StreamNoticesExpired():
            what = "stay" if isinstance(event, StaysExpired) else "notice"
            return f"{counted(event.count, what)} in conversations forgotten, up to {moment(event.at_ms)}"
        case (
            ConversationCreated()
            | ConversationUpdated()
            | MembersAdded()
            | MembersRemoved()
            | ConversationMuted()
            | ConversationUnmuted()
            | ConversationRead()
        ):
            return of_records(event)
        case CopiesExpired() | CopiesWithdrawn() | ConversationDeleted() | ConversationSwept():
            return of_ends(event)
        case GapsExpired():
            return f"gaps of {counted(len(event.rooms), 'room')} forgotten"
        case _:
            return of_many(event)


def _plain(value: Any, name: str) -> Any:
    if isinstance(value, msgspec.Struct):
        return {field: _plain(getattr(value, field), field) for field in value.__struct_fields__}
    if isinstance(value, tuple):
        return [_plain(item, name) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if name in _IDS and type(value) is int else value
