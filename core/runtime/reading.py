"""A session reads its queue from disk: a page at a time, each in one short snapshot."""

from typing import NamedTuple

from ..errors import Corruption
from ..expiry import expired
from ..ids import ExpiryMs, Position, message_at
from ..limits import PAGE_BYTES, PAGE_ENTRIES
from ..ports import Snapshot
from ..rows import Body, Entry
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


def read_page(snapshot: Snapshot, app: str, user: str, after: Position, clock: ExpiryMs) -> Page:
    """Unexpired entries beyond `after`, oldest first, up to the bounds of a page."""
    deliveries: list[Delivery] = []
    size, through = 0, after
    for entry in snapshot.views.entries(app, user, after=after):
        if len(deliveries) == PAGE_ENTRIES or size >= PAGE_BYTES:
            return Page(deliveries, through, complete=False, as_of=snapshot.views.position)
        if not expired(entry.expires_s, clock):
            body, type = resolve(snapshot, entry)
            deliveries.append(delivery(body, type, user, entry.position, entry.seq))
            size += len(body.payload)
        through = entry.position
    return Page(deliveries, through, complete=True, as_of=snapshot.views.position)


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
