"""Orders to the broker. The first part is for callers; the second is what the runtime asks for on their behalf.

Commands carry no time and no position: the writer adds both when it takes them.
"""

import msgspec

from .ids import MessageId, Position
from .limits import SWEEP_STEP
from .model import Conversation, Format, Lane


class Command(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Something the broker is asked to do for one app."""

    app: str


class SendMessage(Command, frozen=True, kw_only=True):
    """Send `body` from `sender` to a conversation. Answered with a Receipt once it is on disk.

    With neither `queue` nor `history` the message is transient: sessions open now get it, nobody else ever does.
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
    """Answer only when a session of the recipient acknowledged it, went offline, or this time (at most a minute) passed."""
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
    """A session ends."""

    user: str
    session: Position


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
