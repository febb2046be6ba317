"""The part of the views that keeps broadcasts, where a user's begin, and day quotas."""

from collections.abc import Iterator

import msgspec

from postroom.core.ids import MessageId, Position, message_at
from postroom.core.rows import BroadcastRow, QuotaRow

from . import keys
from .engine import Engine, Table
from .keys import QUOTA_ROW, U64, user_key

_encode = msgspec.msgpack.Encoder().encode
_broadcast = msgspec.msgpack.Decoder(BroadcastRow).decode


class StoredBroadcasts:
    """Rows `G`, `L` and `Q`."""

    _engine: Engine
    _rows: Table

    def broadcast(self, app: str, id: MessageId) -> BroadcastRow | None:
        row = self._engine.get(self._rows, keys.broadcast_key(app, id))
        return _broadcast(row) if row else None

    def broadcasts(
        self, app: str, *, after: Position = Position(0), newest_first: bool = False
    ) -> Iterator[tuple[MessageId, BroadcastRow]]:
        prefix = keys.BROADCAST + keys.app_digest(app)
        if newest_first:
            rows = self._engine.scan_back(self._rows, prefix + b"\xff" * U64.size, prefix)
        else:
            rows = self._engine.scan(self._rows, prefix + U64.pack(after + 1), prefix)
        for key, value in rows:
            yield message_at(Position(U64.unpack_from(key, len(prefix))[0])), _broadcast(value)

    def put_broadcast(self, app: str, id: MessageId, row: BroadcastRow) -> None:
        self._engine.put(self._rows, keys.broadcast_key(app, id), _encode(row))

    def remove_broadcast(self, app: str, id: MessageId) -> None:
        self._engine.delete(self._rows, keys.broadcast_key(app, id))

    def broadcasts_from(self, app: str, user: str) -> Position:
        row = self._engine.get(self._rows, keys.BROADCASTS_FROM + user_key(app, user))
        return Position(U64.unpack(row)[0] if row else 0)

    def put_broadcasts_from(self, app: str, user: str, position: Position) -> None:
        self._engine.put(self._rows, keys.BROADCASTS_FROM + user_key(app, user), U64.pack(position))

    def quota_used(self, app: str, name: str) -> QuotaRow:
        row = self._engine.get(self._rows, keys.QUOTA + keys.digest(app, name))
        return QuotaRow(*QUOTA_ROW.unpack(row)) if row else QuotaRow()

    def put_quota_used(self, app: str, name: str, row: QuotaRow) -> None:
        self._engine.put(self._rows, keys.QUOTA + keys.digest(app, name), QUOTA_ROW.pack(*row))
