"""The part of the views that knows what users have read of groups and services."""

from collections.abc import Iterator

import msgspec

from postroom.core.ids import Position
from postroom.core.rows import UnreadRow

from . import keys
from .engine import Engine, Table
from .keys import U64, user_key
from .numbered import numbered

_encode = msgspec.msgpack.Encoder().encode
_row = msgspec.msgpack.Decoder(UnreadRow).decode


class UnreadViews:
    """Rows `V` and `W`."""

    _engine: Engine
    _rows: Table

    def unread(self, app: str, user: str, number: Position) -> UnreadRow | None:
        row = self._engine.get(self._rows, keys.unread_key(app, user, number))
        return _row(row) if row else None

    def unread_rows(
        self, app: str, user: str, *, after: Position = Position(0)
    ) -> Iterator[tuple[Position, UnreadRow]]:
        for number, value in numbered(self._engine, self._rows, keys.UNREAD + user_key(app, user), after):
            yield number, _row(value)

    def guests(self, number: Position) -> Iterator[str]:
        prefix = keys.GUEST + U64.pack(number)
        for _, value in self._engine.scan(self._rows, prefix, prefix):
            yield value.decode()

    def put_unread(self, app: str, user: str, number: Position, row: UnreadRow) -> None:
        self._engine.put(self._rows, keys.unread_key(app, user, number), _encode(row))
        if row.guest:
            self._engine.put(self._rows, keys.guest_key(app, user, number), user.encode())

    def remove_unread(self, app: str, user: str, number: Position) -> None:
        row = self.unread(app, user, number)
        if row is None:
            return
        self._engine.delete(self._rows, keys.unread_key(app, user, number))
        if row.guest:
            self._engine.delete(self._rows, keys.guest_key(app, user, number))
