"""What a row of the views is, for whoever must name it or doubts it: its kind, its fields, its owner."""

import struct
from collections.abc import Callable
from typing import Any, Final

import msgspec

from postroom.core.ids import ExpiryMs, MessageId, Position, UnixMs
from postroom.core.model import Kind, PresenceEvent
from postroom.core.rows import (
    BroadcastRow,
    ChangedRow,
    ConversationRow,
    CopyRow,
    DedupRow,
    Gap,
    Kept,
    ResultRow,
    RoleRow,
    Totals,
    UnreadRow,
    UserRow,
)

from .. import keys
from ..engine import Engine
from ..keys import CLOCK_ROW, PAIR
from ..stream_views import StreamRow

MISFITS: Final = (
    AssertionError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    struct.error,
    msgspec.MsgspecError,
)
"""What code meets that was promised sound rows and got others."""

KINDS: Final = {
    keys.CLOCK: "clock",
    keys.APP: "app",
    keys.USER: "user",
    keys.SESSION: "session",
    keys.EPOCH: "epoch",
    keys.DEDUP: "dedup",
    keys.DEDUP_END: "dedup end",
    keys.AWAITED: "awaited message",
    keys.CHANGED: "changed message",
    keys.CHANGE: "change",
    keys.TIMELINE: "timeline",
    keys.KEPT: "kept message",
    keys.MEMBER: "room member",
    keys.STAY: "stay",
    keys.ENDED: "ended stay",
    keys.GAP: "gap",
    keys.BEGAN: "epoch's beginning",
    keys.FEED: "presence event",
    keys.RESULT: "result",
    keys.RESULT_END: "result end",
    keys.CONVERSATION: "conversation",
    keys.CREATED: "created conversation",
    keys.LISTED: "listed user",
    keys.ON_LIST: "place on a list",
    keys.MEMBER_OF: "user's conversation",
    keys.MESSAGE_COUNT: "running number",
    keys.TERM: "attribute",
    keys.UNIQUE: "group by its members",
    keys.KICKED: "kick",
    keys.LOGIN_DAY: "user's day",
    keys.DAY_USERS: "day's users",
    keys.SILENCE: "silence",
    keys.SILENCE_END: "silence end",
    keys.ROLE: "role",
    keys.BLOCK: "block",
    keys.COPY: "copy",
    keys.COPY_BODY: "body of copies",
    keys.STREAM: "stream entry",
    keys.SUBSCRIPTION: "subscription",
    keys.DELETED: "deleted conversation",
    keys.UNREAD: "unread",
    keys.GUEST: "guest",
    keys.BROADCAST: "broadcast",
    keys.BROADCASTS_FROM: "beginning of broadcasts",
    keys.QUOTA: "quota",
    keys.ALIAS: "alias",
    keys.IMPORTED: "imported conversation",
}
"""The kind of row by its key's first letter."""


def _clock(value: bytes) -> dict[str, object]:
    return dict(zip(("position", "clock_ms", "epoch", "epoch_position"), CLOCK_ROW.unpack(value), strict=True))


def _struct(type: Any) -> Callable[[bytes], dict[str, object]]:
    decoder = msgspec.msgpack.Decoder(type)
    return lambda value: msgspec.structs.asdict(decoder.decode(value))


def _app(value: bytes) -> dict[str, object]:
    app, totals = msgspec.msgpack.decode(value, type=tuple[str, Totals])
    return {"app": app} | msgspec.structs.asdict(totals)


def _names(value: bytes) -> tuple[str, str]:
    return msgspec.msgpack.decode(value, type=tuple[str, str])


def _conversation(value: bytes) -> tuple[Kind, str]:
    return msgspec.msgpack.decode(value, type=tuple[Kind, str])


def _timeline(value: bytes) -> bytes:
    """Flags, and in a conversation's own timeline the sender's digest."""
    if value[:1] not in (b"\0", b"\1", b"\2", b"\3") or len(value) not in (1, 17):
        raise ValueError(value)
    return value


def _stay(value: bytes) -> object:
    """In a room; or as a member of something else."""
    if msgspec.msgpack.decode(value, type=tuple[object, ...])[2:]:
        return msgspec.msgpack.decode(value, type=tuple[str, Kind, Position])
    return msgspec.msgpack.decode(value, type=tuple[str, UnixMs])


def _streamed(value: bytes) -> object:
    """An entry; or, of what is told of as deleted, whose stream it is in."""
    return PAIR.unpack(value) if len(value) == PAIR.size else msgspec.msgpack.decode(value, type=StreamRow)


FIELDS: Final[dict[bytes, Callable[[bytes], dict[str, object]]]] = {
    keys.CLOCK: _clock,
    keys.APP: _app,
    keys.USER: _struct(UserRow),
    keys.DEDUP: _struct(DedupRow),
    keys.CHANGED: _struct(ChangedRow),
    keys.KEPT: _struct(Kept),
    keys.GAP: _struct(Gap),
    keys.FEED: _struct(PresenceEvent),
    keys.RESULT: _struct(ResultRow),
    keys.CONVERSATION: _struct(ConversationRow),
    keys.ROLE: _struct(RoleRow),
    keys.DELETED: _struct(ConversationRow),
    keys.UNREAD: _struct(UnreadRow),
    keys.BROADCAST: _struct(BroadcastRow),
    keys.COPY: _struct(CopyRow),
}
"""The fields of a value by the key's first letter, for rows that have some."""
_FORMS: Final[dict[bytes, Callable[[bytes], object]]] = {
    **FIELDS,
    keys.SESSION: keys.U32.unpack,
    keys.EPOCH: _names,
    keys.AWAITED: _names,
    keys.DEDUP_END: struct.Struct("16s").unpack,
    keys.CHANGE: keys.unpack_change,
    keys.TIMELINE: _timeline,
    keys.MEMBER: msgspec.msgpack.Decoder(tuple[str, UnixMs, MessageId]).decode,
    keys.STAY: _stay,
    keys.ENDED: struct.Struct("").unpack,
    keys.BEGAN: keys.U32.unpack,
    keys.RESULT_END: _names,
    keys.CREATED: bytes.decode,
    keys.LISTED: bytes.decode,
    keys.ON_LIST: keys.LISTED_AT.unpack,
    keys.MEMBER_OF: _conversation,
    keys.MESSAGE_COUNT: keys.U64.unpack,
    keys.TERM: _conversation,
    keys.UNIQUE: bytes.decode,
    keys.KICKED: keys.U64.unpack,
    keys.LOGIN_DAY: keys.U32.unpack,
    keys.DAY_USERS: keys.DAY_ROW.unpack,
    keys.SILENCE: msgspec.msgpack.Decoder(tuple[str, ExpiryMs]).decode,
    keys.SILENCE_END: struct.Struct("").unpack,
    keys.ALIAS: struct.Struct("16s").unpack,
    keys.IMPORTED: keys.U64.unpack,
    keys.BLOCK: msgspec.msgpack.Decoder(tuple[str, str, Kind, str]).decode,
    keys.COPY_BODY: keys.unpack_change,
    keys.STREAM: _streamed,
    keys.SUBSCRIPTION: msgspec.msgpack.Decoder(tuple[Position, str, UnixMs]).decode,
    keys.GUEST: bytes.decode,
    keys.BROADCASTS_FROM: keys.U64.unpack,
    keys.QUOTA: keys.QUOTA_ROW.unpack,
}


def readable(key: bytes, value: bytes) -> bool:
    """Whether a row is of a kind that views have, with a value of its form."""
    form = _FORMS.get(key[:1])
    try:
        return form is not None and form(value) is not None
    except MISFITS:
        return False


def row_name(key: bytes, value: bytes) -> str:
    """A row as a reader would look for it: kind, letter, key, and the names that it carries."""
    letter = key[:1]
    name = f"{KINDS.get(letter, 'unknown')} row '{letter.decode(errors='replace')}' {key[1:].hex() or '-'}"
    try:
        if letter == keys.USER:
            row = msgspec.msgpack.decode(value, type=UserRow)
            return f"{name} (app {row.app!r}, user {row.user!r})"
        if letter == keys.APP:
            return f"{name} (app {_app(value)['app']!r})"
        if letter == keys.EPOCH:
            app, user = _names(value)
            return f"{name} (app {app!r}, user {user!r})"
    except MISFITS:
        return f"{name} (its value cannot be read)"
    return name


def queue_name(engine: Engine, key: bytes) -> str:
    """A queue by its key and, if either state knows them, its app and user."""
    for value in (engine.get("live", keys.USER + key), engine.get("base", keys.USER + key)):
        try:
            if value is not None:
                row = msgspec.msgpack.decode(value, type=UserRow)
                return f"queue {key.hex()} (app {row.app!r}, user {row.user!r})"
        except MISFITS:
            continue
    return f"queue {key.hex()}"


def record_name(app: str, row: ConversationRow) -> str:
    """A conversation, for a person."""
    return f"{row.kind} {row.id!r} of app {app!r}"
