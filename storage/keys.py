"""Keys and values of the views, one letter a kind of row. FORMAT.md draws them."""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from struct import Struct
from typing import Final

from postroom.core.ids import MessageId, Place, Position, UnixMs
from postroom.core.model import Conversation, Feed, Kind, UserList
from postroom.core.rows import Entry, Kept, Stay

U32: Final = Struct(">I")
U64: Final = Struct(">Q")
PAIR: Final = Struct(">QQ")
ENTRY: Final = Struct(">QII")
CLOCK_ROW: Final = Struct(">QQIQ")
"""Position, expiry clock, epoch, where the epoch began."""
STAY_ENDS: Final = Struct(">QQQ")
"""Of a stay: the place where it ended, and the position where it began."""
DAY_ROW: Final = Struct(">IQ")
"""A day, and how many users logged in on it."""
QUOTA_ROW: Final = Struct(">IQ")
"""A day, and how much of a quota was used on it."""
SHARED_CHANGE: Final = Struct(">QI")
LISTED_AT: Final = Struct(">QI")
"""Where somebody stands on a list: the position of the event that put them there, and their index in it."""
ENTRY_MIN: Final = ENTRY.pack(0, 0, 0)
"""Where to begin in a queue."""
_OWNS_BODY: Final = 1 << 31

CLOCK: Final = b"c"
APP: Final = b"a"
USER: Final = b"u"
SESSION: Final = b"s"
EPOCH: Final = b"e"
DEDUP: Final = b"d"
DEDUP_END: Final = b"x"
AWAITED: Final = b"w"
CHANGED: Final = b"m"
CHANGE: Final = b"k"
TIMELINE: Final = b"t"
KEPT: Final = b"h"
MEMBER: Final = b"r"
STAY: Final = b"i"
ENDED: Final = b"j"
GAP: Final = b"g"
BEGAN: Final = b"p"
FEED: Final = b"f"
RESULT: Final = b"q"
RESULT_END: Final = b"z"
CONVERSATION: Final = b"o"
CREATED: Final = b"n"
LISTED: Final = b"b"
ON_LIST: Final = b"l"
MEMBER_OF: Final = b"v"
MESSAGE_COUNT: Final = b"N"
TERM: Final = b"y"
UNIQUE: Final = b"U"
KICKED: Final = b"K"
LOGIN_DAY: Final = b"D"
DAY_USERS: Final = b"A"
SILENCE: Final = b"S"
SILENCE_END: Final = b"E"
ROLE: Final = b"R"
BLOCK: Final = b"B"
COPY: Final = b"C"
COPY_BODY: Final = b"O"
STREAM: Final = b"T"
SUBSCRIPTION: Final = b"P"
DELETED: Final = b"X"
UNREAD: Final = b"V"
GUEST: Final = b"W"
BROADCAST: Final = b"G"
BROADCASTS_FROM: Final = b"L"
QUOTA: Final = b"Q"
ALIAS: Final = b"M"
IMPORTED: Final = b"I"

ANYBODY: Final = bytes(16)
"""In the place of a sender's digest: whoever it was."""
FEEDS: Final[dict[Feed, bytes]] = {"users": b"u", "rooms": b"r"}
KINDS: Final[dict[Kind, bytes]] = {"peer": b"p", "group": b"g", "room": b"r", "service": b"s"}
LISTS: Final[dict[UserList, bytes]] = {"members": b"m", "muted": b"q", "silenced": b"s", "banned": b"x"}
OPEN: Final = Place(UnixMs((1 << 64) - 1), MessageId((1 << 64) - 1))
"""Where a stay ends that has not ended: behind all others."""


def digest(*names: str) -> bytes:
    """16 bytes for a name of several parts: names in full could pass LMDB's 511-byte keys."""
    state = blake2b(digest_size=16)
    for name in names:
        part = name.encode()
        state.update(U32.pack(len(part)))
        state.update(part)
    return state.digest()


@lru_cache(maxsize=65_536)
def user_key(app: str, user: str) -> bytes:
    """The digest of a user, as many keys need it; kept, since senders and recipients come back."""
    return digest(app, user)


@lru_cache(maxsize=1_024)
def app_digest(app: str) -> bytes:
    """What the keys of an app's own rows begin with."""
    return digest(app)


def app_key(app: str) -> bytes:
    """The key of an app's totals."""
    return APP + app_digest(app)


@lru_cache(maxsize=65_536)
def to_key(app: str, conversation: Conversation) -> bytes:
    """What the keys of a conversation's timelines begin with; a peer conversation is named by the recipient."""
    return TIMELINE + digest(app, "to", conversation.kind, str(conversation.line), conversation.id)


@lru_cache(maxsize=65_536)
def from_key(app: str, sender: str) -> bytes:
    """What the keys of all that a user sent begin with."""
    return TIMELINE + digest(app, "from", sender) + ANYBODY


@lru_cache(maxsize=65_536)
def for_key(app: str, conversation: Conversation) -> bytes:
    """What the keys of all that a service sent to users by name begin with; theirs follows."""
    return TIMELINE + digest(app, "for", conversation.kind, str(conversation.line), conversation.id)


def timeline_keys(app: str, kept: Kept) -> tuple[bytes, ...]:
    """Where a message is listed, but for its place: to its conversation; to it from its sender; from its sender. One to users
    by name: from its sender; and for each of them."""
    if kept.named:
        to = for_key(app, kept.conversation)
        return from_key(app, kept.sender), *(to + user_key(app, user) for user in kept.recipients)
    to = to_key(app, kept.conversation)
    return to + ANYBODY, to + user_key(app, kept.sender), from_key(app, kept.sender)


def copy_key(app: str, user: str, id: int) -> bytes:
    """What a recipient sees of a message."""
    return COPY + U64.pack(id) + user_key(app, user)


@lru_cache(maxsize=65_536)
def room_key(app: str, room: str) -> bytes:
    """What the keys of a room's members begin with."""
    return MEMBER + digest(app, room)


@lru_cache(maxsize=65_536)
def conversation_key(app: str, kind: Kind, name: str) -> bytes:
    """The key of a conversation's record."""
    return CONVERSATION + digest(app, kind, name)


def created_key(app: str, kind: Kind, number: Position) -> bytes:
    """Its place in the order of creation."""
    return CREATED + app_digest(app) + KINDS[kind] + U64.pack(number)


def deleted_key(app: str, kind: Kind, name: str) -> bytes:
    """Where it is said that a conversation was deleted and is not swept."""
    return DELETED + app_digest(app) + digest(app, kind, name)


def list_key(app: str, number: Position, users: UserList, user: str) -> bytes:
    """Where it is said whether, and in which place, a user is on a list of the conversation with this number."""
    return ON_LIST + U64.pack(number) + LISTS[users] + user_key(app, user)


def silence_key(app: str, number: Position, user: str) -> bytes:
    """Until when a user is silenced for a while."""
    return SILENCE + U64.pack(number) + user_key(app, user)


def role_key(app: str, number: Position, user: str) -> bytes:
    """What a user is."""
    return ROLE + U64.pack(number) + user_key(app, user)


def unread_key(app: str, user: str, number: Position) -> bytes:
    """What a user has read of the conversation with this number."""
    return UNREAD + user_key(app, user) + U64.pack(number)


def guest_key(app: str, user: str, number: Position) -> bytes:
    """That something is noted there of a user who is no member of it."""
    return GUEST + U64.pack(number) + user_key(app, user)


def unique_key(app: str, members: Sequence[str]) -> bytes:
    """What the keys of all groups that are the one of these members, who are sorted, begin with."""
    return UNIQUE + digest(app, *members)


def term_key(app: str, key: str, value: str) -> bytes:
    """What the keys of all conversations with this value of an attribute begin with."""
    return TERM + app_digest(app) + digest(key, value)


def alias_key(app: str, alias: str) -> bytes:
    """Where an imported message is known by the name it had elsewhere."""
    return ALIAS + digest(app, alias)


def outlived_key(app: str) -> bytes:
    """What the keys of an app's aliases whose messages are deleted begin with; they are longer than the others."""
    return ALIAS + app_digest(app)


def imported_key(app: str, name: str) -> bytes:
    """Where it is said that a conversation was imported."""
    return IMPORTED + digest(app, name)


def login_day_key(app: str, user: str) -> bytes:
    """Where the last day of a user lies; all of an app lie together."""
    return LOGIN_DAY + app_digest(app) + user_key(app, user)


def broadcast_key(app: str, id: MessageId) -> bytes:
    """A broadcast; all of an app lie together, in the order in which they were sent."""
    return BROADCAST + app_digest(app) + U64.pack(id)


def stay_key(user: bytes, stay: Stay) -> bytes:
    """A stay, in the order in which the user's stays ended."""
    until = stay.until or OPEN
    return STAY + user + STAY_ENDS.pack(*until, stay.since.id)


@lru_cache(maxsize=65_536)
def member_key(app: str, user: str) -> bytes:
    """Where a user's memberships that ended are kept among the stays, apart from those in rooms."""
    return digest(app, user, "member")


def notice_prefix(app: str) -> bytes:
    """What is told of as deleted in an app's streams, in that order; no conversation has the number 0."""
    return STREAM + U64.pack(0) + app_digest(app)


def pack_change(id: int, copies: int) -> bytes:
    """The message a change is about, and in how many queues the change lies, unless it is one."""
    return U64.pack(id) if copies == 1 else SHARED_CHANGE.pack(id, copies)


def unpack_change(value: bytes) -> tuple[int, int]:
    """What `pack_change` wrote."""
    if len(value) == U64.size:
        return U64.unpack(value)[0], 1
    id, copies = SHARED_CHANGE.unpack(value)
    return id, copies


def pack_entry(entry: Entry) -> bytes:
    """Position, seq, expiry with the body's ownership in its top bit: sorted by position."""
    expiry = entry.expires_s | _OWNS_BODY if entry.owns_body else entry.expires_s
    return ENTRY.pack(entry.position, entry.seq, expiry)


def unpack_entry(value: bytes) -> Entry:
    """The entry that `pack_entry` wrote."""
    position, seq, expiry = ENTRY.unpack(value)
    return Entry(Position(position), seq, expiry & ~_OWNS_BODY, expiry >= _OWNS_BODY)


def last_place(key: bytes) -> Place:
    """The place that a key ends with."""
    at_ms, id = PAIR.unpack_from(key, len(key) - PAIR.size)
    return Place(UnixMs(at_ms), MessageId(id))
