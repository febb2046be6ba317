"""What a command must look like before the writer sees it."""

import msgspec

from .commands import (
    AddMembers,
    BanUsers,
    ChangeMessage,
    Command,
    ConversationCommand,
    CreateConversation,
    DeleteConversation,
    EditMessage,
    Join,
    Kick,
    Leave,
    MembersCommand,
    Operation,
    RecallMessage,
    RemoveMembers,
    RemoveRole,
    SendMessage,
    SetRole,
    SilenceUsers,
    UnsilenceUsers,
    UpdateConversation,
    UserCommand,
    UsersCommand,
)
from .errors import BansFull, ConversationFull, InvalidCommand, SilencesFull
from .limits import (
    BODY_BYTES_MAX,
    DEDUP_BYTES_MAX,
    JSON_DEPTH_MAX,
    KICK_REASON_CHARACTERS_MAX,
    LISTED_MAX,
    MEMBERS_MAX,
    MENTIONS_MAX,
    NAME_BYTES_MAX,
    OPERATIONS_MAX,
    PUSH_BYTES_MAX,
    RECIPIENTS_MAX,
    SILENCE_MS_MAX,
    SILENCE_MS_MIN,
    WAIT_ACK_MS_MAX,
)
from .model import KINDS, LANES, ROLES, Conversation, Format, Kind


def check(command: Command) -> None:
    """Raises InvalidCommand naming the first field that is not as `core.commands` says."""
    match command:
        case SendMessage():
            check_send(command)
        case ChangeMessage():
            check_change(command)
        case ConversationCommand():
            check_conversation(command)
        case Join() | Leave():
            check_name("room", command.room)
        case Kick():
            check_name("user", command.user)
            utf8_length("reason", command.reason)
            if len(command.reason) > KICK_REASON_CHARACTERS_MAX:
                raise InvalidCommand(f"reason: at most {KICK_REASON_CHARACTERS_MAX} characters")
        case _:
            by = getattr(command, "by", None)
            if by is not None:
                check_name("by", by)


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
    if len(command.push) > PUSH_BYTES_MAX:
        raise InvalidCommand(f"push: {len(command.push)} bytes are more than the {PUSH_BYTES_MAX} allowed")
    check_body(command.body, command.format)
    if command.lane not in LANES:
        raise InvalidCommand(f"lane: must be one of {', '.join(LANES)}")
    if command.dedup is not None and not 1 <= utf8_length("dedup", command.dedup) <= DEDUP_BYTES_MAX:
        raise InvalidCommand(f"dedup: must be 1 to {DEDUP_BYTES_MAX} bytes")
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


def check_change(command: ChangeMessage) -> None:
    """The fields of a change of a message."""
    check_name("by", command.by)
    check_names("recipients", command.recipients, RECIPIENTS_MAX)
    if isinstance(command, EditMessage):
        check_body(command.body, command.format)
    if isinstance(command, RecallMessage) and command.replacement:
        check_name("via", command.via)
        check_body(command.replacement, command.format)


def check_conversation(command: ConversationCommand) -> None:
    """The fields of what is about a conversation's record."""
    check_record(command.conversation, ("group", "room", "service"))
    match command:
        case CreateConversation():
            check_object("attributes", command.attributes)
            if command.conversation.kind != "group" and (command.members or command.unique):
                raise InvalidCommand("members, unique: only a group has them")
            check_members(command.members)
        case UpdateConversation():
            if len(command.operations) > OPERATIONS_MAX:
                raise InvalidCommand(f"operations: at most {OPERATIONS_MAX}")
            for operation in command.operations:
                check_operation(operation)
        case DeleteConversation():
            check_name("by", command.by)
        case AddMembers() if command.conversation.kind == "group":
            check_record(command.conversation, ("group",))
            check_members(command.users)
        case UsersCommand() | UserCommand():
            check_about_users(command)


def check_about_users(command: UsersCommand | UserCommand) -> None:
    """Whom it is about, and in what kind of conversation: a service has subscribers and bans, a room silences and roles, and a
    group all of them."""
    match command:
        case AddMembers() | RemoveMembers():
            kinds: tuple[Kind, ...] = ("group", "service")
        case MembersCommand():
            kinds = ("group",)
        case SilenceUsers() | UnsilenceUsers() | SetRole() | RemoveRole():
            kinds = ("group", "room")
        case _:
            kinds = ("group", "room", "service")
    check_record(command.conversation, kinds)
    if isinstance(command, UserCommand):
        check_name("user", command.user)
    else:
        if command.conversation.kind == "group" and len(set(command.users)) > LISTED_MAX["group"]:
            check_fullness(command)
        check_names("users", tuple(dict.fromkeys(command.users)), MEMBERS_MAX)
    if isinstance(command, SetRole) and command.role not in ROLES:
        raise InvalidCommand(f"role: must be one of {', '.join(ROLES)}")
    ttl_ms = command.ttl_ms if isinstance(command, SilenceUsers) else None
    if ttl_ms is not None and not SILENCE_MS_MIN <= ttl_ms <= SILENCE_MS_MAX:
        raise InvalidCommand(f"ttl_ms: must be {SILENCE_MS_MIN} to {SILENCE_MS_MAX}")


def check_fullness(command: UsersCommand) -> None:
    """Of so many users that they are more than a list holds by themselves: raises BansFull, SilencesFull."""
    if isinstance(command, BanUsers):
        raise BansFull(f"a group bans at most {LISTED_MAX['group']} users")
    if isinstance(command, SilenceUsers) and command.ttl_ms is None:
        raise SilencesFull(f"a group silences at most {LISTED_MAX['group']} users")


def check_record(conversation: Conversation, kinds: tuple[str, ...]) -> None:
    """A conversation that may have a record."""
    if conversation.kind not in kinds:
        raise InvalidCommand(f"conversation: must be of the kind {' or '.join(kinds)}")
    if conversation.line != 0:
        raise InvalidCommand("conversation: a record has no lines")
    check_name("conversation", conversation.id)


def check_members(users: tuple[str, ...]) -> None:
    """Who is to be in a group. Raises ConversationFull if they are too many by themselves."""
    if len(set(users)) > MEMBERS_MAX:
        raise ConversationFull(f"a group has at most {MEMBERS_MAX} members")
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
