"""Facts, as the log keeps them. A tag is literal and versioned: a new meaning is a new tag.

No event carries a body, and none leaves to `apply` what only config or a clock could tell.
"""

import msgspec

from ..ids import ExpiryMs, Position
from .broadcasts import BroadcastEvent
from .conversations import (
    ConversationCreated,
    ConversationMuted,
    ConversationUnmuted,
    ConversationUpdated,
    MembersAdded,
    MembersRemoved,
)
from .deletion import DeletionEvent
from .imports import AliasesExpired, ConversationImported, ImportEvent, MessageImported
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
from .quotas import QuotaUsed
from .results import PresenceTaken, ResultCollected, ResultReserved, ResultsExpired
from .rooms import GapsExpired, RoomJoined, RoomLeft, StaysExpired
from .sessions import Acked, DedupExpired, EpochStarted, LoggedIn, LoggedOut, QueueExpired, UserKicked
from .unread import ConversationRead

__all__ = [
    "Acked",
    "AliasesExpired",
    "AnyEvent",
    "ConversationCreated",
    "ConversationImported",
    "ConversationMuted",
    "ConversationRead",
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
    "MessageImported",
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
    | ConversationRead
    | ListEvent
    | DeletionEvent
    | BroadcastEvent
    | QuotaUsed
    | ImportEvent
)


class Record(msgspec.Struct, frozen=True, gc=False):
    """An event where it stands in the log."""

    position: Position
    clock_ms: ExpiryMs
    """The expiry clock of its commit."""
    event: AnyEvent
