"""A store's raw rows, and whether its log still tells how they came about."""

from collections.abc import Iterator
from typing import Any

from postroom.core.domain import apply
from postroom.storage.engine import BASE, LIVE, TABLES, Engine, State
from postroom.storage.memory import MemoryStore

Rows = tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]]]


def engine_of(reader: Any) -> Engine:
    """What a snapshot or transaction reads from."""
    engine: Engine = reader._engine
    return engine


def rows(engine: Engine, state: State) -> Rows:
    """Every row of one set of views, and every entry of its queues."""
    keys = [key for key, _ in engine.set_firsts(state.queues, b"\0")]
    entries = [(key, value) for key in keys for value in engine.set_scan(state.queues, key, b"\0" * 16)]
    return list(engine.scan(state.rows, b"\0")), entries


def values(engine: Engine) -> Iterator[bytes]:
    """Every value of every table: log, bodies, views."""
    for table in TABLES:
        for _, value in engine.scan(table, b"\0"):
            yield value


def replayed(snapshot: Any) -> Rows:
    """Base with the log applied to it, worked out in a store of its own."""
    base, entries = rows(engine_of(snapshot), BASE)
    store = MemoryStore()
    with store.transaction() as transaction:
        engine = engine_of(transaction)
        for key, value in base:
            engine.put(LIVE.rows, key, value)
        for key, value in entries:
            engine.set_add(LIVE.queues, key, value)
    with store.transaction() as transaction:  # begun anew: views read their clock row when they begin
        for record in snapshot.log():
            apply(transaction.views, record)
    with store.snapshot() as result:
        return rows(engine_of(result), LIVE)
