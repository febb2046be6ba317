"""What is kept for queries, and until when. Events of age come in parts, since each message lies on pages of its own."""

from collections.abc import Iterator
from itertools import islice, takewhile

import msgspec

from ..commands import ExpireHistory
from ..events import AnyEvent, HistoryExpired
from ..ids import MessageId, Place, Position, position_of
from ..limits import HISTORY_EXPIRED_MAX
from ..model import Rules
from ..ports import Headers, ReadViews, Views
from ..rows import Entry
from .decision import Decision, Now, parts
from .rooms import decide_expire_stays


def decide_expire(command: ExpireHistory, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Messages first, then the stays that only they gave a meaning."""
    horizon = rules.history_horizon(now.expiry_ms)
    over = [
        place
        for place, _ in islice(
            takewhile(lambda row: row[0].at_ms <= horizon, views.oldest_kept(command.app)), command.limit
        )
    ]
    events: list[AnyEvent] = []
    for part in parts(over, HISTORY_EXPIRED_MAX):
        events.append(HistoryExpired(app=command.app, at_ms=part[-1].at_ms, id=part[-1].id, count=len(part)))
    if not events:
        events += decide_expire_stays(command.app, views, horizon, command.limit)
    return Decision(tuple(events))


def mark_recalled(views: Views, app: str, place: Place) -> None:
    """Its rows say so, for readers that look at no body."""
    kept = views.kept(app, place)
    if kept is not None:
        views.put_kept(app, place, msgspec.structs.replace(kept, recalled=True))


def forget(views: Views, app: str, place: Place) -> None:
    """No timeline shows it any more."""
    kept = views.kept(app, place)
    if kept is not None:
        views.remove_kept(app, place, kept)


def apply_expired(views: Views, event: HistoryExpired) -> list[Position]:
    """The oldest messages leave the history. Returns the positions whose bodies end."""
    app = event.app
    ended: list[Position] = []
    over = list(islice(views.oldest_kept(app), event.count))
    assert over[-1][0] == Place(event.at_ms, event.id)
    totals = views.count(app)
    for place, kept in over:
        views.remove_kept(app, place, kept)
        totals.forgotten = max(totals.forgotten, place.id)
        if kept.queued and _hand_over(views, app, kept.conversation.id, place.id):
            continue
        changed = views.changed(place.id)
        ended.append(changed.body if changed else position_of(place.id))
        if changed:
            views.remove_changed(place.id)
    return ended


def _hand_over(views: Views, app: str, user: str, id: MessageId) -> bool:
    """A copy that still waits in its recipient's queue owns the body from here on: the newest entry about it."""
    newest: Entry | None = None
    for entry in entries_about(views, app, user, id):
        if newest is None or entry.position > newest.position:
            newest = entry
    if newest is None:
        return False
    views.remove_entries(app, user, (newest,))
    views.put_entry(app, user, msgspec.structs.replace(newest, owns_body=True))
    return True


def entries_about(views: ReadViews, app: str, user: str, id: MessageId) -> Iterator[Entry]:
    """A recipient's entries about a message: its own, and those of its changes."""
    changed = views.changed(id)
    for position in (position_of(id), *(changed.changes if changed else ())):
        entry = views.entry(app, user, position)
        if entry is not None:
            yield entry
