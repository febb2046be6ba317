"""Answers to queries: what is looked up on a reader's thread, slice by slice, and what needs the writer besides."""

import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import islice
from typing import Any, Final, TypeVar

import trio

from ..commands import CollectResult, Command, ReserveResult, TakeFeed
from ..domain import Found, Presence
from ..domain.messages import online
from ..domain.users import users_on
from ..errors import InvalidCommand, Overloaded
from ..ids import MessageId, UnixMs
from ..limits import OVERLOADED_RETRY_MS, QUERIES_MAX
from ..model import ConversationInfo, Message, PresenceEvent, Rules, UserCount, room
from ..ports import ReadViews, Snapshot, Store
from ..queries import (
    AppUsers,
    CollectMessages,
    CountConversations,
    CountMembers,
    CountMessages,
    CountUnread,
    FindAlias,
    FindBlocked,
    FindBroadcasts,
    FindConversations,
    FindListed,
    FindMembers,
    FindMessages,
    FindOnline,
    FindRoles,
    FindSubscribers,
    FindSubscriptions,
    GetConversation,
    GetMessage,
    MessageQuery,
    Query,
    ReserveMessages,
    TakePresence,
)
from ..search import ConversationSearch, Search, UnreadSearch, info, lists, places, subscriptions
from .broadcasts import find_broadcasts, read_broadcasts
from .clock import Clock, ExpiryClock
from .pending import Settled
from .reading import read_message, read_messages
from .snapshots import read_snapshot

HANDLE_DIGITS: Final = 24
"""Some 80 bits of chance: a handle cannot be guessed, and needs no escaping anywhere."""
_READERS_MAX: Final = 2
"""Slices at the same time; sessions read beside them."""
_BODIES: Final = 100
"""Bodies read in one snapshot."""

_LOOKS: Final[dict[type[Query[Any]], Callable[[Any, ReadViews], object]]] = {
    FindListed: lists.listed,
    FindRoles: lists.roles,
    FindBlocked: lists.blocked,
    FindSubscribers: subscriptions.subscribers,
    CountMembers: subscriptions.count,
    FindSubscriptions: subscriptions.subscriptions,
}
"""What one look at the rows answers."""

T = TypeVar("T")
A = TypeVar("A")


class History:
    """The reading side of a broker."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        expiry: ExpiryClock,
        rules: Callable[[str], Rules],
        order: Callable[[Command], Awaitable[Settled]],
        online: Callable[[str], int],
    ) -> None:
        """`order` carries a command out, `online` knows how many of an app's users have a session."""
        self._store = store
        self._clock = clock
        self._online = online
        self._expiry = expiry
        self._rules = rules
        self._order = order
        self._readers = trio.CapacityLimiter(_READERS_MAX)
        self._under_way = 0

    async def answer(self, query: Query[A]) -> A:
        """The answer to a query that was checked. Raises Refusal (Overloaded if too many ask), StorageFailure, Corruption."""
        if self._under_way >= QUERIES_MAX:
            raise Overloaded("too many queries are under way", retry_after_ms=OVERLOADED_RETRY_MS)
        self._under_way += 1
        try:
            return await self._answer(query)
        finally:
            self._under_way -= 1

    async def _answer(self, query: Query[A]) -> A:
        found: Any
        match query:
            case FindMessages():
                ids = await self._find(query)
                found = await self._messages(query.app, ids, recalled=query.recalled, recipient=query.recipient)
            case FindAlias():
                found = await self._read(lambda snapshot: snapshot.views.alias(query.app, query.alias))
            case GetMessage():
                horizon_ms = self._horizon(query.app)
                found = await self._read(
                    lambda snapshot: read_message(snapshot, query.app, query.conversation, query.id, horizon_ms)
                )
            case CountMessages():
                found = (await self._search(query)).count
            case ReserveMessages():
                found = await self._reserve(query)
            case CollectMessages():
                found = await self._collect(query)
            case TakePresence():
                found = await self._take(query)
            case FindBroadcasts():
                found = await self._broadcasts(query)
            case FindMembers():
                found = await self._read(partial(_members, query=query))
            case _:
                found = await self._answer_of_conversations(query)
        answer: A = found
        return answer

    async def _answer_of_conversations(self, query: Query[A]) -> Any:
        match query:
            case FindConversations():
                return tuple((await self._conversations(query)).found)
            case CountConversations():
                return (await self._conversations(query)).count
            case GetConversation():
                return await self._read(partial(_conversation, query=query, horizon_ms=self._horizon(query.app)))
            case CountUnread():
                return await self._unread(query)
            case FindOnline():
                return await self._read(partial(_online, query=query))
            case AppUsers():
                return await self._users(query.app)
            case _:
                look = _LOOKS.get(type(query))
                if look is None:
                    raise InvalidCommand(f"{type(query).__name__} is no query")
                return await self._read(lambda snapshot: look(query, snapshot.views))

    async def _conversations(self, query: FindConversations | CountConversations) -> ConversationSearch:
        """Gone through to its end."""
        as_of = await self._read(lambda snapshot: snapshot.views.position)
        search = ConversationSearch(query, as_of, self._horizon(query.app))
        await self._go_through(search)
        return search

    async def _unread(self, query: CountUnread) -> int:
        """Gone through to its end."""
        search = UnreadSearch(query)
        await self._go_through(search)
        return search.count

    async def _users(self, app: str) -> UserCount:
        """Its day is that of the time a login would be given now."""
        rules, wall_ms = self._rules(app), self._clock.wall_ms()

        def today(snapshot: Snapshot) -> int:
            views = snapshot.views
            return users_on(views, app, rules.day(max(wall_ms, views.totals(app).newest_at_ms)))

        return UserCount(today=await self._read(today), online=self._online(app))

    def _horizon(self, app: str) -> UnixMs:
        """Messages of this time and before are over."""
        return self._rules(app).history_horizon(self._expiry.now())

    async def _find(self, query: FindMessages) -> tuple[MessageId, ...]:
        return tuple((await self._search(query)).ids)

    async def _reserve(self, query: ReserveMessages) -> str:
        ids = await self._find(query.find)
        handle = f"{secrets.randbelow(10**HANDLE_DIGITS):0{HANDLE_DIGITS}}"
        await self._carry_out(ReserveResult(app=query.app, handle=handle, ids=ids, ttl_ms=query.ttl_ms), Found)
        return handle

    async def _take(self, query: TakePresence) -> tuple[PresenceEvent, ...]:
        return (await self._carry_out(TakeFeed(app=query.app, feed=query.feed, limit=query.limit), Presence)).events

    async def _carry_out(self, command: Command, expected: type[T]) -> T:
        settled = await self._order(command)
        settled.raise_refusal()
        assert isinstance(settled.result, expected)
        return settled.result

    async def _search(self, query: MessageQuery[A]) -> Search:
        """Gone through to its end."""
        as_of, between = await self._read(
            lambda snapshot: (snapshot.views.position, places(query, snapshot.views, snapshot.bodies))
        )
        search = Search(query, as_of, self._horizon(query.app), between)
        await self._go_through(search)
        return search

    async def _collect(self, query: CollectMessages) -> tuple[Message, ...]:
        """Read first: what cannot be read is not used up. Of several who have read, the writer lets one have it."""
        row = await self._read(lambda snapshot: snapshot.views.result(query.app, query.handle))
        messages = await self._messages(query.app, row.ids if row else ())
        await self._carry_out(CollectResult(app=query.app, handle=query.handle), Found)
        return messages

    async def _messages(
        self, app: str, ids: tuple[MessageId, ...], *, recalled: bool = False, recipient: str | None = None
    ) -> tuple[Message, ...]:
        read = partial(read_messages, horizon_ms=self._horizon(app), recalled=recalled, recipient=recipient)
        return await self._in_parts(read, ids)

    async def _broadcasts(self, query: FindBroadcasts) -> tuple[Message, ...]:
        find = partial(find_broadcasts, query=query, wall_ms=self._clock.wall_ms())
        return await self._in_parts(partial(read_broadcasts, app=query.app), await self._read(find))

    async def _in_parts(self, read: Callable[..., list[Message]], ids: tuple[MessageId, ...]) -> tuple[Message, ...]:
        """The messages of these ids, so many bodies at a time."""
        messages: list[Message] = []
        left = iter(ids)
        while part := tuple(islice(left, _BODIES)):
            messages += await self._read(partial(read, ids=part))
        return tuple(messages)

    async def _go_through(self, search: Search | ConversationSearch | UnreadSearch) -> None:
        """To its end. Each slice is a turn of its own among the readers."""
        while await self._read(lambda snapshot: search.go_on(snapshot.views)):
            pass

    async def _read(self, read: Callable[[Snapshot], T]) -> T:
        return await read_snapshot(self._store, read, self._readers)


def _conversation(snapshot: Snapshot, query: GetConversation, horizon_ms: UnixMs) -> ConversationInfo | None:
    row = snapshot.views.conversation(query.app, query.conversation)
    return info(snapshot.views, query.app, row, horizon_ms) if row is not None else None


def _members(snapshot: Snapshot, query: FindMembers) -> tuple[str, ...]:
    if snapshot.views.is_deleted(query.app, room(query.room)):
        return ()  # whose stays did not end with it leave step by step
    return tuple(snapshot.views.members(query.app, query.room))


def _online(snapshot: Snapshot, query: FindOnline) -> tuple[str, ...]:
    return tuple(user for user in query.users if online(snapshot.views, query.app, user))
