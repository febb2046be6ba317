"""A recipient's queue: who enters, who is pushed out, what is expired, and the numbers that account for every copy.

What has expired is always a prefix, because no entry expires before the one ahead of it. A body with one recipient and no
history belongs to that recipient's newest entry about it (`owns_body`) and ends when the entry leaves the queue.
"""

from collections.abc import Collection, Iterable, Iterator
from itertools import islice, takewhile
from typing import Literal

import msgspec

from ..events import Queued, QueueExpired
from ..expiry import expired, expires_s
from ..ids import ExpiryMs, MessageId, Position, message_at, position_of
from ..model import Rules
from ..ports import ReadViews, Views
from ..rows import Entry, QueueEnds, UserRow
from .decision import Now

Term = Literal["acked", "expired", "withdrawn"]
"""How an entry may leave a queue besides being pushed out."""


def enqueue(
    views: ReadViews,
    app: str,
    user: str,
    now: Now,
    rules: Rules,
    *,
    owns_body: bool,
    leaving: Collection[Position] = (),
) -> Queued:
    """What the queue does with one more copy. `stored` is False if it is full and refuses.

    `leaving`: entries that the same event takes out first, so that nothing has to make room in their place.
    """
    ends = views.queue_ends(app, user)
    seq = next_seq(views.user(app, user), ends)
    expires = expires_s(now.wall_ms, now.expiry_ms, rules.queue_ttl_ms)
    if ends.last is None:
        return Queued(user, seq, expires, owns_body=owns_body)
    expires = max(expires, ends.last.expires_s)
    excess = ends.count - len(leaving) + 1 - rules.queue_messages
    if excess <= 0:
        return Queued(user, seq, expires, owns_body=owns_body)
    staying = (entry for entry in views.entries(app, user) if entry.position not in leaving)
    over = sum(expired(entry.expires_s, now.expiry_ms) for entry in islice(staying, excess))
    if rules.overflow == "refuse" and over < excess:
        return Queued(user, seq, expires, expired=over, stored=False)
    return Queued(user, seq, expires, excess - over, over, owns_body=owns_body)


def apply_queued(views: Views, app: str, position: Position, copies: Iterable[Queued]) -> list[Position]:
    """Make the entries, drop what they pushed out. Returns the positions whose bodies end."""
    ended: list[Position] = []
    totals = views.count(app)
    for copy in copies:
        dropped = copy.evicted + copy.expired
        if dropped:
            entries = list(islice(views.entries(app, copy.user), dropped))
            views.remove_entries(app, copy.user, entries)
            ended += release(views, entries)
            totals.evicted += copy.evicted
            totals.expired += copy.expired
            totals.queued -= dropped
        totals.accepted += 1
        if copy.seq == 1 or copy.expired or not copy.stored:
            row = views.user(app, copy.user) or UserRow(app, copy.user)
            views.put_user(
                msgspec.structs.replace(
                    row, next_seq=max(row.next_seq, copy.seq + 1), expired=row.expired + copy.expired
                )
            )
        if copy.stored:
            views.put_entry(app, copy.user, Entry(position, copy.seq, copy.expires_s, copy.owns_body))
            totals.queued += 1
        else:
            totals.evicted += 1
    return ended


def next_seq(row: UserRow | None, ends: QueueEnds) -> int:
    """The running number of the recipient's next copy."""
    return max(row.next_seq if row else 1, ends.last.seq + 1 if ends.last else 1)


def lost(row: UserRow, ends: QueueEnds) -> int:
    """Copies evicted or expired so far: every copy took a number, and these are the ones accounted for by nothing else."""
    return next_seq(row, ends) - 1 - row.acked - row.withdrawn - ends.count


def expired_count(views: ReadViews, app: str, user: str, clock: ExpiryMs, most: int | None = None) -> int:
    """How many entries, all at the front, are past their expiry; counted no further than `most`."""
    entries = islice(views.entries(app, user), most)
    return sum(1 for _ in takewhile(lambda entry: expired(entry.expires_s, clock), entries))


def apply_expired(views: Views, event: QueueExpired) -> list[Position]:
    """Take the expired prefix out and account for it."""
    return leave(
        views, event.app, event.user, list(islice(views.entries(event.app, event.user), event.count)), "expired"
    )


def leave(views: Views, app: str, user: str, entries: list[Entry], term: Term) -> list[Position]:
    """Take entries out of a queue under one term of the identity. Returns the positions whose bodies end."""
    row = views.user(app, user)
    assert row is not None  # the first copy made it
    count = len(entries)
    row = msgspec.structs.replace(
        row, next_seq=next_seq(row, views.queue_ends(app, user)), **{term: getattr(row, term) + count}
    )
    views.put_user(row)
    views.remove_entries(app, user, entries)
    totals = views.count(app)
    totals.queued -= count
    setattr(totals, term, getattr(totals, term) + count)
    return release(views, entries)


def release(views: Views, entries: Iterable[Entry]) -> list[Position]:
    """Entries left their queue: forget what was known of them. Returns the positions whose bodies end."""
    ended: list[Position] = []
    for entry in entries:
        about, copies = views.change(entry.position), 0
        if about is not None:
            copies = views.remove_change(entry.position)
        if not entry.owns_body or copies:  # a notice to many ends with the last of them
            continue
        message = about or message_at(entry.position)
        changed = views.changed(message)
        # A notice that a message was hidden from its receiver has a body that is not the message's.
        if changed is None or (about is not None and entry.position not in changed.changes):
            ended.append(entry.position)
        else:
            ended.append(changed.body)
            views.remove_changed(message)
    return ended


def entries_about(views: ReadViews, app: str, user: str, id: MessageId) -> Iterator[Entry]:
    """A recipient's entries about a message: its own, and those of its changes, or of changes of their copy."""
    changed = views.changed(id)
    copy = views.copy(app, user, id) if changed and changed.copies else None
    for position in (position_of(id), *(changed.changes if changed else ()), *(copy.changes if copy else ())):
        entry = views.entry(app, user, position)
        if entry is not None:
            yield entry
