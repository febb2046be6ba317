"""The part of the views that keeps streams: what stands in one, who left it, who subscribes to what."""

from collections.abc import Iterator
from itertools import islice

import msgspec

from postroom.core.ids import MessageId, Place, Position, UnixMs
from postroom.core.model import Conversation, Kind
from postroom.core.rows import Membership, StreamEntry, SubscriptionRow

from . import keys
from .engine import Engine, Table
from .keys import LISTED_AT, PAIR, STAY_ENDS, U64, user_key
from .numbered import numbered

_encode = msgspec.msgpack.Encoder().encode
_left = msgspec.msgpack.Decoder(tuple[str, Kind, Position]).decode
_subscription = msgspec.msgpack.Decoder(tuple[Position, str, UnixMs]).decode


class StreamRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a row `T` says of an entry; fields at its end that say nothing are not there."""

    id: MessageId
    number: int
    ordinal: int
    stamp_s: int
    sender: str = ""
    deleted: bool = False


_row = msgspec.msgpack.Decoder(StreamRow).decode


class StreamViews:
    """Rows `T` and `P`; and of `i` and `j` those of memberships."""

    _engine: Engine
    _rows: Table

    # What stands in a stream.

    def stream(self, number: Position, *, after: Position = Position(0)) -> Iterator[StreamEntry]:
        prefix = keys.STREAM + U64.pack(number)
        for row in self._engine.scan(self._rows, prefix + U64.pack(after + 1), prefix):
            yield _entry(*row)

    def stream_back(self, number: Position, through: Position) -> Iterator[StreamEntry]:
        prefix = keys.STREAM + U64.pack(number)
        for row in self._engine.scan_back(self._rows, prefix + U64.pack(through), prefix):
            yield _entry(*row)

    def stream_entry(self, number: Position, position: Position) -> StreamEntry | None:
        key = keys.STREAM + PAIR.pack(number, position)
        value = self._engine.get(self._rows, key)
        return _entry(key, value) if value is not None else None

    def put_stream_entry(self, number: Position, entry: StreamEntry) -> None:
        what: tuple[object, ...] = entry.id, entry.number, entry.ordinal, entry.stamp_s
        if entry.deleted:
            what = *what, entry.sender, True
        elif entry.sender:
            what = *what, entry.sender
        self._engine.put(self._rows, keys.STREAM + PAIR.pack(number, entry.position), _encode(what))

    def remove_stream_entry(self, number: Position, position: Position) -> None:
        self._engine.delete(self._rows, keys.STREAM + PAIR.pack(number, position))

    # What is told of as deleted.

    def ended_notices(self, app: str) -> Iterator[UnixMs]:
        prefix = keys.notice_prefix(app)
        for _, value in self._engine.scan(self._rows, prefix, prefix):
            yield UnixMs(PAIR.unpack(value)[1])

    def put_notice_end(self, app: str, number: Position, at_ms: UnixMs, position: Position) -> None:
        self._engine.put(self._rows, keys.notice_prefix(app) + U64.pack(position), PAIR.pack(number, at_ms))

    def remove_oldest_notices(self, app: str, count: int) -> list[Position]:
        prefix = keys.notice_prefix(app)
        oldest = list(islice(self._engine.scan(self._rows, prefix, prefix), count))
        assert len(oldest) == count
        gone = []
        for key, value in oldest:
            number, position = PAIR.unpack(value)[0], U64.unpack(key[-U64.size :])[0]
            self.remove_notice(app, Position(number), Position(position))
            gone.append(Position(position))
        return gone

    def remove_notice(self, app: str, number: Position, position: Position) -> None:
        self._engine.delete(self._rows, keys.notice_prefix(app) + U64.pack(position))
        self.remove_stream_entry(number, position)

    # Who is a member, and who was.

    def member_since(self, app: str, number: Position, user: str) -> Position | None:
        place = self._engine.get(self._rows, keys.list_key(app, number, "members", user))
        return Position(LISTED_AT.unpack(place)[0]) if place is not None else None

    def left(self, app: str, user: str, *, after: Position = Position(0)) -> Iterator[Membership]:
        prefix = keys.STAY + keys.member_key(app, user)
        for key, value in self._engine.scan_back(self._rows, prefix + STAY_ENDS.pack(*keys.OPEN, 0), prefix):
            _, until, since = STAY_ENDS.unpack_from(key, len(prefix))
            if until <= after:
                return
            id, kind, number = _left(value)
            yield Membership(number, Conversation(kind, id), Position(since), Position(until))

    def put_left(self, app: str, user: str, membership: Membership, until: Place) -> None:
        member, since = keys.member_key(app, user), U64.pack(membership.since)
        name = membership.conversation.id, membership.conversation.kind, membership.number
        self._engine.put(self._rows, keys.STAY + member + PAIR.pack(*until) + since, _encode(name))
        ends = keys.ENDED + keys.app_digest(app) + PAIR.pack(*until) + member + since
        self._engine.put(self._rows, ends, b"")

    # Subscriptions.

    def subscriptions(
        self, app: str, user: str, *, after: Position = Position(0), before: Position | None = None
    ) -> Iterator[SubscriptionRow]:
        for position, value in numbered(
            self._engine, self._rows, keys.SUBSCRIPTION + user_key(app, user), after, before
        ):
            yield SubscriptionRow(position, *_subscription(value))

    def subscription(self, app: str, user: str, position: Position) -> SubscriptionRow | None:
        value = self._engine.get(self._rows, keys.SUBSCRIPTION + user_key(app, user) + U64.pack(position))
        return SubscriptionRow(position, *_subscription(value)) if value is not None else None

    def put_subscription(self, app: str, user: str, row: SubscriptionRow) -> None:
        key = keys.SUBSCRIPTION + user_key(app, user) + U64.pack(row.position)
        self._engine.put(self._rows, key, _encode((row.number, row.id, row.since_ms)))

    def remove_subscription(self, app: str, user: str, position: Position) -> None:
        self._engine.delete(self._rows, keys.SUBSCRIPTION + user_key(app, user) + U64.pack(position))


def _entry(key: bytes, value: bytes) -> StreamEntry:
    row = _row(value)
    position = Position(U64.unpack(key[-U64.size :])[0])
    return StreamEntry(position, row.id, row.number, row.ordinal, row.stamp_s, row.sender, row.deleted)
