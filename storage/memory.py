"""The store that forgets: for tests and for measuring what a disk costs. It keeps everything in sorted dictionaries."""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from sortedcontainers import SortedDict

from postroom.core.errors import Corruption
from postroom.core.model import StoreStatistics

from .engine import SETS, TABLES, Sets, State, Table
from .transaction import StoredSnapshot, StoredTransaction

_ROOM = 1 << 40


class MemoryStore:
    """A `core.ports.Store` whose commits do not survive the process. Use it from one thread."""

    durable = False
    failures: tuple[type[BaseException], ...] = ()
    reserve_bytes = 0

    def __init__(self) -> None:
        self._engine = _MemoryEngine()

    @contextmanager
    def transaction(self) -> Iterator[StoredTransaction]:
        transaction = StoredTransaction(self._engine)
        try:
            yield transaction
            transaction.flush()
        except BaseException:
            self._engine.undo()
            raise
        self._engine.commit()

    @contextmanager
    def snapshot(self) -> Iterator[StoredSnapshot]:
        yield StoredSnapshot(self._engine)

    def room(self, wanted_bytes: int) -> int:
        return _ROOM

    def free_bytes(self) -> int:
        return 0

    def maintain(self) -> None:
        """Nothing to release."""

    def statistics(self) -> StoreStatistics:
        log_records = self._engine.count("log")
        return StoreStatistics(file_bytes=0, used_bytes=0, reserve_bytes=0, log_records=log_records)

    def close(self) -> None:
        """Keeps what it has, so that a test can open a broker on it again."""


class _MemoryEngine:
    """Tables as sorted dictionaries, sets as sorted lists; every write notes how to take it back."""

    def __init__(self) -> None:
        self._tables: dict[Table, SortedDict[bytes, bytes]] = {table: SortedDict() for table in TABLES}
        self._sets: dict[Sets, SortedDict[bytes, list[bytes]]] = {sets: SortedDict() for sets in SETS}
        self._undo: list[Callable[[], object]] = []
        self.written_bytes = 0

    def undo(self) -> None:
        """Take back all writes since the last commit."""
        undo, self._undo = self._undo, []
        for step in reversed(undo):
            step()
        self._undo = []

    def commit(self) -> None:
        """Keep them."""
        self._undo.clear()

    def get(self, table: Table, key: bytes) -> bytes | None:
        return self._tables[table].get(key)

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        rows = self._tables[table]
        old = rows.get(key)
        if old is None:
            self._undo.append(lambda: rows.pop(key))
        else:
            self._undo.append(lambda: rows.__setitem__(key, old))
        rows[key] = value

    def put_rows(self, table: Table, rows: Sequence[tuple[bytes, bytes]]) -> None:
        for key, value in rows:
            self.put(table, key, value)

    def append(self, table: Table, key: bytes, value: bytes) -> None:
        last = self.last_key(table)
        if last is not None and key <= last:
            raise Corruption(f"{table}: key {key.hex()} is not beyond the last, {last.hex()}")
        self.put(table, key, value)

    def delete(self, table: Table, key: bytes) -> None:
        rows = self._tables[table]
        old = rows.pop(key, None)
        if old is not None:
            self._undo.append(lambda: rows.__setitem__(key, old))

    def scan(self, table: Table, start: bytes, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        rows = self._tables[table]
        for key in rows.irange(start):
            if not key.startswith(prefix):
                return
            yield key, rows[key]

    def scan_back(self, table: Table, start: bytes, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        rows = self._tables[table]
        for key in rows.irange(None, start, reverse=True):
            if not key.startswith(prefix):
                return
            yield key, rows[key]

    def last_key(self, table: Table) -> bytes | None:
        rows = self._tables[table]
        return rows.peekitem()[0] if rows else None

    def count(self, table: Table | Sets) -> int:
        if table == "live-queues" or table == "base-queues":
            return sum(len(values) for values in self._sets[table].values())
        return len(self._tables[table])

    def clear(self, state: State) -> None:
        rows, sets = self._tables[state.rows], self._sets[state.queues]
        for key in list(rows):
            self.delete(state.rows, key)
        for key, values in list(sets.items()):
            for value in list(values):
                self.set_remove(state.queues, key, value)

    def set_last(self, sets: Sets, key: bytes) -> tuple[int, bytes] | None:
        values = self._sets[sets].get(key)
        return (len(values), values[-1]) if values else None

    def set_add(self, sets: Sets, key: bytes, value: bytes) -> None:
        self._insert(sets, key, value)
        self._undo.append(lambda: self._remove(sets, key, value))

    def set_remove(self, sets: Sets, key: bytes, value: bytes) -> None:
        if self._remove(sets, key, value):
            self._undo.append(lambda: self._insert(sets, key, value))

    def set_scan(self, sets: Sets, key: bytes, start: bytes) -> Iterator[bytes]:
        values = self._sets[sets].get(key, [])
        return iter(values[bisect_left(values, start) :])

    def set_firsts(self, sets: Sets, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        every = self._sets[sets]
        for key in every.irange(start):
            yield key, every[key][0]

    def _insert(self, sets: Sets, key: bytes, value: bytes) -> None:
        insort(self._sets[sets].setdefault(key, []), value)

    def _remove(self, sets: Sets, key: bytes, value: bytes) -> bool:
        values = self._sets[sets].get(key, [])
        index = bisect_left(values, value)
        if index == len(values) or values[index] != value:
            return False
        del values[index]
        if not values:
            del self._sets[sets][key]
        return True
