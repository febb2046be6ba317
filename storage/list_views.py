"""The part of the views that keeps the lists of conversations: who is on one, who is silenced for a while, who is what, and who
blocks which."""

from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec

from postroom.core.ids import ExpiryMs, Position
from postroom.core.model import Conversation, Kind, UserList
from postroom.core.rows import ConversationRow, Numbered, RoleRow

from . import keys
from .engine import Engine, Table
from .keys import LISTED_AT, U64, user_key
from .numbered import numbered

_encode = msgspec.msgpack.Encoder().encode
_silence = msgspec.msgpack.Decoder(tuple[str, ExpiryMs]).decode
_role = msgspec.msgpack.Decoder(RoleRow).decode
_block = msgspec.msgpack.Decoder(tuple[str, str, Kind, str]).decode


class ListViews:
    """Rows `b`, `l`, `v`, `S`, `E`, `R` and `B`."""

    _engine: Engine
    _rows: Table

    # Lists of users.

    def listed(self, number: Position, users: UserList) -> Iterator[str]:
        prefix = keys.LISTED + U64.pack(number) + keys.LISTS[users]
        for _, value in self._engine.scan(self._rows, prefix, prefix):
            yield value.decode()

    def listed_after(self, number: Position, users: UserList, after: bytes) -> Iterator[tuple[bytes, str]]:
        prefix = keys.LISTED + U64.pack(number) + keys.LISTS[users]
        start = prefix + after + b"\0" if after else prefix
        for key, value in self._engine.scan(self._rows, start, prefix):
            yield key[len(prefix) :], value.decode()

    def is_listed(self, app: str, number: Position, users: UserList, user: str) -> bool:
        return self._engine.get(self._rows, keys.list_key(app, number, users, user)) is not None

    def list_place(self, app: str, number: Position, users: UserList, user: str) -> bytes | None:
        return self._engine.get(self._rows, keys.list_key(app, number, users, user))

    def list_users(
        self, app: str, row: ConversationRow, users: UserList, names: Iterable[str], position: Position
    ) -> None:
        number, name = U64.pack(row.number), _encode((row.kind, row.id))
        rows = []
        for index, user in enumerate(names):
            place = LISTED_AT.pack(position, index)
            rows.append((keys.LISTED + number + keys.LISTS[users] + place, user.encode()))
            rows.append((keys.list_key(app, row.number, users, user), place))
            if users == "members":
                rows.append((keys.MEMBER_OF + user_key(app, user) + number, name))
        self._engine.put_rows(self._rows, rows)

    def unlist_users(self, app: str, row: ConversationRow, users: UserList, names: Iterable[str]) -> None:
        number = U64.pack(row.number)
        for user in names:
            on_list = keys.list_key(app, row.number, users, user)
            place = self._engine.get(self._rows, on_list)
            assert place is not None
            self._engine.delete(self._rows, on_list)
            self._engine.delete(self._rows, keys.LISTED + number + keys.LISTS[users] + place)
            if users == "members":
                self._engine.delete(self._rows, keys.MEMBER_OF + user_key(app, user) + number)

    # Silences for a while.

    def silence(self, app: str, number: Position, user: str) -> ExpiryMs | None:
        row = self._engine.get(self._rows, keys.silence_key(app, number, user))
        return _silence(row)[1] if row else None

    def silence_ends(self) -> Iterator[ExpiryMs]:
        for key, _ in self._engine.scan(self._rows, keys.SILENCE_END, keys.SILENCE_END):
            yield ExpiryMs(U64.unpack_from(key, 1)[0])

    def put_silence(self, app: str, number: Position, user: str, until_ms: ExpiryMs) -> None:
        key = keys.silence_key(app, number, user)
        self._remove_silence_end(key)
        self._engine.put(self._rows, key, _encode((user, until_ms)))
        self._engine.put(self._rows, keys.SILENCE_END + U64.pack(until_ms) + key[1:], b"")

    def remove_silence(self, app: str, number: Position, user: str) -> None:
        key = keys.silence_key(app, number, user)
        self._remove_silence_end(key)
        self._engine.delete(self._rows, key)

    def remove_oldest_silences(self, count: int) -> None:
        ends = (key for key, _ in self._engine.scan(self._rows, keys.SILENCE_END, keys.SILENCE_END))
        oldest = list(islice(ends, count))
        assert len(oldest) == count
        for key in oldest:
            self._engine.delete(self._rows, key)
            self._engine.delete(self._rows, keys.SILENCE + key[1 + U64.size :])

    def _remove_silence_end(self, key: bytes) -> None:
        row = self._engine.get(self._rows, key)
        if row is not None:
            self._engine.delete(self._rows, keys.SILENCE_END + U64.pack(_silence(row)[1]) + key[1:])

    # Roles.

    def role(self, app: str, number: Position, user: str) -> RoleRow | None:
        row = self._engine.get(self._rows, keys.role_key(app, number, user))
        return _role(row) if row else None

    def roles(self, number: Position) -> Iterator[RoleRow]:
        prefix = keys.ROLE + U64.pack(number)
        for _, value in self._engine.scan(self._rows, prefix, prefix):
            yield _role(value)

    def put_role(self, app: str, number: Position, row: RoleRow) -> None:
        self._engine.put(self._rows, keys.role_key(app, number, row.user), _encode(row))

    def remove_role(self, app: str, number: Position, user: str) -> None:
        self._engine.delete(self._rows, keys.role_key(app, number, user))

    # Blocks.

    def is_blocked(self, app: str, user: str, number: Position) -> bool:
        return self._engine.get(self._rows, keys.BLOCK + user_key(app, user) + U64.pack(number)) is not None

    def blocked(self, app: str, user: str, *, after: Position = Position(0)) -> Iterator[Numbered]:
        for number, value in numbered(self._engine, self._rows, keys.BLOCK + user_key(app, user), after):
            yield number, Conversation(*_block(value)[2:])

    def put_block(self, app: str, user: str, row: ConversationRow) -> None:
        key = keys.BLOCK + user_key(app, user) + U64.pack(row.number)
        self._engine.put(self._rows, key, _encode((app, user, row.kind, row.id)))

    def remove_block(self, app: str, user: str, number: Position) -> None:
        self._engine.delete(self._rows, keys.BLOCK + user_key(app, user) + U64.pack(number))
