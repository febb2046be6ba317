"""Questions to the broker about what it keeps, answered from what is on disk; and what looks the answers up.

A query goes through the history in slices, each in one short snapshot: whoever asks for a million messages holds up nobody.
"""

import heapq
from collections.abc import Iterator
from itertools import chain, islice
from typing import Generic, TypeVar

import msgspec

from .checks import check_name
from .domain.rooms import messages_in
from .errors import InvalidCommand, UnknownResult
from .ids import MessageId, Place, Position, UnixMs, position_of
from .limits import FEED_TAKE_MAX, FIND_MESSAGES_MAX, QUERY_CONVERSATIONS_MAX, QUERY_SLICE_ROWS, RESULT_MESSAGES_MAX
from .model import FEEDS, Conversation, ConversationInfo, Feed, Kind, Message, PresenceEvent, peer
from .ports import LAST_PLACE, ReadViews

A = TypeVar("A")

Row = tuple[Place, bool]
"""A kept message, and whether it is shown."""


class Query(msgspec.Struct, Generic[A], frozen=True, kw_only=True):
    """Something asked of one app; `Broker.ask` gives the answer."""

    app: str

    def check(self) -> None:
        """Raises InvalidCommand naming the first field that is wrong."""


class MessageQuery(Query[A], Generic[A], frozen=True, kw_only=True):
    """Which kept messages are meant: those that meet everything that is given, of which something must be.

    Every message whose send was answered before is among them. One that was deleted or recalled is not, nor one past the
    app's retention.
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
    """Every kept message of the app, if neither sender nor conversations nor receiver are given."""

    def check(self) -> None:
        """Raises InvalidCommand."""
        if self.sender is None and self.receiver is None and not self.conversations:
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
    """Where a search begins or ends."""

    at_ms: UnixMs
    id: MessageId | None = None
    """A kept message stands for its own place, whatever `at_ms` says; another id for `(at_ms, id)`; none for the whole
    millisecond."""
    included: bool = False


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


class FindConversations(Query[tuple[ConversationInfo, ...]], frozen=True, kw_only=True):
    """Conversations that meet a filter, oldest first unless `order` says otherwise.

    The filter sees a row of each: its attributes' top-level keys, and `id`, `kind`, `created_ms`, `updated_ms`, `members`,
    `muted` and `unique`, which stand before attributes of the same name.
    """

    kinds: tuple[Kind, ...]
    where: bytes = b"{}"
    """A filter as a JSON object."""
    order: tuple[str, ...] = ()
    """Keys of the row to sort by; one that begins with "-" falls."""
    offset: int = 0
    limit: int = 100
    """At most 1,000."""


class CountConversations(Query[int], frozen=True, kw_only=True):
    """How many conversations meet a filter."""

    kinds: tuple[Kind, ...]
    where: bytes = b"{}"


class GetConversation(Query[ConversationInfo | None], frozen=True, kw_only=True):
    """One conversation's record; None if it has none."""

    conversation: Conversation


class FindOnline(Query[tuple[str, ...]], frozen=True, kw_only=True):
    """Those of at most 1,000 users who have a session open, in the order in which they were asked for."""

    users: tuple[str, ...]


class Search:
    """One query on its way through the history."""

    def __init__(self, query: MessageQuery[A], as_of: Position, horizon_ms: UnixMs) -> None:
        """`as_of`: what was sent after this event is not looked for. `horizon_ms`: what is as old as this is over."""
        self._query = query
        self._as_of = as_of
        self._first = Place(UnixMs(max(query.start_ms, horizon_ms + 1)), MessageId(0))
        self._last = Place(query.end_ms, LAST_PLACE.id)
        self._newest_first = isinstance(query, FindMessages) and query.newest_first
        self._met: Place | None = None
        self._offset, self._limit = 0, 0
        if isinstance(query, FindMessages):
            self._offset, self._limit = query.offset, query.limit
        self.ids: list[MessageId] = []
        """What was found so far, of a FindMessages."""
        self.count = 0
        """How many were met so far, those passed over included."""
        self.rows = 0
        """How many rows were looked at for that."""

    def go_on(self, views: ReadViews, rows_max: int = QUERY_SLICE_ROWS) -> bool:
        """Look at the next rows; whether there may be more."""
        sources = list(self._sources(views)) if self._first <= self._last else []
        rows_max = max(rows_max, len(sources) + 1)  # a place may come from every source, and is looked at again
        merged = sources[0] if len(sources) == 1 else heapq.merge(*sources, reverse=self._newest_first)
        looked, place = 0, self._first
        for place, shown in islice(merged, rows_max):
            looked += 1
            if not shown or place == self._met or position_of(place.id) > self._as_of:
                continue
            self._met = place
            self.count += 1
            if not self._limit or self.count <= self._offset:
                continue
            self.ids.append(place.id)
            if len(self.ids) == self._limit:
                break
        self.rows += looked
        if self._newest_first:
            self._last = place
        else:
            self._first = place
        return looked == rows_max and not (self._limit and len(self.ids) == self._limit)

    def _sources(self, views: ReadViews) -> Iterator[Iterator[Row]]:
        """Each in order."""
        query = self._query
        conversations: list[Conversation | None] = list(dict.fromkeys(query.conversations))
        if query.receiver is not None and peer(query.receiver) not in conversations:
            conversations.append(peer(query.receiver))
        for conversation in conversations or [None]:
            yield views.timeline(
                query.app,
                conversation,
                query.sender,
                first=self._first,
                last=self._last,
                newest_first=self._newest_first,
            )
        if query.receiver is not None and query.receiver != query.sender:  # nobody receives their own in a room
            yield from self._received_in_rooms(views, query.receiver)

    def _received_in_rooms(self, views: ReadViews, user: str) -> Iterator[Iterator[Row]]:
        """A source a room: a user's stays in one follow each other."""
        rooms: dict[str, list[Iterator[Row]]] = {}
        for stay in views.stays(self._query.app, user, since_ms=self._first.at_ms):
            if stay.since <= self._last:
                rooms.setdefault(stay.room, []).append(
                    messages_in(
                        stay,
                        views,
                        self._query.app,
                        first=self._first,
                        last=self._last,
                        sender=self._query.sender,
                        newest_first=self._newest_first,
                        other_than=user,
                    )
                )
        for stays in rooms.values():
            yield chain.from_iterable(reversed(stays) if self._newest_first else stays)
