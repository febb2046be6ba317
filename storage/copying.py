"""Copying every record of one moment, in key order, into a fresh environment: for backups and for checks.

LMDB's own compacting copy does not do: it takes whole pages, in whose unused parts withdrawn texts lie, and py-lmdb 3.0 dies of
SIGSEGV in it over a `DUPFIXED` set that has outgrown its page, as every full queue has.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import lmdb

from postroom.core.errors import Corruption
from postroom.core.limits import MIB

from .checking.report import Progress
from .engine import LIVE, SETS, Sets, Table
from .lmdb.engine import LmdbEngine
from .lmdb.environment import open_databases, open_environment
from .views import StoredViews

COPIED: Final[tuple[Table | Sets, ...]] = ("log", "bodies", "live", "base", *SETS)
"""All but the versions, which are written by whoever creates an environment."""
CHUNK_ROWS: Final = 10_000
CHUNK_BYTES: Final = 16 * MIB
"""A write transaction of the copy ends at the first of these: it keeps its pages in memory."""

Row = tuple[bytes, bytes]
Check = Callable[[bytes, bytes], object]


def copy_records(
    source: "lmdb.Transaction[bytes]",
    databases: dict[str, lmdb._Database],
    path: Path,
    *,
    checks: dict[Table | Sets, Check],
    progress: Callable[[Progress], None],
) -> int:
    """Copy what a read transaction sees into an empty directory and sync it; how many rows and entries it were.

    A table's check may raise and end the copying. Raises Corruption if keys are not in order, lmdb.Error, StorageFailure.
    """
    engine = LmdbEngine(source, databases)
    total, done = sum(map(engine.count, COPIED)), 0
    with closing(open_environment(path, sync=False)) as environment:
        targets = open_databases(environment, create=True)
        for name in COPIED:
            for chunk in _chunks(_rows(source, databases[name], checks.get(name))):
                with environment.begin(write=True) as target:
                    _, added = target.cursor(targets[name]).putmulti(chunk, append=True)
                if added != len(chunk):
                    raise Corruption(f"{name}: its keys are not in order, somewhere from {chunk[0][0].hex()} on")
                done += added
                progress(Progress("copying", done, total))
        environment.sync(True)  # noqa: FBT003 - lmdb's own signature
    return done


def last_position(source: "lmdb.Transaction[bytes]", databases: dict[str, lmdb._Database]) -> int:
    """The last event that a read transaction sees."""
    return StoredViews(LmdbEngine(source, databases), LIVE).position


def _rows(source: "lmdb.Transaction[bytes]", database: lmdb._Database, check: Check | None) -> Iterator[Row]:
    with source.cursor(database) as cursor:
        for key, value in cursor:
            if check is not None:
                check(key, value)
            yield key, value


def _chunks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    chunk: list[Row] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += len(row[0]) + len(row[1])
        if len(chunk) == CHUNK_ROWS or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
