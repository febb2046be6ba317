"""Conversation records: attributes, members, who wants no push notifications. A peer conversation needs none; a room gets
one from the first who joins it or sends to it."""

from collections.abc import Iterable
from typing import Protocol, assert_never

import msgspec

from ..commands import (
    AddMembers,
    ConversationCommand,
    CreateConversation,
    MuteConversation,
    RemoveMembers,
    UnmuteConversation,
    UpdateConversation,
    UsersCommand,
)
from ..errors import ConversationExists, ConversationFull, Overloaded, UnknownConversation
from ..events import (
    AnyEvent,
    ConversationCreated,
    ConversationMuted,
    ConversationUnmuted,
    ConversationUpdated,
    MembersAdded,
    MembersRemoved,
)
from ..events.lists import UsersUnbanned
from ..ids import Position, UnixMs, message_at
from ..limits import MEMBERS_MAX, MUTED_MAX, OVERLOADED_RETRY_MS
from ..model import Conversation, Receipt, Rules, UserList, group
from ..ports import Headers, ReadViews, Views
from ..rows import ConversationRow
from . import attributes, permission, streams, unread
from .decision import Decision, Now
from .times import at, note

Change = ConversationUpdated | MembersAdded | MembersRemoved | ConversationMuted | ConversationUnmuted
RecordEvent = ConversationCreated | Change


def decide_create(command: CreateConversation, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Raises ConversationExists, ConversationFull, InvalidCommand if the attributes are too large."""
    app, members = command.app, tuple(dict.fromkeys(command.members))
    if command.unique:
        name = views.unique_group(app, members)
        if name is not None:
            row = require(views, app, group(name))
            return nothing_to_do(row, row.created_ms)
    if views.conversation(app, command.conversation) is not None:
        raise ConversationExists(f"{command.conversation.kind} {command.conversation.id!r} exists")
    if views.is_deleted(app, command.conversation):
        raise ConversationExists(f"{command.conversation.kind} {command.conversation.id!r} is being deleted")
    muted = tuple(dict.fromkeys(command.muted))
    if len(members) > MEMBERS_MAX or len(muted) > MUTED_MAX:
        raise ConversationFull(f"a group has at most {MEMBERS_MAX} members, and is muted by at most {MUTED_MAX} users")
    json = attributes.compact(command.attributes)
    attributes.check_size(json)
    created = ConversationCreated(
        app=app,
        conversation=command.conversation,
        at_ms=at(app, views, now),
        attributes=attributes.merge(json, (), ()),
        members=members,
        unique=command.unique,
    )
    receipt = Receipt(id=message_at(now.position), at_ms=created.at_ms, conversation=command.conversation)
    if not muted:
        return Decision((created,), receipt)
    mutes = ConversationMuted(app=app, conversation=command.conversation, at_ms=created.at_ms, users=muted)
    return Decision((created, mutes), receipt)


def decide_update(command: UpdateConversation, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Raises UnknownConversation, InvalidCommand. Without an operation nothing is written."""
    app = command.app
    row = require(views, app, command.conversation)
    if not command.operations:
        return nothing_to_do(row, row.updated_ms)
    changed, unset = attributes.operate(row.attributes, command.operations)
    attributes.check_size(attributes.merge(row.attributes, changed, unset))
    at_ms = at(app, views, now)
    event = ConversationUpdated(app=app, conversation=row.conversation, at_ms=at_ms, changed=changed, unset=unset)
    return decided(event, command, now, at_ms)


def decide_add(command: AddMembers, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Raises UnknownConversation, ConversationFull, Banned."""
    row = require(views, command.app, command.conversation)
    users = off_list(views, command.app, row, "members", command.users)
    if not users:
        return nothing_to_do(row, row.updated_ms)
    permission.to_be_added(views, command.app, row, users)
    if row.kind == "group" and row.members + len(users) > MEMBERS_MAX:
        raise ConversationFull(f"group {row.id!r} would have more than {MEMBERS_MAX} members")
    at_ms = at(command.app, views, now)
    event = MembersAdded(app=command.app, conversation=row.conversation, at_ms=at_ms, users=users)
    return decided(event, command, now, at_ms)


def decide_remove(command: RemoveMembers, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Raises UnknownConversation."""
    return taken_off(command, "members", MembersRemoved, views, now)


def decide_mute(command: MuteConversation, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Raises UnknownConversation, ConversationFull."""
    row = require(views, command.app, command.conversation)
    users = off_list(views, command.app, row, "muted", command.users)
    if not users:
        return nothing_to_do(row, row.updated_ms)
    if row.muted + len(users) > MUTED_MAX:
        raise ConversationFull(f"group {row.id!r} would be muted by more than {MUTED_MAX} users")
    at_ms = at(command.app, views, now)
    event = ConversationMuted(app=command.app, conversation=row.conversation, at_ms=at_ms, users=users)
    return decided(event, command, now, at_ms)


def decide_unmute(command: UnmuteConversation, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Raises UnknownConversation."""
    return taken_off(command, "muted", ConversationUnmuted, views, now)


def require(views: ReadViews, app: str, conversation: Conversation) -> ConversationRow:
    """Its record. Raises UnknownConversation."""
    row = views.conversation(app, conversation)
    if row is None:
        raise UnknownConversation(f"nobody created {conversation.kind} {conversation.id!r}")
    return row


def first_use(views: ReadViews, app: str, conversation: Conversation, at_ms: UnixMs) -> tuple[ConversationCreated, ...]:
    """What goes before the first event of a room. Raises Overloaded while one of this name is being deleted."""
    if views.conversation(app, conversation) is not None:
        return ()
    refuse_deleted(views, app, conversation)
    return (ConversationCreated(app=app, conversation=conversation, at_ms=at_ms),)


def refuse_deleted(views: ReadViews, app: str, conversation: Conversation) -> None:
    """Raises Overloaded while a room is being deleted: afterwards it may be used as any other."""
    if views.is_deleted(app, conversation):
        message = f"{conversation.kind} {conversation.id!r} is being deleted"
        raise Overloaded(message, retry_after_ms=OVERLOADED_RETRY_MS)


def on_list(views: ReadViews, app: str, row: ConversationRow, users: UserList, names: Iterable[str]) -> tuple[str, ...]:
    """Those of the names that are on a list, each once."""
    return tuple(name for name in dict.fromkeys(names) if views.is_listed(app, row.number, users, name))


def off_list(
    views: ReadViews, app: str, row: ConversationRow, users: UserList, names: Iterable[str]
) -> tuple[str, ...]:
    """Those that are not."""
    return tuple(name for name in dict.fromkeys(names) if not views.is_listed(app, row.number, users, name))


def taken_off(
    command: UsersCommand,
    users: UserList,
    event: type[MembersRemoved | ConversationUnmuted | UsersUnbanned],
    views: ReadViews,
    now: Now,
) -> Decision:
    """What takes those who are on a list off it. Raises UnknownConversation."""
    app = command.app
    row = require(views, app, command.conversation)
    names = on_list(views, app, row, users, command.users)
    if not names:
        return nothing_to_do(row, row.updated_ms)
    at_ms = at(app, views, now)
    return decided(event(app=app, conversation=row.conversation, at_ms=at_ms, users=names), command, now, at_ms)


def decided(event: AnyEvent, command: ConversationCommand, now: Now, at_ms: UnixMs, *before: AnyEvent) -> Decision:
    """What a command about a record came to; other events may go before its own."""
    position = Position(now.position + len(before))
    receipt = Receipt(id=message_at(position), at_ms=at_ms, conversation=command.conversation)
    return Decision((*before, event), receipt)


def nothing_to_do(row: ConversationRow, at_ms: UnixMs) -> Decision:
    """Things are as the command wants them."""
    receipt = Receipt(id=message_at(row.number), at_ms=at_ms, duplicate=True, conversation=row.conversation)
    return Decision(result=receipt)


# What they do.


def apply(views: Views, position: Position, event: RecordEvent) -> None:
    """Change the record and what finds it."""
    match event:
        case ConversationCreated():
            apply_created(views, position, event)
        case ConversationUpdated():
            apply_updated(views, event)
        case MembersAdded() | MembersRemoved():
            apply_members(views, position, event)
        case ConversationMuted() | ConversationUnmuted():
            apply_mutes(views, position, event)
        case _:
            assert_never(event)


def apply_created(views: Views, position: Position, event: ConversationCreated) -> None:
    """The record, its members, and what finds them."""
    app = event.app
    note(views, app, event.at_ms)
    row = ConversationRow(
        number=position,
        kind=event.conversation.kind,
        id=event.conversation.id,
        created_ms=event.at_ms,
        updated_ms=event.at_ms,
        unique=event.unique,
        attributes=event.attributes,
        members=len(event.members),
    )
    views.put_conversation(app, row)
    views.list_users(app, row, "members", event.members, position)
    if row.unique:
        views.put_unique(app, row, event.members)


def apply_updated(views: Views, event: ConversationUpdated) -> None:
    """The new attributes."""
    row = _noted(views, event)
    json = attributes.merge(row.attributes, event.changed, event.unset)
    views.put_conversation(event.app, msgspec.structs.replace(row, attributes=json))


def apply_members(views: Views, position: Position, event: MembersAdded | MembersRemoved) -> None:
    """More members, or fewer; a group that is the one of its members is now that of others."""
    app, row = event.app, _noted(views, event)
    if row.unique:  # a group, of which it costs little to name all
        views.remove_unique(app, row, views.listed(row.number, "members"))
    if isinstance(event, MembersAdded):
        views.list_users(app, row, "members", event.users, position)
        streams.join(views, app, row, event.users, position)
        unread.apply_joined(views, app, row, event.users)
        count = row.members + len(event.users)
    else:
        streams.leave(views, position, event, row)
        views.unlist_users(app, row, "members", event.users)
        unread.apply_left(views, app, row, event.users)
        count = row.members - len(event.users)
    if row.unique:
        views.put_unique(app, row, views.listed(row.number, "members"))
    views.put_conversation(app, msgspec.structs.replace(row, members=count))


def apply_mutes(views: Views, position: Position, event: ConversationMuted | ConversationUnmuted) -> None:
    """More who want no push notifications, or fewer."""
    app, row = event.app, _noted(views, event)
    if isinstance(event, ConversationMuted):
        views.list_users(app, row, "muted", event.users, position)
        count = row.muted + len(event.users)
    else:
        views.unlist_users(app, row, "muted", event.users)
        count = row.muted - len(event.users)
    views.put_conversation(app, msgspec.structs.replace(row, muted=count))


def _noted(views: Views, event: Change) -> ConversationRow:
    """The record as the event finds it, with the event's time."""
    return msgspec.structs.replace(record_of(views, event), updated_ms=event.at_ms)


class _About(Protocol):
    """An event about a record."""

    @property
    def app(self) -> str: ...
    @property
    def conversation(self) -> Conversation: ...
    @property
    def at_ms(self) -> UnixMs: ...


def record_of(views: Views, event: _About) -> ConversationRow:
    """The record as the event finds it; the event's time is noted."""
    note(views, event.app, event.at_ms)
    row = views.conversation(event.app, event.conversation)
    assert row is not None  # there is one as long as there are events about it
    return row
