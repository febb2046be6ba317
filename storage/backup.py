"""A copy of a data directory, made record by record, beside its broker or without one."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import lmdb
import msgspec

from postroom.core.errors import StorageFailure, StoreInUse
from postroom.core.limits import MIB

from .checking.report import Progress
from .engine import SETS, TABLES, Sets, Table
from .errors import DestinationExists, NotEnoughRoom
from .lmdb.environment import DirectoryLock, data_file, open_databases, open_environment, reader_table
from .reading import Reader
from .records import decode_body, decode_record
from .room import pages_bytes, require_room

CHUNK_ROWS: Final = 10_000
CHUNK_BYTES: Final = 16 * MIB
"""A write transaction of the copy ends at the first of these: it keeps its pages in memory."""
SPARE_BYTES: Final = MIB
_LOCK: Final = "postroom.lock"

Row = tuple[bytes, bytes]


class BackedUp(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds."""

    position: int
    """The last event in it."""
    records: int
    """Rows and entries of all tables."""
    file_bytes: int
    """The backup's file."""
    source_grown_bytes: int
    """How much the source's file grew meanwhile: one reader was open, so pages were not used again."""


def backup(directory: Path, destination: Path, *, progress: Callable[[Progress], None]) -> BackedUp:
    """Copy every record of one moment, in key order, into a fresh directory that a broker can open.

    Record by record, since LMDB's own copy takes whole pages, in whose unused parts texts lie that were withdrawn. Each log
    record and body is checked on the way. It is built in `destination` + ".partial" and renamed when it is on disk; if it
    fails, the partial is removed. Raises NotADataDirectory, UnknownFormat, DestinationExists, NotEnoughRoom, Corruption
    naming a record, StoreInUse if such a backup is being made already, StorageFailure.
    """
    if os.path.lexists(destination):
        raise DestinationExists(f"{destination} is there already; a backup makes a new directory")
    with Reader(directory) as reader:
        file = data_file(directory)
        before = file.stat().st_size
        try:
            with _Partial(destination) as partial:
                position, records = _copy(reader, partial.path, progress)
                reader.check()
                size = data_file(partial.path).stat().st_size
                partial.keep()
        except OSError as error:
            raise StorageFailure(f"{error.filename or destination}: {error.strerror}") from error
        grown = file.stat().st_size - before
    return BackedUp(position=position, records=records, file_bytes=size, source_grown_bytes=grown)


class _Partial:
    """The directory a backup is built in: locked against another one, gone unless it is kept."""

    def __init__(self, destination: Path) -> None:
        self._destination = destination
        self.path = destination.with_name(destination.name + ".partial")

    def __enter__(self) -> "_Partial":
        """Raises StoreInUse, DestinationExists if there is something that no backup made, OSError."""
        self.path.mkdir(exist_ok=True)
        left = {name for name in os.listdir(self.path)}
        if left - {_LOCK, data_file(self.path).name, reader_table(self.path).name}:
            raise DestinationExists(f"{self.path} is there already and is not what a broken-off backup leaves")
        try:
            self._lock = DirectoryLock(self.path)
        except StoreInUse as error:
            raise StoreInUse(f"another backup to {self._destination} is being made") from error
        for left_over in (data_file(self.path), reader_table(self.path)):
            left_over.unlink(missing_ok=True)  # of a backup that was killed
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(FileNotFoundError):
            shutil.rmtree(self.path)
        self._lock.release()

    def keep(self) -> None:
        """It is whole: sync the directory, give it its name, sync that too."""
        _sync(self.path)
        if os.path.lexists(self._destination):
            raise DestinationExists(f"{self._destination} came into being meanwhile")
        self.path.rename(self._destination)
        _sync(self._destination.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy(reader: Reader, path: Path, progress: Callable[[Progress], None]) -> tuple[int, int]:
    """Position and number of records of what was copied, all of it on disk."""
    with reader.snapshot() as snapshot, reader.environment.begin() as sizes:
        needed = pages_bytes(sizes, reader.databases, *TABLES, *SETS) + SPARE_BYTES
        require_room(path, needed)
        names: tuple[Table | Sets, ...] = ("log", "bodies", "live", "base", *SETS)  # meta is written by who creates
        total, done = sum(map(snapshot.engine.count, names)), 0
        try:
            environment = open_environment(path, sync=False)
            try:
                databases = open_databases(environment, create=True)
                for name in names:
                    for chunk in _chunks(_checked(name, snapshot.engine.pairs(name))):
                        with environment.begin(write=True) as raw:
                            raw.cursor(databases[name]).putmulti(chunk, append=True)
                        done += len(chunk)
                        progress(Progress("copying", done, total))
                environment.sync(True)
            finally:
                environment.close()
        except (lmdb.Error, StorageFailure) as error:
            require_room(path, SPARE_BYTES)  # LMDB calls a full disk an input/output error
            raise
        return snapshot.views.position, done
