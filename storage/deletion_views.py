"""The part of the views that keeps what is left of deleted conversations until it is swept."""

from collections.abc import Iterator

import msgspec

from postroom.core.domain.attributes import terms
from postroom.core.ids import ExpiryMs, Place, Position
from postroom.core.model import Conversation, Kind
from postroom.core.rows import ConversationRow, Numbered

from . import keys
from .engine import Engine, Table
from .keys import U64

_encode = msgspec.msgpack.Encoder().encode
_row = msgspec.msgpack.Decoder(ConversationRow).decode
_silence = msgspec.msgpack.Decoder(tuple[str, ExpiryMs]).decode
_block = msgspec.msgpack.Decoder(tuple[str, str, Kind, str]).decode


class DeletionViews:
    """Rows `X`; and of other kinds those that a sweep looks for."""

    _engine: Engine
    _rows: Table

    def is_deleted(self, app: str, conversation: Conversation) -> bool:
        return self._engine.get(self._rows, keys.deleted_key(app, conversation.kind, conversation.id)) is not None

    def deleted(self, app: str, conversation: Conversation) -> ConversationRow | None:
        row = self._engine.get(self._rows, keys.deleted_key(app, conversation.kind, conversation.id))
        return _row(row) if row else None

    def deleted_conversations(self, app: str) -> Iterator[Conversation]:
        prefix = keys.DELETED + keys.app_digest(app)
        for _, value in self._engine.scan(self._rows, prefix, prefix):
            yield _row(value).conversation

    def sent_to(self, app: str, conversation: Conversation) -> Iterator[Place]:
        # Its own timeline comes first, then those by sender; last those of whom it named.
        for prefix in (keys.to_key(app, conversation), keys.for_key(app, conversation)):
            for key, _ in self._engine.scan(self._rows, prefix, prefix):
                yield keys.last_place(key)

    def silenced_for_a_while(self, number: Position) -> Iterator[str]:
        prefix = keys.SILENCE + U64.pack(number)
        for _, value in self._engine.scan(self._rows, prefix, prefix):
            yield _silence(value)[0]

    def blocks(self, *, after: bytes = b"") -> Iterator[tuple[bytes, str, str, Numbered]]:
        for key, value in self._engine.scan(self._rows, keys.BLOCK + after + b"\0", keys.BLOCK):
            app, user, kind, name = _block(value)
            yield key[1:], app, user, (Position(U64.unpack(key[-8:])[0]), Conversation(kind, name))

    def remove_conversation(self, app: str, row: ConversationRow) -> None:
        number = U64.pack(row.number)
        self._engine.delete(self._rows, keys.conversation_key(app, row.kind, row.id))
        self._engine.delete(self._rows, keys.created_key(app, row.kind, row.number))
        for term in terms(row.attributes):
            self._engine.delete(self._rows, keys.term_key(app, *term) + number)
        self.put_deleted(app, msgspec.structs.replace(row, unique=False, attributes=b""))

    def put_deleted(self, app: str, row: ConversationRow) -> None:
        self._engine.put(self._rows, keys.deleted_key(app, row.kind, row.id), _encode(row))

    def remove_deleted(self, app: str, row: ConversationRow) -> None:
        self._engine.delete(self._rows, keys.deleted_key(app, row.kind, row.id))
        self._engine.delete(self._rows, keys.MESSAGE_COUNT + U64.pack(row.number))
