"""Questions for broadcasts."""

from ..checks import check_name
from ..errors import InvalidCommand
from ..limits import FIND_MESSAGES_MAX
from ..model import Conversation, Message
from .base import Query


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
        if self.offset < 0:
            raise InvalidCommand("offset: must not be negative")
        if not 1 <= self.limit <= FIND_MESSAGES_MAX:
            raise InvalidCommand(f"limit: must be 1 to {FIND_MESSAGES_MAX}")
