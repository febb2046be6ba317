"""What the runtime asks for on behalf of callers and of time."""

from ..ids import MessageId, Position, UnixMs
from ..limits import FEED_TAKE_MAX, ROOMS_PER_USER_MAX, SWEEP_STEP
from ..model import Conversation, Feed
from ..rows import Opened
from .base import Command


class StartEpoch(Command, frozen=True, kw_only=True):
    """A process took over: every session of earlier processes is offline from here."""

    app: str = ""


class Login(Command, frozen=True, kw_only=True):
    """A session opens for a user."""

    user: str
    token_ms: UnixMs | None = None
    """When the token that opens it was issued, by the wall clock; None: it needs none."""


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
    opened: Opened | None = None
    """What the session's login decided about streams, if it was sent something of one since its last ack, or told that it
    missed something; None: there is nothing of streams to account for."""


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


class ExpireSilences(Command, frozen=True, kw_only=True):
    """Forget silences whose while is over, a bounded number of them."""

    app: str = ""
    limit: int = SWEEP_STEP


class ExpireBroadcasts(Command, frozen=True, kw_only=True):
    """Forget an app's broadcasts that are over, a bounded number of them."""

    limit: int = SWEEP_STEP


class ExpireGaps(Command, frozen=True, kw_only=True):
    """Forget what some rooms lost, if it is long ago, a bounded number of them."""

    rooms: tuple[str, ...]
    limit: int = SWEEP_STEP


class SweepConversation(Command, frozen=True, kw_only=True):
    """Forget what a deleted conversation left, a bounded number of things; with the last of them, the conversation."""

    conversation: Conversation
    limit: int = SWEEP_STEP
    blockers: tuple[str, ...] = ()
    """Users who block it, as far as was found: their blocks are forgotten, and nothing else."""
    unblocked: bool = False
    """Since it was deleted, nobody was found who blocks it: if nothing else is left, its name is free."""


class ExpireHistory(Command, frozen=True, kw_only=True):
    """Forget an app's messages and stays in rooms that are past retention, a bounded number of them."""

    limit: int = SWEEP_STEP
