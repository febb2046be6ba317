"""The part of the views that says what some recipients of a message see of it that others do not."""

from collections.abc import Iterator

import msgspec

from postroom.core.ids import MessageId, Position
from postroom.core.rows import CopyRow

from . import keys
from .engine import Engine, Table
from .keys import U64

_encode = msgspec.msgpack.Encoder().encode
_row = msgspec.msgpack.Decoder(CopyRow).decode


class CopyViews:
    """Rows `C` and `O`."""

    _engine: Engine
    _rows: Table

    def copy(self, app: str, user: str, id: MessageId) -> CopyRow | None:
        row = self._engine.get(self._rows, keys.copy_key(app, user, id))
        return _row(row) if row else None

    def copies(self, id: MessageId) -> Iterator[CopyRow]:
        prefix = keys.COPY + U64.pack(id)
        for _, value in self._engine.scan(self._rows, prefix, prefix):
            yield _row(value)

    def copy_of(self, queue: bytes, id: MessageId) -> CopyRow | None:
        """The copy of whoever a queue with this key belongs to."""
        row = self._engine.get(self._rows, keys.COPY + U64.pack(id) + queue)
        return _row(row) if row else None

    def put_copy(self, app: str, id: MessageId, row: CopyRow) -> None:
        self._engine.put(self._rows, keys.copy_key(app, row.user, id), _encode(row))

    def remove_copy(self, app: str, user: str, id: MessageId) -> None:
        self._engine.delete(self._rows, keys.copy_key(app, user, id))

    def copies_showing(self, position: Position) -> int:
        row = self._engine.get(self._rows, keys.COPY_BODY + U64.pack(position))
        return keys.unpack_change(row)[1] if row else 0

    def copy_body(self, position: Position) -> MessageId | None:
        """The message of which some copies show the body at this position."""
        row = self._engine.get(self._rows, keys.COPY_BODY + U64.pack(position))
        return MessageId(keys.unpack_change(row)[0]) if row else None

    def put_copies_showing(self, position: Position, id: MessageId, copies: int) -> None:
        key = keys.COPY_BODY + U64.pack(position)
        if copies:
            self._engine.put(self._rows, key, keys.pack_change(id, copies))
        else:
            self._engine.delete(self._rows, key)
