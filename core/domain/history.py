"""What is kept for queries, and until when. Events of age come in parts, since each message lies on pages of its own."""

from collections.abc import Iterable, Iterator
from itertools import islice, takewhile

import msgspec

from ..commands import ExpireHistory
from ..events import AnyEvent, HistoryExpired
from ..ids import MessageId, Place, Position
from ..limits import HISTORY_COPIES_MAX, HISTORY_EXPIRED_MAX
from ..model import Rules
from ..ports import Headers, ReadViews, Views
from ..rows import Entry, Kept
from . import copies, imports, streams
from .decision import Decision, Now
from .groups import decide_copies_expired
from .queues import entries_about
from .rooms import decide_expire_stays


def decide_expire(command: ExpireHistory, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Messages first, then the stays that only they gave a meaning, then notices of what was deleted and names of imported
    messages that were."""
    horizon = rules.history_horizon(now.expiry_ms)
    old = takewhile(lambda row: row[0].at_ms <= horizon, islice(views.oldest_kept(command.app), command.limit))
    over = some(views, old)
    events: list[AnyEvent] = []
    for part in parted(over):
        for place, kept in part:
            if kept.recipients or kept.conversation.kind == "service":
                events += decide_copies_expired(views, command.app, kept, place.id)
        last = part[-1][0]
        events.append(HistoryExpired(app=command.app, at_ms=last.at_ms, id=last.id, count=len(part)))
    if not events:
        events += decide_expire_stays(command.app, views, horizon, command.limit)
    if not events:
        events += streams.decide_expire_notices(command.app, views, horizon, command.limit)
    if not events:
        events += imports.decide_expire_aliases(command.app, views, horizon, command.limit)
    return Decision(tuple(events))


def some(views: ReadViews, rows: Iterable[tuple[Place, Kept]]) -> list[tuple[Place, Kept]]:
    """The first of these messages, no more than have together so many queues and copies to be looked into, at least one."""
    over: list[tuple[Place, Kept]] = []
    copies = 0
    for place, kept in rows:
        if copies > HISTORY_COPIES_MAX:
            break
        over.append((place, kept))
        copies += len(kept.recipients)
        if kept.conversation.kind == "service":
            changed = views.changed(place.id)
            copies += changed.copies if changed is not None else 0
    return over


def parted(over: list[tuple[Place, Kept]]) -> Iterator[list[tuple[Place, Kept]]]:
    """So many at a time, each with timelines of its own; one to many users by name, which is in a timeline of each, alone."""
    part: list[tuple[Place, Kept]] = []
    timelines = 0
    for place, kept in over:
        more = 1 + len(kept.recipients) if kept.named else 3
        if part and (len(part) == HISTORY_EXPIRED_MAX or timelines + more > 3 * HISTORY_EXPIRED_MAX):
            yield part
            part, timelines = [], 0
        part.append((place, kept))
        timelines += more
    if part:
        yield part


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
        imports.note_deleted(views, app, place, kept)


def end(views: Views, app: str, place: Place, kept: Kept) -> list[Position]:
    """A message of which no copy waits any more is forgotten altogether. Returns the positions whose bodies end."""
    views.remove_kept(app, place, kept)
    if kept.stream:
        changed = views.changed(place.id)
        streams.forget(views, app, place.id, kept, changed.changes if changed else ())
    return copies.end(views, app, place.id)


def apply_expired(views: Views, event: HistoryExpired) -> list[Position]:
    """The oldest messages leave the history. Returns the positions whose bodies end."""
    app = event.app
    ended: list[Position] = []
    over = list(islice(views.oldest_kept(app), event.count))
    assert over[-1][0] == Place(event.at_ms, event.id)
    totals = views.count(app)
    for place, kept in over:
        if kept.alias:
            views.remove_alias(app, kept.alias)
        else:  # nobody was ever told of an imported one: nobody misses it
            totals.forgotten = max(totals.forgotten, place.id)
        # What waited of a message to a group has left before.
        if kept.queued and kept.conversation.kind == "peer" and _hand_over(views, app, kept.conversation.id, place.id):
            views.remove_kept(app, place, kept)
        else:
            ended += end(views, app, place, kept)
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
