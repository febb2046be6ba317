"""Several changes of one conversation that are one change."""

from .conversations import ConversationCommand, UpdateConversation, UsersCommand
from .lists import BlockConversation, RemoveRole, SetRole, UnblockConversation

Step = UpdateConversation | UsersCommand | SetRole | RemoveRole | BlockConversation | UnblockConversation
"""What may be one of them. What makes or ends a conversation is a command by itself."""


class Transact(ConversationCommand, frozen=True, kw_only=True):
    """Carry out several changes of a conversation, one after the other, or none of them: each sees what those before it did,
    and nobody sees a part of it.

    Answered with the receipt of the last that had something to do, or with `duplicate` if none had. Raises what they raise.
    """

    steps: tuple[Step, ...]
    """1 to 8, of the same app and conversation."""
