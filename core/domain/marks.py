"""Marks of what a user has read, up to a time: they make less unread, never more."""

from collections.abc import Iterator
from itertools import islice

import msgspec

from ..commands import MarkRead
from ..errors import InvalidCommand
from ..events.unread import ConversationRead
from ..ids import MessageId, Place, UnixMs
from ..limits import READ_ROWS_MAX
from ..model import Conversation, Rules
from ..ports import LAST_PLACE, Headers, ReadViews, Views
from ..rows import ConversationRow, Kept, UnreadRow
from .conversations import decided, nothing_to_do, record_of, require
from .decision import Decision, Now
from .times import at


def decide_mark(command: MarkRead, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Raises UnknownConversation; InvalidCommand if too much lies behind the time to be counted."""
    app, user = command.app, command.user
    row = require(views, app, command.conversation)
    before = views.unread(app, user, row.number)
    if before is None:
        if not views.is_listed(app, row.number, "members", user):
            return nothing_to_do(row, row.updated_ms)
        before = UnreadRow(row.kind, row.id)
    after = before if before.guest else _numbers_read(command, views, row, before)
    if before.extra:
        named = _named(views, app, command.conversation, user, command.until_ms)
        extra = sum(kept.sender != user and not kept.alias for kept in named)  # what was imported never counted
        after = msgspec.structs.replace(after, extra=min(before.extra, extra))
    if after == before:
        return nothing_to_do(row, row.updated_ms)
    at_ms = at(app, views, now)
    event = ConversationRead(
        app=app,
        conversation=row.conversation,
        at_ms=at_ms,
        user=user,
        until_ms=command.until_ms,
        read=after.read,
        own=after.own,
        extra=after.extra,
    )
    return decided(event, command, now, at_ms)


def _numbers_read(command: MarkRead, views: ReadViews, row: ConversationRow, before: UnreadRow) -> UnreadRow:
    """Everything in front of the first counted message behind the time is read; what of the rest is the user's own is counted
    anew. What was deleted or forgotten meanwhile cannot be: it must not make more unread than there was."""
    app, user, until_ms = command.app, command.user, command.until_ms
    count = views.message_count(row.number)
    first = next((kept for kept in _sent(views, app, command.conversation, None, until_ms) if kept.number), None)
    read = count if first is None else first.number - 1
    if read <= before.read:
        return before
    own = 0
    if before.own and first is not None:
        own = sum(kept.number > read for kept in _sent(views, app, command.conversation, user, until_ms))
    at_least = before.read + before.own - read
    return msgspec.structs.replace(before, read=read, own=max(own, at_least))


def _sent(
    views: ReadViews, app: str, conversation: Conversation, sender: str | None, until_ms: UnixMs
) -> Iterator[Kept]:
    """What is kept of a conversation, or of what somebody sent to it, behind a time. Raises InvalidCommand at the bound."""
    return _kept(views, app, views.timeline(app, conversation, sender, first=_behind(until_ms), recalled=True))


def _named(views: ReadViews, app: str, conversation: Conversation, user: str, until_ms: UnixMs) -> Iterator[Kept]:
    """What is kept of what was sent to a user by name. Raises InvalidCommand at the bound."""
    first = _behind(until_ms)
    places = views.received(app, conversation, user, first=first, last=LAST_PLACE, newest_first=False, recalled=True)
    return _kept(views, app, places)


def _behind(until_ms: UnixMs) -> Place:
    return Place(UnixMs(until_ms + 1), MessageId(0))


def _kept(views: ReadViews, app: str, places: Iterator[tuple[Place, bool]]) -> Iterator[Kept]:
    for place, _ in islice(places, READ_ROWS_MAX):
        kept = views.kept(app, place)
        assert kept is not None  # a timeline shows what is kept
        yield kept
    if next(places, None) is not None:
        raise InvalidCommand(f"until_ms: more than {READ_ROWS_MAX} messages behind it would have to be looked at")


def apply_read(views: Views, event: ConversationRead) -> None:
    """What the mark came to. Of a guest who has read everything nothing need be noted."""
    row = record_of(views, event)
    before = views.unread(event.app, event.user, row.number)
    guest = before is not None and before.guest
    if guest and not event.extra:
        views.remove_unread(event.app, event.user, row.number)
    else:
        after = UnreadRow(row.kind, row.id, event.read, event.own, event.extra, guest)
        views.put_unread(event.app, event.user, row.number, after)
