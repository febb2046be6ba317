"""Questions for broadcasts."""

from ..checks import check_name
from ..limits import FIND_MESSAGES_MAX
from ..model import Conversation, Message
from .base import Query, check_page


class FindBroadcasts(Query[tuple[Message, ...]], frozen=True, kw_only=True):
    """The broadcasts that are valid now, with their current texts, the newest first."""

    conversation: Conversation | None = None
    """Only those of this service; of one that nobody created there are none."""
    offset: int = 0
    limit: int = 100
    """At most 1,000."""

    def check(self) -> None:
        """Raises InvalidCommand."""
        if self.conversation is not None:
            check_name("conversation", self.conversation.id)
        check_page(self.limit, FIND_MESSAGES_MAX, offset=self.offset)
