"""Reading a data directory from a process of its own, beside its broker or without one. Nothing is created or changed.

A broker cannot use pages again that a snapshot may still see, so a snapshot is closed within a second, and reading goes
on from the position where it stopped.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple, Self

import lmdb

from postroom.core.errors import Corruption, StorageFailure
from postroom.core.events import Record
from postroom.core.ids import MessageId, Position, message_at
from postroom.core.rows import Entry

from .engine import BASE
from .errors import NotADataDirectory
from .lmdb.engine import LmdbEngine
from .lmdb.environment import data_file, open_databases, open_environment, reader_table
from .transaction import StoredSnapshot
from .views import StoredViews

PAGE_RECORDS: Final = 1_000
"""Log records read in one snapshot: a few milliseconds."""


class LogPage(NamedTuple):
    """Part of the log."""

    records: Sequence[Record]
    """In order; fewer than `PAGE_RECORDS` if these are the last or the next one is damaged."""
    trimmed: Position
    """Events up to here are in the log no more."""


class ReadSnapshot(StoredSnapshot):
    """A snapshot that also shows the state at the log's beginning."""

    def __init__(self, engine: LmdbEngine) -> None:
        super().__init__(engine)
        self.engine = engine
        self.base = StoredViews(engine, BASE)


class Reader:
    """A data directory, open for reading."""

    def __init__(self, directory: Path, *, when_cut_short: Callable[[int], None] | None = None) -> None:
        """Raises NotADataDirectory, UnknownFormat, StorageFailure; `when_cut_short` as in `open_environment`."""
        require_data(directory)
        # LMDB would make a missing reader table. Without one no broker has the file open; `check` notices if one comes.
        self._alone = not reader_table(directory).exists()
        self._directory = directory
        self.environment = open_environment(
            directory, readonly=True, lock=not self._alone, when_cut_short=when_cut_short
        )
        try:
            self.databases = open_databases(self.environment, create=False)
        except BaseException:
            self.environment.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def snapshot(self) -> Iterator[ReadSnapshot]:
        """The state as of the last commit. Raises StorageFailure."""
        try:
            with self.environment.begin() as raw:
                yield ReadSnapshot(LmdbEngine(raw, self.databases))
        except lmdb.Error as error:
            raise StorageFailure(f"{self._directory}: {error}") from error
        self.check()

    def log(self, after: Position) -> LogPage:
        """The next records behind a position, in one short snapshot.

        Raises Corruption if the first of them is damaged; those before a damaged one come first.
        """
        records: list[Record] = []
        with self.snapshot() as snapshot:
            try:
                for record in islice(snapshot.log(after=after), PAGE_RECORDS):
                    records.append(record)  # not extend: those before a damaged one are to stay
            except Corruption:
                # Whoever asks again, from behind the last sound one, gets the error.
                if not records:
                    raise
            return LogPage(records, snapshot.base.position)

    def check(self) -> None:
        """Raises StorageFailure if what was read may have changed meanwhile: there was no reader table to be in."""
        if self._alone and reader_table(self._directory).exists():
            raise StorageFailure(f"{self._directory}: a broker started while it was read; do it again")

    def close(self) -> None:
        """Release the directory. Idempotent."""
        self.environment.close()


def require_data(directory: Path) -> None:
    """Raises NotADataDirectory unless there is an LMDB file, whatever it holds."""
    file = data_file(directory)
    if not file.is_file():
        raise NotADataDirectory(f"{directory} is not a data directory of postroom: there is no {file.name} in it")


def shown_by(views: StoredViews, queue: bytes, entry: Entry) -> tuple[MessageId, Position]:
    """The message that an entry of the queue with this key is about, and where the body lies that a reader gets for it."""
    about = views.change(entry.position)
    id = about or message_at(entry.position)
    changed = views.changed(id)
    if changed is None:
        return id, entry.position
    copy = views.copy_of(queue, id) if changed.copies else None
    if about is not None and entry.position not in (*changed.changes, *(copy.changes if copy else ())):
        return id, entry.position  # a notice that it was hidden
    return id, copy.body if copy is not None and copy.body else changed.body
