"""Facts of who may come into a conversation, who may talk there, and who is what."""

from ..ids import ExpiryMs, UnixMs
from ..model import Conversation, Role
from .base import Event


class UsersBanned(Event, frozen=True, kw_only=True, tag="users-banned.1"):
    """Users cannot come into a conversation; that they left it are events before."""

    app: str
    conversation: Conversation
    at_ms: UnixMs
    users: tuple[str, ...]


class UsersUnbanned(Event, frozen=True, kw_only=True, tag="users-unbanned.1"):
    """They can again."""

    app: str
    conversation: Conversation
    at_ms: UnixMs
    users: tuple[str, ...]


class UsersSilenced(Event, frozen=True, kw_only=True, tag="users-silenced.1"):
    """Users may not talk in a conversation."""

    app: str
    conversation: Conversation
    at_ms: UnixMs
    users: tuple[str, ...]
    until_ms: ExpiryMs | None = None
    """For good if it is None: then none of them was. Else until then, whatever was before."""


class UsersUnsilenced(Event, frozen=True, kw_only=True, tag="users-unsilenced.1"):
    """They may again."""

    app: str
    conversation: Conversation
    at_ms: UnixMs
    users: tuple[str, ...]
    temporary: bool
    """Whether what ended was for a while."""


class SilencesExpired(Event, frozen=True, kw_only=True, tag="silences-expired.1"):
    """The silences that ended first, by this time at the latest, are forgotten."""

    until_ms: ExpiryMs
    count: int


class RoleSet(Event, frozen=True, kw_only=True, tag="role-set.1"):
    """Somebody is something in a conversation, whatever they were."""

    app: str
    conversation: Conversation
    at_ms: UnixMs
    user: str
    role: Role


class RoleRemoved(Event, frozen=True, kw_only=True, tag="role-removed.1"):
    """Who was something is nothing in particular."""

    app: str
    conversation: Conversation
    at_ms: UnixMs
    user: str


class ConversationBlocked(Event, frozen=True, kw_only=True, tag="conversation-blocked.1"):
    """A user does not want to be put into a conversation."""

    app: str
    conversation: Conversation
    at_ms: UnixMs
    user: str


class ConversationUnblocked(Event, frozen=True, kw_only=True, tag="conversation-unblocked.1"):
    """They do not mind any more."""

    app: str
    conversation: Conversation
    at_ms: UnixMs
    user: str


ListEvent = (
    UsersBanned
    | UsersUnbanned
    | UsersSilenced
    | UsersUnsilenced
    | SilencesExpired
    | RoleSet
    | RoleRemoved
    | ConversationBlocked
    | ConversationUnblocked
)
