"""What a broker speaks of: conversations, lanes, formats, the rules of an app, and what callers get back."""

from typing import Final, Literal

import msgspec

from .expiry import DAY_MS
from .ids import ExpiryMs, MessageId, Position, UnixMs

Kind = Literal["peer", "group", "room", "service"]
Lane = Literal["high", "normal", "low"]
Format = Literal["text", "json", "binary"]
"""What a body is. Only messages that were imported are ever binary."""
Overflow = Literal["oldest", "refuse"]
Confirmation = Literal["delivered", "offline", "timeout"]
Feed = Literal["users", "rooms"]
UserList = Literal["members", "muted", "silenced", "banned"]
"""The lists of users that a conversation has; the first two only a group."""
Role = Literal["owner", "manager", "member"]
PresenceType = Literal["login", "logout", "join", "leave"]
SenderCopy = Literal["none", "online"]
"""What a group's message does for its own sender: nothing, or goes to their sessions open now, never to their queue."""

LANES: Final[tuple[Lane, ...]] = ("high", "normal", "low")
"""Highest first."""
KINDS: Final[tuple[Kind, ...]] = ("peer", "group", "room", "service")
ROLES: Final[tuple[Role, ...]] = ("owner", "manager", "member")


FEEDS: Final[tuple[Feed, ...]] = ("users", "rooms")


class Conversation(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a message belongs. A peer conversation is named by its other side; `line` is one of its timelines."""

    kind: Kind
    id: str
    line: int = 0


def peer(user: str) -> Conversation:
    """The conversation of two users, named by the other one."""
    return Conversation("peer", user)


def group(name: str) -> Conversation:
    """A conversation with a durable list of members."""
    return Conversation("group", name)


def room(name: str) -> Conversation:
    """A conversation of whoever is in it now; it never queues."""
    return Conversation("room", name)


def service(name: str) -> Conversation:
    """A conversation of one service with its subscribers."""
    return Conversation("service", name)


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What an app's settings say to `decide`. What they decided rides in the event: a log replays the same after a change."""

    queue_messages: int = 200
    """Entries a recipient's queue holds."""
    queue_ttl_ms: int = 7 * DAY_MS
    """How long an entry waits, by the expiry clock."""
    overflow: Overflow = "oldest"
    """What a full queue does: drop its oldest entry, or refuse the newest."""
    history_ttl_ms: int | None = 180 * DAY_MS
    """How long a message kept for queries stays, by the expiry clock; None is for ever. A copy that
    still waits in a queue keeps its text."""
    day_offset_ms: int = 0
    """How far the app's days begin before those of UTC: east of Greenwich it is positive."""

    def history_horizon(self, clock: ExpiryMs) -> UnixMs:
        """Messages of this time and before are over."""
        return UnixMs(-1 if self.history_ttl_ms is None else clock - self.history_ttl_ms)

    def day(self, at_ms: UnixMs) -> int:
        """The day on which something happened, counted from 1970-01-01, which is 0."""
        return max(0, (at_ms + self.day_offset_ms) // DAY_MS)


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """A number of commands a day that an app has, counted under a name; what is refused or was done before counts nothing."""

    name: str
    """1 to 256 bytes. Commands of the same name share it."""
    per_day: int
    """At least 1. The day is the app's (`Rules.day`); the number is looked at with each command, and kept nowhere."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a command was answered with, once it is on disk."""

    id: MessageId
    """The message's id; of a change, the id of the message that was changed."""
    at_ms: UnixMs
    """The wall time the broker gave it; it never runs back within an app."""
    duplicate: bool = False
    """Nothing was written: this repeats an earlier outcome (the same `dedup` key, or a recall of what was recalled)."""
    confirmation: Confirmation | None = None
    """How a wait for the recipient's ack ended; None if none was asked for."""
    conversation: Conversation | None = None
    """Of a command about a conversation: which one it came to; with `unique` maybe another than was asked for. `id` is
    then that of the event, and `at_ms` when the record was created or changed (of a group that existed: when it was
    created); with `duplicate` there was nothing to do."""


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """What a join was answered with, once it is on disk."""

    through: Position
    """Messages of the room after this event come as they are sent."""
    recovered: bool | None = None
    """With `since`: whether nothing that was sent to the room after it is missing from what is replayed."""


class Message(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A message as the history shows it: with its current text. One that was deleted or recalled is not shown."""

    id: MessageId
    conversation: Conversation
    """As its sender named it: a peer conversation by the recipient."""
    sender: str
    body: bytes
    format: Format
    at_ms: UnixMs
    lane: Lane
    via: str
    recalled: bool = False
    """Its text was taken back; shown only to who asks for such, with an empty body."""
    replacement: bytes = b""
    """Of a recalled message: what the recall brought to be shown instead, in `format`, by the dialect it came through alone."""
    replaced_via: str = ""
    """Which dialect that is; empty if nothing was brought. Then `format` is that of the text that was."""
    mentions: tuple[str, ...] = ()
    """Users it is meant for in particular."""
    mention_all: bool = False
    valid_until_ms: UnixMs | None = None
    """Of a broadcast: until when it is delivered, by the wall clock; None: until it is deleted."""
    alias: str | None = None
    """Of a message that was imported: what it is called where it came from."""
    recipients: tuple[str, ...] = ()
    """Of a message to some users of a service: who they are."""


class ConversationInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a conversation that was created, or of a room that somebody used."""

    conversation: Conversation
    created_ms: UnixMs
    updated_ms: UnixMs
    """When attributes, members or mutes last changed."""
    attributes: bytes
    """A JSON object."""
    members: tuple[str, ...]
    """Of a group, in the order in which they first joined; who subscribes to a service is asked for page by page."""
    member_count: int
    """How many members a group has, or a service subscribers."""
    muted: tuple[str, ...]
    """Users who want no push notifications from it, in that order."""
    unique: bool
    """It was created as the one group of exactly its members."""
    last_message_ms: UnixMs | None
    """When the newest message that is kept was sent to it; None if none is."""


class Subscription(msgspec.Struct, frozen=True, array_like=True):
    """A user of a service."""

    conversation: Conversation
    user: str
    since_ms: UnixMs
    """When they subscribed."""


class UserCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many users an app has, by two measures."""

    online: int
    """With a session open now."""
    today: int
    """Who logged in today, each counted once; who was online all the time since yesterday is not among them."""


class PresenceEvent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Somebody came or went."""

    type: PresenceType
    at_ms: UnixMs
    user: str
    room: str = ""
    """Of `join` and `leave`."""


class StoreStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A store's size."""

    file_bytes: int
    used_bytes: int
    """Up to the last page ever used; the rest of the file is room kept ahead."""
    reserve_bytes: int
    """Of that room, what is kept for acks and the like when the disk is full."""
    log_records: int


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A page of users who are on a list, in the order in which they came onto it."""

    users: tuple[str, ...]
    next: str | None
    """Where to go on; None if that was all."""


class RoleInfo(msgspec.Struct, frozen=True, array_like=True):
    """What somebody is in a conversation."""

    user: str
    role: Role


class Blocked(msgspec.Struct, frozen=True, kw_only=True):
    """A page of conversations that a user does not want to be put into, in the order of their creation."""

    conversations: tuple[Conversation, ...]
    next: str | None
    """Where to go on; None if that was all."""
