"""Rooms: who is in one now, and since when; what was sent to a room while a user was in it is theirs to find later.

A stay belongs to a user, not to one of their sessions, and ends with the last of them. After a crash the stays of the dead
process ended where the new epoch began, by rule; their events follow.
"""

from collections.abc import Iterator
from itertools import islice, takewhile

from ..commands import ExpireGaps, Join, Leave
from ..errors import SessionEnded, TooManyRooms
from ..events import GapsExpired, RoomJoined, RoomLeft, StaysExpired
from ..ids import ExpiryMs, MessageId, Place, Position, UnixMs, position_of
from ..limits import GAP_TTL_MS, HISTORY_EXPIRED_MAX, ROOMS_PER_USER_MAX
from ..model import Conversation, Rules, room
from ..ports import FIRST_PLACE, LAST_PLACE, Headers, ReadViews, Views
from ..rows import Gap, Stay
from . import permission, presence
from .conversations import first_use, refuse_deleted
from .decision import Decision, Entered, Now, parts
from .times import at, note, place_of


def decide_join(command: Join, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Raises SessionEnded, TooManyRooms, Banned; Overloaded while the room is being deleted.

    Who is in the room already stays, and nothing is written.
    """
    app, user = command.app, command.user
    if not _open(command, views):
        raise SessionEnded("the session is closed")
    gap, horizon = newest_loss(views, app, command.room), rules.history_horizon(now.expiry_ms)
    if views.open_stay(app, command.room, user) is not None:
        refuse_deleted(views, app, room(command.room))
        return Decision(result=Entered(views.position, gap, horizon))
    permission.to_enter(views, app, views.conversation(app, room(command.room)), user)
    if len(views.open_stays(app, user)) >= ROOMS_PER_USER_MAX:
        raise TooManyRooms(f"{user!r} is in {ROOMS_PER_USER_MAX} rooms")
    at_ms = at(app, views, now)
    created = first_use(views, app, room(command.room), at_ms)
    event = RoomJoined(app=app, room=command.room, user=user, at_ms=at_ms)
    return Decision((*created, event), Entered(Position(now.position + len(created)), gap, horizon))


def decide_leave(command: Leave, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Who is not in the room writes nothing. Raises SessionEnded."""
    app, user = command.app, command.user
    if not _open(command, views):
        raise SessionEnded("the session is closed")
    if views.open_stay(app, command.room, user) is None:
        return Decision()
    return Decision((RoomLeft(app=app, room=command.room, user=user, at_ms=at(app, views, now)),))


def _open(command: Join | Leave, views: ReadViews) -> bool:
    return any(row.session == command.session for row in views.sessions(command.app, command.user))


def leaves(app: str, user: str, views: ReadViews, at_ms: UnixMs, limit: int = ROOMS_PER_USER_MAX) -> Iterator[RoomLeft]:
    """The user leaves every room, or the first so many."""
    for stay in islice(views.open_stays(app, user), limit):
        yield RoomLeft(app=app, room=stay.room, user=user, at_ms=at_ms)


def apply_joined(views: Views, position: Position, event: RoomJoined) -> None:
    """The stay begins."""
    note(views, event.app, event.at_ms)
    views.put_stay(event.app, event.user, Stay(event.room, place_of(event.at_ms, position)))
    presence.append(views, event.app, "join", event.at_ms, event.user, event.room)


def apply_left(views: Views, position: Position, event: RoomLeft) -> None:
    """The stay ends; it is remembered if a kept message lies in it."""
    app, user = event.app, event.user
    note(views, app, event.at_ms)
    stay = views.open_stay(app, event.room, user)
    assert stay is not None  # they leave what they are in
    views.remove_open_stay(app, user, stay)
    ended = stay._replace(until=place_of(event.at_ms, end_of(stay, views) or position))
    if next(messages_in(ended, views, app, newest_first=False), None) is not None:
        views.put_stay(app, user, ended)
    presence.append(views, app, "leave", event.at_ms, user, event.room)


def end_of(stay: Stay, views: ReadViews) -> Position | None:
    """Where a stay ended or, being of an earlier epoch, ended by rule; None while it lasts."""
    if stay.until is not None:
        return position_of(stay.until.id)
    since = position_of(stay.since.id)
    return views.epoch_after(since) if since < views.epoch_position else None


def messages_in(
    stay: Stay,
    views: ReadViews,
    app: str,
    *,
    first: Place = FIRST_PLACE,
    last: Place = LAST_PLACE,
    sender: str | None = None,
    newest_first: bool,
    other_than: str | None = None,
    recalled: bool = False,
) -> Iterator[tuple[Place, bool]]:
    """Kept messages to the room during a stay: places bound the search, positions decide."""
    end = end_of(stay, views)
    rows = views.timeline(
        app,
        room(stay.room),
        sender,
        first=max(first, stay.since),
        last=min(last, stay.until or LAST_PLACE),
        newest_first=newest_first,
        other_than=other_than,
        recalled=recalled,
    )
    if end is not None and not newest_first:  # what follows was sent after a crash, and may be much
        rows = takewhile(lambda row: position_of(row[0].id) < end or _imported(views, app, row[0]), rows)
    return (row for row in rows if stay.since.id < row[0].id and (end is None or position_of(row[0].id) < end))


def _imported(views: ReadViews, app: str, place: Place) -> bool:
    """Whether a kept message came later than its place says."""
    kept = views.kept(app, place)
    return kept is not None and bool(kept.alias)


def decide_expire_stays(app: str, views: ReadViews, horizon: UnixMs, limit: int) -> Iterator[StaysExpired]:
    """Stays that ended when everything that is kept had not begun."""
    over = list(islice(takewhile(lambda end: end <= horizon, views.ended_stays(app)), limit))
    for part in parts(over, HISTORY_EXPIRED_MAX):
        yield StaysExpired(app=app, at_ms=part[-1], count=len(part))


def apply_stays_expired(views: Views, event: StaysExpired) -> None:
    """Nobody asks for them any more."""
    views.remove_oldest_stays(event.app, event.count)


# What a room's members cannot be given again.


def note_gap(views: Views, app: str, conversation: Conversation, place: Place) -> None:
    """A message to a room was not kept: whoever was away has missed it."""
    views.put_gap(Gap(app, conversation.id, place.id, place.at_ms))


def newest_loss(views: ReadViews, app: str, name: str) -> MessageId:
    """The newest message that a replay of the room may lack."""
    gap = views.gap(app, name)
    return max(gap.id if gap else MessageId(0), views.totals(app).forgotten)


def gap_is_over(gap: Gap, clock: ExpiryMs) -> bool:
    """Whether it is so long ago that it need not be remembered: nobody is told any more that nothing is missing since."""
    return gap.at_ms <= clock - GAP_TTL_MS


def decide_expire_gaps(command: ExpireGaps, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Forget what these rooms lost, as far as it is long ago."""
    gaps = (views.gap(command.app, name) for name in dict.fromkeys(command.rooms))
    over = [gap.room for gap in gaps if gap is not None and gap_is_over(gap, now.expiry_ms)][: command.limit]
    named = parts(over, HISTORY_EXPIRED_MAX)
    return Decision(tuple(GapsExpired(app=command.app, rooms=tuple(part)) for part in named))


def apply_gaps_expired(views: Views, event: GapsExpired) -> None:
    """They are forgotten; from here on nobody can vouch for what is older."""
    totals = views.count(event.app)
    for name in event.rooms:
        gap = views.gap(event.app, name)
        assert gap is not None
        totals.forgotten = max(totals.forgotten, gap.id)
        views.remove_gap(event.app, name)
