"""Where conversations come from: rows in the order of creation, of one index or of what several have in common."""

import heapq
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter

import msgspec

from ..ids import Position
from ..limits import INDEX_SOURCES_MAX, INDEX_VALUES_MAX
from ..model import Conversation, Kind
from ..ports import ReadViews
from ..rows import Numbered
from ..where import Among, Filter, candidates

Open = Callable[[ReadViews, Position, Position | None], Iterator[Numbered]]
"""The rows of an index beyond a number; or, if another is given, below that, downwards."""

OWN_NAMES = ("id", "kind", "created_ms", "updated_ms", "members", "muted", "unique", "attributes")
"""Of a row that a filter sees: these are the record's, whatever its attributes are called."""


def narrowed(kinds: Sequence[Kind], filter: Filter) -> tuple[Kind, ...]:
    """Those of the kinds, once each, that the filter leaves."""
    left = dict.fromkeys(kinds)
    for path, values in candidates(filter):
        if path == ("kind",):
            left = dict.fromkeys(kind for kind in left if kind in values)
    return tuple(left)


def sources(app: str, kinds: Sequence[Kind], filter: Filter) -> list[Open]:
    """Indexes that have, each, every conversation that matches; without any, all conversations of these kinds."""
    found = [open for among in candidates(filter) if (open := _indexed(app, kinds, among)) is not None]
    return found[:INDEX_SOURCES_MAX] or [_together([_of_kind(app, kind) for kind in kinds])]


def _indexed(app: str, kinds: Sequence[Kind], among: Among) -> Open | None:
    path, values = among
    if path == ("id",):
        return _named(app, kinds, [value for value in values if isinstance(value, str)])
    if len(values) > INDEX_VALUES_MAX:
        return None
    if path == ("members",):
        return _together([_of_member(app, value) for value in values if isinstance(value, str)])
    if path[0] == "attributes":
        path = path[1:]
    elif path[0] in OWN_NAMES:
        return None
    if len(path) != 1:
        return None
    return _together([_with_attribute(app, path[0], value) for value in values])


def _of_kind(app: str, kind: Kind) -> Open:
    def rows(views: ReadViews, after: Position, before: Position | None) -> Iterator[Numbered]:
        for number, id in views.conversations(app, kind, after=after, before=before):
            yield number, Conversation(kind, id)

    return rows


def _of_member(app: str, user: str) -> Open:
    return lambda views, after, before: views.conversations_of(app, user, after=after, before=before)


def _with_attribute(app: str, key: str, value: object) -> Open:
    json = msgspec.json.encode(value)
    return lambda views, after, before: views.conversations_with(app, key, json, after=after, before=before)


def _named(app: str, kinds: Sequence[Kind], ids: Sequence[str]) -> Open:
    """A look for each name in each kind; few of either."""

    def rows(views: ReadViews, after: Position, before: Position | None) -> Iterator[Numbered]:
        found = []
        for conversation in (Conversation(kind, id) for kind in kinds for id in ids):
            row = views.conversation(app, conversation)
            if row is not None and (after < row.number if before is None else row.number < before):
                found.append((row.number, conversation))
        return iter(sorted(found, key=itemgetter(0), reverse=before is not None))

    return rows


def _together(parts: Sequence[Open]) -> Open:
    """What one of them has."""
    if len(parts) == 1:
        return parts[0]

    def rows(views: ReadViews, after: Position, before: Position | None) -> Iterator[Numbered]:
        each = [part(views, after, before) for part in parts]
        last = None
        for row in heapq.merge(*each, key=itemgetter(0), reverse=before is not None):
            if row[0] != last:
                last = row[0]
                yield row

    return rows


class Common:
    """What all of several sources have, from a number on: whichever is ahead says where the others go on.

    So the rows read are at most as many as the shortest of them has, times their number, and nobody need know beforehand
    which that is.
    """

    def __init__(self, sources: Sequence[Open], views: ReadViews, *, newest_first: bool, rows_max: int) -> None:
        self._sources = sources
        self._views = views
        self._newest_first = newest_first
        self._rows_max = rows_max
        self.read = 0
        """Rows read so far."""
        self.beyond: Position | None = None
        """Where to go on, if `rows_max` was reached while nothing in common was met."""

    def rows(self, beyond: Position) -> Iterator[Numbered]:
        """In order, beyond a number in the direction of travel."""
        open = [self._open(source, beyond) for source in self._sources]
        if len(open) == 1:
            for row in open[0]:
                self.read += 1
                yield row
            return
        heads = [self._next(rows) for rows in open]
        while all(head is not None for head in heads):
            numbers = [head[0] for head in heads if head is not None]
            ahead = min(numbers) if self._newest_first else max(numbers)
            if all(number == ahead for number in numbers):
                assert heads[0] is not None
                yield heads[0]
                heads = [self._next(rows) for rows in open]
                continue
            if self.read >= self._rows_max:
                self.beyond = self._before(ahead)
                return
            for index, number in enumerate(numbers):
                if number != ahead:
                    heads[index] = self._seek(open, index, ahead)

    def _before(self, number: Position) -> Position:
        """What this number is the first beyond."""
        return Position(number + 1 if self._newest_first else number - 1)

    def _seek(self, open: list[Iterator[Numbered]], index: int, number: Position) -> Numbered | None:
        """The next row, if that is far enough; else anew from there."""
        head = self._next(open[index])
        if head is None or (head[0] <= number if self._newest_first else head[0] >= number):
            return head
        open[index] = self._open(self._sources[index], self._before(number))
        return self._next(open[index])

    def _open(self, source: Open, beyond: Position) -> Iterator[Numbered]:
        if self._newest_first:
            return source(self._views, Position(0), beyond)
        return source(self._views, beyond, None)

    def _next(self, rows: Iterator[Numbered]) -> Numbered | None:
        head = next(rows, None)
        self.read += head is not None
        return head
