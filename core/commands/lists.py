"""Who may come in, who may talk, who is what."""

from ..model import Role
from .conversations import ConversationCommand, UsersCommand


class BanUsers(UsersCommand, frozen=True, kw_only=True):
    """Users are out of a group, a room or a service, and cannot come in until the ban is lifted. Whether they are members, or
    in the room, or neither; their stay in the room ends. What was queued for them stays theirs.

    Raises BansFull (500 in a group, 10,000 in a room or a service), and then nobody is banned.
    """


class UnbanUsers(UsersCommand, frozen=True, kw_only=True):
    """They may come in again; they are not put back."""


class SilenceUsers(UsersCommand, frozen=True, kw_only=True):
    """Users may not talk in a group or a room (`SendMessage.speaks`); they still get what others say.

    Raises SilencesFull if more would be silenced for good than may (500 in a group, 10,000 in a room); then nobody is.
    """

    ttl_ms: int | None = None
    """For so long, 1 second to 24 hours by the expiry clock, from now on, also if they were silenced for a while before;
    None is for good. The one knows nothing of the other."""


class UnsilenceUsers(UsersCommand, frozen=True, kw_only=True):
    """They may talk again, as far as this kind of silence goes."""

    temporary: bool
    """Which kind: for a while, or for good."""


class UserCommand(ConversationCommand, frozen=True, kw_only=True):
    """Something about one user and a conversation. Raises UnknownConversation. `duplicate` if there was nothing to do."""

    user: str


class SetRole(UserCommand, frozen=True, kw_only=True):
    """A user, member or not, is something in a group or a room. Roles are kept and told; they restrict nobody.

    Raises OwnerNeeded if that would leave it without its only owner; RolesFull (500).
    """

    role: Role


class RemoveRole(UserCommand, frozen=True, kw_only=True):
    """They are nothing in particular any more. Raises OwnerNeeded."""


class BlockConversation(UserCommand, frozen=True, kw_only=True):
    """A user does not want to be put into a conversation: whoever tries is refused (Banned). Members stay.

    Raises BlocksFull: a user blocks at most 1,000.
    """


class UnblockConversation(UserCommand, frozen=True, kw_only=True):
    """They may be put into it again."""
