"""An LMDB transaction as an `Engine`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import lmdb

from postroom.core.errors import Corruption
from postroom.core.space import ROW_BYTES

from ..engine import Sets, State, Table

_NEIGHBOUR_BYTES: Final = 64
"""Of a value in a set that was written to just before: its 16 bytes, in pages that are at least a quarter full."""


class LmdbEngine:
    """One LMDB transaction's tables. Values are copies: nothing points into the map."""

    def __init__(self, transaction: "lmdb.Transaction[bytes]", databases: Mapping[str, lmdb._Database]) -> None:
        self._transaction = transaction
        self._databases = databases
        self._cursors: dict[Table | Sets, lmdb.Cursor[bytes]] = {}
        self._last_set: tuple[Sets, bytes] | None = None
        self.written_bytes = 0

    def get(self, table: Table, key: bytes) -> bytes | None:
        return self._transaction.get(key, db=self._databases[table])

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        self.written_bytes += ROW_BYTES + len(value)
        self._transaction.put(key, value, db=self._databases[table])

    def put_rows(self, table: Table, rows: Sequence[tuple[bytes, bytes]]) -> None:
        for _, value in rows:
            self.written_bytes += ROW_BYTES + len(value)
        self._cursor(table).putmulti(rows)

    def append(self, table: Table, key: bytes, value: bytes) -> None:
        self.written_bytes += ROW_BYTES + len(value)
        if not self._transaction.put(key, value, db=self._databases[table], append=True):
            raise Corruption(f"{table}: key {key.hex()} is not beyond the last one")

    def delete(self, table: Table, key: bytes) -> None:
        self.written_bytes += ROW_BYTES
        self._transaction.delete(key, db=self._databases[table])

    def scan(self, table: Table, start: bytes, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        with self._transaction.cursor(db=self._databases[table]) as cursor:
            if not cursor.set_range(start):
                return
            for key, value in cursor:
                if not key.startswith(prefix):
                    return
                yield key, value

    def scan_back(self, table: Table, start: bytes, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        with self._transaction.cursor(db=self._databases[table]) as cursor:
            # At `start` or, since there may be no such key, at the one before it.
            if not (cursor.set_range(start) and (cursor.key() == start or cursor.prev())) and not cursor.last():
                return
            for key, value in cursor.iterprev():
                if key > start:  # `start` is before every key: there was none before it to go to
                    return
                if not key.startswith(prefix):
                    return
                yield key, value

    def last_key(self, table: Table) -> bytes | None:
        with self._transaction.cursor(db=self._databases[table]) as cursor:
            return cursor.key() if cursor.last() else None

    def count(self, table: Table | Sets) -> int:
        entries: int = self._transaction.stat(self._databases[table])["entries"]
        return entries

    def clear(self, state: State) -> None:
        for name in state:
            self._transaction.drop(self._databases[name], delete=False)

    def set_last(self, sets: Sets, key: bytes) -> tuple[int, bytes] | None:
        cursor = self._cursors.get(sets) or self._cursor(sets)
        if not cursor.set_key(key):
            return None
        cursor.last_dup()
        return cursor.count(), cursor.value()

    def set_add(self, sets: Sets, key: bytes, value: bytes) -> None:
        self._count_set(sets, key)
        self._transaction.put(key, value, db=self._databases[sets])

    def set_remove(self, sets: Sets, key: bytes, value: bytes) -> None:
        self._count_set(sets, key)
        self._transaction.delete(key, value, db=self._databases[sets])

    def set_scan(self, sets: Sets, key: bytes, start: bytes) -> Iterator[bytes]:
        with self._transaction.cursor(db=self._databases[sets]) as cursor:
            if cursor.set_range_dup(key, start):
                yield from cursor.iternext_dup()

    def set_firsts(self, sets: Sets, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        with self._transaction.cursor(db=self._databases[sets]) as cursor:
            if cursor.set_range(start):
                yield from cursor.iternext_nodup(keys=True, values=True)

    def _cursor(self, name: Table | Sets) -> "lmdb.Cursor[bytes]":
        """One that is kept for the length of the transaction: for what does not go on from where it stands."""
        cursor = self._cursors.get(name)
        if cursor is None:
            cursor = self._cursors[name] = self._transaction.cursor(db=self._databases[name])
        return cursor

    def _count_set(self, sets: Sets, key: bytes) -> None:
        self.written_bytes += _NEIGHBOUR_BYTES if self._last_set == (sets, key) else ROW_BYTES
        self._last_set = sets, key
