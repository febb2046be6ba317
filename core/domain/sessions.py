"""Epochs and sessions: who is online, and what an ack takes out of a queue."""

from collections.abc import Iterator
from itertools import islice, takewhile
from operator import attrgetter

import msgspec

from ..commands import Ack, EndStaleSessions, ExpireDedup, ExpireQueue, Login, Logout, StartEpoch
from ..errors import TooManySessions
from ..events import (
    Acked,
    AnyEvent,
    DedupExpired,
    EpochStarted,
    LoggedIn,
    LoggedOut,
    MessageConfirmed,
    QueueExpired,
    RoomLeft,
)
from ..ids import MessageId, Position, UnixMs, message_at
from ..limits import DEDUP_EXPIRED_MAX, SESSIONS_PER_USER_MAX
from ..model import Rules
from ..ports import Headers, ReadViews, Views
from ..rows import BroadcastEntry, Entry, SessionRow, StreamEntry, UserRow
from . import broadcasts, presence, rooms, stream_reading, streams, users
from .decision import Collected, Decision, Now, Opening, Welcome, parts
from .queues import expired_count, leave, lost, next_seq
from .times import at, note


def decide_epoch(command: StartEpoch, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """The next epoch."""
    return Decision((EpochStarted(epoch=views.epoch + 1),))


def decide_login(command: Login, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """A session, after what is over has been accounted for. Raises TokenRevoked, TooManySessions."""
    app, user = command.app, command.user
    users.check_token(views, app, user, command.token_ms)
    rows = views.sessions(app, user)
    stale = [row for row in rows if row.epoch != views.epoch]
    if len(rows) - len(stale) >= SESSIONS_PER_USER_MAX:
        raise TooManySessions(f"{user!r} has {SESSIONS_PER_USER_MAX} sessions open")
    at_ms = at(app, views, now)
    events: list[AnyEvent] = list(_end(app, user, stale, len(rows), views, at_ms))
    over = expired_count(views, app, user, now.expiry_ms)
    if over:
        events.append(QueueExpired(app=app, user=user, count=over))
    ends = views.queue_ends(app, user)
    row = views.user(app, user)
    missed = lost(row, ends) + over - row.lost_at_ack if row else 0
    session = Position(now.position + len(events))
    login, passed = stream_reading.opened(views, app, user, session, now.expiry_ms, rules)
    missed += passed.evicted + passed.expired
    begins = broadcasts.begin(views, app, user, now, session)
    heard = broadcasts.waiting(views, app, user, now.wall_ms, after=login.acked, begins=begins)
    queued = ends.count - over + passed.streamed + sum(1 for _ in heard)
    events.append(
        LoggedIn(
            app=app,
            user=user,
            session=session,
            epoch=views.epoch,
            first=len(rows) == len(stale),
            queued=queued,
            missed=missed,
            at_ms=at_ms,
            day=rules.day(at_ms),
            broadcasts_from=begins,
        )
    )
    opening = Opening(tuple(streams.since(views, app, user)), login, lost=passed.evicted + passed.expired > 0)
    return Decision(tuple(events), Welcome(session, queued, missed), opening=opening)


def decide_logout(command: Logout, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Nothing, if the session is closed already; with the user's last session they leave their rooms first."""
    app, user = command.app, command.user
    rows = views.sessions(app, user)
    ending = [row for row in rows if row.session == command.session]
    events = tuple(_end(app, user, ending, len(rows), views, at(app, views, now)))
    if len(events) > command.rooms_max + 1:
        events = events[: command.rooms_max]  # what is left first are rooms
    return Decision(events)


def _end(
    app: str, user: str, ending: list[SessionRow], open_count: int, views: ReadViews, at_ms: UnixMs
) -> Iterator[RoomLeft | LoggedOut]:
    if ending and len(ending) == open_count:
        yield from rooms.leaves(app, user, views, at_ms)
    for index, row in enumerate(ending, 1):
        yield LoggedOut(app=app, user=user, session=row.session, last=index == open_count, at_ms=at_ms)


def decide_stale(command: EndStaleSessions, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Log out the sessions of earlier epochs, user by user."""
    events: list[RoomLeft | LoggedOut] = []
    seen = set()
    for app, user, _ in views.stale_sessions():
        if (app, user) in seen:
            continue
        seen.add((app, user))
        rows = views.sessions(app, user)
        stale = [row for row in rows if row.epoch != views.epoch]
        events += _end(app, user, stale, len(rows), views, at(app, views, now))
        if len(events) >= command.limit:
            break
    return Decision(tuple(events[: command.limit]))


def decide_ack(command: Ack, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """The prefix up to `through` leaves the queue; an entry among it that is past its expiry was handled all the same.

    What streams had for the user between the ack before and this one is accounted for; nothing of it leaves them. Broadcasts
    are behind the user by the position alone.
    """
    app, user = command.app, command.user
    events: list[AnyEvent] = []
    covered: list[Entry] = []
    row = views.user(app, user)
    passed, heard = stream_reading.Passed(), None
    if command.opened is not None:
        after = row.acked_through if row else Position(0)
        passed = stream_reading.passed(views, app, user, after=after, through=command.through, login=command.opened)
        heard = broadcasts.newest(views, app, user, now.wall_ms, after=after, through=command.through)
    if row is not None or passed.total or heard is not None:
        covered = list(takewhile(lambda entry: entry.position <= command.through, views.entries(app, user)))
        if (
            row is None
            or covered
            or command.through > row.acked_through
            or lost(row, views.queue_ends(app, user)) > row.lost_at_ack
        ):
            id, seq = _newest(views, covered[-1] if covered else None, passed.last, heard)
            events.append(
                Acked(
                    app=app,
                    user=user,
                    session=command.session,
                    through=command.through,
                    count=len(covered),
                    id=id,
                    seq=seq,
                    streamed=passed.streamed,
                    evicted=passed.evicted,
                    expired=passed.expired,
                )
            )
    for id in (*(message_at(entry.position) for entry in covered), *command.confirmed):
        awaited = views.awaited(id)
        if awaited is not None:
            events.append(MessageConfirmed(app=app, id=id, sender=awaited[0], dedup=awaited[1]))
    return Decision(tuple(events), Collected(tuple(entry.position for entry in covered)))


def _newest(
    views: ReadViews, entry: Entry | None, *others: StreamEntry | BroadcastEntry | None
) -> tuple[MessageId, int]:
    """The message that the newest of what is acknowledged is about, and its running number if it was in the queue."""
    other = max((each for each in others if each is not None), key=attrgetter("position"), default=None)
    if other is not None and (entry is None or other.position > entry.position):
        return other.id, 0
    if entry is None:
        return MessageId(0), 0
    return views.change(entry.position) or message_at(entry.position), entry.seq


def decide_expire(command: ExpireQueue, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Account for one queue's expired prefix."""
    over = expired_count(views, command.app, command.user, now.expiry_ms, command.limit)
    return Decision((QueueExpired(app=command.app, user=command.user, count=over),) if over else ())


def decide_expire_dedup(command: ExpireDedup, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Forget outcomes that are over."""
    over = list(islice(takewhile(lambda end: end[0] <= now.expiry_ms, views.dedup_ends()), command.limit))
    ends = [(part[-1], len(part)) for part in parts(over, DEDUP_EXPIRED_MAX)]
    return Decision(
        tuple(DedupExpired(expires_ms=expires_ms, position=place, count=count) for (expires_ms, place), count in ends)
    )


def apply_login(views: Views, event: LoggedIn) -> None:
    """The user is online."""
    views.put_session(event.app, event.user, SessionRow(event.session, event.epoch))
    users.count_login(views, event.app, event.user, event.day)
    if event.broadcasts_from:
        views.put_broadcasts_from(event.app, event.user, event.broadcasts_from)
    if event.first and event.at_ms:
        note(views, event.app, event.at_ms)
        presence.append(views, event.app, "login", event.at_ms, event.user)


def apply_logout(views: Views, event: LoggedOut) -> None:
    """The session is closed."""
    views.remove_session(event.app, event.user, event.session)
    if event.last and event.at_ms:
        note(views, event.app, event.at_ms)
        presence.append(views, event.app, "logout", event.at_ms, event.user)


def apply_acked(views: Views, event: Acked) -> list[Position]:
    """The prefix leaves the queue, what streams had is counted; what was lost before is no longer news."""
    app, user = event.app, event.user
    covered = list(takewhile(lambda entry: entry.position <= event.through, views.entries(app, user)))
    assert len(covered) == event.count
    if event.streamed or event.evicted or event.expired:
        _count_streamed(views, event)
    elif views.user(app, user) is None:  # who only had broadcasts
        views.put_user(UserRow(app, user))
    ended = leave(views, app, user, covered, "acked")
    row = views.user(app, user)
    assert row is not None
    through = max(row.acked_through, event.through)
    lost_now = lost(row, views.queue_ends(app, user))
    views.put_user(msgspec.structs.replace(row, acked_through=through, lost_at_ack=lost_now))
    return ended


def _count_streamed(views: Views, event: Acked) -> None:
    """What streams had for a user counts as accepted when something comes of it: each took a number, as a copy does."""
    row = views.user(event.app, event.user) or UserRow(event.app, event.user)
    accepted = event.streamed + event.evicted + event.expired
    seq = next_seq(row, views.queue_ends(event.app, event.user)) + accepted
    views.put_user(
        msgspec.structs.replace(
            row, next_seq=seq, acked=row.acked + event.streamed, expired=row.expired + event.expired
        )
    )
    totals = views.count(event.app)
    totals.accepted += accepted
    totals.acked += event.streamed
    totals.evicted += event.evicted
    totals.expired += event.expired


def apply_dedup_expired(views: Views, event: DedupExpired) -> None:
    """Outcomes up to this place are forgotten."""
    over = list(takewhile(lambda end: end <= (event.expires_ms, event.position), views.dedup_ends()))
    assert len(over) == event.count
    for expires_ms, position in over:
        views.remove_dedup(expires_ms, position)
