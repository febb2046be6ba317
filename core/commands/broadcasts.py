"""Messages of a service to every user of the app: sent, edited, deleted."""

from ..ids import MessageId, UnixMs
from ..model import Conversation, Format, Quota
from .base import Command


class SendBroadcast(Command, frozen=True, kw_only=True):
    """Send `body` from a service to every user of the app who ever logged in; who subscribes to it does not matter. Answered
    with a Receipt once it is on disk.

    It waits for each user until they acknowledge it, beside their queue: neither the queue's cap nor its time counts it. Who
    logs in for the first time gets the newest one that is still valid, and what comes after it. The sender is a receiver like
    any other. No history shows it. Raises UnknownConversation if nobody created the service, BroadcastsFull, QuotaExceeded.
    """

    sender: str
    conversation: Conversation
    """A service."""
    body: bytes
    """At most 256 KiB; UTF-8 if `format` is "text", one JSON value if it is "json"."""
    format: Format = "text"
    valid_until_ms: UnixMs | None = None
    """From this wall time on nobody gets it any more, unless the clock is set back; None: it is valid until it is deleted.
    Of a transient one it means nothing."""
    transient: bool = False
    """Sessions open now get it, nobody else ever does; it cannot be edited or deleted."""
    push: bytes = b""
    """What a push notification about it should say, at most 4 KiB; opaque, and kept as long as the body."""
    dedup: str | None = None
    """As of `SendMessage`, whose keys these share."""
    via: str = "embedded"
    """Which transport brought it."""
    quota: Quota | None = None


class ChangeBroadcast(Command, frozen=True, kw_only=True):
    """What the changes of a broadcast have in common: which one. Who has received it keeps what they got and is told nothing.
    Raises UnknownMessage."""

    id: MessageId
    by: str
    conversation: Conversation | None = None
    """If given, it must be the broadcast's own, or no such broadcast is known; so the next two."""
    sender: str | None = None
    sent_ms: UnixMs | None = None
    quota: Quota | None = None


class EditBroadcast(ChangeBroadcast, frozen=True, kw_only=True):
    """Give it a new body for whoever has not received it. The old one is gone from the store with the same commit."""

    body: bytes
    format: Format = "text"


class DeleteBroadcast(ChangeBroadcast, frozen=True, kw_only=True):
    """Whoever has not received it never will; its body is gone from the store."""
