"""The part of the views that rooms need: who is in one, who was and when, what a room lost, and the presence feeds."""

from collections.abc import Iterator
from itertools import islice

import msgspec

from postroom.core.ids import MessageId, Place, Position, UnixMs
from postroom.core.model import Feed, PresenceEvent
from postroom.core.rows import Gap, Stay

from . import keys
from .engine import Engine, Table
from .keys import STAY_ENDS, U64, user_key

_encode = msgspec.msgpack.Encoder().encode
_member = msgspec.msgpack.Decoder(tuple[str, UnixMs, MessageId]).decode
_stay = msgspec.msgpack.Decoder(tuple[str, UnixMs]).decode
_gap = msgspec.msgpack.Decoder(Gap).decode
_presence = msgspec.msgpack.Decoder(PresenceEvent).decode


class RoomViews:
    """Rows `r`, `i`, `j`, `g` and `f`."""

    _engine: Engine
    _rows: Table
    epoch_position: Position

    # Stays.

    def open_stay(self, app: str, room: str, user: str) -> Stay | None:
        row = self._engine.get(self._rows, keys.room_key(app, room) + user_key(app, user))
        if row is None:
            return None
        _, since_ms, since_id = _member(row)
        return Stay(room, Place(since_ms, since_id))

    def members(self, app: str, room: str) -> Iterator[str]:
        prefix = keys.room_key(app, room)
        for _, value in self._engine.scan(self._rows, prefix, prefix):
            user, _, since = _member(value)
            if since > self.epoch_position:
                yield user

    def open_stays(self, app: str, user: str) -> list[Stay]:
        user_digest = user_key(app, user)
        start = keys.STAY + user_digest + STAY_ENDS.pack(*keys.OPEN, 0)
        return [_read_stay(*row) for row in self._engine.scan(self._rows, start, keys.STAY + user_digest)]

    def stays(self, app: str, user: str, *, since_ms: UnixMs = UnixMs(0)) -> Iterator[Stay]:
        user_digest = user_key(app, user)
        start = keys.STAY + user_digest + STAY_ENDS.pack(since_ms, 0, 0)
        for row in self._engine.scan(self._rows, start, keys.STAY + user_digest):
            yield _read_stay(*row)

    def ended_stays(self, app: str) -> Iterator[UnixMs]:
        prefix = keys.ENDED + keys.app_digest(app)
        for key, _ in self._engine.scan(self._rows, prefix, prefix):
            yield UnixMs(U64.unpack_from(key, len(prefix))[0])

    def put_stay(self, app: str, user: str, stay: Stay) -> None:
        user_digest = user_key(app, user)
        self._engine.put(self._rows, keys.stay_key(user_digest, stay), _encode((stay.room, stay.since.at_ms)))
        if stay.until is None:
            self._engine.put(self._rows, keys.room_key(app, stay.room) + user_digest, _encode((user, *stay.since)))
        else:
            ends = keys.PAIR.pack(*stay.until) + user_digest + U64.pack(stay.since.id)
            self._engine.put(self._rows, keys.ENDED + keys.app_digest(app) + ends, b"")

    def remove_open_stay(self, app: str, user: str, stay: Stay) -> None:
        user_digest = user_key(app, user)
        self._engine.delete(self._rows, keys.stay_key(user_digest, stay))
        self._engine.delete(self._rows, keys.room_key(app, stay.room) + user_digest)

    def remove_oldest_stays(self, app: str, count: int) -> None:
        prefix = keys.ENDED + keys.app_digest(app)
        oldest = [key for key, _ in islice(self._engine.scan(self._rows, prefix, prefix), count)]
        assert len(oldest) == count
        for key in oldest:
            ends = key[len(prefix) :]
            until, user_digest, since = ends[:16], ends[16:32], ends[32:]
            self._engine.delete(self._rows, key)
            self._engine.delete(self._rows, keys.STAY + user_digest + until + since)

    # Gaps.

    def gap(self, app: str, room: str) -> Gap | None:
        row = self._engine.get(self._rows, _gap_key(app, room))
        return _gap(row) if row else None

    def gaps(self, *, after: bytes = b"") -> Iterator[tuple[bytes, Gap]]:
        for key, value in self._engine.scan(self._rows, keys.GAP + after + b"\0", keys.GAP):
            yield key[1:], _gap(value)

    def put_gap(self, gap: Gap) -> None:
        self._engine.put(self._rows, _gap_key(gap.app, gap.room), _encode(gap))

    def remove_gap(self, app: str, room: str) -> None:
        self._engine.delete(self._rows, _gap_key(app, room))

    # Presence.

    def feed(self, app: str, feed: Feed) -> Iterator[PresenceEvent]:
        prefix = keys.FEED + keys.app_digest(app) + keys.FEEDS[feed]
        for _, value in self._engine.scan(self._rows, prefix, prefix):
            yield _presence(value)

    def put_presence(self, app: str, feed: Feed, number: int, event: PresenceEvent) -> None:
        self._engine.put(self._rows, _feed_key(app, feed, number), _encode(event))

    def remove_presence(self, app: str, feed: Feed, number: int) -> None:
        self._engine.delete(self._rows, _feed_key(app, feed, number))


def _read_stay(key: bytes, value: bytes) -> Stay:
    until_ms, until_id, since_id = STAY_ENDS.unpack_from(key, len(key) - STAY_ENDS.size)
    room, since_ms = _stay(value)
    until = Place(UnixMs(until_ms), MessageId(until_id))
    return Stay(room, Place(since_ms, MessageId(since_id)), None if until == keys.OPEN else until)


def _gap_key(app: str, room: str) -> bytes:
    return keys.GAP + keys.digest(app, room)


def _feed_key(app: str, feed: Feed, number: int) -> bytes:
    return keys.FEED + keys.app_digest(app) + keys.FEEDS[feed] + U64.pack(number)
