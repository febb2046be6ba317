"""What is read from disk, each in one short snapshot: a page of a queue, what a room's members missed, messages by id."""

from collections.abc import Iterable, Iterator
from heapq import merge
from operator import attrgetter
from typing import NamedTuple

from ..domain import Entered, streams
from ..domain.changes import replacement
from ..errors import Corruption
from ..expiry import expired
from ..ids import ExpiryMs, MessageId, Place, Position, UnixMs, message_at, position_of
from ..limits import PAGE_BYTES, PAGE_ENTRIES, PAGE_ROWS, RECOVERED_MESSAGES_MAX, RECOVERED_ROWS_MAX
from ..model import Message, room
from ..ports import ReadViews, Snapshot
from ..rows import Body, Entry, Opened, StreamEntry
from .buffer import frame_bytes
from .delivery import Delivery, DeliveryType, delivery


class Page(NamedTuple):
    """What lay in a queue beyond a position."""

    deliveries: list[Delivery]
    through: Position
    """Everything up to here was looked at."""
    complete: bool
    """Nothing was left beyond it."""
    as_of: Position
    """The last event the snapshot knew."""


def read_page(snapshot: Snapshot, app: str, user: str, after: Position, clock: ExpiryMs, login: Opened) -> Page:
    """What waits beyond `after`, in the queue and in streams, oldest first, up to the bounds of a page."""
    views = snapshot.views
    deliveries: list[Delivery] = []
    size, through = 0, after
    for looked, entry in enumerate(_waiting(views, app, user, after, login)):
        if len(deliveries) == PAGE_ENTRIES or size >= PAGE_BYTES or looked == PAGE_ROWS:
            return Page(deliveries, through, complete=False, as_of=views.position)
        through = entry.position
        frame: Delivery | None = None
        if isinstance(entry, StreamEntry):
            if entry.sender != user:
                body, type = resolve_streamed(snapshot, entry)
                frame = delivery(body, type, user, entry.position, None, stream=entry.number)
        elif not expired(entry.expires_s, clock):
            body, type = resolve(snapshot, entry)
            if not _is_deleted(snapshot, body, type):
                frame = delivery(body, type, user, entry.position, entry.seq)
        if frame is not None:
            deliveries.append(frame)
            size += len(frame.body)
    return Page(deliveries, through, complete=True, as_of=views.position)


def _waiting(views: ReadViews, app: str, user: str, after: Position, login: Opened) -> Iterator[Entry | StreamEntry]:
    """Both kinds of entries in one order. Of streams what was acknowledged is passed over; of the queue it is gone."""
    row = views.user(app, user)
    acked = max(after, row.acked_through if row else after)
    queue: Iterator[Entry | StreamEntry] = views.entries(app, user, after=after)
    streamed = streams.sources(views, app, user, after=acked, login=login)
    return merge(queue, *streamed, key=attrgetter("position")) if streamed else queue


def resolve_streamed(snapshot: Snapshot, entry: StreamEntry) -> tuple[Body, DeliveryType]:
    """What an entry of a stream shows now. Raises Corruption if that is nowhere."""
    body = snapshot.bodies.body(entry.position)
    if body is not None:
        return body, body.header.type
    changed = snapshot.views.changed(entry.id)
    body = snapshot.bodies.body(changed.body) if changed else None
    if body is None:
        raise Corruption(f"stream entry {entry.position} has no body")
    in_place = entry.position == position_of(entry.id) and body.header.type == "edited"
    return body, "message" if in_place else body.header.type


def _is_deleted(snapshot: Snapshot, body: Body, type: DeliveryType) -> bool:
    """Whether it is of a conversation that was deleted and is not swept yet. Word of a message deleted before has no text to
    hide, and stays in the queue."""
    header = body.header
    return (
        header.conversation.kind != "peer"
        and type != "deleted"
        and snapshot.views.is_deleted(header.app, header.conversation)
    )


def resolve(snapshot: Snapshot, entry: Entry) -> tuple[Body, DeliveryType]:
    """What an entry shows now: its own body, or what its message became since. Raises Corruption if that is nowhere."""
    body = snapshot.bodies.body(entry.position)
    if body is not None:
        return body, body.header.type
    message = snapshot.views.change(entry.position)
    changed = snapshot.views.changed(message or message_at(entry.position))
    body = snapshot.bodies.body(changed.body) if changed else None
    if body is None:
        raise Corruption(f"queue entry {entry.position} has no body")
    # A message edited while it waited comes as a message with its new text, an edit of it as an edit.
    in_place = message is None and body.header.type == "edited"
    return body, "message" if in_place else body.header.type


class Missed(NamedTuple):
    """What a join replays."""

    deliveries: list[Delivery]
    """Oldest first."""
    complete: bool
    """Nothing else was sent."""


def read_missed(
    snapshot: Snapshot, app: str, user: str, name: str, since: MessageId, entered: Entered, size: int
) -> Missed:
    """The kept messages of a room after one message, up to where the user entered; of too many, the newest.

    Backwards from the newest, so it costs what it gives however much is kept, within a bound.
    """
    frames: list[Delivery] = []
    complete = entered.gap <= since <= message_at(entered.through)
    if snapshot.views.is_deleted(app, room(name)):
        return Missed([], complete=False)
    rows = snapshot.views.timeline(app, room(name), None, newest_first=True, other_than=user, recalled=True)
    for count, (place, shown) in enumerate(rows):
        if place.id <= since:
            break
        if count == RECOVERED_ROWS_MAX:
            complete = False
            break
        if not shown or position_of(place.id) > entered.through:
            continue
        if place.at_ms <= entered.horizon_ms:
            complete = False
            break
        body = current_body(snapshot, place.id)
        if body is None:
            continue  # deleted in this moment
        type: DeliveryType = "recalled" if body.header.type == "recalled" else "message"
        frame = delivery(body, type, user, position_of(place.id), None)
        size -= frame_bytes(frame)
        if size < 0 or len(frames) == RECOVERED_MESSAGES_MAX:
            complete = False
            break
        frames.append(frame)
    return Missed(frames[::-1], complete)


def read_messages(
    snapshot: Snapshot, ids: Iterable[MessageId], horizon_ms: UnixMs, *, recalled: bool = False
) -> list[Message]:
    """Kept messages as they are now; those deleted (or sent to what was deleted) or past retention by now are left
    out, and those recalled unless `recalled`. Raises Corruption."""
    found = []
    for id in ids:
        body = current_body(snapshot, id)
        if body is None:
            continue
        header = body.header
        kept = snapshot.views.kept(header.app, Place(header.at_ms, id))
        if kept is None or (kept.recalled and not recalled) or header.at_ms <= horizon_ms:
            continue
        if kept.conversation.kind != "peer" and snapshot.views.is_deleted(header.app, kept.conversation):
            continue
        replaced = replacement(body)
        found.append(
            Message(
                id=header.id,
                conversation=header.conversation,
                sender=header.sender,
                body=b"" if kept.recalled else body.payload,
                format=header.format if replaced is None else replaced.format,
                at_ms=header.at_ms,
                lane=header.lane,
                via=header.via,
                recalled=kept.recalled,
                replacement=b"" if replaced is None else replaced.body,
                replaced_via="" if replaced is None else replaced.via,
                mentions=header.mentions,
                mention_all=header.mention_all,
            )
        )
    return found


def current_body(snapshot: Snapshot, id: MessageId) -> Body | None:
    """A message's body as it is now; None if it is not kept."""
    changed = snapshot.views.changed(id)
    return snapshot.bodies.body(changed.body if changed else position_of(id))
