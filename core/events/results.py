"""Facts of presence feeds and of results that wait."""

from ..ids import ExpiryMs, MessageId, Position
from ..model import Feed
from .base import Event


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
