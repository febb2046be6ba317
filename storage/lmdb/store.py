"""`core.ports.Store` on LMDB: a commit is on disk when `transaction` ends."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb

from postroom.core.errors import StorageFailure
from postroom.core.model import StoreStatistics

from ..transaction import StoredSnapshot, StoredTransaction
from .engine import LmdbEngine
from .environment import DirectoryLock, data_file, is_up_to_date, open_databases, open_environment
from .space import Space

_log = logging.getLogger("postroom.storage")


class LmdbStore:
    """The one writer of a data directory. Transactions and `room` belong to the writer's thread; snapshots to any."""

    durable = True
    failures: tuple[type[BaseException], ...] = (lmdb.Error, OSError)

    def __init__(self, directory: str | Path) -> None:
        """Open or create; views of an older version are brought up to date first, in one transaction.

        Raises StoreInUse, UnknownFormat, or StorageFailure if the directory cannot be used; and, if there is something to
        bring up to date, NotEnoughRoom for that or Corruption naming the record that stopped it: nothing was changed then.
        """
        path = Path(directory)
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = DirectoryLock(path)
        except OSError as error:
            raise StorageFailure(f"{path}: {error.strerror}") from error
        try:
            self._environment = open_environment(path)
            try:
                self._databases = open_databases(self._environment, create=True, upgrades=True)
                self._bring_up_to_date(path)
                self._space = Space(self._environment, data_file(path))
            except BaseException:
                self._environment.close()
                raise
        except BaseException:
            self._lock.release()
            raise
        self._closed = False

    def _bring_up_to_date(self, directory: Path) -> None:
        with self._environment.begin() as raw:
            if is_up_to_date(raw, self._databases):
                return
        from ..rebuild import rebuild_opened  # rebuilding needs this package

        _log.warning("%s: its views are of an older version; they are brought up to date", directory)
        rebuilt = rebuild_opened(self._environment, self._databases, directory, progress=lambda _: None)
        _log.warning("%s: its views are up to date, %d rows", directory, rebuilt.rows)

    @contextmanager
    def transaction(self) -> Iterator[StoredTransaction]:
        try:
            with self._environment.begin(write=True) as raw:
                transaction = StoredTransaction(LmdbEngine(raw, self._databases))
                yield transaction
                transaction.flush()
        except lmdb.Error as error:
            raise StorageFailure(f"{self._environment.path()}: {error}") from error

    @contextmanager
    def snapshot(self) -> Iterator[StoredSnapshot]:
        try:
            with self._environment.begin() as raw:
                yield StoredSnapshot(LmdbEngine(raw, self._databases))
        except lmdb.Error as error:
            raise StorageFailure(f"{self._environment.path()}: {error}") from error

    def room(self, wanted_bytes: int) -> int:
        try:
            return self._space.room(wanted_bytes)
        except (OSError, lmdb.Error) as error:
            raise StorageFailure(f"{self._environment.path()}: {error}") from error

    def free_bytes(self) -> int:
        try:
            return self._space.free_bytes()
        except (OSError, lmdb.Error) as error:
            raise StorageFailure(f"{self._environment.path()}: {error}") from error

    @property
    def reserve_bytes(self) -> int:
        return self._space.reserve_bytes

    def maintain(self) -> None:
        self._environment.reader_check()

    def statistics(self) -> StoreStatistics:
        with self._environment.begin() as raw:
            log_records = LmdbEngine(raw, self._databases).count("log")
        return StoreStatistics(
            file_bytes=self._space.file_bytes,
            used_bytes=self._space.used_bytes,
            reserve_bytes=self.reserve_bytes,
            log_records=log_records,
        )

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._space.close()
            self._environment.close()
            self._lock.release()
