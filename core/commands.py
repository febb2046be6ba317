"""Orders to the broker. The first part is for callers; the second is what the runtime asks for on their behalf.

Commands carry no time and no position: the writer adds both when it takes them.
"""

import msgspec

from .ids import MessageId, Position
from .limits import FEED_TAKE_MAX, ROOMS_PER_USER_MAX, SWEEP_STEP
from .model import Conversation, Feed, Format, Lane


class Command(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Something the broker is asked to do for one app."""

    app: str


class SendMessage(Command, frozen=True, kw_only=True):
    """Send `body` from `sender` to a conversation. Answered with a Receipt once it is on disk.

    With neither `queue` nor `history` the message is transient: sessions open now get it, nobody else ever does. A message to
    a room goes to whoever is in it now, its sender excepted, and never queues.
    """

    sender: str
    to: Conversation
    body: bytes
    """At most 256 KiB; UTF-8 if `format` is "text", one JSON value if it is "json"."""
    format: Format = "text"
    queue: bool = False
    """Keep it for the recipient until a session of theirs acknowledges it."""
    history: bool = False
    """Keep it for queries."""
    lane: Lane = "normal"
    dedup: str | None = None
    """1 to 128 bytes. Within 24 hours the same sender's retry with this key gets the first outcome and sends nothing."""
    wait_ack_ms: int | None = None
    """Answer only when a session of the recipient acknowledged it, went offline, or this time (at most a minute) passed.
    For peer messages."""
    recipients: tuple[str, ...] = ()
    """Of a message to a room: only these, as far as they are in it; at most 10,000. Such a message cannot be kept."""
    via: str = "embedded"
    """Which transport brought it."""


class EditMessage(Command, frozen=True, kw_only=True):
    """Give a kept message a new body. The old one is gone from the store with the same commit."""

    id: MessageId
    by: str
    body: bytes
    format: Format = "text"


class RecallMessage(Command, frozen=True, kw_only=True):
    """Take a kept message's text back; recipients are told that it was recalled."""

    id: MessageId
    by: str


class DeleteMessage(Command, frozen=True, kw_only=True):
    """Remove a kept message; copies still queued count as withdrawn, whoever may have seen it is told."""

    id: MessageId
    by: str


# What the runtime asks for.


class StartEpoch(Command, frozen=True, kw_only=True):
    """A process took over: every session of earlier processes is offline from here."""

    app: str = ""


class Login(Command, frozen=True, kw_only=True):
    """A session opens for a user."""

    user: str


class Logout(Command, frozen=True, kw_only=True):
    """A session ends; with the user's last one, their stays in rooms do."""

    user: str
    session: Position
    rooms_max: int = ROOMS_PER_USER_MAX
    """Rooms left with this command; while there are more, the session stays open."""
    rooms: int = 0
    """How many the user is in, as far as is known: what the logout will take is estimated by it."""


class Join(Command, frozen=True, kw_only=True):
    """A user enters a room, through one of their sessions."""

    user: str
    session: Position
    room: str


class Leave(Command, frozen=True, kw_only=True):
    """A user leaves a room."""

    user: str
    session: Position
    room: str


class TakeFeed(Command, frozen=True, kw_only=True):
    """Take the oldest events of a presence feed."""

    feed: Feed
    limit: int = FEED_TAKE_MAX


class ReserveResult(Command, frozen=True, kw_only=True):
    """Keep what a query found under a handle, to be collected once."""

    handle: str
    ids: tuple[MessageId, ...]
    ttl_ms: int


class CollectResult(Command, frozen=True, kw_only=True):
    """Use a handle up."""

    handle: str


class Ack(Command, frozen=True, kw_only=True):
    """A session handled its frames; a prefix of its user's queue, up to `through`, leaves it."""

    user: str
    session: Position
    through: Position
    confirmed: tuple[MessageId, ...] = ()
    """Unqueued messages among the acknowledged that were sent as awaited."""
    count: int = 0
    """How many entries the session means, as far as it knows: what the ack will take is estimated by it."""


class ExpireQueue(Command, frozen=True, kw_only=True):
    """Account for the entries of one queue that are past their expiry, a bounded number of them."""

    user: str
    limit: int = SWEEP_STEP


class ExpireDedup(Command, frozen=True, kw_only=True):
    """Forget dedup outcomes that are over, a bounded number of them."""

    app: str = ""
    limit: int = SWEEP_STEP


class EndStaleSessions(Command, frozen=True, kw_only=True):
    """Log out sessions of earlier epochs, a bounded number of them."""

    app: str = ""
    limit: int = SWEEP_STEP


class ExpireResults(Command, frozen=True, kw_only=True):
    """Forget reserved results that are over, a bounded number of them."""

    app: str = ""
    limit: int = SWEEP_STEP


class ExpireGaps(Command, frozen=True, kw_only=True):
    """Forget what some rooms lost, if it is long ago, a bounded number of them."""

    rooms: tuple[str, ...]
    limit: int = SWEEP_STEP


class ExpireHistory(Command, frozen=True, kw_only=True):
    """Forget an app's messages and stays in rooms that are past retention, a bounded number of them."""

    limit: int = SWEEP_STEP
