"""A copy of a data directory, made record by record, beside its broker or without one."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

import lmdb
import msgspec

from postroom.core.errors import StorageFailure, StoreInUse
from postroom.core.limits import MIB

from .checking.report import Progress
from .copying import COPIED, Check, copy_records, last_position
from .engine import Sets, Table
from .errors import UnusablePlace
from .lmdb.environment import DirectoryLock, data_file, reader_table
from .reading import Reader
from .records import decode_body, decode_record
from .room import blame_full_disk, pages_bytes, require_room

SPARE_BYTES: Final = MIB
_LOCK: Final = "postroom.lock"
_CHECKS: Final[dict[Table | Sets, Check]] = {"log": decode_record, "bodies": decode_body}
"""What must be sound to be worth keeping a second time."""


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

    Each log record and body is checked on the way, and no byte of what was withdrawn goes along. It is built in
    `destination` + ".partial" and renamed when it is on disk; if it fails, the partial is removed. Raises
    NotADataDirectory, UnknownFormat, UnusablePlace, NotEnoughRoom, Corruption naming a record, StoreInUse if such a
    backup is being made already, StorageFailure.
    """
    if os.path.lexists(destination):
        raise UnusablePlace(f"{destination} is there already; a backup makes a new directory")
    if not destination.parent.is_dir():
        raise UnusablePlace(f"{destination.parent} is not a directory")
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

    def __enter__(self) -> Self:
        """Raises StoreInUse, UnusablePlace if there is something that no backup made, OSError."""
        self.path.mkdir(mode=0o700, exist_ok=True)
        left = set(os.listdir(self.path))
        if left - {_LOCK, data_file(self.path).name, reader_table(self.path).name}:
            raise UnusablePlace(f"{self.path} is there already and is not what a broken-off backup leaves")
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
            raise UnusablePlace(f"{self._destination} came into being meanwhile")
        self.path.rename(self._destination)
        _sync(self._destination.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy(reader: Reader, path: Path, progress: Callable[[Progress], None]) -> tuple[int, int]:
    """Copy one moment's records; its last position and how many records it were."""
    needed = 0
    try:
        with reader.environment.begin() as source:
            needed = pages_bytes(source, reader.databases, *COPIED) + SPARE_BYTES
            require_room(path, needed)
            records = copy_records(source, reader.databases, path, checks=_CHECKS, progress=progress)
            return last_position(source, reader.databases), records
    except lmdb.Error as error:
        blame_full_disk(path, needed)
        raise StorageFailure(f"{reader.environment.path()} to {path}: {error}") from error
