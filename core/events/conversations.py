"""Facts of conversations and their members."""

from ..ids import UnixMs
from ..model import Conversation
from .base import Event


class ConversationCreated(Event, frozen=True, kw_only=True, tag="conversation-created.1"):
    """A conversation has a record, whose number is this event's position."""

    app: str
    conversation: Conversation
    at_ms: UnixMs
    attributes: bytes = b"{}"
    members: tuple[str, ...] = ()
    unique: bool = False


class ConversationUpdated(Event, frozen=True, kw_only=True, tag="conversation-updated.1"):
    """Attributes have new values, or none any more."""

    app: str
    conversation: Conversation
    at_ms: UnixMs
    changed: tuple[tuple[str, bytes], ...] = ()
    """Keys and what they came to, as JSON."""
    unset: tuple[str, ...] = ()


class MembersAdded(Event, frozen=True, kw_only=True, tag="members-added.1"):
    """Users who were not in a group are."""

    app: str
    conversation: Conversation
    at_ms: UnixMs
    users: tuple[str, ...]


class MembersRemoved(Event, frozen=True, kw_only=True, tag="members-removed.1"):
    """Members of a group are not in it any more."""

    app: str
    conversation: Conversation
    at_ms: UnixMs
    users: tuple[str, ...]


class ConversationMuted(Event, frozen=True, kw_only=True, tag="conversation-muted.1"):
    """Users who wanted push notifications from a group do not."""

    app: str
    conversation: Conversation
    at_ms: UnixMs
    users: tuple[str, ...]


class ConversationUnmuted(Event, frozen=True, kw_only=True, tag="conversation-unmuted.1"):
    """They want them again."""

    app: str
    conversation: Conversation
    at_ms: UnixMs
    users: tuple[str, ...]
