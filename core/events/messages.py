"""Facts of messages."""

import msgspec

from ..ids import ExpiryMs, MessageId, Position, UnixMs
from ..model import Conversation, Lane
from .base import Event


class Queued(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """What one recipient's queue did with one copy."""

    user: str
    seq: int
    """The recipient's running number of the copy, from 1."""
    expires_s: int
    """Seconds since 2020, by the expiry clock."""
    evicted: int = 0
    """Entries dropped from the front to make room."""
    expired: int = 0
    """Dropped like these, but past their expiry anyway; they stood before the evicted ones."""
    stored: bool = True
    """False if the queue was full under `refuse`: the copy took its `seq` and counts as evicted."""
    owns_body: bool = False
    """The body this copy shows ends with this entry."""


class MessageSent(Event, frozen=True, kw_only=True, tag="message-sent.2"):
    """A message was accepted."""

    brings_body = True

    app: str
    id: MessageId
    conversation: Conversation
    sender: str
    lane: Lane
    at_ms: UnixMs
    history: bool
    queued: tuple[Queued, ...] = ()
    dedup: str | None = None
    dedup_digest: bytes = b""
    """Digest of what was sent under the dedup key."""
    dedup_expires_ms: ExpiryMs = ExpiryMs(0)
    awaited: bool = False
    """The sender waits for the recipient's ack, and may come back with the dedup key to ask for it."""
    number: int = 0
    """Of a kept message to all of a group or a service: its running number there, from 1; 0 if it takes none."""
    stream: bool = False
    """It is kept once for all of them, in the conversation's stream."""
    recipients: tuple[str, ...] = ()
    """Of a message to some users of a service: who they are."""


class MessageEdited(Event, frozen=True, kw_only=True, tag="message-edited.2"):
    """A message has a new body, which lies under this event's position."""

    brings_body = True

    app: str
    id: MessageId
    by: str
    at_ms: UnixMs
    queued: tuple[Queued, ...] = ()
    """The change as an entry of its own, for whoever may have seen the old text."""
    stream: Conversation | None = None
    """In whose stream the change stands, too."""
    copies: tuple[str, ...] = ()
    """Only these recipients' copies have it; none: the message itself."""


class MessageRecalled(Event, frozen=True, kw_only=True, tag="message-recalled.3"):
    """A message's body is gone; its header, marked as recalled, lies under this event's position."""

    brings_body = True

    app: str
    id: MessageId
    by: str
    at_ms: UnixMs
    queued: tuple[Queued, ...] = ()
    sent_ms: UnixMs = UnixMs(0)
    """When it was sent, if it is kept for history: its place there."""
    stream: Conversation | None = None
    """In whose stream the change stands, too."""
    copies: tuple[str, ...] = ()
    """Only these recipients' copies are recalled; none: the message itself."""


class Withdrawn(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Entries that leave one recipient's queue unacknowledged, because their message is gone."""

    user: str
    positions: tuple[Position, ...]


class MessageDeleted(Event, frozen=True, kw_only=True, tag="message-deleted.2"):
    """A message is gone, with its queued copies; if somebody must be told, its header lies under this event's position."""

    brings_body = True

    app: str
    id: MessageId
    by: str
    at_ms: UnixMs
    timeline: Conversation | None = None
    """Where it was kept for history, and the peer who sent it."""
    sender: str = ""
    sent_ms: UnixMs = UnixMs(0)
    withdrawn: tuple[Withdrawn, ...] = ()
    queued: tuple[Queued, ...] = ()
    stream: Conversation | None = None
    """In whose stream its members are told of it."""
    copies: tuple[str, ...] = ()
    """It is hidden from these recipients, and there for all others; none: it is gone."""


class MessageConfirmed(Event, frozen=True, kw_only=True, tag="message-confirmed.1"):
    """The recipient acknowledged a message that was sent as awaited."""

    app: str
    id: MessageId
    sender: str
    dedup: str


class CopiesExpired(Event, frozen=True, kw_only=True, tag="copies-expired.1"):
    """A message to a group, or of a service to users by name, leaves the history, and with its text these entries leave the
    queues they waited in."""

    app: str
    id: MessageId
    copies: tuple[Withdrawn, ...]


class StreamNoticesExpired(Event, frozen=True, kw_only=True, tag="stream-notices-expired.1"):
    """What an app's streams tell of messages deleted first, until this time at the latest, is forgotten."""

    app: str
    at_ms: UnixMs
    count: int


class HistoryExpired(Event, frozen=True, kw_only=True, tag="history-expired.1"):
    """An app's oldest kept messages are forgotten, up to and including the one at this place."""

    app: str
    at_ms: UnixMs
    id: MessageId
    count: int
