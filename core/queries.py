"""Questions to the broker about what it keeps, answered from what is on disk. `core.search` looks the answers up."""

import re
from typing import Final, Generic, Literal, TypeVar

import msgspec

from .checks import check_name
from .errors import InvalidCommand, UnknownResult
from .ids import MessageId, UnixMs
from .limits import (
    FEED_TAKE_MAX,
    FIND_CONVERSATIONS_MAX,
    FIND_LISTED_MAX,
    FIND_MESSAGES_MAX,
    FIND_ONLINE_MAX,
    QUERY_CONVERSATIONS_MAX,
    RESULT_MESSAGES_MAX,
    SORTED_CONVERSATIONS_MAX,
)
from .model import (
    FEEDS,
    ROLES,
    Blocked,
    Conversation,
    ConversationInfo,
    Feed,
    Kind,
    Listed,
    Message,
    PresenceEvent,
    Role,
    RoleInfo,
    UserCount,
)
from .ports import LAST_PLACE
from .where import parse, parse_order

A = TypeVar("A")

RECORD_KINDS: Final[tuple[Kind, ...]] = ("group", "room", "service")
"""Kinds of conversations that have records."""
IN_ORDER: Final = ((), ("created_ms",), ("-created_ms",))
"""Orders in which conversations come anyway."""


class Query(msgspec.Struct, Generic[A], frozen=True, kw_only=True):
    """Something asked of one app; `Broker.ask` gives the answer."""

    app: str

    def check(self) -> None:
        """Raises InvalidCommand naming the first field that is wrong."""


class MessageQuery(Query[A], Generic[A], frozen=True, kw_only=True):
    """Which kept messages are meant: those that meet everything that is given, of which something must be.

    Every message whose send was answered before is among them. One that was deleted or recalled is not (but see
    `FindMessages.recalled`), nor one past the app's retention.
    """

    sender: str | None = None
    conversations: tuple[Conversation, ...] = ()
    """Sent to one of these, at most 100; a peer conversation is named by the recipient."""
    receiver: str | None = None
    """Or received by this user: as a peer, or in a room while the user was in it, their own excepted."""
    start_ms: UnixMs = UnixMs(0)
    end_ms: UnixMs = LAST_PLACE.at_ms
    """The first and the last time, both included; if they are in the wrong order, nothing is between them."""
    everything: bool = False
    """Or every kept message of the app; then none of the others is given."""

    def check(self) -> None:
        """Raises InvalidCommand."""
        some = self.sender is not None or self.receiver is not None or bool(self.conversations)
        if some and self.everything:
            raise InvalidCommand("everything: leaves no room for sender, conversations or receiver")
        if not some and not self.everything:
            raise InvalidCommand("sender, conversations, receiver: one of them must be given")
        for field, name in (("sender", self.sender), ("receiver", self.receiver)):
            if name is not None:
                check_name(field, name)
        if len(self.conversations) > QUERY_CONVERSATIONS_MAX:
            raise InvalidCommand(f"conversations: at most {QUERY_CONVERSATIONS_MAX}")
        for conversation in self.conversations:
            check_name("conversations", conversation.id)
        for field, time_ms in (("start_ms", self.start_ms), ("end_ms", self.end_ms)):
            if not 0 <= time_ms <= LAST_PLACE.at_ms:
                raise InvalidCommand(f"{field}: must not be negative, or beyond all time")


class Bound(msgspec.Struct, frozen=True):
    """Where a search begins or ends: a place, or a whole millisecond."""

    at_ms: UnixMs
    id: MessageId | None = None
    """A kept message stands for its own place, whatever `at_ms` says; another id for `(at_ms, id)`; none for the whole
    millisecond. Up to 64 bits."""
    included: bool = False

    def check(self, field: str) -> None:
        """Raises InvalidCommand."""
        if not 0 <= self.at_ms <= LAST_PLACE.at_ms:
            raise InvalidCommand(f"{field}: must not be negative, or beyond all time")
        if self.id is not None and not 0 <= self.id < 1 << 64:
            raise InvalidCommand(f"{field}: no message can have this id")


class FindMessages(MessageQuery[tuple[Message, ...]], frozen=True, kw_only=True):
    """The messages, ordered by `(at_ms, id)`."""

    offset: int = 0
    """How many to pass over; the time that takes grows with it."""
    limit: int = RESULT_MESSAGES_MAX
    """At most 1,000."""
    newest_first: bool = False
    recalled: bool = False
    """Recalled ones are among them, with an empty body and so marked."""
    start: Bound | None = None
    """Where the search begins, in its own direction: with `newest_first` the newest place."""
    stop: Bound | None = None
    """Where it ends."""

    def check(self) -> None:
        """Raises InvalidCommand."""
        super().check()
        if self.offset < 0:
            raise InvalidCommand("offset: must not be negative")
        if not 1 <= self.limit <= FIND_MESSAGES_MAX:
            raise InvalidCommand(f"limit: must be 1 to {FIND_MESSAGES_MAX}")
        for field, bound in (("start", self.start), ("stop", self.stop)):
            if bound is not None:
                bound.check(field)


class CountMessages(MessageQuery[int], frozen=True, kw_only=True):
    """How many there are; no body is read for it."""


class ReserveMessages(Query[str], frozen=True, kw_only=True):
    """Find messages now and keep the result, at most 100 of them, for one collection; the answer is a handle of 24 digits.

    It survives a restart. What is deleted or recalled before it is collected is not in it then.
    """

    find: FindMessages
    ttl_ms: int
    """How long it waits to be collected."""

    def check(self) -> None:
        """Raises InvalidCommand."""
        self.find.check()
        if self.find.app != self.app:
            raise InvalidCommand("find: must be of the same app")
        if self.find.recalled:
            raise InvalidCommand("recalled: what is recalled is not in a result")
        if self.find.limit > RESULT_MESSAGES_MAX:
            raise InvalidCommand(f"limit: a result holds at most {RESULT_MESSAGES_MAX} messages")
        if not 1 <= self.ttl_ms <= LAST_PLACE.at_ms:
            raise InvalidCommand("ttl_ms: must be at least 1, and an end that can be written down")


class CollectMessages(Query[tuple[Message, ...]], frozen=True, kw_only=True):
    """What waits under a handle; of any number of calls one gets it, the others are refused (UnknownResult)."""

    handle: str

    def check(self) -> None:
        """Raises UnknownResult if no row could have this handle."""
        try:
            self.handle.encode()
        except UnicodeEncodeError as error:
            raise UnknownResult("no result waits under this handle") from error


class TakePresence(Query[tuple[PresenceEvent, ...]], frozen=True, kw_only=True):
    """The oldest events of a feed, which nobody gets again. They are answered once that is on disk."""

    feed: Feed
    limit: int = FEED_TAKE_MAX
    """At most 1,000."""

    def check(self) -> None:
        """Raises InvalidCommand."""
        if self.feed not in FEEDS:
            raise InvalidCommand(f"feed: must be one of {', '.join(FEEDS)}")
        if not 1 <= self.limit <= FEED_TAKE_MAX:
            raise InvalidCommand(f"limit: must be 1 to {FEED_TAKE_MAX}")


class FindMembers(Query[tuple[str, ...]], frozen=True, kw_only=True):
    """Who is in a room, in no particular order."""

    room: str

    def check(self) -> None:
        """Raises InvalidCommand."""
        check_name("room", self.room)


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
    order: tuple[str, ...] = ()
    """Names of the row to sort by, at most 5; one that begins with "-" falls. Of a text its first 100 characters count."""
    offset: int = 0
    """How many to pass over; the time that takes grows with it. With another order than by `created_ms`, `offset` and `limit`
    together are at most 10,000."""
    limit: int = 100
    """At most 1,000."""

    def check(self) -> None:
        """Raises InvalidCommand."""
        check_conversations(self.kinds, self.where)
        parse_order(self.order)
        if self.offset < 0:
            raise InvalidCommand("offset: must not be negative")
        if not 1 <= self.limit <= FIND_CONVERSATIONS_MAX:
            raise InvalidCommand(f"limit: must be 1 to {FIND_CONVERSATIONS_MAX}")
        if self.order not in IN_ORDER and self.offset + self.limit > SORTED_CONVERSATIONS_MAX:
            raise InvalidCommand(f"offset: with an order, at most {SORTED_CONVERSATIONS_MAX} together with limit")


class CountConversations(Query[int], frozen=True, kw_only=True):
    """How many conversations meet a filter."""

    kinds: tuple[Kind, ...]
    where: bytes = b"{}"

    def check(self) -> None:
        """Raises InvalidCommand."""
        check_conversations(self.kinds, self.where)


class GetConversation(Query[ConversationInfo | None], frozen=True, kw_only=True):
    """One conversation's record; None if it has none."""

    conversation: Conversation

    def check(self) -> None:
        """Raises InvalidCommand."""
        check_name("conversation", self.conversation.id)


class AppUsers(Query[UserCount], frozen=True, kw_only=True):
    """How many users are online, and how many logged in today.

    Who is online is known to the process alone: a crash makes it nobody. The day is the app's own (`Rules.day_offset_ms`).
    """


class FindOnline(Query[tuple[str, ...]], frozen=True, kw_only=True):
    """Those of at most 1,000 users who have a session open, in the order in which they were asked for."""

    users: tuple[str, ...]

    def check(self) -> None:
        """Raises InvalidCommand."""
        if len(self.users) > FIND_ONLINE_MAX:
            raise InvalidCommand(f"users: at most {FIND_ONLINE_MAX}")
        for user in self.users:
            check_name("users", user)


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
        if self.offset < 0:
            raise InvalidCommand("offset: must not be negative")
        check_page(self.limit)


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


def check_page(limit: int) -> None:
    """Raises InvalidCommand."""
    if not 1 <= limit <= FIND_LISTED_MAX:
        raise InvalidCommand(f"limit: must be 1 to {FIND_LISTED_MAX}")
