"""Facts of processes, sessions and queues."""

from ..ids import ExpiryMs, MessageId, Position, UnixMs
from .base import Event


class EpochStarted(Event, frozen=True, kw_only=True, tag="epoch-started.1"):
    """A process took the store over; sessions of earlier epochs are offline."""

    epoch: int


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


class Acked(Event, frozen=True, kw_only=True, tag="acked.2"):
    """A session acknowledged a prefix of its user's queue, and of what streams had for them."""

    app: str
    user: str
    session: Position
    through: Position
    count: int
    """Entries that left the queue."""
    id: MessageId
    """The message that the newest of what was acknowledged was about, or 0."""
    seq: int
    """The running number of that in the queue, or 0."""
    streamed: int = 0
    """What of streams was acknowledged; like the next two it counts as accepted with this event."""
    evicted: int = 0
    """What of streams was passed over, being too much as of the session's login."""
    expired: int = 0
    """Or being past its expiry."""


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
