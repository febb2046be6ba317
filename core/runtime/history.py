"""Answers to queries: what is looked up on a reader's thread, slice by slice, and what needs the writer besides."""

import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import islice
from typing import Any, Final, TypeVar

import trio

from ..commands import CollectResult, Command, ReserveResult, TakeFeed
from ..domain import Found, Presence
from ..errors import InvalidCommand, Overloaded
from ..ids import MessageId
from ..limits import OVERLOADED_RETRY_MS, QUERIES_MAX
from ..model import Message, PresenceEvent, Rules
from ..ports import Snapshot, Store
from ..queries import (
    CollectMessages,
    CountMessages,
    FindMembers,
    FindMessages,
    MessageQuery,
    Query,
    ReserveMessages,
    TakePresence,
)
from ..search import Search, places
from .clock import ExpiryClock
from .pending import Settled
from .reading import read_messages
from .snapshots import read_snapshot

HANDLE_DIGITS: Final = 24
"""Some 80 bits of chance: a handle cannot be guessed, and needs no escaping anywhere."""
_READERS_MAX: Final = 2
"""Slices at the same time; sessions read beside them."""
_BODIES: Final = 100
"""Bodies read in one snapshot."""

T = TypeVar("T")
A = TypeVar("A")


class History:
    """The reading side of a broker."""

    def __init__(
        self,
        store: Store,
        expiry: ExpiryClock,
        rules: Callable[[str], Rules],
        order: Callable[[Command], Awaitable[Settled]],
    ) -> None:
        self._store = store
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
                found = await self._messages(query.app, await self._find(query), recalled=query.recalled)
            case CountMessages():
                found = (await self._search(query)).count
            case ReserveMessages():
                found = await self._reserve(query)
            case CollectMessages():
                found = await self._collect(query)
            case TakePresence():
                found = await self._take(query)
            case FindMembers():
                found = await self._read(lambda snapshot: tuple(snapshot.views.members(query.app, query.room)))
            case _:
                raise InvalidCommand(f"{type(query).__name__} is no query")
        answer: A = found
        return answer

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
        """Gone through to its end. Each slice is a turn of its own among the readers."""
        rules = self._rules(query.app)
        as_of, between = await self._read(
            lambda snapshot: (snapshot.views.position, places(query, snapshot.views, snapshot.bodies))
        )
        search = Search(query, as_of, rules.history_horizon(self._expiry.now()), between)
        while await self._read(lambda snapshot: search.go_on(snapshot.views)):
            pass
        return search

    async def _collect(self, query: CollectMessages) -> tuple[Message, ...]:
        """Read first: what cannot be read is not used up. Of several who have read, the writer lets one have it."""
        row = await self._read(lambda snapshot: snapshot.views.result(query.app, query.handle))
        messages = await self._messages(query.app, row.ids if row else ())
        await self._carry_out(CollectResult(app=query.app, handle=query.handle), Found)
        return messages

    async def _messages(self, app: str, ids: tuple[MessageId, ...], *, recalled: bool = False) -> tuple[Message, ...]:
        horizon_ms = self._rules(app).history_horizon(self._expiry.now())
        messages: list[Message] = []
        left = iter(ids)
        while part := tuple(islice(left, _BODIES)):
            messages += await self._read(partial(read_messages, ids=part, horizon_ms=horizon_ms, recalled=recalled))
        return tuple(messages)

    async def _read(self, read: Callable[[Snapshot], T]) -> T:
        return await read_snapshot(self._store, read, self._readers)
