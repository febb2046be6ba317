"""What is read from disk, each in one short snapshot: a page of a queue, what a room's members missed, messages by id."""

from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import chain
from operator import attrgetter
from typing import NamedTuple

from ..domain import Entered, broadcasts, stream_reading
from ..domain.changes import replacement
from ..domain.copies import copy_of
from ..domain.stream_reading import PassedOver
from ..errors import Corruption
from ..expiry import expired
from ..ids import POSITION_MAX, ExpiryMs, MessageId, Place, Position, UnixMs, message_at, position_of
from ..limits import (
    PAGE_BYTES,
    PAGE_ENTRIES,
    PAGE_ROWS,
    RECOVERED_MESSAGES_MAX,
    RECOVERED_PASSED_MAX,
    RECOVERED_ROWS_MAX,
)
from ..model import Conversation, Message, room
from ..ports import ReadViews, Snapshot
from ..rows import HIDDEN, Body, BroadcastEntry, Entry, Kept, Opened, StreamEntry
from .buffer import frame_bytes
from .delivery import Delivery, DeliveryType, broadcast_delivery, delivery


class Page(NamedTuple):
    """What lay in a queue beyond a position."""

    deliveries: list[Delivery]
    through: Position
    """Everything up to here was looked at."""
    complete: bool
    """Nothing was left beyond it."""
    as_of: Position
    """The last event the snapshot knew."""


def read_page(
    snapshot: Snapshot, app: str, user: str, after: Position, clock: ExpiryMs, login: Opened, wall_ms: UnixMs
) -> Page:
    """What waits beyond `after`, in the queue, in streams and of broadcasts, oldest first, up to the bounds of a page."""
    views = snapshot.views
    deliveries: list[Delivery] = []
    size, through = 0, after
    for looked, entry in enumerate(_waiting(views, app, user, after, login, wall_ms)):
        if len(deliveries) == PAGE_ENTRIES or size >= PAGE_BYTES or looked == PAGE_ROWS:
            return Page(deliveries, through, complete=False, as_of=views.position)
        through = entry.position
        frame: Delivery | None = None
        if isinstance(entry, PassedOver):
            continue
        if isinstance(entry, StreamEntry):
            shown = resolve_streamed(snapshot, app, user, entry)
            if shown is not None:
                frame = delivery(*shown, user, entry.position, None, stream=entry.number)
        elif isinstance(entry, BroadcastEntry):
            frame = broadcast_delivery(_broadcast(snapshot, entry), "message", entry.position)
        elif not expired(entry.expires_s, clock):
            body, type = resolve(snapshot, app, user, entry)
            if not _is_deleted(snapshot, body, type):
                frame = delivery(body, type, user, entry.position, entry.seq)
        if frame is not None:
            deliveries.append(frame)
            size += len(frame.body)
    return Page(deliveries, through, complete=True, as_of=views.position)


_Waiting = Entry | StreamEntry | PassedOver | BroadcastEntry


def _waiting(
    views: ReadViews, app: str, user: str, after: Position, login: Opened, wall_ms: UnixMs
) -> Iterator[_Waiting]:
    """Everything in one order. Of streams and broadcasts what was acknowledged is passed over; of the queue it is gone."""
    row = views.user(app, user)
    acked = max(after, row.acked_through if row else after)
    queue: Iterator[_Waiting] = views.entries(app, user, after=after)
    others: list[Iterator[_Waiting]] = [*stream_reading.sources(views, app, user, after=acked, login=login)]
    heard = broadcasts.waiting(views, app, user, wall_ms, after=acked)
    first = next(heard, None)
    if first is not None:
        others.append(chain((first,), heard))
    return merge(queue, *others, key=attrgetter("position")) if others else queue


def _broadcast(snapshot: Snapshot, entry: BroadcastEntry) -> Body:
    """As it is now. Raises Corruption if that is nowhere."""
    body = snapshot.bodies.body(entry.body)
    if body is None:
        raise Corruption(f"broadcast {entry.id} has no body")
    return body


def resolve_streamed(snapshot: Snapshot, app: str, user: str, entry: StreamEntry) -> tuple[Body, DeliveryType] | None:
    """What an entry of a stream shows this user now; None if nothing. Raises Corruption if it is nowhere."""
    body = snapshot.bodies.body(entry.position)
    if body is not None and (body.header.conversation.kind != "service" or entry.deleted):
        return body, body.header.type
    changed = snapshot.views.changed(entry.id)
    if changed is not None:
        copy = snapshot.views.copy(app, user, entry.id) if changed.copies else None
        if copy is not None and copy.body == HIDDEN:
            return None
        body = snapshot.bodies.body(copy.body if copy is not None and copy.body else changed.body)
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


def resolve(snapshot: Snapshot, app: str, user: str, entry: Entry) -> tuple[Body, DeliveryType]:
    """What an entry of a user's queue shows now: its own body, or what its message became since, for all or for this user.
    Raises Corruption if that is nowhere."""
    body = snapshot.bodies.body(entry.position)
    # Of a service's message others may still see the text that was this user's, and a copy may be other than the message.
    if body is not None and (body.header.conversation.kind != "service" or body.header.type == "deleted"):
        return body, body.header.type
    message = snapshot.views.change(entry.position)
    id = message or message_at(entry.position)
    changed = snapshot.views.changed(id)
    if changed is not None:
        copy = snapshot.views.copy(app, user, id) if changed.copies else None
        body = snapshot.bodies.body(copy.body if copy is not None and copy.body else changed.body)
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
    rows = snapshot.views.timeline(
        app, room(name), None, newest_first=True, other_than=user, recalled=True, imported=False
    )
    looked = passed = 0
    for place, shown in rows:
        looked, passed = looked + shown, passed + (not shown)
        if looked > RECOVERED_ROWS_MAX or passed > RECOVERED_PASSED_MAX:
            complete = False
            break
        if place.id <= since:
            kept = snapshot.views.kept(app, place) if not shown else None
            if kept is not None and kept.alias:
                continue  # imported: its place says nothing of when it came
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
    snapshot: Snapshot,
    ids: Iterable[MessageId],
    horizon_ms: UnixMs,
    *,
    recalled: bool = False,
    recipient: str | None = None,
) -> list[Message]:
    """Kept messages as they are now, of a service as this recipient sees them; those deleted (or sent to what was deleted) or
    past retention by now are left out, and those recalled unless `recalled`. Raises Corruption."""
    found = []
    for id in ids:
        body = current_body(snapshot, id)
        kept = _still_kept(snapshot, id, body, horizon_ms) if body is not None else None
        if body is None or kept is None:
            continue
        if recipient is not None:
            body = _seen_by(snapshot, recipient, body, kept)
        if body is not None and (recalled or body.header.type != "recalled"):
            found.append(_message(body, kept))
    return found


def _still_kept(snapshot: Snapshot, id: MessageId, body: Body, horizon_ms: UnixMs) -> Kept | None:
    """What is known of the message with this id and body, if queries are to find it."""
    header = body.header
    kept = snapshot.views.kept(header.app, Place(header.at_ms, id))
    if kept is None or header.at_ms <= horizon_ms:
        return None
    if kept.conversation.kind != "peer" and snapshot.views.is_deleted(header.app, kept.conversation):
        return None
    return kept


def _seen_by(snapshot: Snapshot, user: str, body: Body, kept: Kept) -> Body | None:
    """What a recipient of a service's message sees of it; None if nothing."""
    if kept.named and user not in kept.recipients:
        return None  # it was hidden in this moment
    copy = copy_of(snapshot.views, body.header.app, user, body.header.id)
    if copy is None or copy.body is None:
        return body
    return snapshot.bodies.body(copy.body) if copy.body != HIDDEN else None


def read_message(
    snapshot: Snapshot, app: str, conversation: Conversation, id: MessageId, horizon_ms: UnixMs
) -> Message | None:
    """One kept message of a conversation, whoever asks for whatever number. Raises Corruption."""
    body = current_body(snapshot, id) if 0 < id <= POSITION_MAX else None  # of no other could a key be made
    if body is None or (body.header.app, body.header.conversation, body.header.id) != (app, conversation, id):
        return None
    kept = _still_kept(snapshot, id, body, horizon_ms)
    return _message(body, kept) if kept is not None else None


def _message(body: Body, kept: Kept) -> Message:
    header = body.header
    recalled, replaced = header.type == "recalled", replacement(body)
    return Message(
        id=header.id,
        conversation=header.conversation,
        sender=header.sender,
        body=b"" if recalled else body.payload,
        format=header.format if replaced is None else replaced.format,
        at_ms=header.at_ms,
        lane=header.lane,
        via=header.via,
        recalled=recalled,
        replacement=b"" if replaced is None else replaced.body,
        replaced_via="" if replaced is None else replaced.via,
        mentions=header.mentions,
        mention_all=header.mention_all,
        recipients=kept.recipients if header.conversation.kind == "service" else (),
        alias=kept.alias or None,
    )


def current_body(snapshot: Snapshot, id: MessageId) -> Body | None:
    """A message's body as it is now; None if it is not kept."""
    changed = snapshot.views.changed(id)
    return snapshot.bodies.body(changed.body if changed else position_of(id))
