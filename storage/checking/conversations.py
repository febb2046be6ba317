"""Conversation records and what finds them: each record has its rows, and no row is without its record.

Of a conversation that was deleted and is not swept there is a row in place of the record, and nothing finds it.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final

import msgspec

from postroom.core.domain.attributes import terms
from postroom.core.ids import Position
from postroom.core.model import Conversation, Kind, UserList
from postroom.core.rows import ConversationRow, RoleRow, Totals

from .. import keys
from ..engine import Engine
from ..keys import PAIR, U64
from ..views import StoredViews
from .report import Problems, Progress
from .rows import MISFITS, record_name, row_name
from .unread import UnreadCheck

_CHUNK: Final = 1_000
_KINDS: Final = (
    keys.CREATED,
    keys.LISTED,
    keys.ON_LIST,
    keys.MEMBER_OF,
    keys.TERM,
    keys.UNIQUE,
    keys.CONVERSATION,
    keys.SILENCE,
    keys.SILENCE_END,
    keys.ROLE,
    keys.MESSAGE_COUNT,
    keys.STREAM,
    keys.SUBSCRIPTION,
    keys.DELETED,
    keys.UNREAD,
    keys.GUEST,
)


class ConversationCheck:
    """Goes from each app's order of creation to the records, and from these to everything else; then it counts."""

    def __init__(self, engine: Engine, live: StoredViews, problems: Problems) -> None:
        self._engine = engine
        self._views = live
        self._problems = problems
        self._expected: Counter[bytes] = Counter()
        self._unread = UnreadCheck(engine, live, self._expected, self._tell)
        self.records = 0

    def run(self) -> Iterator[Progress]:
        """Check everything; says how far it is now and then."""
        for key, value in self._engine.scan("live", keys.APP, keys.APP):
            try:
                app, _ = msgspec.msgpack.decode(value, type=tuple[str, Totals])
            except MISFITS:
                continue  # told with the accounts
            prefix = keys.CREATED + key[1:]
            for created, name in self._engine.scan("live", prefix, prefix):
                self.records += 1
                self._record(app, created, name)
                if self.records % _CHUNK == 0:
                    yield Progress("conversations", self.records)
            self._notices(app)
            self._deleted(app, keys.DELETED + key[1:])
        for key, value in self._engine.scan("live", keys.BLOCK, keys.BLOCK):
            self._block(key, value)
        for letter in _KINDS:
            found = sum(1 for _ in self._engine.scan("live", letter, letter))
            if found != self._expected[letter]:
                self._tell(f"there are {found} rows '{letter.decode()}', the records need {self._expected[letter]}")

    def _deleted(self, app: str, prefix: bytes) -> None:
        for key, value in self._engine.scan("live", prefix, prefix):
            try:
                row = msgspec.msgpack.decode(value, type=ConversationRow)
                self._expected[keys.DELETED] += 1
                if key != keys.deleted_key(app, row.kind, row.id):
                    self._tell(f"{row_name(key, value)} is not where {record_name(app, row)} belongs")
                if self._engine.get("live", keys.conversation_key(app, row.kind, row.id)) is not None:
                    self._tell(f"{record_name(app, row)} is deleted and has a record")
                self._users(app, row)
            except MISFITS:
                self._tell(f"{row_name(key, value)}: the rows of its conversation cannot be read")

    def _record(self, app: str, created: bytes, name: bytes) -> None:
        try:
            kind = next(kind for kind, letter in keys.KINDS.items() if letter == created[-9:-8])
            key = keys.conversation_key(app, kind, name.decode())
            value = self._engine.get("live", key)
            row = None if value is None else msgspec.msgpack.decode(value, type=ConversationRow)
            if row is None or (row.number, row.kind, row.id) != (U64.unpack(created[-8:])[0], kind, name.decode()):
                self._tell(f"{row_name(created, name)} has no record that says the same")
                return
            self._expected.update((keys.CREATED, keys.CONVERSATION))
            self._rows(app, row)
        except MISFITS:
            self._tell(f"{row_name(created, name)}: the rows of its conversation cannot be read")

    def _rows(self, app: str, row: ConversationRow) -> None:
        number, name = U64.pack(row.number), record_name(app, row)
        self._users(app, row)
        for term in terms(row.attributes):
            self._need(keys.term_key(app, *term) + number, f"{name}: an attribute does not lead to it")
        if row.unique:
            members = sorted(self._views.listed(row.number, "members"))
            self._need(keys.unique_key(app, members) + number, f"{name}: its members do not lead to it")

    def _users(self, app: str, row: ConversationRow) -> None:
        """Who is on a list of it, or is something, and how many messages it counted: until it is swept, if it is deleted."""
        lengths: tuple[tuple[UserList, int], ...] = (
            ("members", row.members),
            ("muted", row.muted),
            ("silenced", row.silenced),
            ("banned", row.banned),
        )
        for users, count in lengths:
            self._list(app, row, users, count)
        self._silences(app, row)
        self._roles(app, row)
        self._unread.record(app, row)
        self._stream(row, record_name(app, row))
        if self._engine.get("live", keys.MESSAGE_COUNT + U64.pack(row.number)) is not None:
            self._expected[keys.MESSAGE_COUNT] += 1

    def _list(self, app: str, row: ConversationRow, users: UserList, count: int) -> None:
        name, number = record_name(app, row), U64.pack(row.number)
        prefix = keys.LISTED + number + keys.LISTS[users]
        found = 0
        for key, value in self._engine.scan("live", prefix, prefix):
            found += 1
            user = value.decode()
            place = self._engine.get("live", keys.list_key(app, Position(row.number), users, user))
            if place != key[len(prefix) :]:
                self._tell(f"{name}: its {users} do not know the place of {user!r}")
            self._expected.update((keys.LISTED, keys.ON_LIST))
            if users == "members":
                self._need(keys.MEMBER_OF + keys.user_key(app, user) + number, f"{name}: {user!r} does not know of it")
                if row.kind == "service":
                    self._subscription(app, row, user, key[len(prefix) : len(prefix) + U64.size])
        if found != count:
            self._tell(f"{name} counts {count} {users}, its list has {found}")

    def _subscription(self, app: str, row: ConversationRow, user: str, place: bytes) -> None:
        self._expected[keys.SUBSCRIPTION] += 1
        found = self._views.subscription(app, user, Position(U64.unpack(place)[0]))
        if found is None or (found.number, found.id) != (row.number, row.id):
            self._tell(f"{record_name(app, row)}: {user!r} does not know of subscribing to it")

    def _stream(self, row: ConversationRow, name: str) -> None:
        """What stands there is in order, and numbered as the conversation's messages are; the rest is for who checks bodies."""
        last, newest = None, self._views.message_count(row.number)
        for entry in self._views.stream(row.number):
            self._expected[keys.STREAM] += not entry.deleted
            if last is not None and (entry.ordinal <= last.ordinal or entry.stamp_s < last.stamp_s):
                self._tell(f"{name}: entry {entry.position} of its stream is not in order behind {last.position}")
            if not 0 < entry.number <= newest:
                self._tell(f"{name}: entry {entry.position} of its stream has the number {entry.number} of {newest}")
            last = entry

    def _notices(self, app: str) -> None:
        """Each tells of an entry."""
        prefix = keys.notice_prefix(app)
        for key, value in self._engine.scan("live", prefix, prefix):
            self._expected[keys.STREAM] += 2
            try:
                number, position = PAIR.unpack(value)[0], U64.unpack(key[-U64.size :])[0]
                entry = self._views.stream_entry(Position(number), Position(position))
            except MISFITS:
                entry = None
            if entry is None or not entry.deleted:
                self._tell(f"{row_name(key, value)}: there is no such notice")

    def _silences(self, app: str, row: ConversationRow) -> None:
        name, prefix = record_name(app, row), keys.SILENCE + U64.pack(row.number)
        for key, value in self._engine.scan("live", prefix, prefix):
            user, until_ms = msgspec.msgpack.decode(value, type=tuple[str, int])
            self._expected[keys.SILENCE] += 1
            if key != keys.silence_key(app, row.number, user):
                self._tell(f"{name}: a silence is not where {user!r} would be looked for")
            self._need(keys.SILENCE_END + U64.pack(until_ms) + key[1:], f"{name}: the silence of {user!r} has no end")

    def _roles(self, app: str, row: ConversationRow) -> None:
        name, prefix = record_name(app, row), keys.ROLE + U64.pack(row.number)
        roles = owners = 0
        for key, value in self._engine.scan("live", prefix, prefix):
            role = msgspec.msgpack.decode(value, type=RoleRow)
            roles, owners = roles + 1, owners + (role.role == "owner")
            self._expected[keys.ROLE] += 1
            if key != keys.role_key(app, row.number, role.user):
                self._tell(f"{name}: a role is not where {role.user!r} would be looked for")
        if (roles, owners) != (row.roles, row.owners):
            self._tell(f"{name} counts {row.roles} roles and {row.owners} owners, there are {roles} and {owners}")

    def _block(self, key: bytes, value: bytes) -> None:
        """It says of whom it is and what of; both must be as its key has them."""
        try:
            app, user, kind, name = msgspec.msgpack.decode(value, type=tuple[str, str, Kind, str])
            conversation = Conversation(kind, name)
            row = self._views.conversation(app, conversation) or self._views.deleted(app, conversation)
            if row is None or key != keys.BLOCK + keys.user_key(app, user) + U64.pack(row.number):
                self._tell(f"{row_name(key, value)} is not of a conversation that there is")
        except MISFITS:
            self._tell(f"{row_name(key, value)} cannot be read")

    def _need(self, key: bytes, otherwise: str) -> None:
        self._expected[key[:1]] += 1
        if self._engine.get("live", key) is None:
            self._tell(otherwise)

    def _tell(self, what: str) -> None:
        self._problems.add("conversations", what)
