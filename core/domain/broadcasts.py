"""Broadcasts: messages of a service to every user of the app, each kept once, for whoever has not received it.

Whether one is still delivered is a rule of reading, by wall time: a clock that is set back shows it again. It is forgotten by
an event, once it is over by the expiry clock as well, which nobody sets, and the app's history does not go back so far. One
whose service was deleted is there no more, and forgotten as soon as it is swept.
"""

from collections.abc import Iterator
from hashlib import blake2b
from itertools import islice, takewhile
from typing import assert_never

import msgspec

from ..commands import ChangeBroadcast, DeleteBroadcast, EditBroadcast, ExpireBroadcasts, SendBroadcast
from ..errors import BroadcastsFull, DedupMismatch, InvalidCommand, UnknownMessage
from ..events import AnyEvent
from ..events.broadcasts import BroadcastDeleted, BroadcastEdited, BroadcastSent, BroadcastsExpired
from ..ids import POSITION_MAX, ExpiryMs, MessageId, Position, UnixMs, message_at, position_of
from ..limits import BROADCASTS_EXPIRED_MAX, BROADCASTS_MAX, DEDUP_TTL_MS
from ..model import Conversation, Receipt, Rules
from ..ports import Headers, ReadViews, Views
from ..rows import Body, BroadcastEntry, BroadcastRow, DedupRow, Header
from .changes import is_meant
from .conversations import require
from .decision import Decision, Now, parts
from .times import at, note

_encoder = msgspec.msgpack.Encoder()


def decide_send(command: SendBroadcast, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Raises DedupMismatch, UnknownConversation, BroadcastsFull, InvalidCommand if it would be over already."""
    app, digest = command.app, b""
    if command.dedup is not None:
        digest = _command_digest(command)
        first = views.dedup(app, command.sender, command.dedup)
        if first is not None and first.expires_ms > now.expiry_ms:
            if first.digest != digest:
                raise DedupMismatch(f"dedup key {command.dedup!r} was used for another message")
            return Decision(result=Receipt(id=first.id, at_ms=first.at_ms, duplicate=True))
    require(views, app, command.conversation)
    events: list[AnyEvent] = []
    if not command.transient:
        if command.valid_until_ms is not None and command.valid_until_ms <= now.wall_ms:
            raise InvalidCommand("valid_until_ms: must lie ahead")
        events += _make_room(views, app, now)
    id, at_ms = message_at(Position(now.position + len(events))), at(app, views, now)
    events.append(
        BroadcastSent(
            app=app,
            id=id,
            conversation=command.conversation,
            sender=command.sender,
            at_ms=at_ms,
            valid_until_ms=None if command.transient else command.valid_until_ms,
            transient=command.transient,
            dedup=command.dedup,
            dedup_digest=digest,
            dedup_expires_ms=ExpiryMs(max(now.wall_ms, now.expiry_ms) + DEDUP_TTL_MS if digest else 0),
        )
    )
    header = Header(
        type="message",
        app=app,
        id=id,
        conversation=command.conversation,
        sender=command.sender,
        lane="normal",
        format=command.format,
        at_ms=at_ms,
        queue=not command.transient,
        history=False,
        via=command.via,
        push=command.push,
    )
    return Decision(
        tuple(events), Receipt(id=id, at_ms=at_ms), Body(header, command.body), keeps_body=not command.transient
    )


def _command_digest(command: SendBroadcast) -> bytes:
    """What makes two broadcasts the same; no other message has the same digest. Not how long they are valid: that may be
    counted from when each was sent."""
    to, body = command.conversation, command.body
    what = "broadcast", to, body, command.format, command.transient, command.push
    return blake2b(_encoder.encode(what), digest_size=16).digest()


def _make_room(views: ReadViews, app: str, now: Now) -> Iterator[BroadcastsExpired]:
    """The oldest that is over goes, if there are as many as may be: by both clocks, as when it is swept, but the history's
    retention is not waited for. Raises BroadcastsFull if there is none."""
    kept = [id for id, _ in islice(views.broadcasts(app), BROADCASTS_MAX)]
    if len(kept) < BROADCASTS_MAX:
        return
    live = {id for id, _ in valid(views, app, UnixMs(_clock(now)))}
    over = next((id for id in kept if id not in live), None)
    if over is None:
        raise BroadcastsFull(f"{BROADCASTS_MAX} broadcasts are valid")
    yield BroadcastsExpired(app=app, ids=(over,))


def _clock(now: Now) -> int:
    """The time by which something may be forgotten: one of the clocks may be ahead."""
    return min(now.wall_ms, now.expiry_ms)


def decide_edit(command: EditBroadcast, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Raises UnknownMessage."""
    header, at_ms = _find(command, views, headers), at(command.app, views, now)
    event = BroadcastEdited(app=command.app, id=command.id, by=command.by, at_ms=at_ms)
    header = msgspec.structs.replace(header, type="edited", by=command.by, format=command.format, push=b"")
    return Decision((event,), Receipt(id=command.id, at_ms=at_ms), Body(header, command.body), keeps_body=True)


def decide_delete(command: DeleteBroadcast, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Raises UnknownMessage."""
    _find(command, views, headers)
    at_ms = at(command.app, views, now)
    event = BroadcastDeleted(app=command.app, id=command.id, by=command.by, at_ms=at_ms)
    return Decision((event,), Receipt(id=command.id, at_ms=at_ms))


def _find(command: ChangeBroadcast, views: ReadViews, headers: Headers) -> Header:
    unknown = UnknownMessage(f"no broadcast {command.id} is kept")
    if not 0 < command.id <= POSITION_MAX:  # no key could be made of it
        raise unknown
    row = row_of(views, command.app, command.id)
    header = headers.header(row.body) if row is not None else None
    if header is None or not is_meant(header, command):
        raise unknown
    return header


def row_of(views: ReadViews, app: str, id: MessageId) -> BroadcastRow | None:
    """What is known of a broadcast whose service is there."""
    row = views.broadcast(app, id)
    return row if row is not None and _Services(views, app).have(row) else None


def decide_expire(command: ExpireBroadcasts, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Forget what no clock that runs as it should will show again."""
    clock, horizon = _clock(now), rules.history_horizon(now.expiry_ms)
    services = _Services(views, command.app)
    over = (
        id
        for id, row in views.broadcasts(command.app)
        if (row.valid_until_ms is not None and row.valid_until_ms <= clock and row.at_ms <= horizon)
        or not services.have(row)
    )
    ids = list(islice(over, command.limit))
    return Decision(
        tuple(BroadcastsExpired(app=command.app, ids=tuple(part)) for part in parts(ids, BROADCASTS_EXPIRED_MAX))
    )


def valid(
    views: ReadViews, app: str, wall_ms: UnixMs, *, after: Position = Position(0), newest_first: bool = False
) -> Iterator[tuple[MessageId, BroadcastRow]]:
    """The broadcasts beyond a position that are delivered at this time; all of them, if the newest come first."""
    services = _Services(views, app)
    for id, row in views.broadcasts(app, after=after, newest_first=newest_first):
        if row.valid_until_ms is not None and row.valid_until_ms <= wall_ms:
            continue
        if services.have(row):
            yield id, row


def waiting(
    views: ReadViews, app: str, user: str, wall_ms: UnixMs, *, after: Position, begins: Position = Position(0)
) -> Iterator[BroadcastEntry]:
    """What a user is to be given beyond a position at this time; `begins`: their broadcasts begin there, which is not noted
    yet."""
    first = begins or views.broadcasts_from(app, user)
    if first:
        for id, row in valid(views, app, wall_ms, after=max(after, Position(first - 1))):
            yield BroadcastEntry(position_of(id), id, row.body)


def newest(
    views: ReadViews, app: str, user: str, wall_ms: UnixMs, *, after: Position, through: Position
) -> BroadcastEntry | None:
    """The last of what a user is to be given between two positions."""
    found = waiting(views, app, user, wall_ms, after=after)
    return max(takewhile(lambda entry: entry.position <= through, found), default=None)


class _Services:
    """An app's services as of now, each looked up once."""

    def __init__(self, views: ReadViews, app: str) -> None:
        self._views = views
        self._app = app
        self._numbers: dict[Conversation, Position | None] = {}

    def have(self, row: BroadcastRow) -> bool:
        """Whether the service that sent it is there; one that got its name later is another."""
        conversation = row.conversation
        if conversation not in self._numbers:
            record = self._views.conversation(self._app, conversation)
            self._numbers[conversation] = record.number if record is not None else None
        return self._numbers[conversation] == row.number


def begin(views: ReadViews, app: str, user: str, now: Now, session: Position) -> Position:
    """Where a user's broadcasts begin, if it is for this login to say; else 0.

    Who logged in before that was noted has a day: whatever was sent since there are broadcasts is theirs. Who comes for the
    first time begins with the newest that is valid.
    """
    if views.broadcasts_from(app, user):
        return Position(0)
    if views.login_day(app, user):
        return Position(1)
    newest = next(valid(views, app, now.wall_ms, newest_first=True), None)
    return position_of(newest[0]) if newest is not None else session


def apply(
    views: Views, position: Position, event: BroadcastSent | BroadcastEdited | BroadcastDeleted | BroadcastsExpired
) -> list[Position]:
    """Returns the positions whose bodies end."""
    app = event.app
    match event:
        case BroadcastSent():
            _apply_sent(views, position, event)
            return []
        case BroadcastEdited():
            note(views, app, event.at_ms)
            row = _kept(views, app, event.id)
            views.put_broadcast(app, event.id, msgspec.structs.replace(row, body=position))
            return [row.body]
        case BroadcastDeleted():
            note(views, app, event.at_ms)
            return [_forget(views, app, event.id)]
        case BroadcastsExpired():
            return [_forget(views, app, id) for id in event.ids]
        case _:
            assert_never(event)


def _apply_sent(views: Views, position: Position, event: BroadcastSent) -> None:
    app = event.app
    note(views, app, event.at_ms)
    if not event.transient:
        record = views.conversation(app, event.conversation)
        assert record is not None  # no service, no broadcast
        row = BroadcastRow(event.conversation, record.number, event.at_ms, event.valid_until_ms, position)
        views.put_broadcast(app, event.id, row)
    if event.dedup is not None:
        outcome = DedupRow(event.dedup_digest, event.id, event.at_ms, event.dedup_expires_ms)
        views.put_dedup(app, event.sender, event.dedup, outcome)


def _forget(views: Views, app: str, id: MessageId) -> Position:
    row = _kept(views, app, id)
    views.remove_broadcast(app, id)
    return row.body


def _kept(views: Views, app: str, id: MessageId) -> BroadcastRow:
    row = views.broadcast(app, id)
    assert row is not None  # it was there when the event was decided
    return row
