"""Facts of broadcasts."""

from ..ids import ExpiryMs, MessageId, UnixMs
from ..model import Conversation
from .base import Event


class BroadcastSent(Event, frozen=True, kw_only=True, tag="broadcast-sent.1"):
    """A message of a service to every user of the app was accepted."""

    brings_body = True

    app: str
    id: MessageId
    conversation: Conversation
    sender: str
    at_ms: UnixMs
    valid_until_ms: UnixMs | None = None
    """Until when it is delivered, by the wall clock."""
    transient: bool = False
    """It was for sessions open then, and is not kept."""
    dedup: str | None = None
    dedup_digest: bytes = b""
    """Digest of what was sent under the dedup key."""
    dedup_expires_ms: ExpiryMs = ExpiryMs(0)


class BroadcastEdited(Event, frozen=True, kw_only=True, tag="broadcast-edited.1"):
    """A broadcast has a new body, which lies under this event's position, for whoever has not received it."""

    brings_body = True

    app: str
    id: MessageId
    by: str
    at_ms: UnixMs


class BroadcastDeleted(Event, frozen=True, kw_only=True, tag="broadcast-deleted.1"):
    """A broadcast is gone, for whoever has not received it."""

    app: str
    id: MessageId
    by: str
    at_ms: UnixMs


class BroadcastsExpired(Event, frozen=True, kw_only=True, tag="broadcasts-expired.1"):
    """Broadcasts that are long over, or whose service is gone, are forgotten."""

    app: str
    ids: tuple[MessageId, ...]


BroadcastEvent = BroadcastSent | BroadcastEdited | BroadcastDeleted | BroadcastsExpired
