"""Messages: sent, edited, taken back, deleted."""

from ..ids import MessageId, UnixMs
from ..model import Conversation, Format, Lane, Quota, SenderCopy
from .base import Command


class SendMessage(Command, frozen=True, kw_only=True):
    """Send `body` from `sender` to a conversation. Answered with a Receipt once it is on disk.

    With neither `queue` nor `history` the message is transient: sessions open now get it, nobody else ever does. A message to
    a room goes to whoever is in it now, its sender excepted, and never queues. A message to a group goes to every member but
    its sender, who need not be one; without `queue`, to their sessions open now. A message to a service goes to whoever
    subscribes to it, be it its sender, or to its `recipients`. Raises UnknownConversation for a group or a service that
    nobody created.
    """

    sender: str
    to: Conversation
    body: bytes
    """At most 256 KiB; UTF-8 if `format` is "text", one JSON value if it is "json"."""
    format: Format = "text"
    queue: bool = False
    """Keep it for the recipients until a session of theirs acknowledges it. Of a message to a group or a service it takes
    `history`, too: its one text is shared by all copies."""
    history: bool = False
    """Keep it for queries."""
    lane: Lane = "normal"
    dedup: str | None = None
    """1 to 128 bytes. Within 24 hours the same sender's retry with this key gets the first outcome and sends nothing."""
    wait_ack_ms: int | None = None
    """Answer only when a session of the recipient acknowledged it, went offline, or this time (at most a minute) passed.
    For peer messages."""
    recipients: tuple[str, ...] = ()
    """Of a message to a room: only these, as far as they are in it; such a message cannot be kept. Of a message to a
    service: these users, whether they subscribe to it or not. At most 10,000."""
    via: str = "embedded"
    """Which transport brought it."""
    sender_copy: SenderCopy = "none"
    """Of a message to a group or a service: whether the sender's own sessions get it, if they are open now."""
    mentions: tuple[str, ...] = ()
    """Users it is meant for in particular, at most 20; they are told no differently."""
    mention_all: bool = False
    push: bytes = b""
    """What a push notification about it should say, at most 4 KiB; opaque, and kept as long as the body."""
    speaks: bool = False
    """The sender themselves are at the other end: to a group or a room they get no word in if they are silenced or banned
    there (Silenced, Banned), to a service never (Banned). What is sent on somebody's behalf always passes."""
    quota: Quota | None = None
    """One of so many a day. Raises QuotaExceeded; a repeat under the same `dedup` key counts nothing."""


class ChangeMessage(Command, frozen=True, kw_only=True):
    """What the changes of a kept message have in common: which one. Raises UnknownMessage."""

    id: MessageId
    by: str
    conversation: Conversation | None = None
    """If given, it must be the message's own (as its sender named it), or no such message is known; so the next two."""
    sender: str | None = None
    sent_ms: UnixMs | None = None
    quota: Quota | None = None
    """One of so many a day. Raises QuotaExceeded."""
    recipients: tuple[str, ...] = ()
    """Of a message of a service: only the copies of these users change, as they see it; everybody else's, and what the
    conversation and the app show of it, stay as they are. Of a message by name those are passed over who are not among its
    recipients, or from whom it was hidden, if others are. Raises UnknownMessage if nobody is left, or if one of them never
    was to have a message to subscribers."""


class EditMessage(ChangeMessage, frozen=True, kw_only=True):
    """Give a kept message a new body. The old one is gone from the store with the same commit."""

    body: bytes
    format: Format = "text"


class RecallMessage(ChangeMessage, frozen=True, kw_only=True):
    """Take a kept message's text back; recipients are told that it was recalled. With `duplicate` it was before, and
    shows what it showed."""

    replacement: bytes = b""
    """What the dialect that brought it shows in the text's place, and no other (`Message.replacement`). Like `body` of an
    edit."""
    format: Format = "text"
    """The replacement's."""
    via: str = ""
    """Which dialect that is; with a replacement it must be given, without one it says nothing."""


class DeleteMessage(ChangeMessage, frozen=True, kw_only=True):
    """Remove a kept message; copies still queued count as withdrawn, whoever may have seen it is told."""

    silent: bool = False
    """Copies still queued are withdrawn, and no session and no queue is told."""
