"""The part of the views that keeps conversations: records and what finds them."""

from collections.abc import Iterable, Iterator
from heapq import merge
from operator import itemgetter

import msgspec

from postroom.core.domain.attributes import EVERYTHING, Term, canonical, terms
from postroom.core.ids import Position
from postroom.core.model import Conversation, Kind
from postroom.core.rows import ConversationRow, Numbered

from . import keys
from .engine import Engine, Table
from .keys import U64, user_key
from .numbered import numbered

_encode = msgspec.msgpack.Encoder().encode
_row = msgspec.msgpack.Decoder(ConversationRow).decode
_name = msgspec.msgpack.Decoder(tuple[Kind, str]).decode


class ConversationViews:
    """Rows `o`, `n`, `y`, `N` and `U`; whom `v` finds a conversation for, lists say."""

    _engine: Engine
    _rows: Table

    # Records.

    def conversation(self, app: str, conversation: Conversation) -> ConversationRow | None:
        row = self._engine.get(self._rows, keys.conversation_key(app, conversation.kind, conversation.id))
        return _row(row) if row else None

    def put_conversation(self, app: str, row: ConversationRow) -> None:
        key, name = keys.conversation_key(app, row.kind, row.id), _encode((row.kind, row.id))
        stored = self._engine.get(self._rows, key)
        before: frozenset[Term] = frozenset()
        if stored is None:
            self._engine.put(self._rows, keys.created_key(app, row.kind, row.number), row.id.encode())
            after = terms(row.attributes)
        else:
            old = _row(stored).attributes
            before, after = (before, before) if old == row.attributes else (terms(old), terms(row.attributes))
        self._engine.put(self._rows, key, _encode(row))
        number = U64.pack(row.number)
        for term in before - after:
            self._engine.delete(self._rows, keys.term_key(app, *term) + number)
        for term in after - before:
            self._engine.put(self._rows, keys.term_key(app, *term) + number, name)

    def conversations(
        self, app: str, kind: Kind, *, after: Position = Position(0), before: Position | None = None
    ) -> Iterator[tuple[Position, str]]:
        prefix = keys.CREATED + keys.app_digest(app) + keys.KINDS[kind]
        for number, value in numbered(self._engine, self._rows, prefix, after, before):
            yield number, value.decode()

    def conversations_of(
        self, app: str, user: str, *, after: Position = Position(0), before: Position | None = None
    ) -> Iterator[Numbered]:
        return self._named(keys.MEMBER_OF + user_key(app, user), after, before)

    def conversations_with(
        self, app: str, key: str, value: bytes, *, after: Position = Position(0), before: Position | None = None
    ) -> Iterator[Numbered]:
        term = key, canonical(msgspec.json.decode(value))
        found = (self._named(keys.term_key(app, *each), after, before) for each in (term, EVERYTHING))
        return merge(*found, key=itemgetter(0), reverse=before is not None)

    def _named(self, prefix: bytes, after: Position, before: Position | None) -> Iterator[Numbered]:
        for number, value in numbered(self._engine, self._rows, prefix, after, before):
            yield number, Conversation(*_name(value))

    # Running numbers.

    def message_count(self, number: Position) -> int:
        row = self._engine.get(self._rows, keys.MESSAGE_COUNT + U64.pack(number))
        return U64.unpack(row)[0] if row else 0

    def put_message_count(self, number: Position, count: int) -> None:
        self._engine.put(self._rows, keys.MESSAGE_COUNT + U64.pack(number), U64.pack(count))

    # Groups that are the one of their members.

    def unique_group(self, app: str, members: Iterable[str]) -> str | None:
        prefix = keys.unique_key(app, sorted(members))
        return next((value.decode() for _, value in self._engine.scan(self._rows, prefix, prefix)), None)

    def put_unique(self, app: str, row: ConversationRow, members: Iterable[str]) -> None:
        self._engine.put(self._rows, keys.unique_key(app, sorted(members)) + U64.pack(row.number), row.id.encode())

    def remove_unique(self, app: str, row: ConversationRow, members: Iterable[str]) -> None:
        self._engine.delete(self._rows, keys.unique_key(app, sorted(members)) + U64.pack(row.number))
