"""One query for messages on its way through the history: where it begins and ends, and what it finds there."""

import heapq
from collections.abc import Iterator
from itertools import chain, islice
from typing import Final, TypeVar

from ..domain import streams
from ..domain.copies import as_seen
from ..domain.rooms import messages_in
from ..ids import POSITION_MAX, MessageId, Place, Position, UnixMs, position_of
from ..limits import QUERY_SLICE_ROWS
from ..model import Conversation, peer, room
from ..ports import FIRST_PLACE, LAST_PLACE, Headers, ReadViews
from ..queries import Bound, FindMessages, MessageQuery
from ..rows import Membership

A = TypeVar("A")

Row = tuple[Place, bool]
"""A kept message, and whether it is shown."""
Range = tuple[Place, Place]
"""The first and the last place, both included; nothing lies between them if the first is beyond the last."""
EVER: Final[Range] = (FIRST_PLACE, LAST_PLACE)


def places(query: MessageQuery[A], views: ReadViews, headers: Headers) -> Range:
    """Between which places a query's bounds let it look; its times are not regarded."""
    if not isinstance(query, FindMessages):
        return EVER
    low, high = (query.stop, query.start) if query.newest_first else (query.start, query.stop)
    first, last = EVER
    if low is not None:
        first = _from(low, _stored(query.app, low, views, headers))
    if high is not None:
        last = _until(high, _stored(query.app, high, views, headers))
    return first, last


def _stored(app: str, bound: Bound, views: ReadViews, headers: Headers) -> Place | None:
    """The place that a bound with an alias or an id stands for."""
    if bound.alias is not None:
        imported = views.alias(app, bound.alias)
        if imported is not None:
            return imported
    if bound.id is None:
        return None
    if bound.id > POSITION_MAX:
        return Place(bound.at_ms, MessageId(POSITION_MAX))  # no message is there: it is as good as beyond
    changed = views.changed(bound.id)
    header = headers.header(changed.body if changed else position_of(bound.id))
    if header is None or header.id != bound.id or header.app != app:
        return Place(bound.at_ms, bound.id)
    return Place(header.at_ms, header.id)


def _from(bound: Bound, place: Place | None) -> Place:
    """The first place that is meant."""
    if place is None:
        return Place(bound.at_ms if bound.included else UnixMs(bound.at_ms + 1), FIRST_PLACE.id)
    return place if bound.included else Place(place.at_ms, MessageId(place.id + 1))


def _until(bound: Bound, place: Place | None) -> Place:
    """The last place that is meant; before all places, if none is."""
    if place is None:
        return Place(bound.at_ms if bound.included else UnixMs(bound.at_ms - 1), LAST_PLACE.id)
    if bound.included:
        return place
    return Place(place.at_ms, MessageId(place.id - 1)) if place.id else Place(UnixMs(place.at_ms - 1), LAST_PLACE.id)


def _held(times: list[Membership], place: Place) -> bool:
    """Whether a message was sent at one of these times."""
    return any(time.holds(position_of(place.id)) for time in times)


class Search:
    """One query on its way through the history."""

    def __init__(self, query: MessageQuery[A], as_of: Position, horizon_ms: UnixMs, between: Range = EVER) -> None:
        """`as_of`: what was sent after this event is not looked for. `horizon_ms`: what is as old as this is over.

        `between`: the first and the last place that are meant, as `places` has them.
        """
        self._query = query
        self._as_of = as_of
        self._first = max(between[0], Place(UnixMs(max(query.start_ms, horizon_ms + 1)), MessageId(0)))
        self._last = min(between[1], Place(query.end_ms, LAST_PLACE.id))
        self._recalled = isinstance(query, FindMessages) and query.recalled
        self._recipient = query.recipient if isinstance(query, FindMessages) else None
        self._newest_first = isinstance(query, FindMessages) and query.newest_first
        self._kinds = query.kinds
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
            if self._kinds and not self._is_of_these(views, place):
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

    def _is_of_these(self, views: ReadViews, place: Place) -> bool:
        kept = views.kept(self._query.app, place)
        return kept is not None and kept.conversation.kind in self._kinds

    def _sources(self, views: ReadViews) -> Iterator[Iterator[Row]]:
        """Each in order."""
        query = self._query
        if self._recipient is not None:
            if views.is_deleted(query.app, query.conversations[0]):
                return
            yield from self._sent_by_service(views, query.conversations[0], self._recipient)
            return
        conversations: list[Conversation | None] = list(dict.fromkeys(query.conversations))
        if query.receiver is not None and peer(query.receiver) not in conversations:
            conversations.append(peer(query.receiver))
        for conversation in conversations or [None]:
            if conversation is not None and conversation.kind != "peer" and views.is_deleted(query.app, conversation):
                continue
            rows = views.timeline(
                query.app,
                conversation,
                query.sender,
                first=self._first,
                last=self._last,
                newest_first=self._newest_first,
                recalled=self._recalled,
            )
            yield rows if conversation is not None else self._without_deleted(views, rows)
        if query.receiver is not None and query.receiver != query.sender:  # nobody receives their own in a room
            yield from self._received_in_rooms(views, query.receiver)

    def _without_deleted(self, views: ReadViews, rows: Iterator[Row]) -> Iterator[Row]:
        """Rows of any conversation, of which those that were deleted and are not swept yet are not shown."""
        if next(views.deleted_conversations(self._query.app), None) is None:
            return rows
        return ((place, shown and not self._is_deleted(views, place)) for place, shown in rows)

    def _is_deleted(self, views: ReadViews, place: Place) -> bool:
        kept = views.kept(self._query.app, place)
        return kept is None or (
            kept.conversation.kind != "peer" and views.is_deleted(self._query.app, kept.conversation)
        )

    def _sent_by_service(self, views: ReadViews, conversation: Conversation, user: str) -> Iterator[Iterator[Row]]:
        """What it sent to the user by name; and to its subscribers, while the user was one. When what was imported came says
        nothing of that: by name or not at all."""
        app, recalled, newest_first = self._query.app, self._recalled, self._newest_first
        first, last = self._first, self._last
        named = views.received(
            app, conversation, user, first=first, last=last, newest_first=newest_first, recalled=recalled
        )
        yield as_seen(named, views, app, user, recalled=recalled)
        row = views.conversation(app, conversation)
        times = streams.in_conversation(views, app, user, row) if row is not None else []
        if times:
            sent = views.timeline(
                app,
                conversation,
                None,
                first=first,
                last=last,
                newest_first=newest_first,
                recalled=recalled,
                imported=False,
            )
            theirs = ((place, shown and _held(times, place)) for place, shown in sent)
            yield as_seen(theirs, views, app, user, recalled=recalled)

    def _received_in_rooms(self, views: ReadViews, user: str) -> Iterator[Iterator[Row]]:
        """A source a room: a user's stays in one follow each other."""
        rooms: dict[str, list[Iterator[Row]]] = {}
        for stay in views.stays(self._query.app, user, since_ms=self._first.at_ms):
            if stay.since <= self._last and not views.is_deleted(self._query.app, room(stay.room)):
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
                        recalled=self._recalled,
                    )
                )
        for stays in rooms.values():
            yield chain.from_iterable(reversed(stays) if self._newest_first else stays)
