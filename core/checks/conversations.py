"""What is about a conversation and its users."""

from ..commands import (
    AddMembers,
    BanUsers,
    ConversationCommand,
    CreateConversation,
    DeleteConversation,
    ImportConversation,
    MarkRead,
    MembersCommand,
    MuteConversation,
    RemoveMembers,
    RemoveRole,
    SetRole,
    SilenceUsers,
    Step,
    Transact,
    UnsilenceUsers,
    UpdateConversation,
    UserCommand,
    UsersCommand,
)
from ..errors import BansFull, InvalidCommand, SilencesFull
from ..limits import LISTED_MAX, MEMBERS_MAX, MUTED_MAX, OPERATIONS_MAX, SILENCE_MS_MAX, SILENCE_MS_MIN, STEPS_MAX
from ..model import ROLES, Kind
from .fields import (
    check_members,
    check_muted,
    check_name,
    check_names,
    check_object,
    check_operation,
    check_record,
    check_time,
)


def check_conversation(command: ConversationCommand) -> None:
    """The fields of what is about a conversation's record."""
    check_record(command.conversation, ("group", "room", "service"))
    match command:
        case CreateConversation():
            check_object("attributes", command.attributes)
            if command.conversation.kind != "group" and (command.members or command.muted or command.unique):
                raise InvalidCommand("members, muted, unique: only a group has them")
            check_members(command.members)
            check_muted(command.muted)
        case ImportConversation():
            check_taken_over(command)
        case UpdateConversation():
            if len(command.operations) > OPERATIONS_MAX:
                raise InvalidCommand(f"operations: at most {OPERATIONS_MAX}")
            for operation in command.operations:
                check_operation(operation)
        case DeleteConversation():
            check_name("by", command.by)
        case AddMembers() if command.conversation.kind == "group":
            check_members(command.users)
        case MuteConversation() if command.conversation.kind == "group":
            check_muted(command.users)
        case UsersCommand() | UserCommand():
            check_about_users(command)
        case Transact():
            check_steps(command)


def check_steps(command: Transact) -> None:
    """Each of several changes by itself, and that they are about one conversation."""
    if not 1 <= len(command.steps) <= STEPS_MAX:
        raise InvalidCommand(f"steps: must be 1 to {STEPS_MAX}")
    for step in command.steps:
        if not isinstance(step, Step):
            raise InvalidCommand(f"steps: a {type(step).__name__} is a command by itself")
        if (step.app, step.conversation) != (command.app, command.conversation):
            raise InvalidCommand("steps: must be of the same app and conversation")
        check_conversation(step)


def check_taken_over(command: ImportConversation) -> None:
    """A conversation that was made elsewhere, before."""
    check_object("attributes", command.attributes)
    if command.conversation.kind != "group" and (command.members or command.muted or command.unique):
        raise InvalidCommand("members, muted, unique: only a group has them")
    check_members(command.members)
    check_names("muted", tuple(dict.fromkeys(command.muted)), MUTED_MAX)
    check_time("created_ms", command.created_ms)
    check_time("updated_ms", command.updated_ms)
    if command.updated_ms < command.created_ms:
        raise InvalidCommand("updated_ms: must not be before created_ms")


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
        case MarkRead():
            kinds = ("group", "service")
            check_time("until_ms", command.until_ms)
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
