"""Messages and broadcasts: sent, imported, changed."""

from ..commands import (
    ChangeBroadcast,
    ChangeMessage,
    EditBroadcast,
    EditMessage,
    ImportMessage,
    RecallMessage,
    SendBroadcast,
    SendMessage,
)
from ..errors import InvalidCommand
from ..limits import (
    BODY_BYTES_MAX,
    DEDUP_BYTES_MAX,
    MEMBERS_MAX,
    MENTIONS_MAX,
    PUSH_BYTES_MAX,
    RECIPIENTS_MAX,
    WAIT_ACK_MS_MAX,
)
from ..model import KINDS, LANES, Quota
from .fields import check_body, check_name, check_names, check_record, check_time, utf8_length


def check_send(command: SendMessage) -> None:
    """The fields of a message to be sent."""
    check_name("sender", command.sender)
    check_name("to", command.to.id)
    check_name("via", command.via)
    kind = command.to.kind
    if kind not in KINDS:
        raise InvalidCommand(f"to: must be of the kind {', '.join(KINDS)}")
    if command.to.line != 0:
        raise InvalidCommand(f"to: a {kind} conversation has no line but 0 in this version")
    if kind == "room":
        check_to_room(command)
    elif kind != "peer":
        check_to_many(command)
    elif command.sender_copy != "none":
        raise InvalidCommand("sender_copy: only a message to a group or a service has one")
    elif command.recipients:
        raise InvalidCommand("recipients: only a message to a room or a service has them")
    if command.mentions:
        check_names("mentions", command.mentions, MENTIONS_MAX)
    check_push(command.push)
    if command.quota is not None:
        check_quota(command.quota)
    check_body(command.body, command.format)
    if command.lane not in LANES:
        raise InvalidCommand(f"lane: must be one of {', '.join(LANES)}")
    if command.dedup is not None:
        check_dedup(command.dedup)
    if command.wait_ack_ms is not None and not 0 < command.wait_ack_ms <= WAIT_ACK_MS_MAX:
        raise InvalidCommand(f"wait_ack_ms: must be 1 to {WAIT_ACK_MS_MAX}")


def check_to_room(command: SendMessage) -> None:
    """A room queues for nobody, and has no copies for senders."""
    if command.queue:
        raise InvalidCommand("queue: a room never queues")
    if command.wait_ack_ms is not None:
        raise InvalidCommand("wait_ack_ms: a message to a room is not waited for")
    if command.sender_copy != "none":
        raise InvalidCommand("sender_copy: only a message to a group or a service has one")
    if command.recipients and command.history:
        raise InvalidCommand("recipients: a message to some of a room cannot be kept for history")
    check_names("recipients", command.recipients, RECIPIENTS_MAX)


def check_to_many(command: SendMessage) -> None:
    """What is for many shares the body that the history keeps, and nobody waits for one of their acks."""
    kind = command.to.kind
    if command.queue and not command.history:
        raise InvalidCommand(
            f"queue: a message to a {kind} that queues is kept for history, too: its copies share one text"
        )
    if command.wait_ack_ms is not None:
        raise InvalidCommand(f"wait_ack_ms: a message to a {kind} is not waited for")
    if kind == "service" and command.sender_copy != "none" and not command.recipients:
        raise InvalidCommand("sender_copy: who sends to a service's subscribers gets it if they subscribe")
    if command.sender_copy not in ("none", "online"):
        raise InvalidCommand("sender_copy: must be none or online")
    if kind == "group" and command.recipients:
        raise InvalidCommand("recipients: only a message to a room or a service has them")
    check_names("recipients", command.recipients, RECIPIENTS_MAX)


def check_change(command: ChangeMessage | ChangeBroadcast) -> None:
    """The fields of a change of a message."""
    check_name("by", command.by)
    check_quota(command.quota)
    if isinstance(command, ChangeMessage):
        check_names("recipients", command.recipients, RECIPIENTS_MAX)
    if isinstance(command, EditMessage | EditBroadcast):
        check_body(command.body, command.format)
    if isinstance(command, RecallMessage) and command.replacement:
        check_name("via", command.via)
        check_body(command.replacement, command.format)


def check_broadcast(command: SendBroadcast) -> None:
    """The fields of a message to everybody."""
    check_record(command.conversation, ("service",))
    check_name("sender", command.sender)
    check_name("via", command.via)
    check_quota(command.quota)
    check_push(command.push)
    check_body(command.body, command.format)
    check_dedup(command.dedup)


def check_push(push: bytes) -> None:
    """What a push notification should say."""
    if len(push) > PUSH_BYTES_MAX:
        raise InvalidCommand(f"push: {len(push)} bytes are more than the {PUSH_BYTES_MAX} allowed")


def check_dedup(dedup: str | None) -> None:
    """A key that a retry would have again."""
    if dedup is not None and not 1 <= utf8_length("dedup", dedup) <= DEDUP_BYTES_MAX:
        raise InvalidCommand(f"dedup: must be 1 to {DEDUP_BYTES_MAX} bytes")


def check_quota(quota: Quota | None) -> None:
    """A number a day, and its name."""
    if quota is not None:
        check_name("quota", quota.name)
        if quota.per_day < 1:
            raise InvalidCommand("quota: must be at least 1 a day")


def check_import(command: ImportMessage) -> None:
    """A message that was sent elsewhere, before."""
    check_name("conversation", command.conversation.id)
    if command.conversation.line != 0:
        raise InvalidCommand("conversation: has no line but 0 in this version")
    check_name("sender", command.sender)
    check_name("alias", command.alias)
    check_name("via", command.via)
    check_time("at_ms", command.at_ms)
    if command.recipients and command.conversation.kind != "service":
        raise InvalidCommand("recipients: only a message to a service has them")
    check_names("recipients", command.recipients, RECIPIENTS_MAX)
    check_names("mentions", command.mentions, MEMBERS_MAX)
    if command.recalled and command.body:
        raise InvalidCommand("body: of a message that was recalled there is none")
    if command.format != "binary":
        check_body(command.body, command.format)
    elif len(command.body) > BODY_BYTES_MAX:
        raise InvalidCommand(f"body: {len(command.body)} bytes are more than the {BODY_BYTES_MAX} allowed")
