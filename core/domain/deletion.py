"""Conversations deleted: at once for every reader, and from the store step by step.

What a conversation has is listed in `_SWEEPS`, a function a kind of thing: whoever gives conversations something new adds
one, and says in `apply_swept` how it goes.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, NamedTuple, assert_never

import msgspec

from ..commands import DeleteConversation, SweepConversation
from ..events import AnyEvent, RoomLeft
from ..events.deletion import ConversationDeleted, ConversationSwept, CopiesWithdrawn, DeletionEvent, Remains
from ..ids import Place, Position, UnixMs, message_at
from ..limits import DEDUP_EXPIRED_MAX, DELETED_LEAVES_MAX, HISTORY_COPIES_MAX, HISTORY_EXPIRED_MAX
from ..model import Conversation, Receipt, Rules, UserList
from ..ports import Headers, ReadViews, Views
from ..rows import ConversationRow, Kept
from . import copies, history, imports, streams, unread
from .conversations import require
from .decision import Decision, Now, parts
from .groups import apply_copies_gone, waiting
from .times import at, note

_LISTS: Final[tuple[UserList, ...]] = ("members", "muted", "silenced", "banned")


def decide_delete(command: DeleteConversation, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Raises UnknownConversation. Whoever is in the room leaves it, as far as they are not too many for one command."""
    row = require(views, command.app, command.conversation)
    at_ms = at(command.app, views, now)
    event = ConversationDeleted(app=command.app, conversation=row.conversation, at_ms=at_ms, by=command.by)
    receipt = Receipt(id=message_at(now.position), at_ms=at_ms, conversation=command.conversation)
    return Decision((event, *_leaves(views, command.app, row.conversation, at_ms, DELETED_LEAVES_MAX)), receipt)


def decide_sweep(command: SweepConversation, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Some of what is left of a deleted conversation, one kind of thing at a time; last what says that it was deleted."""
    app, conversation = command.app, command.conversation
    row = views.deleted(app, conversation)
    if row is None:
        return Decision()
    if command.blockers:
        return Decision(tuple(_unblocked(views, app, row, command)))
    step = _Step(views, app, row, min(command.limit, DELETED_LEAVES_MAX), at(app, views, now))
    for sweep in _SWEEPS:
        events = tuple(sweep(step))
        if events:
            return Decision(events)
    if not command.unblocked:
        return Decision()
    return Decision((ConversationSwept(app=app, conversation=conversation, what="record"),))


class _Step(NamedTuple):
    """One step of a sweep."""

    views: ReadViews
    app: str
    row: ConversationRow
    """What is left of the record."""
    limit: int
    at_ms: UnixMs


def _stays(step: _Step) -> Iterator[AnyEvent]:
    """Those of a dead process have ended, and are swept with its sessions."""
    return _leaves(step.views, step.app, step.row.conversation, step.at_ms, step.limit)


def _leaves(views: ReadViews, app: str, conversation: Conversation, at_ms: UnixMs, limit: int) -> Iterator[RoomLeft]:
    """The first who are in it leave it."""
    if conversation.kind == "room":
        for user in islice(views.members(app, conversation.id), limit):
            yield RoomLeft(app=app, room=conversation.id, user=user, at_ms=at_ms)


def _messages(step: _Step) -> Iterator[AnyEvent]:
    """The copies that still wait of some messages, then the messages."""
    views, app = step.views, step.app
    over = history.some(views, islice(_kept(views, app, step.row.conversation, HISTORY_COPIES_MAX), step.limit))
    for part in history.parted(over):
        for place, kept in part:
            yield from _withdrawn(views, app, kept, place)
        last = part[-1][0]
        yield ConversationSwept(
            app=app,
            conversation=step.row.conversation,
            what="messages",
            count=len(part),
            at_ms=last.at_ms,
            id=last.id,
        )


def _kept(
    views: ReadViews, app: str, conversation: Conversation, again_max: int | None = None
) -> Iterator[tuple[Place, Kept]]:
    """What was sent to it, each message once; of those that come again no more than so many are passed over."""
    met: set[Place] = set()
    for count, place in enumerate(views.sent_to(app, conversation)):
        if again_max is not None and count > len(met) + again_max:
            return
        if place in met:
            continue
        met.add(place)
        kept = views.kept(app, place)
        assert kept is not None  # a timeline shows what is kept
        yield place, kept


def _withdrawn(views: ReadViews, app: str, kept: Kept, place: Place) -> Iterator[CopiesWithdrawn]:
    """What still waits of a message: its text has no other owner than the history."""
    users = copies.holders(views, place.id, kept.recipients)
    for part in parts(tuple(waiting(views, app, users, place.id)), HISTORY_EXPIRED_MAX):
        yield CopiesWithdrawn(app=app, id=place.id, copies=tuple(part))


def _notices(step: _Step) -> Iterator[AnyEvent]:
    """When all messages have left, what the stream tells of those deleted before is all that stands in it."""
    return _swept(step, "notices", _some(step.views.stream(step.row.number), step))


def _lists(step: _Step) -> Iterator[AnyEvent]:
    """The first of the first list that has any."""
    for users in _LISTS:
        count = min(getattr(step.row, users), step.limit)
        if count:
            return _swept(step, users, count)
    return iter(())


def _silences(step: _Step) -> Iterator[AnyEvent]:
    return _swept(step, "silences", _some(step.views.silenced_for_a_while(step.row.number), step))


def _guests(step: _Step) -> Iterator[AnyEvent]:
    """Who is no member and was sent something by name."""
    return _swept(step, "guests", _some(step.views.guests(step.row.number), step))


def _roles(step: _Step) -> Iterator[AnyEvent]:
    return _swept(step, "roles", min(step.row.roles, step.limit))


def _some(found: Iterator[object], step: _Step) -> int:
    """How many there are, as far as one step goes."""
    return sum(1 for _ in islice(found, step.limit))


def _swept(step: _Step, what: Remains, count: int) -> Iterator[AnyEvent]:
    """The first so many of a kind are forgotten."""
    for part in parts(range(count), DEDUP_EXPIRED_MAX):
        yield ConversationSwept(app=step.app, conversation=step.row.conversation, what=what, count=len(part))


_SWEEPS: Final[tuple[Callable[[_Step], Iterator[AnyEvent]], ...]] = (
    _stays,
    _messages,
    _notices,
    _lists,
    _silences,
    _guests,
    _roles,
)
"""What a conversation has, in the order in which it is swept. Blocks are found otherwise: they lie by user."""


def _unblocked(
    views: ReadViews, app: str, row: ConversationRow, command: SweepConversation
) -> Iterator[ConversationSwept]:
    there = [user for user in dict.fromkeys(command.blockers) if views.is_blocked(app, user, row.number)]
    for part in parts(there[: command.limit], DEDUP_EXPIRED_MAX):
        yield ConversationSwept(
            app=app, conversation=row.conversation, what="blocks", count=len(part), users=tuple(part)
        )


# What they do.


def apply(views: Views, event: DeletionEvent) -> list[Position]:
    """Returns the positions whose bodies end."""
    match event:
        case ConversationDeleted():
            apply_deleted(views, event)
            return []
        case CopiesWithdrawn():
            return apply_copies_gone(views, event)
        case ConversationSwept():
            return apply_swept(views, event)
        case _:
            assert_never(event)


def apply_deleted(views: Views, event: ConversationDeleted) -> None:
    """No record, nothing that finds it; its name says that the rest is to be swept."""
    note(views, event.app, event.at_ms)
    row = views.conversation(event.app, event.conversation)
    assert row is not None  # what is deleted was there
    if row.unique:
        views.remove_unique(event.app, row, views.listed(row.number, "members"))
    views.remove_conversation(event.app, row)


def apply_swept(views: Views, event: ConversationSwept) -> list[Position]:
    """Some of it is forgotten. What waited of its messages has left before. Returns the positions whose bodies end."""
    app = event.app
    row = views.deleted(app, event.conversation)
    assert row is not None  # it is swept after it was deleted
    number = row.number
    match event.what:
        case "messages":
            return _forget_messages(views, event)
        case "notices":
            return streams.remove_notices(views, app, number, event.count)
        case "members" | "muted" | "silenced" | "banned":
            _shorten(views, app, row, event.what, event.count)
        case "silences":
            for user in list(islice(views.silenced_for_a_while(number), event.count)):
                views.remove_silence(app, number, user)
        case "guests":
            unread.apply_left(views, app, row, list(islice(views.guests(number), event.count)))
        case "roles":
            _forget_roles(views, app, row, event.count)
        case "blocks":
            for user in event.users:
                views.remove_block(app, user, number)
        case "record":
            views.remove_deleted(app, row)
        case _:
            assert_never(event.what)
    return []


def _forget_messages(views: Views, event: ConversationSwept) -> list[Position]:
    """The oldest go; that some were imported is remembered."""
    app = event.app
    over = list(islice(_kept(views, app, event.conversation), event.count))
    assert over[-1][0] == Place(event.at_ms, event.id)
    for place, kept in over:
        imports.note_deleted(views, app, place, kept)
    return [ended for place, kept in over for ended in history.end(views, app, place, kept)]


def _shorten(views: Views, app: str, row: ConversationRow, users: UserList, count: int) -> None:
    """The first of a list leave it, and with the list of members what is a member's."""
    gone = list(islice(views.listed(row.number, users), count))
    if users == "members":
        streams.unsubscribe(views, app, row, gone)
        unread.apply_left(views, app, row, gone)
    views.unlist_users(app, row, users, gone)
    views.put_deleted(app, msgspec.structs.replace(row, **{users: getattr(row, users) - count}))


def _forget_roles(views: Views, app: str, row: ConversationRow, count: int) -> None:
    gone = list(islice(views.roles(row.number), count))
    for role in gone:
        views.remove_role(app, row.number, role.user)
    owners = row.owners - sum(role.role == "owner" for role in gone)
    views.put_deleted(app, msgspec.structs.replace(row, roles=row.roles - count, owners=owners))
