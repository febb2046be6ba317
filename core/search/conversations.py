"""One query for conversations on its way through their indexes and records."""

from typing import Any, Final

import msgspec

from ..ids import Position, UnixMs
from ..limits import QUERY_SLICE_ROWS
from ..model import Conversation, ConversationInfo, UserList
from ..ports import ReadViews
from ..queries import CountConversations, FindConversations
from ..rows import ConversationRow
from ..where import Order, fields, matches, parse, parse_order, weight
from .sources import OWN_NAMES, Common, narrowed, sources

_CREATION: Final = ("created_ms",)
_LISTS: Final[tuple[UserList, ...]] = ("members", "muted")
_SCALARS: Final = tuple(name for name in OWN_NAMES if name not in (*_LISTS, "attributes"))
_RECORD_COST: Final = 5
"""What a look at a record costs, in rows of an index."""
_attributes = msgspec.json.Decoder(dict[str, Any]).decode

Ranked = tuple[tuple[Any, ...], Position, Conversation]
"""By what a conversation is sorted; among equals, the oldest first."""


class ConversationSearch:
    """A query's answer, as it grows slice by slice.

    Conversations made after it began are not looked for. One that is changed meanwhile is judged as it was when its turn
    came, and shown as it was then; if the answer has to be sorted, as it is at the end.
    """

    def __init__(self, query: FindConversations | CountConversations, as_of: Position, horizon_ms: UnixMs) -> None:
        """`as_of`: the newest event that counts. `horizon_ms`: messages as old as this are over."""
        self._app = query.app
        self._filter = parse(query.where, query.time_of)
        self._kinds = narrowed(query.kinds, self._filter)
        self._sources = sources(query.app, self._kinds, self._filter)
        self._as_of = as_of
        self._horizon_ms = horizon_ms
        order: tuple[str, ...] = ()
        self._offset, self._wanted = 0, 0
        if isinstance(query, FindConversations):
            order, self._offset, self._wanted = query.order, query.offset, query.offset + query.limit
        self._newest_first = order == ("-created_ms",)
        self._order = Order() if self._newest_first or order == _CREATION else parse_order(order, query.time_of)
        self._names = fields(self._filter) | {path[0] for path in self._order.paths}
        self._own = [name for name in _SCALARS if name in self._names]
        self._by_attributes = not self._names <= set(OWN_NAMES) - {"attributes"}
        self._weight = weight(self._filter)
        self._beyond = Position(as_of + 1 if self._newest_first else 0)
        self._through = False
        self._ranked: list[Ranked] = []
        self._to_show: list[Conversation] = []
        self.found: list[ConversationInfo] = []
        """What was found so far, of a FindConversations."""
        self.count = 0
        """How many matched so far, those passed over included."""
        self.rows = 0
        """How many rows of indexes were read for that."""
        self.records = 0
        """And how many records."""

    def go_on(self, views: ReadViews, cost_max: int = QUERY_SLICE_ROWS) -> bool:
        """Look at the next conversations, until that costs as much as so many rows; whether there may be more."""
        if not self._through:
            self._through = self._look(views, cost_max)
            if self._through and self._order.paths:
                self._cut()
                self._to_show = [conversation for _, _, conversation in self._ranked[self._offset :]][::-1]
            return not self._through or bool(self._to_show)
        while self._to_show and cost_max > 0:
            row = views.conversation(self._app, self._to_show.pop())
            if row is not None:  # else it was deleted in this moment
                cost_max -= self._show(views, row)
        return bool(self._to_show)

    def _look(self, views: ReadViews, cost_max: int) -> bool:
        """Whether that was all."""
        common = Common(self._sources, views, newest_first=self._newest_first, rows_max=cost_max)
        cost, before = 0, self.rows
        for number, conversation in common.rows(self._beyond):
            self.rows = before + common.read
            if number > self._as_of:
                break
            self._beyond = number
            if conversation.kind in self._kinds:
                cost += self._judge(views, number, conversation)
                if self._wanted and not self._order.paths and self.count == self._wanted:
                    break
            if common.read + cost >= cost_max:
                return False
        self.rows = before + common.read
        if common.beyond is not None:
            self._beyond = common.beyond
        return common.beyond is None

    def _judge(self, views: ReadViews, number: Position, conversation: Conversation) -> int:
        """Count it, and keep it, if it matches; what that cost."""
        if not self._names and not self._wanted:
            self.count += 1  # all are counted, without a look
            return 0
        self.records += 1
        row = views.conversation(self._app, conversation)
        if row is None or row.number != number:
            return 1
        seen = self._seen(views, row)
        cost = _RECORD_COST + len(row.attributes) * self._weight // 1_000
        cost += sum(len(seen[name]) for name in _LISTS if name in seen)
        if not matches(self._filter, seen):
            return cost
        self.count += 1
        if not self._order.paths:
            return cost + (self._show(views, row) if self._offset < self.count <= self._wanted else 0)
        self._ranked.append((self._order.key(seen), number, conversation))
        if len(self._ranked) >= 2 * self._wanted:
            self._cut()
        return cost

    def _cut(self) -> None:
        """Keep those that may be in the answer."""
        self._ranked.sort(key=lambda ranked: ranked[:2])
        del self._ranked[self._wanted :]

    def _show(self, views: ReadViews, row: ConversationRow) -> int:
        self.found.append(info(views, self._app, row, self._horizon_ms))
        members = row.members if row.kind == "group" else 0
        return 2 + members + row.muted + len(row.attributes) // 256

    def _seen(self, views: ReadViews, row: ConversationRow) -> dict[str, Any]:
        """The row that filter and order look at, without what they do not."""
        seen: dict[str, Any] = {}
        if self._by_attributes:
            seen = attributes = _attributes(row.attributes)
            if "attributes" in self._names:
                seen = {**attributes, "attributes": attributes}
        for name in self._own:
            seen[name] = getattr(row, name)
        for users in _LISTS:
            seen.pop(users, None)
            if users in self._names and row.kind == "group":
                seen[users] = list(views.listed(row.number, users))
        return seen


def info(views: ReadViews, app: str, row: ConversationRow, horizon_ms: UnixMs) -> ConversationInfo:
    """All that is known of a conversation; messages as old as `horizon_ms` are over."""
    newest = next(views.timeline(app, row.conversation, None, newest_first=True, recalled=True), None)
    last_ms = newest[0].at_ms if newest is not None else None
    return ConversationInfo(
        conversation=row.conversation,
        created_ms=row.created_ms,
        updated_ms=row.updated_ms,
        attributes=row.attributes,
        members=tuple(views.listed(row.number, "members")) if row.kind == "group" else (),
        member_count=row.members,
        muted=tuple(views.listed(row.number, "muted")),
        unique=row.unique,
        last_message_ms=last_ms if last_ms is not None and last_ms > horizon_ms else None,
    )
