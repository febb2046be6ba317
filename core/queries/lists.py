"""Questions for who is on a list, is something, or blocks something."""

import re
from typing import Literal

from ..checks import check_name
from ..errors import InvalidCommand
from ..model import ROLES, Blocked, Conversation, Listed, Role, RoleInfo
from .base import Query, check_page


class FindListed(Query[Listed], frozen=True, kw_only=True):
    """Who is silenced for good in a conversation, or banned from it, in the order in which they came onto the list, page by
    page. What is taken from the list between two pages moves nobody. Raises UnknownConversation."""

    conversation: Conversation
    list: Literal["silenced", "banned"]
    after: str | None = None
    """`next` of the page before."""
    limit: int = 100
    """At most 1,000."""

    def check(self) -> None:
        """Raises InvalidCommand."""
        check_name("conversation", self.conversation.id)
        if self.list not in ("silenced", "banned"):
            raise InvalidCommand("list: must be silenced or banned")
        if self.after is not None and not re.fullmatch("[0-9a-f]{24}", self.after):
            raise InvalidCommand("after: must be what a page before said")
        check_page(self.limit)


class FindRoles(Query[tuple[RoleInfo, ...]], frozen=True, kw_only=True):
    """Who is what in a conversation, in the order in which they first became something. Raises UnknownConversation."""

    conversation: Conversation
    role: Role | None = None
    """Only those."""
    offset: int = 0
    limit: int = 100
    """At most 1,000."""

    def check(self) -> None:
        """Raises InvalidCommand."""
        check_name("conversation", self.conversation.id)
        if self.role is not None and self.role not in ROLES:
            raise InvalidCommand(f"role: must be one of {', '.join(ROLES)}")
        check_page(self.limit, offset=self.offset)


class FindBlocked(Query[Blocked], frozen=True, kw_only=True):
    """The conversations that a user does not want to be put into, in the order of their creation, page by page."""

    user: str
    after: str | None = None
    """`next` of the page before."""
    limit: int = 100
    """At most 1,000."""

    def check(self) -> None:
        """Raises InvalidCommand."""
        check_name("user", self.user)
        if self.after is not None and not re.fullmatch("[0-9a-f]{14}", self.after):
            raise InvalidCommand("after: must be what a page before said")
        check_page(self.limit)
