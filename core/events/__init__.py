"""Facts, as the log keeps them. A tag is literal and versioned: a new meaning is a new tag.

No event carries a body, and none leaves to `apply` what only config or a clock could tell.
"""

import msgspec

from ..ids import ExpiryMs, Position
from .conversations import (
    ConversationCreated,
    ConversationMuted,
    ConversationUnmuted,
    ConversationUpdated,
    MembersAdded,
    MembersRemoved,
)
from .deletion import DeletionEvent
from .lists import ListEvent
from .messages import (
    CopiesExpired,
    HistoryExpired,
    MessageConfirmed,
    MessageDeleted,
    MessageEdited,
    MessageRecalled,
    MessageSent,
    Queued,
    StreamNoticesExpired,
    Withdrawn,
)
from .results import PresenceTaken, ResultCollected, ResultReserved, ResultsExpired
from .rooms import GapsExpired, RoomJoined, RoomLeft, StaysExpired
from .sessions import Acked, DedupExpired, EpochStarted, LoggedIn, LoggedOut, QueueExpired, UserKicked

__all__ = [
    "Acked",
    "AnyEvent",
    "ConversationCreated",
    "ConversationMuted",
    "ConversationUnmuted",
    "ConversationUpdated",
    "CopiesExpired",
    "DedupExpired",
    "EpochStarted",
    "GapsExpired",
    "HistoryExpired",
    "LoggedIn",
    "LoggedOut",
    "MembersAdded",
    "MembersRemoved",
    "MessageConfirmed",
    "MessageDeleted",
    "MessageEdited",
    "MessageRecalled",
    "MessageSent",
    "PresenceTaken",
    "QueueExpired",
    "Queued",
    "Record",
    "ResultCollected",
    "ResultReserved",
    "ResultsExpired",
    "RoomJoined",
    "RoomLeft",
    "StaysExpired",
    "StreamNoticesExpired",
    "UserKicked",
    "Withdrawn",
]

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
    | StreamNoticesExpired
    | UserKicked
    | ListEvent
    | DeletionEvent
)


class Record(msgspec.Struct, frozen=True, gc=False):
    """An event where it stands in the log."""

    position: Position
    clock_ms: ExpiryMs
    """The expiry clock of its commit."""
    event: AnyEvent
