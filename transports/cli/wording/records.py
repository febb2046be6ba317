"""Conversations in words: their records and lists, what was imported, what is left of one that was deleted."""

from typing import Final, assert_never

from postroom.core.domain.conversations import RecordEvent
from postroom.core.events import (
    ConversationCreated,
    ConversationMuted,
    ConversationRead,
    ConversationUnmuted,
    ConversationUpdated,
    CopiesExpired,
    MembersAdded,
    MembersRemoved,
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

from .parts import counted, few, joined, moment, names, place, shown


def of_records(event: RecordEvent | ConversationRead) -> str:
    """What happened to a conversation's record, and to what somebody has read of it."""
    name = place(event.conversation)
    match event:
        case ConversationCreated():
            members = [f"with {names(event.members)}"] if event.members else []
            unique = ["the one group of these"] if event.unique else []
            return joined(f"{name} created", [*members, *unique])
        case ConversationUpdated():
            set_to = [f"{shown(key)} set" for key, _ in event.changed]
            return joined(f"{name} changed", few([*set_to, *(f"{shown(key)} unset" for key in event.unset)]))
        case MembersAdded():
            return f"{names(event.users)} joined {name}"
        case MembersRemoved():
            return f"{names(event.users)} left {name}"
        case ConversationMuted():
            return f"{names(event.users)} muted {name}"
        case ConversationUnmuted():
            return f"{names(event.users)} unmuted {name}"
        case ConversationRead():
            own = [f"{event.own} behind it their own"] if event.own else []
            named = [f"{event.extra} by name unread"] if event.extra else []
            through = f"{shown(event.user)} has read {name} until {moment(event.until_ms)}, through number {event.read}"
            return joined(through, [*own, *named])
        case _:
            assert_never(event)


def of_many(event: ListEvent | ImportEvent) -> str:
    """What a backend says of a conversation's users, or brings along."""
    if isinstance(event, ConversationImported | MessageImported | AliasesExpired):
        return _words_of_imports(event)
    return _words_of_lists(event)


def _words_of_imports(event: ImportEvent) -> str:
    """What was taken over from elsewhere."""
    match event:
        case ConversationImported():
            members = [f"with {names(event.members)}"] if event.members else []
            return joined(f"{place(event.conversation)} of {moment(event.created_ms)} imported", members)
        case MessageImported():
            told = [f"as {shown(event.alias)}", *(["recalled"] if event.recalled else [])]
            told += [f"for {names(event.recipients)}"] if event.recipients else []
            what = f"message {event.id} of {moment(event.at_ms)}, {shown(event.sender)} → {place(event.conversation)}"
            return joined(f"{what} imported", told)
        case AliasesExpired():
            return f"{counted(event.count, 'deleted import')} forgotten, up to {moment(event.at_ms)}"
        case _:
            assert_never(event)


def of_ends(event: CopiesExpired | DeletionEvent) -> str:
    """What becomes of a group's copies without their text, and of a deleted conversation."""
    match event:
        case CopiesExpired():
            left = (f"{counted(len(c.positions), 'entry')} of {shown(c.user)} expired" for c in event.copies)
            return joined(f"message {event.id} leaves the history", few(left))
        case CopiesWithdrawn():
            left = (f"{counted(len(c.positions), 'entry')} of {shown(c.user)} withdrawn" for c in event.copies)
            return joined(f"message {event.id} goes with its conversation", few(left))
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
            return f"{names(event.users)} banned from {name}"
        case UsersUnbanned():
            return f"{names(event.users)} no longer banned from {name}"
        case UsersSilenced():
            how_long = "for good" if event.until_ms is None else f"until {moment(event.until_ms)}"
            return f"{names(event.users)} silenced in {name} {how_long}"
        case UsersUnsilenced():
            what = "temporary silence" if event.temporary else "silence"
            return f"{what} of {names(event.users)} in {name} lifted"
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
