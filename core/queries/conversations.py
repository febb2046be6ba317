"""Questions for conversations."""

from typing import Final

from ..checks import check_name
from ..errors import InvalidCommand
from ..limits import FIND_CONVERSATIONS_MAX, SORTED_CONVERSATIONS_MAX
from ..model import Conversation, ConversationInfo, Kind
from ..where import TimeOf, parse, parse_order
from .base import Query, check_page

RECORD_KINDS: Final[tuple[Kind, ...]] = ("group", "room", "service")
"""Kinds of conversations that have records."""


IN_ORDER: Final = ((), ("created_ms",), ("-created_ms",))
"""Orders in which conversations come anyway."""


def check_conversations(kinds: tuple[Kind, ...], where: bytes) -> None:
    """Which conversations are meant. Raises InvalidCommand."""
    if not kinds or not set(kinds) <= set(RECORD_KINDS):
        raise InvalidCommand(f"kinds: some of {', '.join(RECORD_KINDS)}")
    parse(where)


class FindConversations(Query[tuple[ConversationInfo, ...]], frozen=True, kw_only=True):
    """Conversations that meet a filter, oldest first unless `order` says otherwise.

    The filter sees a row of each: its attributes' top-level keys, and `id`, `kind`, `created_ms`, `updated_ms`, `unique`, of a
    group `members` and `muted`, which stand before attributes of the same name; `attributes.NAME` means those.

    Looked up by an index, not one by one: the equalities at the top of the filter by `id`, by a member and by any scalar
    attribute, or one in an array; also several at once, `$in` with up to 100 values, and `$all`. And the order by `created_ms`,
    rising or falling.
    """

    kinds: tuple[Kind, ...]
    """Of `group`, `room`, `service`."""
    where: bytes = b"{}"
    """A filter as a JSON object; `core.where` has the language."""
    time_of: TimeOf | None = None
    """If objects in rows and in the filter may stand for times: a pure function, which knows them. Filter and order compare
    these as times; no index does."""
    order: tuple[str, ...] = ()
    """Names of the row to sort by, at most 5; one that begins with "-" falls. Of a text its first 100 characters count,
    of an object or an array about as many."""
    offset: int = 0
    """How many to pass over; the time that takes grows with it. With another order than by `created_ms`, `offset` and `limit`
    together are at most 10,000."""
    limit: int = 100
    """At most 1,000."""

    def check(self) -> None:
        """Raises InvalidCommand."""
        check_conversations(self.kinds, self.where)
        parse_order(self.order)
        check_page(self.limit, FIND_CONVERSATIONS_MAX, offset=self.offset)
        if self.order not in IN_ORDER and self.offset + self.limit > SORTED_CONVERSATIONS_MAX:
            raise InvalidCommand(f"offset: with an order, at most {SORTED_CONVERSATIONS_MAX} together with limit")


class CountConversations(Query[int], frozen=True, kw_only=True):
    """How many conversations meet a filter."""

    kinds: tuple[Kind, ...]
    where: bytes = b"{}"
    time_of: TimeOf | None = None
    """As above."""

    def check(self) -> None:
        """Raises InvalidCommand."""
        check_conversations(self.kinds, self.where)


class GetConversation(Query[ConversationInfo | None], frozen=True, kw_only=True):
    """One conversation's record; None if it has none."""

    conversation: Conversation

    def check(self) -> None:
        """Raises InvalidCommand."""
        check_name("conversation", self.conversation.id)
