"""Facts, as the log keeps them. A tag is literal and versioned: a new meaning is a new tag.

No event carries a body, and none leaves to `apply` what only config or a clock could tell.
"""

import msgspec

from .event import Event
from .ids import ExpiryMs, MessageId, Position, UnixMs
from .list_events import ListEvent
from .model import Conversation, Feed, Lane


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


class EpochStarted(Event, frozen=True, kw_only=True, tag="epoch-started.1"):
    """A process took the store over; sessions of earlier epochs are offline."""

    epoch: int


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
    """Out of whose stream it is taken."""
    copies: tuple[str, ...] = ()
    """It is hidden from these recipients, and there for all others; none: it is gone."""


class MessageConfirmed(Event, frozen=True, kw_only=True, tag="message-confirmed.1"):
    """The recipient acknowledged a message that was sent as awaited."""

    app: str
    id: MessageId
    sender: str
    dedup: str


class LoggedIn(Event, frozen=True, kw_only=True, tag="logged-in.3"):
    """A session opened; its number is this event's position."""

    app: str
    user: str
    session: Position
    epoch: int
    first: bool
    """The user had no session before."""
    queued: int
    """Unexpired entries waiting."""
    missed: int
    """Entries evicted or expired since the user's last ack."""
    at_ms: UnixMs
    day: int
    """The app's day, counted from 1970-01-01; 0 if it was not noted."""


class UserKicked(Event, frozen=True, kw_only=True, tag="user-kicked.1"):
    """A user's sessions are closed, and tokens issued until this time open none."""

    app: str
    user: str
    at_ms: UnixMs
    """By the wall clock as it stood, as tokens are; never before an earlier kick's."""
    reason: str


class LoggedOut(Event, frozen=True, kw_only=True, tag="logged-out.2"):
    """A session ended."""

    app: str
    user: str
    session: Position
    last: bool
    """The user has no session left."""
    at_ms: UnixMs


class RoomJoined(Event, frozen=True, kw_only=True, tag="room-joined.1"):
    """A user who was not in the room is."""

    app: str
    room: str
    user: str
    at_ms: UnixMs


class RoomLeft(Event, frozen=True, kw_only=True, tag="room-left.1"):
    """A user is not in the room any more."""

    app: str
    room: str
    user: str
    at_ms: UnixMs


class ConversationCreated(Event, frozen=True, kw_only=True, tag="conversation-created.1"):
    """A conversation has a record, whose number is this event's position."""

    app: str
    conversation: Conversation
    at_ms: UnixMs
    attributes: bytes = b"{}"
    members: tuple[str, ...] = ()
    unique: bool = False


class ConversationUpdated(Event, frozen=True, kw_only=True, tag="conversation-updated.1"):
    """Attributes have new values, or none any more."""

    app: str
    conversation: Conversation
    at_ms: UnixMs
    changed: tuple[tuple[str, bytes], ...] = ()
    """Keys and what they came to, as JSON."""
    unset: tuple[str, ...] = ()


class MembersAdded(Event, frozen=True, kw_only=True, tag="members-added.1"):
    """Users who were not in a group are."""

    app: str
    conversation: Conversation
    at_ms: UnixMs
    users: tuple[str, ...]


class MembersRemoved(Event, frozen=True, kw_only=True, tag="members-removed.1"):
    """Members of a group are not in it any more."""

    app: str
    conversation: Conversation
    at_ms: UnixMs
    users: tuple[str, ...]


class ConversationMuted(Event, frozen=True, kw_only=True, tag="conversation-muted.1"):
    """Users who wanted push notifications from a group do not."""

    app: str
    conversation: Conversation
    at_ms: UnixMs
    users: tuple[str, ...]


class ConversationUnmuted(Event, frozen=True, kw_only=True, tag="conversation-unmuted.1"):
    """They want them again."""

    app: str
    conversation: Conversation
    at_ms: UnixMs
    users: tuple[str, ...]


class PresenceTaken(Event, frozen=True, kw_only=True, tag="presence-taken.1"):
    """The oldest events of a feed were handed out."""

    app: str
    feed: Feed
    count: int


class ResultReserved(Event, frozen=True, kw_only=True, tag="result-reserved.1"):
    """What a query found waits under a handle."""

    app: str
    handle: str
    ids: tuple[MessageId, ...]
    expires_ms: ExpiryMs


class ResultCollected(Event, frozen=True, kw_only=True, tag="result-collected.1"):
    """A handle is used up."""

    app: str
    handle: str


class ResultsExpired(Event, frozen=True, kw_only=True, tag="results-expired.1"):
    """Reserved results up to and including this place in the order of their ends are forgotten."""

    expires_ms: ExpiryMs
    position: Position
    count: int


class CopiesExpired(Event, frozen=True, kw_only=True, tag="copies-expired.1"):
    """A message to a group leaves the history, and with its text these entries leave the queues they waited in."""

    app: str
    id: MessageId
    copies: tuple[Withdrawn, ...]


class HistoryExpired(Event, frozen=True, kw_only=True, tag="history-expired.1"):
    """An app's oldest kept messages are forgotten, up to and including the one at this place."""

    app: str
    at_ms: UnixMs
    id: MessageId
    count: int


class StaysExpired(Event, frozen=True, kw_only=True, tag="stays-expired.1"):
    """The stays in an app's rooms that ended first, by this time at the latest, are forgotten."""

    app: str
    at_ms: UnixMs
    count: int


class GapsExpired(Event, frozen=True, kw_only=True, tag="gaps-expired.1"):
    """What these rooms lost lies before everything that is kept, and need not be remembered."""

    app: str
    rooms: tuple[str, ...]


class Acked(Event, frozen=True, kw_only=True, tag="acked.1"):
    """A session acknowledged a prefix of its user's queue."""

    app: str
    user: str
    session: Position
    through: Position
    count: int
    """Entries that left the queue."""
    id: MessageId
    """The message the last of them was about, or 0."""
    seq: int
    """The running number of that entry, or 0."""


class QueueExpired(Event, frozen=True, kw_only=True, tag="queue-expired.1"):
    """The first entries of a queue were past their expiry and left it."""

    app: str
    user: str
    count: int


class DedupExpired(Event, frozen=True, kw_only=True, tag="dedup-expired.1"):
    """Dedup outcomes up to and including this place in the order of their ends are forgotten."""

    expires_ms: ExpiryMs
    position: Position
    count: int


AnyEvent = (
    EpochStarted
    | MessageSent
    | MessageEdited
    | MessageRecalled
    | MessageDeleted
    | MessageConfirmed
    | LoggedIn
    | LoggedOut
    | RoomJoined
    | RoomLeft
    | PresenceTaken
    | Acked
    | QueueExpired
    | DedupExpired
    | ResultReserved
    | ResultCollected
    | ResultsExpired
    | HistoryExpired
    | StaysExpired
    | GapsExpired
    | ConversationCreated
    | ConversationUpdated
    | MembersAdded
    | MembersRemoved
    | ConversationMuted
    | ConversationUnmuted
    | CopiesExpired
    | UserKicked
    | ListEvent
)


class Record(msgspec.Struct, frozen=True, gc=False):
    """An event where it stands in the log."""

    position: Position
    clock_ms: ExpiryMs
    """The expiry clock of its commit."""
    event: AnyEvent
