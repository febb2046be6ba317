"""Questions for who subscribes to a service, and to what somebody does."""

from ..checks import check_name
from ..errors import InvalidCommand
from ..model import Conversation, Subscription
from .base import Query, check_page


class FindSubscribers(Query[tuple[Subscription, ...]], frozen=True, kw_only=True):
    """Who subscribes to a service, in the order in which they came, page by page. Raises UnknownConversation."""

    conversation: Conversation
    after: str | None = None
    """Behind this user, who must be one of them; else the answer is empty."""
    limit: int = 100
    """At most 1,000."""

    def check(self) -> None:
        """Raises InvalidCommand."""
        check_service(self.conversation)
        if self.after is not None:
            check_name("after", self.after)
        check_page(self.limit)


class CountMembers(Query[int], frozen=True, kw_only=True):
    """How many members a group has, or a service subscribers. Raises UnknownConversation."""

    conversation: Conversation

    def check(self) -> None:
        """Raises InvalidCommand."""
        if self.conversation.kind not in ("group", "service"):
            raise InvalidCommand("conversation: must be a group or a service")
        check_name("conversation", self.conversation.id)


class FindSubscriptions(Query[tuple[Subscription, ...]], frozen=True, kw_only=True):
    """The services that a user subscribes to, in the order in which they did, page by page.

    Raises UnknownConversation if `after` is a service that nobody created.
    """

    user: str
    after: Conversation | None = None
    """Behind this one, which must be one of theirs; else the answer is empty."""
    limit: int = 100
    """At most 1,000."""
    newest_first: bool = False

    def check(self) -> None:
        """Raises InvalidCommand."""
        check_name("user", self.user)
        if self.after is not None:
            check_service(self.after)
        check_page(self.limit)


def check_service(conversation: Conversation) -> None:
    """A service by its name. Raises InvalidCommand."""
    if conversation.kind != "service":
        raise InvalidCommand("conversation: must be a service")
    check_name("conversation", conversation.id)
