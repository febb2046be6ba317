"""Keys and values of the views, one letter a kind of row. FORMAT.md draws them."""

from functools import lru_cache
from hashlib import blake2b
from struct import Struct
from typing import Final

from postroom.core.ids import Position
from postroom.core.model import Conversation
from postroom.core.rows import Entry

U32: Final = Struct(">I")
U64: Final = Struct(">Q")
PAIR: Final = Struct(">QQ")
ENTRY: Final = Struct(">QII")
CLOCK_ROW: Final = Struct(">QQI")
"""Position, expiry clock, epoch."""
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
def app_key(app: str) -> bytes:
    """The key of an app's totals."""
    return APP + digest(app)


def timeline_key(app: str, conversation: Conversation, sender: str, at_ms: int, id: int) -> bytes:
    """A place in a timeline. The timeline of two users is the same from either side."""
    names = sorted((conversation.id, sender)) if conversation.kind == "peer" else [conversation.id]
    line = digest(app, conversation.kind, str(conversation.line), *names)
    return TIMELINE + line + PAIR.pack(at_ms, id)


def pack_entry(entry: Entry) -> bytes:
    """Position, seq, expiry with the body's ownership in its top bit: sorted by position."""
    expiry = entry.expires_s | _OWNS_BODY if entry.owns_body else entry.expires_s
    return ENTRY.pack(entry.position, entry.seq, expiry)


def unpack_entry(value: bytes) -> Entry:
    """The entry that `pack_entry` wrote."""
    position, seq, expiry = ENTRY.unpack(value)
    return Entry(Position(position), seq, expiry & ~_OWNS_BODY, expiry >= _OWNS_BODY)
