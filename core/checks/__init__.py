"""What a command must look like before the writer sees it."""

from ..commands import (
    ChangeBroadcast,
    ChangeMessage,
    Command,
    ConversationCommand,
    ImportMessage,
    Join,
    Kick,
    Leave,
    SendBroadcast,
    SendMessage,
)
from ..errors import InvalidCommand
from ..limits import KICK_REASON_CHARACTERS_MAX
from .conversations import check_conversation
from .fields import check_name, check_record, check_time, utf8_length
from .messages import check_broadcast, check_change, check_import, check_send

__all__ = ["check", "check_name", "check_record", "check_time"]


def check(command: Command) -> None:
    """Raises InvalidCommand naming the first field that is not as `core.commands` says."""
    match command:
        case SendMessage():
            check_send(command)
        case ChangeMessage() | ChangeBroadcast():
            check_change(command)
        case SendBroadcast():
            check_broadcast(command)
        case ImportMessage():
            check_import(command)
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
