"""Questions for what a user has not read."""

from ..checks import check_name, check_record
from ..model import Conversation
from .base import Query


class CountUnread(Query[int], frozen=True, kw_only=True):
    """How many messages a user has not read: of one group or service (raises UnknownConversation), or of all of theirs.

    Counted is what was kept for history and sent by others since they joined, or to them by name. What is recalled, deleted,
    expired or pushed out of a queue stays counted until it is marked as read (`MarkRead`). 0 for whom nobody knows.
    """

    user: str
    conversation: Conversation | None = None

    def check(self) -> None:
        """Raises InvalidCommand."""
        check_name("user", self.user)
        if self.conversation is not None:
            check_record(self.conversation, ("group", "service"))
