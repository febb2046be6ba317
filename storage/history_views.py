"""The part of the views that queries read: kept messages in their timelines, and results that wait under a handle."""

from collections.abc import Collection, Iterator
from typing import Final

import msgspec

from postroom.core.ids import ExpiryMs, Place, Position
from postroom.core.model import Conversation
from postroom.core.ports import FIRST_PLACE, LAST_PLACE
from postroom.core.rows import Kept, ResultRow

from . import keys
from .engine import Engine, Table
from .keys import PAIR, user_key

_encode = msgspec.msgpack.Encoder().encode
_kept = msgspec.msgpack.Decoder(Kept).decode
_result = msgspec.msgpack.Decoder(ResultRow).decode
_names = msgspec.msgpack.Decoder(tuple[str, str]).decode

RECALLED: Final = 1
IMPORTED: Final = 2
"""What is said of a message in its timelines, in bits."""

Row = tuple[bytes, bytes]


class HistoryViews:
    """Rows `h` and `t` (a message each in the one; three in the other, or one a user it was sent to by name), `q` and `z`."""

    def __init__(self, engine: Engine, rows: Table) -> None:
        self._engine = engine
        self._rows = rows

    # Kept messages.

    def kept(self, app: str, place: Place) -> Kept | None:
        row = self._engine.get(self._rows, keys.KEPT + keys.app_digest(app) + PAIR.pack(*place))
        return _kept(row) if row else None

    def oldest_kept(self, app: str) -> Iterator[tuple[Place, Kept]]:
        prefix = keys.KEPT + keys.app_digest(app)
        for key, value in self._engine.scan(self._rows, prefix, prefix):
            yield keys.last_place(key), _kept(value)

    def timeline(
        self,
        app: str,
        conversation: Conversation | None,
        sender: str | None,
        *,
        first: Place = FIRST_PLACE,
        last: Place = LAST_PLACE,
        newest_first: bool = False,
        other_than: str | None = None,
        recalled: bool = False,
        imported: bool = True,
    ) -> Iterator[tuple[Place, bool]]:
        if conversation is None and sender is None:
            for place, value in self._between(keys.KEPT + keys.app_digest(app), first, last, newest_first=newest_first):
                kept = _kept(value)
                yield place, (recalled or not kept.recalled) and (imported or not kept.alias)
            return
        if conversation is None:
            assert sender is not None
            prefix = keys.from_key(app, sender)
        else:
            prefix = keys.to_key(app, conversation) + (user_key(app, sender) if sender is not None else keys.ANYBODY)
        without = user_key(app, other_than) if other_than is not None else None
        hidden = (0 if recalled else RECALLED) | (0 if imported else IMPORTED)
        for place, value in self._between(prefix, first, last, newest_first=newest_first):
            yield place, not value[0] & hidden and (without is None or value[1:] != without)

    def _between(
        self, prefix: bytes, first: Place, last: Place, *, newest_first: bool
    ) -> Iterator[tuple[Place, bytes]]:
        low, high = prefix + PAIR.pack(*first), prefix + PAIR.pack(*last)
        scan, start = (self._engine.scan_back, high) if newest_first else (self._engine.scan, low)
        for key, value in scan(self._rows, start, prefix):
            if key < low or key > high:
                return
            yield keys.last_place(key), value

    def put_kept(self, app: str, place: Place, kept: Kept) -> None:
        self._engine.put_rows(self._rows, kept_rows(app, place, kept))

    def remove_kept(self, app: str, place: Place, kept: Kept) -> None:
        at = PAIR.pack(*place)
        self._engine.delete(self._rows, keys.KEPT + keys.app_digest(app) + at)
        for key in keys.timeline_keys(app, kept):
            self._engine.delete(self._rows, key + at)

    # Messages to users by name.

    def received(
        self,
        app: str,
        conversation: Conversation,
        user: str,
        *,
        first: Place,
        last: Place,
        newest_first: bool,
        recalled: bool,
    ) -> Iterator[tuple[Place, bool]]:
        prefix = keys.for_key(app, conversation) + user_key(app, user)
        for place, value in self._between(prefix, first, last, newest_first=newest_first):
            yield place, recalled or not value[0] & RECALLED

    def remove_recipients(self, app: str, place: Place, kept: Kept, users: Collection[str]) -> None:
        at, to = PAIR.pack(*place), keys.for_key(app, kept.conversation)
        left = tuple(user for user in kept.recipients if user not in users)
        kept = msgspec.structs.replace(kept, recipients=left)
        self._engine.put(self._rows, keys.KEPT + keys.app_digest(app) + at, _encode_kept(kept))
        for user in users:
            self._engine.delete(self._rows, to + user_key(app, user) + at)

    # Results.

    def result(self, app: str, handle: str) -> ResultRow | None:
        row = self._engine.get(self._rows, keys.RESULT + keys.digest(app, handle))
        return _result(row) if row else None

    def result_ends(self) -> Iterator[tuple[ExpiryMs, Position]]:
        for key, _ in self._engine.scan(self._rows, keys.RESULT_END, keys.RESULT_END):
            expires_ms, position = PAIR.unpack(key[1:])
            yield ExpiryMs(expires_ms), Position(position)

    def put_result(self, app: str, handle: str, row: ResultRow) -> None:
        self._engine.put(self._rows, keys.RESULT + keys.digest(app, handle), _encode(row))
        self._engine.put(self._rows, _result_end(row.expires_ms, row.position), _encode((app, handle)))

    def remove_result(self, app: str, handle: str) -> None:
        row = self.result(app, handle)
        assert row is not None
        self._engine.delete(self._rows, keys.RESULT + keys.digest(app, handle))
        self._engine.delete(self._rows, _result_end(row.expires_ms, row.position))

    def end_result(self, expires_ms: ExpiryMs, position: Position) -> str:
        row = self._engine.get(self._rows, _result_end(expires_ms, position))
        assert row is not None
        app, handle = _names(row)
        self.remove_result(app, handle)
        return app


def kept_rows(app: str, place: Place, kept: Kept) -> tuple[Row, ...]:
    """What is written of a message that is kept."""
    at = PAIR.pack(*place)
    flag = timeline_flags(kept).to_bytes()
    if kept.named:
        listed = ((key + at, flag) for key in keys.timeline_keys(app, kept))
        return (keys.KEPT + keys.app_digest(app) + at, _encode_kept(kept)), *listed
    to, to_from, sent = keys.timeline_keys(app, kept)
    return (
        (keys.KEPT + keys.app_digest(app) + at, _encode_kept(kept)),
        (to + at, flag + user_key(app, kept.sender)),
        (to_from + at, flag),
        (sent + at, flag),
    )


def timeline_flags(kept: Kept) -> int:
    """What its rows in timelines say of it."""
    return (RECALLED if kept.recalled else 0) | (IMPORTED if kept.alias else 0)


def _encode_kept(kept: Kept) -> bytes:
    """Without the fields at its end that say nothing: rows written before there were such must equal what replay gives now."""
    if kept.alias:
        return _encode(kept)
    if kept.number or kept.stream:
        kind = kept.conversation, kept.sender, kept.queued, kept.recalled
        return _encode((*kind, kept.recipients, kept.number, kept.stream))
    if kept.recipients:
        return _encode((kept.conversation, kept.sender, kept.queued, kept.recalled, kept.recipients))
    return _encode((kept.conversation, kept.sender, kept.queued, kept.recalled))


def _result_end(expires_ms: ExpiryMs, position: Position) -> bytes:
    return keys.RESULT_END + PAIR.pack(expires_ms, position)
