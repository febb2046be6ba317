"""Records of conversations, and their members."""

from typing import Literal

import msgspec

from ..model import Conversation
from .base import Command


class ConversationCommand(Command, frozen=True, kw_only=True):
    """Something about a conversation's record. Answered with a Receipt that names it."""

    conversation: Conversation


class CreateConversation(ConversationCommand, frozen=True, kw_only=True):
    """Create a group, a room or a service. A room that somebody used has a record already.

    Raises ConversationExists, ConversationFull.
    """

    attributes: bytes = b"{}"
    """A JSON object, at most 128 KiB as it is kept (without spaces)."""
    members: tuple[str, ...] = ()
    """Of a group, at most 500; repetitions count once."""
    muted: tuple[str, ...] = ()
    """Users of a group, members or not, who want no push notifications from it; at most 500, repetitions count once."""
    unique: bool = False
    """Of a group: if one that was created so has exactly these members now, it is the answer, with `duplicate`, and
    nothing is written, whatever else the command says; of several the one created first."""


class Operation(msgspec.Struct, frozen=True, array_like=True):
    """A change of one attribute of a conversation."""

    key: str
    """Of the top level; 1 to 256 bytes without control characters."""
    op: Literal["set", "unset", "increment", "add", "add_unique", "remove"]
    """`increment` takes a number and begins at 0. The last three take an array, of which they add every value, add those
    that are not there, or remove all that are equal to one; where nothing is, or null, they begin with an empty one."""
    value: bytes = b"null"
    """JSON."""


class UpdateConversation(ConversationCommand, frozen=True, kw_only=True):
    """Change attributes, one operation after the other, or none of them.

    Raises UnknownConversation; InvalidCommand naming the key whose value an operation cannot work on, or if the attributes
    would be larger than 128 KiB.
    """

    operations: tuple[Operation, ...]


class DeleteConversation(ConversationCommand, frozen=True, kw_only=True):
    """Delete a group, a room or a service, with its messages: from the answer on nobody finds either.

    Copies still queued count as withdrawn when they are swept; so long the name cannot be used again. Raises
    UnknownConversation.
    """

    by: str


class UsersCommand(ConversationCommand, frozen=True, kw_only=True):
    """Something about users of a conversation. Raises UnknownConversation. `duplicate` if there was nothing to do."""

    users: tuple[str, ...]
    """At most 500; repetitions count once."""


class MembersCommand(UsersCommand, frozen=True, kw_only=True):
    """Something about users of a group; AddMembers and RemoveMembers also of a service, whose members are its subscribers."""


class AddMembers(MembersCommand, frozen=True, kw_only=True):
    """Users join a group, or subscribe to a service: they get what is sent to it from here on.

    Raises ConversationFull (of a group), or Banned naming who is banned from it or blocks it; then nobody did.
    """


class RemoveMembers(MembersCommand, frozen=True, kw_only=True):
    """Users are no members any more; what was sent to them stays theirs."""


class MuteConversation(MembersCommand, frozen=True, kw_only=True):
    """Users, members or not, want no push notifications from a group. Raises ConversationFull: a list holds 500."""


class UnmuteConversation(MembersCommand, frozen=True, kw_only=True):
    """They want them again."""
