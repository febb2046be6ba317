"""What users have not read of groups and services: arithmetic over the running number of each, which every kept message to
all of it raises. Recall, deletion, eviction and expiry change nothing; only a mark of the user's does (`marks.py`)."""

from collections.abc import Iterable

import msgspec

from ..events import MessageSent
from ..ids import Position
from ..ports import ReadViews, Views
from ..rows import ConversationRow, UnreadRow


def unread(views: ReadViews, app: str, user: str, number: Position) -> int:
    """How many messages of a conversation a user has not read."""
    row = views.unread(app, user, number)
    if row is None and not views.is_listed(app, number, "members", user):
        return 0
    return not_read(views, number, row)


def not_read(views: ReadViews, number: Position, row: UnreadRow | None) -> int:
    """The same of who has this row; or of a member who has none, and joined before anything was counted."""
    if row is None:
        return views.message_count(number)
    if row.guest:
        return row.extra
    return views.message_count(number) - row.read - row.own + row.extra


# What changes it.


def apply_own(views: Views, app: str, row: ConversationRow, sender: str) -> None:
    """A counted message was sent; for its own sender, if they are a member, it is read."""
    before = views.unread(app, sender, row.number)
    if before is None:
        if not views.is_listed(app, row.number, "members", sender):
            return
        before = UnreadRow(row.kind, row.id)
    if not before.guest:
        views.put_unread(app, sender, row.number, msgspec.structs.replace(before, own=before.own + 1))


def apply_named(views: Views, event: MessageSent) -> None:
    """A message to some users of a service was sent: one more unread for each, its sender excepted."""
    app, row = event.app, views.conversation(event.app, event.conversation)
    assert row is not None  # nobody sends to a service that there is not
    for user in event.recipients:
        if user == event.sender:
            continue
        before = views.unread(app, user, row.number)
        if before is None:
            guest = not views.is_listed(app, row.number, "members", user)
            before = UnreadRow(row.kind, row.id, guest=guest)
        views.put_unread(app, user, row.number, msgspec.structs.replace(before, extra=before.extra + 1))


def apply_joined(views: Views, app: str, row: ConversationRow, users: Iterable[str]) -> None:
    """What was sent to all before they came is not for them; what was sent to them by name is still unread."""
    count = views.message_count(row.number)
    for user in users:
        before = views.unread(app, user, row.number)
        if before is not None:
            views.remove_unread(app, user, row.number)
        extra = before.extra if before is not None else 0
        if count or extra:
            views.put_unread(app, user, row.number, UnreadRow(row.kind, row.id, read=count, extra=extra))


def apply_left(views: Views, app: str, row: ConversationRow, users: Iterable[str]) -> None:
    """Nothing there is unread for them any more."""
    for user in users:
        views.remove_unread(app, user, row.number)
