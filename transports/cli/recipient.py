"""What a data directory knows of one recipient: running numbers, sessions, rooms, and what waits. Never a text.

What waits is in a queue of theirs, or stands once for many: in the streams of what they are members of, and as broadcasts.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from postroom.core.domain import broadcasts, stream_reading
from postroom.core.domain.decision import Now
from postroom.core.domain.queues import lost, next_seq
from postroom.core.domain.rooms import end_of
from postroom.core.errors import Corruption
from postroom.core.expiry import expired
from postroom.core.ids import EPOCH_MS, ExpiryMs, MessageId, Position, UnixMs, position_of
from postroom.core.limits import PAGE_ENTRIES
from postroom.core.rows import Entry, Header, Opened, SessionRow
from postroom.storage.keys import user_key
from postroom.storage.reading import Reader, ReadSnapshot, shown_by
from postroom.storage.views import StoredViews

from .wording import counted, moment, place, shown

_UNKNOWN: Final = (
    "(nothing known: they never logged in, nothing was ever queued for them, and they are a member of nothing)"
)


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the queue."""

    entry: Entry
    expired: bool
    id: MessageId
    """The message it is about."""
    header: Header | None
    """What a session would be sent; None if the entry left the queue while this was read, or if it is damaged."""
    size_bytes: int = 0
    problem: str = ""
    """What is wrong with its body."""


class InRoom(msgspec.Struct, frozen=True, kw_only=True):
    """A room that they have not left."""

    room: str
    since_ms: UnixMs
    present: bool
    """False if it was a process before this one in which they joined: they left with it."""


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """What waits and is kept once, for whoever has not acknowledged it."""

    memberships: int
    """Groups that they are a member of, and services they subscribe to."""
    streamed: int
    """What stands in streams for them, also what a login would pass over: what is too old or too many is the app's settings'
    to say, which are not in the directory."""
    broadcasts: int
    """Those that are valid now."""


class Recipient(msgspec.Struct, frozen=True, kw_only=True):
    """One recipient as of one commit; the bodies as they were a moment later."""

    app: str
    user: str
    known: bool
    position: Position
    clock_ms: ExpiryMs
    epoch: int
    accepted: int
    acked: int
    queued: int
    evicted: int
    expired: int
    withdrawn: int
    next_seq: int
    acked_through: Position
    missed: int
    """Evicted or expired since the last ack: what the next login is told, expired entries still queued included."""
    sessions: tuple[SessionRow, ...]
    rooms: tuple[InRoom, ...]
    waiting: tuple[Waiting, ...]
    shared: Shared

    @property
    def problems(self) -> list[str]:
        """What is wrong with it."""
        return [waiting.problem for waiting in self.waiting if waiting.problem]


def read(reader: Reader, app: str, user: str, wall_ms: UnixMs) -> Recipient:
    """Rows and entries in one short snapshot, then the bodies a page at a time. Raises StorageFailure."""
    with reader.snapshot() as snapshot:
        views = snapshot.views
        row, ends = views.user(app, user), views.queue_ends(app, user)
        entries = list(views.entries(app, user))
        sessions = tuple(views.sessions(app, user))
        rooms = tuple(
            InRoom(room=stay.room, since_ms=stay.since.at_ms, present=end_of(stay, views) is None)
            for stay in views.open_stays(app, user)
        )
        shared = _shared(views, app, user, row.acked_through if row else Position(0), wall_ms)
        known = (
            row is not None or bool(sessions) or bool(rooms) or shared.memberships > 0 or _remembered(views, app, user)
        )
        position, clock_ms, epoch = views.position, views.clock_ms, views.epoch
    gone = lost(row, ends) if row else 0
    over = sum(expired(entry.expires_s, clock_ms) for entry in entries)
    return Recipient(
        app=app,
        user=user,
        known=known,
        position=position,
        clock_ms=clock_ms,
        epoch=epoch,
        accepted=next_seq(row, ends) - 1,
        acked=row.acked if row else 0,
        queued=ends.count,
        evicted=gone - row.expired if row else 0,
        expired=row.expired if row else 0,
        withdrawn=row.withdrawn if row else 0,
        next_seq=next_seq(row, ends),
        acked_through=row.acked_through if row else Position(0),
        missed=gone + over - row.lost_at_ack if row else 0,
        sessions=sessions,
        rooms=rooms,
        waiting=tuple(_waiting(reader, app, user, entries, clock_ms)),
        shared=shared,
    )


def _shared(views: StoredViews, app: str, user: str, acked: Position, wall_ms: UnixMs) -> Shared:
    """As a login at this moment would count it, by wider rules."""
    everything = Opened(views.position, -1, acked)
    passed = stream_reading.passed(views, app, user, after=acked, through=views.position, login=everything)
    next_position = Position(views.position + 1)
    begins = broadcasts.begin(views, app, user, Now(wall_ms, views.clock_ms, next_position), next_position)
    heard = broadcasts.waiting(views, app, user, wall_ms, after=acked, begins=begins)
    memberships = views.conversations_of(app, user)
    return Shared(
        memberships=sum(not views.is_deleted(app, conversation) for _, conversation in memberships),
        streamed=passed.total,
        broadcasts=sum(1 for _ in heard),
    )


def _remembered(views: StoredViews, app: str, user: str) -> bool:
    """Whether they are known by what they did or what was done to them."""
    if views.login_day(app, user) or views.broadcasts_from(app, user) or views.kicked_ms(app, user) is not None:
        return True
    return any(True for _ in views.left(app, user))


def _waiting(reader: Reader, app: str, user: str, entries: list[Entry], clock_ms: ExpiryMs) -> Iterator[Waiting]:
    for start in range(0, len(entries), PAGE_ENTRIES):
        with reader.snapshot() as snapshot:
            page = [_shown(snapshot, app, user, entry, clock_ms) for entry in entries[start : start + PAGE_ENTRIES]]
        yield from page


def _shown(snapshot: ReadSnapshot, app: str, user: str, entry: Entry, clock_ms: ExpiryMs) -> Waiting:
    id, at = shown_by(snapshot.views, user_key(app, user), entry)
    over = expired(entry.expires_s, clock_ms)
    try:
        body = snapshot.bodies.body(at)
    except Corruption as error:
        return Waiting(entry=entry, expired=over, id=id, header=None, problem=str(error))
    if body is not None:
        return Waiting(entry=entry, expired=over, id=id, header=body.header, size_bytes=len(body.payload))
    still_there = snapshot.views.entry(app, user, entry.position) is not None
    problem = f"queue entry {entry.position} has no body" if still_there and not over else ""
    return Waiting(entry=entry, expired=over, id=id, header=None, problem=problem)


def lines(recipient: Recipient) -> Iterator[str]:
    """It for a person."""
    who = recipient
    yield f"app {shown(who.app)}, user {shown(who.user)}, as of event {who.position}, expiry clock {moment(who.clock_ms)}"
    if not who.known:
        yield _UNKNOWN
        return
    sums = f"acked {who.acked} + queued {who.queued} + evicted {who.evicted}"
    yield f"  accepted {who.accepted} = {sums} + expired {who.expired} + withdrawn {who.withdrawn}"
    yield f"  next seq {who.next_seq}, acknowledged through {who.acked_through}, missed at next login {who.missed}"
    for row in who.sessions:
        state = "open" if row.epoch == who.epoch else "of an earlier process, offline"
        yield f"  session {row.session} (epoch {row.epoch}): {state}"
    for stay in who.rooms:
        yield f"  room {shown(stay.room)}: since {moment(stay.since_ms)}{'' if stay.present else ', in an earlier process'}"
    over = sum(waiting.expired for waiting in who.waiting)
    yield f"  queue: {who.queued}" + (f", {over} of them expired" if over else "")
    for waiting in who.waiting:
        yield f"    {_entry_line(waiting)}"
    shared = who.shared
    member = f"member of {counted(shared.memberships, 'conversation')}"
    yield f"  streams: {shared.streamed}, {member}; a login passes over what is too old or too many"
    yield f"  broadcasts: {shared.broadcasts}"


def _entry_line(waiting: Waiting) -> str:
    entry = waiting.entry
    until = f"{'EXPIRED' if waiting.expired else 'expires'} {moment(EPOCH_MS + entry.expires_s * 1000)}"
    start = f"message {waiting.id}  seq {entry.seq}  {until}"
    if waiting.header is None:
        return f"{start}  {waiting.problem or 'no body: it left the queue while this was read, or is expired'}"
    header = waiting.header
    kept = ", in history" if header.history and header.type != "deleted" else ""
    by = f" by {shown(header.by)}" if header.by else ""
    body = f"{header.format}, {waiting.size_bytes} bytes"
    own = f"  (entry {entry.position})" if entry.position != position_of(waiting.id) else ""
    return f"{start}  {header.type}{by}, {shown(header.sender)} → {place(header.conversation)}, {body}{kept}{own}"


def plain(recipient: Recipient) -> dict[str, Any]:
    """It for a program; ids and positions as decimal strings."""
    kept = (
        "app",
        "user",
        "known",
        "clock_ms",
        "epoch",
        "accepted",
        "acked",
        "queued",
        "evicted",
        "expired",
        "withdrawn",
    )
    return {
        **{name: getattr(recipient, name) for name in kept},
        "position": str(recipient.position),
        "next_seq": recipient.next_seq,
        "acked_through": str(recipient.acked_through),
        "missed": recipient.missed,
        "sessions": [
            {"session": str(row.session), "epoch": row.epoch, "online": row.epoch == recipient.epoch}
            for row in recipient.sessions
        ],
        "rooms": [{"room": stay.room, "since_ms": stay.since_ms, "present": stay.present} for stay in recipient.rooms],
        "queue": [_entry_plain(waiting) for waiting in recipient.waiting],
        "memberships": recipient.shared.memberships,
        "streamed": recipient.shared.streamed,
        "broadcasts": recipient.shared.broadcasts,
    }


def _entry_plain(waiting: Waiting) -> dict[str, Any]:
    entry, header = waiting.entry, waiting.header
    told: dict[str, Any] = {
        "position": str(entry.position),
        "id": str(waiting.id),
        "seq": entry.seq,
        "expires_ms": EPOCH_MS + entry.expires_s * 1000,
        "expired": waiting.expired,
        "owns_body": entry.owns_body,
    }
    if header is not None:
        told |= {
            "type": header.type,
            "conversation": {field: getattr(header.conversation, field) for field in ("kind", "id", "line")},
            "sender": header.sender,
            "by": header.by,
            "format": header.format,
            "history": header.history,
            "at_ms": header.at_ms,
            "via": header.via,
            "size_bytes": waiting.size_bytes,
        }
    if waiting.problem:
        told["problem"] = waiting.problem
    return told
