"""Putting live views recomputed from base + log in the place of those that are there; after bringing base up to date."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import lmdb
import msgspec

from postroom.core.errors import Corruption, StorageFailure
from postroom.core.events import AnyEvent
from postroom.core.limits import MIB

from .checking.replay import apply_record, opened
from .checking.report import Progress
from .checking.rows import readable, row_name
from .engine import BASE, LIVE, Sets, Table
from .errors import NotEnoughRoom
from .keys import ENTRY_MIN
from .lmdb.engine import LmdbEngine
from .lmdb.environment import (
    DirectoryLock,
    data_file,
    is_up_to_date,
    note_versions,
    open_databases,
    open_environment,
)
from .lmdb.space import Space
from .reading import require_data
from .room import pages_bytes
from .transaction import StoredSnapshot
from .upgrade import upgrade_base
from .views import StoredViews

CHUNK_ROWS: Final = 256
"""Rows written between two looks at the room that is left."""
CHUNK_BYTES: Final = 4 * MIB
"""What these take at most: a page each, those that split, and the list of freed pages at the end."""


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """What live is made of now."""

    position: int
    """The last event."""
    log_records: int
    rows: int
    rows_before: int
    entries: int
    entries_before: int


def rebuild(directory: Path, *, progress: Callable[[Progress], None]) -> Rebuilt:
    """Recompute live from base + log and put it in place, in one transaction: all of it or nothing, also after a crash.

    Log and bodies stay as they are, and so does base unless it is of an older version; what live holds now is not looked
    at. Raises StoreInUse beside a broker, NotADataDirectory, UnknownFormat, NotEnoughRoom, Corruption naming the record that
    stopped it, StorageFailure; nothing was changed then.
    """
    require_data(directory)
    with _opened(directory) as (environment, databases):
        return rebuild_opened(environment, databases, directory, progress=progress)


def rebuild_opened(
    environment: lmdb.Environment,
    databases: Mapping[str, lmdb._Database],
    directory: Path,
    *,
    progress: Callable[[Progress], None],
) -> Rebuilt:
    """`rebuild` for whoever has the lock and the environment. Raises NotEnoughRoom, Corruption, StorageFailure."""
    file = data_file(directory)
    space = Space(environment, file)
    taken = max(space.file_bytes, space.used_bytes)
    try:
        with environment.begin(write=True) as raw:
            return _Rebuild(raw, databases, directory, space, progress).run()
    except BaseException as error:
        # The room taken ahead was for this alone.
        os.truncate(file, taken)
        if isinstance(error, lmdb.Error):
            raise StorageFailure(f"{directory}: {error}; nothing was changed") from error
        raise
    finally:
        space.close()


@contextmanager
def _opened(directory: Path) -> Iterator[tuple[lmdb.Environment, dict[str, lmdb._Database]]]:
    """The environment, with the lock that a broker takes."""
    try:
        lock = DirectoryLock(directory)
    except OSError as error:
        raise StorageFailure(f"{directory}: {error.strerror}") from error
    try:
        environment = open_environment(directory)
        try:
            yield environment, open_databases(environment, create=False, upgrades=True)
        finally:
            environment.close()
    finally:
        lock.release()


class _Rebuild:
    """One run, within one write transaction."""

    def __init__(
        self,
        raw: "lmdb.Transaction[bytes]",
        databases: Mapping[str, lmdb._Database],
        directory: Path,
        space: Space,
        progress: Callable[[Progress], None],
    ) -> None:
        self._raw = raw
        self._databases = databases
        self._directory = directory
        self._space = space
        self._progress = progress
        self._engine = LmdbEngine(raw, databases)
        self._unchecked = CHUNK_ROWS
        self._written: tuple[Table | Sets, ...] = LIVE
        """Tables whose pages are this transaction's own."""
        self._at_least = 0

    def run(self) -> Rebuilt:
        """Everything but the commit."""
        engine = self._engine
        rows_before, entries_before = engine.count("live"), engine.count("live-queues")
        # Base comes first, all of it; what the log adds shows as it goes.
        self._at_least = pages_bytes(self._raw, self._databases, *BASE)
        if not is_up_to_date(self._raw, self._databases):
            self._written = (*BASE, *LIVE)
            upgrade_base(engine, self._room_for, partial(self._say, "bringing base up to date"))
            note_versions(self._raw, self._databases)
        engine.clear(LIVE)
        self._copy_base()
        if opened(engine, LIVE) is None:
            raise Corruption("base: its clock row cannot be read")
        views, records = self._apply_log()
        return Rebuilt(
            position=views.position,
            log_records=records,
            rows=engine.count("live"),
            rows_before=rows_before,
            entries=engine.count("live-queues"),
            entries_before=entries_before,
        )

    def _copy_base(self) -> None:
        engine = self._engine
        done, total = 0, engine.count("base") + engine.count("base-queues")
        for key, value in engine.scan(BASE.rows, b""):
            if not readable(key, value):
                raise Corruption(f"base: {row_name(key, value)}: not a row of this kind")
            self._room_for(1)
            engine.append(LIVE.rows, key, value)
            done += 1
            self._say("copying base", done, total)
        for key, _ in engine.set_firsts(BASE.queues, b""):
            for value in engine.set_scan(BASE.queues, key, ENTRY_MIN):
                self._room_for(1)
                engine.set_add(LIVE.queues, key, value)
                done += 1
                self._say("copying base", done, total)

    def _apply_log(self) -> tuple[StoredViews, int]:
        views = StoredViews(self._engine, LIVE)
        done, total = 0, self._engine.count("log")
        for record in StoredSnapshot(self._engine).log():
            self._room_for(_rows_written(record.event))
            apply_record(views, record)
            done += 1
            self._say("applying the log", done, total)
        self._room_for(CHUNK_ROWS)
        views.flush()
        return views, done

    def _room_for(self, rows: int) -> None:
        """Raises NotEnoughRoom if the disk might not take these rows; LMDB would call that an input/output error."""
        self._unchecked += rows
        if self._unchecked < CHUNK_ROWS:
            return
        # Within the transaction a page is written over once it is its own; so these tables are what the file grows by.
        wanted = max(self._at_least, pages_bytes(self._raw, self._databases, *self._written))
        wanted += CHUNK_BYTES * (1 + self._unchecked // CHUNK_ROWS)
        room = self._space.room(wanted)
        if room < wanted + self._space.reserve_bytes:
            raise NotEnoughRoom(self._directory, wanted + self._space.reserve_bytes, room)
        self._unchecked = 0

    def _say(self, stage: str, done: int, total: int) -> None:
        if done % CHUNK_ROWS == 0 or done == total:
            self._progress(Progress(stage, done, total))


def _rows_written(event: AnyEvent) -> int:
    """Rows that an event adds or changes at most. Whom a message is queued for gets an entry and perhaps a row of numbers,
    who comes onto a list three rows at most, whom it names a row of a timeline, or of their copy; what events take away takes
    no room in pages that are this transaction's own."""
    copies = getattr(event, "queued", ())
    named = len(getattr(event, "recipients", ())) + len(getattr(event, "copies", ()))
    listed = [user for field in ("users", "members", "muted") for user in getattr(event, field, ())]
    return 8 + 3 * len(listed) + named + (2 * len(copies) if isinstance(copies, tuple) else 0)
