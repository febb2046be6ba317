"""What the views hold: one frozen value a row, and the header that every kept body begins with.

Values that a message makes many of are made with `gc=False`: they can be in no cycle, and the collector's walks over those that
are alive at once cost a batch up to a sixth of its time.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

import msgspec

from .ids import ExpiryMs, MessageId, Place, Position, UnixMs
from .model import Conversation, Format, Kind, Lane, Role, SenderCopy


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One copy waiting in a recipient's queue."""

    position: Position
    """Of the message, or of the change that made the entry."""
    seq: int
    expires_s: int
    owns_body: bool


class QueueEnds(msgspec.Struct, frozen=True, gc=False):
    """How long a queue is, and its last entry (None if it is empty)."""

    count: int
    last: Entry | None


class Totals(msgspec.Struct, array_like=True):
    """One app's running numbers, counted up in place. Always accepted = acked + queued + evicted + expired + withdrawn."""

    newest_at_ms: UnixMs = UnixMs(0)
    accepted: int = 0
    acked: int = 0
    queued: int = 0
    evicted: int = 0
    expired: int = 0
    withdrawn: int = 0
    user_events: int = 0
    """Presence events of users ever made; like the next three, numbers of a feed's events, from 1."""
    user_events_gone: int = 0
    """How many of them are taken or replaced."""
    room_events: int = 0
    room_events_gone: int = 0
    results: int = 0
    """Reserved and neither collected nor forgotten."""
    forgotten: MessageId = MessageId(0)
    """The newest message that left the history by age, or whose gap is not remembered any more."""


class UserRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a recipient's queue alone does not tell.

    `next_seq` is as of the last write; entries after it carry theirs. Evictions follow from the rest: every copy took a
    number, and what is neither acked, queued, expired nor withdrawn was evicted.
    """

    app: str
    user: str
    next_seq: int = 1
    acked: int = 0
    expired: int = 0
    withdrawn: int = 0
    lost_at_ack: int = 0
    """Evicted and expired as of the last ack."""
    acked_through: Position = Position(0)


class SessionRow(NamedTuple):
    """An open session, and the process it belongs to."""

    session: Position
    epoch: int


class DayUsers(NamedTuple):
    """An app's newest day with a login, and how many users logged in on it."""

    day: int = 0
    """Counted from 1970-01-01; 0 if there was none yet."""
    users: int = 0


class DedupRow(msgspec.Struct, frozen=True, array_like=True):
    """The first outcome of a dedup key."""

    digest: bytes
    id: MessageId
    at_ms: UnixMs
    expires_ms: ExpiryMs
    awaited: bool = False
    """That the recipient acknowledged it will be noted here."""
    confirmed: bool = False


class ChangedRow(msgspec.Struct, frozen=True, array_like=True):
    """A message that was edited or recalled."""

    body: Position
    """Where its current body lies."""
    changes: tuple[Position, ...] = ()
    """Changes that lie in somebody's queue as entries of their own."""
    copies: int = 0
    """Recipients whose copies have rows of their own."""


class CopyRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one recipient of a service's message sees of it that others do not."""

    user: str
    body: Position | None
    """Where what they see lies; 0: they see nothing of it; None: they see what everybody does."""
    recalled: bool = False
    """It was taken back from them."""
    changes: tuple[Position, ...] = ()
    """Changes of their copy that may lie in their queue as entries of their own."""


HIDDEN: Final = Position(0)
"""In the place of a copy's body: there is none for this recipient."""


class Kept(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A message in the history, as far as its rows there tell."""

    conversation: Conversation
    sender: str
    queued: bool = False
    """It was queued for its recipients, too."""
    recalled: bool = False
    recipients: tuple[str, ...] = ()
    """Of a message to a group that lies in queues, or of a service's to users by name: for whom, without those from whom it was
    hidden."""
    number: int = 0
    """Its running number in its conversation; 0 if it has none."""
    stream: bool = False
    """It is in the conversation's stream."""
    alias: str = ""
    """Of a message that was imported: its name elsewhere."""

    @property
    def named(self) -> bool:
        """A service sent it to users whom it named: it is in their timelines, and not in the service's."""
        return bool(self.recipients) and self.conversation.kind == "service"


class Stay(NamedTuple):
    """A user's time in a room: what was sent to it at a position between the two was theirs to receive."""

    room: str
    since: Place
    """Of the join."""
    until: Place | None = None
    """Of the leave; None while the user is there."""


class StreamEntry(msgspec.Struct, frozen=True, gc=False):
    """A message in the stream of its conversation, or what became of one."""

    position: Position
    """Of the message, or of the change."""
    id: MessageId
    number: int
    """The message's running number in the conversation."""
    ordinal: int
    """How many entries the stream had with this one, beyond what it forgot of its beginning."""
    stamp_s: int
    """Seconds since 2020 by the later of both clocks, rounded up; rising."""
    sender: str = ""
    """Of a group: who does not get it, having sent it."""
    deleted: bool = False
    """It tells that the message was deleted, and its body ends with it."""


class Opened(NamedTuple):
    """What a session's login decides about reading streams."""

    position: Position = Position(0)
    """Of the login. What came before it is under the next rules, what came after is delivered."""
    over_s: int = 0
    """What is stamped so or earlier is past its expiry."""
    acked: Position = Position(0)
    """What the user had acknowledged. What became of a message beyond it is seen in its place."""
    begins: Mapping[tuple[Position, Position], Position] = MappingProxyType({})
    """Behind where the newest stand that are delivered, of each membership, named by its number and beginning, in whose stream
    there are more."""


class Membership(NamedTuple):
    """A user's time in a group or a service: what its stream got between the two is theirs."""

    number: Position
    conversation: Conversation
    since: Position
    until: Position | None = None
    """None while it lasts."""

    def holds(self, position: Position) -> bool:
        """Whether what was sent there is theirs."""
        return self.since < position and (self.until is None or position < self.until)


class SubscriptionRow(NamedTuple):
    """A user's subscription to a service."""

    position: Position
    """Where it began."""
    number: Position
    id: str
    since_ms: UnixMs


class ResultRow(msgspec.Struct, frozen=True, array_like=True):
    """What waits under a handle."""

    ids: tuple[MessageId, ...]
    expires_ms: ExpiryMs
    position: Position
    """Of the event that reserved it."""


class Gap(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The newest message to a room that no replay can give: it was not kept."""

    app: str
    room: str
    id: MessageId
    at_ms: UnixMs


Numbered = tuple[Position, Conversation]
"""A conversation, and the number by which it stands in the order of creation."""


class ConversationRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A conversation's record."""

    number: Position
    """Where it was created: its name in other rows, and its place in the order of creation."""
    kind: Kind
    id: str
    created_ms: UnixMs
    updated_ms: UnixMs
    unique: bool
    attributes: bytes
    members: int = 0
    """How many; who they are lies in rows of their own, as it does of the muted."""
    muted: int = 0
    silenced: int = 0
    """For good; who is silenced for a while is not counted."""
    banned: int = 0
    roles: int = 0
    """Users who have one, owners included."""
    owners: int = 0

    @property
    def conversation(self) -> Conversation:
        """Whose record it is."""
        return Conversation(self.kind, self.id)


class UnreadRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a user has read of a group or a service."""

    kind: Kind
    id: str
    read: int = 0
    """Of its running number: up to here all is read."""
    own: int = 0
    """How many beyond it are the user's own."""
    extra: int = 0
    """How many sent to the user by name, which take no number, are not read."""
    guest: bool = False
    """The user is no member: only what was sent by name counts."""


class RoleRow(msgspec.Struct, frozen=True, array_like=True):
    """What somebody is in a conversation."""

    user: str
    role: Role
    since: Position
    """Of the event that first gave them one: their place among those who have."""


class BroadcastRow(msgspec.Struct, frozen=True, array_like=True):
    """A message of a service to every user of the app."""

    conversation: Conversation
    number: Position
    """Of the service's record."""
    at_ms: UnixMs
    valid_until_ms: UnixMs | None
    """Until when it is delivered, by the wall clock; None: until it is deleted."""
    body: Position
    """Where its current body lies."""


class BroadcastEntry(NamedTuple):
    """A broadcast as it waits for a user."""

    position: Position
    id: MessageId
    body: Position


class QuotaRow(NamedTuple):
    """The newest day of a quota, and how much of it was used."""

    day: int = 0
    """The app's, counted from 1970-01-01; 0 if nothing was used yet."""
    used: int = 0


BodyType = Literal["message", "edited", "recalled", "deleted"]


class Header(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """What is known of a message besides its text; every body on disk begins with it."""

    type: BodyType
    app: str
    id: MessageId
    conversation: Conversation
    sender: str
    lane: Lane
    format: Format
    at_ms: UnixMs
    queue: bool
    history: bool
    via: str
    by: str = ""
    """Who edited, recalled or deleted it."""
    mentions: tuple[str, ...] = ()
    mention_all: bool = False
    push: bytes = b""
    """What a push notification about it should say; it goes with the text that it was given with."""
    sender_copy: SenderCopy = "none"


class Body(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A header and the bytes as they came."""

    header: Header
    payload: bytes
    """Of a recalled message: nothing, or a `Replacement` in msgpack."""


class Replacement(msgspec.Struct, frozen=True, array_like=True):
    """What a recall brought to be shown in the text's place."""

    via: str
    """By this dialect alone."""
    format: Format
    body: bytes
