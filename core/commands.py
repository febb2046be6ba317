"""Orders to the broker. The first part is for callers; the second is what the runtime asks for on their behalf.

Commands carry no time and no position: the writer adds both when it takes them.
"""

from typing import Literal

import msgspec

from .ids import MessageId, Position, UnixMs
from .limits import FEED_TAKE_MAX, ROOMS_PER_USER_MAX, SWEEP_STEP
from .model import Conversation, Feed, Format, Lane, Role, SenderCopy


class Command(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Something the broker is asked to do for one app."""

    app: str


class SendMessage(Command, frozen=True, kw_only=True):
    """Send `body` from `sender` to a conversation. Answered with a Receipt once it is on disk.

    With neither `queue` nor `history` the message is transient: sessions open now get it, nobody else ever does. A message to
    a room goes to whoever is in it now, its sender excepted, and never queues. A message to a group goes to every member but
    its sender, who need not be one; without `queue`, to their sessions open now. Raises UnknownConversation for a group
    that nobody created.
    """

    sender: str
    to: Conversation
    body: bytes
    """At most 256 KiB; UTF-8 if `format` is "text", one JSON value if it is "json"."""
    format: Format = "text"
    queue: bool = False
    """Keep it for the recipients until a session of theirs acknowledges it. Of a message to a group it takes `history`,
    too: its one text is shared by all copies."""
    history: bool = False
    """Keep it for queries."""
    lane: Lane = "normal"
    dedup: str | None = None
    """1 to 128 bytes. Within 24 hours the same sender's retry with this key gets the first outcome and sends nothing."""
    wait_ack_ms: int | None = None
    """Answer only when a session of the recipient acknowledged it, went offline, or this time (at most a minute) passed.
    For peer messages."""
    recipients: tuple[str, ...] = ()
    """Of a message to a room: only these, as far as they are in it; at most 10,000. Such a message cannot be kept."""
    via: str = "embedded"
    """Which transport brought it."""
    sender_copy: SenderCopy = "none"
    """Of a message to a group: whether the sender's own sessions get it, if they are open now."""
    mentions: tuple[str, ...] = ()
    """Users it is meant for in particular, at most 20; they are told no differently."""
    mention_all: bool = False
    push: bytes = b""
    """What a push notification about it should say, at most 4 KiB; opaque, and kept as long as the body."""
    speaks: bool = False
    """The sender themselves are at the other end: to a group or a room they get no word in if they are silenced or banned
    there (Silenced, Banned). What is sent on somebody's behalf always passes."""


class ChangeMessage(Command, frozen=True, kw_only=True):
    """What the changes of a kept message have in common: which one. Raises UnknownMessage."""

    id: MessageId
    by: str
    conversation: Conversation | None = None
    """If given, it must be the message's own (as its sender named it), or no such message is known; so the next two."""
    sender: str | None = None
    sent_ms: UnixMs | None = None


class EditMessage(ChangeMessage, frozen=True, kw_only=True):
    """Give a kept message a new body. The old one is gone from the store with the same commit."""

    body: bytes
    format: Format = "text"


class RecallMessage(ChangeMessage, frozen=True, kw_only=True):
    """Take a kept message's text back; recipients are told that it was recalled."""


class DeleteMessage(ChangeMessage, frozen=True, kw_only=True):
    """Remove a kept message; copies still queued count as withdrawn, whoever may have seen it is told."""

    silent: bool = False
    """Copies still queued are withdrawn, and no session and no queue is told."""


# Conversations.


class ConversationCommand(Command, frozen=True, kw_only=True):
    """Something about a conversation's record. Answered with a Receipt that names it."""

    conversation: Conversation


class CreateConversation(ConversationCommand, frozen=True, kw_only=True):
    """Create a group, a room or a service. A room that somebody used has a record already.

    Raises ConversationExists, ConversationFull.
    """

    attributes: bytes = b"{}"
    """A JSON object, at most 128 KiB as it is kept (without spaces)."""
    members: tuple[str, ...] = ()
    """Of a group, at most 500; repetitions count once."""
    unique: bool = False
    """Of a group: if one that was created so has exactly these members now, it is the answer, with `duplicate`, and
    nothing is written; of several the one created first."""


class Operation(msgspec.Struct, frozen=True, array_like=True):
    """A change of one attribute of a conversation."""

    key: str
    """Of the top level; 1 to 256 bytes without control characters."""
    op: Literal["set", "unset", "increment", "add", "add_unique", "remove"]
    """`increment` takes a number and begins at 0. The last three take an array, of which they add every value, add those
    that are not there, or remove all that are equal to one; where nothing is, or null, they begin with an empty one."""
    value: bytes = b"null"
    """JSON."""


class UpdateConversation(ConversationCommand, frozen=True, kw_only=True):
    """Change attributes, one operation after the other, or none of them.

    Raises UnknownConversation; InvalidCommand naming the key whose value an operation cannot work on, or if the attributes
    would be larger than 128 KiB.
    """

    operations: tuple[Operation, ...]


class UsersCommand(ConversationCommand, frozen=True, kw_only=True):
    """Something about users of a conversation. Raises UnknownConversation. `duplicate` if there was nothing to do."""

    users: tuple[str, ...]
    """At most 500; repetitions count once."""


class MembersCommand(UsersCommand, frozen=True, kw_only=True):
    """Something about users of a group."""


class AddMembers(MembersCommand, frozen=True, kw_only=True):
    """Users join a group. Raises ConversationFull, or Banned naming who is banned from it or blocks it; then nobody did."""


class RemoveMembers(MembersCommand, frozen=True, kw_only=True):
    """Users are no members any more; what was queued for them stays theirs."""


class MuteConversation(MembersCommand, frozen=True, kw_only=True):
    """Users, members or not, want no push notifications from a group. Raises ConversationFull: a list holds 500."""


class UnmuteConversation(MembersCommand, frozen=True, kw_only=True):
    """They want them again."""


# Users.


class Kick(Command, frozen=True, kw_only=True):
    """Close every session that a user has open, and refuse every token that was issued until now.

    Answered with a Receipt, also for a user who is offline or was never seen: `id` is the event's, and tokens issued until
    `at_ms` open no session any more. The sessions end in the order of the log, each when its owner leaves it.
    """

    user: str
    reason: str = ""
    """What the closed sessions are told; at most 64 characters."""


# Who may come in, who may talk, who is what.


class BanUsers(UsersCommand, frozen=True, kw_only=True):
    """Users are out of a group, a room or a service, and cannot come in until the ban is lifted. Whether they are members, or
    in the room, or neither; their stay in the room ends. What was queued for them stays theirs.

    Raises BansFull (500 in a group, 10,000 in a room or a service), and then nobody is banned.
    """


class UnbanUsers(UsersCommand, frozen=True, kw_only=True):
    """They may come in again; they are not put back."""


class SilenceUsers(UsersCommand, frozen=True, kw_only=True):
    """Users may not talk in a group or a room (`SendMessage.speaks`); they still get what others say.

    Raises SilencesFull if more would be silenced for good than may (500 in a group, 10,000 in a room); then nobody is.
    """

    ttl_ms: int | None = None
    """For so long, 1 second to 24 hours by the expiry clock, from now on, also if they were silenced for a while before;
    None is for good. The one knows nothing of the other."""


class UnsilenceUsers(UsersCommand, frozen=True, kw_only=True):
    """They may talk again, as far as this kind of silence goes."""

    temporary: bool
    """Which kind: for a while, or for good."""


class UserCommand(ConversationCommand, frozen=True, kw_only=True):
    """Something about one user and a conversation. Raises UnknownConversation. `duplicate` if there was nothing to do."""

    user: str


class SetRole(UserCommand, frozen=True, kw_only=True):
    """A user, member or not, is something in a group or a room. Roles are kept and told; they restrict nobody.

    Raises OwnerNeeded if that would leave it without its only owner; RolesFull (500).
    """

    role: Role


class RemoveRole(UserCommand, frozen=True, kw_only=True):
    """They are nothing in particular any more. Raises OwnerNeeded."""


class BlockConversation(UserCommand, frozen=True, kw_only=True):
    """A user does not want to be put into a conversation: whoever tries is refused (Banned). Members stay.

    Raises BlocksFull: a user blocks at most 1,000.
    """


class UnblockConversation(UserCommand, frozen=True, kw_only=True):
    """They may be put into it again."""


# What the runtime asks for.


class StartEpoch(Command, frozen=True, kw_only=True):
    """A process took over: every session of earlier processes is offline from here."""

    app: str = ""


class Login(Command, frozen=True, kw_only=True):
    """A session opens for a user."""

    user: str
    token_ms: UnixMs | None = None
    """When the token that opens it was issued, by the wall clock; None: it needs none."""


class Logout(Command, frozen=True, kw_only=True):
    """A session ends; with the user's last one, their stays in rooms do."""

    user: str
    session: Position
    rooms_max: int = ROOMS_PER_USER_MAX
    """Rooms left with this command; while there are more, the session stays open."""
    rooms: int = 0
    """How many the user is in, as far as is known: what the logout will take is estimated by it."""


class Join(Command, frozen=True, kw_only=True):
    """A user enters a room, through one of their sessions."""

    user: str
    session: Position
    room: str


class Leave(Command, frozen=True, kw_only=True):
    """A user leaves a room."""

    user: str
    session: Position
    room: str


class TakeFeed(Command, frozen=True, kw_only=True):
    """Take the oldest events of a presence feed."""

    feed: Feed
    limit: int = FEED_TAKE_MAX


class ReserveResult(Command, frozen=True, kw_only=True):
    """Keep what a query found under a handle, to be collected once."""

    handle: str
    ids: tuple[MessageId, ...]
    ttl_ms: int


class CollectResult(Command, frozen=True, kw_only=True):
    """Use a handle up."""

    handle: str


class Ack(Command, frozen=True, kw_only=True):
    """A session handled its frames; a prefix of its user's queue, up to `through`, leaves it."""

    user: str
    session: Position
    through: Position
    confirmed: tuple[MessageId, ...] = ()
    """Unqueued messages among the acknowledged that were sent as awaited."""
    count: int = 0
    """How many entries the session means, as far as it knows: what the ack will take is estimated by it."""


class ExpireQueue(Command, frozen=True, kw_only=True):
    """Account for the entries of one queue that are past their expiry, a bounded number of them."""

    user: str
    limit: int = SWEEP_STEP


class ExpireDedup(Command, frozen=True, kw_only=True):
    """Forget dedup outcomes that are over, a bounded number of them."""

    app: str = ""
    limit: int = SWEEP_STEP


class EndStaleSessions(Command, frozen=True, kw_only=True):
    """Log out sessions of earlier epochs, a bounded number of them."""

    app: str = ""
    limit: int = SWEEP_STEP


class ExpireResults(Command, frozen=True, kw_only=True):
    """Forget reserved results that are over, a bounded number of them."""

    app: str = ""
    limit: int = SWEEP_STEP


class ExpireSilences(Command, frozen=True, kw_only=True):
    """Forget silences whose while is over, a bounded number of them."""

    app: str = ""
    limit: int = SWEEP_STEP


class ExpireGaps(Command, frozen=True, kw_only=True):
    """Forget what some rooms lost, if it is long ago, a bounded number of them."""

    rooms: tuple[str, ...]
    limit: int = SWEEP_STEP


class ExpireHistory(Command, frozen=True, kw_only=True):
    """Forget an app's messages and stays in rooms that are past retention, a bounded number of them."""

    limit: int = SWEEP_STEP
