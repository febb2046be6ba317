"""The part of the views that knows again what was imported: messages by the name they had elsewhere, and conversations."""

from collections.abc import Iterator
from itertools import islice

from postroom.core.ids import MessageId, Place, Position, UnixMs
from postroom.core.model import Conversation

from . import keys
from .engine import Engine, Table
from .keys import PAIR, U64


class ImportViews:
    """Rows `M` and `I`."""

    _engine: Engine
    _rows: Table

    def alias(self, app: str, alias: str) -> Place | None:
        row = self._engine.get(self._rows, keys.alias_key(app, alias))
        return _place(row) if row else None

    def put_alias(self, app: str, alias: str, place: Place) -> None:
        self._engine.put(self._rows, keys.alias_key(app, alias), PAIR.pack(*place))

    def remove_alias(self, app: str, alias: str) -> None:
        self._engine.delete(self._rows, keys.alias_key(app, alias))

    def outlive(self, app: str, alias: str, place: Place) -> None:
        key = keys.outlived_key(app) + PAIR.pack(*place)
        self._engine.put(self._rows, key, keys.alias_key(app, alias)[len(keys.ALIAS) :])

    def outlived_aliases(self, app: str) -> Iterator[Place]:
        prefix = keys.outlived_key(app)
        for key, _ in self._engine.scan(self._rows, prefix, prefix):
            yield _place(key[len(prefix) :])

    def remove_outlived_aliases(self, app: str, count: int) -> None:
        prefix = keys.outlived_key(app)
        oldest = list(islice(self._engine.scan(self._rows, prefix, prefix), count))
        assert len(oldest) == count
        for key, name in oldest:
            self._engine.delete(self._rows, key)
            self._engine.delete(self._rows, keys.ALIAS + name)

    def was_imported(self, app: str, name: str) -> bool:
        return self._engine.get(self._rows, keys.imported_key(app, name)) is not None

    def put_imported(self, app: str, conversation: Conversation, number: Position) -> None:
        self._engine.put(self._rows, keys.imported_key(app, conversation.id), U64.pack(number))


def _place(packed: bytes) -> Place:
    at_ms, id = PAIR.unpack(packed)
    return Place(UnixMs(at_ms), MessageId(id))
