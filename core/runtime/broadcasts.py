"""Broadcasts as they are read: which are valid now, and their texts."""

from itertools import islice

from ..domain.broadcasts import row_of, valid
from ..ids import MessageId, UnixMs
from ..model import Message
from ..ports import Snapshot
from ..queries import FindBroadcasts


def find_broadcasts(snapshot: Snapshot, query: FindBroadcasts, wall_ms: UnixMs) -> tuple[MessageId, ...]:
    """Which are meant."""
    found = (
        id
        for id, row in valid(snapshot.views, query.app, wall_ms, newest_first=True)
        if query.conversation in (None, row.conversation)
    )
    return tuple(islice(found, query.offset, query.offset + query.limit))


def read_broadcasts(snapshot: Snapshot, app: str, ids: tuple[MessageId, ...]) -> list[Message]:
    """As they are now; those deleted by now, with their service or alone, are left out. Raises Corruption."""
    found = []
    for id in ids:
        row = row_of(snapshot.views, app, id)
        body = snapshot.bodies.body(row.body) if row is not None else None
        if row is None or body is None:
            continue
        header = body.header
        found.append(
            Message(
                id=id,
                conversation=header.conversation,
                sender=header.sender,
                body=body.payload,
                format=header.format,
                at_ms=header.at_ms,
                lane=header.lane,
                via=header.via,
                valid_until_ms=row.valid_until_ms,
            )
        )
    return found
