"""Events in words, for whoever asks what happened; and as JSON. No text of a message is in an event, so none is shown."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
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
    Queued,
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
    BroadcastEvent,
    BroadcastSent,
    BroadcastsExpired,
    QuotaUsed,
)
from postroom.core.events.deletion import (
    ConversationDeleted,
    ConversationSwept,
    CopiesWithdrawn,
    DeletionEvent,
    Remains,
)
from postroom.core.events.imports import AliasesExpired, ConversationImported, ImportEvent, MessageImported
from postroom.core.events.lists import (
    ConversationBlocked,
    ConversationUnblocked,
    ListEvent,
    RoleRemoved,
    RoleSet,
    SilencesExpired,
    UsersBanned,
    UsersSilenced,
    UsersUnbanned,
    UsersUnsilenced,
)
from postroom.core.model import Conversation

_RECIPIENTS_SHOWN: Final = 3
_OF_ANOTHER_TIME: Final = (HistoryExpired, StaysExpired, StreamNoticesExpired, AliasesExpired, MessageImported)
_IDS: Final = frozenset({"id", "ids", "session", "through", "position", "positions", "broadcasts_from"})
"""Fields that are decimal strings in JSON: 64-bit readers aside, nobody may round them."""
_START: Final = datetime(1970, 1, 1, tzinfo=UTC)


def line(record: Record) -> str:
    """One event for a person: position, time, app, what happened. A time by the expiry clock is marked with "~"."""
    # Sweeping names the time of what it ends; and earlier versions did not note every time.
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


def moment(ms: int) -> str:
    """A time in milliseconds since 1970 as people write it, in UTC."""
    try:
        return (_START + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except OverflowError:
        return f"{ms} ms"


def shown(name: str) -> str:
    """A name as it is, or quoted if it is empty or has blanks or what a terminal might obey."""
    return name if name and name.isprintable() and not any(map(str.isspace, name)) else ascii(name)


def safe(text: str) -> str:
    """A line without what a terminal might obey."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def place(conversation: Conversation) -> str:
    """A conversation."""
    line = f" line {conversation.line}" if conversation.line else ""
    return f"{conversation.kind} {shown(conversation.id)}{line}"


def words(event: AnyEvent) -> str:
    """What happened."""
    match event:
        case EpochStarted():
            return f"epoch {event.epoch} begins: a process took over, earlier sessions are offline"
        case MessageSent():
            return _joined(f"message {event.id} {shown(event.sender)} → {place(event.conversation)}", _sent(event))
        case MessageEdited():
            what = f"message {event.id} edited by {shown(event.by)}"
            return _joined(what, [*_streamed(event.stream), *_copies(event.queued)])
        case MessageRecalled():
            what = f"message {event.id} recalled by {shown(event.by)}"
            return _joined(what, [*_streamed(event.stream), *_copies(event.queued)])
        case MessageDeleted():
            gone = (f"{counted(len(w.positions), 'entry')} withdrawn from {shown(w.user)}" for w in event.withdrawn)
            what = f"message {event.id} deleted by {shown(event.by)}"
            return _joined(what, [*_few(gone), *_streamed(event.stream), *_copies(event.queued)])
        case MessageConfirmed():
            return f"message {event.id} acknowledged, a retry by {shown(event.sender)} will be told so"
        case LoggedIn() | LoggedOut() | UserKicked():
            return _words_of_sessions(event)
        case Acked():
            return _acknowledged(event)
        case BroadcastSent() | BroadcastEdited() | BroadcastDeleted() | BroadcastsExpired() | QuotaUsed():
            return _words_of_broadcasts(event)
        case RoomJoined():
            return f"{shown(event.user)} joined room {shown(event.room)}"
        case RoomLeft():
            return f"{shown(event.user)} left room {shown(event.room)}"
        case _:
            return _words_of_the_house(event)


def _words_of_broadcasts(event: BroadcastEvent) -> str:
    """What everybody was sent, and what was counted."""
    match event:
        case BroadcastSent():
            told = ["for whoever is online only"] if event.transient else []
            told += [f"valid until {moment(event.valid_until_ms)}"] if event.valid_until_ms is not None else []
            told += [f"dedup key {shown(event.dedup)}"] if event.dedup is not None else []
            return _joined(f"broadcast {event.id} {shown(event.sender)} → all, by {place(event.conversation)}", told)
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


def _acknowledged(event: Acked) -> str:
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


def _words_of_records(event: RecordEvent | ConversationRead) -> str:
    """What happened to a conversation's record, and to what somebody has read of it."""
    name = place(event.conversation)
    match event:
        case ConversationCreated():
            members = [f"with {_names(event.members)}"] if event.members else []
            unique = ["the one group of these"] if event.unique else []
            return _joined(f"{name} created", [*members, *unique])
        case ConversationUpdated():
            set_to = [f"{shown(key)} set" for key, _ in event.changed]
            return _joined(f"{name} changed", _few([*set_to, *(f"{shown(key)} unset" for key in event.unset)]))
        case MembersAdded():
            return f"{_names(event.users)} joined {name}"
        case MembersRemoved():
            return f"{_names(event.users)} left {name}"
        case ConversationMuted():
            return f"{_names(event.users)} muted {name}"
        case ConversationUnmuted():
            return f"{_names(event.users)} unmuted {name}"
        case ConversationRead():
            own = [f"{event.own} behind it their own"] if event.own else []
            named = [f"{event.extra} by name unread"] if event.extra else []
            through = f"{shown(event.user)} has read {name} until {moment(event.until_ms)}, through number {event.read}"
            return _joined(through, [*own, *named])
        case _:
            assert_never(event)


def _names(users: Iterable[str]) -> str:
    return ", ".join(_few(map(shown, users)))


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
            return _words_of_records(event)
        case CopiesExpired() | CopiesWithdrawn() | ConversationDeleted() | ConversationSwept():
            return _words_of_ends(event)
        case GapsExpired():
            return f"gaps of {counted(len(event.rooms), 'room')} forgotten"
        case _:
            return _words_of_many(event)


def _words_of_many(event: ListEvent | ImportEvent) -> str:
    """What a backend says of a conversation's users, or brings along."""
    if isinstance(event, ConversationImported | MessageImported | AliasesExpired):
        return _words_of_imports(event)
    return _words_of_lists(event)


def _words_of_imports(event: ImportEvent) -> str:
    """What was taken over from elsewhere."""
    match event:
        case ConversationImported():
            members = [f"with {_names(event.members)}"] if event.members else []
            return _joined(f"{place(event.conversation)} of {moment(event.created_ms)} imported", members)
        case MessageImported():
            told = [f"as {shown(event.alias)}", *(["recalled"] if event.recalled else [])]
            told += [f"for {_names(event.recipients)}"] if event.recipients else []
            what = f"message {event.id} of {moment(event.at_ms)}, {shown(event.sender)} → {place(event.conversation)}"
            return _joined(f"{what} imported", told)
        case AliasesExpired():
            return f"{counted(event.count, 'deleted import')} forgotten, up to {moment(event.at_ms)}"
        case _:
            assert_never(event)


def _words_of_ends(event: CopiesExpired | DeletionEvent) -> str:
    """What becomes of a group's copies without their text, and of a deleted conversation."""
    match event:
        case CopiesExpired():
            left = (f"{counted(len(c.positions), 'entry')} of {shown(c.user)} expired" for c in event.copies)
            return _joined(f"message {event.id} leaves the history", _few(left))
        case CopiesWithdrawn():
            left = (f"{counted(len(c.positions), 'entry')} of {shown(c.user)} withdrawn" for c in event.copies)
            return _joined(f"message {event.id} goes with its conversation", _few(left))
        case ConversationDeleted():
            return f"{place(event.conversation)} deleted by {shown(event.by)}"
        case ConversationSwept(what="record"):
            return f"nothing is left of deleted {place(event.conversation)}"
        case ConversationSwept():
            return f"{counted(event.count, _REMAINS[event.what])} of deleted {place(event.conversation)} forgotten"
        case _:
            assert_never(event)


_REMAINS: Final[dict[Remains, str]] = {
    "messages": "message",
    "notices": "notice",
    "members": "member",
    "muted": "mute",
    "silenced": "silence",
    "banned": "ban",
    "silences": "temporary silence",
    "guests": "guest",
    "roles": "role",
    "blocks": "block",
    "record": "record",
}
"""One of each."""


def _words_of_lists(event: ListEvent) -> str:
    """Who may come into a conversation, who may talk there, who is what."""
    if isinstance(event, SilencesExpired):
        return f"{counted(event.count, 'silence')} forgotten, up to {moment(event.until_ms)}"
    name = place(event.conversation)
    match event:
        case UsersBanned():
            return f"{_names(event.users)} banned from {name}"
        case UsersUnbanned():
            return f"{_names(event.users)} no longer banned from {name}"
        case UsersSilenced():
            how_long = "for good" if event.until_ms is None else f"until {moment(event.until_ms)}"
            return f"{_names(event.users)} silenced in {name} {how_long}"
        case UsersUnsilenced():
            what = "temporary silence" if event.temporary else "silence"
            return f"{what} of {_names(event.users)} in {name} lifted"
        case RoleSet():
            return f"{shown(event.user)} is {event.role} of {name}"
        case RoleRemoved():
            return f"{shown(event.user)} has no role in {name}"
        case ConversationBlocked():
            return f"{shown(event.user)} blocks {name}"
        case ConversationUnblocked():
            return f"{shown(event.user)} no longer blocks {name}"
        case _:
            assert_never(event)


def _sent(event: MessageSent) -> list[str]:
    told: list[str] = [event.lane] if event.lane != "normal" else []
    if event.history:
        told.append("kept for history")
    if event.stream:
        told.append(f"number {event.number} of its stream")
    told += _copies(event.queued)
    if not event.queued and not event.history:
        told.append("for whoever is online only")
    if event.dedup is not None:
        told.append(f"dedup key {shown(event.dedup)}")
    return told


def _streamed(conversation: Conversation | None) -> list[str]:
    return [f"told in the stream of {place(conversation)}"] if conversation is not None else []


def _copies(copies: Iterable[Queued]) -> list[str]:
    return _few(map(_copy, copies))


def _copy(copy: Queued) -> str:
    what = "queued for" if copy.stored else "refused by the full queue of"
    dropped = [f"{verb} {count}" for verb, count in (("evicted", copy.evicted), ("expired", copy.expired)) if count]
    return ", ".join([f"{what} {shown(copy.user)} as seq {copy.seq}", *dropped])


def _few(parts: Iterable[str]) -> list[str]:
    every = list(parts)
    if len(every) <= _RECIPIENTS_SHOWN:
        return every
    return [*every[:_RECIPIENTS_SHOWN], f"and {len(every) - _RECIPIENTS_SHOWN} more"]


def _joined(first: str, rest: Iterable[str]) -> str:
    return ", ".join([first, *rest])


def counted(count: int, what: str) -> str:
    """A number of things."""
    if count == 1:
        return f"1 {what}"
    return f"{count:,} {what[:-1]}ies" if what.endswith("ry") else f"{count:,} {what}s"


def _plain(value: Any, name: str) -> Any:
    if isinstance(value, msgspec.Struct):
        return {field: _plain(getattr(value, field), field) for field in value.__struct_fields__}
    if isinstance(value, tuple):
        return [_plain(item, name) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if name in _IDS and type(value) is int else value
