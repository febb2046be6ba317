"""The views over an engine: `core.ports.Views` in terms of rows and sets.

Every change to an app moves its totals, and every event the clock; these few rows are kept decoded for the length of a
transaction and written once, by `flush`.
"""

from collections.abc import Iterable, Iterator

import msgspec

from postroom.core.events import Record
from postroom.core.ids import ExpiryMs, MessageId, Position, position_of
from postroom.core.rows import ChangedRow, DedupRow, Entry, QueueEnds, SessionRow, Totals, UserRow

from . import keys
from .broadcast_views import StoredBroadcasts
from .conversation_views import ConversationViews
from .copy_views import CopyViews
from .deletion_views import DeletionViews
from .engine import Engine, State
from .history_views import HistoryViews
from .import_views import ImportViews
from .keys import ENTRY, PAIR, U32, U64, pack_entry, unpack_entry, user_key
from .list_views import ListViews
from .room_views import RoomViews
from .stream_views import StreamViews
from .unread_views import UnreadViews
from .user_views import UserRows

_encode = msgspec.msgpack.Encoder().encode
_user = msgspec.msgpack.Decoder(UserRow).decode
_dedup = msgspec.msgpack.Decoder(DedupRow).decode
_changed = msgspec.msgpack.Decoder(ChangedRow).decode
_totals = msgspec.msgpack.Decoder(tuple[str, Totals]).decode
_names = msgspec.msgpack.Decoder(tuple[str, str]).decode
_EMPTY = QueueEnds(0, None)


class StoredViews(
    HistoryViews,
    RoomViews,
    ConversationViews,
    ListViews,
    StreamViews,
    DeletionViews,
    UnreadViews,
    UserRows,
    StoredBroadcasts,
    ImportViews,
    CopyViews,
):
    """One set of views, live or base, within one transaction or snapshot."""

    def __init__(self, engine: Engine, state: State) -> None:
        super().__init__(engine, state.rows)
        self._queues = state.queues
        clock = engine.get(self._rows, keys.CLOCK)
        position, clock_ms, epoch, began = keys.CLOCK_ROW.unpack(clock) if clock else (0, 0, 0, 0)
        self.position = Position(position)
        self.clock_ms = ExpiryMs(clock_ms)
        self.epoch: int = epoch
        self.epoch_position = Position(began)
        self._moved = False
        self._totals: dict[str, Totals] = {}
        self._counted: dict[str, Totals] = {}

    @property
    def unwritten_rows(self) -> int:
        """What `flush` will write."""
        return self._moved + len(self._counted)

    def flush(self) -> None:
        """Write the rows that were kept decoded. Call it once, before the commit."""
        if self._moved:
            row = keys.CLOCK_ROW.pack(self.position, self.clock_ms, self.epoch, self.epoch_position)
            self._engine.put(self._rows, keys.CLOCK, row)
        for app, totals in self._counted.items():
            self._engine.put(self._rows, keys.app_key(app), _encode((app, totals)))

    # The store's end.

    def advance(self, record: Record) -> None:
        assert record.position > self.position
        self.position = record.position
        self.clock_ms = max(self.clock_ms, record.clock_ms)
        self._moved = True

    def start_epoch(self, epoch: int, position: Position) -> None:
        self.epoch = epoch
        self.epoch_position = position
        self._engine.put(self._rows, keys.BEGAN + U64.pack(position), U32.pack(epoch))

    def epoch_after(self, position: Position) -> Position | None:
        for key, _ in self._engine.scan(self._rows, keys.BEGAN + U64.pack(position + 1), keys.BEGAN):
            return Position(U64.unpack(key[1:])[0])
        return None

    # Totals.

    def totals(self, app: str) -> Totals:
        totals = self._totals.get(app)
        if totals is None:
            row = self._engine.get(self._rows, keys.app_key(app))
            totals = self._totals[app] = _totals(row)[1] if row else Totals()
        return totals

    def all_totals(self) -> dict[str, Totals]:
        """Every app's, as of the last commit."""
        return dict(_totals(row) for _, row in self._engine.scan(self._rows, keys.APP, keys.APP))

    def count(self, app: str) -> Totals:
        totals = self._counted.get(app)
        if totals is None:
            totals = self._counted[app] = self.totals(app)
        return totals

    # Queues.

    def user(self, app: str, user: str) -> UserRow | None:
        row = self._engine.get(self._rows, keys.USER + user_key(app, user))
        return _user(row) if row else None

    def put_user(self, row: UserRow) -> None:
        self._engine.put(self._rows, keys.USER + user_key(row.app, row.user), _encode(row))

    def queue_ends(self, app: str, user: str) -> QueueEnds:
        ends = self._engine.set_last(self._queues, user_key(app, user))
        if ends is None:
            return _EMPTY
        count, last = ends
        return QueueEnds(count, unpack_entry(last))

    def entry(self, app: str, user: str, position: Position) -> Entry | None:
        entry = next(self.entries(app, user, after=Position(position - 1)), None)
        return entry if entry is not None and entry.position == position else None

    def entries(self, app: str, user: str, *, after: Position = Position(0)) -> Iterator[Entry]:
        start = ENTRY.pack(after + 1, 0, 0)
        return map(unpack_entry, self._engine.set_scan(self._queues, user_key(app, user), start))

    def put_entry(self, app: str, user: str, entry: Entry) -> None:
        self._engine.set_add(self._queues, user_key(app, user), pack_entry(entry))

    def remove_entries(self, app: str, user: str, entries: Iterable[Entry]) -> None:
        key = user_key(app, user)
        for entry in entries:
            self._engine.set_remove(self._queues, key, pack_entry(entry))

    def queue_owners(self, *, after: bytes = b"") -> Iterator[tuple[bytes, str, str, Entry]]:
        for key, first in self._engine.set_firsts(self._queues, after + b"\0"):
            row = self._engine.get(self._rows, keys.USER + key)
            assert row is not None  # the first copy made it
            owner = _user(row)
            yield key, owner.app, owner.user, unpack_entry(first)

    # Sessions.

    def sessions(self, app: str, user: str) -> list[SessionRow]:
        prefix = keys.SESSION + user_key(app, user)
        return [
            SessionRow(Position(U64.unpack(key[-8:])[0]), U32.unpack(value)[0])
            for key, value in self._engine.scan(self._rows, prefix, prefix)
        ]

    def stale_sessions(self) -> Iterator[tuple[str, str, SessionRow]]:
        for key, value in self._engine.scan(self._rows, keys.EPOCH, keys.EPOCH):
            epoch = U32.unpack(key[1:5])[0]
            if epoch == self.epoch:
                return
            app, user = _names(value)
            yield app, user, SessionRow(Position(U64.unpack(key[-8:])[0]), epoch)

    def put_session(self, app: str, user: str, row: SessionRow) -> None:
        epoch, name = U32.pack(row.epoch), user_key(app, user) + U64.pack(row.session)
        self._engine.put(self._rows, keys.SESSION + name, epoch)
        self._engine.put(self._rows, keys.EPOCH + epoch + name, _encode((app, user)))

    def remove_session(self, app: str, user: str, session: Position) -> None:
        name = user_key(app, user) + U64.pack(session)
        epoch = self._engine.get(self._rows, keys.SESSION + name)
        assert epoch is not None  # a session ends once
        self._engine.delete(self._rows, keys.SESSION + name)
        self._engine.delete(self._rows, keys.EPOCH + epoch + name)

    # Dedup.

    def dedup(self, app: str, sender: str, key: str) -> DedupRow | None:
        row = self._engine.get(self._rows, keys.DEDUP + keys.digest(app, sender, key))
        return _dedup(row) if row else None

    def dedup_ends(self) -> Iterator[tuple[ExpiryMs, Position]]:
        for key, _ in self._engine.scan(self._rows, keys.DEDUP_END, keys.DEDUP_END):
            expires_ms, position = PAIR.unpack(key[1:])
            yield ExpiryMs(expires_ms), Position(position)

    def put_dedup(self, app: str, sender: str, key: str, row: DedupRow) -> None:
        name = keys.digest(app, sender, key)
        self._remove_dedup(name)
        self._engine.put(self._rows, keys.DEDUP + name, _encode(row))
        self._engine.put(self._rows, _dedup_end(row), name)
        if row.awaited and not row.confirmed:
            self._engine.put(self._rows, keys.AWAITED + U64.pack(row.id), _encode((sender, key)))

    def remove_dedup(self, expires_ms: ExpiryMs, position: Position) -> None:
        name = self._engine.get(self._rows, keys.DEDUP_END + PAIR.pack(expires_ms, position))
        assert name is not None
        self._remove_dedup(name)

    def awaited(self, id: MessageId) -> tuple[str, str] | None:
        row = self._engine.get(self._rows, keys.AWAITED + U64.pack(id))
        return _names(row) if row else None

    def _remove_dedup(self, name: bytes) -> None:
        old = self._engine.get(self._rows, keys.DEDUP + name)
        if old is None:
            return
        row = _dedup(old)
        self._engine.delete(self._rows, keys.DEDUP + name)
        self._engine.delete(self._rows, _dedup_end(row))
        if row.awaited:
            self._engine.delete(self._rows, keys.AWAITED + U64.pack(row.id))

    # Changed messages.

    def changed(self, id: MessageId) -> ChangedRow | None:
        row = self._engine.get(self._rows, keys.CHANGED + U64.pack(id))
        return _changed(row) if row else None

    def put_changed(self, id: MessageId, row: ChangedRow) -> None:
        # Without what says nothing, as `Kept` is: rows written before there were copies must equal what replay gives now.
        value = _encode(row) if row.copies else _encode((row.body, row.changes))
        self._engine.put(self._rows, keys.CHANGED + U64.pack(id), value)

    def remove_changed(self, id: MessageId) -> None:
        self._engine.delete(self._rows, keys.CHANGED + U64.pack(id))

    def change(self, position: Position) -> MessageId | None:
        row = self._engine.get(self._rows, keys.CHANGE + U64.pack(position))
        return MessageId(keys.unpack_change(row)[0]) if row else None

    def put_change(self, position: Position, id: MessageId, copies: int = 1) -> None:
        self._engine.put(self._rows, keys.CHANGE + U64.pack(position), keys.pack_change(id, copies))

    def remove_change(self, position: Position) -> int:
        row = self._engine.get(self._rows, keys.CHANGE + U64.pack(position))
        assert row is not None
        id, copies = keys.unpack_change(row)
        if copies == 1:
            self._engine.delete(self._rows, keys.CHANGE + U64.pack(position))
        else:
            self.put_change(position, MessageId(id), copies - 1)
        return copies - 1


def _dedup_end(row: DedupRow) -> bytes:
    return keys.DEDUP_END + PAIR.pack(row.expires_ms, position_of(row.id))
