"""What happened elsewhere, before: conversations and messages that are taken over from another service."""

from ..ids import UnixMs
from ..model import Conversation, Format
from .base import Command
from .conversations import ConversationCommand


class ImportConversation(ConversationCommand, frozen=True, kw_only=True):
    """Take over a group, a room or a service as it was. Nobody is told.

    One of this kind and name that is there stays as it is; so does nothing, if one of this name, of whatever kind, was
    imported before, also if it was deleted since: the receipt says `duplicate`. Raises ConversationFull; InTheFuture.
    """

    created_ms: UnixMs
    updated_ms: UnixMs
    """Not before `created_ms`."""
    attributes: bytes = b"{}"
    """A JSON object, at most 128 KiB as it is kept (without spaces)."""
    members: tuple[str, ...] = ()
    """Of a group, at most 500; repetitions count once."""
    muted: tuple[str, ...] = ()
    """Users of a group, members or not, who want no push notifications from it; at most 500."""
    unique: bool = False
    """Of a group: it is the one group of exactly its members."""


class ImportMessage(Command, frozen=True, kw_only=True):
    """Take over a message that was sent elsewhere, for queries alone: nobody is told, and it enters no queue.

    It stands in the history by the time it had, among others of that time in the order of their importing. Its receipt has
    its id here. A message whose alias was imported before is the one that was, also if it was deleted since: the receipt
    says `duplicate`. Raises UnknownConversation, unless it is a peer's; TooOld if it is past the app's retention;
    InTheFuture if its time is more than a day ahead.
    """

    conversation: Conversation
    """As its sender named it: a peer conversation by the recipient."""
    sender: str
    body: bytes
    """As of a message that is sent; anything if `format` is "binary"."""
    at_ms: UnixMs
    alias: str
    """What it was called there, 1 to 256 bytes; within the app it is another name of the message."""
    format: Format = "text"
    recipients: tuple[str, ...] = ()
    """Of a message to some users of a service: who they are, at most 10,000."""
    recalled: bool = False
    """Its text was taken back; then `body` is empty."""
    mentions: tuple[str, ...] = ()
    mention_all: bool = False
    via: str = "import"
    """What it was imported from."""
