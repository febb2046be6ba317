"""What a command must look like before the writer sees it."""

import msgspec

from .commands import Command, EditMessage, Join, Leave, SendMessage
from .errors import InvalidCommand
from .limits import (
    BODY_BYTES_MAX,
    DEDUP_BYTES_MAX,
    JSON_DEPTH_MAX,
    NAME_BYTES_MAX,
    RECIPIENTS_MAX,
    WAIT_ACK_MS_MAX,
)
from .model import LANES, Format


def check(command: Command) -> None:
    """Raises InvalidCommand naming the first field that is not as `core.commands` says."""
    match command:
        case SendMessage():
            check_send(command)
        case EditMessage():
            check_name("by", command.by)
            check_body(command.body, command.format)
        case Join() | Leave():
            check_name("room", command.room)
        case _:
            by = getattr(command, "by", None)
            if by is not None:
                check_name("by", by)


def check_send(command: SendMessage) -> None:
    """The fields of a message to be sent."""
    check_name("sender", command.sender)
    check_name("to", command.to.id)
    check_name("via", command.via)
    if command.to.kind not in ("peer", "room"):
        raise InvalidCommand(f"to: {command.to.kind} conversations are not served by this version")
    if command.to.line != 0:
        raise InvalidCommand(f"to: a {command.to.kind} conversation has no line but 0 in this version")
    check_recipients(command)
    check_body(command.body, command.format)
    if command.lane not in LANES:
        raise InvalidCommand(f"lane: must be one of {', '.join(LANES)}")
    if command.dedup is not None and not 1 <= utf8_length("dedup", command.dedup) <= DEDUP_BYTES_MAX:
        raise InvalidCommand(f"dedup: must be 1 to {DEDUP_BYTES_MAX} bytes")
    if command.wait_ack_ms is not None and not 0 < command.wait_ack_ms <= WAIT_ACK_MS_MAX:
        raise InvalidCommand(f"wait_ack_ms: must be 1 to {WAIT_ACK_MS_MAX}")


def check_recipients(command: SendMessage) -> None:
    """What only one kind of conversation has: a room queues for nobody, a peer message has its one recipient."""
    if command.to.kind == "room":
        if command.queue:
            raise InvalidCommand("queue: a room never queues")
        if command.wait_ack_ms is not None:
            raise InvalidCommand("wait_ack_ms: a message to a room is not waited for")
    elif command.recipients:
        raise InvalidCommand("recipients: only a message to a room has them")
    if command.recipients and command.history:
        raise InvalidCommand("recipients: a message to some of a room cannot be kept for history")
    if len(command.recipients) > RECIPIENTS_MAX:
        raise InvalidCommand(f"recipients: at most {RECIPIENTS_MAX}")
    for recipient in command.recipients:
        check_name("recipients", recipient)


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
            _check_depth(msgspec.json.decode(body), JSON_DEPTH_MAX)
        else:
            raise InvalidCommand("format: must be text or json")
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise InvalidCommand(f"body: not {format}") from error


def _check_depth(value: object, left: int) -> None:
    if isinstance(value, dict | list):
        if not left:
            raise InvalidCommand(f"body: nested more than {JSON_DEPTH_MAX} deep")
        for inner in value.values() if isinstance(value, dict) else value:
            _check_depth(inner, left - 1)


def utf8_length(field: str, text: str) -> int:
    """Bytes of the text in UTF-8. Raises InvalidCommand if it has none (a lone surrogate)."""
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidCommand(f"{field}: not valid text") from error
