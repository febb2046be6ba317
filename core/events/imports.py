"""Facts of what was taken over from elsewhere."""

from ..ids import MessageId, UnixMs
from ..model import Conversation
from .base import Event


class ConversationImported(Event, frozen=True, kw_only=True, tag="conversation-imported.1"):
    """A conversation of elsewhere has a record, whose number is this event's position. It was not made now: these times are
    its own."""

    app: str
    conversation: Conversation
    created_ms: UnixMs
    updated_ms: UnixMs
    attributes: bytes = b"{}"
    members: tuple[str, ...] = ()
    muted: tuple[str, ...] = ()
    unique: bool = False


class MessageImported(Event, frozen=True, kw_only=True, tag="message-imported.1"):
    """A message of elsewhere is kept for queries; its body lies under this event's position."""

    brings_body = True

    app: str
    id: MessageId
    conversation: Conversation
    sender: str
    at_ms: UnixMs
    """When it was sent there."""
    alias: str
    """Its name there."""
    recipients: tuple[str, ...] = ()
    """Of a message to some users of a service: who they are."""
    recalled: bool = False


class AliasesExpired(Event, frozen=True, kw_only=True, tag="aliases-expired.1"):
    """Of an app's imported messages that are deleted, those that were sent first, by this time at the latest, are forgotten:
    they are too old to be imported again."""

    app: str
    at_ms: UnixMs
    count: int


ImportEvent = ConversationImported | MessageImported | AliasesExpired
