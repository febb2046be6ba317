"""What a recipient of a service's message sees of it in place of the message itself: a text of their own, a recall, or nothing.

Such a text lies under the change that brought it, shared by the copies that show it, and ends when none does any more.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping

import msgspec

from ..ids import MessageId, Place, Position, position_of
from ..ports import ReadViews, Views
from ..rows import HIDDEN, ChangedRow, CopyRow


def copy_of(views: ReadViews, app: str, user: str, id: MessageId) -> CopyRow | None:
    """What is said of a user's copy, if any recipient of the message has one of their own."""
    changed = views.changed(id)
    return views.copy(app, user, id) if changed is not None and changed.copies else None


def holders(views: ReadViews, id: MessageId, recipients: tuple[str, ...]) -> tuple[str, ...]:
    """In whose queues something of a message may lie: its recipients', and those of subscribers who were told of a change
    of their copy."""
    changed = views.changed(id)
    if changed is None or not changed.copies or recipients:
        return recipients
    return tuple(row.user for row in views.copies(id) if row.changes)


def hidden_from(views: ReadViews, id: MessageId) -> tuple[str, ...]:
    """Subscribers who are to see nothing of a message."""
    changed = views.changed(id)
    if changed is None or not changed.copies:
        return ()
    return tuple(row.user for row in views.copies(id) if row.body == HIDDEN)


def as_seen(
    rows: Iterable[tuple[Place, bool]], views: ReadViews, app: str, user: str, *, recalled: bool
) -> Iterator[tuple[Place, bool]]:
    """Rows of a timeline, each with whether this user is shown it; what was taken back from them only if `recalled`."""
    for place, shown in rows:
        copy = copy_of(views, app, user, place.id) if shown else None
        yield place, shown and (copy is None or (copy.body != HIDDEN and (recalled or not copy.recalled)))


def show(
    views: Views,
    app: str,
    id: MessageId,
    position: Position,
    users: Collection[str],
    *,
    recalled: bool,
    told: Collection[str],
) -> list[Position]:
    """These recipients see the body at this position; those `told` have an entry there. Returns the positions whose bodies
    end."""
    left: Counter[Position] = Counter()
    added = 0
    for user in users:
        before = views.copy(app, user, id)
        added += before is None
        changes = (*_waiting(views, before), position) if user in told else _waiting(views, before)
        views.put_copy(app, id, CopyRow(user, position, recalled, changes))
        left.update(_shown_by(before))
    views.put_copies_showing(position, id, len(users))
    _count(views, id, added)
    return _let_go(views, id, left)


def hide(views: Views, app: str, id: MessageId, users: Iterable[str]) -> list[Position]:
    """These recipients see nothing of it. Returns the positions whose bodies end."""
    left: Counter[Position] = Counter()
    added = 0
    for user in users:
        before = views.copy(app, user, id)
        added += before is None
        views.put_copy(app, id, CopyRow(user, HIDDEN))
        left.update(_shown_by(before))
    _count(views, id, added)
    return _let_go(views, id, left)


def withdraw(views: Views, app: str, id: MessageId, users: Iterable[str]) -> list[Position]:
    """These are no recipients any more. Returns the positions whose bodies end."""
    left: Counter[Position] = Counter()
    gone = 0
    for user in users:
        before = copy_of(views, app, user, id)
        if before is not None:
            views.remove_copy(app, user, id)
            gone += 1
            left.update(_shown_by(before))
    _count(views, id, -gone)
    return _let_go(views, id, left)


def replaced(views: Views, app: str, id: MessageId) -> tuple[int, list[Position]]:
    """The message itself changed, and whoever sees it sees that. Returns how many copies still have rows: those of whom it is
    hidden from, or of whom a change of their own waits for; and the positions whose bodies end."""
    left: Counter[Position] = Counter()
    stay = 0
    for row in list(views.copies(id)):
        changes = _waiting(views, row)
        left.update(_shown_by(row))
        if row.body == HIDDEN or changes:
            stay += 1
            body = HIDDEN if row.body == HIDDEN else None
            views.put_copy(app, id, msgspec.structs.replace(row, body=body, recalled=False, changes=changes))
        else:
            views.remove_copy(app, row.user, id)
    return stay, _let_go(views, id, left)


def end(views: Views, app: str, id: MessageId) -> list[Position]:
    """The message is gone, and nothing is known any more of what became of it. Returns the positions whose bodies end: its own,
    and those of copies."""
    changed = views.changed(id)
    if changed is None:
        return [position_of(id)]
    views.remove_changed(id)
    left: Counter[Position] = Counter()
    for row in list(views.copies(id)) if changed.copies else ():
        views.remove_copy(app, row.user, id)
        left.update(_shown_by(row))
    return [changed.body, *_let_go(views, id, left)]


def _shown_by(row: CopyRow | None) -> tuple[Position, ...]:
    """The body that a copy shows, if that is not the message's."""
    return (row.body,) if row is not None and row.body else ()


def _waiting(views: ReadViews, row: CopyRow | None) -> tuple[Position, ...]:
    """Changes of a copy that may still lie in its recipient's queue."""
    changes = row.changes if row is not None else ()
    return tuple(change for change in changes if views.change(change) is not None)


def _let_go(views: Views, id: MessageId, left: Mapping[Position, int]) -> list[Position]:
    """So many copies do not show these bodies any more. Returns the positions of those that none shows."""
    ended = []
    for position, copies in left.items():
        stay = views.copies_showing(position) - copies
        views.put_copies_showing(position, id, stay)
        if not stay:
            ended.append(position)
    return ended


def _count(views: Views, id: MessageId, more: int) -> None:
    """So many more copies have rows."""
    if not more:
        return
    row = views.changed(id) or ChangedRow(position_of(id))
    row = msgspec.structs.replace(row, copies=row.copies + more)
    if row == ChangedRow(position_of(id)):
        views.remove_changed(id)
    else:
        views.put_changed(id, row)
