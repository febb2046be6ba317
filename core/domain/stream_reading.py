"""What of its streams a session is given: where reading begins, what is the reader's, how much that is."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice, takewhile
from typing import NamedTuple

from ..ids import EPOCH_MS, ExpiryMs, Position, position_of
from ..limits import STREAM_CAPPED_MAX, STREAM_COUNTED_MAX
from ..model import Rules
from ..ports import ReadViews
from ..rows import HIDDEN, Membership, Opened, StreamEntry
from .copies import copy_of
from .streams import memberships


class PassedOver(NamedTuple):
    """What stands in a stream and is not for this reader (`_Span._is_theirs`)."""

    position: Position


class Passed(NamedTuple):
    """What of a user's streams lies in a range of positions."""

    streamed: int = 0
    evicted: int = 0
    expired: int = 0
    last: StreamEntry | None = None
    """The newest of those that were not evicted or expired."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.streamed + self.evicted + self.expired


def opened(
    views: ReadViews, app: str, user: str, session: Position, clock: ExpiryMs, rules: Rules
) -> tuple[Opened, Passed]:
    """What a login at this position, by this expiry clock, decides; and what waits for the user, by that."""
    row = views.user(app, user)
    acked = row.acked_through if row else Position(0)
    begins: dict[tuple[Position, Position], Position] = {}
    login = Opened(session, (clock - rules.queue_ttl_ms - EPOCH_MS) // 1000, acked, begins)
    spans = _spans(views, app, user, acked, login)
    left = _Left(STREAM_CAPPED_MAX)
    for span in spans:
        begin = span.behind_the_newest(rules.queue_messages, left)
        if begin is not None:
            begins[span.key] = begin
    return login, _passed(spans, session)


def sources(
    views: ReadViews, app: str, user: str, *, after: Position, login: Opened
) -> list[Iterator[StreamEntry | PassedOver]]:
    """What a session is to be given beyond a position, one iterator a stream, each in the order of positions."""
    return [span.read() for span in _spans(views, app, user, after, login)]


def passed(views: ReadViews, app: str, user: str, *, after: Position, through: Position, login: Opened) -> Passed:
    """What lies between two positions, by the rules of a session's login."""
    return _passed(_spans(views, app, user, after, login), through)


def _spans(views: ReadViews, app: str, user: str, after: Position, login: Opened) -> "list[_Span]":
    return [_Span(views, app, each, user, after, login) for each in memberships(views, app, user, after)]


def _passed(spans: "Iterable[_Span]", through: Position) -> Passed:
    """Counted one by one up to a bound for all streams together; what does not fit in, by its numbers, with what was deleted
    since and what is passed over."""
    streamed = evicted = expired = 0
    left = _Left(STREAM_COUNTED_MAX)
    last: StreamEntry | None = None
    for span in spans:
        over, begin = span.over(), span.begin()
        counted, newest = span.count(begin, through, left)
        streamed += counted
        evicted += span.count(over, min(begin, through), left)[0]
        expired += span.count(span.low, min(over, through), left)[0]
        if newest is not None and (last is None or newest.position > last.position):
            last = newest
    return Passed(streamed, evicted, expired, last)


class _Left:
    """How many entries may still be looked at one by one."""

    def __init__(self, entries: int) -> None:
        self._entries = entries

    def take(self, entries: Iterable[StreamEntry]) -> Iterator[StreamEntry]:
        """The first of them, as many as may be."""
        for entry in islice(entries, self._entries):
            self._entries -= 1
            yield entry


class _Span:
    """A membership's part of its stream, beyond a position, as a session reads it."""

    def __init__(
        self, views: ReadViews, app: str, membership: Membership, user: str, after: Position, login: Opened
    ) -> None:
        self._views = views
        self._app = app
        self._user = user
        self._login = login
        self.membership = membership
        self.key = membership.number, membership.since
        self.low = max(after, membership.since)

    def read(self) -> Iterator[StreamEntry | PassedOver]:
        """What stands there, from where reading begins."""
        rows = self._rows(self.begin())
        return (entry if self._is_theirs(entry) else PassedOver(entry.position) for entry in rows)

    def _is_theirs(self, entry: StreamEntry) -> bool:
        """Not their own message to a group; not what became of one from before they came, or of one that they are to see
        only now, as it is; not what was hidden from them."""
        sent = position_of(entry.id)
        if entry.sender == self._user or sent <= self.membership.since:
            return False
        if sent != entry.position <= self._login.position and sent > self._login.acked:
            return False
        return self.membership.conversation.kind != "service" or not self._is_hidden(entry)

    def _is_hidden(self, entry: StreamEntry) -> bool:
        copy = copy_of(self._views, self._app, self._user, entry.id)
        return copy is not None and copy.body == HIDDEN

    def _rows(self, after: Position) -> Iterator[StreamEntry]:
        """What stands there beyond a position."""
        until = self.membership.until
        found = self._views.stream(self.membership.number, after=after)
        return found if until is None else takewhile(lambda entry: entry.position < until, found)

    def _rows_back(self, through: Position) -> Iterator[StreamEntry]:
        """What stands there up to a position, the newest first."""
        found = self._views.stream_back(self.membership.number, self._high(through))
        return takewhile(lambda entry: entry.position > self.low, found)

    def behind_the_newest(self, most: int, left: "_Left") -> Position | None:
        """Behind where the newest so many of the reader's stand, as of the login; None if there are no more than these.

        They are looked for one by one up to a bound, and beyond it by their numbers.
        """
        first, newest = next(self._rows(self.low), None), next(self._rows_back(self._login.position), None)
        if first is None or newest is None or newest.ordinal - first.ordinal < most:
            return None
        theirs, last = 0, newest
        for entry in left.take(self._rows_back(self._login.position)):
            if theirs == most:
                return entry.position
            theirs, last = theirs + self._is_theirs(entry), entry
        evicted = last.ordinal - 1 - (most - theirs)
        return self._behind(lambda each: each.ordinal <= evicted)

    def begin(self) -> Position:
        """Where reading begins: behind what is expired or, of too many, evicted as of the login."""
        return max(self.over(), self._login.begins.get(self.key, self.low))

    def over(self) -> Position:
        """Behind what is expired as of the login."""
        return self._behind(lambda entry: entry.stamp_s <= self._login.over_s)

    def count(self, after: Position, through: Position, left: "_Left") -> tuple[int, StreamEntry | None]:
        """How many of the reader's stand there between two positions, and the newest of them."""
        if through <= after:
            return 0, None
        first, last = next(self._rows(after), None), next(self._rows_back(through), None)
        if first is None or last is None or first.position > last.position:
            return 0, None
        between = list(left.take(takewhile(lambda entry: entry.position <= last.position, self._rows(after))))
        if not between or between[-1] != last:
            return last.ordinal - first.ordinal + 1, last
        theirs = [entry for entry in between if self._is_theirs(entry)]
        return len(theirs), theirs[-1] if theirs else None

    def _high(self, through: Position) -> Position:
        until = self.membership.until
        return through if until is None else min(through, Position(until - 1))

    def _behind(self, passes: Callable[[StreamEntry], bool]) -> Position:
        """A position behind which stands the first that does not pass, of those up to the login; what passes stands first.

        Found by halves, however many there are.
        """
        low, high = self.low, self._high(self._login.position)
        if high <= low:
            return low
        first = next(self._rows(low), None)
        if first is None or first.position > high or not passes(first):
            return low
        low = first.position
        while low < high:
            middle = Position((low + high) // 2)
            entry = next(self._rows(middle), None)
            if entry is not None and entry.position <= high and passes(entry):
                low = entry.position
            else:
                high = middle
        return high
