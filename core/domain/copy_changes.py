"""Changes of some recipients' copies: they see another text, that it was taken back, or nothing; everybody else, and whoever
asks for the conversation or the app, sees the message itself. A change that names nobody, or every recipient there is, is one
of the message itself."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from ..commands import ChangeMessage, DeleteMessage, EditMessage, RecallMessage
from ..errors import CopiesFull, MessageIsRecalled, UnknownMessage
from ..events import MessageDeleted, MessageEdited, MessageRecalled
from ..ids import Place, Position, position_of
from ..limits import COPIES_MAX
from ..model import Receipt, Rules
from ..ports import Headers, ReadViews, Views
from ..rows import HIDDEN, Body, ConversationRow, Kept
from . import changes, copies, groups, streams
from .changes import Found
from .decision import Decision, Now
from .queues import apply_queued
from .times import at, note


def decide_edit(command: EditMessage, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Raises UnknownMessage; MessageIsRecalled, also if one of the copies is."""
    some = _some(command, views, headers, now, rules)
    if some is not None and _not_recalled(some.found, some.users, views) != some.users:
        raise MessageIsRecalled(f"message {command.id} was recalled")
    if some is None or some.all:
        return changes.decide_edit(command, views, headers, now, rules)
    found, users, _ = some
    event = MessageEdited(
        app=command.app,
        id=command.id,
        by=command.by,
        at_ms=at(command.app, views, now),
        queued=changes.tell(found, users, views, now, rules),
        copies=users,
    )
    header = msgspec.structs.replace(found.header, type="edited", by=command.by, format=command.format, push=b"")
    return _decided(event, Body(header, command.body), found)


def decide_recall(command: RecallMessage, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Raises UnknownMessage. What is recalled stays so; if all of it is, nothing is written and the receipt says so. Taken back
    from the last of those it names, the message itself is: nobody who was to have the text has it any more."""
    some = _some(command, views, headers, now, rules)
    if some is None or some.all:
        return changes.decide_recall(command, views, headers, now, rules)
    found = some.found
    users, at_ms = _not_recalled(found, some.users, views), at(command.app, views, now)
    if not users:
        return Decision(result=Receipt(id=command.id, at_ms=at_ms, duplicate=True))
    if users == _not_recalled(found, found.recipients, views):
        return changes.decide_recall(command, views, headers, now, rules)
    told = changes.tell(found, users, views, now, rules)
    event = MessageRecalled(app=command.app, id=command.id, by=command.by, at_ms=at_ms, queued=told, copies=users)
    return _decided(event, changes.recalled(found.header, command), found)


def decide_delete(command: DeleteMessage, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Raises UnknownMessage."""
    some = _some(command, views, headers, now, rules)
    if some is None or some.all:
        return changes.decide_delete(command, views, headers, now, rules)
    found, users, _ = some
    header = found.header
    withdrawn = tuple(groups.waiting(views, header.app, users, header.id))
    leaving = {of.user: of.positions for of in withdrawn}
    event = MessageDeleted(
        app=command.app,
        id=command.id,
        by=command.by,
        at_ms=at(command.app, views, now),
        timeline=header.conversation,
        sender=header.sender,
        sent_ms=header.at_ms,
        withdrawn=withdrawn,
        queued=() if command.silent else changes.tell(found, users, views, now, rules, withdrawn=leaving),
        copies=users,
    )
    kept = any(copy.stored for copy in event.queued)
    return _decided(event, changes.deleted(header, command), found, keeps_body=kept)


class _Some(NamedTuple):
    """A message, and whose copies of it are meant."""

    found: Found
    users: tuple[str, ...]
    """In the order in which the message names them, if it does."""
    all: bool
    """They are all whom it names: the message itself is meant."""


def _some(command: ChangeMessage, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> _Some | None:
    """What is meant; None if the command names nobody. Of a message by name those are passed over who are no recipients, or
    none any more because it was hidden from them, if others are. Raises UnknownMessage."""
    if not command.recipients:
        return None
    found = changes.find(command, views, headers, now, rules)
    unknown = UnknownMessage(f"message {command.id} is not one to these recipients")
    users, kept = dict.fromkeys(command.recipients), found.kept
    if kept is None:
        raise unknown
    if kept.named:
        there = tuple(user for user in kept.recipients if user in users)
        if not there:
            raise unknown
        return _Some(found, there, len(there) == len(kept.recipients))
    if not _have_it(views, command, kept, users):
        raise unknown
    changed = views.changed(command.id)
    new = sum(copies.copy_of(views, command.app, user, command.id) is None for user in users)
    if changed is not None and changed.copies + new > COPIES_MAX:
        raise CopiesFull(f"message {command.id} has {changed.copies} copies that are not as the message is")
    return _Some(found, tuple(users), all=False)


def _have_it(views: ReadViews, command: ChangeMessage, kept: Kept, users: Iterable[str]) -> bool:
    """Whether it was sent to a service's subscribers, and each of them was one and still sees something of it."""
    if kept.conversation.kind != "service" or kept.alias:
        return False  # what was imported, and not by name, is nobody's in particular
    row = views.conversation(command.app, kept.conversation)
    return row is not None and all(_had_it(views, command, row, user) for user in users)


def _had_it(views: ReadViews, command: ChangeMessage, row: ConversationRow, user: str) -> bool:
    """Whether somebody subscribed when the message was sent, and still sees something of it."""
    if not streams.had(views, command.app, user, row, position_of(command.id)):
        return False
    copy = copies.copy_of(views, command.app, user, command.id)
    return copy is None or copy.body != HIDDEN


def _not_recalled(found: Found, users: tuple[str, ...], views: ReadViews) -> tuple[str, ...]:
    """Those of them from whom it was not taken back."""
    header = found.header
    if header.type == "recalled":
        return ()
    rows = ((user, copies.copy_of(views, header.app, user, header.id)) for user in users)
    return tuple(user for user, row in rows if row is None or not row.recalled)


def _decided(
    event: MessageEdited | MessageRecalled | MessageDeleted, body: Body, found: Found, *, keeps_body: bool = True
) -> Decision:
    """Of what was not queued, their sessions open now are told."""
    audience = () if found.header.queue else event.copies
    return Decision((event,), Receipt(id=event.id, at_ms=event.at_ms), body, keeps_body, audience=audience)


def apply(views: Views, position: Position, event: MessageEdited | MessageRecalled | MessageDeleted) -> list[Position]:
    """What becomes of the copies that the event names. Returns the positions whose bodies end."""
    ended = _hide(views, event) if isinstance(event, MessageDeleted) else _show(views, position, event)
    told = sum(copy.stored for copy in event.queued)
    if told:
        views.put_change(position, event.id, told)
    note(views, event.app, event.at_ms)
    return ended + apply_queued(views, event.app, position, event.queued)


def _show(views: Views, position: Position, event: MessageEdited | MessageRecalled) -> list[Position]:
    """They show the body under this position."""
    told = {copy.user for copy in event.queued if copy.stored}
    recalled = isinstance(event, MessageRecalled)
    return copies.show(views, event.app, event.id, position, event.copies, recalled=recalled, told=told)


def _hide(views: Views, event: MessageDeleted) -> list[Position]:
    """Their recipients are none any more; the notice, if any, lies under the event's position."""
    app, id, place = event.app, event.id, Place(event.sent_ms, event.id)
    ended = changes.withdraw(views, event)
    kept = views.kept(app, place)
    assert kept is not None  # nothing is hidden of what is not kept
    if not kept.named:
        return ended + copies.hide(views, app, id, event.copies)
    views.remove_recipients(app, place, kept, event.copies)
    return ended + copies.withdraw(views, app, id, event.copies)
