"""Transactions and snapshots over an engine: `core.ports.Transaction` and `Snapshot`, the same for every store."""

from collections.abc import Iterator
from itertools import islice, takewhile

from postroom.core.domain import apply
from postroom.core.events import Record
from postroom.core.ids import ExpiryMs, Position
from postroom.core.rows import Body, Header
from postroom.core.space import ROW_BYTES, TRIM_RECORD_BYTES

from .engine import BASE, LIVE, Engine
from .keys import U64
from .records import decode_body, decode_record, encode_body, encode_record
from .views import StoredViews


class StoredBodies:
    """Kept bodies within one transaction or snapshot."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def body(self, position: Position) -> Body | None:
        key = U64.pack(position)
        value = self._engine.get("bodies", key)
        return None if value is None else decode_body(key, value)

    def header(self, position: Position) -> Header | None:
        body = self.body(position)
        return body.header if body else None


class StoredSnapshot:
    """One consistent state to read."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.views = StoredViews(engine, LIVE)
        self.bodies = StoredBodies(engine)

    def log(self, *, after: Position = Position(0)) -> Iterator[Record]:
        for key, value in self._engine.scan("log", U64.pack(after + 1)):
            yield decode_record(key, value)


class StoredTransaction(StoredSnapshot):
    """A snapshot that can be written to. Its owner calls `flush` before the commit."""

    @property
    def written_bytes(self) -> int:
        return self._engine.written_bytes + self.views.unwritten_rows * ROW_BYTES

    def append(self, record: Record) -> None:
        self._engine.append("log", *encode_record(record))

    def put_body(self, position: Position, body: Body) -> None:
        self._engine.append("bodies", *encode_body(position, body))

    def delete_body(self, position: Position) -> None:
        self._engine.delete("bodies", U64.pack(position))

    def trim(self, before_ms: ExpiryMs, limit: int) -> int:
        base = StoredViews(self._engine, BASE)
        oldest = list(takewhile(lambda record: record.clock_ms < before_ms, islice(self.log(), limit)))
        enough, trimmed = self.written_bytes + limit * TRIM_RECORD_BYTES, 0
        for record in oldest:
            if trimmed and self.written_bytes > enough:
                break  # some were of messages or lists of many
            apply(base, record)
            self._engine.delete("log", U64.pack(record.position))
            trimmed += 1
        base.flush()
        return trimmed

    def flush(self) -> None:
        """Write what was kept decoded."""
        self.views.flush()
