"""Streams: what is sent to a conversation of many is kept once, for all of them.

A user reads the streams of what they are a member of, or were, from their one acknowledged position on. What is evicted or
expired is a rule of the login: nothing is written for anybody until they acknowledge.
"""

from collections.abc import Iterable, Iterator
from itertools import islice, takewhile
from typing import Final

from ..events import MembersRemoved, MessageDeleted, MessageEdited, MessageRecalled, MessageSent, StreamNoticesExpired
from ..expiry import expires_s
from ..ids import ExpiryMs, MessageId, Position, UnixMs, position_of
from ..limits import HISTORY_EXPIRED_MAX
from ..model import Conversation
from ..ports import ReadViews, Views
from ..rows import ConversationRow, Kept, Membership, Numbered, StreamEntry, SubscriptionRow
from .decision import parts
from .times import place_of

# Whose it is.


def memberships(views: ReadViews, app: str, user: str, after: Position) -> Iterator[Membership]:
    """The streams in which something may stand beyond a position that is the user's; in no order."""
    for number, conversation in conversations(views, app, user):
        if next(views.stream(number, after=after), None) is not None:
            since = views.member_since(app, number, user)
            assert since is not None  # who knows of a conversation is on its list
            yield Membership(number, conversation, since)
    left = views.left(app, user, after=after)
    yield from (each for each in left if not views.is_deleted(app, each.conversation))


def since(views: ReadViews, app: str, user: str) -> Iterator[tuple[Conversation, Position]]:
    """What a user is a member of or subscribes to, and since when."""
    for number, conversation in conversations(views, app, user):
        position = views.member_since(app, number, user)
        assert position is not None  # who knows of a conversation is on its list
        yield conversation, position


def conversations(views: ReadViews, app: str, user: str) -> Iterator[Numbered]:
    """What a user is a member of or subscribes to, without what is deleted and not swept yet."""
    return (each for each in views.conversations_of(app, user) if not views.is_deleted(app, each[1]))


def in_conversation(views: ReadViews, app: str, user: str, row: ConversationRow) -> list[Membership]:
    """When a user was, and is, a member of one conversation; the newest first, as far as it is remembered."""
    since = views.member_since(app, row.number, user)
    now = [Membership(row.number, row.conversation, since)] if since is not None else []
    return now + [each for each in views.left(app, user) if each.number == row.number]


def had(views: ReadViews, app: str, user: str, row: ConversationRow, position: Position) -> bool:
    """Whether a user was a member of one conversation there. Looks at no membership that ended before."""
    since = views.member_since(app, row.number, user)
    if since is not None and since < position:
        return True
    left = views.left(app, user, after=position)
    return any(each.number == row.number and each.holds(position) for each in left)


# What changes them.


def stamp(at_ms: UnixMs, stamped_ms: ExpiryMs) -> int:
    """What an entry of this time is held against when its reader logs in."""
    return expires_s(at_ms, stamped_ms, 0)


def apply_sent(views: Views, position: Position, event: MessageSent, stamped_ms: ExpiryMs) -> None:
    """The message stands in its conversation's stream."""
    row = views.conversation(event.app, event.conversation)
    assert row is not None  # nobody sends to what there is not
    sender = event.sender if row.kind == "group" else ""
    _append(views, row.number, position, event.id, event.number, stamp(event.at_ms, stamped_ms), sender)


def apply_changed(
    views: Views,
    position: Position,
    event: MessageEdited | MessageRecalled,
    stamped_ms: ExpiryMs,
    before: tuple[Position, ...],
) -> tuple[Position, ...]:
    """The change stands in the stream, in place of the message's changes before it, which would show the same.

    Returns what stands there of the message besides itself.
    """
    assert event.stream is not None
    row = views.conversation(event.app, event.stream)
    assert row is not None
    message = views.stream_entry(row.number, position_of(event.id))
    assert message is not None  # it is there as long as it is kept
    for change in before:
        views.remove_stream_entry(row.number, change)
    _append(views, row.number, position, event.id, message.number, stamp(event.at_ms, stamped_ms), message.sender)
    return (position,)


def apply_deleted(
    views: Views,
    position: Position,
    event: MessageDeleted,
    stamped_ms: ExpiryMs,
    kept: Kept,
    changes: tuple[Position, ...],
) -> None:
    """It is out of the stream; if its members are to be told, the notice stands there, and owns the body that tells it."""
    number = forget(views, event.app, event.id, kept, changes)
    if number is None or event.stream is None:
        return
    sender = kept.sender if kept.conversation.kind == "group" else ""
    stamp_s = stamp(event.at_ms, stamped_ms)
    _append(views, number, position, event.id, kept.number, stamp_s, sender, deleted=True)
    views.put_notice_end(event.app, number, event.at_ms, position)


def forget(views: Views, app: str, id: MessageId, kept: Kept, changes: tuple[Position, ...]) -> Position | None:
    """A message that leaves the history leaves its stream. Returns the conversation's number, if there is one."""
    row = views.conversation(app, kept.conversation) or views.deleted(app, kept.conversation)
    if row is None:
        return None
    for position in (position_of(id), *changes):
        views.remove_stream_entry(row.number, position)
    return row.number


def _append(
    views: Views,
    number: Position,
    position: Position,
    id: MessageId,
    message_number: int,
    stamp_s: int,
    sender: str,
    *,
    deleted: bool = False,
) -> None:
    last = next(views.stream_back(number, position), None)
    ordinal = last.ordinal + 1 if last is not None else 1
    views.put_stream_entry(number, StreamEntry(position, id, message_number, ordinal, stamp_s, sender, deleted))


def join(views: Views, app: str, row: ConversationRow, users: tuple[str, ...], position: Position) -> None:
    """Users came: of a service, they subscribe. The record says when that was."""
    if row.kind == "service":
        for user in users:
            views.put_subscription(app, user, SubscriptionRow(position, row.number, row.id, row.updated_ms))


def unsubscribe(views: Views, app: str, row: ConversationRow, users: Iterable[str]) -> None:
    """Users leave a service. Call it while they are on the list."""
    if row.kind == "service":
        for user in users:
            since = views.member_since(app, row.number, user)
            assert since is not None  # they leave what they are in
            views.remove_subscription(app, user, since)


def leave(views: Views, position: Position, event: MembersRemoved, row: ConversationRow) -> None:
    """Users are about to leave: what was sent while they were there stays theirs. Call it while they are on the list."""
    app, until = event.app, place_of(event.at_ms, position)
    unsubscribe(views, app, row, event.users)
    for user in event.users:
        since = views.member_since(app, row.number, user)
        assert since is not None  # they leave what they are in
        if next(views.stream(row.number, after=since), None) is not None or _kept_since(views, app, row, since):
            views.put_left(app, user, Membership(row.number, row.conversation, since, position), until)


_IMPORTS_PASSED_MAX: Final = 100
"""Newer imported messages behind which the newest that was sent here is looked for."""


def _kept_since(views: ReadViews, app: str, row: ConversationRow, since: Position) -> bool:
    """Whether a service sent something after this position that is only to be found: it was kept, and not queued. Imports
    are nobody's; behind very many of them there may be something."""
    if row.kind != "service":
        return False
    newest = views.timeline(app, row.conversation, None, newest_first=True, recalled=True, imported=False)
    for place, sent_here in islice(newest, _IMPORTS_PASSED_MAX):
        if sent_here:
            return position_of(place.id) > since
    return next(newest, None) is not None


# What age ends.


def decide_expire_notices(app: str, views: ReadViews, horizon: UnixMs, limit: int) -> Iterator[StreamNoticesExpired]:
    """Notices of deletions that are as old as the history gets."""
    over = list(islice(takewhile(lambda end: end <= horizon, views.ended_notices(app)), limit))
    for part in parts(over, HISTORY_EXPIRED_MAX):
        yield StreamNoticesExpired(app=app, at_ms=part[-1], count=len(part))


def remove_notices(views: Views, app: str, number: Position, count: int) -> list[Position]:
    """The first of a conversation that is deleted itself, when all its messages have left: nothing else stands in its stream.
    Returns the positions whose bodies end."""
    gone = [entry.position for entry in islice(views.stream(number), count)]
    assert len(gone) == count
    for position in gone:
        views.remove_notice(app, number, position)
    return gone


def apply_notices_expired(views: Views, event: StreamNoticesExpired) -> list[Position]:
    """Nobody is told any more. Returns the positions whose bodies end."""
    return views.remove_oldest_notices(event.app, event.count)
