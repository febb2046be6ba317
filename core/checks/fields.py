"""Fields that many commands and queries have: names, texts, JSON, times."""

import msgspec

from ..commands import Operation
from ..errors import ConversationFull, InvalidCommand
from ..ids import UnixMs
from ..limits import BODY_BYTES_MAX, JSON_DEPTH_MAX, MEMBERS_MAX, MUTED_MAX, NAME_BYTES_MAX
from ..model import Conversation, Format
from ..ports import LAST_PLACE


def check_time(field: str, time_ms: UnixMs) -> None:
    """A time that can be written down."""
    if not 0 <= time_ms <= LAST_PLACE.at_ms:
        raise InvalidCommand(f"{field}: must not be negative, or beyond all time")


def check_record(conversation: Conversation, kinds: tuple[str, ...]) -> None:
    """A conversation that may have a record."""
    if conversation.kind not in kinds:
        raise InvalidCommand(f"conversation: must be of the kind {' or '.join(kinds)}")
    if conversation.line != 0:
        raise InvalidCommand("conversation: a record has no lines")
    check_name("conversation", conversation.id)


def check_members(users: tuple[str, ...]) -> None:
    """Who is to be in a group. Raises ConversationFull if they are too many by themselves."""
    _check_users(users, MEMBERS_MAX, f"a group has at most {MEMBERS_MAX} members")


def check_muted(users: tuple[str, ...]) -> None:
    """Who is to want no push notifications from a group. Raises ConversationFull if they are too many by themselves."""
    _check_users(users, MUTED_MAX, f"a group is muted by at most {MUTED_MAX} users")


def _check_users(users: tuple[str, ...], most: int, full: str) -> None:
    if len(set(users)) > most:
        raise ConversationFull(full)
    for user in users:
        check_name("users", user)


def check_operation(operation: Operation) -> None:
    """What can be said of an operation without the attribute it works on."""
    check_key(operation.key)
    if operation.op == "unset":
        return
    value = decoded_json(operation.key, operation.value)
    match operation.op:
        case "set":
            return
        case "increment":
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InvalidCommand(f"{operation.key}: increment takes a number")
        case "add" | "add_unique" | "remove":
            if not isinstance(value, list):
                raise InvalidCommand(f"{operation.key}: {operation.op} takes an array")
        case _:
            raise InvalidCommand(f"{operation.key}: no operation {operation.op!r}")


def check_key(key: str) -> None:
    """The name of an attribute."""
    if not 1 <= utf8_length("attributes", key) <= NAME_BYTES_MAX or any(
        ord(char) < 32 or char == "\x7f" for char in key
    ):
        raise InvalidCommand(f"attributes: a key is 1 to {NAME_BYTES_MAX} bytes without control characters")


def check_object(field: str, json: bytes) -> None:
    """A JSON object whose keys may be attributes."""
    value = decoded_json(field, json)
    if not isinstance(value, dict):
        raise InvalidCommand(f"{field}: must be a JSON object")
    for key in value:
        check_key(key)


def check_names(field: str, names: tuple[str, ...], most: int) -> None:
    """So many names at most."""
    if len(names) > most:
        raise InvalidCommand(f"{field}: at most {most}")
    for name in names:
        check_name(field, name)


def check_name(field: str, name: str) -> None:
    """A user, app or conversation name: 1 to 256 bytes of UTF-8."""
    if 0 < len(name) <= NAME_BYTES_MAX and name.isascii():  # nearly all are, and every message has several
        return
    if not 1 <= utf8_length(field, name) <= NAME_BYTES_MAX:
        raise InvalidCommand(f"{field}: must be 1 to {NAME_BYTES_MAX} bytes")


def check_body(body: bytes, format: Format) -> None:
    """At most 256 KiB, what its format says it is, and of JSON no deeper than receivers can read."""
    if len(body) > BODY_BYTES_MAX:
        raise InvalidCommand(f"body: {len(body)} bytes are more than the {BODY_BYTES_MAX} allowed")
    try:
        if format == "text":
            body.decode()
        elif format == "json":
            decoded_json("body", body)
        else:
            raise InvalidCommand("format: must be text or json")
    except UnicodeDecodeError as error:
        raise InvalidCommand(f"body: not {format}") from error


def decoded_json(field: str, json: bytes) -> object:
    """One JSON value, no deeper than receivers can read."""
    if len(json) > BODY_BYTES_MAX:
        raise InvalidCommand(f"{field}: {len(json)} bytes are more than the {BODY_BYTES_MAX} allowed")
    try:
        value: object = msgspec.json.decode(json)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise InvalidCommand(f"{field}: not json") from error
    _check_depth(field, value, JSON_DEPTH_MAX)
    return value


def _check_depth(field: str, value: object, left: int) -> None:
    if isinstance(value, dict | list):
        if not left:
            raise InvalidCommand(f"{field}: nested more than {JSON_DEPTH_MAX} deep")
        for inner in value.values() if isinstance(value, dict) else value:
            _check_depth(field, inner, left - 1)


def utf8_length(field: str, text: str) -> int:
    """Bytes of the text in UTF-8. Raises InvalidCommand if it has none (a lone surrogate)."""
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidCommand(f"{field}: not valid text") from error
