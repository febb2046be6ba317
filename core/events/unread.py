"""Facts of what users have read."""

from ..ids import UnixMs
from ..model import Conversation
from .base import Event


class ConversationRead(Event, frozen=True, kw_only=True, tag="conversation-read.1"):
    """A user has read a group or a service up to a time."""

    app: str
    conversation: Conversation
    at_ms: UnixMs
    user: str
    until_ms: UnixMs
    """As the user said it; the rest is what it came to."""
    read: int
    """Of the conversation's running number: up to here all is read."""
    own: int
    """How many beyond it are the user's own."""
    extra: int
    """How many sent to the user by name are not read."""
