"""Facts of conversations that are deleted, and of what is swept after them."""

from typing import Literal

from ..ids import MessageId, UnixMs
from ..model import Conversation
from .base import Event
from .messages import Withdrawn

Remains = Literal[
    "messages", "notices", "members", "muted", "silenced", "banned", "silences", "guests", "roles", "blocks", "record"
]
"""What a deleted conversation leaves: four lists of users, and `silences` for a while; the record is what says so."""


class ConversationDeleted(Event, frozen=True, kw_only=True, tag="conversation-deleted.1"):
    """A conversation has no record any more, and what was sent to it is there for nobody; its rows are swept later."""

    app: str
    conversation: Conversation
    at_ms: UnixMs
    by: str


class CopiesWithdrawn(Event, frozen=True, kw_only=True, tag="copies-withdrawn.1"):
    """A message to a deleted conversation goes, and with its text these entries leave the queues they waited in."""

    app: str
    id: MessageId
    copies: tuple[Withdrawn, ...]


class ConversationSwept(Event, frozen=True, kw_only=True, tag="conversation-swept.1"):
    """Some of what a deleted conversation left is forgotten; with its `record`, nothing is left and its name is free."""

    app: str
    conversation: Conversation
    what: Remains
    count: int = 0
    """How many: the first in the order in which they are kept."""
    at_ms: UnixMs = UnixMs(0)
    """Of messages: the place of the last of them; so the next."""
    id: MessageId = MessageId(0)
    users: tuple[str, ...] = ()
    """Of blocks: whose they were."""


DeletionEvent = ConversationDeleted | CopiesWithdrawn | ConversationSwept
