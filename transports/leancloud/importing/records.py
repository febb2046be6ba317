"""Records of an export, and what they say: rows of `_Conversation`, and elements of a history (LeanCloud 4.2, 4.3)."""

import base64
import binascii
from typing import Any, Final, NamedTuple

import msgspec

from postroom.core.commands import ImportConversation
from postroom.core.ids import UnixMs
from postroom.core.limits import MEMBERS_MAX, MUTED_MAX
from postroom.core.model import Conversation, Format, Kind

from ..rows import LIST_KEYS, OWN_KEYS
from ..times import from_iso

TEMPORARY: Final = "_tmp:"
"""What the ids of temporary conversations begin with, which nobody keeps."""
_RECALLED: Final = -127

_row: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_anything: Final = msgspec.json.Decoder(Any).decode


class Unusable(Exception):
    """A record cannot be taken over. `code` counts it among its like."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Where(NamedTuple):
    """A record's place in the export."""

    file: str
    number: int
    """From 1."""


class Message(msgspec.Struct, frozen=True):
    """An element of a history."""

    where: Where
    alias: str
    conversation: str
    """As it is named there: an id, or what stands for two."""
    sender: str
    to: str | None
    at_ms: UnixMs
    body: bytes
    format: Format
    recalled: bool
    mentions: tuple[str, ...]
    mention_all: bool


class _Wire(msgspec.Struct):
    alias: str = msgspec.field(name="msg-id")
    conversation: str = msgspec.field(name="conv-id")
    sender: str = msgspec.field(name="from")
    timestamp: int | str
    data: Any
    to: str | None = None
    bin: bool | None = None
    mentions: tuple[str, ...] | None = msgspec.field(name="mention-pids", default=None)
    mention_all: bool | None = msgspec.field(name="mention-all", default=None)


_wire: Final = msgspec.json.Decoder(_Wire).decode


def message(record: bytes, where: Where) -> Message:
    """An element of a history. Raises Unusable."""
    try:
        wire = _wire(record)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unusable("malformed", f"no message: {error}") from None
    if wire.conversation.startswith(TEMPORARY):
        raise Unusable("temporary", "of a temporary conversation")
    body, format, recalled = _body(wire)
    return Message(
        where=where,
        alias=wire.alias,
        conversation=wire.conversation,
        sender=wire.sender,
        to=wire.to,
        at_ms=_number(wire.timestamp),
        body=body,
        format=format,
        recalled=recalled,
        mentions=wire.mentions or (),
        mention_all=bool(wire.mention_all),
    )


def _number(timestamp: int | str) -> UnixMs:
    if isinstance(timestamp, str):
        if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) < 19):
            raise Unusable("malformed", "timestamp: must be a whole number of milliseconds")
        timestamp = int(timestamp)
    return UnixMs(timestamp)


def _body(wire: _Wire) -> tuple[bytes, Format, bool]:
    """What the message says, and whether it was recalled. People who sent an object got one back; it is kept as its JSON."""
    data = wire.data
    if isinstance(data, dict | list):
        data = msgspec.json.encode(data).decode()
    if not isinstance(data, str):
        raise Unusable("malformed", "data: must be a text")
    if wire.bin:
        try:
            return base64.b64decode(data, validate=True), "binary", False
        except (binascii.Error, ValueError):
            raise Unusable("malformed", "data: of a binary message, must be base64") from None
    if _is_recalled(data):
        return b"", "text", True
    return data.encode(), "text", False


def _is_recalled(data: str) -> bool:
    """Whether it is what clients take for a recalled message."""
    if str(_RECALLED) not in data or "_lctype" not in data:
        return False
    try:
        value = _anything(data)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return isinstance(value, dict) and value.get("_lctype") == _RECALLED


def conversation(record: bytes, app: str) -> ImportConversation:
    """A row of `_Conversation`. Raises Unusable.

    Members beyond what a group may have are passed over, as the service passed over them.
    """
    try:
        row = _row(record)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unusable("malformed", f"no conversation: {error}") from None
    id = _value(row, "objectId")
    if not isinstance(id, str):
        raise Unusable("malformed", "objectId: must be a text")
    if id.startswith(TEMPORARY):
        raise Unusable("temporary", "a temporary conversation")
    kind: Kind = "service" if _value(row, "sys") is True else "room" if _value(row, "tr") is True else "group"
    grouped = kind == "group"
    created_ms = _time(row, "createdAt")
    updated_ms = _time(row, "updatedAt") if "updatedAt" in row else created_ms
    attributes = {key: value for key, value in row.items() if key not in OWN_KEYS | LIST_KEYS}
    return ImportConversation(
        app=app,
        conversation=Conversation(kind, id),
        created_ms=created_ms,
        updated_ms=UnixMs(max(created_ms, updated_ms)),
        attributes=msgspec.json.encode(attributes),
        members=_users(row, "m", MEMBERS_MAX) if grouped else (),
        muted=_users(row, "mu", MUTED_MAX) if grouped else (),
        unique=grouped and _value(row, "unique") is True,
    )


def _value(row: dict[str, msgspec.Raw], key: str) -> Any:
    """What a field is; None if it is not there."""
    raw = row.get(key)
    return None if raw is None else _anything(raw)


def _time(row: dict[str, msgspec.Raw], key: str) -> UnixMs:
    """A time, plain or as a value of its own."""
    value = _value(row, key)
    if isinstance(value, dict):
        value = value.get("iso")
    at_ms = from_iso(value) if isinstance(value, str) else value
    if isinstance(at_ms, bool) or not isinstance(at_ms, int):
        raise Unusable("malformed", f"{key}: must be a time")
    return UnixMs(at_ms)


def _users(row: dict[str, msgspec.Raw], key: str, most: int) -> tuple[str, ...]:
    value = _value(row, key)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise Unusable("malformed", f"{key}: must be an array of texts")
    return tuple(dict.fromkeys(value))[:most]
